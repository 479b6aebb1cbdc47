"""`orch lint --trace`: what statements really did on a server, against what the rules said."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from estate import Estate
from lint_corpus import ESTATE, POSTGRES, script

from orchestrator.analysis.measured import compare
from orchestrator.engines.postgres.tracing import measure, oids

TABLES = """CREATE TABLE t (id int PRIMARY KEY, a int, v varchar(10));
CREATE TABLE parent (id int PRIMARY KEY);
CREATE INDEX t_a ON t (a);
"""
LATER = """ALTER TABLE t ALTER COLUMN a TYPE bigint;
ALTER TABLE t ALTER COLUMN v TYPE varchar(20);
ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES parent (id);
CREATE TABLE fresh (i int);
CREATE INDEX ON fresh (i);
UPDATE t SET a = 1 WHERE id = 1;
"""


def traced(estate: Estate, *arguments: str, code: int | None = None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = estate.orch("lint", "--trace", *arguments, "--output", "json", code=code).json[
        "trace"
    ]
    return found


def test_what_pending_files_really_did(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_a.up.sql": TABLES})
    pg_estate.orch("apply")
    pg_estate.write(
        "postgres-a",
        {"2_b.up.sql": LATER, "3_c.up.sql": "CREATE INDEX CONCURRENTLY t_v ON t (v);", "4_d.up.sql": "VACUUM t;"},
    )
    run = pg_estate.orch("lint", "--trace", "--output", "json", code=1)
    (database,) = run.json["trace"]
    kind, wider, key, create, index, update, concurrently, vacuum = database["statements"]
    assert kind["rewritten"] == ["t"] and kind["rules"] == ["PG201"]
    assert {"table": "t", "mode": "ACCESS EXCLUSIVE"} in kind["locks"]
    assert wider["rewritten"] == wider["read"] == wider["rules"] == []
    assert {one["table"] for one in key["locks"] if one["mode"] == "SHARE ROW EXCLUSIVE"} >= {"parent"}
    assert "PG204" in key["rules"]
    assert create["rules"] == index["rules"] == update["rules"] == []
    assert concurrently["polled"] and concurrently["error"] is None
    assert {one["mode"] for one in concurrently["locks"] if one["table"] == "t"} <= {
        "SHARE UPDATE EXCLUSIVE",
        "ACCESS SHARE",
    }
    assert vacuum["error"] is None
    assert all(not one["missed"] and not one["in_vain"] for one in database["statements"]), database
    assert pg_estate.version_row("a") == [(1, False)], "the real database was only asked"
    left = pg_estate.sql("a", f"SELECT datname FROM pg_database WHERE datname LIKE 'orch_clone%\\_{run.pid}\\_%'")
    assert left == []
    text = pg_estate.orch("lint", "--trace", code=1).stdout
    assert "2_b.up.sql:1: ALTER TABLE t ALTER COLUMN a TYPE bigint\n    locks     ACCESS EXCLUSIVE on t" in text
    assert "Traced 8 statements in scratch databases: the rules agree with 8." in text


def test_a_file_that_fails_and_what_cannot_be_traced(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_a.up.sql": TABLES})
    pg_estate.orch("apply")
    pg_estate.write("postgres-a", {"2_b.up.sql": "ALTER TABLE t ADD x int;\nALTER TABLE nowhere ADD y int;"})
    (database,) = traced(pg_estate, "--since", "1")
    assert [one["error"] for one in database["statements"]] == [None, 'relation "nowhere" does not exist']
    assert "--trace goes with" in pg_estate.orch("lint", "--trace", "--output", "sarif", code=2).stderr
    pg_estate.write("postgres-a", {"2_b.up.sql": "CREATE ROLE traced_by_mistake;"})
    (database,) = traced(pg_estate, "--since", "1", code=1)
    assert "reaches beyond its database" in database["error"] and database["statements"] == []
    assert pg_estate.sql("a", "SELECT rolname FROM pg_roles WHERE rolname = 'traced_by_mistake'") == []


def test_checks_are_asked_in_the_scratch_database(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_a.up.sql": TABLES})
    pg_estate.orch("apply")
    pg_estate.write(
        "postgres-a", {"2_b.up.sql": "-- orch: require SELECT count(*) = 7 FROM t\nALTER TABLE t ADD x int;"}
    )
    (database,) = traced(pg_estate, code=1)
    assert "the check is not met: its query returned false" in database["error"] and database["statements"] == []
    pg_estate.write(
        "postgres-a", {"2_b.up.sql": "-- orch: ensure SELECT count(x) = 0 FROM t\nALTER TABLE t ADD x int;"}
    )
    (database,) = traced(pg_estate)
    assert (database["error"], len(database["statements"])) == (None, 1)
    # A function that a check calls would act on the real server from every copy.
    away = "CREATE FUNCTION away() RETURNS boolean LANGUAGE sql AS $$ SELECT pg_reload_conf() $$;\n"
    pg_estate.write("postgres-a", {"2_b.up.sql": away, "3_c.up.sql": "-- orch: require SELECT away()\nSELECT 1;"})
    (database,) = traced(pg_estate, code=1)
    assert "away() reaches beyond the database" in database["error"]
    assert "away() reaches beyond the database" in pg_estate.orch("verify", "a", code=None).text


LONG = {"rewrite", "scan", "index", "foreign key", "domain", "together", "refresh"}

OTHERWISE = (
    "manual: timestamp to timestamptz depends on the time zone",  # which is UTC here
    "table: REFRESH CONCURRENTLY",  # nobody writes to a materialized view
)


# What fails on this server alone: by its few rows, or because it lacks an extension or a tablespace.
FAILS = {
    "squawk: adding-not-nullable-field, a CHECK of another column": "contains null values",
    "squawk: require-concurrent-index-creation, unique": "could not create unique index",
    "squawk: disallowed-unique-constraint": "could not create unique index",
    "table: SET TABLESPACE": "tablespace",
    "strong_migrations: executing SQL that is put together": "other objects depend on it",
    "adding columns: a function of an extension": "does not exist",
    "tables: all that a role owns": "required by the database system",
    "tables: an extension with all that uses it": "does not exist",
    "an exclusion constraint": "has no default operator class",
}


def test_the_expectations_of_the_corpus_are_what_a_server_does(pg_estate: Estate) -> None:
    """Whoever wrote down what is dangerous in the corpus may be wrong; the server is not. Every case is rolled back."""
    pg_estate.add("postgres", "a", {"1_a.up.sql": ESTATE})
    pg_estate.orch("apply")
    wrong, tried, failed = [], 0, set()
    with psycopg.connect(pg_estate.servers["postgres"].dsn(pg_estate.prefix + "a"), autocommit=True) as connection:
        old = oids(connection)
        for case in POSTGRES:
            parsed = script(case.plan[0])
            if case.past or len(case.plan) > 1 or not parsed.atomic:
                continue
            lines = {line for _, line, meaning in case.expected if meaning in LONG}
            losing = {line for _, line, meaning in case.expected if meaning in ("loses", "unreadable", "rows")}
            connection.execute("BEGIN")
            found = list(measure(connection, parsed, old))
            connection.execute("ROLLBACK")
            tried += 1
            if found and found[-1].error:
                failed.add(case.name)
                known = any(meaning == "fails" for _, _, meaning in case.expected)
                if not known and "is not available" not in str(found[-1].error):  # an extension
                    assert FAILS.get(case.name, "?") in str(found[-1].error), case.name
                continue
            fails = any(meaning == "fails" for _, _, meaning in case.expected) and "before 17" not in case.name
            assert not fails, f"{case.name} does not fail"
            of = parsed.statements
            compared = [compare("f", of[one.statement].line, of[one.statement].source, one, []) for one in found]
            if case.name in OTHERWISE:
                continue
            did = {one.line for one in compared if one.missed} - losing
            expected = {max(one.line for one in compared if one.line <= line) for line in lines}
            if did != expected:
                wrong.append(f"{case.name}: the server works long in lines {sorted(did)}, expected {sorted(expected)}")
    assert not wrong, "\n".join(wrong)
    assert tried > 330 and failed >= set(FAILS)


def test_findings_weigh_by_the_size_of_the_table(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_a.up.sql": TABLES})
    pg_estate.orch("apply")
    pg_estate.write("postgres-a", {"2_b.up.sql": "ALTER TABLE t ALTER COLUMN a TYPE bigint;\nDROP TABLE parent;\n"})
    pg_estate.orch("stats", "-o", "sizes.json")
    written = json.loads((pg_estate.root / "sizes.json").read_text())
    table = written["databases"]["postgres-a"]["tables"]["t"]
    assert table["rows"] == 0 and table["bytes"] > 0 and table["writes_per_second"] == 0
    assert pg_estate.orch("stats").json["databases"]["postgres-a"]["tables"]["t"] == table

    def levels(*arguments: str) -> dict[str, str]:
        document = pg_estate.orch("lint", *arguments, "--output", "json", code=1).json
        return {one["code"]: one["level"] for one in document["findings"] if one["code"] in ("PG201", "PG101", "PG601")}

    assert levels() == {"PG201": "error", "PG101": "error"}
    for arguments in (["--stats", "sizes.json"], ["--live"]):
        assert levels(*arguments) == {"PG201": "warn", "PG101": "error"}, "lost data is never weighed"
    table |= {"rows": 12_000_000, "bytes": 4_100_000_000, "writes_per_second": 20.0}
    (pg_estate.root / "sizes.json").write_text(json.dumps(written))
    pg_estate.write("postgres-a", {"3_c.up.sql": "UPDATE t SET a = 1;"})
    assert levels("--stats", "sizes.json") == {"PG201": "error", "PG101": "error", "PG601": "error"}
    text = pg_estate.orch("lint", "--stats", "sizes.json", code=1).stdout
    assert "(ACCESS EXCLUSIVE on t); t has 12,000,000 rows (4.1 GB), 20 writes a second" in text
    text = pg_estate.orch("lint", "--trace", "--stats", "sizes.json", code=1).stdout
    assert "    rewrites  t has 12,000,000 rows (4.1 GB)" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "this is not JSON"),
        ("[]", "this is not what `orch stats` writes"),
        ('{"format": 2, "databases": {}}', "this is not what `orch stats` writes"),
        ('{"format": 1, "databases": {"postgres-a": 3}}', "postgres-a has no 'tables'"),
        ('{"format": 1, "databases": {"postgres-a": {"tables": {"t": {"rows": -1}}}}}', "postgres-a: t cannot be read"),
        (
            '{"format": 1, "databases": {"a": {"tables": {"t": {"rows": NaN, "bytes": 1, "writes_per_second": 0}}}}}',
            "a: t cannot be read",
        ),
    ],
)
def test_a_file_of_sizes_that_is_none(pg_estate: Estate, text: str, said: str) -> None:
    pg_estate.add("postgres", "a", {"1_a.up.sql": TABLES})
    (pg_estate.root / "sizes.json").write_text(text)
    error = pg_estate.orch("lint", "--stats", "sizes.json", code=4).stderr
    assert said in error and "sizes.json" in error
    assert "--stats and --live" in pg_estate.orch("lint", "--stats", "x", "--live", code=2).stderr


def test_statistics_of_a_large_table_would_make_the_trace_of_an_empty_copy_less_true(pg_estate: Estate) -> None:
    """Why sizes weigh findings and are not given to the scratch database: the planner reads them by the pages there are."""
    pg_estate.add("postgres", "a", {"1_a.up.sql": TABLES})
    pg_estate.orch("apply")
    with psycopg.connect(pg_estate.servers["postgres"].dsn(pg_estate.prefix + "a"), autocommit=True) as connection:

        def plan() -> str:
            return " ".join(row[0] for row in connection.execute("EXPLAIN UPDATE t SET a = 1 WHERE a = 5"))

        assert "t_a" in plan()
        connection.execute("UPDATE pg_class SET reltuples = 5e6, relpages = 30000 WHERE relname = 't'")
        assert "Seq Scan on t " in plan(), "a table of 5 million rows and an index would not be read as a whole"
