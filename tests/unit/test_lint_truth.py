"""The lint rules against 246 kinds of statements, whose locks, rewrites and scans were measured on PostgreSQL 15 and 18."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from orchestrator.analysis.findings import Finding, Story
from orchestrator.engines.postgres.sql import parse_sql
from orchestrator.model import File

DATA = Path(__file__).with_name("data")
ROWS = list(csv.DictReader((DATA / "locks_postgres.csv").open(newline="")))
SETUP = (DATA / "truth_setup.sql").read_text()
STOPS_WRITERS = ("SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE")
# What a statement loses, or renames, stands in its words and in no measurement.
LOSES = (
    (r"DROP (TABLE|SCHEMA|MATERIALIZED VIEW)\b", "PG101"),
    (r"ALTER TABLE .* DROP COLUMN", "PG102"),
    (
        r"DROP (VIEW|SEQUENCE|FUNCTION|TABLE|SCHEMA) .*CASCADE|ALTER TABLE .* DROP .* CASCADE|TRUNCATE .* CASCADE",
        "PG103",
    ),
    (r"DROP (TYPE|DOMAIN) .*CASCADE", "PG104"),
    (r"TRUNCATE", "PG105"),
    (r"DELETE FROM \w+$", "PG106"),
    (r"UPDATE \w+ SET [^;]*$(?<!id = 5)", "PG601"),
    (r"ALTER (TABLE|VIEW|MATERIALIZED VIEW) .*RENAME|ALTER TYPE .* RENAME VALUE|ALTER TABLE .* SET SCHEMA", "PG501"),
    (r"DROP INDEX (?!CONCURRENTLY)", "PG503"),
    (r"LOCK TABLE", "PG208"),
    (r"ALTER TABLE .* DROP (DEFAULT|NOT NULL)$", "PG502"),
)
# What was measured as long and yet stops nobody, or the other way round, with the reason.
OTHERWISE = {
    # nobody writes to a materialized view, and its readers go on: this is the safe way
    "REFRESH MATERIALIZED VIEW CONCURRENTLY": set(),
    # no program names a CHECK
    "RENAME CONSTRAINT": set(),
    # it was measured on a table without rows
    "ADD COLUMN … NOT NULL without default (fails where rows are)": {"PG401"},
    # depends on the TimeZone of the session, which the file does not set
    "TYPE timestamptz -> timestamp, TimeZone UTC": {"PG201"},
    "TYPE timestamp -> timestamptz, TimeZone UTC, indexed": {"PG201"},
    # a validated CHECK on a partition is taken for its bound
    "ATTACH PARTITION to a parent with a foreign key": {"PG202", "PG204"},
}


def expected(row: dict[str, str]) -> set[str]:
    """Derive from what was measured which rules must speak."""
    if row["kind"] in OTHERWISE:
        return OTHERWISE[row["kind"]]
    statement, lock, rewrite, scans = row["statement"], row["lock"], row["rewrite"], row["scans"]
    codes = {code for pattern, code in LOSES if re.match(pattern, statement)}
    scanned = scans.split(" ")[0] != "no" and "twice" not in scans
    built = re.search(r"index(es)? (built|rebuilt)", rewrite) is not None and "USING INDEX" not in statement
    long_lock = lock in STOPS_WRITERS
    if statement.startswith("REFRESH"):
        codes.add("PG207")
    elif "TABLE" in rewrite and not statement.startswith("TRUNCATE"):
        codes.add("PG201")
        if "index built" in rewrite:
            codes.add("PG203")
    elif scanned and long_lock and built:
        codes.add("PG203")
    elif scanned and long_lock:
        foreign_key = "REFERENCES" in statement
        together = "VALIDATE" in statement and "NOT VALID" in statement
        domain = statement.startswith("ALTER DOMAIN")
        codes.add("PG206" if together else "PG205" if domain else "PG204" if foreign_key else "PG202")
    # ATTACH takes the long lock on the partition, not on the table that it names
    elif scanned and "ATTACH PARTITION" in statement:
        codes.add("PG202")
    if re.search(r"\b\w+\((r|p)\): ACCESS EXCLUSIVE", row["others"]) and re.match(
        r"ALTER TABLE c |DROP TABLE c|ALTER TABLE t ALTER \w+ TYPE", statement
    ):
        codes.add("PG301")
    if lock == "ACCESS EXCLUSIVE" and re.search("PARTITION OF|DETACH", statement):
        codes.add("PG302")
    if statement.startswith("DROP TABLE pt_"):
        codes.add("PG302")
    others_for_writes = re.search(r"\b\w+\(r\): SHARE ROW EXCLUSIVE", row["others"]) or statement.startswith(
        "CREATE TABLE z (id int, pid"
    )
    if others_for_writes and (not scanned or "NOT VALID" in statement) and "REFERENCES" in statement:
        codes.add("PG303")
    return codes


def findings(text: str, *past: str) -> list[Finding]:
    story = Story()
    for before in past:
        story.past(parse_sql(File("past", Path("past"), ""), before))
    return story.judge(parse_sql(File("f", Path("f"), ""), text))


@pytest.mark.parametrize("row", ROWS, ids=[row["kind"] for row in ROWS])
def test_rules_say_what_was_measured(row: dict[str, str]) -> None:
    found = {finding.code for finding in findings(row["statement"], SETUP)}
    found -= {"PG304"}  # of how many tables a transaction locks, test_locks_of_several_tables tells
    found -= {"PG408"}  # the views were dropped before a type was measured
    assert found == expected(row), row


def test_the_table_is_whole() -> None:
    assert len(ROWS) == 246
    assert set(OTHERWISE) <= {row["kind"] for row in ROWS}
    assert (
        sum(bool(expected(row) & {"PG201", "PG202", "PG203", "PG204", "PG205", "PG206", "PG207"}) for row in ROWS) >= 70
    )
