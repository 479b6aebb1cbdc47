"""What PostgreSQL and MongoDB files may hold, and how `orch apply` runs it."""

from __future__ import annotations

import pytest
from estate import Estate

ONE = {"000001_one.up.sql": "CREATE TABLE one (id int);", "000001_one.down.sql": "DROP TABLE one;"}


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


@pytest.mark.timing
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
    assert "statement 3 of 4, code 67 CannotCreateIndex" in result.stderr
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
