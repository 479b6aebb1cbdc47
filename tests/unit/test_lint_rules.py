"""What lint rules know of the whole story: dangerous files and harmless ones that look like them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.analysis.findings import Finding, Story
from orchestrator.analysis.permissions import allowed, permissions
from orchestrator.analysis.risks import risks
from orchestrator.analysis.rules import rules
from orchestrator.engines import load_engine
from orchestrator.engines.mongo.migration_file import parse_commands
from orchestrator.engines.postgres.sql import parse_sql
from orchestrator.model import File
from orchestrator.views.lint_docs import lint_page

T = "CREATE TABLE t (id bigint PRIMARY KEY, a int, v varchar(10), s text);"


def judged(text: str, *past: str, version: int = 0) -> list[Finding]:
    story = Story(version=version)
    for before in past:
        story.past(parse_sql(File("past", Path("past"), ""), before))
    return story.judge(parse_sql(File("f", Path("f"), ""), text))


def codes(text: str, *past: str, version: int = 0) -> list[str]:
    found = [one for one in judged(text, *past, version=version) if rules()[one.code].level != "off"]
    return sorted({one.code + ("?" if one.maybe else "") for one in found})


@pytest.mark.parametrize(
    ("past", "text", "expected"),
    [
        # a function of one's own, by its language and volatility
        (
            T + "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$BEGIN RETURN 1; END$$;",
            "ALTER TABLE t ADD x int DEFAULT f();",
            ["PG201"],
        ),
        (
            T + "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql STABLE AS $$BEGIN RETURN 1; END$$;",
            "ALTER TABLE t ADD x int DEFAULT f();",
            [],
        ),
        (
            T + "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';",
            "ALTER TABLE t ADD x int DEFAULT f();",
            [],
        ),
        (T, "ALTER TABLE t ADD x int DEFAULT somebody_elses();", ["PG201?"]),
        # domains
        (T + "CREATE DOMAIN d AS int CHECK (VALUE > 0);", "ALTER TABLE t ADD x d;", ["PG201"]),
        (T + "CREATE DOMAIN d AS int;", "ALTER TABLE t ADD x d DEFAULT 1;", []),
        (
            T + "CREATE DOMAIN d AS int; CREATE TABLE u (x d);",
            "ALTER DOMAIN d ADD CHECK (VALUE > 0);",
            ["PG205"],
        ),
        (T + "CREATE DOMAIN d AS int;", "ALTER DOMAIN d ADD CHECK (VALUE > 0);", []),
        (T, "ALTER DOMAIN elsewhere SET NOT NULL;", ["PG205"]),
        # NOT VALID, VALIDATE, NOT NULL
        (
            T,
            "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID; ALTER TABLE t VALIDATE CONSTRAINT c;",
            ["PG206"],
        ),
        (T + "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID;", "ALTER TABLE t VALIDATE CONSTRAINT c;", []),
        (
            T,
            "-- orch: no-transaction\nALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID;"
            "ALTER TABLE t VALIDATE CONSTRAINT c;",
            [],
        ),
        (T + "ALTER TABLE t ADD CHECK (a IS NOT NULL);", "ALTER TABLE t ALTER a SET NOT NULL;", []),
        (T + "ALTER TABLE t ADD CHECK (a IS NOT NULL OR v = '');", "ALTER TABLE t ALTER a SET NOT NULL;", ["PG202"]),
        (
            T + "ALTER TABLE t ADD CONSTRAINT c CHECK (a IS NOT NULL) NOT VALID;",
            "ALTER TABLE t ALTER a SET NOT NULL;",
            ["PG202"],
        ),
        (T, "ALTER TABLE t ALTER id SET NOT NULL;", []),
        # other tables
        (
            T + "CREATE TABLE c (t_id bigint REFERENCES t);",
            "ALTER TABLE c DROP CONSTRAINT c_t_id_fkey;",
            ["PG301"],
        ),
        (T + "CREATE TABLE c (t_id bigint REFERENCES t);", "DROP TABLE c;", ["PG101", "PG301"]),
        (
            "CREATE TABLE p (r int) PARTITION BY RANGE (r);",
            "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9);",
            ["PG302"],
        ),
        (
            "CREATE TABLE p (r int) PARTITION BY RANGE (r); CREATE TABLE n (r int);",
            "ALTER TABLE p ATTACH PARTITION n FOR VALUES FROM (0) TO (9);",
            ["PG202"],
        ),
        (
            "CREATE TABLE p (r int) PARTITION BY RANGE (r); CREATE TABLE n (r int, CHECK (r >= 0 AND r < 9));",
            "ALTER TABLE p ATTACH PARTITION n FOR VALUES FROM (0) TO (9);",
            [],
        ),
        # rows
        (T + "CREATE TABLE u (id int, a int);", "UPDATE t SET a = u.a FROM u WHERE u.id = t.id;", ["PG601?"]),
        (T, "UPDATE t SET a = 1 WHERE id = 7;", []),
        (T, "UPDATE t SET a = (SELECT 1 WHERE true);", ["PG601"]),
        (T, "CREATE TEMP TABLE x AS SELECT 1 AS i; UPDATE x SET i = 2; DELETE FROM x; TRUNCATE x; DROP TABLE x;", []),
        (T, "DROP TABLE IF EXISTS elsewhere CASCADE;", ["PG101?", "PG103?"]),
        (T, "DROP TABLE IF EXISTS t;", ["PG101"]),
        # indexes
        (T + "CREATE INDEX i ON t (a);", "DROP INDEX i;", ["PG503"]),
        (T + "CREATE INDEX i ON t (a);", "DROP INDEX CONCURRENTLY i;", []),
        (T + "CREATE INDEX i ON t (a);", "DROP INDEX IF EXISTS i;", ["PG503"]),
        (T, "DROP INDEX IF EXISTS i;", []),
        (T, "DROP INDEX i;", ["PG503"]),
        (T, "CREATE INDEX i ON t (a); DROP INDEX i;", ["PG203"]),
        (T, "CREATE INDEX CONCURRENTLY i ON t (a);", []),
        (T, "SET lock_timeout = 0; CREATE INDEX CONCURRENTLY i ON t (a);", []),
        (T, "ALTER TABLE t ADD x int; CREATE INDEX CONCURRENTLY i ON t (x);", ["PG405"]),
        (
            "CREATE TABLE n (k int); CREATE UNIQUE INDEX n_k ON n (k);",
            "ALTER TABLE n ADD PRIMARY KEY USING INDEX n_k;",
            ["PG202"],
        ),
        # adding columns
        (T, "ALTER TABLE t ADD x int UNIQUE;", ["PG203"]),
        (T, "ALTER TABLE t ADD x int CHECK (x > 0);", ["PG202"]),
        (T, "ALTER TABLE t ADD x int DEFAULT 1 REFERENCES u;", ["PG204"]),
        (T, "ALTER TABLE t ADD x int NOT NULL;", ["PG401"]),
        (T, "ALTER TABLE t ADD x int NOT NULL DEFAULT 0, ADD y int GENERATED ALWAYS AS IDENTITY;", ["PG201"]),
        (T, "ALTER TABLE t ADD COLUMN IF NOT EXISTS a int NOT NULL;", []),
        # the plan's own things
        ("", T + "ALTER TABLE t ADD x uuid DEFAULT gen_random_uuid(); DROP TABLE t;", []),
        (T, "ALTER TABLE t ADD x int; ALTER TABLE t DROP COLUMN x;", []),
        (T, "CREATE TABLE IF NOT EXISTS t (id int); CREATE INDEX ON t (a); DELETE FROM t;", ["PG106", "PG203"]),
        (T, "CREATE TABLE IF NOT EXISTS n (id int); CREATE INDEX ON n (id);", []),
        # types
        (T, "ALTER TABLE t ALTER v TYPE varchar(20); ALTER TABLE t ALTER v TYPE text;", []),
        (T, "ALTER TABLE t ALTER v TYPE varchar(5);", ["PG201"]),
        (T, "ALTER TABLE t ALTER a TYPE bigint;", ["PG201"]),
        (T, "ALTER TABLE t ALTER s TYPE varchar USING s::varchar;", []),
        (T, "ALTER TABLE t ALTER s TYPE text USING upper(s);", ["PG201"]),
        ("CREATE TABLE d (ts timestamp);", "SET TIME ZONE 'UTC'; ALTER TABLE d ALTER ts TYPE timestamptz;", []),
        ("CREATE TABLE d (ts timestamp);", "ALTER TABLE d ALTER ts TYPE timestamptz;", ["PG201?"]),
        ("", "ALTER TABLE elsewhere ALTER a TYPE bigint;", ["PG201?"]),
        # enums
        ("CREATE TYPE m AS ENUM ('a');" + T, "ALTER TYPE m ADD VALUE 'b'; UPDATE t SET v = 'b' WHERE id = 1;", []),
        (
            "CREATE TYPE m AS ENUM ('a'); CREATE TABLE e (id int, m m);",
            "ALTER TYPE m ADD VALUE 'b'; UPDATE e SET m = 'b' WHERE id = 1;",
            ["PG402"],
        ),
        (T, "CREATE TYPE m AS ENUM ('a'); ALTER TYPE m ADD VALUE 'b'; SELECT 'b'::m;", ["PG402?"]),
        # dynamic SQL
        (T, "DO $$ BEGIN EXECUTE 'DROP TABLE t'; END $$;", ["PG101"]),
        (T, "DO $$ BEGIN EXECUTE format('DROP TABLE %I', 't'); END $$;", ["PG701?"]),
        (T, "DO $$ BEGIN IF true THEN ALTER TABLE t ALTER a SET NOT NULL; END IF; END $$;", ["PG202"]),
        (T, "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN DROP TABLE t; END $$;", []),
        # functions that come again
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';",
            "DROP FUNCTION f() CASCADE; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 2';",
            [],
        ),
        (T, "DROP FUNCTION g() CASCADE;", ["PG103"]),
        # tables written anew
        (T, "ALTER TABLE t SET UNLOGGED;", ["PG201"]),
        (T, "ALTER TABLE t SET TABLESPACE fast;", ["PG201"]),
        # names
        ('CREATE TABLE "drop table" (a int);', 'ALTER TABLE "drop table" ADD "rename" int;', []),
        ('CREATE TABLE "ส้ม.น้ำ" (a int);', 'ALTER TABLE "ส้ม.น้ำ" ALTER a SET NOT NULL;', ["PG202"]),
        ('CREATE TABLE a.b (i int); CREATE TABLE "a.b" (i bigint);', 'ALTER TABLE "a.b" ALTER i TYPE bigint;', []),
        ("CREATE TABLE ส้ม (a int NOT NULL);", 'ALTER TABLE public."ส้ม" ALTER a SET NOT NULL;', []),
    ],
)  # fmt: skip
def test_a_statement_is_judged_by_what_exists(past: str, text: str, expected: list[str]) -> None:
    assert codes(text, *([past] if past else [])) == expected


def test_what_a_server_does_not_know() -> None:
    text = "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT ENFORCED;"
    assert codes(text, T, version=17) == ["PG406"]
    assert codes(text, T, version=18) == codes(text, T) == []
    enum = "CREATE TYPE m AS ENUM ('a'); ALTER TYPE m ADD VALUE 'b'; SELECT 'b'::m;"
    assert codes(enum, version=16) == ["PG402"] and codes(enum, version=17) == []  # measured on 15; release notes of 17
    partitioned = "CREATE TABLE p (r int) PARTITION BY RANGE (r); CREATE TABLE u (id int PRIMARY KEY);"
    key = "ALTER TABLE p ADD FOREIGN KEY (r) REFERENCES u NOT VALID;"
    assert codes(key, partitioned, version=15) == ["PG404"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[{"drop": "a"}]', ["MG101"]),
        ('[{"create": "a"}, {"drop": "a"}]', []),
        ('[{"delete": "a", "deletes": [{"q": {}, "limit": 0}]}]', ["MG103"]),
        ('[{"delete": "a", "deletes": [{"q": {}, "limit": 1}, {"q": {"b": 1}, "limit": 0}]}]', []),
        ('[{"update": "a", "updates": [{"q": {}, "u": {"$set": {"b": 1}}, "multi": true}]}]', ["MG601"]),
        ('[{"update": "a", "updates": [{"q": {}, "u": {"$set": {"b": 1}}}]}]', []),
        ('[{"aggregate": "a", "pipeline": [{"$out": "a"}], "cursor": {}}]', ["MG104"]),
        ('[{"aggregate": "a", "pipeline": [{"$out": "b"}], "cursor": {}}]', []),
        ('[{"createIndexes": "a", "indexes": [{"key": {"b": 1}, "name": "b", "unique": true}]}]', ["MG401?"]),
        ('[{"createIndexes": "a", "indexes": [{"key": {"b": 1}, "name": "b"}]}]', []),
        ('[{"collMod": "a", "validator": {"b": 1}}]', ["MG402?"]),
        ('[{"collMod": "a", "validator": {"b": 1}, "validationLevel": "moderate"}]', []),
        ('[{"convertToCapped": "a", "size": 1000}]', ["MG105", "MG201"]),
        ('[{"validate": "a"}]', ["MG202"]),
        ('[{"renameCollection": "d.a", "to": "d.b"}]', ["MG501"]),
        ('[{"dropIndexes": "a", "index": "b"}]', ["MG502"]),
    ],
)
def test_mongo(text: str, expected: list[str]) -> None:
    found = Story().judge(parse_commands(File("a.up.json", Path("a"), ""), text))
    assert [one.code + ("?" if one.maybe else "") for one in found] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DROP TABLE `the orders`;", ["drops table `the orders` and what is in it"]),
        ("ALTER TABLE `t` DROP COLUMN `c`, ADD d int;", ["drops column t.c and what is in it"]),
        ("ALTER TABLE t DROP INDEX i, DROP KEY k, DROP FOREIGN KEY f, DROP CHECK c;", []),
        ("ALTER TABLE t DROP PARTITION p;", ["empties a partition of t"]),
        ("DELETE FROM `t`;", ["deletes every row of t"]),
        ("DELETE FROM t LIMIT 10;", []),
        ("DROP /* a /* b */ TABLE x;", ["drops table x and what is in it"]),
        ("CREATE TABLE `n` (a int); DROP TABLE `n`;", []),
        ("CREATE INDEX i ON t (a);", []),
        ("CREATE PROCEDURE p() BEGIN DELETE FROM t; END;", []),
    ],
)
def test_lost_data_in_mysql(text: str, expected: list[str]) -> None:
    script = load_engine("mysql", "", "").parse(File("f", Path("f"), ""), text)
    assert [risk.what for risk in risks([script], engine="mysql")] == expected


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("DROP TABLE t;", "PG101"),
        ("ALTER TABLE t DROP COLUMN s;", "PG102"),
        ("DELETE FROM t;", "PG106"),
    ],
)
def test_sqlite_has_the_lock_of_sqlite(text: str, code: str) -> None:
    parse = load_engine("sqlite", "", "").parse
    story = Story(engine="sqlite")
    story.past(parse(File("p", Path("p"), ""), "CREATE TABLE t (id int, s text); INSERT INTO t VALUES (1, 'a');"))
    told = {one.code: (one.lock, one.locked) for one in story.judge(parse(File("f", Path("f"), ""), text))}
    assert told[code] == ("write lock", "the whole file: one writer at a time")
    assert not any("EXCLUSIVE" in lock for lock, _ in told.values())
    assert "SQLite" in rules()[code].versions and "SQLite" in rules()[code].lock


@pytest.mark.parametrize(
    ("merge", "told"),
    [
        ({"into": {"db": "billing", "coll": "orders"}}, ["changes documents of collection orders of database billing"]),
        (
            {"into": {"db": "billing", "coll": "orders"}, "whenMatched": "replace"},
            ["replaces documents of collection orders of database billing"],
        ),
        (
            {"into": {"db": "billing", "coll": "orders"}, "whenMatched": [{"$set": {"a": 1}}]},
            ["changes documents of collection orders of database billing"],
        ),
        ({"into": {"db": "billing", "coll": "orders"}, "whenMatched": "keepExisting"}, []),
        ({"into": {"db": "billing", "coll": "orders"}, "whenMatched": "fail"}, []),
        ({"into": "orders", "whenMatched": "replace"}, []),
        ({"into": {"coll": "orders"}}, []),
        ("orders", []),
    ],
)
def test_a_merge_into_another_database_is_lost_data_there(merge: object, told: list[str]) -> None:
    text = json.dumps([{"aggregate": "a", "pipeline": [{"$match": {}}, {"$merge": merge}], "cursor": {}}])
    script = load_engine("mongo", "", "").parse(File("f.json", Path("f"), ""), text)
    assert [risk.what for risk in risks([script], engine="mongo")] == [
        f"{one} by the result of an aggregation" for one in told
    ]


OWN_PLACES = [
    {"$merge": {"into": {"db": "shop", "coll": "b"}, "whenMatched": "replace"}},
    {"$out": {"db": "shop", "coll": "b"}},
]


@pytest.mark.parametrize("stage", OWN_PLACES)
@pytest.mark.parametrize(("own", "told"), [("shop", 0), ("", 1), ("billing", 1)])
def test_a_stage_that_names_its_own_database_is_in_it(stage: dict[str, object], own: str, told: int) -> None:
    text = json.dumps([{"aggregate": "a", "pipeline": [stage], "cursor": {}}])
    script = load_engine("mongo", "", "").parse(File("f.json", Path("f"), ""), text)
    assert len(risks([script], engine="mongo", past=lambda: (), own=own)) == told


def mysql_codes(text: str) -> set[str]:
    """Return the rules that a file of MySQL breaks, of which none is allowed in it, beside a few tables."""
    past = """CREATE TABLE customers (id bigint PRIMARY KEY);
        CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint, total int, note text, state varchar(20), number text);"""
    parse = load_engine("mysql", "", "").parse
    story = Story(engine="mysql")
    story.past(parse(File("p", Path("p"), ""), past))
    script = parse(File("f", Path("f"), ""), text)
    granted = permissions(script)
    return {one.code for one in story.judge(script) if not allowed(one, granted)}


def test_the_example_of_every_rule_breaks_it_and_its_safe_way_does_not() -> None:
    """A rule whose example does not break it, or whose files that can be copied do, is wrong or badly explained."""
    past = """CREATE TABLE customers (id bigint PRIMARY KEY);
        CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint, total int, note text, state text, number text);
        CREATE INDEX orders_customer ON orders (customer_id); CREATE TYPE mood AS ENUM ('a');
        CREATE TABLE person (id int, mood mood); CREATE DOMAIN email AS text; CREATE TABLE mail (e email);"""
    partitioned = "CREATE TABLE orders (id bigint, customer_id bigint) PARTITION BY RANGE (id);"
    partitioned += "CREATE TABLE customers (id int PRIMARY KEY);"
    for code, rule in rules().items():
        if code.startswith("PG"):
            before = partitioned if code in ("PG302", "PG404") else past
            fk = "ALTER TABLE orders ADD CONSTRAINT orders_customer_fk FOREIGN KEY (customer_id) REFERENCES customers (id);"
            before += fk if code == "PG301" else ""
            assert code in {one.code for one in judged(rule.example, before, version=17)}, code
        elif code.startswith("MG"):
            found = Story().judge(parse_commands(File("a.json", Path("a"), ""), rule.example))
            assert code in {one.code for one in found}, code
        elif code.startswith("MY"):
            assert code in mysql_codes(rule.example), code
            for name, text in rule.safe:
                assert code not in mysql_codes(text), (code, name)
    for code in ("PG202", "PG203", "PG206", "PG401", "PG402", "PG601", "PG405"):
        story = Story()
        story.past(parse_sql(File("p", Path("p"), ""), past))
        for name, text in rules()[code].safe:
            found = story.judge(parse_sql(File(name, Path(name), ""), text))
            story.now_applied()
            assert [one for one in found if one.code == code] == [], (code, name)


def test_the_page_of_the_documentation_is_made_from_the_rules() -> None:
    # python -c "from orchestrator.views.lint_docs import lint_page; print(lint_page(), end='')" > docs/lint.md
    assert (Path(__file__).parents[2] / "docs/lint.md").read_text() == lint_page()
