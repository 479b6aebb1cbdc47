"""Files that `orch lint --fix` cuts, and those that it leaves as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.analysis.splitting import Piece, split
from orchestrator.engines.postgres.sql import parse_sql
from orchestrator.model import File, Script

TABLE = "-- the state of an order\nALTER TABLE orders ADD COLUMN state text;\n"
INDEX = "-- how it is looked for\nCREATE INDEX CONCURRENTLY by_state ON orders (state);\n"


def script(text: str) -> Script:
    return parse_sql(File("f.sql", Path("f.sql"), ""), text)


def pieces(up: str, down: str | None = None) -> list[Piece]:
    return split(script(up), None if down is None else script(down))


def test_each_concurrently_gets_a_file_with_its_comments_and_its_down() -> None:
    found = pieces(TABLE + INDEX, "DROP INDEX CONCURRENTLY by_state;\nALTER TABLE orders DROP COLUMN state;\n")
    assert found == [
        Piece("", TABLE, "ALTER TABLE orders DROP COLUMN state;\n"),
        Piece("_by_state", INDEX, "DROP INDEX CONCURRENTLY by_state;\n"),
    ]
    assert [one.up for one in pieces(INDEX + TABLE + 'DROP INDEX CONCURRENTLY "By X";\n' + TABLE)] == [
        INDEX,
        TABLE,
        'DROP INDEX CONCURRENTLY "By X";\n',
        TABLE,
    ]
    thai = 'CREATE INDEX CONCURRENTLY "ดัชนี; CONCURRENTLY" ON "ส้ม.น้ำ" (a);\n'
    assert [(one.ending, one.up) for one in pieces(TABLE + thai)] == [("", TABLE), ("_concurrently", thai)]


@pytest.mark.parametrize(
    ("up", "down", "why"),
    [
        (f"SET lock_timeout = '1s';\n{INDEX}", None, "changes the session"),
        (f"SELECT set_config('search_path', 'app', false);\n{INDEX}", None, "changes the session"),
        (f"CREATE TEMP TABLE x (a int);\n{INDEX}", None, "changes the session"),
        (f"BEGIN;\n{TABLE}COMMIT;\n{INDEX}", None, "changes the session"),
        (f"-- orch: lock_timeout=3s\n{TABLE}{INDEX}", None, "directive"),
        (f"{TABLE}{INDEX}VACUUM orders;\n", None, "another statement that cannot be"),
        ("ALTER TABLE orders ADD a int; CREATE INDEX CONCURRENTLY i ON orders (a);", None, "stand on one line"),
        (TABLE + INDEX, "ALTER TABLE orders DROP COLUMN state;\n", "does not undo by_state"),
        (
            TABLE + INDEX,
            "DROP INDEX by_state, other;\nALTER TABLE orders DROP COLUMN state;\n",
            "does not undo by_state",
        ),
        (
            f"{TABLE}CREATE INDEX CONCURRENTLY ON orders (state);\n",
            "DROP INDEX orders_state_idx;\n",
            "an index without a name",
        ),
        (f"{TABLE}{INDEX}{TABLE}", "DROP INDEX by_state;\nSELECT 1;\n", "cannot be shared out"),
    ],
)
def test_a_file_whose_pieces_might_mean_something_else_is_left(up: str, down: str | None, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        pieces(up, down)
