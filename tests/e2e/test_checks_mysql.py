"""Checks around a migration on MySQL and MariaDB: in the transaction of a file of rows, around one that changes tables."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mysql_shop import Shop

ORDERS = "CREATE TABLE orders (id int, total int);\nINSERT INTO orders VALUES (1, NULL);\n"
CHANGE = (
    "CREATE FUNCTION change_it() RETURNS int DETERMINISTIC MODIFIES SQL DATA "
    "BEGIN INSERT INTO orders VALUES (7, 7); RETURN 1; END;\n"
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


BAD = [
    ("SELECT total FROM orders WHERE false", "its query returned no row"),
    ("SELECT 1 UNION ALL SELECT 2", "its query returned more than one row"),
    ("SELECT NULL", "its query returned NULL"),
    ("SELECT 'true'", 'its query returned the text "true"'),
    ("SELECT 2", 'its query returned the number "2"'),
    ("SELECT total = total FROM not_there", "not_there' doesn't exist"),
    ("SELECT count(*) FROM orders AS a, orders AS b, orders AS c WHERE SLEEP(60) = 5", "took longer than"),
]


@pytest.mark.parametrize("statement", ["UPDATE orders SET total = 1;", "CREATE TABLE never (i int);"])
def test_every_answer_but_true_stops_the_file(shop: Shop, statement: str) -> None:
    shop.declare({"1_a.up.sql": ORDERS})
    for check, what in BAD:
        shop.write({"2_b.up.sql": f"-- orch: require {check}\n-- orch: statement_timeout=1s\n{statement}\n"})
        refused = shop.orch("apply", code=1).text
        assert what in refused, refused
        assert "2_b.up.sql:1:" in refused
    assert "never" not in str(shop.sql("SHOW TABLES"))
    assert shop.sql("SELECT total FROM orders") == [(None,)]


@pytest.mark.parametrize("statement", ["UPDATE orders SET id = id;", "ALTER TABLE orders COMMENT = 'x';"])
def test_a_check_changes_nothing(shop: Shop, statement: str) -> None:
    """A function that it calls may want to."""
    shop.declare({"1_a.up.sql": ORDERS + CHANGE})
    for kind in ("require", "ensure"):
        shop.write({"2_b.up.sql": f"-- orch: {kind} SELECT change_it()\n{statement}\n"})
        told = shop.orch("apply", code=None)
        assert shop.sql("SELECT count(*) FROM orders WHERE id = 7") == [(0,)], told.text


@pytest.mark.parametrize(
    "check", ["DELETE FROM orders", "SELECT 1; SELECT 2", "SELECT 1 INTO OUTFILE '/tmp/x'", "CALL p()", ""]
)
def test_what_is_no_query_is_refused_with_its_place(shop: Shop, check: str) -> None:
    shop.declare({"1_a.up.sql": f"-- orch: require {check}\nSELECT 1;\n"})
    refused = shop.orch("validate", code=4).text
    assert "1_a.up.sql:1:1" in refused
    assert "require takes one query" in refused
