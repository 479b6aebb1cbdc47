"""Checks of MariaDB files (`require`, `ensure`): asked in the transaction of the file, and they cannot change anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mysql_shop import Shop

SETUP = """CREATE TABLE kept (i int);
INSERT INTO kept VALUES (1);
CREATE SEQUENCE sq;
CREATE FUNCTION writes() RETURNS int MODIFIES SQL DATA BEGIN DELETE FROM kept WHERE i = 1; RETURN 1; END;
CREATE FUNCTION writes_later() RETURNS int MODIFIES SQL DATA
BEGIN IF (SELECT count(*) FROM kept) > 1 THEN UPDATE kept SET i = 9; END IF; RETURN 1; END;
"""
READ_ONLY = "READ ONLY transaction"
# Which query, as which check, and what the error says; '': the file runs.
CHECKS = (
    ("SELECT 1", "require", ""),
    ("SELECT count(*) = 2 FROM kept;", "ensure", ""),
    ("SELECT writes_later()", "require", READ_ONLY),  # although it would write nothing then
    ("SELECT count(*) = 1 FROM kept", "ensure", "false"),
    ("SELECT NULL", "require", "NULL"),
    ("SELECT '1'", "require", "the text"),
    ("SELECT 2", "ensure", "the number"),
    ("SELECT 1 UNION ALL SELECT 1", "require", "more than one row"),
    ("SELECT 1 FROM kept WHERE i = 5", "ensure", "no row"),
    ("SELECT 1; DELETE FROM kept", "require", "one query"),
    ("SELECT writes()", "require", READ_ONLY),
    ("SELECT writes()", "ensure", READ_ONLY),
    ("SELECT NEXTVAL(sq) > 0", "ensure", READ_ONLY),
    ("SELECT SETVAL(sq, 99) > 0", "require", READ_ONLY),
    ("SELECT writes_later()", "ensure", READ_ONLY),
    ("SELECT SLEEP(30) = 0", "require", "longer than 1 s"),
)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.estate.drop()


def test_a_check_that_is_not_met_or_that_writes_leaves_nothing_of_its_file(shop: Shop) -> None:
    shop.declare({"1_a.up.sql": SETUP}, statement_timeout="1s")
    shop.orch("apply")
    for query, kind, told in CHECKS:
        shop.write(
            {
                "2_b.up.sql": f"-- orch: {kind} {query}\nINSERT INTO kept VALUES (7);\n",
                "2_b.down.sql": "DELETE FROM kept WHERE i = 7;",
            }
        )
        result = shop.orch("apply", code=None)
        expected = [(1,), (7,)] if not told else [(1,)]
        assert shop.sql("SELECT i FROM kept ORDER BY i") == expected, (query, kind, result.text)
        assert shop.sql("SELECT next_not_cached_value FROM sq") == [(1,)], query
        assert result.code in ((1, 4) if told else (0,)), (query, kind, result.text)
        assert told in result.text, (query, kind, result.text)
        if not told:
            shop.orch("rollback", "shop", "--steps", "1", "--yes")
    shop.orch("status")
