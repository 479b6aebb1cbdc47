"""MongoDB files that commit as a whole, and what becomes of those that no transaction can hold."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from estate import SOON, Estate, start
from kill import Forge

from orchestrator.engines.mongo.command_names import meant

WHOLE: list[Any] = [
    {"create": "orders", "validator": {"n": {"$type": "int"}}},
    {"createIndexes": "orders", "indexes": [{"key": {"n": 1}, "name": "n_1", "unique": True}]},
    {"create": "customers", "collation": {"locale": "th"}},
    {"createIndexes": "customers", "indexes": [{"key": {"name": 1}, "name": "name_1"}]},
    {"insert": "orders", "documents": [{"_id": 1, "n": 1}]},
    {"update": "orders", "updates": [{"q": {"_id": 1}, "u": {"$set": {"n": 2}}}]},
]
REFUSED: Any = {"insert": "orders", "documents": [{"n": "many"}]}
MARK = {"orch": "no-transaction"}


@pytest.fixture(params=["mongod", "secantus"])
def any_mongo(request: pytest.FixtureRequest, mongo_estate: Estate) -> Estate:
    mongo_estate.servers["mongo"] = start(request.param)
    mongo_estate.env["MONGO_PASSWORD"] = mongo_estate.servers["mongo"].password
    return mongo_estate


@pytest.fixture
def short_lived(mongo_estate: Estate) -> Iterator[Estate]:
    """A server that ends every transaction after a second, as others do after a minute."""
    admin = mongo_estate.client().admin
    admin.command("setParameter", 1, transactionLifetimeLimitSeconds=1)
    yield mongo_estate
    admin.command("setParameter", 1, transactionLifetimeLimitSeconds=60)


def test_a_whole_file_commits_with_its_record(any_mongo: Estate) -> None:
    any_mongo.add("mongo", "a", {"1_x.up.js": json.dumps(WHOLE)})
    assert "transaction" not in any_mongo.orch("plan").stdout
    any_mongo.orch("apply")
    database = any_mongo.mongo("a")
    assert database["orders"].find_one() == {"_id": 1, "n": 2}
    assert {"n_1", "_id_"} == set(database["orders"].index_information())
    (row,) = database["orch_history"].find()
    assert (row["applied"], row["total"], row["done"]) == (6, 6, True)


def test_a_whole_file_that_fails_leaves_no_trace(any_mongo: Estate) -> None:
    any_mongo.add("mongo", "a", {"1_x.up.js": json.dumps([*WHOLE, REFUSED])})
    told = any_mongo.orch("apply", code=1).stderr
    assert "121" in told
    assert "nothing of this file is in the database" in told
    left = set(any_mongo.mongo("a").list_collection_names())
    assert left <= {"orch_history", "schema_migrations", "migrate_advisory_lock"}
    any_mongo.write("mongo-a", {"1_x.up.js": json.dumps(WHOLE)})
    any_mongo.orch("apply")
    assert any_mongo.status("mongo-a")["applied"] == [1]


@pytest.mark.parametrize(
    "commands",
    [
        [{"create": "v", "viewOn": "orders", "pipeline": []}],
        [{"create": "t", "timeseries": {"timeField": "at"}}],
        [{"create": "l", "capped": True, "size": 4096}, {"insert": "l", "documents": [{"a": 1}]}],
        [
            {"insert": "filled", "documents": [{"a": 1}]},
            {"createIndexes": "filled", "indexes": [{"key": {"a": 1}, "name": "a_1"}]},
        ],
        [{"drop": "orders"}, {"create": "orders"}],
        [{"create": "u"}, {"collMod": "u", "validator": {}}],
        [{"create": "p"}, {"insert": "p", "documents": [{"_id": 1}], "apiVersion": "1", "apiStrict": True}],
        [{"create": "big"}, *({"insert": "big", "documents": [{"a": "x" * 9_000_000}]} for _ in range(2))],
    ],
    ids=lambda commands: " ".join(name for command in commands for name in list(command)[:2])[:40],
)
def test_what_no_transaction_can_hold_runs_command_by_command(mongo_estate: Estate, commands: list[Any]) -> None:
    mongo_estate.add("mongo", "a", {"1_x.up.js": json.dumps(WHOLE), "2_x.up.js": json.dumps(commands)})
    mongo_estate.orch("apply")
    assert mongo_estate.status("mongo-a")["applied"] == [1, 2]


def test_a_system_collection_never_goes_into_a_transaction(mongo_estate: Estate) -> None:
    stored = {"insert": "system.js", "documents": [{"_id": "f", "value": {"$code": "function() { return 1 }"}}]}
    mongo_estate.add("mongo", "a", {"1_x.up.js": json.dumps([stored])})
    mongo_estate.orch("apply")
    assert mongo_estate.mongo("a")["system.js"].count_documents({}) == 1


LONG: Any = {
    "update": "things",
    "updates": [{"q": {"$where": "sleep(40) || true"}, "u": {"$set": {"done": True}}, "multi": True}],
}


@pytest.mark.parametrize("before", [[], [{"create": "made"}]])
def test_a_long_update_goes_on_without_a_transaction(short_lived: Estate, before: list[Any]) -> None:
    short_lived.add("mongo", "a", {"1_x.up.js": json.dumps([*before, LONG])})
    schema_objects = short_lived.mongo("a")["things"]
    schema_objects.insert_many([{"n": n} for n in range(60)])
    told = short_lived.orch("apply").stderr
    assert "no transaction can hold this" in told
    assert schema_objects.count_documents({"done": True}) == 60
    assert short_lived.status("mongo-a")["applied"] == [1]


@contextmanager
def written_all_the_time(estate: Estate, query: dict[str, Any]) -> Iterator[None]:
    """Let a second client write the same documents without a pause."""
    over = threading.Event()

    def write() -> None:
        collection = estate.mongo("a")["things"]
        while not over.is_set():
            collection.update_many(query, {"$inc": {"hits": 1}})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join(30)


def test_a_hot_document_sends_an_update_out_of_the_transaction(mongo_estate: Estate, forge: Forge) -> None:
    """112 again and again: an update that can be made twice goes on without a transaction, and says so."""
    slow: Any = {
        "update": "things",
        "updates": [{"q": {"$where": "sleep(8) || true"}, "u": {"$set": {"done": True}}, "multi": True}],
    }
    mongo_estate.add("mongo", "a", {"1_x.up.js": json.dumps([{"create": "made"}, slow])})
    things = mongo_estate.mongo("a")["things"]
    things.insert_many([{"n": n} for n in range(20)])
    with written_all_the_time(mongo_estate, {"n": {"$gte": 15}}):
        ended = forge.run(["apply"], mongo_estate.root, mongo_estate.env, kill_at=-1, patches=SOON)
    told = ended.output
    assert ended.code == 0, told
    assert "tried again" in told and "onflict" in told
    assert "the file continues statement by statement" in told
    assert things.count_documents({"done": True}) == 20
    assert mongo_estate.status("mongo-a")["applied"] == [1]
    (row,) = mongo_estate.mongo("a")["orch_history"].find({"done": True})
    assert (row["applied"], row["total"]) == (2, 2)


def test_a_hot_document_stops_an_update_that_must_not_be_made_twice(mongo_estate: Estate, forge: Forge) -> None:
    counts: Any = {
        "update": "things",
        "updates": [{"q": {"$where": "sleep(8) || true"}, "u": {"$inc": {"n": 1}}, "multi": True}],
    }
    mongo_estate.add("mongo", "a", {"1_x.up.js": json.dumps([counts])})
    things = mongo_estate.mongo("a")["things"]
    things.insert_many([{"k": k, "n": 0} for k in range(20)])
    with written_all_the_time(mongo_estate, {"k": {"$gte": 15}}):
        ended = forge.run(["apply"], mongo_estate.root, mongo_estate.env, kill_at=-1, patches=SOON)
    assert ended.code == 1, ended.output
    assert "1_x.up.js:1" in ended.output and "112" in ended.output
    assert things.count_documents({"n": 0}) == 20  # nothing of it is there, nor half
    mongo_estate.orch("apply")
    assert things.count_documents({"n": 1}) == 20


def test_a_long_update_that_must_not_be_made_twice_asks_for_a_directive(short_lived: Estate) -> None:
    update: Any = {
        "update": "things",
        "updates": [{"q": {"$where": "sleep(40) || true"}, "u": {"$inc": {"n": 1}}, "multi": True}],
    }
    short_lived.add("mongo", "a", {"1_x.up.js": json.dumps([update])})
    schema_objects = short_lived.mongo("a")["things"]
    schema_objects.insert_many([{"n": 0} for _ in range(60)])
    told = short_lived.orch("apply", code=1).stderr
    assert '"comment": {"orch": "no-transaction"}' in told
    assert schema_objects.count_documents({"n": 0}) == 60
    short_lived.write("mongo-a", {"1_x.up.js": json.dumps([{**update, "comment": MARK}])})
    short_lived.orch("apply")
    assert schema_objects.count_documents({"n": 1}) == 60


def test_no_transaction_mode_in_the_dsn_is_obeyed(short_lived: Estate) -> None:
    short_lived.add("mongo", "a", {"1_x.up.js": json.dumps([LONG])})
    path = short_lived.root / "databases.yaml"
    path.write_text(path.read_text().replace('"}', '&x-transaction-mode=false"}', 1))
    short_lived.mongo("a")["things"].insert_many([{"n": n} for n in range(60)])
    assert "no transaction can hold this" not in short_lived.orch("apply").stderr
    path.write_text(path.read_text().replace("mode=false", "mode=perhaps"))
    assert "x-transaction-mode" in short_lived.orch("plan", code=4).stderr


@pytest.mark.parametrize(
    "comment", [{"orch": "no-transactions"}, {"orch": "no-transaction", "a": 1}, "orch: no-transaction"]
)
def test_a_directive_that_is_none_is_refused(mongo_estate: Estate, comment: object) -> None:
    mongo_estate.add("mongo", "a", {"1_x.up.js": json.dumps([{"insert": "c", "documents": [{}], "comment": comment}])})
    told = mongo_estate.orch("validate", code=4).stderr
    assert "1_x.up.js:1:2: " in told
    assert '"comment": {"orch": "no-transaction"}' in told


# ---------------------------------------------------------------- names of commands


def test_slips_and_methods_of_the_shell_are_refused_with_what_was_meant(mongo_estate: Estate) -> None:
    mongo_estate.add("mongo", "a", {"1_x.up.js": '[{"create": "c"},\n {"insrt": "c", "documents": [{}]}]'})
    told = mongo_estate.orch("validate", code=4).stderr
    assert "1_x.up.js:2:2: MongoDB has no command" in told
    assert "did you mean insert?" in told


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("updateMany", "update"),
        ("createindex", "createIndexes"),
        ("creatIndexes", "createIndexes"),
        ("Insert", "insert"),
        ("drops", "drop"),
        ("unshardCollections2", ""),
        ("reshardDatabase", ""),
        ("fooBar", ""),
    ],
)
def test_what_a_name_is_a_slip_for(name: str, command: str) -> None:
    assert meant(name) == command


def test_an_unknown_command_is_a_warning_for_a_later_server_may_have_it(mongo_estate: Estate) -> None:
    mongo_estate.add("mongo", "a", {"1_x.up.js": '[{"create": "c"},\n {"fooBar": 1}]', "1_x.down.js": "[]"})
    told = mongo_estate.orch("validate").stderr
    assert '1_x.up.js:2: MongoDB 4.4 to 8.0 have no command "fooBar"' in told


@pytest.mark.parametrize("command", ["setParameter", "setDefaultRWConcern", "shutdown", "replSetReconfig", "addShard"])
def test_a_command_about_the_whole_server_is_refused(mongo_estate: Estate, command: str) -> None:
    mongo_estate.add("mongo", "a", {"1_x.up.js": f'[{{"{command}": 1}}]'})
    told = mongo_estate.orch("validate", code=4).stderr
    assert f"1_x.up.js:1:2: '{command}' runs in the database admin only" in told


def test_a_command_that_only_admin_takes_is_no_missing_right(mongo_estate: Estate) -> None:
    """One of a server that orch does not know: mongod answers with the code of a missing right."""
    mongo_estate.add("mongo", "a", {"1_x.up.js": '[{"whatsmysni": 1}]'})
    told = mongo_estate.orch("apply", code=1).stderr
    assert "may only be run against the admin database" in told
    assert "grantRolesToUser" not in told


def test_a_command_about_a_collection_by_its_full_name_goes_to_admin(mongo_estate: Estate) -> None:
    """On a server that shards nothing it is unknown there; it is not refused for where it was sent."""
    name = f"{mongo_estate.prefix}a.c"
    mongo_estate.add("mongo", "a", {"1_x.up.js": json.dumps([{"shardCollection": name, "key": {"a": 1}}])})
    told = mongo_estate.orch("apply", code=1).stderr
    assert "59 CommandNotFound" in told
