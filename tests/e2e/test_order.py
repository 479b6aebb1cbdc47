"""The rendered Jobs keep the order by themselves, without a cluster; and `orch wait`, which they do it with."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from estate import ORCH, SERVERS, Estate, start
from project import PROJECT

# The customer's seven, and dependencies across the engines that they do not have.
ESTATE = """\
  - {name: logs, server: mongo, depends_on: [inventory]}
  - {name: inventory, server: postgres, depends_on: [order]}
  - {name: order, server: postgres, depends_on: [postgres-product, user, mongo-product]}
  - {name: product, server: postgres}
  - {name: user, server: postgres, depends_on: [postgres-product]}
  - {name: product, server: mongo}
  - {name: analytics, server: mongo, depends_on: [logs]}
"""


def secrets(estate: Estate, jobs: list[dict[str, Any]]) -> dict[tuple[str, str], str]:
    """Return what the cluster's secrets would hold: (secret, key) → DSN."""
    found = {}
    for job in jobs:
        container = job["spec"]["template"]["spec"]["containers"][0]
        engine, _, name = job["metadata"]["annotations"]["orch/database"].partition("-")
        for variable in container["env"]:
            reference = variable["valueFrom"]["secretKeyRef"]
            server = estate.servers[engine]
            found[reference["name"], reference["key"]] = server.dsn(quote(estate.prefix + name))
    return found


def run_job(job: dict[str, Any], root: Path, secret: dict[tuple[str, str], str], results: dict[str, Any]) -> None:
    """Run the pods of a Job: another one as long as the first rule that fits says to ignore how the last one ended."""
    ended = time.monotonic() + 100
    while time.monotonic() < ended:
        container, code = run_pod(job, root, secret, results)
        exits = [rule for rule in job["spec"]["podFailurePolicy"]["rules"] if "onExitCodes" in rule]
        fitting = [
            rule["action"]
            for rule in exits
            if code in rule["onExitCodes"]["values"]
            and rule["onExitCodes"].get("containerName", container) == container
        ]
        if fitting[:1] != ["Ignore"]:
            return


def run_pod(
    job: dict[str, Any], root: Path, secret: dict[tuple[str, str], str], results: dict[str, Any]
) -> tuple[str, int]:
    """Run the containers of a pod one after the other, each as a process with nothing but its own environment.

    Return the container that ended last, and its exit code.
    """
    pod = job["spec"]["template"]["spec"]
    id = job["metadata"]["annotations"]["orch/database"]
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        env = {"ORCH_FILE": str(root / "databases.yaml"), "HOME": "/nonexistent", "LANG": "C.UTF-8"}
        for variable in container["env"]:
            reference = variable["valueFrom"]["secretKeyRef"]
            env[variable["name"]] = secret[reference["name"], reference["key"]]
        command = [ORCH, *container["command"][1:]]
        done = subprocess.run(command, cwd="/", env=env, capture_output=True, text=True, timeout=100)
        results[id] = done
        if done.returncode != 0:
            break
    return container["name"], done.returncode


def test_all_jobs_at_once_in_random_order(estate: Estate) -> None:
    shutil.copytree(PROJECT / "migrations", estate.root / "migrations")
    estate.manifest(ESTATE + "render: {k8s: {wait_timeout: 1}}\n")
    estate.orch("render", "k8s")
    jobs = [yaml.safe_load(path.read_text()) for path in sorted((estate.root / "k8s").glob("job-*.yaml"))]
    assert len(jobs) == 7
    secret = secrets(estate, jobs)
    results: dict[str, subprocess.CompletedProcess[str]] = {}
    seed = random.randrange(1000)
    print(f"the order is that of seed {seed}")
    random.Random(seed).shuffle(jobs)
    threads = [threading.Thread(target=run_job, args=(job, estate.root, secret, results)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for id, done in results.items():
        assert done.returncode == 0, f"{id}\n{done.stderr}"
        assert not any(server.password in done.stdout + done.stderr for server in estate.servers.values())
    plan = estate.orch("plan", "--exit-code")
    assert plan.code == 0
    spans = {}
    for job in jobs:
        id = job["metadata"]["annotations"]["orch/database"]
        rows = estate.orch("history", id, "--output", "json").json["attempts"]
        spans[id] = (min(row["started_at"] for row in rows), max(row["finished_at"] for row in rows))
    needs = {one["id"]: one["depends_on"] for one in estate.orch("graph", "--format", "json").json["databases"]}
    for id, ids in needs.items():
        for need in ids:
            assert spans[need][1] <= spans[id][0], f"{id} began before {need} was done"


# ---------------------------------------------------------------- orch wait


def waiting(estate: Estate, *arguments: str) -> subprocess.Popen[str]:
    return estate.start("wait", *arguments)


def two(estate: Estate) -> None:
    estate.manifest("  - {name: a, server: postgres}\n  - {name: b, server: postgres, depends_on: [a]}\n")
    for number in (1, 2):
        estate.write("postgres-a", {f"00000{number}_x.up.sql": f"CREATE TABLE x{number} ();"})
    estate.write("postgres-b", {"000001_y.up.sql": "CREATE TABLE y ();"})


def until_told(process: subprocess.Popen[str], words: str) -> str:
    """Return what a process writes to stderr until it says this."""
    told = ""
    for line in process.stderr or ():
        told += line
        if words in line:
            return told
    raise AssertionError(f"it never said {words}: {told}")


def test_wait_sees_each_step_and_ends(pg_estate: Estate) -> None:
    two(pg_estate)
    whole = waiting(pg_estate, "--for", "a", "--timeout", "60", "--every", "0.2")
    first = waiting(pg_estate, "--for", "a@1", "--timeout", "60", "--every", "0.2")
    told = [until_told(one, "waiting for postgres-a: does not exist yet") for one in (whole, first)]
    pg_estate.orch("apply", "--only", "a", "--to", "1")
    assert first.wait(60) == 0
    until_told(whole, "at version 1, 1 pending")
    pg_estate.orch("apply", "--only", "a")
    stdout, _ = whole.communicate(timeout=60)
    assert (whole.returncode, stdout) == (0, "postgres-a is migrated.\n")
    assert (told[1] + first.communicate()[1]).count("\n") <= 2  # only what changes is said


def test_wait_without_names_is_for_every_database(pg_estate: Estate) -> None:
    two(pg_estate)
    pg_estate.orch("apply", "--only", "a")
    late = pg_estate.orch("wait", "--timeout", "0", "--output", "json", code=8)
    (error,) = late.json["errors"]
    assert (
        error["kind"] == "not_yet"
        and error["what"] == "not migrated within 0 s"
        and error["detail"] == "postgres-b: does not exist yet"
    )
    pg_estate.orch("apply")
    assert pg_estate.orch("wait", "--timeout", "0").stdout == "postgres-a is migrated.\npostgres-b is migrated.\n"
    assert pg_estate.orch("wait", "--timeout", "0", "--output", "json").json == {
        "format": 1,
        "databases": [{"id": "postgres-a", "result": "migrated"}, {"id": "postgres-b", "result": "migrated"}],
    }


def test_wait_only_reads(pg_estate: Estate) -> None:
    two(pg_estate)
    assert "does not exist yet" in pg_estate.orch("wait", "--for", "a", "--timeout", "0", code=8).stderr
    assert pg_estate.status("postgres-a")["exists"] is False
    pg_estate.orch("apply")
    before = pg_estate.sql("a", "SELECT relname FROM pg_class ORDER BY 1")
    pg_estate.sql("a", 'ALTER DATABASE "' + pg_estate.prefix + 'a" SET default_transaction_read_only = on')
    done = pg_estate.orch("wait", "--for", "a", "--for", "postgres-b@1", "--timeout", "0")
    assert done.stdout == "postgres-a is migrated.\npostgres-b is migrated.\n"
    assert pg_estate.sql("a", "SELECT relname FROM pg_class ORDER BY 1") == before


@pytest.mark.timing
def test_wait_stops_at_once_on_what_waiting_cannot_mend(pg_estate: Estate) -> None:
    two(pg_estate)
    pg_estate.orch("apply")
    pg_estate.write("postgres-a", {"000001_x.up.sql": "CREATE TABLE other ();"})
    started = time.monotonic()
    assert "was edited after it was applied" in pg_estate.orch("wait", "--for", "a", "--timeout", "100", code=5).stderr
    pg_estate.orch("wait", "--for", "a@7", "--timeout", "100", code=2)
    pg_estate.orch("wait", "--for", "@7", code=2)
    pg_estate.orch("wait", "--for", "a@x", code=2)
    pg_estate.orch("wait", "--for", "z", code=2)
    wrong = pg_estate.servers["postgres"].dsn().replace(pg_estate.servers["postgres"].password, "wrong-password")
    done = pg_estate.orch("wait", "--for", "b", "--timeout", "100", code=7, env={"ORCH_DSN_POSTGRES_B": wrong})
    assert "refuses the login" in done.stderr
    assert "wrong-password" not in done.text
    assert time.monotonic() - started < 90


def test_wait_needs_only_the_credentials_of_what_it_waits_for(pg_estate: Estate) -> None:
    two(pg_estate)
    pg_estate.orch("apply")
    dsn = pg_estate.servers["postgres"].dsn(pg_estate.prefix + "a")
    env = {key: value for key, value in pg_estate.env.items() if key != "POSTGRES_PASSWORD"}
    pg_estate.env = env
    pg_estate.orch("wait", "--for", "b", "--timeout", "0", code=4)
    pg_estate.orch("wait", "--for", "a", "--timeout", "0", env={"ORCH_DSN_POSTGRES_A": dsn})


@pytest.fixture
def reader(pg_estate: Estate) -> Iterator[tuple[str, dict[str, str]]]:
    """A role that may do nothing yet in a database, and the DSN with it in a rendered Job's variable."""
    two(pg_estate)
    pg_estate.orch("apply")
    name, password = f"reader_{pg_estate.prefix}", "only-reads"
    pg_estate.sql("a", f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
    pg_estate.sql("a", f'REVOKE ALL ON DATABASE "{pg_estate.prefix}a" FROM public')
    pg_estate.sql("a", "REVOKE ALL ON SCHEMA public FROM public")
    server = pg_estate.servers["postgres"]
    dsn = server.dsn(pg_estate.prefix + "a").replace(f"{server.user}:{server.password}@", f"{name}:{password}@")
    yield name, {"ORCH_DSN_POSTGRES_A": dsn}
    pg_estate.sql("a", f"DROP OWNED BY {name}")
    pg_estate.sql("a", f"DROP ROLE {name}")


def test_wait_needs_a_role_that_connects_and_selects(pg_estate: Estate, reader: tuple[str, dict[str, str]]) -> None:
    name, env = reader

    def missing() -> str:
        done = pg_estate.orch("wait", "--for", "a", "--timeout", "30", code=7, env=env)
        assert "only-reads" not in done.text
        return done.stderr

    assert "GRANT CONNECT ON DATABASE" in missing()
    pg_estate.sql("a", f'GRANT CONNECT ON DATABASE "{pg_estate.prefix}a" TO {name}')
    assert "GRANT USAGE ON SCHEMA public" in missing()
    pg_estate.sql("a", f"GRANT USAGE ON SCHEMA public TO {name}")
    for table in ("schema_migrations", "orch_history"):
        assert "GRANT SELECT ON" in missing()
        pg_estate.sql("a", f"GRANT SELECT ON {table} TO {name}")
    assert pg_estate.orch("wait", "--for", "a", "--timeout", "0", env=env).stdout == "postgres-a is migrated.\n"


def test_wait_is_content_with_pg_read_all_data(pg_estate: Estate, reader: tuple[str, dict[str, str]]) -> None:
    name, env = reader
    pg_estate.sql("a", f'GRANT CONNECT ON DATABASE "{pg_estate.prefix}a" TO {name}')
    pg_estate.sql("a", f"GRANT pg_read_all_data TO {name}")
    pg_estate.orch("wait", "--for", "a", "--timeout", "0", env=env)


def test_wait_is_content_with_the_role_read(mongo_estate: Estate) -> None:
    mongo_estate.add("mongo", "m", {"000001_c.up.js": '[{"create": "c"}]'})
    mongo_estate.orch("apply")
    server, name, password = mongo_estate.servers["mongo"], f"reader{mongo_estate.prefix}", "only-reads"
    database = mongo_estate.prefix + "m"
    mongo_estate.client().admin.command("createUser", name, pwd=password, roles=[])
    try:
        dsn = server.dsn(database).replace(f"{server.user}:{server.password}@", f"{name}:{password}@")
        env = {"ORCH_DSN_MONGO_M": dsn}
        assert "role 'read'" in mongo_estate.orch("wait", "--for", "m", "--timeout", "30", code=7, env=env).stderr
        mongo_estate.client().admin.command("grantRolesToUser", name, roles=[{"role": "read", "db": database}])
        mongo_estate.orch("wait", "--for", "m", "--timeout", "0", env=env)
    finally:
        mongo_estate.client().admin.command("dropUser", name)


def test_wait_goes_on_while_the_server_is_away(pg_estate: Estate) -> None:
    two(pg_estate)
    nobody = {"ORCH_DSN_POSTGRES_A": "postgres://u:p@127.0.0.1:1/a"}
    assert (
        "not migrated within 2 s" in pg_estate.orch("wait", "--for", "a", "--timeout", "2", code=8, env=nobody).stderr
    )


@pytest.mark.parametrize("server", [name for name, (engine, _) in SERVERS.items() if engine == "mongo"])
def test_the_first_mongo_migration_runs_on_every_server(tmp_path: Path, server: str) -> None:
    estate = Estate(tmp_path, {"mongo": start(server)})
    try:
        estate.manifest("  - {name: a, server: mongo}\n")
        estate.write("mongo-a", {"000001_x.up.js": "[]"})
        estate.orch("add-db", "items", "--engine", "mongo")
        estate.orch("apply")
        estate.orch("wait", "--for", "items", "--timeout", "0")
        estate.orch("rollback", "items", "--steps", "1", "--yes")
        assert json.loads(estate.orch("status", "--output", "json").stdout)["databases"][1]["pending"] == [1]
    finally:
        estate.drop()
