"""Data that a plan loses is told as such by whatever words it is lost, and what the plan itself made is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.analysis.risks import risks
from orchestrator.analysis.rules import LOSES_DATA
from orchestrator.engines import load_engine
from orchestrator.model import File, Script

T = "CREATE TABLE t (id int PRIMARY KEY, a int, b text);"
PARTS = "CREATE TABLE parts (id int) PARTITION BY RANGE (id);"


def parsed(engine: str, text: str) -> Script:
    ending = "json" if text.startswith("[") else "sql"
    return load_engine(engine, "", "").parse(File(f"1_a.up.{ending}", Path("x"), ""), text)


def lost(engine: str, past: str, text: str) -> list[str]:
    """Return what the risks of a file say of lost data, after a file that is applied."""
    found = risks([parsed(engine, text)], past=lambda: [parsed(engine, past)] if past else [], engine=engine)
    return [one.what for one in found if LOSES_DATA in one.kinds]


@pytest.mark.parametrize(
    ("past", "text"),
    [
        # what IF NOT EXISTS finds is old
        (T, "CREATE TABLE IF NOT EXISTS t (id int); DROP TABLE t;"),
        (T, "ALTER TABLE t ADD COLUMN IF NOT EXISTS a int; ALTER TABLE t DROP COLUMN a;"),
        ("CREATE SCHEMA s; CREATE TABLE s.x (i int);", "CREATE SCHEMA IF NOT EXISTS s; DROP SCHEMA s CASCADE;"),
        ("", "CREATE SCHEMA IF NOT EXISTS s; DROP SCHEMA s CASCADE;"),
        # a temporary table is another one
        (T, "CREATE TEMP TABLE t (i int); DROP TABLE public.t;"),
        (T, "CREATE TEMP TABLE t (i int); TRUNCATE public.t;"),
        (T, "CREATE TEMP TABLE t (i int); DELETE FROM public . t;"),
        (T, "CREATE TEMP TABLE t (i int); DROP TABLE t; DROP TABLE t;"),
        (T, "CREATE TABLE a.t (i int); SET search_path = a; DROP TABLE public.t;"),
        # what is new holds what is old
        (T, "CREATE SCHEMA s; ALTER TABLE t SET SCHEMA s; DROP SCHEMA s CASCADE;"),
        (T, PARTS + "ALTER TABLE parts ATTACH PARTITION t FOR VALUES FROM (0) TO (9); DROP TABLE parts;"),
        (T, PARTS + "ALTER TABLE parts ATTACH PARTITION t DEFAULT; TRUNCATE parts;"),
        (T, PARTS + "ALTER TABLE parts ATTACH PARTITION t DEFAULT; DELETE FROM parts;"),
        (T, "CREATE VIEW v AS SELECT * FROM t; DELETE FROM v;"),
        (T, "CREATE DOMAIN d AS text; ALTER TABLE t ALTER b TYPE d; DROP DOMAIN d CASCADE;"),
        (T, "ALTER TABLE t RENAME TO u; CREATE TABLE t (i int); DROP TABLE u;"),
        # statements within others
        (T, "COPY (DELETE FROM t RETURNING *) TO '/dev/null';"),
        (T, "COPY (WITH d AS (DELETE FROM t RETURNING *) SELECT * FROM d) TO '/dev/null';"),
        (T, "PREPARE p (int) AS DELETE FROM t; EXECUTE p (1);"),
        (T, "(WITH d AS (DELETE FROM t RETURNING 1) SELECT * FROM d);"),
        (T, "EXPLAIN (ANALYZE) DELETE FROM t;"),
        (T, "DO 'BEGIN DROP TABLE t; END';"),
        (T, "DO $$ BEGIN EXECUTE $q$DROP TABLE t$q$; END $$;"),
        # functions that a file calls
        (T, "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'SELECT 1; DROP TABLE t'; SELECT f();"),
        (T, "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$BEGIN DELETE FROM t; END$$; CALL p();"),
        (T + "CREATE FUNCTION s.f() RETURNS void LANGUAGE sql AS 'TRUNCATE t';", "SELECT * FROM s.f();"),
        # conditions that hold for every row
        (T, "DELETE FROM ONLY t WHERE true;"),
        (T, "DELETE FROM t WHERE 1 = 1;"),
        (T, "DELETE FROM t WHERE id = id;"),
        (T, "DELETE FROM t AS x WHERE TRUE OR x.id = 7;"),
        (T, "MERGE INTO t USING n ON n.id = t.id WHEN NOT MATCHED BY SOURCE THEN DELETE;"),
        # content of columns
        ("CREATE TYPE c AS (x int, y int); CREATE TABLE u (c c);", "ALTER TYPE c DROP ATTRIBUTE x CASCADE;"),
        (T, "ALTER TABLE t ALTER b TYPE int USING NULL;"),
        (T, "ALTER TABLE t ALTER COLUMN b SET DATA TYPE int USING (0 + 1);"),
    ],
)
def test_postgres(past: str, text: str) -> None:
    assert lost("postgres", past, text)


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE n (i int); DROP TABLE public.n;",
        "CREATE TEMP TABLE x (i int); CREATE TABLE n (i int); DROP TABLE public.n; DROP TABLE x;",
        "CREATE TEMP TABLE x (i int); CREATE TABLE public.n (i int); TRUNCATE n; DELETE FROM public.n;",
        "CREATE SCHEMA s; CREATE TABLE s.n (i int); DROP SCHEMA s CASCADE;",
        PARTS + "CREATE TABLE p1 PARTITION OF parts DEFAULT; TRUNCATE parts; DROP TABLE parts;",
        "CREATE TYPE c AS (x int); ALTER TYPE c DROP ATTRIBUTE x;",
        "CREATE TABLE n (i int); CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'DROP TABLE n'; SELECT f();",
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$BEGIN DROP TABLE t; END$$;",
        "PREPARE p AS SELECT 'DELETE FROM t'; COPY t TO '/dev/null'; COPY (SELECT 'UPDATE t') TO '/dev/null';",
        "ALTER TABLE t ALTER b TYPE int USING b::int; ALTER TABLE t ALTER a TYPE text USING concat(t.a, 'x');",
        "ALTER TABLE t ADD c text; ALTER TABLE t ALTER c TYPE int USING 0;",
        "DELETE FROM t WHERE id = 1 OR a = 2; DELETE FROM t WHERE 1 = a; DELETE FROM t WHERE NULL = NULL;",
        "DELETE FROM t WHERE TRUE AND id = 7;",
    ],
)
def test_postgres_that_loses_nothing(text: str) -> None:
    assert lost("postgres", T, text) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("CREATE TABLE [x](i int); DROP TABLE [t];", 1),
        ("CREATE TABLE 'x'(i int); DROP TABLE 't';", 1),
        ("CREATE TABLE `x`(i int); DROP TABLE `t`;", 1),
        ("CREATE TABLE [x y](i int); DELETE FROM [t];", 1),
        ("ALTER TABLE [t] DROP COLUMN [a];", 1),
        ('CREATE TABLE IF NOT EXISTS "T"(i int); DROP TABLE "T";', 1),
        ("CREATE TEMP TABLE t(i int); DROP TABLE main.t;", 1),
        ("WITH d AS (SELECT 1) DELETE FROM t;", 1),
        ("CREATE TABLE [x y](i int); DROP TABLE [x y]; CREATE TABLE 'z'(i int); DELETE FROM z; DROP TABLE \"z\";", 0),
        ("INSERT INTO t VALUES (1, 2, '[x]; DROP TABLE t');", 0),
    ],
)
def test_sqlite_and_its_names(text: str, number: int) -> None:
    assert len(lost("sqlite", T, text)) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("CREATE TABLE IF NOT EXISTS t (id int); DROP TABLE t;", 1),
        ("CREATE TABLE IF NOT EXISTS `T` (id int); DROP TABLE `T`;", 1),
        ("CREATE OR REPLACE TABLE t (id int);", 1),
        ("ALTER TABLE t DISCARD TABLESPACE;", 1),
        ("ALTER TABLE t ENGINE = BLACKHOLE;", 1),
        ("PREPARE p FROM 'DROP TABLE t'; EXECUTE p;", 1),
        ("EXECUTE IMMEDIATE 'DELETE FROM t';", 1),
        ("BEGIN NOT ATOMIC IF 1 THEN DROP TABLE t; END IF; TRUNCATE t; END;", 1),
        ("WITH x AS (SELECT 1) DELETE FROM t;", 1),
        ("ANALYZE DELETE FROM t;", 1),
        ("DELETE FROM t WHERE 1;", 1),
        ("DELETE FROM t WHERE 1 = 1;", 1),
        ("DELETE FROM t USING t;", 1),
        ("CREATE TABLE IF NOT EXISTS n (id int); DROP TABLE n;", 0),
        ("CREATE OR REPLACE TABLE n (id int); CREATE OR REPLACE TABLE n (a int);", 0),
        ("WITH x AS (SELECT 1) SELECT * FROM x; EXPLAIN DELETE FROM t;", 0),
        ("PREPARE p FROM 'SELECT 1'; EXECUTE p; DEALLOCATE PREPARE p;", 0),
        ("BEGIN NOT ATOMIC SELECT 'DROP TABLE t'; END;", 0),
        ("DELETE FROM t WHERE id = 1; DELETE FROM t USING t JOIN u ON u.id = t.id;", 0),
        ("CREATE PROCEDURE p() BEGIN DROP TABLE t; END;", 0),
    ],
)
def test_mysql(text: str, number: int) -> None:
    assert len(lost("mysql", T, text)) == number


def test_a_statement_of_mysql_that_is_put_together_while_it_runs_is_told() -> None:
    for text in ("PREPARE p FROM @s;", "EXECUTE IMMEDIATE CONCAT('DROP TABLE ', @t);", "EXECUTE IMMEDIATE 'a' 'b';"):
        (risk,) = risks([parsed("mysql", text)], engine="mysql")
        assert "put together while it runs" in risk.what and not risk.kinds


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ('[{"renameCollection": "d.x", "to": "d.a", "dropTarget": true}]', 1),
        ('[{"delete": "a", "deletes": [{"q": {"_id": {"$exists": true}}, "limit": 0}]}]', 1),
        ('[{"aggregate": "b", "pipeline": [{"$out": "a"}], "cursor": {}}]', 1),
        ('[{"aggregate": "b", "pipeline": [{"$out": {"db": "d", "coll": "filled"}}], "cursor": {}}]', 1),
        ('[{"mapReduce": "b", "map": "f", "reduce": "g", "out": {"replace": "a"}}]', 1),
        ('[{"bulkWrite": 1, "ops": [{"delete": 0, "filter": {}, "multi": true}], "nsInfo": [{"ns": "d.a"}]}]', 1),
        ('[{"collMod": "a", "cappedSize": 100}]', 1),
        ('[{"collMod": "a", "expireAfterSeconds": 5}]', 1),
        ('[{"applyOps": [{"op": "c", "ns": "d.$cmd", "o": {"drop": "a"}}]}]', 1),
        ('[{"aggregate": "b", "pipeline": [{"$out": "nowhere"}], "cursor": {}}]', 0),
        ('[{"collMod": "a", "expireAfterSeconds": "off"}]', 0),
        ('[{"bulkWrite": 1, "ops": [{"delete": 0, "filter": {"x": 1}, "multi": true}], "nsInfo": [{"ns": "d.a"}]}]', 0),
        ('[{"create": "n"}, {"delete": "n", "deletes": [{"q": {}, "limit": 0}]}, {"drop": "n"}]', 0),
    ],
)
def test_mongodb(text: str, number: int) -> None:
    past = '[{"create": "a"}, {"insert": "filled", "documents": [{"x": 1}]}]'
    assert len(lost("mongo", past, text)) == number
