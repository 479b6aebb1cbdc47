"""What a MongoDB migration may say, and what orch sees to itself."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import bson
import pytest
from estate import Estate, start

from orchestrator.engines import load_engine
from orchestrator.engines.base import Limits
from orchestrator.engines.mongo import commit
from orchestrator.engines.mongo.extended_json import entry_offset
from orchestrator.errors import StatementError
from orchestrator.manifest.dsn import Redactor, resolve
from orchestrator.model import Database, Statement


@pytest.fixture(params=["mongod", "secantus"])
def any_mongo(request: pytest.FixtureRequest, mongo_estate: Estate) -> Estate:
    mongo_estate.servers["mongo"] = start(request.param)
    mongo_estate.env["MONGO_PASSWORD"] = mongo_estate.servers["mongo"].password
    return mongo_estate


@pytest.mark.parametrize("concern", ['{"w": 1}', '{"w": "majority", "wtimeout": 5000}', '{"w": 0}'])
def test_a_write_concern_of_its_own_is_no_obstacle(any_mongo: Estate, concern: str) -> None:
    """Written for a standalone or golang-migrate, where each command waits as it says; orch's waits for what lasts."""
    any_mongo.add(
        "mongo",
        "a",
        {
            "1_x.up.js": f'[{{"create": "c", "writeConcern": {concern}}}]',
            "2_x.up.js": f'[{{"insert": "c", "documents": [{{"a": 1}}], "writeConcern": {concern}}}]',
            "3_x.up.js": f'[{{"insert": "c", "documents": [{{"_id": 1}}, {{"_id": 1}}], "writeConcern": {concern}}}]',
        },
    )
    assert "11000" in any_mongo.orch("apply", code=1).stderr
    assert any_mongo.status("mongo-a")["applied"] == [1, 2]


def test_the_bookkeeping_under_other_names_is_not_a_migrations_either(any_mongo: Estate) -> None:
    entry = "  - {name: a, server: mongo}\n"
    any_mongo.manifest(entry, "history: {name: our_history}\n")
    path = any_mongo.root / "databases.yaml"
    path.write_text(path.read_text().replace('"}', '&x-migrations-collection=our_versions"}', 1))
    any_mongo.write("mongo-a", {"1_x.up.js": '[{"create": "c"}]', "1_x.down.js": '[{"drop": "our_versions"}]'})
    any_mongo.orch("apply")
    told = any_mongo.orch("rollback", "mongo-a", "--to", "0", "--yes", code=1).stderr
    assert "1_x.down.js:1" in told
    assert "it changes our_versions" in told
    any_mongo.write(
        "mongo-a", {"2_x.up.js": '[{"delete": "our_history_our_versions", "deletes": [{"q": {}, "limit": 0}]}]'}
    )
    assert "it changes our_history_our_versions" in any_mongo.orch("apply", code=1).stderr
    assert any_mongo.status("mongo-a")["applied"] == [1]


def test_a_file_of_very_many_commands(mongo_estate: Estate) -> None:
    """The place of each is counted on from the one before."""
    many = ",\n".join(['{"drop": "x"}'] * 200_000)
    mongo_estate.add("mongo", "a", {"1_x.up.js": f'[{many},\n{{"drop": "x", "drop": "y"}}]'})
    began = time.monotonic()
    assert "1_x.up.js:200001:" in mongo_estate.orch("validate", code=4).stderr
    assert time.monotonic() - began < 90


def test_a_command_takes_as_much_as_the_server_does(any_mongo: Estate) -> None:
    def insert(size: int) -> str:
        return f'[{{"create": "c"}},\n{{"insert": "c", "documents": [{{"_id": 1, "a": "{"a" * size}"}}]}}]'

    largest = 16 * 2**20 - len(bson.encode({"_id": 1, "a": ""}))  # that a document may hold
    any_mongo.add("mongo", "a", {"1_x.up.js": insert(largest)})
    any_mongo.orch("apply")
    assert any_mongo.client()[any_mongo.prefix + "a"]["c"].count_documents({"_id": 1}) == 1
    any_mongo.write("mongo-a", {"2_x.up.js": insert(largest + 16 * 2**10)})
    told = any_mongo.orch("validate", code=4).stderr
    assert "2_x.up.js:2:1: this command takes 16.0 MiB" in told


# Commands of which the third entry fails: its line and column, and what is said.
FAILING = {
    "insert": (
        '{"insert": "c",\n "documents": [\n{"_id": 1, "documents": [{"a": "]},"}]},\n{"_id": 2},\n  {"_id": 1}, {"_id": 3}]}',
        ":6:3: mongo-a: document 3 of 4: E11000",
    ),
    "update": (
        '{"update": "c", "ordered": true, "updates" : [ {"q": {}, "u": {"$set": {"a": [1, {}]}}},\n'
        ' {"q": {}, "u": {"$unset": {"b": 1}}} ,\n\t{"q": {}, "u": {"$bad": 1}}]}',
        ":4:2: mongo-a: update 3 of 3: Unknown modifier: $bad",
    ),
    "delete": (
        '{"delete": "c", "writeConcern": {"w": 1}, "deletes":[{"q": {}, "limit": 1},{"q": {}, "limit": 1},\n'
        '{"q": {"$bad": 1}, "limit": 1}]}',
        ":3:1: mongo-a: delete 3 of 3: unknown top level operator: $bad",
    ),
}


@pytest.mark.parametrize("collection", ["in a transaction", "alone"])
@pytest.mark.parametrize("name", FAILING)
def test_an_entry_that_fails_is_told_with_its_place(any_mongo: Estate, name: str, collection: str) -> None:
    command, said = FAILING[name]
    capped = ', "capped": true, "size": 4096' if collection == "alone" else ""
    any_mongo.add("mongo", "a", {"1_x.up.js": f'[{{"create": "c"{capped}}}]', "2_x.up.js": f"[\n{command}]"})
    if name == "delete" and "secantus" in any_mongo.servers["mongo"].product.lower():
        pytest.skip("SecantusDB refuses no filter of a delete")
    assert f"2_x.up.js{said}" in any_mongo.orch("apply", code=1).stderr
    assert any_mongo.status("mongo-a")["applied"] == [1]


def test_a_document_among_very_many(mongo_estate: Estate) -> None:
    many = ",\n".join(f'{{"_id": {number}, "a": {{"b": [{number}]}}}}' for number in (*range(50_000), 7))
    text = f'[{{"create": "c", "capped": true, "size": 10000000}},\n{{"insert": "c", "documents": [\n{many}]}}]'
    mongo_estate.add("mongo", "a", {"1_x.up.js": text})
    began = time.monotonic()
    told = mongo_estate.orch("apply", code=1).stderr
    assert "1_x.up.js:50003:1: mongo-a: document 50001 of 50001: E11000" in told
    assert time.monotonic() - began < 90


def test_where_an_entry_begins() -> None:
    source = '{"insert": "c", "documents": [{}, [1, 2],3 , "x"], "ordered": false}'
    places = [entry_offset(source, "documents", index) for index in range(5)]
    assert [source[place] for place in places if place is not None] == list('{[3"')
    assert places[4] is None
    assert entry_offset(source, "updates", 0) is None
    assert entry_offset(source, "ordered", 0) is None
    assert entry_offset('{"documents": []}', "documents", 0) is None
    assert entry_offset("", "documents", 0) is None


@pytest.mark.parametrize("at", ["the second command", "the commit"])
def test_what_fails_because_it_was_cancelled_says_so(
    any_mongo: Estate, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """The server only says that it does not know the transaction, which would be tried again."""
    any_mongo.add("mongo", "a", {"1_x.up.js": "[]"})
    any_mongo.orch("apply")
    server = any_mongo.servers["mongo"]
    database = Database("mongo-a", "mongo", any_mongo.prefix + "a", server.dsn(), Path())
    engine = load_engine("mongo", "tester@here", "run1")
    with engine.connect(resolve(database, {}, Redactor(), "orch_history")) as session:
        second = at == "the second command"
        of, before = (session._commands, "run") if second else (commit, "commit_transaction")  # type: ignore[attr-defined]
        original, calls = getattr(of, before), []

        def cancelled(*arguments: Any) -> None:
            calls.append(arguments)
            if not second or len(calls) == 2:
                session.cancel()
            original(*arguments)

        monkeypatch.setattr(of, before, cancelled)
        commands = [Statement("", {"insert": "c", "documents": [{"_id": n}]}, 0, 1, atomic=True) for n in range(2)]
        with pytest.raises(StatementError, match="it was cancelled") as caught:
            session.commit(commands, [], None, Limits())
        assert not caught.value.transient
    engine.close()
    assert any_mongo.mongo("a")["c"].count_documents({}) == 0
