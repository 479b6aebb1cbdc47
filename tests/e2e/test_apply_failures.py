"""Migrations that fail: what the message says, what stays, and what is blocked."""

from __future__ import annotations

import json
import re

import pytest
from estate import Estate

ONE = {"000001_one.up.sql": "CREATE TABLE one (id int);", "000001_one.down.sql": "DROP TABLE one;"}


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
