"""What runs is what stands in the file: the same as one psql session makes of it, on the same server."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess

import psycopg
import pytest
from house import House

PSQL = shutil.which("psql")


@pytest.fixture
def house(new_house: House) -> House:
    """One database, with files that the test writes after the first."""
    return new_house


def write(house: House, *texts: str | bytes) -> None:
    """Write the files of version 2 and those after it."""
    files: dict[str, str | bytes] = {f"{number:06d}_x.up.sql": text for number, text in enumerate(texts, 2)}
    house.estate.write(house.id, files)


def rows(house: House, query: str) -> list[object]:
    return [row[0] for row in house.estate.sql("db", query)]


def psql(house: House, *texts: str | bytes) -> str:
    """Run files as psql does, each in a session of its own, in a database `beside` that is made anew; return what it said."""
    if PSQL is None:
        pytest.skip("no psql on this machine")
    name = house.estate.prefix + "beside"
    with psycopg.connect(house.estate.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        connection.execute(f'CREATE DATABASE "{name}"')
    said = ""
    for text in ("CREATE TABLE t1 (id int PRIMARY KEY); INSERT INTO t1 VALUES (1);", *texts):
        path = house.estate.root / "beside.sql"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        command = [
            PSQL,
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-f",
            str(path),
            house.estate.servers["postgres"].dsn(name),
        ]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PGOPTIONS": ""})
        said += done.stderr
    return said


def beside(house: House, query: str) -> list[object]:
    return [row[0] for row in house.estate.sql("beside", query)]


# ---------------------------------------------------------------- line ends

ENDS = (
    b"CREATE TABLE page (id int PRIMARY KEY, body text);\r\n"
    b"INSERT INTO page VALUES (1, 'HTTP/1.1 200 OK\r\nA: 0\r\n\r\n'), (2, 'a\rb'), (3, $$c\r\nd$$), (4, E'e\\n\r\nf');\r\n"
    b"-- a comment\rCREATE TABLE behind_a_lone_cr (id int);\r\n"
    b"CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ''g\r\nh''';\r\n"
    b'CREATE TABLE "two\r\nlines" (id int);'
)
SEEN = "SELECT encode(body::bytea, 'hex') FROM page ORDER BY id"


@pytest.mark.parametrize("head", [b"", b"-- orch: no-transaction\r\n"])
def test_line_ends_of_literals_are_stored_as_they_stand(house: House, head: bytes) -> None:
    write(house, head + ENDS)
    house.orch("apply")
    psql(house, head + ENDS)
    for query in (
        SEEN,
        "SELECT encode(f()::bytea, 'hex')",
        "SELECT relname FROM pg_class WHERE relname ~ '^two|^behind'",
    ):
        assert rows(house, query) == beside(house, query)
    assert len(str(rows(house, SEEN)[0])) == 2 * 25


def test_the_checksum_of_a_file_is_that_of_newlines_alone(house: House) -> None:
    write(house, ENDS)
    house.orch("apply")
    (kept,) = rows(house, "SELECT checksum FROM orch_history WHERE version = 2")
    assert kept == "sha256:" + hashlib.sha256(ENDS.replace(b"\r\n", b"\n")).hexdigest()
    write(house, ENDS.replace(b"\r\n", b"\n"))
    assert "Nothing to do" in house.orch("apply").output


def test_a_file_that_stopped_half_way_goes_on_with_other_line_ends(house: House) -> None:
    text = "-- orch: no-transaction\nINSERT INTO t1\nVALUES (2);\nINSERT INTO t1\nVALUES (1);\n"
    write(house, text)
    house.orch("apply", code=1)
    write(house, text.replace("(1)", "(3)").replace("\n", "\r\n").encode())
    house.orch("apply")
    assert rows(house, "SELECT id FROM t1 ORDER BY id") == [1, 2, 3]


# ---------------------------------------------------------------- what PostgreSQL refuses in a transaction

PARTITIONED = (
    "CREATE TABLE p (a int) PARTITION BY RANGE (a);\nCREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9);\n"
    "CREATE INDEX p_a ON p (a);\n"
)


@pytest.mark.parametrize("head", ["", "-- orch: no-transaction\n"])
@pytest.mark.parametrize("statement", ["REINDEX TABLE p;", "REINDEX INDEX p_a;", "CLUSTER p USING p_a;"])
def test_what_the_server_refuses_in_a_transaction_runs_by_itself(house: House, head: str, statement: str) -> None:
    node = "SELECT pg_relation_filenode(indexrelid) FROM pg_index WHERE indrelid = 'p1'::regclass"
    write(house, PARTITIONED)
    house.orch("apply")
    before = rows(house, node)
    write(house, PARTITIONED, head + statement)
    house.orch("apply")
    assert rows(house, node) != before
    assert [(r["version"], r["done"]) for r in house.attempts() if r["version"] == 3] == [(3, True)]


def test_among_other_statements_it_runs_by_itself_only_where_each_commits(house: House) -> None:
    write(house, PARTITIONED, "INSERT INTO t1 VALUES (2);\nREINDEX TABLE p;")
    assert "orch: no-transaction" in house.orch("apply", code=1).output
    assert rows(house, "SELECT id FROM t1") == [1]
    write(
        house,
        PARTITIONED,
        "-- orch: no-transaction\nINSERT INTO t1 VALUES (2);\nREINDEX TABLE p;\nINSERT INTO t1 VALUES (3);",
    )
    house.orch("apply")
    assert rows(house, "SELECT id FROM t1 ORDER BY id") == [1, 2, 3]


def test_a_block_of_the_file_is_never_run_without_its_transaction(house: House) -> None:
    write(house, PARTITIONED, "BEGIN;\nREINDEX TABLE p;\nCOMMIT;")
    assert "25001" in house.orch("apply", code=1).output
    write(house, PARTITIONED, "BEGIN;\nREINDEX TABLE p;\nCOMMIT;\nBEGIN;\nINSERT INTO t1 VALUES (2);\nCOMMIT;")
    assert "25001" in house.orch("apply", code=1).output
    assert rows(house, "SELECT id FROM t1") == [1]


@pytest.mark.parametrize("head", ["", "-- orch: no-transaction\n"])
def test_what_no_function_can_run_is_not_sent_into_a_file_of_its_own_again(house: House, head: str) -> None:
    write(house, PARTITIONED, head + "-- again\nDO $$ BEGIN EXECUTE 'REINDEX TABLE p'; END $$;")
    told = house.orch("apply", code=1).output
    assert "no function, procedure or DO block can run this command: write it as a statement" in told
    assert "or begin the file with" not in told
    assert "in part" not in told, "a block without COMMIT is done whole or not at all"


BATCHES = "DO $$\nBEGIN\n  FOR k IN 2..4 LOOP\n    INSERT INTO t1 VALUES (k);\n    COMMIT;\n  END LOOP;\nEND $$;\n"
FILL = "CREATE PROCEDURE fill(n int) LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t1 VALUES (n); COMMIT; END $$;"


@pytest.mark.parametrize("text", [BATCHES, FILL.replace("fill", "other") + "\n", "CALL fill(2);"])
def test_one_do_or_call_with_a_commit_inside_runs_by_itself(house: House, text: str) -> None:
    write(house, FILL, text)
    house.orch("apply")
    psql(house, FILL, text)
    assert rows(house, "SELECT id FROM t1 ORDER BY id") == beside(house, "SELECT id FROM t1 ORDER BY id")


def test_a_lone_do_that_fails_half_way_is_in_doubt(house: House) -> None:
    write(house, BATCHES.replace("COMMIT;", "COMMIT; PERFORM 1 / (k - 3);"))
    assert "division by zero" in house.orch("apply", code=1).output
    assert rows(house, "SELECT id FROM t1 ORDER BY id") == [1, 2, 3]
    assert "is in doubt" in house.orch("apply", code=5).output
    assert rows(house, "SELECT id FROM t1 ORDER BY id") == [1, 2, 3]


def test_a_lone_do_that_commits_nothing_is_one_transaction_with_its_record(house: House) -> None:
    write(house, "DO $$ BEGIN INSERT INTO t1 VALUES (2); PERFORM 1 / 0; END $$;")
    assert "nothing of this file is in the database" in house.orch("apply", code=1).output
    assert rows(house, "SELECT id FROM t1") == [1]


# ---------------------------------------------------------------- x-multi-statement

ENUM = "CREATE TYPE mood AS ENUM ('ok');\nCREATE TABLE people (m mood);\n"
USED = "ALTER TYPE mood ADD VALUE 'glad';\nINSERT INTO people VALUES ('glad');\nDO $$ BEGIN PERFORM 1; END $$;\n"


def with_parameter(house: House, parameter: str) -> None:
    path = house.estate.root / "databases.yaml"
    path.write_text(path.read_text().replace('"}', f'&{parameter}"}}', 1))


def test_multi_statement_mode_commits_statement_by_statement(house: House) -> None:
    write(house, ENUM, USED)
    house.orch("apply", code=1)
    with_parameter(house, "x-multi-statement=true")
    assert "not transactional" in house.orch("plan", code=None).output
    house.orch("apply")
    assert rows(house, "SELECT m::text FROM people") == ["glad"]


@pytest.mark.parametrize("parameter", ["x-multi-statement=ture", "x-migrations-table-quoted=yes"])
def test_a_switch_that_is_neither_true_nor_false_is_refused(house: House, parameter: str) -> None:
    with_parameter(house, parameter)
    told = house.orch("plan", code=4).output
    assert f"{parameter.partition('=')[0]} in the DSN is neither true nor false" in told
    assert "databases.yaml:" in told


@pytest.mark.parametrize("value", ["false", "0"])
def test_multi_statement_mode_can_be_off(house: House, value: str) -> None:
    with_parameter(house, f"x-multi-statement={value}")
    write(house, ENUM, USED)
    assert "55P04" in house.orch("apply", code=1).output
