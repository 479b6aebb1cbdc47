"""Schema snapshots as tables with keys and references, in the spelling of each engine."""

from __future__ import annotations

from orchestrator.analysis.tables import Column, Reference, Schema, Table, schema_of
from orchestrator.model import SchemaObject as Of


def tables(schema: Schema) -> dict[str, Table]:
    return {table.name: table for table in schema.tables}


def test_postgres() -> None:
    found = schema_of(
        {
            Of("table", '"Odd, name"'): "owner a",
            Of("column", '"Odd, name".id', '"Odd, name"'): "integer NOT NULL",
            Of("constraint", '"Odd, name".pk', '"Odd, name"'): "PRIMARY KEY (id)",
            Of("table", "sales.orders"): "owner a",
            Of("privileges on", "sales.orders", "sales.orders"): "a=r/a",
            Of("column", "sales.orders.note", "sales.orders"): "text",
            Of("column", 'sales.orders."Order Id"', "sales.orders"): "integer NOT NULL",
            Of("constraint", "sales.orders.pk", "sales.orders"): 'PRIMARY KEY ("Order Id")',
            Of("constraint", "sales.orders.fk", "sales.orders"): (
                'FOREIGN KEY ("Order Id", note) REFERENCES public."Odd, name"(id, x) ON DELETE CASCADE'
            ),
            Of("constraint", "sales.orders.gone", "sales.orders"): "FOREIGN KEY (note) REFERENCES elsewhere.t(id)",
            Of("sequence", "lonely"): "owner a",
        }
    )
    assert [part.name for part in found.others] == ["lonely"]
    orders = tables(found)["sales.orders"]
    assert orders.columns == (
        Column("Order Id", "integer NOT NULL", primary=True, foreign=True),
        Column("note", "text", foreign=True),
    )
    assert orders.references == (Reference(("Order Id", "note"), '"Odd, name"', ("id", "x")),)
    assert [part.name for part in orders.parts] == ["fk", "gone", "pk", "sales.orders"]
    assert tables(found)['"Odd, name"'].columns[0].primary


def test_mysql() -> None:
    found = schema_of(
        {
            Of("table", "customers"): "ENGINE=InnoDB",
            Of("column", "customers.id", "customers"): "int NOT NULL",
            Of("index", "customers.PRIMARY", "customers"): "PRIMARY KEY (`id`)",
            Of("table", "orders"): "ENGINE=InnoDB",
            Of("column", "orders.customer", "orders"): "int",
            Of("constraint", "orders.fk", "orders"): (
                "CONSTRAINT `fk` FOREIGN KEY (`customer`) REFERENCES `customers` (`id`)"
            ),
        }
    )
    assert tables(found)["customers"].columns == (Column("id", "int NOT NULL", primary=True),)
    assert tables(found)["orders"].references == (Reference(("customer",), "customers", ("id",)),)


def test_sqlite() -> None:
    found = schema_of(
        {
            Of("table", "customers"): "CREATE TABLE customers(id INTEGER PRIMARY KEY,name TEXT)",
            Of("column", "customers.id", "customers"): "INTEGER KEY 1",
            Of("table", "orders"): (
                "CREATE TABLE orders(id INTEGER PRIMARY KEY,customer NUMERIC(3,0)NOT NULL REFERENCES Customers(id),"
                "other INT,FOREIGN KEY(other)REFERENCES orders)"
            ),
            Of("column", "orders.id", "orders"): "INTEGER KEY 1",
            Of("column", "orders.customer", "orders"): "NUMERIC(3,0) NOT NULL",
            Of("index", "by_customer", "orders"): "CREATE INDEX by_customer ON orders(customer)",
        }
    )
    orders = tables(found)["orders"]
    assert set(orders.references) == {
        Reference(("customer",), "customers", ("id",)),
        Reference(("other",), "orders", ()),
    }
    assert [(column.name, column.primary, column.foreign) for column in orders.columns] == [
        ("id", True, False),
        ("customer", False, True),
    ]
    assert [part.name for part in orders.parts] == ["by_customer"]


def test_the_fields_of_a_collection_are_those_of_its_validator() -> None:
    validator = (
        '{"$jsonSchema": {"required": ["name"], "properties": {"_id": {"bsonType": "objectId"}, "name": {"bsonType": '
        '["string", "null"]}, "size": {"bsonType": "object", "properties": {"w": {"type": "number"}}}, "x": 1}}}'
    )
    found = schema_of(
        {
            Of("collection", "things"): "",
            Of("option", "things.validator", "things"): validator,
            Of("index", "things.name_1", "things"): '{"key": {"name": 1}}',
            Of("collection", "bare"): "",
            Of("option", "bare.validator", "bare"): '{"a": {"$gt": 1}}',
        }
    )
    assert tables(found)["things"].columns == (
        Column("_id", "objectId", primary=True),
        Column("name", "string or null required"),
        Column("size", "object"),
        Column("size.w", "number"),
    )
    assert tables(found)["bare"].columns == ()


def test_a_long_definition_takes_no_time() -> None:
    text = "CREATE TABLE t(" + ",".join(f"c{n} TEXT DEFAULT '((({n}'" for n in range(3000)) + " REFERENCES"
    assert tables(schema_of({Of("table", "t"): text}))["t"].references == ()
