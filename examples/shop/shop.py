"""A small service: orders in PostgreSQL, the catalogue in MongoDB."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import psycopg


class UnknownProductError(Exception):
    """The catalogue has no such product."""


class Shop:
    """Takes orders. `orders` is a connection, `catalogue` a MongoDB database."""

    def __init__(self, orders: psycopg.Connection[Any], catalogue: Any) -> None:
        self.orders = orders
        self.catalogue = catalogue

    def price(self, sku: str) -> Decimal:
        """Return what a product costs."""
        product = self.catalogue["products"].find_one({"sku": sku})
        if product is None:
            raise UnknownProductError(sku)
        price: Decimal = product["price"].to_decimal()
        return price

    def place(self, customer: str, items: dict[str, int]) -> int:
        """Place an order, whole or not at all, and return its number."""
        with self.orders.transaction():
            row = self.orders.execute(
                "INSERT INTO customer_order (customer) VALUES (%s) RETURNING id", [customer]
            ).fetchone()
            assert row is not None
            for sku, quantity in items.items():
                self.orders.execute(
                    "INSERT INTO order_item (order_id, sku, quantity, price) VALUES (%s, %s, %s, %s)",
                    [row[0], sku, quantity, self.price(sku)],
                )
        return int(row[0])

    def total(self, order: int) -> Decimal:
        """Return what an order costs."""
        query = "SELECT coalesce(sum(quantity * price), 0) FROM order_item WHERE order_id = %s"
        row = self.orders.execute(query, [order]).fetchone()
        return Decimal(row[0]) if row else Decimal(0)
