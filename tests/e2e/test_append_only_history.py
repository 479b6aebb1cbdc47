"""A history whose finished rows the migrating login cannot change, as docs/operations.md tells how to set it up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from estate import Estate

DOCS = Path(__file__).parents[2] / "docs" / "operations.md"
PASSWORD = "plain-password"


class Guarded:
    """A database at version 1 whose history belongs to `keeper`, and the environment in which orch is `app`."""

    def __init__(self, estate: Estate) -> None:
        self.estate = estate
        self.app, self.keeper = f"{estate.prefix}app", f"{estate.prefix}keeper"
        server = estate.servers["postgres"]
        self.dsn = server.dsn(estate.prefix + "a").replace(f"{server.user}:{server.password}", f"{self.app}:{PASSWORD}")
        self.env = {"ORCH_DSN_POSTGRES_A": self.dsn}
        estate.add("postgres", "a", {"1_t.up.sql": "CREATE TABLE t ();", "1_t.down.sql": "DROP TABLE t;"})
        estate.orch("apply")
        estate.sql("a", f"CREATE ROLE {self.app} LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE {self.keeper}")
        estate.sql("a", self.documented())

    def documented(self) -> str:
        """Return the SQL of the docs, for this database."""
        found = re.search(r"```sql\n(-- append-only history\n.*?)```", DOCS.read_text(), re.DOTALL)
        assert found
        text = found[1].replace('"order"', f'"{self.estate.prefix}a"')
        return re.sub(r"\bhistory_keeper\b", self.keeper, re.sub(r"\bmigrator\b", self.app, text))

    def as_app(self, statement: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement.encode())


@pytest.fixture
def guarded(pg_estate: Estate) -> Iterator[Guarded]:
    one = Guarded(pg_estate)
    yield one
    for role in (one.app, one.keeper):
        pg_estate.sql("a", f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")


def test_migrations_go_up_fail_and_go_down(guarded: Guarded) -> None:
    estate, env = guarded.estate, guarded.env
    piecewise = "-- orch: no-transaction\nCREATE TABLE u (i int);\nSELECT 1 / 0;\n"
    estate.write("postgres-a", {"2_u.up.sql": piecewise, "2_u.down.sql": "DROP TABLE u;"})
    estate.orch("apply", code=1, env=env)
    estate.write("postgres-a", {"2_u.up.sql": piecewise.replace("/ 0", "/ 1")})
    estate.orch("apply", env=env)
    estate.orch("rollback", "a", "--steps", "1", "--yes", env=env)
    estate.orch("apply", env=env)
    assert estate.version_row("a") == [(2, False)]
    rows = estate.sql("a", "SELECT version, attempt, direction, done, role FROM orch_history ORDER BY 1, 2")
    assert rows[1:] == [
        (2, 1, "up", False, guarded.app),
        (2, 2, "up", True, guarded.app),
        (2, 3, "down", True, guarded.app),
        (2, 4, "up", True, guarded.app),
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE orch_history SET actor = 'nobody'",
        "UPDATE orch_history SET done = false",
        "INSERT INTO orch_history SELECT * FROM orch_history ON CONFLICT (version, attempt) DO UPDATE SET actor = 'x'",
        "DELETE FROM orch_history",
        "TRUNCATE orch_history",
        "DROP TABLE orch_history",
        "ALTER TABLE orch_history DISABLE TRIGGER ALL",
        "ALTER TABLE orch_history RENAME TO other",
        "DROP TRIGGER orch_history_is_append_only ON orch_history",
        "CREATE OR REPLACE FUNCTION orch_history_row_is_final() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "SET session_replication_role = replica; UPDATE orch_history SET actor = 'nobody'",
    ],
)
def test_the_migrating_login_cannot_change_what_is_finished(guarded: Guarded, statement: str) -> None:
    before = guarded.estate.sql("a", "SELECT h::text FROM orch_history h")
    with pytest.raises(psycopg.Error):
        guarded.as_app(statement)
    assert guarded.estate.sql("a", "SELECT h::text FROM orch_history h") == before


def test_the_history_of_an_earlier_release_is_written_as_it_is(guarded: Guarded) -> None:
    """Only its owner can add columns; what they would keep is left out until then."""
    estate = guarded.estate
    estate.sql("a", "ALTER TABLE orch_history DROP COLUMN role, DROP COLUMN host")
    estate.write("postgres-a", {"2_u.up.sql": "CREATE TABLE u ();", "3_v.up.sql": "CREATE TABLE v ();"})
    estate.orch("apply", env=guarded.env)
    assert estate.version_row("a") == [(3, False)]
    assert [row["done"] for row in estate.orch("history", "a", "--output", "json").json["attempts"]] == [True] * 3
