"""`orch apply --engine dask`: real scheduler, real workers, real PostgreSQL."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg
import pytest
from dask_cluster import Cluster, cluster
from estate import Estate

from orchestrator import __version__
from orchestrator.operations.dask_worker import Order, examine
from orchestrator.planning.saved_plan import parse_plan

pytest.importorskip("distributed", reason="Dask is not installed: pip install 'dborch[dask]'")
WORKERS = ("one", "two")


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("dask")) as made:
        yield made


@pytest.fixture
def estate(pg_estate: Estate, processes: Cluster) -> Estate:
    """Return an estate whose variables two workers have."""
    for name in WORKERS:
        if name not in processes.workers:
            processes.worker(name, pg_estate.env)
    return pg_estate


def dask(processes: Cluster, *more: str) -> tuple[str, ...]:
    return ("apply", "--engine", "dask", "--scheduler", processes.address, "--wait", "30", *more)


def fleet(estate: Estate, members: int, up: str = "", **settings: str) -> list[str]:
    """Declare a core and members that need it; return all names."""
    files = {
        "000001_a.up.sql": f"CREATE TABLE a (id int); INSERT INTO a VALUES (1); {up}",
        "000001_a.down.sql": "DROP TABLE a;",
        "000002_b.up.sql": "INSERT INTO a VALUES (2);",
        "000002_b.down.sql": "DELETE FROM a WHERE id = 2;",
    }
    estate.write("t", files)
    more = "".join(f", {key}: {value}" for key, value in settings.items())
    estate.manifest(
        "  - {name: core, server: postgres, migrations: migrations/t/schema}\n"
        '  - {name: "t_{n}", server: postgres, migrations: migrations/t/schema, depends_on: [core],'
        f" for_each: {{range: 1..{members}}}{more}}}\n"
    )
    return ["core", *(f"t_{n}" for n in range(1, members + 1))]


def each_once(estate: Estate, names: list[str]) -> None:
    for name in names:
        assert estate.sql(name, "SELECT id FROM a ORDER BY 1") == [(1,), (2,)]
        assert estate.version_row(name) == [(2, False)]
        assert estate.sql(name, "SELECT count(*) FROM orch_history WHERE done") == [(2,)]


def sleeping(estate: Estate) -> int:
    """Return how many migrations sleep on the server."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE %s AND state = 'active' AND datname LIKE %s"
    with psycopg.connect(estate.servers["postgres"].dsn("postgres")) as connection:
        found = connection.execute(query, ("%pg_sleep%", f"{estate.prefix}%")).fetchone()
    return int(found[0]) if found else 0


def at_work(estate: Estate, processes: Cluster) -> str:
    """Return a worker that has a migration which sleeps on the server, or an empty text."""
    query = "SELECT client_port FROM pg_stat_activity WHERE query LIKE %s AND state = 'active' AND datname LIKE %s"
    with psycopg.connect(estate.servers["postgres"].dsn("postgres")) as connection:
        ports = {port for (port,) in connection.execute(query, ("%pg_sleep%", f"{estate.prefix}%"))}
    for name, process in processes.workers.items():
        connections = import_module("psutil").Process(process.pid).net_connections("tcp")
        if ports & {one.laddr.port for one in connections}:
            return name
    return ""


def until(so: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end
        time.sleep(0.03)


def memory(pid: int) -> bytes:
    """Return what a process has written into its memory."""
    found = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as all_of_it:
        for line in maps:
            span, rights, *_ = line.split()
            if rights.startswith("rw"):
                first, last = (int(end, 16) for end in span.split("-"))
                with suppress(OSError, OverflowError):
                    all_of_it.seek(first)
                    found.append(all_of_it.read(last - first))
    return b"".join(found)


def test_each_once_within_the_limit_of_the_server(estate: Estate, processes: Cluster) -> None:
    now = "INSERT INTO span VALUES (clock_timestamp());"
    names = fleet(estate, 6, f"CREATE TABLE span (at timestamptz); {now} SELECT pg_sleep(0.5); {now}")
    run = estate.orch(*dask(processes, "--jobs-per-server", "2", "--output", "jsonl"))
    spans = [[at for (at,) in estate.sql(name, "SELECT at FROM span ORDER BY 1")] for name in names]
    assert max(sum(first <= start < last for first, last in spans) for start, _ in spans) == 2
    each_once(estate, names)
    told = [json.loads(line) for line in run.stdout.splitlines()]
    assert [one["event"] for one in told].count("StepFinished") == 14
    assert [one["applied"] for one in told if one["event"] == "DatabaseFinished"] == [2] * 7
    assert told[-1]["event"] == "RunFinished"
    first_two = [
        (one["event"], one["database"]) for one in told if one["event"] in ("DatabaseStarted", "DatabaseFinished")
    ]
    assert first_two[:2] == [("DatabaseStarted", "postgres-core"), ("DatabaseFinished", "postgres-core")]
    # A run with nothing to do asks no cluster.
    idle = estate.orch("apply", "--engine", "dask", "--scheduler", "tcp://127.0.0.1:1")
    assert "Nothing to do: 7 databases up to date." in idle.stderr


def test_a_worker_that_is_killed(estate: Estate, processes: Cluster) -> None:
    names = fleet(estate, 4, "SELECT pg_sleep(1);")
    run = estate.start(*dask(processes))
    until(lambda: sleeping(estate) > 1)
    processes.end(at_work(estate, processes))
    _, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    assert "was lost; tcp://127.0.0.1:" in err
    assert "5 databases done" in err
    each_once(estate, names)
    assert "Nothing to do" in estate.orch("apply").stderr


def test_a_database_that_fails_fails_alone_and_no_password_travels(estate: Estate, processes: Cluster) -> None:
    names = fleet(estate, 3)
    with psycopg.connect(estate.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {estate.prefix}t_2")
    estate.sql("t_2", "CREATE TABLE a (id int)")
    failed = estate.orch(*dask(processes), code=1)
    assert 'relation "a" already exists' in failed.stderr
    assert "migrations/t/schema/000001_a.up.sql:1:1" in failed.stderr
    assert "3 databases done, 1 failed" in failed.stderr
    each_once(estate, ["core", "t_1", "t_3"])
    password = estate.servers["postgres"].password.encode()
    for name in ("scheduler", *(f"worker-{name}" for name in WORKERS)):
        assert password.decode() not in processes.printed(name)
    held = memory(processes.scheduler.pid)
    assert estate.prefix.encode() in held  # it has seen the plans
    assert password not in held
    estate.sql("t_2", "DROP TABLE a")
    again = estate.orch(*dask(processes, "--failed"))
    assert "1 database done" in again.stderr
    each_once(estate, names)


def test_signals_reach_the_workers(estate: Estate, processes: Cluster) -> None:
    names = fleet(estate, 4, "SELECT pg_sleep(1);")
    gently = estate.start(*dask(processes, "--exclude", "t_4"))
    until(lambda: sleeping(estate) > 1)
    gently.send_signal(signal.SIGINT)
    _, err = gently.communicate(timeout=30)
    assert gently.returncode == 130, err
    assert "not done" in err
    status = estate.orch("status", "--output", "json", code=None).json
    assert 1 in [one["version"] for one in status["databases"]]  # what ran was finished, and nothing new began there
    estate.orch("apply", "--only", "t_1", "--only", "t_2")
    estate.write("t", {"000003_c.up.sql": "SELECT pg_sleep(60)", "000003_c.down.sql": ""})
    at_once = estate.start(*dask(processes, "--only", "t_1", "--only", "t_2", "--no-deps"))
    until(lambda: sleeping(estate) == 2 or at_once.poll() is not None)
    assert at_once.poll() is None, at_once.communicate()
    began = time.monotonic()
    at_once.send_signal(signal.SIGINT)
    time.sleep(0.1)
    at_once.send_signal(signal.SIGINT)
    _, err = at_once.communicate(timeout=30)
    assert at_once.returncode == 130, err
    assert time.monotonic() - began < 15
    assert sleeping(estate) == 0
    estate.write("t", {"000003_c.up.sql": ""})
    estate.orch("apply")
    for name in names:
        assert estate.sql(name, "SELECT id FROM a ORDER BY 1") == [(1,), (2,)]
        assert estate.version_row(name) == [(3, False)]


def test_a_file_is_migrated_by_the_client(estate: Estate, processes: Cluster) -> None:
    estate.write("a", {"000001_a.up.sql": "CREATE TABLE a (id int);", "000001_a.down.sql": "DROP TABLE a;"})
    estate.manifest(
        "  - {name: a, server: postgres, migrations: migrations/a/schema}\n"
        "  - {name: b, engine: sqlite, dsn: 'sqlite3://b.db', migrations: migrations/a/schema, depends_on: [a]}\n"
    )
    assert "2 databases done" in estate.orch(*dask(processes)).stderr
    assert (estate.root / "b.db").is_file()
    assert not (processes.root / "b.db").exists()


def test_a_saved_plan_in_two_shards(estate: Estate, processes: Cluster) -> None:
    names = fleet(estate, 3)
    estate.orch("plan", "-o", "plan.json")
    runs = [estate.start(*dask(processes, "plan.json", "--shard", f"{number}/2")) for number in (1, 2)]
    for run in runs:
        _, err = run.communicate(timeout=60)
        assert run.returncode == 0, err
    each_once(estate, names)


def test_a_worker_migrates_one_mongodb_database_after_the_other(mongo_estate: Estate, processes: Cluster) -> None:
    """A worker closes its connections when it has nothing in hand; the next database opens them again."""
    mongo_estate.write("t", {"000001_a.up.json": '[{"create": "a"}]', "000001_a.down.json": '[{"drop": "a"}]'})
    mongo_estate.manifest(
        '  - {name: "t_{n}", server: mongo, migrations: migrations/t/schema, for_each: {range: 1..3}}\n'
    )
    processes.end(*processes.workers)
    processes.worker("mongo", mongo_estate.env, threads=1)
    done = mongo_estate.orch(*dask(processes, "--jobs", "1"))
    processes.end("mongo")
    assert "3 databases done" in done.stderr
    for n in (1, 2, 3):
        row = mongo_estate.mongo(f"t_{n}")["schema_migrations"].find_one()
        assert (row["version"], row["dirty"]) == (1, False)


def test_what_is_refused_before_anything_is_touched(estate: Estate, processes: Cluster, tmp_path: Path) -> None:
    fleet(estate, 1)
    for arguments, told in (
        (("--engine", "dask"), "--engine dask needs the address of a scheduler"),
        (("--scheduler", processes.address), "--scheduler is for --engine dask"),
        ((*dask(processes)[1:], "--embedded"), "do not reach embedded servers"),
        (("--engine", "postgres"), "--engine"),
    ):
        assert told in estate.orch("apply", *arguments, code=2).stderr
    nowhere = estate.orch("apply", "--engine", "dask", "--scheduler", "tcp://127.0.0.1:1", code=7)
    assert "the Dask scheduler at tcp://127.0.0.1:1 cannot be reached" in nowhere.stderr
    estate.orch(*dask(processes, "--only", "core"))
    processes.worker("odd", {**estate.env, "ORCH_FILE": str(tmp_path / "nowhere.yaml")})
    until(lambda: "Starting established connection" in processes.printed("worker-odd"))
    odd = estate.orch(*dask(processes), code=4)
    assert "the Dask worker tcp://127.0.0.1:" in odd.stderr
    assert "nowhere.yaml: there is no such file" in odd.stderr
    processes.end("odd", *WORKERS)
    nobody = ("apply", "--engine", "dask", "--scheduler", processes.address)
    until(lambda: "the Dask cluster has no worker" in estate.orch(*nobody, code=None).stderr)
    estate.orch(*nobody, code=7)


def order(estate: Estate, **other: Any) -> Order:
    given = Order(
        "0", "me", __version__, str(estate.root / "databases.yaml"), None, None, (), False, True, False, 0, None
    )
    return given._replace(**other)


def test_a_worker_refuses_a_plan_that_is_not_for_it(pg_estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet(pg_estate, 2)
    monkeypatch.setenv("POSTGRES_PASSWORD", pg_estate.env["POSTGRES_PASSWORD"])
    pg_estate.orch("plan", "-o", "plan.json")
    plan = parse_plan((pg_estate.root / "plan.json").read_text(), "plan.json")
    servers = {one.id: (one.engine, one.name, one.endpoint) for one in plan.databases}
    assert examine(order(pg_estate), plan.databases, servers) is None
    elsewhere = {**servers, "postgres-t_1": ("postgres", f"{pg_estate.prefix}t_1", "other:5432")}
    for given, expected, told in (
        (order(pg_estate, run_id="1", tool="9.9.9"), servers, "and this run dborch 9.9.9"),
        (order(pg_estate, run_id="2"), elsewhere, "the plan of postgres-t_1 is for"),
        (
            order(pg_estate, run_id="3"),
            {**servers, "postgres-x": ("postgres", "x", "y:1")},
            "is no database of the manifest",
        ),
    ):
        failure = examine(given, plan.databases, expected)
        assert failure is not None
        assert told in failure.what
    (pg_estate.root / "migrations/t/schema/000002_b.up.sql").write_text("SELECT 1")
    changed = examine(order(pg_estate), plan.databases, servers)
    assert changed is not None
    assert "000002_b.up.sql changed after the plan was made" in changed.what
    monkeypatch.delenv("POSTGRES_PASSWORD")
    unset = examine(order(pg_estate, run_id="4"), plan.databases, servers)
    assert unset is not None
    assert "need POSTGRES_PASSWORD, which is not set" in unset.what


def test_dask_that_is_not_installed(pg_estate: Estate, tmp_path: Path) -> None:
    fleet(pg_estate, 1)
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.util as u; f = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'distributed' else f(name, *more)\n"
    )
    with pg_estate.start(
        "apply", "--engine", "dask", "--scheduler", "tcp://127.0.0.1:1", env={"PYTHONPATH": str(hidden)}
    ) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Dask is not installed (distributed)" in err
    assert "pip install 'dborch[dask]'" in err
