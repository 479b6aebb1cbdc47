"""`orch verify`: every down file takes back what its up file did, tried in a scratch database and nowhere else."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import psycopg
import pytest
from estate import Estate, start
from project import PROJECT

from orchestrator.scratch.clone_names import CLONES, is_left_behind

TABLE: dict[str, str | bytes] = {
    "000001_a.up.sql": "CREATE TABLE a (id int PRIMARY KEY, note text);",
    "000001_a.down.sql": "DROP TABLE a;",
}
COLLECTION: dict[str, str | bytes] = {
    "000001_a.up.js": '[{"create": "a"}]',
    "000001_a.down.js": '[{"drop": "a"}]',
}


def pair(number: int, up: str, down: str | None, extension: str = "sql") -> dict[str, str | bytes]:
    files: dict[str, str | bytes] = {f"{number:06}_x.up.{extension}": up}
    return files if down is None else files | {f"{number:06}_x.down.{extension}": down}


def clones(estate: Estate) -> set[str]:
    """Return the names of all databases on the servers that are named as clones."""
    names: set[str] = set()
    if "postgres" in estate.servers:
        with psycopg.connect(estate.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
            names |= {row[0] for row in connection.execute("SELECT datname FROM pg_database").fetchall()}
    if "mongo" in estate.servers:
        names |= set(estate.client().list_database_names())
    return {name for name in names if name.startswith(CLONES)}


def of_process(names: set[str], pid: int) -> set[str]:
    return {name for name in names if f"_{pid}_" in name}


def verify(estate: Estate, *arguments: str, code: int) -> dict[str, Any]:
    """Run it, validate its document, and make sure that nothing but the document is left. Return the document."""
    before = estate.snapshot()
    process = estate.start("verify", *arguments, "--output", "json")
    out, error = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in error, error
    assert estate.snapshot() == before, "the real databases are as they were"
    assert not of_process(clones(estate), process.pid), "the scratch databases are gone"
    document: dict[str, Any] = json.loads(out)
    schema = estate.orch("schema", "verify").json
    jsonschema.Draft202012Validator(schema).validate(document)
    return document


def errors(document: dict[str, Any]) -> dict[int, str]:
    """Return what is wrong, by version, as `file: what`."""
    migrations = [one for entry in document["databases"] for one in entry["migrations"] if "error" in one]
    return {one["version"]: f"{one['error']['where'].rpartition('/')[2]}: {one['error']['what']}" for one in migrations}


def results(document: dict[str, Any]) -> list[str]:
    return [one["result"] for entry in document["databases"] for one in entry["migrations"]]


def test_all_of_this_repository_and_the_real_databases_are_not_touched(estate: Estate) -> None:
    for name in ("databases.yaml", "migrations"):
        (estate.root / name).symlink_to(PROJECT / name)
    for directory in (PROJECT / "migrations").iterdir():
        engine, _, name = directory.name.partition("-")
        variable = f"ORCH_DSN_{directory.name.upper().replace('-', '_')}"
        estate.env[variable] = estate.servers[engine].dsn(estate.prefix + name)
    assert [entry["result"] for entry in verify(estate, code=0)["databases"]] == ["verified"] * 7
    assert estate.snapshot() == {}, "nothing was created"
    estate.orch("apply")
    assert set(results(verify(estate, code=0))) == {"verified"}
    text = estate.orch("verify", "order", "logs").stdout
    assert "postgres-order  verified: 4 migrations up, down, up" in text and "mongo-logs" in text
    assert "inventory" not in text, "only what was asked for"


# What the second of three migrations does and does not take back, and what is told. The third is tried all the same.
DIFFERENCES: dict[str, list[tuple[Any, Any, str]]] = {
    "postgres": [
        ("CREATE TABLE b (id serial PRIMARY KEY);", "-- nothing", "down.sql: left behind after the down: table b"),
        ("CREATE INDEX i ON a (note);", "SELECT 1;", "down.sql: left behind after the down: index i"),
        (
            "ALTER TABLE a ALTER note SET DEFAULT 'x';",
            "ALTER TABLE a ALTER note SET DEFAULT 'y';",
            "down.sql: different after the down: column a.note",
        ),
        ("SELECT 1;", "DROP TABLE a;", "down.sql: missing after the down: table a"),
        (
            "DO $$ BEGIN EXECUTE CASE WHEN EXISTS (SELECT FROM pg_largeobject_metadata WHERE oid = 4711) "
            "THEN 'CREATE TABLE c ()' ELSE 'CREATE TABLE b ()' END; END $$;",
            "DROP TABLE b; SELECT lo_create(4711);",
            "up.sql: there only after the second up: table c; missing after the second up: table b",
        ),
        ("INSERT INTO a VALUES (1);", "SELECT 1;", "up.sql:1:1: the second up fails: duplicate key value"),
        ("CREATE TABLE b ();", None, "up.sql: it has no down file"),
        ("CREATE TABLE b ();", "DROP TABLE b;\nDROP TABLE no;", 'down.sql:2:1: table "no" does not exist'),
    ],
    "mongo": [
        ([{"create": "b"}], [], "down.js: left behind after the down: collection b"),
        (
            [{"collMod": "a", "validator": {"x": {"$gt": 1}}}],
            [],
            "down.js: left behind after the down: option a.validator",
        ),
        (
            [{"createIndexes": "a", "indexes": [{"key": {"x": 1}, "name": "i"}]}],
            [],
            "down.js: left behind after the down: index a.i",
        ),
        ([], [{"drop": "a"}], "down.js: missing after the down: collection a"),
        ([{"create": "b"}], None, "up.js: it has no down file"),
        ([{"create": "b"}], [{"drop": "b"}, {"dropIndexes": "no", "index": "i"}], "down.js:1:17: ns not found"),
    ],
}


def test_what_differs_is_told_and_the_next_is_tried(estate: Estate) -> None:
    wanted = {}
    for engine, cases in DIFFERENCES.items():
        for number, (up, down, told) in enumerate(cases):
            if engine == "postgres":
                files = TABLE | pair(2, up, down) | pair(3, "CREATE TABLE z ();", "DROP TABLE z;")
            else:
                two = pair(2, json.dumps(up), None if down is None else json.dumps(down), "js")
                files = COLLECTION | two | pair(3, '[{"create": "z"}]', '[{"drop": "z"}]', "js")
            estate.add(engine, f"a{number}", files)
            wanted[f"{engine}-a{number}"] = f"000002_x.{told}"
    estate.orch("apply")
    document = verify(estate, code=1)
    for entry in document["databases"]:
        found = errors({"databases": [entry]})[2]
        assert found.startswith(wanted.pop(entry["id"])), found
        assert results({"databases": [entry]}) == ["verified", "failed", "verified"], found
    assert not wanted
    text = estate.orch("verify", "postgres-a0", code=1)
    assert "postgres-a0  FAILED: 1 of 3 migrations" in text.stdout
    assert "error: migrations/postgres-a0/schema/000002_x.down.sql: postgres-a0: left behind" in text.stderr


def test_a_failing_up_ends_its_database_alone(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", TABLE | pair(2, "SELECT 1;\nSELECT no;", "") | pair(3, "SELECT 1;", ""))
    pg_estate.add("postgres", "b", TABLE, depends_on=["a"])
    document = verify(pg_estate, "--junit", "verify.xml", code=1)
    assert errors(document) == {2: '000002_x.up.sql:2:8: column "no" does not exist'}
    assert results(document) == ["verified", "failed", "left_out", "verified"]
    assert document["databases"][0]["migrations"][2]["reason"] == "version 2, before it, fails"
    cases = ElementTree.parse(pg_estate.root / "verify.xml").getroot().iter("testcase")
    told = [(case.get("classname"), case.get("name"), *(child.tag for child in case)) for case in cases]
    assert sorted(told) == [
        ("postgres-a", "1 a"),
        ("postgres-a", "2 x", "failure"),
        ("postgres-a", "3 x", "skipped"),
        ("postgres-b", "1 a"),
    ]


def test_what_commits_by_itself_and_what_a_database_is_created_with(pg_estate: Estate) -> None:
    files = TABLE | pair(2, "CREATE INDEX CONCURRENTLY i ON a (note);", "DROP INDEX CONCURRENTLY i;")
    files |= pair(3, "ALTER TABLE a ADD COLUMN mail citext;", "ALTER TABLE a DROP COLUMN mail;")
    pg_estate.add("postgres", "a", files, create={"extensions": ["citext"], "connection_limit": 1})
    assert results(verify(pg_estate, code=0)) == ["verified"] * 3


def test_what_reaches_beyond_the_database_is_left_out_and_not_run(estate: Estate) -> None:
    role = f"{estate.prefix}role"
    real = f"{estate.prefix}a"
    files = TABLE | pair(2, f"SELECT 1;\nCREATE ROLE {role};", f"DROP ROLE {role};")
    files |= pair(3, "SELECT 1;", f"ALTER DATABASE {real} SET work_mem TO '7MB';")
    files |= pair(4, "CREATE TABLE z ();", "DROP TABLE z;")
    estate.add("postgres", "a", files)
    m = f"{estate.prefix}m"
    there = json.dumps([{"renameCollection": f"{m}.a", "to": f"{m}.b"}])
    back = json.dumps([{"renameCollection": f"{m}.b", "to": f"{m}.a"}])
    estate.add("mongo", "m", COLLECTION | pair(2, there, back, "js"))
    estate.orch("apply", code=0)
    document = verify(estate, code=0)
    assert results(document) == ["verified", "left_out", "left_out", "verified", "verified", "verified"]
    reasons = [one.get("reason", "") for entry in document["databases"] for one in entry["migrations"]]
    assert reasons[1].endswith("000002_x.up.sql:2:1: CREATE ROLE reaches beyond the database")
    assert "000003_x.down.sql:1:1: ALTER DATABASE" in reasons[2]
    assert "verified: 2 migrations up, down, up, 2 skipped" in estate.orch("verify", "a").stdout
    assert set(estate.mongo("m").list_collection_names()) >= {"b"}  # as apply left it
    estate.sql("a", f"DROP ROLE {role}")


# ---------------------------------------------------------------- when it cannot be done, or is stopped


def test_what_is_wrong_before_anything_begins(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", TABLE | pair(2, "SELECT 'open;", "SELECT 1;"))
    done = pg_estate.orch("verify", "--output", "json", "--junit", "verify.xml", code=4)
    assert "000002_x.up.sql:1:8" in done.json["errors"][0]["where"]
    assert "failure" in (pg_estate.root / "verify.xml").read_text()
    assert "no database is called" in pg_estate.orch("verify", "b", code=2).stderr
    pg_estate.write("postgres-a", {"000002_x.up.sql": "SELECT 1;"})
    pg_estate.env["POSTGRES_PASSWORD"] = "wrong"
    document = pg_estate.orch("verify", "--output", "json", code=7).json
    assert document["databases"][0]["result"] == "failed" and "error" in document["databases"][0]


def test_a_login_that_may_not_create_databases(pg_estate: Estate) -> None:
    server, role = pg_estate.servers["postgres"], f"{pg_estate.prefix}plain"
    pg_estate.add("postgres", "a", TABLE)
    pg_estate.orch("apply")
    pg_estate.sql("a", f"CREATE ROLE {role} LOGIN PASSWORD 'of-the-plain-one'")
    dsn = f"postgres://{role}:of-the-plain-one@{server.host}:{server.port}/{pg_estate.prefix}a?sslmode=disable"
    done = pg_estate.orch("verify", env={"ORCH_DSN_POSTGRES_A": dsn}, code=7)
    assert "CREATEDB" in done.stderr and "of-the-plain-one" not in done.text
    pg_estate.sql("a", f"DROP ROLE {role}")


def test_a_login_that_may_only_create_databases(pg_estate: Estate) -> None:
    server, role = pg_estate.servers["postgres"], f"{pg_estate.prefix}creator"
    pg_estate.add("postgres", "a", TABLE | pair(2, "CREATE INDEX i ON a (note);", ""))
    pg_estate.orch("apply")
    pg_estate.sql("a", f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD 'of-the-creator'")
    dsn = f"postgres://{role}:of-the-creator@{server.host}:{server.port}/{pg_estate.prefix}a?sslmode=disable"
    pg_estate.env["ORCH_DSN_POSTGRES_A"] = dsn
    assert errors(verify(pg_estate, code=1)) == {2: "000002_x.down.sql: left behind after the down: index i"}
    pg_estate.sql("a", f"DROP ROLE {role}")


def test_secantus(tmp_path: Path) -> None:
    estate = Estate(tmp_path, {"mongo": start("secantus")})
    two = pair(2, '[{"createIndexes": "a", "indexes": [{"key": {"x": 1}, "name": "i"}]}]', "[]", "js")
    estate.add("mongo", "a", COLLECTION | two)
    assert errors(verify(estate, code=1)) == {2: "000002_x.down.js: left behind after the down: index a.i"}
    estate.drop()


def test_bookkeeping_under_other_names(estate: Estate) -> None:
    for engine, variable in (("postgres", "x-migrations-table"), ("mongo", "x-migrations-collection")):
        estate.add(engine, "a", TABLE if engine == "postgres" else COLLECTION)
        dsn = estate.servers[engine].dsn(estate.prefix + "a")
        estate.env[f"ORCH_DSN_{engine.upper()}_A"] = f"{dsn}{'&' if '?' in dsn else '?'}{variable}=moved"
    estate.manifest("  - {name: a, server: postgres}\n  - {name: a, server: mongo}\n", "history: {name: told}\n")
    assert results(verify(estate, code=0)) == ["verified"] * 2


def slow(estate: Estate) -> subprocess.Popen[str]:
    """Start it where it takes a minute, and return once both servers are at that."""
    estate.add("postgres", "a", TABLE | pair(2, "CREATE TABLE s ();\nSELECT pg_sleep(60);", "DROP TABLE s;"))
    sleep = {"aggregate": "a", "pipeline": [{"$match": {"$expr": {"$function": _SLEEP}}}], "cursor": {}}
    insert = {"insert": "a", "documents": [{"x": 1}]}
    estate.add("mongo", "m", COLLECTION | pair(2, json.dumps([insert, sleep]), "[]", "js"))
    process = estate.start("verify")
    deadline = time.monotonic() + 60
    while len(of_process(clones(estate), process.pid)) < 2 or not _sleeping(estate):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate()
        time.sleep(0.05)
    return process


_SLEEP = {"body": "function() { sleep(60000); return true; }", "args": [], "lang": "js"}


def _sleeping(estate: Estate) -> bool:
    with psycopg.connect(estate.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
        query = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND pid <> pg_backend_pid()"
        one = connection.execute(query).fetchall()
    operations = estate.client().admin.command("currentOp", {"op": "command"})["inprog"]
    return bool(one) and any("$function" in str(operation.get("command")) for operation in operations)


@pytest.mark.timing
def test_an_interrupt_ends_what_runs_and_drops_the_scratch_databases(estate: Estate) -> None:
    process = slow(estate)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130 and time.monotonic() - started < 40
    assert "Cancelling" in error and "Traceback" not in error
    assert out.count("stopped after 1 migration") == 2
    assert not of_process(clones(estate), process.pid)


@pytest.mark.timing
def test_what_a_killed_one_left_is_dropped_by_the_next(estate: Estate) -> None:
    process = slow(estate)
    left = of_process(clones(estate), process.pid)
    process.kill()
    process.communicate()
    assert len(left) == 2 and all(is_left_behind(name) for name in left)
    estate.write("postgres-a", pair(2, "CREATE TABLE s ();", "DROP TABLE s;"))
    estate.write("mongo-m", pair(2, "[]", "[]", "js"))
    estate.orch("verify")
    assert not clones(estate) & left
