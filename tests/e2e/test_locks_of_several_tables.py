"""A plan tells where one transaction strongly locks several tables that were there before it."""

from __future__ import annotations

from pathlib import Path

import pytest
from estate import Estate

from orchestrator.analysis.risks import risks
from orchestrator.engines.postgres.sql import parse_sql
from orchestrator.model import File

PIECEWISE = "-- orch: no-transaction\n"


def told(text: str) -> list[str]:
    script = parse_sql(File("f", Path("f"), ""), text)
    marked = risks([script])
    return [
        f"{one.where.line} {one.what.partition('(')[2].partition(')')[0]}"
        for one in marked
        if "until it commits" in one.what
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ALTER TABLE a ADD x int;\nALTER TABLE b ADD x int;", ["2 a, b"]),
        ("ALTER TABLE a ADD x int;\nALTER TABLE a ADD y int;\nALTER TABLE public.a ADD z int;", []),
        ("ALTER TABLE a ADD x int;\nSELECT 1;\nTRUNCATE b, ONLY app.c;\nLOCK d;", ["3 a, b, app.c, d"]),
        ("CREATE TABLE n (i int);\nALTER TABLE a ADD x int;\nALTER TABLE n ADD x int;", []),
        ("CREATE TABLE IF NOT EXISTS n (i int);\nALTER TABLE a ADD x int;\nALTER TABLE n ADD x int;", ["3 a, n"]),
        ("ALTER TABLE a ADD FOREIGN KEY (i) REFERENCES b (i);", []),
        ("ALTER TABLE a ADD FOREIGN KEY (i) REFERENCES b (i);\nALTER TABLE a ADD y int;", ["2 a, b"]),
        ("CREATE TABLE n (i int REFERENCES a);\nCREATE TABLE m (i int REFERENCES b);", ["2 a, b"]),
        ("ALTER TABLE a ADD parent int REFERENCES a;", []),
        ("CREATE TABLE n (i int REFERENCES a, j int REFERENCES b);", []),
        ("CREATE TABLE n (i int REFERENCES a, j int REFERENCES m); CREATE TABLE m (i int);", []),
        ("CREATE TRIGGER t AFTER UPDATE ON a FOR EACH ROW EXECUTE FUNCTION f();\nDROP TRIGGER t ON b;", ["2 a, b"]),
        ("CREATE POLICY p ON a USING (true);\nALTER TABLE b ENABLE ROW LEVEL SECURITY;", ["2 a, b"]),
        ("ALTER TABLE a VALIDATE CONSTRAINT c;\nALTER TABLE b VALIDATE CONSTRAINT c;", []),
        ("ALTER TABLE a SET (fillfactor = 70);\nALTER TABLE b ALTER c SET STATISTICS 500;", []),
        (
            "ALTER TABLE a VALIDATE CONSTRAINT c, ADD x int;\nALTER TABLE b VALIDATE CONSTRAINT c, ADD x int;",
            ["2 a, b"],
        ),
        ("LOCK a IN ROW EXCLUSIVE MODE;\nLOCK b IN SHARE MODE;", []),
        ("LOCK TABLE a, b IN SHARE ROW EXCLUSIVE MODE;", ["1 a, b"]),
        ("DROP TABLE a;\nDROP TABLE b;", []),
        ("UPDATE a SET i = 1;\nINSERT INTO b VALUES (1);\nCREATE INDEX ON a (i);", []),
        ('ALTER TABLE "Order" ADD x int;\nALTER TABLE "a;b" ADD x int;', ['2 "Order", "a;b"']),
        ("SELECT 'ALTER TABLE a ADD x int; ALTER TABLE b ADD x int'; -- ALTER TABLE c ADD x int;", []),
        (f"{PIECEWISE}ALTER TABLE a ADD x int;\nALTER TABLE b ADD x int;", []),
        (f"{PIECEWISE}BEGIN;\nALTER TABLE a ADD x int;\nALTER TABLE b ADD x int;\nCOMMIT;", ["3 a, b"]),
        ("CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END;", []),
    ],
)
def test_the_tables_that_one_transaction_locks(text: str, expected: list[str]) -> None:
    assert told(text) == expected


def test_a_plan_shows_it_for_tables_that_are_there(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_t.up.sql": "CREATE TABLE t (); CREATE TABLE u ();"})
    both = "ALTER TABLE t ADD x int;\nALTER TABLE u ADD x int;\n"
    pg_estate.write("postgres-a", {"2_both.up.sql": both})
    assert "locks 2 tables" not in pg_estate.orch("plan").stdout
    pg_estate.orch("apply", "--to", "1", "--only", "a")
    assert "locks 2 tables until it commits (t, u)" in pg_estate.orch("plan").stdout
