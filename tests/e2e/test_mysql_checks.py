"""Checks of MySQL and MariaDB files (`require`, `ensure`): in the transaction of a file of rows, and around other files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mysql_shop import Shop

ORDERS = "CREATE TABLE orders (id int, total int);\nINSERT INTO orders VALUES (1, NULL);\n"
SETUP = """CREATE TABLE kept (i int);
INSERT INTO kept VALUES (1);
CREATE FUNCTION writes() RETURNS int DETERMINISTIC MODIFIES SQL DATA BEGIN DELETE FROM kept WHERE i = 1; RETURN 1; END;
CREATE FUNCTION writes_later() RETURNS int DETERMINISTIC MODIFIES SQL DATA
BEGIN IF (SELECT count(*) FROM kept) > 1 THEN UPDATE kept SET i = 9; END IF; RETURN 1; END;
"""
READ_ONLY = "READ ONLY transaction"
# Which query, as which check, and what the error says; '': the file runs.
CHECKS = (
    ("SELECT 1", "require", ""),
    ("SELECT count(*) = 2 FROM kept;", "ensure", ""),
    ("SELECT writes_later()", "require", READ_ONLY),  # although it would write nothing then
    ("SELECT count(*) = 1 FROM kept", "ensure", "its query returned false"),
    ("SELECT NULL", "require", "its query returned NULL"),
    ("SELECT '1'", "require", 'its query returned the text "1"'),
    ("SELECT 2", "ensure", 'its query returned the number "2"'),
    ("SELECT 1 UNION ALL SELECT 1", "require", "its query returned more than one row"),
    ("SELECT 1 FROM kept WHERE i = 5", "ensure", "its query returned no row"),
    ("SELECT 1 FROM not_there", "require", "not_there' doesn't exist"),
    ("SELECT writes()", "require", READ_ONLY),
    ("SELECT writes()", "ensure", READ_ONLY),
    ("SELECT writes_later()", "ensure", READ_ONLY),
    ("SELECT count(*) FROM kept, kept AS b WHERE SLEEP(30) = 5", "require", "longer than 1 s"),
)
OF_MARIADB = (
    ("SELECT NEXTVAL(sq) > 0", "ensure", READ_ONLY),
    ("SELECT SETVAL(sq, 99) > 0", "require", READ_ONLY),
)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.estate.drop()


def test_checks_of_a_file_of_rows(shop: Shop) -> None:
    """Both are asked in its transaction: what the file did is undone with an `ensure` that is not met."""
    head = (
        "-- orch: require SELECT count(*) = 0 FROM orders WHERE total IS NULL\n"
        "# orch: ensure SELECT max(total) < 100 FROM orders;\n"
    )
    shop.declare({"1_a.up.sql": ORDERS, "2_b.up.sql": f"{head}UPDATE orders SET total = total * 10;\n"})
    refused = shop.orch("apply", code=1).text
    path = "migrations/mysql-shop/schema/2_b.up.sql"
    assert f"{path}:1:18: mysql-shop: the check is not met: its query returned false" in refused
    assert "nothing of this file is in the database" in refused
    asked = shop.orch("plan", "--check", code=1).stderr
    assert f"check: mysql-shop: {path}:1:18: require not met: its query returned false" in asked
    shop.sql("UPDATE orders SET total = 10")
    assert f"{path}:2:16: mysql-shop: the check is not met" in shop.orch("apply", code=1).text
    assert shop.sql("SELECT total FROM orders") == [(10,)]
    assert shop.sql("SELECT version, dirty FROM schema_migrations") == [(1, 0)]
    shop.sql("UPDATE orders SET total = 9")
    assert "require met" in shop.orch("plan", "--check").stderr
    shop.orch("apply")
    assert shop.sql("SELECT total FROM orders") == [(90,)]


def test_checks_of_a_file_that_changes_tables(shop: Shop) -> None:
    """An `ensure` that is not met stops behind the statements, which are done: the next run only asks it again."""
    head = "-- orch: require SELECT count(*) = 1 FROM orders\n-- orch: ensure SELECT max(total) < 50 FROM orders\n"
    change = "ALTER TABLE orders ADD COLUMN c int;\nINSERT INTO orders VALUES (3, 90, 3);\n"
    shop.declare({"1_a.up.sql": ORDERS, "2_b.up.sql": head + change})
    refused = shop.orch("apply", code=1).text
    assert "2_b.up.sql:2:17: mysql-shop: the check is not met" in refused
    assert shop.sql("SELECT count(*) FROM orders WHERE c = 3") == [(1,)]
    assert shop.orch("apply", code=1).text.count("the check is not met") >= 1
    shop.sql("UPDATE orders SET total = 9 WHERE total = 90")
    shop.orch("apply")
    assert shop.sql("SELECT count(*) FROM orders WHERE c = 3") == [(1,)]
    assert shop.sql("SELECT version, dirty FROM schema_migrations") == [(2, 0)]


def test_a_check_that_is_not_met_or_that_writes_leaves_nothing_of_its_file(shop: Shop) -> None:
    maria = shop.is_maria()
    shop.declare({"1_a.up.sql": SETUP + ("CREATE SEQUENCE sq;\n" if maria else "")}, statement_timeout="1s")
    shop.orch("apply")
    for query, kind, told in (*CHECKS, *(OF_MARIADB if maria else ())):
        shop.write(
            {
                "2_b.up.sql": f"-- orch: {kind} {query}\nINSERT INTO kept VALUES (7);\n",
                "2_b.down.sql": "DELETE FROM kept WHERE i = 7;",
            }
        )
        result = shop.orch("apply", code=None)
        expected = [(1,), (7,)] if not told else [(1,)]
        assert shop.sql("SELECT i FROM kept ORDER BY i") == expected, (query, kind, result.text)
        assert not maria or shop.sql("SELECT next_not_cached_value FROM sq") == [(1,)], query
        assert result.code == (1 if told else 0), (query, kind, result.text)
        assert told in result.text, (query, kind, result.text)
        assert not told or "2_b.up.sql:1:" in result.text
        if not told:
            shop.orch("rollback", "shop", "--steps", "1", "--yes")
    shop.orch("status")


def test_no_check_that_is_not_met_or_that_writes_lets_a_table_be_changed(shop: Shop) -> None:
    shop.declare({"1_a.up.sql": SETUP})
    for query, kind, told in (("SELECT NULL", "require", "NULL"), ("SELECT writes()", "ensure", READ_ONLY)):
        shop.write({"2_b.up.sql": f"-- orch: {kind} {query}\nALTER TABLE kept COMMENT = 'x';\n"})
        assert told in shop.orch("apply", code=1).text
        assert shop.sql("SELECT i FROM kept") == [(1,)]


def test_what_is_no_query_is_refused_with_its_place(shop: Shop) -> None:
    bad = ["DELETE FROM orders", "SELECT 1; SELECT 2", "SELECT 1 INTO OUTFILE '/tmp/x'", "CALL p()", ""]
    shop.declare(
        {f"{number}_a.up.sql": f"-- orch: require {check}\nSELECT 1;\n" for number, check in enumerate(bad, 1)}
    )
    refused = shop.orch("validate", code=4).text
    for number in range(1, len(bad) + 1):
        assert f"/{number}_a.up.sql:1:1" in refused
    assert refused.count("require takes one query") == len(bad)
