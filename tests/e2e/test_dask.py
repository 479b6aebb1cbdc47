"""`orch apply --engine dask`: real scheduler, real workers, real servers. All connections of the cluster are encrypted."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import psycopg
import pytest
from dask_cluster import Cluster, Nodes, cluster_nodes, kill
from estate import Estate, start

pytest.importorskip("distributed", reason="Dask is not installed: pip install 'dborch[dask]'")
WORKERS = ("one", "two")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with cluster_nodes() as made:
        yield made


@pytest.fixture(scope="module")
def processes(nodes: Nodes, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return Cluster(nodes, tmp_path_factory.mktemp("dask"), tls=True)


@pytest.fixture
def estate(pg_estate: Estate, processes: Cluster) -> Estate:
    """Return an estate whose variables two workers have."""
    return joined(pg_estate, processes)


def joined(estate: Estate, processes: Cluster) -> Estate:
    for name in WORKERS:
        if name not in processes.workers:
            passwords = {"MYSQL_PASSWORD": start("mariadb").password, "MONGO_PASSWORD": start("mongod").password}
            processes.worker(name, {**estate.env, **passwords})
    estate.env |= processes.variables
    return estate


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
    return len(_ports_of_sleepers(estate))


def at_work(estate: Estate, processes: Cluster) -> str:
    """Return a worker that has a migration which sleeps on the server, or an empty text."""
    ports = _ports_of_sleepers(estate)
    for name, pid in processes.workers.items():
        connections = import_module("psutil").Process(pid).net_connections("tcp")
        if ports & {one.laddr.port for one in connections}:
            return name
    return ""


def _ports_of_sleepers(estate: Estate) -> set[int]:
    query = "SELECT client_port FROM pg_stat_activity WHERE query LIKE %s AND state = 'active' AND datname LIKE %s"
    with psycopg.connect(estate.servers["postgres"].dsn("postgres")) as connection:
        return {port for (port,) in connection.execute(query, ("%pg_sleep%", f"{estate.prefix}%"))}


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
    names = fleet(estate, 4, f"CREATE TABLE span (at timestamptz); {now} SELECT pg_sleep(0.4); {now}")
    run = estate.orch(*dask(processes, "--jobs-per-server", "2", "--output", "jsonl", "--timings"))
    spans = [[at for (at,) in estate.sql(name, "SELECT at FROM span ORDER BY 1")] for name in names]
    assert max(sum(first <= start < last for first, last in spans) for start, _ in spans) <= 2
    each_once(estate, names)
    told = [json.loads(line) for line in run.stdout.splitlines()]
    assert [one["event"] for one in told].count("StepFinished") == 10
    assert [one["applied"] for one in told if one["event"] == "DatabaseFinished"] == [2] * 5
    assert told[-1]["event"] == "RunFinished"
    first_two = [
        (one["event"], one["database"]) for one in told if one["event"] in ("DatabaseStarted", "DatabaseFinished")
    ]
    assert first_two[:2] == [("DatabaseStarted", "postgres-core"), ("DatabaseFinished", "postgres-core")]
    for stage in ("  workers: catalog", "  connect, to migrate", "  lock"):  # those of the workers
        assert f"{stage} " in run.stderr
        assert "sum of 5 measurements" in run.stderr.partition(stage)[2].splitlines()[0]


def test_a_worker_that_is_killed(estate: Estate, processes: Cluster) -> None:
    names = fleet(estate, 3, "SELECT pg_sleep(0.7);")
    run = estate.start(*dask(processes))
    until(lambda: sleeping(estate) > 1)
    processes.end(at_work(estate, processes))
    _, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    assert "was lost; tls://127.0.0.1:" in err
    assert "4 databases done" in err
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
    held = memory(processes.scheduler)
    assert estate.prefix.encode() in held  # it has seen the plans
    assert password not in held
    estate.sql("t_2", "DROP TABLE a")
    again = estate.orch(*dask(processes, "--failed"))
    assert "1 database done" in again.stderr
    each_once(estate, names)


def test_signals_reach_the_workers(estate: Estate, processes: Cluster) -> None:
    names = fleet(estate, 4, "SELECT pg_sleep(0.7);")
    gently = estate.start(*dask(processes, "--exclude", "t_4"))
    until(lambda: sleeping(estate) > 1)
    gently.send_signal(signal.SIGINT)
    _, err = gently.communicate(timeout=60)
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
    _, err = at_once.communicate(timeout=60)
    assert at_once.returncode == 130, err
    assert time.monotonic() - began < 30
    assert sleeping(estate) == 0
    estate.write("t", {"000003_c.up.sql": ""})
    estate.orch("apply")
    for name in names:
        assert estate.sql(name, "SELECT id FROM a ORDER BY 1") == [(1,), (2,)]
        assert estate.version_row(name) == [(3, False)]


def test_an_estate_of_all_engines(tmp_path: Path, processes: Cluster) -> None:
    """The client migrates files. A worker with nothing in hand closes its connections, and the next database opens them."""
    servers = {"postgres": start("postgres-wheel"), "mysql": start("mariadb"), "mongo": start("mongod")}
    estate = joined(Estate(tmp_path, servers), processes)
    try:
        estate.write("sql", {"000001_a.up.sql": "CREATE TABLE a (id int);", "000001_a.down.sql": "DROP TABLE a;"})
        estate.write("m", {"000001_a.up.json": '[{"create": "a"}]', "000001_a.down.json": '[{"drop": "a"}]'})
        estate.manifest(
            "  - {name: a, server: postgres, migrations: migrations/sql/schema}\n"
            "  - {name: b, server: mysql, migrations: migrations/sql/schema, depends_on: [a]}\n"
            '  - {name: "c_{n}", server: mongo, migrations: migrations/m/schema, for_each: {range: 1..3}}\n'
            "  - {name: d, engine: sqlite, dsn: 'sqlite3://d.db', migrations: migrations/sql/schema, depends_on: [b]}\n"
        )
        done = estate.orch(*dask(processes, "--jobs", "1", "--output", "json")).json
        assert {one["id"]: one["version"] for one in done["databases"]} == dict.fromkeys(
            ["postgres-a", "mysql-b", "mongo-c_1", "mongo-c_2", "mongo-c_3", "sqlite-d"], 1
        )
        assert estate.version_row("a") == [(1, False)]
        assert estate.mysql("b", "SELECT version, dirty FROM schema_migrations") == [(1, 0)]
        for n in (1, 2, 3):
            row = estate.mongo(f"c_{n}")["schema_migrations"].find_one()
            assert (row["version"], row["dirty"]) == (1, False)
        assert (estate.root / "d.db").is_file()
        assert not (processes.root / "d.db").exists()
        # A run that changes only files asks no cluster, and neither does one with nothing to do.
        manifest = estate.root / "databases.yaml"
        manifest.write_text(manifest.read_text().replace("d, engine", "e, engine").replace("d.db", "e.db"))
        nowhere = ("apply", "--engine", "dask", "--scheduler", "tcp://127.0.0.1:1")
        assert "1 database done" in estate.orch(*nowhere).stderr
        assert "Nothing to do: 6 databases up to date." in estate.orch(*nowhere).stderr
    finally:
        estate.drop()


def test_a_saved_plan_in_two_shards(estate: Estate, processes: Cluster) -> None:
    names = fleet(estate, 3)
    estate.orch("plan", "-o", "plan.json")
    runs = [estate.start(*dask(processes, "plan.json", "--shard", f"{number}/2")) for number in (1, 2)]
    for run in runs:
        _, err = run.communicate(timeout=60)
        assert run.returncode == 0, err
    each_once(estate, names)


def test_a_query_runs_once_a_run_and_a_rollout_keeps_its_waves(estate: Estate, processes: Cluster) -> None:
    """Workers get the members from the client: they could not ask the query, for they have no login for its database."""
    names = fleet(estate, 1)
    estate.orch("apply", "--only", "core")
    estate.sql("core", "CREATE TABLE tenants (slug text, secret text)")
    estate.sql(
        "core", "INSERT INTO tenants SELECT 't' || n, 'hash-of-a-' || 'password' FROM generate_series(1, 3) AS n"
    )
    query = "SELECT slug, secret FROM tenants ORDER BY 1"
    source = f"{{query: '{query}', database: core}}, rollout: {{canary: [t1], pause: until resumed}}"
    login = estate.server("postgres").replace("postgres:", "asked:", 1)
    text = (estate.root / "databases.yaml").read_text()
    for old, new in (
        ("databases:\n", login.replace("POSTGRES_PASSWORD", "ONLY_ON_THE_CLIENT") + "databases:\n"),
        ("core, server: postgres", "core, server: asked, engine: postgres"),
        ("t_{n}", "{slug}"),
        ("{range: 1..1}", source),
    ):
        text = text.replace(old, new)
    (estate.root / "databases.yaml").write_text(text)
    estate.env["ONLY_ON_THE_CLIENT"] = estate.env["POSTGRES_PASSWORD"]
    told = estate.orch(*dask(processes, "--output", "jsonl"), code=8).stdout
    resumed = estate.orch("rollout", "resume", *dask(processes, "--output", "jsonl", "--timings")[1:])
    assert "workers: " in resumed.stderr
    events = [json.loads(line) for line in (told + resumed.stdout).splitlines()]
    begun = [one["database"] for one in events if one["event"] == "DatabaseStarted"]
    assert begun[0] == "postgres-t1"
    assert sorted(begun) == ["postgres-t1", "postgres-t2", "postgres-t3"]
    each_once(estate, [*names[:1], "t1", "t2", "t3"])
    assert b"hash-of-a-password" not in memory(processes.scheduler)  # a column that the fleet does not need


def test_what_is_refused_before_anything_is_touched(estate: Estate, processes: Cluster) -> None:
    fleet(estate, 1)
    for arguments, told in (
        (("--engine", "dask"), "--engine dask needs the address of a scheduler"),
        (("--scheduler", processes.address), "--scheduler is for --engine dask"),
        ((*dask(processes)[1:], "--embedded"), "do not reach embedded servers"),
        (("--engine", "postgres"), "--engine"),
    ):
        assert told in estate.orch("apply", *arguments, code=2).stderr
    bare = dict.fromkeys(processes.variables, "")
    plain = estate.orch("apply", "--engine", "dask", "--scheduler", processes.address, env=bare, code=7)
    assert "set distributed.comm.tls in the configuration of Dask" in plain.stderr
    other = estate.root / "other.yaml"
    other.write_text((estate.root / "databases.yaml").read_text() + "# another revision\n")
    processes.worker("odd", {**estate.env, "ORCH_FILE": str(other)})
    odd = estate.orch(*dask(processes), code=4).stderr
    assert "the Dask worker tls://127.0.0.1:" in odd
    assert "other.yaml has the SHA-256 " in odd
    assert "deploy the same revision" in odd
    other.unlink()
    assert "other.yaml cannot be read: No such file or directory" in estate.orch(*dask(processes), code=4).stderr
    processes.end("odd", *WORKERS)
    until(lambda: processes.printed("scheduler").count("Remove worker") >= processes.started)
    nobody = estate.orch("apply", "--engine", "dask", "--scheduler", processes.address, code=7)
    assert "the Dask cluster has no worker" in nobody.stderr
    assert not estate.snapshot()


def test_what_is_lost_in_the_middle(pg_estate: Estate, nodes: Nodes, tmp_path: Path) -> None:
    """Each worker of a database dies, then the scheduler: the next run continues."""
    own = Cluster(nodes, tmp_path / "dask", allowed_failures=0)
    for name in ("one", "two"):
        own.worker(name, pg_estate.env, threads=1)
    names = fleet(pg_estate, 2, "SELECT pg_sleep(0.7);")
    run = pg_estate.start(*dask(own))
    until(lambda: bool(at_work(pg_estate, own)))
    own.end(at_work(pg_estate, own))
    _, err = run.communicate(timeout=60)
    assert run.returncode == 1, err
    assert "each Dask worker that migrated postgres-core died" in err
    assert "2 blocked" in err
    until(lambda: not sleeping(pg_estate))
    run = pg_estate.start(*dask(own))
    until(lambda: bool(sleeping(pg_estate)))
    kill(own.scheduler)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 1, err
    assert "the Dask scheduler was lost while postgres-t_" in err
    assert "Traceback" not in err
    pg_estate.orch("apply")
    each_once(pg_estate, names)
