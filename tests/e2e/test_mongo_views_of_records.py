"""A view, a time series or a capped collection in the place of MongoDB's records is told at once, and nothing runs."""

from __future__ import annotations

import pytest
from estate import Estate

COLLECTIONS = ("orch_history", "schema_migrations", "migrate_advisory_lock")


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_what_is_no_plain_collection_is_reported(mongo_estate: Estate, collection: str) -> None:
    mongo_estate.add("mongo", "a", {"1_a.up.json": '[{"insert": "x", "documents": [{"_id": 1}]}]'})
    mongo_estate.orch("apply")
    mongo_estate.write("mongo-a", {"2_b.up.json": '[{"insert": "x", "documents": [{"_id": 2}]}]'})
    database = mongo_estate.mongo("a")
    database[collection].rename("put_aside")
    kinds: dict[str, dict[str, object]] = {
        "view": {"viewOn": "put_aside", "pipeline": []},
        "time series": {"timeseries": {"timeField": "t"}},
        "capped": {"capped": True, "size": 4096},
    }
    if collection == "schema_migrations":
        kinds["view"]["pipeline"] = [{"$match": {"version": {"$gte": 0}}}]
    for kind, options in kinds.items():
        database.command("create", collection, **options)
        for command in ("apply",) if kind == "capped" else ("status", "plan", "apply", "history", "wait"):
            told = mongo_estate.orch(command, code=5).text
            assert f"mongo-a: {collection} is not a plain collection (it is a {kind}" in told, (kind, command)
            assert "mongo-a: mongo-a" not in told
            assert "has not migrated" not in told
        database.drop_collection(collection)
    assert [one["_id"] for one in database.x.find()] == [1]
    database.put_aside.rename(collection)
    mongo_estate.orch("apply")
    assert [one["_id"] for one in database.x.find()] == [1, 2]


def test_a_login_that_may_not_ask_for_statistics_reads_the_history(mongo_estate: Estate) -> None:
    mongo_estate.add("mongo", "a", {"1_a.up.json": '[{"insert": "x", "documents": [{"_id": 1}]}]'})
    mongo_estate.orch("apply")
    database, name = mongo_estate.mongo("a"), f"{mongo_estate.prefix}a"
    resource = {"db": name, "collection": ""}
    database.command("createRole", "only_find", privileges=[{"resource": resource, "actions": ["find"]}], roles=[])
    database.command("createUser", "reader", pwd="x1-reader", roles=["only_find"])
    try:
        server = mongo_estate.servers["mongo"]
        dsn = f"mongodb://reader:x1-reader@127.0.0.1:{server.port}/{name}?authSource={name}"
        assert "up to date" in mongo_estate.orch("status", env={"ORCH_DSN_MONGO_A": dsn}).text
    finally:
        database.command("dropUser", "reader")
        database.command("dropRole", "only_find")
