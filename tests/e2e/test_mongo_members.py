"""A replica set of three: connections to its secondaries, a primary that steps down, members that lag; and TLS."""

from __future__ import annotations

import json
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from estate import Estate
from kill import Forge
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from orchestrator.embedded.process import free_port


@contextmanager
def mongod(data: Path, *options: str) -> Iterator[int]:
    """Run a mongod with a small cache; yield its port."""
    from orchestrator.embedded.mongo import _mongod

    binary = _mongod()
    if binary is None:
        pytest.skip("no mongod on this machine")
    data.mkdir()
    port = free_port()
    fixed = ["--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket"]
    fixed += ["--journalCommitInterval", "4", "--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "50"]
    fixed += ["--setParameter", "enableTestCommands=1", "--setParameter", "diagnosticDataCollectionEnabled=false"]
    log = (data.parent / f"{data.name}.log").open("w")
    process = subprocess.Popen([str(binary), *fixed, *options], stdout=log)
    try:
        yield port
    finally:
        process.kill()
        process.wait(30)
        log.close()


def client_of(port: int) -> MongoClient[Any]:
    return MongoClient("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=60_000)


class Members:
    """The three ports, and a project with a DSN of one's choice."""

    def __init__(self, ports: list[int]) -> None:
        self.ports = ports
        self.hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        self.clients = {port: client_of(port) for port in ports}

    def primary(self) -> int:
        """Return the port of the primary, once there is one that the others follow."""
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            hellos = {port: client.admin.command("hello") for port, client in self.clients.items()}
            primaries = {hello.get("primary") for hello in hellos.values()}
            writable = [port for port, hello in hellos.items() if hello["isWritablePrimary"]]
            if len(writable) == 1 and primaries == {f"127.0.0.1:{writable[0]}"}:
                return writable[0]
            time.sleep(0.1)
        raise AssertionError("no primary")

    def secondaries(self) -> list[int]:
        primary = self.primary()
        return [port for port in self.ports if port != primary]

    def database(self, name: str) -> Any:
        return self.clients[self.primary()][name]


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Members]:
    root = tmp_path_factory.mktemp("members")
    with (
        mongod(root / "a", "--replSet", "three") as a,
        mongod(root / "b", "--replSet", "three") as b,
        mongod(root / "c", "--replSet", "three") as c,
    ):
        members = Members([a, b, c])
        hosts = [{"_id": n, "host": f"127.0.0.1:{port}"} for n, port in enumerate(members.ports)]
        settings = {"electionTimeoutMillis": 2_000, "heartbeatIntervalMillis": 500}
        config = {"_id": "three", "members": hosts, "settings": settings}
        for client in members.clients.values():
            client.admin.command("ping")  # it is up
        members.clients[a].admin.command("replSetInitiate", config)
        members.primary()
        yield members
        for client in members.clients.values():
            client.close()


@pytest.fixture
def project(tmp_path: Path) -> Estate:
    return Estate(tmp_path, {})


def declare(project: Estate, hosts: str, options: str, files: dict[str, str | bytes]) -> None:
    (project.root / "databases.yaml").write_text(
        "version: 1\nservers:\n"
        f'  mongo: {{engine: mongo, dsn: "mongodb://{hosts}/{{database}}?{options}"}}\n'
        f"databases:\n  - {{name: {project.prefix}a, server: mongo, migrations: m}}\n"
    )
    folder = project.root / "m"
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(str(content))


@pytest.mark.parametrize("command", ["plan", "status", "apply"])
def test_a_direct_connection_to_a_secondary_names_the_primary(members: Members, project: Estate, command: str) -> None:
    secondary = members.secondaries()[0]
    declare(project, f"127.0.0.1:{secondary}", "directConnection=true", {"1_x.up.js": '[{"create": "c"}]'})
    told = project.orch(command, code=7).text
    assert f"127.0.0.1:{secondary} is a secondary" in told
    assert f"the primary is 127.0.0.1:{members.primary()}" in told
    assert "directConnection" in told
    assert "replicaSet=three" in told


@pytest.mark.parametrize(
    "options",
    [
        "readPreference=secondary",
        "readPreference=secondaryPreferred&maxStalenessSeconds=120&readPreferenceTags=dc:north",
        "readPreference=nearest&readConcernLevel=linearizable",
    ],
)
def test_what_a_dsn_says_of_reading_is_for_applications(members: Members, project: Estate, options: str) -> None:
    files: dict[str, str | bytes] = {
        "1_x.up.js": '[{"create": "c"}, {"insert": "c", "documents": [{"_id": 1}]}]',
        "2_x.up.js": '[{"update": "c", "updates": [{"q": {"_id": 1}, "u": {"$inc": {"n": 1}}}]}]',
    }
    declare(project, members.hosts, f"replicaSet=three&{options}", files)
    project.orch("apply")
    assert project.orch("status", "--output", "json").json["databases"][0]["applied"] == [1, 2]
    assert members.database(f"{project.prefix}a")["c"].find_one() == {"_id": 1, "n": 1}


@pytest.mark.timing
@pytest.mark.parametrize("marked", [False, True])
def test_what_a_step_down_interrupts_is_tried_again(members: Members, project: Estate, marked: bool) -> None:
    update: dict[str, Any] = {
        "update": "c",
        "updates": [{"q": {"$where": "sleep(25) || true"}, "u": {"$set": {"done": True}}, "multi": True}],
    }
    if marked:
        update["comment"] = {"orch": "no-transaction"}
    declare(project, members.hosts, "replicaSet=three", {"1_x.up.js": json.dumps([update])})
    schema_objects = members.database(f"{project.prefix}a")["c"]
    schema_objects.insert_many([{"n": n} for n in range(120)])
    run = project.start("apply")
    old = members.primary()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:  # until it is in the middle of the update
        running = members.clients[old].admin.command("currentOp", {"op": "update", "active": True})["inprog"]
        if any(operation.get("ns") == schema_objects.full_name for operation in running):
            break
        time.sleep(0.05)
    else:
        pytest.fail("the update was never seen at work")
    members.clients[old].admin.command({"replSetStepDown": 10, "force": True})
    out, told = run.communicate(timeout=120)
    assert run.returncode == 0, out + told
    schema_objects = members.database(f"{project.prefix}a")["c"]
    assert schema_objects.count_documents({"done": True}) == 120


@pytest.mark.soak
def test_a_lock_that_the_new_primary_does_not_have_is_taken_again(
    members: Members, project: Estate, forge: Forge
) -> None:
    """The old primary grants it and is replaced before the others have it, so the lock is rolled back."""
    declare(project, members.hosts, "replicaSet=three", {"1_x.up.js": '[{"create": "c"}]'})
    old, others = members.primary(), members.secondaries()
    for port in others:
        members.clients[port].admin.command({"configureFailPoint": "stopReplProducer", "mode": "alwaysOn"})
    locks = members.clients[old][f"{project.prefix}a"]["migrate_advisory_lock"]
    apply = ["apply"], project.root, project.env
    with forge.stopped(*apply, "before MongoSession.commit", lambda: (locks.find_one({}) or {}).get("pid", 0)) as ended:
        try:
            members.clients[old].admin.command({"replSetStepDown": 30, "force": True})
            deadline = time.monotonic() + 60
            while not any(members.clients[port].admin.command("hello")["isWritablePrimary"] for port in others):
                assert time.monotonic() < deadline
                for port in others:  # the new one would wait for what only the old one has
                    with suppress(OperationFailure):
                        members.clients[port].admin.command("replSetAbortPrimaryCatchUp")
                time.sleep(0.05)
        finally:
            for port in others:
                members.clients[port].admin.command({"configureFailPoint": "stopReplProducer", "mode": "off"})
        assert members.database(f"{project.prefix}a")["migrate_advisory_lock"].count_documents({}) == 0
    assert ended[0].code == 0, ended[0].output
    assert "asking the database again" in ended[0].output
    database = members.database(f"{project.prefix}a")
    assert [row["done"] for row in database["orch_history"].find()] == [True]
    assert "c" in database.list_collection_names()


@pytest.mark.timing
def test_members_that_lag_are_told_while_their_majority_is_waited_for(members: Members, project: Estate) -> None:
    declare(project, members.hosts, "replicaSet=three", {"1_x.up.js": '[{"create": "c"}]'})
    lagging = members.secondaries()
    point = {"configureFailPoint": "rsSyncApplyStop"}
    for port in lagging:
        members.clients[port].admin.command({**point, "mode": "alwaysOn"})
    lines: list[str] = []
    run = project.start("apply")
    assert run.stderr is not None
    reader = threading.Thread(target=lambda: lines.extend(run.stderr or ()))
    reader.start()
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not any("behind" in line for line in lines):
            time.sleep(0.2)
        assert run.poll() is None
        assert any("behind" in line for line in lines), lines
        assert any("majority" in line for line in lines), lines
    finally:
        for port in lagging:
            members.clients[port].admin.command({**point, "mode": "off"})
    reader.join(60)
    assert run.wait(60) == 0, lines


# ---------------------------------------------------------------- TLS


def openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """A mongod that wants TLS, and the directory with ca.pem, client.pem and other.pem, of another authority."""
    root = tmp_path_factory.mktemp("tls")
    for ca in ("ca", "other"):
        subject = f"/O=orch/CN={ca}"
        openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 2, "-subj", subject),
            *("-keyout", root / f"{ca}.key", "-out", root / f"{ca}.pem"),
        )
    for name, subject in (("server", "/O=orch/OU=servers/CN=127.0.0.1"), ("client", "/O=orch/OU=people/CN=somebody")):
        request, certificate = root / f"{name}.csr", root / f"{name}.crt"
        openssl(
            "req", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", root / f"{name}.key", "-out", request
        )
        extension = root / f"{name}.ext"
        extension.write_text("subjectAltName=IP:127.0.0.1\n")
        openssl(
            *("x509", "-req", "-in", request, "-CA", root / "ca.pem", "-CAkey", root / "ca.key", "-CAcreateserial"),
            *("-days", 2, "-extfile", extension, "-out", certificate),
        )
        (root / f"{name}.pem").write_text(certificate.read_text() + (root / f"{name}.key").read_text())
    options = ["--tlsMode", "requireTLS", "--tlsCertificateKeyFile", str(root / "server.pem")]
    with mongod(root / "data", *options, "--tlsCAFile", str(root / "ca.pem"), "--auth") as port:
        files: dict[str, Any] = {"tlsCAFile": str(root / "ca.pem"), "tlsCertificateKeyFile": str(root / "client.pem")}
        client: MongoClient[Any] = MongoClient(
            "127.0.0.1", port, directConnection=True, tls=True, serverSelectionTimeoutMS=60_000, **files
        )
        client.admin.command("ping")
        client.close()
        yield port, root


@pytest.mark.timing
def test_a_certificate_that_is_not_trusted_is_no_server_that_is_starting(
    tls: tuple[int, Path], project: Estate
) -> None:
    port, root = tls
    began = time.monotonic()
    for options in (f"&tlsCAFile={root}/other.pem", ""):
        declare(project, f"127.0.0.1:{port}", f"directConnection=true&tls=true{options}", {"1_x.up.js": "[]"})
        told = project.orch("plan", "--wait", "60", code=7).text
        assert "no TLS connection to" in told
        assert "tlsCAFile" in told
        assert "--wait" not in told
    assert time.monotonic() - began < 60


def test_tls_to_a_server_that_has_none_is_no_server_that_is_starting(members: Members, project: Estate) -> None:
    declare(project, f"127.0.0.1:{members.primary()}", "directConnection=true&tls=true", {"1_x.up.js": "[]"})
    told = project.orch("plan", "--wait", "60", code=7, timeout=50).text
    assert "no TLS connection to" in told
    assert "does the server speak TLS here?" in told


def test_the_name_of_another_replica_set_is_told(members: Members, project: Estate) -> None:
    for hosts in (f"127.0.0.1:{members.primary()}", members.hosts):
        declare(project, hosts, "replicaSet=four", {"1_x.up.js": "[]"})
        told = project.orch("plan", "--wait", "60", code=7, timeout=50).text
        assert "is of the replica set 'three', and the DSN names another one" in told
        assert "write replicaSet=three in the DSN" in told
        assert "does not resolve" not in told


def test_a_proxy_that_closes_every_connection_may_have_a_server_that_is_starting(project: Estate) -> None:
    """As Docker's and Kubernetes' do: that it cuts the TLS handshake says nothing of the server behind it."""

    class Closes(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(16)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Closes) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        declare(project, f"127.0.0.1:{proxy.server_address[1]}", "directConnection=true&tls=true", {"1_x.up.js": "[]"})
        told = project.orch("plan", code=7).text
        proxy.shutdown()
    assert "is the server up?" in told or "--wait" in told
    assert "does the server speak TLS here?" not in told


def test_a_certificate_that_is_missing_is_asked_for(tls: tuple[int, Path], project: Estate) -> None:
    port, root = tls
    declare(
        project, f"127.0.0.1:{port}", f"directConnection=true&tls=true&tlsCAFile={root}/ca.pem", {"1_x.up.js": "[]"}
    )
    told = project.orch("plan", code=7).text
    assert "tlsCertificateKeyFile" in told


def test_a_certificate_of_no_user_is_a_refused_login(tls: tuple[int, Path], project: Estate) -> None:
    port, root = tls
    files = f"tlsCAFile={root}/ca.pem&tlsCertificateKeyFile={root}/client.pem"
    options = f"directConnection=true&tls=true&{files}&authMechanism=MONGODB-X509&authSource=$external"
    declare(project, f"127.0.0.1:{port}", options.replace("$", "%24"), {"1_x.up.js": "[]"})
    told = project.orch("plan", "--wait", "30", code=7).text
    assert "refuses the login" in told
    assert "$external" in told
