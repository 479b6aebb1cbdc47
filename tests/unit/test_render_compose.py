"""`orch render compose`: Docker Compose accepts the file, and servers that no container can be are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from deployment_tools import compose_config
from project import PROJECT, orch, small_project
from pymongo.uri_parser import parse_uri
from rendered import at, read, rendered

from orchestrator.manifest import load
from orchestrator.manifest.dsn import Redactor, resolve
from orchestrator.model import Manifest


def test_the_dsn_reaches_the_published_port_of_the_replica_set(tmp_path: Path) -> None:
    """The member is called mongo:27017, which nobody outside of the containers can resolve."""
    orch(tmp_path, "init")
    orch(tmp_path, "add-db", "logs", "--engine", "mongo")
    for manifest in (load(tmp_path / "databases.yaml"), load(PROJECT / "databases.yaml")):
        services = read(rendered(manifest, "compose")["docker-compose.multi-db.yml"])["services"]
        assert 'host: "mongo:27017"' in services["mongo"]["healthcheck"]["test"][-1]
        assert services["mongo"]["ports"] == ["127.0.0.1:${MONGO_PORT:-27017}:27017"]
        database = next(d for d in manifest.databases if d.name == "logs")
        env = {"MONGO_USER": "root", "MONGO_PASSWORD": "p@ss"}
        found = parse_uri(resolve(database, env, Redactor(), "orch_history").url.reveal())
        assert found["nodelist"] == [("localhost", 27017)] and found["options"]["directConnection"] is True
        replicas = {**env, "MONGO_HOST": "h1,h2", "MONGO_DIRECT": "false"}
        assert len(parse_uri(resolve(database, replicas, Redactor(), "orch_history").url.reveal())["nodelist"]) == 2


UNFIT = {
    "a password": ("postgres://u:pw@${H}/{database}", "holds a password"),
    "a fixed local host": ("postgres://u@localhost/{database}", "always at 'localhost'"),
    "a local host in the query": ("postgres://u:${P}@/{database}?host=localhost", "always at 'localhost'"),
    "a fixed port": ("postgres://u:${P}@${H}:6000/{database}", "always at port 6000"),
    "a fixed port of a key=value DSN": ("host=${H} port=6000 user=u dbname={database}", "always at port 6000"),
    "half a port": ("postgres://u:${P}@${H}:543${N}/{database}", "always at port 543${N}"),
    "no user": ("postgres://:${P}@${H}/{database}", "names no user"),
    "no login": ("postgres://${H}/{database}", "names no user"),
    "TLS": ("postgres://u:${P}@${H}/{database}?sslmode=require", "always has sslmode=require"),
    "MongoDB, TLS": ("mongodb://${H}/{database}?tls=true", "always has tls=true"),
    "MongoDB, a set": ("mongodb://${H}/{database}?replicaSet=other", "always has replicaset=other"),
    "MongoDB, login in each": ("mongodb://u:${P}@${H}/{database}", "add authSource=admin"),
    "MongoDB, login elsewhere": ("mongodb://u:${P}@${H}/{database}?authSource=x", "always has authsource=x"),
    "MongoDB, no password": ("mongodb://u@${H}/{database}?authSource=admin", "a user and no password"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_compose_refuses_a_server_that_no_container_can_be(tmp_path: Path, name: str) -> None:
    dsn, problem = UNFIT[name]
    engine = "mongo" if dsn.startswith("mongodb") else "postgres"
    servers = f'version: 1\nservers: {{s: {{engine: {engine}, dsn: "{dsn}"}}}}\n'
    (tmp_path / "databases.yaml").write_text(servers + "databases: [{name: a, server: s}]\n")
    done = orch(tmp_path, "render", "compose", code=4)
    assert problem in done.stderr and "hint:" in done.stderr and "pw" not in done.stderr
    assert not (tmp_path / "docker-compose.multi-db.yml").exists()
    orch(tmp_path, "render", "k8s", "github", "gitlab", "init-sql")


FILES = {
    "sqlite3://${FILES}/{database}.db?_fk=1": "/var/lib/orch/files",
    "sqlite3://${FILES:-data}/${NAME}.db": "/var/lib/orch/files",
    "sqlite3:///srv/app/{database}.db": "/srv/app",
    "sqlite://data/x/../{database}": "/estate/data",
    "sqlite3://${FILES}": "does not tell the directory",
    "${FILES}/{database}.db": "does not tell the directory",
    "sqlite3://${FILES}/x/{database}.db": "does not tell the directory",
    "sqlite3://data/{database}/x.db": "does not tell the directory",
    "sqlite3://{database}.db": "would hide the manifest",
    "sqlite3://x.db": "would hide the manifest",
    "sqlite3:///{database}.db": "would hide the manifest",
    "sqlite3:///estate/{database}.db": "would hide the manifest",
    "sqlite3://migrations/sqlite-a/{database}.db": "would hide the migrations of sqlite-a",
}


@pytest.mark.parametrize("dsn", FILES)
def test_a_database_that_is_a_file_lies_on_a_volume(tmp_path: Path, dsn: str) -> None:
    """Where a container of the image finds it, and may write: the image has that directory, with our user as its owner."""
    servers = (
        f'version: 1\nservers: {{files: {{engine: sqlite, dsn: "{dsn}"}}, s: {{engine: postgres, dsn: "{PG}"}}}}\n'
    )
    (tmp_path / "databases.yaml").write_text(
        f"{servers}databases: [{{name: a, server: files}}, {{name: b, server: s}}]\n"
    )
    if not FILES[dsn].startswith("/"):
        assert FILES[dsn] in orch(tmp_path, "render", "compose", code=4).stderr
        assert not (tmp_path / "docker-compose.multi-db.yml").exists()
        return
    orch(tmp_path, "render", "compose", "dockerfile")
    data = yaml.safe_load((tmp_path / "docker-compose.multi-db.yml").read_text())
    mounted = [f"files-files:{FILES[dsn]}"]
    assert {name for name, one in data["services"].items() if one.get("volumes") == mounted} == {
        "migrate-sqlite-a",
        "migrate-all",
    }
    environment = data["services"]["migrate-sqlite-a"].get("environment", {})
    assert environment.get("FILES", FILES[dsn]) == FILES[dsn]
    assert ("FILES" in environment) is ("FILES" in dsn)
    assert data["volumes"] == {"s-data": {}, "files-files": {}}
    assert f"-g 65532 {FILES[dsn]}\nUSER" in (tmp_path / "Dockerfile").read_text()


PG = "postgres://u:${P}@${H}/{database}"
ADMIN = "mongodb://${U}:${Q}@${I}/{database}?authSource=admin"
TWO_UNFIT = {
    "one port by default": ("one", PG, "two", PG.replace("H}", "I}:${J:-5432}"), "published at port 5432"),
    "one host": ("one", PG, "two", PG.replace("H}", "H}:${J:-5433}"), "H would have to be another"),
    "one user": ("one", "postgres://${U}:${P}@${H}/{database}", "two", ADMIN, "U would have"),
    "one port variable": ("one", PG.replace("H}", "H}:${J:-1}"), "two", "mongodb://${I}:${J:-2}/{database}", "J would have"),
    "a password that a server elsewhere has": ("one", PG, "two", "postgres://u:${P}@db.example.com/{database}", "P would have"),
    "a name of ours": ("migrate-all", PG, "two", "mongodb://${I}/{database}", "'migrate-all'"),
    "a name of a database's service": ("migrate-postgres-a", PG, "two", "mongodb://${I}/{database}", "both be called"),
}  # fmt: skip


@pytest.mark.parametrize("name", TWO_UNFIT)
def test_compose_refuses_servers_that_get_into_each_others_way(tmp_path: Path, name: str) -> None:
    one, first, two, second, problem = TWO_UNFIT[name]
    engine = "mongo" if second.startswith("mongodb") else "postgres"
    (tmp_path / "databases.yaml").write_text(
        f'version: 1\nservers:\n  {one}: {{engine: postgres, dsn: "{first}"}}\n'
        f'  {two}: {{engine: {engine}, dsn: "{second}"}}\n'
        f"databases: [{{name: a, server: {one}}}, {{name: b, server: {two}}}]\n"
    )
    assert problem in orch(tmp_path, "render", "compose", code=4).stderr


def test_two_servers_with_one_password_and_what_containers_have(tmp_path: Path) -> None:
    (tmp_path / "databases.yaml").write_text(
        'version: 1\nservers:\n  one: {engine: postgres, dsn: "postgres://u:${P}@${H}/{database}?sslmode=${S:-require}"}\n'
        '  two: {engine: mongo, dsn: "mongodb://u:${P}@${I}/{database}?tls=${T:-true}&authSource=${A:-x}"}\n'
        "databases: [{name: a, server: one}, {name: b, server: two}]\n"
    )
    text = next(iter(rendered(load(tmp_path / "databases.yaml", directories=False), "compose").values()))
    services = read(text)["services"]
    assert services["migrate-all"]["secrets"] == ["P"]
    assert services["migrate-all"]["environment"] == {
        "H": "one",
        "S": "prefer",
        "P_FILE": "/run/secrets/P",
        "I": "two",
        "T": "false",
        "A": "admin",
    }
    # Where the image keeps its data depends on its version: the volume holds it for each of them.
    data = services["one"]["environment"]["PGDATA"]
    mounted = services["one"]["volumes"][0].partition(":")[2]
    assert data.startswith(f"{mounted}/") and not data.startswith("/var/lib/postgresql/data")


@pytest.mark.parametrize(
    ("compose", "docker", "build"),
    [
        ("docker-compose.yml", "Dockerfile", "."),
        ("deploy/dev/compose.yml", "Dockerfile", "../.."),
        ("compose.yml", "deploy/Dockerfile.orch", {"context": ".", "dockerfile": "deploy/Dockerfile.orch"}),
        ("deploy/compose.yml", "deploy/Dockerfile", {"context": "..", "dockerfile": "deploy/Dockerfile"}),
    ],
)
def test_one_service_builds_the_image_and_all_others_wait_for_it(
    tmp_path: Path, compose: str, docker: str, build: Any
) -> None:
    root = small_project(tmp_path)
    with (root / "databases.yaml").open("a") as file:
        file.write(f"render: {{compose: {{file: {compose}}}, dockerfile: {{file: {docker}}}}}\n")
    orch(root, "render")
    services = read((root / compose).read_text())["services"]
    assert services["migrate-image"]["build"] == build and services["migrate-image"]["pull_policy"] == "build"
    followers = {name: body for name, body in services.items() if body["image"] == services["migrate-image"]["image"]}
    del followers["migrate-image"]
    assert len(followers) == 3
    for body in followers.values():
        assert "build" not in body and body["pull_policy"] == "never"
        assert body["depends_on"]["migrate-image"] == {"condition": "service_completed_successfully"}
    place = build if isinstance(build, dict) else {"context": build, "dockerfile": "Dockerfile"}
    context = (root / compose).parent / place["context"]
    assert context.resolve() == root and (context / place["dockerfile"]).is_file()


def test_compose_without_the_dockerfile_that_it_builds_from_says_so(tmp_path: Path) -> None:
    root = small_project(tmp_path)
    assert "orch render dockerfile" in orch(root, "render", "compose").stderr
    orch(root, "render", "dockerfile")
    assert "render dockerfile" not in orch(root, "render", "compose").stderr


# ---------------------------------------------------------------- Compose


def test_docker_compose_accepts_the_file(odd: Manifest, tmp_path: Path) -> None:
    for manifest in (odd, load(PROJECT / "databases.yaml", directories=False)):
        text = next(iter(rendered(manifest, "compose").values()))
        done = compose_config(tmp_path, text, "--profile", "all")
        assert done.returncode == 0, done.stderr
        services = json.loads(done.stdout)["services"]
        assert "migrate-all" in services
        if manifest is not odd:
            # Shown doubled again, as in the file: to Compose it is no variable of its own.
            assert '"$$POSTGRES_USER"' in services["postgres"]["healthcheck"]["test"][1]
            assert r'.replace(/\n$/, "")' in services["mongo"]["healthcheck"]["test"][-1].replace("$$", "$")
            assert services["migrate-postgres-user"]["environment"]["POSTGRES_HOST"] == "postgres"


def test_the_order_in_compose_is_that_of_the_graph() -> None:
    graph = json.loads(orch(PROJECT, "graph", "--format", "json").stdout)
    services = read((PROJECT / "docker-compose.multi-db.yml").read_text())["services"]
    done = "service_completed_successfully"
    rendered_edges = {
        (service.removeprefix("migrate-"), need.removeprefix("migrate-"))
        for service, body in services.items()
        for need, condition in body.get("depends_on", {}).items()
        if condition["condition"] == done and need != "migrate-image"
    }
    assert rendered_edges == {(one["id"], need) for one in graph["databases"] for need in one["depends_on"]}
    for one in graph["databases"]:
        server = "postgres" if one["id"].startswith("postgres") else "mongo"
        assert services[f"migrate-{one['id']}"]["depends_on"][server] == {"condition": "service_healthy"}


COMPOSE_BROKEN = {
    "unknown service": at(
        "services", "migrate-postgres-order", "depends_on", "migrate-x", value={"condition": "service_healthy"}
    ),
    "unknown condition": at(
        "services", "migrate-postgres-order", "depends_on", "postgres", "condition", value="healthy"
    ),
    "a cycle": at("services", "postgres", "depends_on", value=["migrate-postgres-order"]),
    "unknown secret": at("services", "postgres", "secrets", value=["other"]),
    "unknown volume": at("services", "postgres", "volumes", value=["other:/data"]),
    "unknown key": at("services", "postgres", "healthchek", value={}),
    "bad port": at("services", "postgres", "ports", value=["a:b"]),
    "bad duration": at("services", "postgres", "healthcheck", "interval", value="often"),
    "command as a map": at("services", "postgres", "command", value={"a": "b"}),
    "no image": at("services", "postgres", "image", value=None),
}


@pytest.mark.parametrize("name", COMPOSE_BROKEN)
def test_a_broken_compose_file_is_caught(name: str, tmp_path: Path) -> None:
    data = read((PROJECT / "docker-compose.multi-db.yml").read_text())
    COMPOSE_BROKEN[name](data)
    assert compose_config(tmp_path, yaml.safe_dump(data)).returncode != 0
