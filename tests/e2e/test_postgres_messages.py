"""What the server says while a file runs: WARNINGs are always shown, NOTICE and INFO with -v, and all of it in jsonl."""

from __future__ import annotations

import json

import pytest
from house import House
from test_postgres_files import write

SAYS = (
    "DO $$ BEGIN\n  RAISE INFO 'backfill begins';\n  RAISE NOTICE 'backfilled % rows', 3;\n"
    "  RAISE WARNING '% rows had no owner', 2;\nEND $$;\n"
)
FILE = "migrations/postgres-db/schema/000002_x.up.sql"


@pytest.fixture
def house(new_house: House) -> House:
    """One database, with files that the test writes after the first."""
    return new_house


def messages(output: str) -> list[tuple[int, str, str, str]]:
    """Return what the lines of a stream tell of the server's messages."""
    found = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return [(e["version"], e["file"], e["severity"], e["message"]) for e in found if e["event"] == "ServerMessage"]


@pytest.mark.parametrize("text", [SAYS, SAYS + "CREATE INDEX CONCURRENTLY t1_id ON t1 (id);", SAYS + "SELECT 1 / 0;"])
def test_every_message_is_an_event(house: House, text: str) -> None:
    write(house, text if "CONC" not in text else f"-- orch: no-transaction\n{text}")
    told = house.orch("apply", "--output", "jsonl", code=None).output
    assert messages(told) == [
        (2, FILE, "INFO", "backfill begins"),
        (2, FILE, "NOTICE", "backfilled 3 rows"),
        (2, FILE, "WARNING", "2 rows had no owner"),
    ]


def test_a_terminal_is_told_of_warnings_and_of_all_with_v(house: House) -> None:
    write(house, SAYS)
    told = house.orch("apply").output
    assert f"postgres-db: {FILE}: WARNING: 2 rows had no owner" in told
    assert "backfill" not in told
    write(house, SAYS, SAYS)
    told = house.orch("apply", "-v").output
    assert "000003_x.up.sql: NOTICE: backfilled 3 rows" in told
    assert "000003_x.up.sql: INFO: backfill begins" in told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("SET LOCAL search_path = app;", "SET LOCAL can only be used in transaction blocks"),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;", "SET TRANSACTION can only be used in transaction blocks"),
        ("SET CONSTRAINTS ALL DEFERRED;", "SET CONSTRAINTS can only be used in transaction blocks"),
    ],
)
def test_what_has_no_effect_outside_of_a_block_is_said(house: House, text: str, said: str) -> None:
    write(house, f"-- orch: no-transaction\n{text}\nSELECT 1;\n")
    assert f"WARNING: {said}" in house.orch("apply").output


def test_messages_of_our_own_statements_are_not_told(house: House) -> None:
    write(
        house,
        "-- orch: no-transaction\nSELECT 1;\nSELECT 2;\n",
        "SELECT 3;",
        "SET client_min_messages = debug1;\nSELECT 1;",
    )
    told = messages(house.orch("apply", "--output", "jsonl").output)
    assert [message for message in told if "orch_history" in str(message) or "schema_migrations" in str(message)] == []


def test_messages_are_bounded_and_warnings_are_not_crowded_out(house: House) -> None:
    write(
        house,
        "DO $$ BEGIN FOR n IN 1..5000 LOOP RAISE NOTICE 'row % %', n, repeat('x', 9000); END LOOP;\n"
        "RAISE WARNING 'at last'; END $$;",
    )
    told = messages(house.orch("apply", "--output", "jsonl").output)
    assert len(told) == 102
    assert (2, FILE, "WARNING", "at last") in told
    assert any("further messages of this file are not shown" in message for *_, message in told)
    assert max(len(message) for *_, message in told) < 5000
