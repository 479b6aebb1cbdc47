"""A MongoDB command that names another database: a real run does what it says and a plan tells of it, no copy runs it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from estate import Estate


@pytest.fixture
def two(mongo_estate: Estate) -> Estate:
    """An estate with a database, and another one beside it that has records of its own."""
    mongo_estate.add(
        "mongo", "shop", {"1_a.up.json": '[{"insert": "orders", "documents": [{"_id": 1, "of": "shop"}]}]'}
    )
    mongo_estate.orch("apply")
    other = mongo_estate.mongo("billing")
    other["orders"].insert_one({"_id": 1, "of": "billing"})
    other["schema_migrations"].insert_one({"version": 7, "dirty": False})
    return mongo_estate


def command(kind: str, own: str, other: str, into: str = "orders") -> dict[str, Any]:
    match kind:
        case "out":
            return {"aggregate": "orders", "pipeline": [{"$out": {"db": other, "coll": into}}], "cursor": {}}
        case "merge":
            place = {"into": {"db": other, "coll": into}, "whenMatched": "replace"}
            return {"aggregate": "orders", "pipeline": [{"$merge": place}], "cursor": {}}
        case "rename":
            return {"renameCollection": f"{own}.orders", "to": f"{other}.{into}", "dropTarget": True}
    return {
        "bulkWrite": 1,
        "ops": [{"delete": 0, "filter": {}, "multi": True}],
        "nsInfo": [{"ns": f"{other}.{into}"}],
    }


@pytest.mark.parametrize(
    ("kind", "mark"),
    [
        ("out", "replaces collection orders of database {other}"),
        ("merge", "replaces documents of collection orders of database {other}"),
        ("rename", "drops collection orders and what is in it"),
    ],
)
def test_a_real_run_does_what_the_file_says(two: Estate, kind: str, mark: str) -> None:
    other = f"{two.prefix}billing"
    two.write("mongo-shop", {"2_b.up.json": json.dumps([command(kind, f"{two.prefix}shop", other)])})
    two.orch("validate")
    assert mark.format(other=other) in two.orch("plan").stdout
    refused = two.orch("clone", "shop", "--as", f"{two.prefix}copy", code=4).stderr
    assert "2_b.up.json:1:2: no copy of mongo-shop can run this: " in refused and repr(other) in refused
    assert two.mongo("billing")["orders"].find_one() == {"_id": 1, "of": "billing"}
    two.orch("apply")
    assert two.mongo("billing")["orders"].find_one() == {"_id": 1, "of": "shop"}
    assert two.mongo("billing")["schema_migrations"].count_documents({"version": 7}) == 1


@pytest.mark.parametrize("kind", ["out", "merge", "rename", "bulk"])
def test_the_records_of_another_database_are_no_migrations_business(two: Estate, kind: str) -> None:
    for into in ("schema_migrations", "orch_history"):
        text = json.dumps([command(kind, f"{two.prefix}shop", f"{two.prefix}billing", into)])
        two.write("mongo-shop", {"2_b.up.json": text})
        for step in ("validate", "apply"):
            assert f"changes {into}, which holds what orch and golang-migrate remember" in two.orch(step, code=4).stderr
    assert two.mongo("billing")["schema_migrations"].count_documents({"version": 7}) == 1


def test_a_bulk_write_says_which_database_it_empties(two: Estate) -> None:
    other = f"{two.prefix}billing"
    two.write("mongo-shop", {"2_b.up.json": json.dumps([command("bulk", f"{two.prefix}shop", other)])})
    two.orch("validate")
    assert f"deletes every document of {other}.orders" in two.orch("plan").stdout
    assert repr(other) in two.orch("clone", "shop", "--as", f"{two.prefix}copy", code=4).stderr
    failed = two.orch("apply", code=None)
    if failed.code:  # before MongoDB 8.0
        assert "no such command: 'bulkWrite'" in failed.stderr
        assert two.mongo("billing")["orders"].count_documents({}) == 1
        assert two.status("mongo-shop")["applied"] == [1]
