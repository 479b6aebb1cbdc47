"""Each test has databases of its own, migrated and with their seed rows, and may do with them what it likes."""

from __future__ import annotations

from decimal import Decimal

import psycopg
import pytest
from shop import Shop, UnknownProductError

from orchestrator.pytest_plugin import MakeDatabase, SharedDatabases


@pytest.fixture
def shop(orch_database: MakeDatabase) -> Shop:
    orders = orch_database("order").connect(autocommit=True)
    catalogue = orch_database("catalogue").connect().get_default_database()
    return Shop(orders, catalogue)


def test_an_order_costs_what_its_items_cost(shop: Shop) -> None:
    order = shop.place("มานี", {"tea": 2, "cup": 1})
    assert shop.total(order) == Decimal("325.50")


def test_an_order_of_something_unknown_leaves_nothing(shop: Shop) -> None:
    with pytest.raises(UnknownProductError):
        shop.place("มานี", {"tea": 1, "unicorn": 1})
    assert shop.orders.execute("SELECT count(*) FROM customer_order").fetchone() == (1,)  # the seed


def test_a_price_change_is_not_seen_by_other_tests(shop: Shop) -> None:
    shop.catalogue["products"].delete_many({})
    shop.orders.execute("DROP TABLE order_item")
    with pytest.raises(UnknownProductError):
        shop.price("tea")


def test_quantities_are_positive(shop: Shop) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        shop.place("มานี", {"tea": 0})


def test_without_seeds(orch_database: MakeDatabase) -> None:
    with orch_database("order", seeds=False).connect() as connection:
        assert connection.execute("SELECT count(*) FROM customer_order").fetchone() == (0,)


def test_what_only_reads_may_share(orch_estate: SharedDatabases) -> None:
    with orch_estate["order"].connect() as connection:
        assert connection.execute("SELECT customer FROM customer_order").fetchone() == ("สมชาย",)
