"""What is rendered is right for the programs that read it, holds no secret, and never falls behind unnoticed."""

from __future__ import annotations

import contextlib
import copy
import errno
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft202012Validator
from kubernetes_checks import problems
from project import PROJECT, SERVERS, orch, small_project, snapshot, whole_project
from pymongo.uri_parser import parse_uri

from orchestrator.errors import InvalidError
from orchestrator.manifest import load
from orchestrator.manifest.dsn import Redactor, resolve
from orchestrator.manifest.schema import schema
from orchestrator.model import Manifest
from orchestrator.render.package import REPOSITORY
from orchestrator.render.settings import settings_of
from orchestrator.render.targets import TARGETS, files_of

TOOLS = Path(sys.executable).parent
VERSIONS = [f"1.{minor}" for minor in range(29, int(kubernetes_validate.latest_version().split(".")[1]) + 1)]

# One of everything that is awkward: names shared, long, in capitals, with signs; servers with and without logins.
ODD = """\
version: 1
servers:
  main pg: {engine: postgres, dsn: "postgres://app:${PG_PASSWORD}@${PG_HOST:-localhost}:${PG_PORT:-5432}/{database}"}
  other:
    engine: postgres
    dsn: "host=${OTHER_HOST} port=${OTHER_PORT:-5433} user=${OTHER_USER:-me} password=${OTHER_PW} dbname={database}"
  open: {engine: mongo, dsn: "mongodb://${MONGO_HOST:-localhost}/{database}"}
  far: {engine: mongo, dsn: "mongodb+srv://${FAR_USER}:${FAR_PASSWORD}@cluster.example.com/{database}"}
  whole: {engine: postgres, dsn: "${WHOLE_DSN}/{database}"}
databases:
  - {name: user, server: main pg}
  - {name: user, server: open, depends_on: [postgres-user]}
  - {name: Äpfel & Birnen, server: main pg, create: {owner: 'o"x', extensions: [uuid-ossp], connection_limit: 5}}
  - {name: under_score, server: other, depends_on: [Äpfel & Birnen]}
  - {name: under-score, server: other, create: {locale: "C", encoding: UTF8}}
  - {name: LONG, server: far, depends_on: [under_score, mongo-user]}
  - {name: "123", server: whole, depends_on: [LONG]}
  - {name: "on", engine: mongo, dsn: "mongodb://u:${OWN_PASSWORD}@h1,h2/on"}
""".replace("LONG", "long_" + "x" * 58)


@pytest.fixture
def odd(tmp_path: Path) -> Manifest:
    (tmp_path / "databases.yaml").write_text(ODD)
    return load(tmp_path / "databases.yaml", directories=False)


def rendered(manifest: Manifest, *targets: str) -> dict[str, str]:
    settings = settings_of(manifest)
    return {path: text for target in targets or TARGETS for path, text in files_of(target, manifest, settings).items()}


def read(text: str) -> Any:
    """Read YAML as every program does that we render for: 1.2 would read the same."""
    return yaml.safe_load(text)


# ---------------------------------------------------------------- fresh, ours, without secrets


def test_this_projects_own_files_are_fresh() -> None:
    orch(PROJECT, "render", "--check")


def test_a_stale_file_is_told_with_its_diff_and_mended(tmp_path: Path) -> None:
    root = whole_project(tmp_path)
    before = snapshot(root)
    job = root / "k8s/job-migrate-inventory.yaml"
    job.write_text(job.read_text().replace("backoffLimit: 3", "backoffLimit: 9"))
    (root / "k8s/job-migrate-gone.yaml").write_text(job.read_text())
    (root / "docker-compose.multi-db.yml").unlink()
    done = orch(root, "render", "--check", code=3)
    assert "-  backoffLimit: 9\n+  backoffLimit: 3" in done.stdout and "/dev/null" in done.stdout
    assert "3 files are not as databases.yaml says" in done.stderr
    orch(root, "render", "compose", "--check", code=3)
    orch(root, "render", "dockerfile", "--check")
    orch(root, "render")
    assert snapshot(root) == before


def test_all_targets_into_another_directory(tmp_path: Path) -> None:
    root = whole_project(tmp_path)
    before = snapshot(root)
    orch(root, "render", *TARGETS, "--output", str(tmp_path / "out"), "--image", "registry/app:1.2")
    assert snapshot(root) == before
    assert "registry/app:1.2" in (tmp_path / "out/k8s/job-migrate-user.yaml").read_text()
    orch(root, "render", *TARGETS, "--output", str(tmp_path / "out"), "--image", "registry/app:1.2", "--check")
    orch(root, "render", *TARGETS, "--output", str(tmp_path / "out"), "--check")
    orch(root, "render", *TARGETS, "--output", str(tmp_path / "out"), "--image", "registry/app:1.3", "--check", code=3)
    orch(root, "render", "helm", code=2)


def test_a_file_of_somebody_else_is_not_written_over(tmp_path: Path) -> None:
    root = small_project(tmp_path)
    (root / "docker-compose.multi-db.yml").write_text("services: {}\n")
    before = snapshot(root)
    assert "not a file that orch made" in orch(root, "render", "compose", "k8s", code=1).stderr
    assert snapshot(root) == before


def test_places_that_cannot_be_used_are_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = small_project(tmp_path)
    orch(root, "render")
    before = snapshot(root)

    def told(*arguments: str, code: int = 1) -> str:
        done = orch(root, *arguments, code=code)
        assert "fault in orch" not in done.stderr and "unexpected" not in done.stderr
        return done.stderr

    assert "is not a directory" in told("render", "--output", "databases.yaml", code=2)
    assert "is not a directory" in told("render", "--check", "--output", "databases.yaml", code=2)
    assert "databases.yaml/x: Not a directory" in told("render", "--output", "databases.yaml/x")
    assert "File name too long" in told("render", "-f", "x" * 300)

    def unreadable(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", unreadable)
    for command in (["render"], ["render", "--check"], ["add-db", "c"], ["rm-db", "b"]):
        assert "Permission denied" in told(*command)
    monkeypatch.undo()
    assert snapshot(root) == before


def test_every_file_says_where_it_comes_from_and_is_the_same_each_time(odd: Manifest) -> None:
    files = rendered(odd)
    assert files == rendered(odd)
    for path, text in files.items():
        assert re.match(r"(#|--) Made by orch from databases.yaml: do not edit, run: orch render [a-z0-9-]+\n", text), (
            path
        )


def test_no_secret_is_in_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PG_PASSWORD", "OTHER_PW", "FAR_PASSWORD", "WHOLE_DSN", "OWN_PASSWORD"):
        monkeypatch.setenv(name, "s3cr3t")
    text = ODD.replace("u:${OWN_PASSWORD}@", "u:s3cr3t@")
    (tmp_path / "databases.yaml").write_text(text)
    files = rendered(load(tmp_path / "databases.yaml", directories=False))
    assert not [path for path, text in files.items() if "s3cr3t" in text]


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


def test_the_settings_of_the_manifest(tmp_path: Path) -> None:
    root = small_project(tmp_path)
    with (root / "databases.yaml").open("a") as file:
        file.write(
            "render:\n  targets: [k8s]\n  image: r/i@sha256:0\n  k8s: {directory: deploy, namespace: shop, "
            'secret: "db-{name}", wait_secret: "db-{name}-ro", keys: {postgres: URL}, wait_timeout: 60}\n'
        )
    orch(root, "render")
    assert {path for path in snapshot(root) if path.startswith("deploy/")} == {
        "deploy/job-migrate-a.yaml",
        "deploy/job-migrate-b.yaml",
        "deploy/kustomization.yaml",
    }
    job = read((root / "deploy/job-migrate-b.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    assert job["metadata"]["namespace"] == "shop" and pod["containers"][0]["image"] == "r/i@sha256:0"
    assert pod["initContainers"][0]["env"][0]["valueFrom"]["secretKeyRef"] == {"name": "db-a-ro", "key": "URL"}
    assert pod["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"] == {"name": "db-b", "key": "URL"}
    for bad in ("render: {k8s: {namespce: x}}", "render: {targets: [helm]}", "render: {image: 3}"):
        (root / "databases.yaml").write_text(SERVERS + "databases: [{name: a, server: postgres}]\n" + bad)
        orch(root, "render", code=4)


def test_two_targets_at_one_place_are_refused(tmp_path: Path) -> None:
    root = small_project(tmp_path)
    with (root / "databases.yaml").open("a") as file:
        file.write("render: {compose: {file: out/x.yml}, argo: {file: ./out//x.yml}}\n")
    before = snapshot(root)
    for command in (["render", "compose"], ["render", "--check"], ["add-db", "c"]):
        done = orch(root, *command, code=4)
        assert "compose and argo would both be written to" in done.stderr
    assert snapshot(root) == before


def test_the_settings_are_documented_with_what_holds_by_itself(tmp_path: Path) -> None:
    text = (PROJECT / "docs/rendering.md").read_text()
    block, pod, _ = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    path = tmp_path / "databases.yaml"
    path.write_text(
        SERVERS + "databases: [{name: a, server: postgres}]\n" + re.sub(r"(?m)^( +)# (\w+:)", r"\1\2", block)
    )
    manifest = load(path, directories=False)
    known = schema()["properties"]["render"]["properties"]
    assert manifest.render.keys() == known.keys()
    for name in ("compose", "k8s", "dockerfile", "github"):
        assert manifest.render[name].keys() == known[name]["properties"].keys()
    path.write_text(SERVERS + "databases: [{name: a, server: postgres}]\n" + block)
    assert settings_of(load(path, directories=False)) == settings_of(Manifest(path, ()))
    path.write_text(SERVERS + "databases: [{name: a, server: postgres}]\n" + pod)
    assert len(settings_of(load(path, directories=False)).pod) == 13


# ---------------------------------------------------------------- Kubernetes


def kubernetes(manifest: Manifest) -> dict[str, Any]:
    return {path: read(text) for path, text in rendered(manifest, "k8s").items()}


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_accepts_the_jobs(odd: Manifest, version: str) -> None:
    own = load(PROJECT / "databases.yaml", directories=False)
    for manifest in (odd, own):
        files = kubernetes(manifest)
        for path, job in files.items():
            if not path.endswith("kustomization.yaml"):
                kubernetes_validate.validate(job, version, strict=True)
        assert problems(files) == []


def test_the_customers_names_stay() -> None:
    files = kubernetes(load(PROJECT / "databases.yaml", directories=False))
    job = files["k8s/job-migrate-inventory.yaml"]
    assert re.fullmatch(r"migrate-inventory-db-[0-9a-f]{8}", job["metadata"]["name"])
    assert (job["metadata"]["namespace"], job["spec"]["backoffLimit"]) == ("default", 3)
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["env"] == [
        {
            "name": "ORCH_DSN_POSTGRES_INVENTORY",
            "valueFrom": {"secretKeyRef": {"name": "inventory-db-credentials", "key": "POSTGRES_DSN"}},
        }
    ]
    shared = files["k8s/job-migrate-mongo-product.yaml"]["spec"]["template"]["spec"]["containers"][0]["env"][0]
    assert shared["valueFrom"]["secretKeyRef"] == {"name": "mongo-product-db-credentials", "key": "MONGO_URI"}


def test_a_change_of_the_template_is_another_job_and_nothing_else_is(tmp_path: Path) -> None:
    def names(text: str) -> dict[str, str]:
        (tmp_path / "databases.yaml").write_text(text)
        files = kubernetes(load(tmp_path / "databases.yaml", directories=False))
        return {path: data["metadata"]["name"] for path, data in files.items() if "metadata" in data}

    text = SERVERS + "databases: [{name: a, server: postgres}, {name: b, server: postgres}]\n"
    before = names(text)
    assert names(text + "# a comment\n") == before
    assert all(name != before[path] for path, name in names(text + "render: {image: other}\n").items())
    depends = names(text.replace("{name: b, server: postgres}", "{name: b, server: postgres, depends_on: [a]}"))
    assert depends["k8s/job-migrate-a.yaml"] == before["k8s/job-migrate-a.yaml"]
    assert depends["k8s/job-migrate-b.yaml"] != before["k8s/job-migrate-b.yaml"]


@pytest.mark.parametrize(
    ("image", "told"),
    [
        ("registry:5000/app", True),
        ("registry/app:latest", True),
        ("app:1.2", False),
        ("registry:5000/app:1.2", False),
        ("app@sha256:0", False),
    ],
)
def test_an_image_that_may_change_without_its_name_is_told(tmp_path: Path, image: str, told: bool) -> None:
    root = small_project(tmp_path)
    for _ in range(2):  # also when every file is as it was: that is when nothing would happen
        assert ("no new Job starts" in orch(root, "render", "k8s", "--image", image).stderr) is told
    assert "no new Job" not in orch(root, "render", "k8s", "--image", image, "--check").stderr
    assert "no new Job" not in orch(root, "render", "compose").stderr


def _at(*steps: str | int, value: Any) -> Callable[[Any], None]:
    def mutate(job: Any) -> None:
        place = job
        for step in steps[:-1]:
            place = place[step]
        place[steps[-1]] = value

    return mutate


POD = ("spec", "template", "spec")
MAIN = (*POD, "containers", 0)
BROKEN = {
    "name too long": _at("metadata", "name", value="x" * 64),
    "name in capitals": _at("metadata", "name", value="Migrate"),
    "name with _": _at("metadata", "name", value="migrate_db"),
    "label too long": _at("metadata", "labels", "app.kubernetes.io/name", value="x" * 64),
    "label with a space": _at("spec", "template", "metadata", "labels", "app.kubernetes.io/name", value="a b"),
    "wave as a number": _at("metadata", "annotations", "argocd.argoproj.io/sync-wave", value=1),
    "restart always": _at(*POD, "restartPolicy", value="Always"),
    "restart on failure": _at(*POD, "restartPolicy", value="OnFailure"),
    "quantity": _at(*MAIN, "resources", "requests", "cpu", value="ten"),
    "quantity with a space": _at(*MAIN, "resources", "limits", "memory", value="1 Gi"),
    "dangling mount": _at(*MAIN, "volumeMounts", value=[{"name": "tmp", "mountPath": "/tmp"}]),
    "container twice": _at(*POD, "initContainers", 0, "name", value="migrator"),
    "unknown key": _at(*POD, "restartpolicy", value="Never"),
    "image missing": _at(*MAIN, "image", value=""),
    "env as a map": _at(*MAIN, "env", value={"A": "b"}),
    "password in the clear": _at(*MAIN, "env", 0, value={"name": "A", "value": "postgres://u:p@h/d"}),
    "secret's name": _at(*MAIN, "env", 0, "valueFrom", "secretKeyRef", "name", value="My_Secret"),
    "backoff as text": _at("spec", "backoffLimit", value="three"),
    "exit code 0": _at("spec", "podFailurePolicy", "rules", 0, "onExitCodes", "values", value=[0]),
    "condition without status": _at("spec", "podFailurePolicy", "rules", 1, "onPodConditions", value=[{"status": 1}]),
    "runs as text": _at(*POD, "securityContext", "runAsUser", value="nobody"),
    "writable root": _at(*MAIN, "securityContext", "readOnlyRootFilesystem", value=False),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_job_is_caught(name: str) -> None:
    files = copy.deepcopy(kubernetes(load(PROJECT / "databases.yaml", directories=False)))
    job = files["k8s/job-migrate-inventory.yaml"]
    BROKEN[name](job)
    try:
        kubernetes_validate.validate(job, VERSIONS[0], strict=True)
    except kubernetes_validate.ValidationError:
        return
    assert problems(files)


def test_waiters_wait_for_everything_upstream_and_ask_for_little(odd: Manifest) -> None:
    jobs = {
        data["metadata"]["annotations"]["orch/database"]: data
        for data in kubernetes(odd).values()
        if "metadata" in data
    }
    last = jobs["postgres-123"]["spec"]["template"]["spec"]
    waited = [word for word in last["initContainers"][0]["command"] if word.startswith(("postgres-", "mongo-"))]
    assert len(waited) == 5 and waited[0] == "postgres-user"  # also through others
    for container in (*last["initContainers"], *last["containers"]):
        assert container["resources"]["requests"]["cpu"] == "10m"
    waves = {id: int(job["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]) for id, job in jobs.items()}
    assert all(waves[need] < waves[d.id] for d in odd.databases for need in d.depends_on)


# ---------------------------------------------------------------- Compose


def docker_compose() -> list[str]:
    """Return how Compose v2 is called here; skip where it is not."""
    places = [os.environ.get("ORCH_DOCKER_COMPOSE"), shutil.which("docker-compose")]
    places += [
        f"{directory}/docker-compose"
        for directory in ("/usr/libexec/docker/cli-plugins", "/usr/lib/docker/cli-plugins")
    ]
    for place in filter(None, places):
        with contextlib.suppress(OSError):
            found = subprocess.run([place, "version", "--short"], capture_output=True, text=True, check=False)
            if found.returncode == 0 and found.stdout.lstrip("v")[:1] >= "2":
                return [place]
    pytest.skip("no Docker Compose v2 on this machine")


def compose_config(directory: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (directory / "compose.yml").write_text(text)
    command = [*docker_compose(), "-f", str(directory / "compose.yml"), *arguments, "config"]
    env = {**os.environ, "DOCKER_HOST": "unix:///nowhere"}
    return subprocess.run([*command, "--format", "json"], capture_output=True, text=True, timeout=30, env=env)


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
    "unknown service": _at(
        "services", "migrate-postgres-order", "depends_on", "migrate-x", value={"condition": "service_healthy"}
    ),
    "unknown condition": _at(
        "services", "migrate-postgres-order", "depends_on", "postgres", "condition", value="healthy"
    ),
    "a cycle": _at("services", "postgres", "depends_on", value=["migrate-postgres-order"]),
    "unknown secret": _at("services", "postgres", "secrets", value=["other"]),
    "unknown volume": _at("services", "postgres", "volumes", value=["other:/data"]),
    "unknown key": _at("services", "postgres", "healthchek", value={}),
    "bad port": _at("services", "postgres", "ports", value=["a:b"]),
    "bad duration": _at("services", "postgres", "healthcheck", "interval", value="often"),
    "command as a map": _at("services", "postgres", "command", value={"a": "b"}),
    "no image": _at("services", "postgres", "image", value=None),
}


@pytest.mark.parametrize("name", COMPOSE_BROKEN)
def test_a_broken_compose_file_is_caught(name: str, tmp_path: Path) -> None:
    data = read((PROJECT / "docker-compose.multi-db.yml").read_text())
    COMPOSE_BROKEN[name](data)
    assert compose_config(tmp_path, yaml.safe_dump(data)).returncode != 0


# ---------------------------------------------------------------- the others


def test_argo_accepts_the_workflow(odd: Manifest) -> None:
    from hera.workflows.models import Workflow

    def strict(part: Any) -> Any:
        if isinstance(part, dict):
            part = {key: strict(value) for key, value in part.items()}
            return (
                {**part, "additionalProperties": part.get("additionalProperties", False)}
                if "properties" in part
                else part
            )
        return [strict(one) for one in part] if isinstance(part, list) else part

    schema = Draft202012Validator(strict(Workflow.model_json_schema(by_alias=True)))

    def faults(workflow: Any) -> list[str]:
        """What the schema says, and the controller's own rules on what is in it."""
        spec = workflow["spec"]
        found = [error.message for error in schema.iter_errors(workflow)]
        for part in (spec, *spec["templates"]):
            if part.get("automountServiceAccountToken") is False and not part.get("executor"):
                found.append("without a token the executor needs a serviceAccountName")
            if "dag" in part and "retryStrategy" in {**spec.get("templateDefaults", {}), **part}:
                found.append("a DAG is retried as a whole, and has no exit code")
            if "container" in part and "retryStrategy" not in part:
                found.append("a container is not retried")
        return found

    workflow = read(next(iter(rendered(odd, "argo").values())))
    assert faults(workflow) == []
    templates = {template["name"]: template for template in workflow["spec"]["templates"]}
    tasks = templates[workflow["spec"]["entrypoint"]]["dag"]["tasks"]
    names = [task["name"] for task in tasks]
    assert len(set(names)) == len(names) == len(odd.databases) and max(map(len, names)) <= 63
    assert all(task["template"] in templates and set(task.get("dependencies", ())) <= set(names) for task in tasks)
    for mutate in (
        _at("spec", "entrypont", value="x"),
        _at("spec", "templates", 1, "container", "imag", value="x"),
        _at("spec", "templates", 0, "dag", "tasks", 0, "dependencies", value="x"),
        _at("spec", "automountServiceAccountToken", value=False),
        _at("spec", "templateDefaults", value={"retryStrategy": {"limit": "3"}}),
        _at("spec", "templates", 0, "retryStrategy", value={"limit": "3"}),
    ):
        broken = copy.deepcopy(workflow)
        mutate(broken)
        assert faults(broken)


def test_pipelines_and_the_dockerfile_pass_their_linters(odd: Manifest, tmp_path: Path) -> None:
    for manifest in (odd, load(PROJECT / "databases.yaml", directories=False)):
        for path, text in rendered(manifest, "github", "gitlab", "dockerfile").items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        checks = [
            ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", ".github/workflows/databases.yml"],
            ["check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", ".gitlab/databases.gitlab-ci.yml"],
            ["zizmor", "--offline", "--quiet", ".github"],
            ["hadolint", "Dockerfile"],
        ]
        for check in checks:
            done = subprocess.run(
                [TOOLS / check[0], *check[1:]], cwd=tmp_path, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, f"{check}\n{done.stdout}\n{done.stderr}"


PACKAGES = {
    "": (f"dborch[embedded] @ {REPOSITORY}", []),
    "dborch==0.2.0": ("dborch[embedded]==0.2.0", []),
    "dborch>=0.1,<2": ("dborch[embedded]>=0.1,<2", []),
    "dborch[more] ~= 0.1": ("dborch[more,embedded] ~= 0.1", []),
    "dborch @ https://example.com/d-1-py3-none-any.whl": (
        "dborch[embedded] @ https://example.com/d-1-py3-none-any.whl",
        [],
    ),
    "git+https://example.com/dborch@main": ("dborch[embedded] @ git+https://example.com/dborch@main", []),
    "wheels/d-1-py3-none-any.whl": (
        "wheels/d-1-py3-none-any.whl[embedded]",
        ["COPY wheels/d-1-py3-none-any.whl /source/d-1-py3-none-any.whl"],
    ),
    "./vendor/my orch": ("./vendor/my orch[embedded]", ['COPY ["vendor/my orch", "/source/my orch"]']),
    ".": (".[embedded]", ["COPY pyproject.toml README.md LICENSE /source/", "COPY orchestrator /source/orchestrator"]),
}


@pytest.mark.parametrize("package", PACKAGES)
def test_what_pip_installs_is_right_wherever_it_stands(tmp_path: Path, package: str) -> None:
    embedded, copies = PACKAGES[package]
    (tmp_path / "databases.yaml").write_text(
        SERVERS
        + f"databases: [{{name: a, server: postgres}}]\nrender: {{dockerfile: {{package: {json.dumps(package)}}}}}\n"
        if package
        else SERVERS + "databases: [{name: a, server: postgres}]\n"
    )
    files = rendered(load(tmp_path / "databases.yaml", directories=False), "github", "gitlab", "dockerfile")
    jobs = read(files[".github/workflows/databases.yml"])["jobs"]
    assert shlex.split(jobs["check"]["steps"][2]["run"]) == ["pip", "install", embedded]
    plain = package or f"dborch @ {REPOSITORY}"
    assert shlex.split(jobs["apply"]["steps"][2]["run"]) == ["pip", "install", plain]
    script = read(files[".gitlab/databases.gitlab-ci.yml"])["databases:check"]["script"]
    assert shlex.split(script[0]) == ["pip", "install", "--quiet", embedded]
    lines = files["Dockerfile"].splitlines()
    run = next(line for line in lines if line.startswith("RUN"))
    assert lines[4 : lines.index(run)] == copies
    name = "/source" if package == "." else f"/source/{PurePosixPath(package).name}" if copies else plain
    assert shlex.split(run)[-1] == name
    if copies and package != ".":
        assert f"!{PurePosixPath(package)}" in files["Dockerfile.dockerignore"].splitlines()


def test_a_package_outside_of_the_project_is_not_for_an_image(tmp_path: Path) -> None:
    root = small_project(tmp_path)
    with (root / "databases.yaml").open("a") as file:
        file.write("render: {dockerfile: {package: ../orch}}\n")
    assert "outside of the project" in orch(root, "render", "dockerfile", code=4).stderr


def test_pipelines_watch_every_directory_and_what_is_rendered(tmp_path: Path) -> None:
    root = small_project(tmp_path)
    (root / "db/c").mkdir(parents=True)
    with (root / "databases.yaml").open("a") as file:
        file.write("  - {name: c, server: postgres, migrations: db/../db/c}\n")
        file.write("render: {targets: [compose, k8s, github, gitlab, init-sql], k8s: {directory: deploy}}\n")
    orch(root, "render")
    on = read((root / ".github/workflows/databases.yml").read_text())["on"]
    wanted = ["databases.yaml", "migrations/**", "db/c/**", "docker-compose.multi-db.yml", "deploy/**"]
    wanted += [".github/workflows/databases.yml", ".gitlab/databases.gitlab-ci.yml", "init-databases*.sql"]
    assert on["pull_request"]["paths"] == on["push"]["paths"] and set(on["push"]["paths"]) == set(wanted)
    pipeline = read((root / ".gitlab/databases.gitlab-ci.yml").read_text())
    for job in pipeline.values():
        assert set(job["rules"][0]["changes"]) == {re.sub(r"\*\*$", "**/*", path) for path in wanted}


def test_a_manifest_of_another_name_is_named_wherever_it_is_needed(tmp_path: Path) -> None:
    root = small_project(tmp_path)
    (root / "databases.yaml").rename(root / "other.yaml")
    done = orch(root, "render", *TARGETS, "-f", "other.yaml")
    for path, text in snapshot(root).items():
        if isinstance(text, bytes) and b"Made by orch" in text:
            command = re.match(r"(?:#|--) Made by orch from other.yaml: do not edit, run: orch (.*)\n", text.decode())
            assert command, path
            orch(root, *shlex.split(command[1]), "--check")
    assert read((root / ".github/workflows/databases.yml").read_text())["env"] == {"ORCH_FILE": "other.yaml"}
    pipeline = read((root / ".gitlab/databases.gitlab-ci.yml").read_text())
    assert all(job["variables"] == {"ORCH_FILE": "other.yaml"} for job in pipeline.values())
    done = orch(root, "add-db", "c", "-f", "other.yaml")
    assert "Next: orch apply --only c -f other.yaml" in done.stderr
    assert "orch apply --only c -f other.yaml" in orch(root, "new", "c", "more", "-f", "other.yaml").stderr
    (root / "Dockerfile").unlink()
    done = orch(root, "render", "dockerfile", "--check", "-f", "other.yaml", code=3)
    assert "orch render dockerfile -f other.yaml" in done.stderr
    assert "Next: orch plan -f other.yaml" in orch(root, "rm-db", "c", "-f", "other.yaml").stderr


def test_init_sql_runs_and_names_are_quoted(odd: Manifest) -> None:
    files = rendered(odd, "init-sql")
    assert set(files) == {f"init-databases-{name}.sql" for name in ("main-pg", "other", "whole")}
    text = files["init-databases-main-pg.sql"]
    assert 'CREATE DATABASE "user";' in text
    assert 'CREATE DATABASE "Äpfel & Birnen" OWNER "o""x" CONNECTION LIMIT 5;\n\\connect "Äpfel & Birnen"' in text
    assert 'CREATE EXTENSION IF NOT EXISTS "uuid-ossp";' in text
    one = rendered(load(PROJECT / "databases.yaml", directories=False), "init-sql")
    assert list(one) == ["init-databases.sql"] and 'CREATE DATABASE "order";' in one["init-databases.sql"]


def test_the_image_takes_only_what_it_needs(odd: Manifest, tmp_path: Path) -> None:
    files = rendered(odd, "dockerfile")
    assert files["Dockerfile.dockerignore"].splitlines()[1:] == [
        "*",
        "!databases.yaml",
        "!migrations",
        "**/__pycache__",
    ]
    assert (
        "USER 65532:65532" in files["Dockerfile"] and "install --no-cache-dir 'dborch @ https://" in files["Dockerfile"]
    )
    (tmp_path / "p").mkdir()
    (tmp_path / "p/databases.yaml").write_text(
        SERVERS + "databases: [{name: a, server: postgres, migrations: ../elsewhere}]\n"
    )
    with pytest.raises(InvalidError, match="outside of the project"):
        rendered(load(tmp_path / "p/databases.yaml", directories=False), "dockerfile")
    (tmp_path / "p/databases.yaml").write_text(SERVERS + "databases: [{name: a, server: postgres, migrations: .}]\n")
    done = orch(tmp_path / "p", "render", "dockerfile", code=4)
    assert "the directory of the project itself" in done.stderr
    orch(tmp_path / "p", "render", "github", "gitlab")
