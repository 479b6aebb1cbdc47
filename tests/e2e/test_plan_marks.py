"""What a plan marks: SQL and not names, old tables and not those that the plan makes itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from estate import Estate

from orchestrator.analysis.risks import risks
from orchestrator.engines.postgres.sql import parse_sql
from orchestrator.model import File


def marks(text: str, *, fresh: bool = False) -> list[str]:
    return [found.what for found in risks([parse_sql(File("f", Path("f"), ""), text)], fresh=fresh)]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("ALTER TABLE t DROP k;", 1),
        ("ALTER TABLE t DROP IF EXISTS k;", 1),
        ("ALTER TABLE t ADD c int, DROP k;", 1),
        ("ALTER TABLE t DROP CONSTRAINT k;", 0),
        ("ALTER TABLE t ALTER c DROP NOT NULL;", 0),
        ("ALTER TABLE t ALTER c DROP DEFAULT;", 0),
        ("ALTER TABLE t ADD id serial;", 1),
        ("CREATE TABLE IF NOT EXISTS t (a int); CREATE INDEX ON t (a);", 1),
        ("CREATE TABLE t (a int); CREATE INDEX ON t (a);", 0),
        ('CREATE TABLE "t" (a int); CREATE INDEX ON t (a);', 0),
        ('CREATE TABLE "Drop Table" (a int); CREATE INDEX ON "Drop Table" (a);', 0),
        ('ALTER TABLE t ADD COLUMN "drop table x" int;', 0),
        ('ALTER TABLE t ADD COLUMN "truncate" int;', 0),
        ('COMMENT ON COLUMN t."rename" IS \'x\'; CREATE VIEW "drop column" AS SELECT 1;', 0),
        ('UPDATE t SET a = 1 WHERE "where" = 2;', 0),
        ('UPDATE t SET "where " = 1;', 1),
        ('DROP TABLE "drop";', 1),
    ],
)
def test_marks(text: str, count: int) -> None:
    assert len(marks(text)) == count, marks(text)


def test_a_plan_that_creates_the_database_marks_what_others_can_lose_alone() -> None:
    text = "DROP TABLE t; UPDATE t SET a = 1; DROP DATABASE other;"
    assert len(marks(text)) == 3
    assert marks(text, fresh=True) == ["drops database other and what is in it"]


def test_a_new_database_has_nothing_to_lose_and_an_old_one_has(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_a.up.sql": "CREATE TABLE t (i int, j int);"})
    pg_estate.write("postgres-a", {"2_b.up.sql": "ALTER TABLE t DROP COLUMN j;\nUPDATE t SET i = 1;\nDROP TABLE t;"})
    assert "!" not in pg_estate.orch("plan").stdout
    pg_estate.orch("apply", "--only", "a", "--to", "1")
    assert pg_estate.orch("plan").stdout.count("! ") == 3


def test_an_enum_value_before_its_commit_has_a_hint(pg_estate: Estate) -> None:
    first = "CREATE TYPE mood AS ENUM ('ok'); CREATE TABLE person (m mood);"
    pg_estate.add("postgres", "a", {"1_a.up.sql": first})
    pg_estate.orch("apply")
    pg_estate.write("postgres-a", {"2_b.up.sql": "ALTER TYPE mood ADD VALUE 'bad'; UPDATE person SET m = 'bad';"})
    assert (
        "a new enum value can be used only after commit: in a later migration" in pg_estate.orch("apply", code=1).stderr
    )
