"""What a schema snapshot costs and where it ends: schemas that are too large, servers that do not answer, many collections."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from estate import Estate, start
from pymongo import MongoClient

from orchestrator.engines.mongo.schema_snapshot import schema_snapshot as mongo_snapshot
from orchestrator.engines.postgres import schema_snapshot as postgres
from orchestrator.errors import OrchError

UP = "CREATE TABLE orders (id int PRIMARY KEY);\n"
TABLES = """DO $$ BEGIN FOR i IN %s..%s LOOP
    EXECUTE format('CREATE TABLE t%%s (id int PRIMARY KEY, a text NOT NULL, b int DEFAULT 1, c varchar(20) CHECK (c > %%L),
        d timestamptz, e int UNIQUE, f text, g int, h int, p int)', i, 'a');
    EXECUTE format('CREATE INDEX ON t%%s (b)', i);
END LOOP; END $$"""
BODIES = """DO $$ BEGIN FOR i IN 1..%s LOOP
    EXECUTE format('CREATE FUNCTION f%%s() RETURNS text LANGUAGE sql AS %%L', i,
        'SELECT ' || quote_literal(repeat('x', 1000000)));
END LOOP; END $$"""


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    estate = Estate(tmp_path_factory.mktemp("limits"), {"postgres": start("postgres-wheel"), "mongo": start("mongod")})
    yield estate
    estate.drop()


def test_a_server_that_does_not_answer_is_exit_code_7_and_the_others_are_compared(estate: Estate) -> None:
    estate.add("postgres", "here", {"1_a.up.sql": UP}, drift="warn")
    estate.add("postgres", "away", {"1_a.up.sql": UP}, drift="warn")
    estate.orch("apply", "--only", "here", "--only", "away")
    nowhere = {"ORCH_DSN_POSTGRES_AWAY": "postgres://a:b@127.0.0.1:1/away"}
    result = estate.orch("drift", "here", "away", "--output", "json", code=7, env=nowhere)
    states = {one["id"]: one["state"] for one in result.json["databases"]}
    assert states == {"postgres-here": "same", "postgres-away": "failed"}
    assert "127.0.0.1:1" in result.stderr
    # A difference elsewhere does not hide that one could not be looked at.
    estate.sql("here", "CREATE TABLE by_hand (x int)")
    result = estate.orch("drift", "here", "away", "--kept", code=7, env=nowhere)
    assert "extra: table by_hand" in result.stdout
    # Nor does it stop with a traceback where only what is unreachable is to be accepted.
    assert "127.0.0.1:1" in estate.orch("drift", "away", "--accept", code=7, env=nowhere).stderr


class Backend:
    """The server's process of a connection, and the seconds of CPU that it has used: time says little on a busy machine."""

    def __init__(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        self._path = Path(f"/proc/{connection.info.backend_pid}/stat")

    def used(self) -> float:
        fields = self._path.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100


@pytest.mark.parametrize(
    ("tables", "seconds"), [(200, 0.3), pytest.param(3_000, 1.5, marks=pytest.mark.soak)], ids=["200", "3000"]
)
def test_a_large_schema_is_read_in_time_and_a_larger_one_is_refused_before_it_is_read(
    estate: Estate, monkeypatch: pytest.MonkeyPatch, tables: int, seconds: float
) -> None:
    name = f"large{tables}"
    estate.add("postgres", name, {"1_a.up.sql": UP}, drift="warn")
    estate.orch("apply", "--only", name)
    with psycopg.connect(estate.servers["postgres"].dsn(estate.prefix + name), autocommit=True) as connection:
        for first in range(1, tables, 100):
            connection.execute((TABLES % (first, first + 99)).encode())
        connection.execute("ANALYZE")
        backend = Backend(connection)
        postgres.schema_snapshot(connection, ())
        before = backend.used()
        assert len(postgres.schema_snapshot(connection, ())) > tables * 15
        assert backend.used() - before <= seconds
        # 400 million characters in the bodies of functions.
        large = tables > 1000
        connection.execute((BODIES % (400 if large else 4)).encode())
        if not large:
            monkeypatch.setattr(postgres, "MAX_BYTES", 3_000_000)
        with pytest.raises(OrchError, match="the schema is too large to be compared: about") as refused:
            postgres.schema_snapshot(connection, ())
        assert refused.value.hint
    if large:
        goes_on_without_a_snapshot(estate, name, {})


def goes_on_without_a_snapshot(estate: Estate, name: str, env: dict[str, str]) -> None:
    """The migration itself succeeds, and says that what was changed is unknown and that no snapshot was kept."""
    estate.write(f"postgres-{name}", {"2_b.up.sql": "CREATE TABLE later (x int);"})
    told = estate.orch("apply", "--only", name, env=env).text
    assert "drift is unknown: the schema is too large to be compared" in told
    assert "no schema snapshot was kept, so drift will be unknown: the schema is too large to be compared" in told
    assert "too large to be compared" in estate.orch("drift", name, code=1, env=env).text


def test_a_schema_that_grew_too_large_stops_no_migration(estate: Estate) -> None:
    estate.add("postgres", "grown", {"1_a.up.sql": UP}, drift="refuse")
    estate.orch("apply", "--only", "grown")
    estate.sql("grown", "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$SELECT '" + "x" * 3_100_000 + "'$$")
    site = estate.root / "site"  # the same limit, so small that the test is quick
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "from orchestrator.engines.postgres import schema_snapshot\nschema_snapshot.MAX_BYTES = 3_000_000\n"
    )
    goes_on_without_a_snapshot(estate, "grown", {"PYTHONPATH": str(site)})


def test_all_indexes_of_mongodb_are_asked_for_at_once_where_that_is_allowed(estate: Estate) -> None:
    commands: list[object] = [{"create": f"c{number}"} for number in range(8)]
    commands += [
        {"createIndexes": "c1", "indexes": [{"key": {"a": 1}, "name": "a", "unique": True}]},
        {"createIndexes": "c2", "indexes": [{"key": {"at": -1}, "name": "at", "expireAfterSeconds": 9}]},
        {"create": "series", "timeseries": {"timeField": "t"}},
        {"create": "v", "viewOn": "c1", "pipeline": []},
    ]
    estate.add("mongo", "many", {"1_a.up.json": json.dumps(commands)}, drift="warn")
    estate.orch("apply", "--only", "mongo-many")
    name, admin = estate.prefix + "many", estate.client().admin
    server = estate.servers["mongo"]
    admin.command("createUser", f"{estate.prefix}low", pwd="low", roles=[{"role": "readWrite", "db": name}])
    try:
        dsn = server.dsn(name).replace(f"{server.user}:{server.password}", f"{estate.prefix}low:low")
        with MongoClient[dict[str, object]](dsn) as low:
            told = mongo_snapshot(estate.mongo("many"), ())
            assert told == mongo_snapshot(low[name], ())
        assert {str(one) for one in told if one.kind == "index"} >= {"index c1.a", "index c2.at"}
    finally:
        admin.command("dropUser", f"{estate.prefix}low")
    estate.mongo("many").c5.create_index("x", name="x")
    document = estate.orch("drift", "mongo-many", "--output", "json", code=3).json
    assert [one["object"] for one in document["databases"][0]["differences"]] == ["index c5.x"]


def test_sizes_of_collections_weigh_findings(estate: Estate) -> None:
    estate.add("mongo", "sized", {"1_a.up.json": '[{"create": "orders"}]'})
    estate.orch("apply", "--only", "mongo-sized")
    estate.mongo("sized").orders.insert_many([{"n": n} for n in range(50)])
    update = (
        '[{"update": "orders", "updates": [{"q": {}, "u": {"$set": {"a": 1}}, "multi": true}]}, {"validate": "orders"}]'
    )
    estate.write("mongo-sized", {"2_b.up.json": update, "3_c.up.json": '[{"drop": "orders"}]'})
    estate.orch("stats", "mongo-sized", "-o", "sizes.json")
    written = json.loads((estate.root / "sizes.json").read_text())
    size = written["databases"]["mongo-sized"]["tables"]["orders"]
    assert size["rows"] == 50 and 0 < size["bytes"] < 1_000_000

    def levels(*arguments: str) -> dict[str, str]:
        document = estate.orch("lint", "mongo-sized", *arguments, "--output", "json", code=1).json
        return {one["code"]: one["level"] for one in document["findings"]}

    assert levels() == {"MG601": "warn", "MG202": "error", "MG101": "error"}
    for arguments in (["--stats", "sizes.json"], ["--live"]):
        assert levels(*arguments) == {"MG601": "warn", "MG202": "warn", "MG101": "error"}, "lost data is never weighed"
    size |= {"rows": 9_000_000, "bytes": 4_000_000_000}
    (estate.root / "sizes.json").write_text(json.dumps(written))
    assert levels("--stats", "sizes.json") == {"MG601": "error", "MG202": "error", "MG101": "error"}
    assert (
        "orders has 9,000,000 rows (4.0 GB)"
        in estate.orch("lint", "mongo-sized", "--stats", "sizes.json", code=1).stdout
    )
