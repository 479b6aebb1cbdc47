"""MongoDB in a container: the official image as a service of a compose file, a replica set of one member."""

from __future__ import annotations

from typing import Any

from orchestrator.engines.dialect import Container, ContainerLogin

_REPLICA_SET = "rs0"

# mongosh takes a second of a core to start, so the health check runs every 10 seconds only. One run is enough: the
# check that initiates the replica set also waits for its primary.
_CHECK = {"interval": "10s", "timeout": "20s", "retries": 12}

# The official image creates its user first, on a server without a replica set; the health check then initiates the
# set, once. The script is one line without a single quote: it stands in a shell command, and some programs split a
# command at its line ends.
_SCRIPT = (
    "{login}try {{ rs.status() }} catch (error) {{ "
    'if (error.codeName === "NotYetInitialized") {{ '
    'rs.initiate({{_id: "{set}", members: [{{_id: 0, host: "{host}:27017"}}]}}); '
    "for (let i = 0; i < 100 && !db.hello().isWritablePrimary; i++) sleep(100) }} }}; "
    "quit(db.hello().isWritablePrimary ? 0 : 1)"
)
_LOGIN = (
    'const password = require("fs").readFileSync("{file}", "utf8").replace(/\\n$/, ""); '
    'db.getSiblingDB("admin").auth(process.env.MONGO_INITDB_ROOT_USERNAME, password); '
)
# A replica set with users needs a key file that only its own user can read. A single member may make a new one each time.
_START = f"""\
key=/data/configdb/replica.key
head -c 512 /dev/urandom | base64 -w 0 > $$key
chmod 400 $$key && chown mongodb:mongodb $$key
exec docker-entrypoint.sh mongod --replSet {_REPLICA_SET} --bind_ip_all --keyFile $$key
"""


def _service(login: ContainerLogin) -> dict[str, Any]:
    service: dict[str, Any] = {}
    if login.password_file:
        service["environment"] = {
            "MONGO_INITDB_ROOT_USERNAME": login.user,
            "MONGO_INITDB_ROOT_PASSWORD_FILE": login.password_file,
        }
        service["entrypoint"] = ["bash", "-ec"]
        service["command"] = (_START,)
    else:
        service["command"] = ["mongod", "--replSet", _REPLICA_SET, "--bind_ip_all"]
    first = _LOGIN.format(file=login.password_file) if login.password_file else ""
    script = _SCRIPT.format(login=first, set=_REPLICA_SET, host=login.host)
    address = f"mongodb://{login.host}:27017/admin?directConnection=true"
    test = f"mongosh --quiet '{address}' --eval '{script}'".replace("$", "$$")
    service["healthcheck"] = {"test": ["CMD-SHELL", test], **_CHECK}
    return service


CONTAINER = Container(
    image="mongo:7.0",
    user="root",
    volume="/data/db",
    accepts={"tls": ("false",), "ssl": ("false",), "replicaset": (_REPLICA_SET,), "authsource": ("admin",)},
    user_required=False,
    password_required=True,
    login_parameter="authSource",  # the image creates its user in admin
    logins={"MONGO_INITDB_ROOT_USERNAME": "MONGO_USER", "MONGO_INITDB_ROOT_PASSWORD": "MONGO_PASSWORD"},
    database="MONGO_INITDB_DATABASE",
    service=_service,
)
