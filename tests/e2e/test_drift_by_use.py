"""What an application and its jobs do to a schema is no drift; what a person does to it is: every engine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from estate import Estate
from mysql_shop import Shop

PARTITIONED = """
CREATE SCHEMA app;
CREATE TABLE "My Events" (id int, day date NOT NULL) PARTITION BY RANGE (day);
CREATE TABLE app.ev (id int, day date NOT NULL) PARTITION BY RANGE (day);
CREATE INDEX ev_day ON app.ev (day);
"""
# What a job does, and the note about it.
JOBS: tuple[tuple[str, list[str]], ...] = (
    (
        "CREATE TABLE \"My Events 2\" PARTITION OF \"My Events\" FOR VALUES FROM ('2024-02-01') TO ('2024-03-01')",
        ['1 partition of "My Events" came or went'],
    ),
    (
        "CREATE TABLE app.ev1 PARTITION OF app.ev FOR VALUES FROM ('2024-03-01') TO ('2024-04-01') PARTITION BY LIST (id);"
        "CREATE TABLE app.ev1a PARTITION OF app.ev1 FOR VALUES IN (1); CREATE TABLE ev1b PARTITION OF app.ev1 DEFAULT",
        ["3 partitions of app.ev came or went"],
    ),
    ("ALTER TABLE app.ev1 DETACH PARTITION app.ev1a; DROP TABLE app.ev1a", ["1 partition of app.ev1 came or went"]),
    ("REINDEX TABLE app.ev", []),
    ("VACUUM (FULL, ANALYZE)", []),
)

MYSQL = """
CREATE TABLE s (x int, y int) PARTITION BY RANGE (x) SUBPARTITION BY HASH (y) SUBPARTITIONS 2 (
  PARTITION s0 VALUES LESS THAN (10));
CREATE TABLE a (id int NOT NULL PRIMARY KEY, p0 int);
CREATE TABLE `p, q` (day date NOT NULL, p0 int) PARTITION BY RANGE COLUMNS (day) (
  PARTITION p0 VALUES LESS THAN ('2024-01-01'), PARTITION p1 VALUES LESS THAN ('2024-02-01') COMMENT 'a), b');
"""

SQLITE = """
CREATE TABLE a (id INTEGER PRIMARY KEY, note TEXT DEFAULT 'a, b');
CREATE INDEX n ON a (note) WHERE note <> 'p ,q';
CREATE TABLE b (id INTEGER PRIMARY KEY, a_id int REFERENCES a (id)); -- a comment
CREATE TRIGGER tr AFTER INSERT ON a BEGIN SELECT 'x ( y'; END;
"""


def differences(estate: Estate, id: str, code: int) -> tuple[list[str], list[str]]:
    """Return what differs and the notes, and accept it."""
    (found,) = estate.orch("drift", "--kept", "--output", "json", code=code).json["databases"]
    estate.orch("drift", id, "--accept")
    return [f"{one['how']} {one['object']}" for one in found["differences"]], found["notes"]


def test_jobs_that_make_partitions_are_no_drift(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_a.up.sql": PARTITIONED}, drift="refuse")
    pg_estate.orch("apply")
    with psycopg.connect(pg_estate.servers["postgres"].dsn(f"{pg_estate.prefix}a"), autocommit=True) as connection:
        for job, notes in JOBS:
            for statement in job.split("; "):
                connection.execute(statement.encode())
            assert differences(pg_estate, "postgres-a", 0) == ([], notes), job
        connection.execute("ALTER TABLE ev1b ADD CONSTRAINT c CHECK (id > 0)")
        assert differences(pg_estate, "postgres-a", 3)[0] == ["extra constraint ev1b.c"]
        connection.execute("DROP TABLE app.ev")
        assert differences(pg_estate, "postgres-a", 3) == (
            ["missing table app.ev", "missing table app.ev1", "missing table ev1b"],
            [],
        )


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.estate.drop()


def test_partitions_of_mariadb_that_come_and_go_are_no_drift(shop: Shop) -> None:
    shop.declare({"1_a.up.sql": MYSQL}, drift="refuse")
    shop.orch("apply")
    of, went = "`p, q`", "1 partition of p, q came or went"
    cases: tuple[tuple[str, list[str], list[str]], ...] = (
        (f"ALTER TABLE {of} ADD PARTITION (PARTITION p2 VALUES LESS THAN ('2024-03-01'))", [], [went]),
        (f"ALTER TABLE {of} DROP PARTITION p0", [], [went]),
        ("ALTER TABLE s ADD PARTITION (PARTITION s1 VALUES LESS THAN (20))", [], ["1 partition of s came or went"]),
        ("ALTER TABLE a FORCE", [], []),
        (f"ALTER TABLE {of} DROP COLUMN p0", ["missing column p, q.p0"], []),
        ("ALTER TABLE s REORGANIZE PARTITION s1 INTO (PARTITION s1 VALUES LESS THAN (30))", ["different partition s.s1"], []),
        ("DROP TABLE s", ["missing table s"], []),
        ("CREATE TABLE c (i int, KEY (i), CHECK (i > 0))", ["extra table c"], []),
    )  # fmt: skip
    for change, expected, notes in cases:
        shop.sql(change)
        assert differences(shop.estate, "mysql-shop", 3 if expected else 0) == (expected, notes), change


@pytest.fixture
def file(tmp_path: Path) -> Estate:
    estate = Estate(tmp_path, {})
    entry = "version: 1\ndatabases:\n  - {name: shop, engine: sqlite, dsn: 'sqlite3://{database}.db', drift: refuse}\n"
    (tmp_path / "databases.yaml").write_text(entry)
    estate.write("sqlite-shop", {"1_a.up.sql": SQLITE, "2_i.up.sql": "CREATE INDEX two ON a (id);"})
    return estate


def test_a_schema_of_sqlite_is_compared_without_its_spelling(file: Estate) -> None:
    file.orch("apply", "--to", "1", "--only", "sqlite-shop")

    def run(script: str) -> None:
        with closing(sqlite3.connect(file.root / "shop.db")) as connection:
            connection.executescript(script)

    cases: tuple[tuple[str, list[str]], ...] = (
        ("ANALYZE; VACUUM; REINDEX; INSERT INTO a VALUES (1, 'x'); PRAGMA optimize;", []),
        ("ALTER TABLE a RENAME TO z; ALTER TABLE z RENAME TO a;", []),
        ("ALTER TABLE b RENAME COLUMN a_id TO q; ALTER TABLE b RENAME COLUMN q TO a_id;", []),
        ("DROP INDEX n; CREATE INDEX n ON a(note) /* it */ -- and\n WHERE note <> 'p ,q';", []),
        ("DROP INDEX n; CREATE INDEX n ON a (note) WHERE note <> 'p,q';", ["different index n"]),
        ("DROP TRIGGER tr; CREATE TRIGGER tr AFTER INSERT ON a BEGIN SELECT 'x (y'; END;", ["different trigger tr"]),
        ("DROP TABLE b;", ["missing table b"]),
        ("CREATE TABLE c (i int, j int); CREATE INDEX ci ON c (i);", ["extra table c"]),
    )
    for change, expected in cases:
        run(change)
        assert differences(file, "sqlite-shop", 3 if expected else 0) == (expected, []), change
    run("DROP TABLE c;")
    told = file.orch("apply", code=5).text
    assert "missing: table c" in told
    assert "orch drift sqlite-shop --accept" in told
    file.orch("drift", "sqlite-shop", "--accept")
    file.orch("apply")
