"""Cut off where no transaction guards it: what a MongoDB command did is told for sure, or a person is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from estate import Estate, start
from house import House
from pymongo.database import Database

from orchestrator.engines.base import Effect
from orchestrator.engines.mongo.migration_file import parse_commands
from orchestrator.engines.mongo.probe import probe
from orchestrator.model import File

DONE, NOT_DONE, UNKNOWN = Effect.DONE, Effect.NOT_DONE, Effect.UNKNOWN


@pytest.fixture(params=["mongod", "secantus"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database[Any]]:
    estate = Estate(tmp_path, {"mongo": start(request.param)})
    yield estate.mongo("db")
    estate.drop()


def _asked(database: Database[Any], text: str) -> Effect:
    body = parse_commands(File("1.js", Path("1.js"), ""), f"[{text}]").statements[0].body
    return probe(database, body)[0]


# ---------------------------------------------------------------- create

OPTIONS = [
    "",
    '"capped": false, "validator": {}',
    '"capped": true, "size": 5000',
    '"capped": true, "size": 5120, "max": 7',
    '"validator": {"a": {"$gt": 1}}',
    '"validator": {"a": {"$gt": 1}}, "validationLevel": "moderate"',
    '"validator": {"a": {"$gt": 1}}, "validationAction": "warn"',
    '"collation": {"locale": "en", "strength": 2}',
    '"collation": {"locale": "en"}',
    '"timeseries": {"timeField": "t"}',
    '"timeseries": {"timeField": "t", "metaField": "m", "granularity": "hours"}',
    '"timeseries": {"timeField": "t"}, "expireAfterSeconds": 3600',
    '"clusteredIndex": {"key": {"_id": 1}, "unique": true}',
    '"clusteredIndex": {"key": {"_id": 1}, "unique": true, "name": "by id"}',
    '"viewOn": "other"',
    '"viewOn": "other", "pipeline": [{"$match": {"a": 1}}]',
]


def test_a_collection_is_the_one_of_the_command_only_with_all_its_options_and_no_others(
    mongo_estate: Estate,
) -> None:
    database = mongo_estate.mongo("db")
    same = {"", OPTIONS[1]}
    for made in OPTIONS:
        database.command(json.loads('{"create": "c"' + (", " if made else "") + made + "}"))
        for asked in OPTIONS:
            wanted = DONE if asked == made or {asked, made} <= same else UNKNOWN
            found = _asked(database, '{"create": "c"' + (", " if asked else "") + asked + "}")
            assert found is wanted, f"made {{{made}}}, asked {{{asked}}}"
        database.drop_collection("c")
        assert _asked(database, '{"create": "c"}') is NOT_DONE


def test_a_collection_made_and_cut_off_is_no_question(lone: House) -> None:
    house = lone
    text = '[{"create": "t2", "capped": false, "validator": {}, "collation": {"locale": "th"}}]'
    house.estate.write(house.id, {"000002_t2.up.json": text})
    house.kill("after Commands.run", 3, "apply")
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]


# ---------------------------------------------------------------- indexes

DROPS = {
    '"a_1"': ["a_1"],
    '{"a": 1}': ["a_1"],
    '{"a": 1, "b": -1}': ["a_1_b_-1"],
    '["a_1", "b_1"]': ["a_1", "b_1"],
    '"*"': ["a_1", "b_1", "a_1_b_-1"],
}


@pytest.mark.parametrize("index", DROPS)
def test_dropped_indexes_are_looked_up(database: Database[Any], index: str) -> None:
    text = f'{{"dropIndexes": "c", "index": {index}}}'
    for keys in ([("a", 1)], [("b", 1)], [("a", 1), ("b", -1)]):
        database["c"].create_index(keys)
    assert _asked(database, text) is NOT_DONE
    for name in DROPS[index]:
        database["c"].drop_index(name)
    assert _asked(database, text) is DONE


def test_a_list_of_indexes_of_which_a_part_is_gone(database: Database[Any]) -> None:
    """The server would refuse it, so a person drops the rest or leaves it."""
    database["c"].create_index("a")
    assert _asked(database, '{"dropIndexes": "c", "index": ["a_1", "b_1"]}') is UNKNOWN


@pytest.mark.parametrize("index", ['{"k": 1}', '["k_1"]', '"*"'])
def test_indexes_dropped_and_cut_off_are_no_question(lone: House, index: str) -> None:
    house = lone
    files = [
        '{"createIndexes": "t1", "indexes": [{"key": {"k": 1}, "name": "k_1"}]}',
        f'{{"dropIndexes": "t1", "index": {index}}}',
    ]
    house.estate.write(house.id, {"000002_t2.up.json": f"[{', '.join(files)}]"})
    house.kill("after Commands.run", 4, "apply")
    house.orch("apply")
    assert house.tables() == [1, 3, 4]


# ---------------------------------------------------------------- updates and deletes

CHAINED = (
    '{"q": {"s": "b"}, "u": {"$set": {"s": "c"}}, "multi": true}, '
    '{"q": {"s": "a"}, "u": {"$set": {"s": "b"}}, "multi": true}'
)
UPDATES = {
    '{"q": {}, "u": {"$set": {"a": 1}, "$unset": {"b": ""}}, "multi": true}': NOT_DONE,
    '{"q": {"a": 2, "b": {"$in": [1]}}, "u": {"$set": {"a": 1}}, "multi": true}': NOT_DONE,
    '{"q": {"_id": 1}, "u": {"$addToSet": {"tags": "x"}}}': NOT_DONE,
    '{"q": {"_id": 1}, "u": {"a": 1}}': NOT_DONE,
    '{"q": {"_id": 1}, "u": {"$set": {"a": 1}, "$setOnInsert": {"b": 2}}, "upsert": true}': NOT_DONE,
    '{"q": {"_id": 1}, "u": {"$set": {"a": 1}}}, {"q": {"_id": 2}, "u": {"$set": {"a": 2}}}': NOT_DONE,
    '{"q": {"_id": 1}, "u": {"$set": {"a": 1}}}, {"q": {"_id": 1}, "u": {"$set": {"a": 2}}}': UNKNOWN,
    '{"q": {}, "u": {"$inc": {"a": 1}}, "multi": true}': UNKNOWN,
    '{"q": {}, "u": {"$push": {"a": 1}}, "multi": true}': UNKNOWN,
    '{"q": {}, "u": [{"$set": {"a": {"$add": ["$a", 1]}}}], "multi": true}': UNKNOWN,
    '{"q": {"a": 1}, "u": {"$set": {"b": 1}}}': UNKNOWN,
    '{"q": {"_id": {"$gt": 1}}, "u": {"$set": {"b": 1}}}': UNKNOWN,
    '{"q": {"_id": "a"}, "u": {"$set": {"b": 1}}, "collation": {"locale": "en", "strength": 1}}': UNKNOWN,
    '{"q": {"items.s": "a"}, "u": {"$set": {"items.$.s": "b"}}, "multi": true}': UNKNOWN,
    '{"q": {}, "u": {"$set": {"items.$[x].s": "b"}}, "arrayFilters": [{"x.s": "a"}], "multi": true}': UNKNOWN,
    '{"q": {"$and": [{"a": 1}]}, "u": {"$set": {"a": 2}}, "upsert": true}': UNKNOWN,
    '{"q": {"a": 1}, "u": {"$set": {"b": 2}}, "upsert": true}': UNKNOWN,
    '{"q": {"_id": 1, "a": 1}, "u": {"$set": {"a": 2}}, "upsert": true}': UNKNOWN,
    '{"q": {"$expr": {"$lt": [{"$rand": {}}, 0.5]}}, "u": {"$set": {"a": 1}}, "multi": true}': UNKNOWN,
    CHAINED: UNKNOWN,
}


@pytest.mark.parametrize("entries", UPDATES)
def test_an_update_is_made_again_only_if_that_cannot_double_it(database: Database[Any], entries: str) -> None:
    assert _asked(database, f'{{"update": "c", "updates": [{entries}]}}') is UPDATES[entries]


@pytest.mark.parametrize(
    ("entries", "effect"),
    [
        ('{"q": {"a": 1}, "limit": 0}, {"q": {}, "limit": 0}', NOT_DONE),
        ('{"q": {"_id": 1}, "limit": 1}', NOT_DONE),
        ('{"q": {"a": 1}, "limit": 1}', UNKNOWN),
        ('{"q": {"$sampleRate": 0.5}, "limit": 0}', UNKNOWN),
    ],
)
def test_a_delete_is_made_again_only_if_it_cannot_delete_others(
    database: Database[Any], entries: str, effect: Effect
) -> None:
    assert _asked(database, f'{{"delete": "c", "deletes": [{entries}]}}') is effect


SEED = '{"insert": "s", "documents": [{"_id": 1, "s": "a"}, {"_id": 2, "s": "b"}]}'


def test_chained_updates_that_were_cut_off_are_not_made_twice(lone: House) -> None:
    house = lone
    house.estate.write(house.id, {"000002_t2.up.json": f'[{SEED}, {{"update": "s", "updates": [{CHAINED}]}}]'})
    house.kill("after Commands.run", 4, "apply")
    house.orch("apply", code=5)
    assert [d["s"] for d in house.estate.mongo("db")["s"].find()] == ["b", "c"]
    house.orch("repair", house.id, "--statement-done")
    house.orch("apply")
    assert [d["s"] for d in house.estate.mongo("db")["s"].find()] == ["b", "c"]


def test_an_update_that_was_refused_half_way_is_in_doubt(lone: House) -> None:
    """The server says that it changed none; those before the refused one are changed."""
    house = lone
    text = (
        '[{"insert": "s", "documents": [{"_id": 1, "k": 1}, {"_id": 2, "k": 5}, {"_id": 3, "k": 15}]},'
        '{"createIndexes": "s", "indexes": [{"key": {"k": 1}, "name": "k", "unique": true}]},'
        '{"update": "s", "updates": [{"q": {}, "u": {"$inc": {"k": 10}}, "multi": true}]}]'
    )
    house.estate.write(house.id, {"000002_t2.up.json": text})
    house.orch("apply", code=1)
    house.orch("apply", code=5)
    assert [d["k"] for d in house.estate.mongo("db")["s"].find()] == [11, 5, 15]


def test_an_update_that_ran_out_of_time_is_in_doubt(lone: House) -> None:
    """What it changed before its time was up stays changed."""
    house = lone
    house.estate.mongo("db")["many"].insert_many([{"n": 0} for _ in range(100_000)])
    house.estate.manifest("  - {name: db, server: mongo, statement_timeout: 100ms}\n")
    text = '[{"update": "many", "updates": [{"q": {}, "u": {"$inc": {"n": 1}}, "multi": true}]}]'
    house.estate.write(house.id, {"000002_t2.up.json": text})
    house.orch("apply", code=1)
    changed = house.estate.mongo("db")["many"].count_documents({"n": 1})
    assert 0 < changed < 100_000
    house.orch("apply", code=5)
    assert house.estate.mongo("db")["many"].count_documents({"n": 1}) == changed
