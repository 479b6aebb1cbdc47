"""`orch apply` and the commands around it, as a user runs them: processes, on real servers."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from estate import ORCH, Estate, Files
from gate import closed_gate, interrupted

from orchestrator import embedded
from orchestrator.embedded import Server
from orchestrator.embedded.process import free_port

REPOSITORY = Path(__file__).parents[2]
ONE = {"000001_one.up.sql": "CREATE TABLE one (id int);", "000001_one.down.sql": "DROP TABLE one;"}
TWO = {"000002_two.up.sql": "CREATE TABLE two (id int);", "000002_two.down.sql": "DROP TABLE two;"}


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def end(process: subprocess.Popen[str], seconds: float = 30) -> tuple[int, str, str]:
    """Wait for a process; return its exit code and output."""
    out, err = process.communicate(timeout=seconds)
    assert "Traceback" not in out + err, err
    return process.returncode, out, err


def sleepers(server: Server, mark: str) -> list[tuple[Any, ...]]:
    """Return the running statements on the server that hold this text."""
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        query = "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE %s"
        return connection.execute(query, (f"%{mark}%",)).fetchall()


# ---------------------------------------------------------------- the estate of the repository


@pytest.fixture
def shop(estate: Estate) -> Estate:
    """The seven databases, with a prefix before their names on the servers."""
    text = (REPOSITORY / "databases.yaml").read_text()
    (estate.root / "databases.yaml").write_text(text.replace("/{database}", f"/{estate.prefix}{{database}}"))
    shutil.copytree(REPOSITORY / "migrations", estate.root / "migrations")
    estate.env.update(embedded.environment(estate.servers))
    return estate


SEVEN = [
    "postgres-product",
    "postgres-user",
    "postgres-order",
    "postgres-inventory",
    "mongo-product",
    "mongo-analytics",
    "mongo-logs",
]


def test_the_shop_from_nothing(shop: Estate) -> None:
    first = shop.orch("apply")
    for id in SEVEN:
        assert re.search(rf"^{id} +done +\d+ +\d+ +[\d.]+ s$", first.stdout, re.M), first.stdout
    assert "7 databases done" in first.stderr
    assert shop.sql("inventory", "SELECT count(*) FROM warehouses") == [(3,)]
    assert shop.version_row("inventory") == [(2, False)]
    assert shop.mongo("logs")["application_logs"].count_documents({}) == 1
    assert shop.mongo("logs")["schema_migrations"].find_one({}, {"_id": 0}) == {"version": 2, "dirty": False}

    before = shop.snapshot()
    second = shop.orch("apply")
    assert "Nothing to do: 7 databases up to date." in second.stderr
    assert shop.snapshot() == before

    status = shop.orch("status", "--output", "json").json
    assert list(status) == ["format", "databases"]
    assert status["format"] == 1
    assert [entry["id"] for entry in status["databases"]] == SEVEN
    inventory = status["databases"][3]
    assert (inventory["database"], inventory["running"]) == (f"{shop.prefix}inventory", None)
    assert {key: inventory[key] for key in inventory if key not in ("notes", "database", "endpoint", "running")} == {
        "id": "postgres-inventory",
        "engine": "postgres",
        "name": "inventory",
        "exists": True,
        "version": 2,
        "dirty": False,
        "applied": [1, 2],
        "pending": [],
        "problems": [],
    }


def test_only_inventory_brings_what_it_depends_on_and_touches_nothing_else(shop: Estate) -> None:
    shop.orch("apply", "--only", "inventory")
    found = shop.snapshot()
    assert sorted(found) == ["postgres-inventory", "postgres-order", "postgres-product", "postgres-user"]
    assert shop.version_row("order")[0][1] is False


def test_every_migration_of_the_shop_goes_down_and_up_again(shop: Estate) -> None:
    shop.orch("apply")
    before = {id: set(content) for id, content in shop.snapshot().items()}
    for id in reversed(SEVEN):
        shop.orch("rollback", id, "--to", "0", "--yes")
    left = {id: set(content) for id, content in shop.snapshot().items()}
    bookkeeping = {"schema_migrations", "orch_history", "migrate_advisory_lock"}
    for id, names in left.items():
        plain = {name if isinstance(name, str) else name[1] for name in names}
        assert {name for name in plain if not name.startswith(tuple(bookkeeping))} == set(), id
    assert all(entry["version"] is None for entry in shop.orch("status", "--output", "json").json["databases"])
    shop.orch("apply")
    assert {id: set(content) for id, content in shop.snapshot().items()} == before


def test_queries_leave_the_servers_as_they_are(shop: Estate) -> None:
    for arguments in (["plan"], ["status"], ["validate"], ["graph"], ["plan", "-o", "plan.json"], ["history", "logs"]):
        shop.orch(*arguments, code=None)
        assert shop.snapshot() == {}, arguments
    shop.orch("apply", "--only", "product", code=2)  # of which there are two
    shop.orch("apply", "--only", "postgres-product", "--only", "logs")
    before = shop.snapshot()
    for arguments in (["plan"], ["status"], ["validate"], ["graph"], ["history", "logs"]):
        shop.orch(*arguments)
        assert shop.snapshot() == before, arguments


# ---------------------------------------------------------------- which databases


@pytest.fixture
def chain(pg_estate: Estate) -> Estate:
    """a ← b ← c, and d alone; one migration each."""
    pg_estate.add("postgres", "a", ONE, labels=["core"])
    pg_estate.add("postgres", "b", ONE, depends_on=["a"], labels=["core"])
    pg_estate.add("postgres", "c", ONE, depends_on=["b"])
    pg_estate.add("postgres", "d", ONE)
    return pg_estate


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--only", "b"], "ab"),
        (["--only", "postgres-b", "--no-deps"], "b"),
        (["--only", "[cd]", "--no-deps"], "cd"),
        (["--only", "label:core"], "ab"),
        (["--only", "c", "--exclude", "a"], "bc"),
        (["--exclude", "postgres-[ab]"], "cd"),
    ],
)
def test_selection(chain: Estate, arguments: list[str], expected: str) -> None:
    chain.orch("apply", *arguments)
    assert sorted(chain.snapshot()) == [f"postgres-{name}" for name in expected]


def test_a_name_that_is_nearly_one(chain: Estate) -> None:
    result = chain.orch("apply", "--only", "postgres-dd", code=2)
    assert "did you mean 'postgres-d'?" in result.stderr


def test_to_a_version(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE | TWO)
    pg_estate.add("postgres", "b", ONE | TWO, depends_on=["a"])
    pg_estate.orch("apply", "--only", "b", "--to", "1")
    assert pg_estate.version_row("b") == [(1, False)]
    assert pg_estate.version_row("a") == [(2, False)]
    assert "7" in pg_estate.orch("apply", "--only", "b", "--to", "7", code=2).stderr
    pg_estate.orch("apply", "--to", "1", code=2)
    pg_estate.orch("apply", "--only", "b")
    assert "orch rollback postgres-b --to 1" in pg_estate.orch("apply", "--only", "b", "--to", "1", code=2).stderr


# ---------------------------------------------------------------- plans


def test_plan_exit_code(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    assert "1 to create, 1 migration to run" in pg_estate.orch("plan").stdout
    pg_estate.orch("plan", "--exit-code", code=3)
    pg_estate.orch("apply")
    pg_estate.orch("plan", "--exit-code", code=0)


def test_a_saved_plan_does_what_it_says(estate: Estate) -> None:
    estate.add("postgres", "a", ONE | TWO)
    estate.add("mongo", "m", {"1_c.up.js": '[{"create": "c"}]', "1_c.down.js": '[{"drop": "c"}]'})
    estate.orch("plan", "-o", "plan.json")
    saved = (estate.root / "plan.json").read_text()
    for server in estate.servers.values():
        assert server.password not in saved
    estate.write("postgres-a", {"000003_three.up.sql": "CREATE TABLE three (id int)"})
    estate.orch("apply", "plan.json")
    assert estate.tables("a") == {"one", "two"}
    assert estate.orch("apply", "plan.json").code == 0, "what is done as planned is done"
    estate.orch("apply", "plan.json", "--only", "a", code=2)


def test_a_stale_plan_stops_its_database_only(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE | TWO)
    pg_estate.add("postgres", "b", ONE)
    pg_estate.orch("apply", "--only", "a", "--to", "1")
    pg_estate.orch("plan", "-o", "plan.json")
    pg_estate.orch("rollback", "a", "--steps", "1", "--yes")
    result = pg_estate.orch("apply", "plan.json", code=5)
    assert "postgres-a changed after the plan was made" in result.stderr
    assert pg_estate.tables("a") == set()
    assert pg_estate.tables("b") == {"one"}


def test_a_file_that_changed_after_the_plan(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    pg_estate.orch("plan", "-o", "plan.json")
    pg_estate.write("postgres-a", {"000001_one.up.sql": "CREATE TABLE other (id int);"})
    result = pg_estate.orch("apply", "plan.json", code=5)
    assert "000001_one.up.sql changed after the plan was made" in result.stderr
    assert pg_estate.snapshot() == {}


@pytest.mark.parametrize("moved", ["HOST", "PREFIX"])
def test_a_plan_for_another_server_or_database_is_refused(pg_estate: Estate, moved: str) -> None:
    """The environment alone tells them apart: neither files nor manifest changed."""
    pg_estate.add("postgres", "a", ONE)
    pg_estate.add("postgres", "b", ONE, depends_on=["a"])
    manifest, prefix = pg_estate.root / "databases.yaml", pg_estate.prefix
    manifest.write_text(manifest.read_text().replace("127.0.0.1", "${HOST}").replace(f"/{prefix}", "/${PREFIX}"))
    there = {"HOST": "127.0.0.1", "PREFIX": prefix}
    here = there | {moved: {"HOST": "localhost", "PREFIX": f"{prefix}other_"}[moved]}
    pg_estate.orch("plan", "-o", "plan.json", env=there)
    refused = pg_estate.orch("apply", "plan.json", code=5, env=here)
    assert "the plan of postgres-a is for postgres" in refused.stderr
    assert here[moved] in refused.stderr and there[moved] in refused.stderr
    assert "make the plan where it is applied" in refused.stderr
    assert "create the database" not in refused.stderr, "what is shown is what happens"
    assert pg_estate.snapshot() == {}


def test_a_plan_for_other_databases_leaves_the_rest(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    pg_estate.add("postgres", "b", ONE)
    pg_estate.orch("plan", "-o", "plan.json")
    plan = json.loads((pg_estate.root / "plan.json").read_text())
    plan["databases"][0]["endpoint"] = "elsewhere:5432"
    (pg_estate.root / "plan.json").write_text(json.dumps(plan))
    (failed, done) = pg_estate.orch("apply", "plan.json", "--output", "json", code=5).json["databases"]
    assert (failed["result"], failed["error"]["kind"], done["result"]) == ("failed", "stale_plan", "done")
    assert set(pg_estate.snapshot()) == {"postgres-b"}


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (["databases", 1, "id"], "postgres-a", "twice"),
        (["databases", 0, "depends_on"], ["postgres-b"], "depends on postgres-b, which comes later"),
        (["databases", 1, "depends_on"], ["postgres-x"], "depends on postgres-x, which is not in it"),
        (["databases", 0, "steps", 0, "direction"], "down", "does not go up"),
        (["databases", 0, "steps", 0, "version"], 1.0, "is not of type 'integer'"),
        (["databases", 0, "steps", 0, "version"], "1", "is not of type 'integer'"),
        (["databases", 0, "steps"], {}, "is not of type 'array'"),
        (["databases", 0, "force"], True, "'force' was unexpected"),
        (["databases", 0, "failure"], {}, "failure"),
        (["databases", 0, "failure"], {"kind": "x", "exit_code": 0, "what": "x"}, "failure"),
        (["databases"], "x" * 100_000, "is not of type 'array'"),
        (["direction"], "sideways", "is not one of"),
    ],
)
def test_a_plan_that_contradicts_itself(pg_estate: Estate, path: list[str | int], value: object, said: str) -> None:
    pg_estate.add("postgres", "a", ONE)
    pg_estate.add("postgres", "b", ONE, depends_on=["a"])
    pg_estate.orch("plan", "-o", "plan.json")
    plan = json.loads((pg_estate.root / "plan.json").read_text())
    place = plan
    for key in path[:-1]:
        place = place[key]
    if path[-1] == "failure" and isinstance(value, dict) and value:
        value = {"where": "", "detail": "", "hint": "", "code": "", **value}
        said = "exit code 0"
    place[path[-1]] = value
    (pg_estate.root / "plan.json").write_text(json.dumps(plan))
    refused = pg_estate.orch("apply", "plan.json", code=4)
    assert "plan.json is not a plan" in refused.stderr and said in refused.stderr
    assert len(refused.stderr) < 2_000 and "fault in orch" not in refused.stderr
    assert pg_estate.snapshot() == {}


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"format": 99}', '{"format": 1, "databases": [1]}', "[" * 100_000, "\u00ff".encode("latin-1")],
)
def test_a_plan_that_is_none(pg_estate: Estate, text: str | bytes) -> None:
    pg_estate.add("postgres", "a", ONE)
    (pg_estate.root / "plan.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    refused = pg_estate.orch("apply", "plan.json", code=4)
    assert "plan.json" in refused.stderr and "fault in orch" not in refused.stderr


def test_a_plan_for_a_database_that_is_no_longer_declared(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    pg_estate.orch("plan", "-o", "plan.json")
    (pg_estate.root / "databases.yaml").write_text(
        (pg_estate.root / "databases.yaml").read_text().replace('"a"', '"b"')
    )
    pg_estate.write("postgres-b", ONE)
    pg_estate.orch("apply", "plan.json", code=2)
    assert pg_estate.snapshot() == {}


# ---------------------------------------------------------------- failures


def test_of_a_long_line_only_what_is_around_the_place_is_shown(pg_estate: Estate, mongo_estate: Estate) -> None:
    """A JSON file is often one line."""
    before = "SELECT '" + "x" * 600 + "'; "
    pg_estate.add("postgres", "a", {"000001_one.up.sql": f"{before}SELECT nonsense; SELECT '{'y' * 600}';\r\n"})
    said = pg_estate.orch("apply", code=1).stderr
    line, caret = re.findall(r"^  (.*…)\n  ( +\^)$", said, re.M)[0]
    assert line[len(caret) - 1 :].startswith("nonsense") and line.startswith("…")
    assert len(line) == 102 and f"000001_one.up.sql:1:{len(before) + 8}" in said
    commands = [{"create": f"c{number}"} for number in range(60)] + [{"collMod": "none"}]
    mongo_estate.add("mongo", "a", {"000001_one.up.js": json.dumps(commands)})
    said = mongo_estate.orch("apply", code=1).stderr
    assert max(map(len, said.splitlines())) < 200
    (line, caret), *_ = re.findall(r"^  (….*)\n  ( +\^)$", said, re.M)
    assert line[len(caret) - 1 :].startswith('{"collMod": "none"}')


def test_a_failure_leaves_no_trace_and_blocks_only_what_is_downstream(chain: Estate) -> None:
    bad = {"000002_bad.up.sql": "CREATE TABLE half (id int);\n\nINSERT INTO half\n    VALUES (1, nonsense);\n"}
    chain.write("postgres-b", bad)
    result = chain.orch("apply", "--output", "json", code=1)
    assert chain.tables("b") == {"one"}
    assert chain.version_row("b") == [(1, False)]
    assert chain.status("postgres-b")["dirty"] is False
    assert chain.status("postgres-c")["exists"] is False
    assert chain.tables("a") == chain.tables("d") == {"one"}

    found = {entry["id"]: entry for entry in result.json["databases"]}
    assert {id: entry["result"] for id, entry in found.items()} == {
        "postgres-a": "done",
        "postgres-b": "failed",
        "postgres-c": "blocked",
        "postgres-d": "done",
    }
    assert found["postgres-c"]["blocked_by"] == ["postgres-b"]
    assert found["postgres-b"]["error"]["code"] == "42703"
    assert found["postgres-b"]["error"]["where"].endswith("000002_bad.up.sql:4:16")
    assert result.json["exit_code"] == 1

    text = chain.orch("apply", code=1)
    assert text.stderr.count("error:") == 1, "root causes only"
    assert "migrations/postgres-b/schema/000002_bad.up.sql:4:16: " in text.stderr
    assert "      VALUES (1, nonsense);\n                 ^\n" in text.stderr
    assert "42703" in text.stderr
    assert "nothing of this file is in the database: correct what is wrong, and run again" in text.stderr
    assert text.text.count('column "nonsense" does not exist') == 1, "each failure is told once"
    assert re.search(r"^postgres-c +blocked by postgres-b\npostgres-b +failed$", text.stdout, re.M), "problems last"
    assert "1 failed, 1 blocked, 2 unchanged" in text.stderr

    chain.write("postgres-b", {"000002_bad.up.sql": "CREATE TABLE whole (id int);"})
    chain.orch("apply")
    assert chain.tables("b") == {"one", "whole"}
    assert chain.tables("c") == {"one"}


@pytest.mark.parametrize(
    ("before", "pad"),
    [
        ("SELECT 'ที่นี่', ", " " * 13),
        ("SELECT\t'ก้ำ', ", " " * 6 + "\t" + " " * 6),
        ("SELECT '数据', ", " " * 15),
        ("SELECT 'ab', ", " " * 13),
    ],
)
def test_the_caret_is_under_the_place_whatever_the_letters(pg_estate: Estate, before: str, pad: str) -> None:
    pg_estate.add("postgres", "a", {"1_a.up.sql": f"{before}nonsense"})
    said = pg_estate.orch("apply", code=1).stderr
    assert f"  {before}nonsense\n  {pad}^\n" in said
    assert f"1_a.up.sql:1:{len(before) + 1}: " in said


def test_two_root_causes_below_one_database(pg_estate: Estate) -> None:
    bad = {"1_bad.up.sql": "SELECT * FROM nowhere"}
    pg_estate.add("postgres", "x", bad)
    pg_estate.add("postgres", "y", bad)
    pg_estate.add("postgres", "z", ONE, depends_on=["x", "y"])
    result = pg_estate.orch("apply", code=1)
    assert result.stderr.count("error:") == 2
    assert re.search(r"^postgres-z +blocked by postgres-x, postgres-y$", result.stdout, re.M)


def test_fail_fast_starts_nothing_new(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_bad.up.sql": "SELECT * FROM nowhere"})
    pg_estate.add("postgres", "b", ONE)
    result = pg_estate.orch("apply", "--fail-fast", "--jobs", "1", code=1)
    assert sorted(pg_estate.snapshot()) == ["postgres-a"]
    assert "1 not done" in result.stderr


def test_detail_and_hint_of_the_server_are_shown(pg_estate: Estate) -> None:
    pg_estate.add(
        "postgres", "a", {"1_x.up.sql": "CREATE TABLE t (id int PRIMARY KEY);\nINSERT INTO t VALUES (1), (1);"}
    )
    result = pg_estate.orch("apply", code=1)
    assert "1_x.up.sql:2:1: " in result.stderr
    assert "23505" in result.stderr
    assert "Key (id)=(1) already exists." in result.stderr


def test_places_count_characters_not_bytes(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_x.up.sql": "-- คลังสินค้า 🐘\r\nSELECT 'กรุงเทพ' AS ชื่อ, nonsense;\r\n"})
    result = pg_estate.orch("apply", code=1)
    assert "1_x.up.sql:2:27: " in result.stderr


def test_an_error_inside_a_wrapped_file_with_modes_has_its_place(pg_estate: Estate) -> None:
    text = "BEGIN ISOLATION LEVEL SERIALIZABLE;\nCREATE TABLE t (id int);\nINSERT INTO t VALUES (nonsense);\nCOMMIT;\n"
    pg_estate.add("postgres", "a", {"1_x.up.sql": text})
    assert "1_x.up.sql:3:23: " in pg_estate.orch("apply", code=1).stderr


def test_the_error_of_a_deferred_constraint_is_a_failure(pg_estate: Estate) -> None:
    text = (
        "CREATE TABLE p (id int PRIMARY KEY);\n"
        "CREATE TABLE c (p int REFERENCES p DEFERRABLE INITIALLY DEFERRED);\n"
        "INSERT INTO c VALUES (1);\n"
    )
    pg_estate.add("postgres", "a", {"1_x.up.sql": text})
    assert "23503" in pg_estate.orch("apply", code=1).text
    assert pg_estate.tables("a") == set()


# ---------------------------------------------------------------- PostgreSQL files


def test_a_file_with_its_own_transaction_is_like_one_without(pg_estate: Estate) -> None:
    pg_estate.add(
        "postgres",
        "a",
        {
            "1_x.up.sql": "BEGIN;\nCREATE TABLE x (id int);\nCOMMIT;\n",
            "2_y.up.sql": "BEGIN;\nCREATE TABLE y (id int);\nSELECT 1/0;\nCOMMIT;\n",
        },
    )
    result = pg_estate.orch("apply", code=1)
    assert "2_y.up.sql:3:" in result.stderr
    assert pg_estate.tables("a") == {"x"}
    assert pg_estate.version_row("a") == [(1, False)]


def test_nothing_to_run_is_legal(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_x.up.sql": "", "2_y.up.sql": " \n-- nothing\n", "3_z.up.sql": "BEGIN; COMMIT;"})
    pg_estate.orch("apply")
    assert pg_estate.version_row("a") == [(3, False)]


def test_session_settings_do_not_reach_the_next_file(pg_estate: Estate) -> None:
    pg_estate.add(
        "postgres",
        "a",
        {
            "1_leaks.up.sql": (
                "SET search_path = '';\nSET statement_timeout = 4321000;\nSET lock_timeout = 4321000;\n"
                "SET standard_conforming_strings = off;\nSET row_security = off;\nSET timezone = 'Asia/Bangkok';\n"
                "CREATE TEMP TABLE scratch (id int);\nSELECT set_config('my.own', 'x', false);\n"
                "SET ROLE pg_read_all_stats;\n"
            ),
            "2_alone.up.sql": "-- orch: no-transaction\nSET search_path = '';\nSET statement_timeout = 4321000;\n",
            "3_seen.up.sql": (
                "CREATE TABLE seen AS SELECT name, setting FROM pg_settings WHERE name IN "
                "('search_path', 'statement_timeout', 'standard_conforming_strings', 'row_security')\n"
                "UNION ALL SELECT 'role', current_user = session_user || ''\n::text;\n".replace(
                    "'role', current_user = session_user || ''\n::text", "'role', (current_user = session_user)::text"
                )
                + "INSERT INTO seen SELECT 'scratch', coalesce(to_regclass('pg_temp.scratch')::text, 'gone');\n"
                "INSERT INTO seen SELECT 'own', coalesce(nullif(current_setting('my.own', true), ''), 'gone');\n"
            ),
        },
    )
    pg_estate.orch("apply")
    assert dict(pg_estate.sql("a", "SELECT * FROM seen")) == {
        "search_path": '"$user", public',
        "statement_timeout": "0",
        "standard_conforming_strings": "on",
        "row_security": "on",
        "role": "true",
        "scratch": "gone",
        "own": "gone",
    }


def test_a_file_that_cannot_be_one_transaction_continues_where_it_failed(pg_estate: Estate) -> None:
    lines = [
        "CREATE TABLE t (id int);",
        "INSERT INTO t VALUES (1), (1);",
        "CREATE UNIQUE INDEX CONCURRENTLY t_id ON t (id);",
        "CREATE TABLE after_it (id int);",
    ]
    pg_estate.add("postgres", "a", {"1_x.up.sql": "\n".join(lines)})
    assert "[4 statements, not transactional]" in pg_estate.orch("plan").stdout
    result = pg_estate.orch("apply", code=1)
    assert "1_x.up.sql:3:1" in result.stderr
    assert "23505" in result.stderr
    assert (
        "2 of 4 statements are done and recorded: leave those as they are, correct the file from line 3"
        in result.stderr
    )
    assert pg_estate.tables("a") == {"t"}
    assert pg_estate.sql("a", "SELECT count(*) FROM pg_class WHERE relname = 't_id'") == [(0,)], (
        "no INVALID index stays"
    )
    status = pg_estate.status("postgres-a")
    assert status["pending"] == [1]
    assert [problem["kind"] for problem in status["problems"]] == ["partial"]
    assert "statement 3 of 4" in status["problems"][0]["what"]

    lines[2] = "DELETE FROM t; CREATE UNIQUE INDEX CONCURRENTLY t_id ON t (id);"  # what failed may be mended
    pg_estate.write("postgres-a", {"1_x.up.sql": "\n".join(lines)})
    assert "continues at statement 3 of 5" in pg_estate.orch("plan").stdout
    pg_estate.orch("apply")
    assert pg_estate.tables("a") == {"t", "after_it"}
    assert pg_estate.version_row("a") == [(1, False)]
    assert pg_estate.status("postgres-a")["problems"] == []


def test_what_already_ran_of_a_half_done_file_may_not_change(pg_estate: Estate) -> None:
    text = "-- orch: no-transaction\nCREATE TABLE t (id int);\nSELECT * FROM nowhere;\n"
    pg_estate.add("postgres", "a", {"1_x.up.sql": text})
    pg_estate.orch("apply", code=1)
    before = pg_estate.snapshot()
    pg_estate.write("postgres-a", {"1_x.up.sql": text.replace("t (id int)", "t (id bigint)")})
    changed = pg_estate.orch("apply", code=5).stderr
    assert "the part that already ran was changed (the first 1 of 2 statements; the next begins at line 3)" in changed
    assert pg_estate.snapshot() == before


def test_a_failure_of_the_first_statement_alone_is_as_if_it_never_ran(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {**ONE, "2_x.up.sql": "VACUUM nowhere;"})
    pg_estate.orch("apply", code=1)
    assert pg_estate.version_row("a") == [(1, False)]
    assert pg_estate.status("postgres-a")["problems"] == []
    pg_estate.write("postgres-a", {"2_x.up.sql": "VACUUM one;"})
    pg_estate.orch("apply")
    assert pg_estate.version_row("a") == [(2, False)]


def test_a_statement_that_takes_too_long(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_x.up.sql": "-- orch: statement_timeout=100ms\nSELECT pg_sleep(30);"})
    assert "57014" in pg_estate.orch("apply", code=1).stderr


def test_extensions_and_what_create_database_needs(pg_estate: Estate) -> None:
    create = {"extensions": ["plpgsql", "citext"], "encoding": "UTF8", "template": "template0", "connection_limit": 7}
    pg_estate.add("postgres", "a", {"1_x.up.sql": "CREATE TABLE t (name citext);"}, create=create)
    pg_estate.orch("apply")
    query = "SELECT datconnlimit, pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()"
    assert pg_estate.sql("a", query) == [(7, "UTF8")]
    assert "Nothing to do" in pg_estate.orch("apply").stderr


# ---------------------------------------------------------------- MongoDB files


def test_mongo_continues_at_the_failed_command(mongo_estate: Estate) -> None:
    good = '{"create": "things"}', '{"insert": "things", "documents": [{"_id": 1}]}'
    bad = '{"createIndexes": "things", "indexes": [{"key": {"a": "sideways"}, "name": "a"}]}'
    last = '{"insert": "things", "documents": [{"_id": 2}]}'
    text = f"[\n  {good[0]},\n  {good[1]},\n  {bad},\n  {last}\n]\n"
    mongo_estate.add("mongo", "m", {"1_x.up.js": text})
    result = mongo_estate.orch("apply", code=1)
    assert "migrations/mongo-m/schema/1_x.up.js:4:3: " in result.stderr
    assert "statement 3 of 4, 67 CannotCreateIndex" in result.stderr
    assert (
        "2 of 4 statements are done and recorded: leave those as they are, correct the file from line 4"
        in result.stderr
    )
    assert mongo_estate.mongo("m")["things"].count_documents({}) == 1
    assert mongo_estate.mongo("m")["schema_migrations"].find_one({}, {"_id": 0}) == {"version": 1, "dirty": True}
    mongo_estate.write("mongo-m", {"1_x.up.js": text.replace("sideways", "hashed")})
    mongo_estate.orch("apply")
    assert mongo_estate.mongo("m")["things"].count_documents({}) == 2
    assert mongo_estate.mongo("m")["schema_migrations"].find_one({}, {"_id": 0}) == {"version": 1, "dirty": False}


def test_write_errors_are_failures(mongo_estate: Estate) -> None:
    text = '[{"insert": "c", "documents": [{"_id": 1}, {"_id": 1}]}]'
    mongo_estate.add("mongo", "m", {"1_x.up.js": text})
    result = mongo_estate.orch("apply", code=1)
    assert "1_x.up.js:1:44: mongo-m: document 2 of 2: E11000" in result.stderr
    assert mongo_estate.mongo("m")["c"].count_documents({}) == 0, "one transaction: nothing of it stays"
    assert mongo_estate.status("mongo-m")["problems"] == []


def test_collections_that_no_transaction_may_write_to(mongo_estate: Estate) -> None:
    """Made in the same file or before: their documents are written alone, with the intent before."""
    fill = '{"insert": "log", "documents": [{"_id": 1, "t": {"$date": "2026-01-01T00:00:00Z"}}]}'
    kinds = {
        "capped": '{"create": "log", "capped": true, "size": 4096}',
        "series": '{"create": "log", "timeseries": {"timeField": "t"}}',
    }
    for name, create in kinds.items():
        again = fill.replace('"_id": 1', '"_id": 2')
        mongo_estate.add("mongo", name, {"1_x.up.js": f"[{create}, {fill}]", "2_y.up.js": f"[{again}]"})
    mongo_estate.orch("apply")
    for name in kinds:
        assert [row["_id"] for row in mongo_estate.mongo(name)["log"].find()] == [1, 2]
        assert mongo_estate.status(f"mongo-{name}")["version"] == 2


def test_a_command_that_is_no_command(mongo_estate: Estate) -> None:
    for number, command in enumerate(
        ('{"createIndexes": "c", "indexes": ["a"]}', '{"renameCollection": 5}', '{"drop": 7}', '{"dance": 1}')
    ):
        mongo_estate.add("mongo", f"m{number}", {"1_x.up.js": f"[{command}]"})
    result = mongo_estate.orch("apply", code=4)
    assert result.stderr.count("1_x.up.js:1:2: ") >= 2
    assert "unexpected" not in result.stderr


def test_canonical_and_relaxed_extended_json(mongo_estate: Estate) -> None:
    documents = """{"_id": 1, "at": {"$date": "2024-12-24T00:00:00Z"}, "n": 5, "big": 5000000000},
        {"_id": 2, "at": {"$date": {"$numberLong": "1734998400000"}}, "n": {"$numberInt": "5"},
         "big": {"$numberLong": "5000000000"}, "price": {"$numberDecimal": "9.95"},
         "id": {"$oid": "507f1f77bcf86cd799439011"}}"""
    mongo_estate.add("mongo", "m", {"1_x.up.js": f'[{{"insert": "c", "documents": [{documents}]}}]'})
    mongo_estate.orch("apply")
    first, second = mongo_estate.mongo("m")["c"].find().sort("_id")
    assert (first["at"], first["n"], first["big"]) == (second["at"], second["n"], second["big"])
    types = mongo_estate.mongo("m")["c"].aggregate(
        [
            {
                "$project": {
                    "n": {"$type": "$n"},
                    "big": {"$type": "$big"},
                    "at": {"$type": "$at"},
                    "price": {"$type": "$price"},
                }
            }
        ]
    )
    assert [{k: v for k, v in t.items() if k != "_id"} for t in types] == [
        {"n": "int", "big": "long", "at": "date", "price": "missing"},
        {"n": "int", "big": "long", "at": "date", "price": "decimal"},
    ]


def test_key_order_reaches_the_server(mongo_estate: Estate) -> None:
    text = '[{"createIndexes": "c", "indexes": [{"key": {"z": 1, "a": -1, "m": 1}, "name": "zam"}]}]'
    mongo_estate.add("mongo", "m", {"1_x.up.js": text})
    mongo_estate.orch("apply")
    assert list(mongo_estate.mongo("m")["c"].index_information()["zam"]["key"]) == [("z", 1), ("a", -1), ("m", 1)]


# ---------------------------------------------------------------- rollback


def test_rollback_takes_back_exactly_as_many(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE | TWO)
    pg_estate.orch("apply")
    assert "--yes" in pg_estate.orch("rollback", "a", "--steps", "1", code=2).stderr
    pg_estate.orch("rollback", "a", "--yes", code=2)
    assert "2 applied" in pg_estate.orch("rollback", "a", "--steps", "3", "--yes", code=2).stderr
    assert pg_estate.tables("a") == {"one", "two"}
    pg_estate.orch("rollback", "a", "--steps", "1", "--yes")
    assert pg_estate.tables("a") == {"one"}
    assert pg_estate.version_row("a") == [(1, False)]
    pg_estate.orch("rollback", "a", "--to", "0", "--yes")
    assert pg_estate.tables("a") == set()
    assert pg_estate.version_row("a") == [], "golang-migrate leaves the table empty after the last down"
    assert pg_estate.status("postgres-a")["pending"] == [1, 2]
    pg_estate.orch("apply")
    assert pg_estate.tables("a") == {"one", "two"}
    pg_estate.orch("rollback", "a", "--to", "1", "--yes")
    assert pg_estate.tables("a") == {"one"}
    assert "Nothing" in pg_estate.orch("rollback", "a", "--to", "1", "--yes").stderr
    pg_estate.orch("rollback", "a", "--to", "2", "--yes", code=2)


def test_several_go_down_in_order_also_past_one_that_is_not_named(chain: Estate) -> None:
    chain.orch("apply")
    chain.orch("rollback", "b", "--to", "0", "--yes", "--ignore-dependents")
    slow = "SELECT pg_sleep(0.5); DROP TABLE one;"
    chain.write("postgres-c", {"000001_one.down.sql": slow})
    lines = chain.orch("rollback", "a", "c", "--to", "0", "--yes", "--output", "jsonl").stdout.splitlines()
    events = [(event["event"], event.get("database")) for event in map(json.loads, lines[1:])]
    assert events.index(("DatabaseFinished", "postgres-c")) < events.index(("DatabaseStarted", "postgres-a"))


def test_the_last_down_of_mongo(mongo_estate: Estate) -> None:
    mongo_estate.add("mongo", "m", {"1_c.up.js": '[{"create": "c"}]', "1_c.down.js": '[{"drop": "c"}]'})
    mongo_estate.orch("apply")
    mongo_estate.orch("rollback", "m", "--steps", "1", "--yes")
    assert mongo_estate.mongo("m")["schema_migrations"].find_one({}, {"_id": 0}) == {"version": -1, "dirty": False}
    assert mongo_estate.status("mongo-m")["version"] is None
    mongo_estate.orch("apply")
    assert "c" in mongo_estate.mongo("m").list_collection_names()


def test_a_missing_down_file_is_refused_unless_told(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {**ONE, "2_x.up.sql": "CREATE TABLE x (id int);"})
    pg_estate.orch("apply")
    result = pg_estate.orch("rollback", "a", "--to", "0", "--yes", code=5)
    assert "version 2" in result.stderr
    assert "no down file" in result.stderr
    assert pg_estate.tables("a") == {"one", "x"}, "not even the others were taken back"
    pg_estate.orch("rollback", "a", "--steps", "1", "--yes", "--allow-missing-down")
    assert pg_estate.version_row("a") == [(1, False)]
    assert pg_estate.tables("a") == {"one", "x"}


def test_a_failing_down_leaves_no_trace(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {**ONE, "000001_one.down.sql": "DROP TABLE one;\nDROP TABLE nowhere;"})
    pg_estate.orch("apply")
    assert "000001_one.down.sql:2:1" in pg_estate.orch("rollback", "a", "--steps", "1", "--yes", code=1).stderr
    assert pg_estate.tables("a") == {"one"}
    assert pg_estate.version_row("a") == [(1, False)]


# ---------------------------------------------------------------- signals


def test_the_first_interrupt_lets_what_runs_finish_and_starts_nothing_new(pg_estate: Estate) -> None:
    with closed_gate(pg_estate.servers["postgres"]) as gate:
        slow = "CREATE TABLE slow (id int);\n" + gate.sql
        pg_estate.add("postgres", "a", {"1_slow.up.sql": slow, **TWO})
        pg_estate.add("postgres", "b", ONE, depends_on=["a"])
        with pg_estate.start("apply") as process:
            until(lambda: sleepers(pg_estate.servers["postgres"], gate.name))
            said = interrupted(process)
            gate.open()
            code, _, err = end(process)
        err = said + err
        assert code == 130, err
        assert "stopping: what runs may finish" in err
        assert pg_estate.tables("a") == {"slow"}
        assert pg_estate.version_row("a") == [(1, False)]
        assert "postgres-b" not in pg_estate.snapshot()
        pg_estate.orch("apply")
        assert pg_estate.tables("a") == {"slow", "two"}


def test_what_waits_for_one_that_was_stopped_is_not_done_and_not_blocked(pg_estate: Estate) -> None:
    with closed_gate(pg_estate.servers["postgres"]) as gate:
        pg_estate.add("postgres", "a", {"1_slow.up.sql": gate.sql, **TWO})
        pg_estate.add("postgres", "b", ONE, depends_on=["a"])
        pg_estate.add("postgres", "c", ONE, depends_on=["b"])
        with pg_estate.start("apply", "--output", "json") as process:
            until(lambda: sleepers(pg_estate.servers["postgres"], gate.name))
            said = interrupted(process)
            gate.open()
            code, out, err = end(process)
        err = said + err
        assert code == 130, err
        assert {entry["id"]: entry["result"] for entry in json.loads(out)["databases"]} == dict.fromkeys(
            ["postgres-a", "postgres-b", "postgres-c"], "skipped"
        )
        assert "3 not done" in err


@pytest.mark.parametrize("whole", [True, False], ids=["all is done", "one is cut"])
def test_what_had_nothing_to_do_is_not_left_undone_by_an_interrupt(pg_estate: Estate, whole: bool) -> None:
    """Neither behind the one that runs, nor elsewhere in the queue: they count as in a run that nobody disturbs."""
    with closed_gate(pg_estate.servers["postgres"]) as gate:
        pg_estate.add("postgres", "a", ONE)
        for name, needs in {"b": ["a"], "c": ["b"], "d": []}.items():
            pg_estate.add("postgres", name, ONE, depends_on=needs)
        pg_estate.orch("apply")
        slow = {"000002_slow.up.sql": gate.sql}
        pg_estate.write("postgres-a", slow if whole else {**slow, "000003_x.up.sql": "SELECT 1;"})
        with pg_estate.start("apply", "--jobs", "1", "--output", "jsonl", "--junit", "junit.xml") as process:
            until(lambda: sleepers(pg_estate.servers["postgres"], gate.name))
            said = interrupted(process, "Stopping")
            gate.open()
            code, out, err = end(process)
        out = said + out
        told = [json.loads(line) for line in out.splitlines()]
        assert "Stopping" in [event["event"] for event in told]
        assert [event["database"] for event in told if event["event"] == "DatabaseSkipped"] == ["postgres-a"] * (
            not whole
        )
        idle = {"postgres-b", "postgres-c", "postgres-d"}
        assert set(told[-1]["succeeded"]) == (idle | {"postgres-a"} if whole else idle)
        assert (code, told[-1]["exit_code"]) == ((0, 0) if whole else (130, 130))
        done = "1 database done" if whole else "1 not done"
        assert f"{done}, 3 unchanged" in err
        assert (pg_estate.root / "junit.xml").read_text().count('name="up to date"') == 3
        pg_estate.orch("apply")


def test_an_interrupt_tells_what_had_work_behind_what_had_none(pg_estate: Estate) -> None:
    with closed_gate(pg_estate.servers["postgres"]) as gate:
        pg_estate.add("postgres", "a", ONE)
        pg_estate.add("postgres", "b", ONE, depends_on=["a"])
        pg_estate.orch("apply")
        pg_estate.write("postgres-a", {"000002_slow.up.sql": gate.sql})
        pg_estate.add("postgres", "c", ONE, depends_on=["b"])
        with pg_estate.start("apply", "--output", "json") as process:
            until(lambda: sleepers(pg_estate.servers["postgres"], gate.name))
            said = interrupted(process)
            gate.open()
            code, out, err = end(process)
        err = said + err
        assert code == 130, err
        results = {entry["id"]: entry["result"] for entry in json.loads(out)["databases"]}
        assert results == {"postgres-a": "done", "postgres-c": "skipped"}
        assert "1 database done, 1 not done, 1 unchanged" in err


def test_the_second_interrupt_ends_a_file_of_many_quick_statements(pg_estate: Estate) -> None:
    many = "".join(f"CREATE TABLE t{number} (id int);\n" for number in range(3000))
    pg_estate.add("postgres", "a", {"1_many.up.sql": f"-- orch: no-transaction\n{many}"})
    with pg_estate.start("apply") as process:
        until(lambda: "postgres-a" in pg_estate.snapshot() and len(pg_estate.tables("a")) > 50)
        process.send_signal(signal.SIGINT)
        assert any("stopping" in line for line in iter(process.stderr or ()))
        process.send_signal(signal.SIGINT)
        code, _, _ = end(process, 20)
    assert code == 130
    made = len(pg_estate.tables("a"))
    assert made < 3000
    (problem,) = pg_estate.status("postgres-a")["problems"]
    assert problem["kind"] in ("partial", "in_flight")
    pg_estate.orch("apply")
    assert len(pg_estate.tables("a")) == 3000


def test_a_run_goes_on_when_nobody_reads_what_it_says(pg_estate: Estate) -> None:
    for name in "abcd":
        pg_estate.add("postgres", name, {**ONE, **TWO})
    for output in ("text", "jsonl"):
        done = subprocess.run(
            f"{ORCH} apply --output {output} 2>&1 | head -n 1",
            shell=True,
            cwd=pg_estate.root,
            env=pg_estate.env,
            capture_output=True,
            text=True,
        )
        assert "Traceback" not in done.stdout + done.stderr
        assert {pg_estate.version_row(name)[0] for name in "abcd"} == {(2, False)}
        pg_estate.orch("rollback", *"abcd", "--to", "0", "--yes")


def test_an_interrupt_that_stops_nothing_is_no_failure(pg_estate: Estate) -> None:
    with closed_gate(pg_estate.servers["postgres"]) as gate:
        pg_estate.add("postgres", "a", {"1_slow.up.sql": gate.sql})
        with pg_estate.start("apply") as process:
            until(lambda: sleepers(pg_estate.servers["postgres"], gate.name))
            interrupted(process)
            gate.open()
            assert end(process)[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_interrupt_cancels_on_the_server(pg_estate: Estate, number: int) -> None:
    mark = f"pg_sleep(60.{int(number)})"
    pg_estate.add("postgres", "a", {"1_slow.up.sql": f"CREATE TABLE slow (id int);\nSELECT {mark};"})
    with pg_estate.start("apply") as process:
        until(lambda: sleepers(pg_estate.servers["postgres"], mark))
        process.send_signal(number)
        stderr = iter(process.stderr or ())
        assert any("stopping" in line for line in stderr)
        process.send_signal(number)
        code, _, _ = end(process, 10)
    assert code == 130
    assert sleepers(pg_estate.servers["postgres"], mark) == []
    assert pg_estate.tables("a") == set()
    assert pg_estate.status("postgres-a")["problems"] == []


def test_the_second_interrupt_cancels_on_mongodb(mongo_estate: Estate) -> None:
    text = (
        '[{"insert": "c", "documents": [{"_id": 1}]},'
        ' {"aggregate": "c", "cursor": {}, "pipeline": ['
        '{"$project": {"a": {"$range": [0, 1000000]}}}, {"$unwind": "$a"}, '
        '{"$project": {"b": {"$range": [0, 1000000]}}}, {"$unwind": "$b"}, {"$group": {"_id": null}}]}]'
    )
    mongo_estate.add("mongo", "m", {"1_slow.up.js": text})

    def running() -> bool:
        pipeline: list[dict[str, Any]] = [
            {"$currentOp": {"allUsers": True}},
            {"$match": {"ns": mongo_estate.prefix + "m.c", "active": True}},
        ]
        return any("aggregate" in op["command"] for op in mongo_estate.client().admin.aggregate(pipeline))

    with mongo_estate.start("apply") as process:
        until(running)
        process.send_signal(signal.SIGINT)
        assert any("stopping" in line for line in iter(process.stderr or ()))
        process.send_signal(signal.SIGINT)
        code, _, _ = end(process, 20)
    assert code == 130
    assert not running()


# ---------------------------------------------------------------- waiting


@contextmanager
def gate(server: Server, opened: threading.Event) -> Iterator[int]:
    """Forward a port to the server, but begin to listen only when told: a server that comes up later."""
    port = free_port()
    over = threading.Event()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def forward(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def serve() -> None:
        opened.wait(60)
        if over.is_set():
            return
        listener.bind(("127.0.0.1", port))
        listener.listen()
        while not over.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            upstream = socket.create_connection((server.host, server.port))
            for pair in ((client, upstream), (upstream, client)):
                threading.Thread(target=forward, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield port
    finally:
        over.set()
        opened.set()
        listener.close()


@pytest.mark.parametrize("engine", ["postgres", "mongo"])
def test_wait_for_a_server_that_comes_up_later(estate: Estate, engine: str) -> None:
    files: Files = ONE if engine == "postgres" else {"1_c.up.js": '[{"create": "c"}]'}
    estate.add(engine, "a", files)
    opened = threading.Event()
    with gate(estate.servers[engine], opened) as port:
        path = estate.root / "databases.yaml"
        text = path.read_text().replace(f":{estate.servers[engine].port}/", f":{port}/")
        path.write_text(text.replace("directConnection=true", "directConnection=true&serverSelectionTimeoutMS=500"))
        assert "--wait" in estate.orch("apply", code=7).stderr
        with estate.start("apply", "--wait", "30") as process:
            assert any("waiting for the server" in line for line in iter(process.stderr or ()))
            opened.set()
            assert end(process)[0] == 0
    assert f"{engine}-a" in estate.snapshot()


# ---------------------------------------------------------------- output for machines


def test_json_lines_are_the_event_stream(chain: Estate) -> None:
    chain.write("postgres-b", {"000002_bad.up.sql": "SELECT * FROM nowhere"})
    result = chain.orch("apply", "--output", "jsonl", code=1)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert (lines[0]["event"], lines[0]["format"]) == ("Stream", 1)
    assert lines[1]["event"] == "RunStarted"
    assert lines[-1]["event"] == "RunFinished"
    assert lines[-1]["exit_code"] == 1
    assert lines[-1]["failed"] == ["postgres-b"]
    assert lines[-1]["blocked"] == ["postgres-c"]
    finished = [(line["database"], line["version"]) for line in lines if line["event"] == "StepFinished"]
    assert sorted(finished) == [("postgres-a", 1), ("postgres-b", 1), ("postgres-d", 1)]
    failed = [line for line in lines if line["event"] == "DatabaseFailed"]
    assert [line["failure"]["code"] for line in failed] == ["42P01"]


def test_json_of_a_run_with_nothing_to_do(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    pg_estate.orch("apply")
    document = pg_estate.orch("apply", "--output", "json").json
    assert document["exit_code"] == 0
    lines = pg_estate.orch("apply", "--output", "jsonl").stdout.splitlines()
    assert json.loads(lines[-1])["event"] == "RunFinished"


# ---------------------------------------------------------------- with others


def test_four_at_once_all_succeed_and_each_migration_runs_once(estate: Estate) -> None:
    once = {f"{n:06d}_x.up.sql": f"CREATE TABLE t{n} (id int); SELECT pg_sleep(0.1);" for n in range(1, 4)}
    estate.add("postgres", "a", dict(once))
    estate.add("postgres", "b", dict(once), depends_on=["a"])
    estate.add("mongo", "m", {f"{n}_x.up.js": f'[{{"create": "c{n}"}}]' for n in range(1, 4)})
    processes = [estate.start("apply") for _ in range(4)]
    results = [end(process, 60) for process in processes]
    assert [code for code, _, _ in results] == [0, 0, 0, 0], results
    for name in "ab":
        rows = estate.sql(name, "SELECT version, attempt, done FROM orch_history ORDER BY 1, 2")
        assert rows == [(1, 1, True), (2, 1, True), (3, 1, True)]
    rows = [(row["version"], row["attempt"]) for row in estate.mongo("m")["orch_history"].find().sort("version")]
    assert rows == [(1, 1), (2, 1), (3, 1)]


def test_golang_migrates_lock_is_respected(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE | TWO)
    pg_estate.orch("apply", "--only", "a", "--to", "1")
    name = f"public\0schema_migrations\0/{pg_estate.prefix}a".encode()
    key = (zlib.crc32(name) * 1486364155) % 2**32
    with psycopg.connect(pg_estate.servers["postgres"].dsn(pg_estate.prefix + "a"), autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", (key,))
        refused = pg_estate.orch("apply", "--lock-timeout", "0.5", code=6)
        assert "postgres-a is locked by" in refused.stderr
        assert f"backend {other.info.backend_pid}" in refused.stderr
        pg_estate.orch("status")  # a query needs no lock
        with pg_estate.start("apply", "--lock-timeout", "30") as process:
            assert any("waiting for the lock" in line for line in iter(process.stderr or ()))
            other.execute("SELECT pg_advisory_unlock(%s)", (key,))
            assert end(process)[0] == 0
    assert pg_estate.tables("a") == {"one", "two"}


def test_golang_migrates_lock_document_is_respected(mongo_estate: Estate) -> None:
    mongo_estate.add("mongo", "m", {"1_c.up.js": '[{"create": "c"}]'})
    locks = mongo_estate.mongo("m")["migrate_advisory_lock"]
    locks.create_index([("locking_key", -1)], unique=True, name="lock_unique_key")
    locks.insert_one({"locking_key": 0, "pid": 4711, "hostname": "builder", "created_at": None})
    refused = mongo_estate.orch("apply", "--lock-timeout", "0.5", code=6)
    assert "pid 4711 on builder" in refused.stderr
    assert "orch unlock mongo-m" in refused.stderr
    assert locks.count_documents({}) == 1
    with mongo_estate.start("apply", "--lock-timeout", "30") as process:
        assert any("waiting for the lock" in line for line in iter(process.stderr or ()))
        locks.delete_one({"locking_key": 0})
        assert end(process)[0] == 0
    assert "c" in mongo_estate.mongo("m").list_collection_names()
    assert locks.count_documents({}) == 0


def test_what_golang_migrate_did_is_adopted(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE | TWO)
    pg_estate.orch("apply", "--to", "1", "--only", "a")
    pg_estate.sql("a", "CREATE TABLE two (id int)")
    pg_estate.sql("a", "UPDATE schema_migrations SET version = 2")
    pg_estate.write("postgres-a", {"000003_three.up.sql": "CREATE TABLE three (id int);"})
    assert pg_estate.status("postgres-a")["applied"] == [1, 2]
    result = pg_estate.orch("apply")
    assert "adopted what golang-migrate applied: 2" in result.stderr
    assert pg_estate.tables("a") == {"one", "two", "three"}
    pg_estate.sql("a", "DROP TABLE three")
    pg_estate.sql("a", "UPDATE schema_migrations SET version = 2")
    result = pg_estate.orch("apply")
    assert "took back: 3" in result.stderr
    assert pg_estate.tables("a") == {"one", "two", "three"}
    assert pg_estate.version_row("a") == [(3, False)]


def test_a_dropped_pointer_table_is_written_again(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    pg_estate.orch("apply")
    pg_estate.sql("a", "DROP TABLE schema_migrations")
    pg_estate.orch("apply")
    assert pg_estate.version_row("a") == [(1, False)]
    assert "Nothing to do" in pg_estate.orch("apply").stderr


def test_an_edited_file_is_a_conflict_for_its_database_only(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    pg_estate.add("postgres", "b", ONE)
    pg_estate.orch("apply")
    pg_estate.write("postgres-a", {"000001_one.up.sql": "CREATE TABLE one (id bigint);", **TWO})
    pg_estate.write("postgres-b", TWO)
    result = pg_estate.orch("apply", code=5)
    assert "000001_one.up.sql was edited after it was applied" in result.stderr
    assert pg_estate.tables("a") == {"one"}
    assert pg_estate.tables("b") == {"one", "two"}


def test_a_late_file_is_not_skipped_silently(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", TWO)
    pg_estate.orch("apply")
    pg_estate.write("postgres-a", ONE)
    assert "pending below the current version 2: 1 ('one')" in pg_estate.orch("apply", code=5).stderr
    path = pg_estate.root / "databases.yaml"
    path.write_text(path.read_text().replace("version: 1\n", "version: 1\ndefaults: {out_of_order: apply}\n"))
    pg_estate.orch("apply")
    assert pg_estate.tables("a") == {"one", "two"}
    assert pg_estate.version_row("a") == [(2, False)]
