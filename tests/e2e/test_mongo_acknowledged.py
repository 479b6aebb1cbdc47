"""What a MongoDB server did is never called undone: whatever fails after its reply is done, or in doubt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import DatetimeMS
from bson.raw_bson import RawBSONDocument
from estate import Estate, start
from pymongo import MongoClient

from orchestrator.embedded import Server
from orchestrator.engines import load_engine
from orchestrator.engines.base import Limits
from orchestrator.manifest.dsn import Redactor, resolve
from orchestrator.model import Attempt, Database, Direction, Statement, VersionRow

YEAR_10000 = 253402300800000


@pytest.fixture(params=["mongod", "standalone"])  # SecantusDB refuses such dates itself
def any_mongo(request: pytest.FixtureRequest, mongo_estate: Estate) -> Estate:
    server: Server = request.getfixturevalue("standalone") if request.param == "standalone" else start(request.param)
    mongo_estate.servers["mongo"] = server
    mongo_estate.env["MONGO_PASSWORD"] = server.password
    return mongo_estate


TAKES = {
    "findAndModify": {"findAndModify": "counters", "query": {"_id": "orders"}, "update": {"$inc": {"n": 1}}},
    "the new document": {
        "findAndModify": "counters",
        "query": {"_id": "orders"},
        "update": {"$inc": {"n": 1}},
        "new": True,
    },
}


@pytest.mark.parametrize("take", TAKES)
def test_a_reply_that_python_cannot_hold_is_done_once(any_mongo: Estate, take: str) -> None:
    any_mongo.add("mongo", "a", {"1_take.up.js": json.dumps([TAKES[take]])})
    counters = any_mongo.mongo("a")["counters"]
    counters.insert_one({"_id": "orders", "n": 0, "expires": DatetimeMS(YEAR_10000), "began": DatetimeMS(-(2**63))})
    any_mongo.orch("apply")
    any_mongo.orch("apply")
    assert counters.find_one({}, {"n": 1})["n"] == 1
    assert any_mongo.status("mongo-a")["applied"] == [1]


def test_a_text_that_is_no_utf8_is_no_reason_to_do_it_twice(any_mongo: Estate) -> None:
    any_mongo.add("mongo", "a", {"1_take.up.js": json.dumps([TAKES["the new document"], {"find": "counters"}])})
    counters = any_mongo.mongo("a")["counters"]
    text = bson.encode({"_id": "orders", "n": 0, "of": "abcd"}).replace(b"abcd", b"\xff\xfe\xfdd")
    counters.insert_one(RawBSONDocument(text))
    any_mongo.orch("apply")
    any_mongo.orch("apply")
    assert counters.find_one({}, {"n": 1})["n"] == 1
    assert any_mongo.status("mongo-a")["applied"] == [1]


def test_a_pipeline_that_the_server_would_not_begin_is_refused(mongo_estate: Estate) -> None:
    never = {"aggregate": "a", "pipeline": [{"$merge": {"into": "b"}}], "cursor": {"batchSize": 0}}
    mongo_estate.add("mongo", "a", {"1_x.up.js": json.dumps([{"create": "a"}, never])})
    refused = mongo_estate.orch("validate", code=4).stderr
    assert "1_x.up.js:1:" in refused
    assert "with a batchSize of 0 the server never runs this pipeline" in refused


def test_replies_that_hold_many_such_dates_are_read(any_mongo: Estate) -> None:
    any_mongo.mongo("a")["c"].insert_many([{"at": DatetimeMS(YEAR_10000 + n)} for n in range(3)])
    commands = [
        {"find": "c"},
        {"distinct": "c", "key": "at"},
        {"aggregate": "c", "pipeline": [], "cursor": {}},
    ]
    any_mongo.add("mongo", "a", {"1_x.up.js": json.dumps(commands)})
    any_mongo.orch("apply")
    assert any_mongo.status("mongo-a")["applied"] == [1]


@pytest.mark.parametrize("milliseconds", [YEAR_10000, -62135596800001, 2**63 - 1, -(2**63)])
def test_every_date_of_mongodb_is_legal_in_a_file(any_mongo: Estate, milliseconds: int) -> None:
    date = {"$date": {"$numberLong": str(milliseconds)}}
    commands = [
        {"insert": "c", "documents": [{"_id": 1, "at": date}]},
        {"update": "c", "updates": [{"q": {"at": date}, "u": {"$set": {"seen": date}}, "multi": True}]},
    ]
    any_mongo.add("mongo", "a", {"1_x.up.js": json.dumps(commands), "1_x.down.js": "[]"})
    any_mongo.orch("validate")
    any_mongo.orch("apply")
    client: MongoClient[Any] = MongoClient(any_mongo.servers["mongo"].dsn("admin"), datetime_conversion="DATETIME_MS")
    found = client[any_mongo.prefix + "a"]["c"].find_one({"_id": 1})
    client.close()
    assert found is not None
    assert (int(found["at"]), int(found["seen"])) == (milliseconds, milliseconds)


def test_a_merge_that_failed_in_the_middle_is_in_doubt(mongo_estate: Estate) -> None:
    """It writes document by document: what it wrote before the one that was refused stays."""
    merge = {
        "aggregate": "source",
        "pipeline": [{"$sort": {"_id": 1}}, {"$merge": {"into": "target", "whenMatched": "fail"}}],
        "cursor": {},
    }
    mongo_estate.add("mongo", "a", {"1_x.up.js": json.dumps([merge])})
    database = mongo_estate.mongo("a")
    database["source"].insert_many([{"_id": n, "pad": "x" * 1_000_000} for n in range(40)])
    database["target"].insert_one({"_id": 39})
    told = mongo_estate.orch("apply", code=1).stderr
    assert "11000" in told
    assert database["target"].count_documents({}) > 1
    assert "nothing of this file" not in told
    told = mongo_estate.orch("apply", code=5).stderr
    assert "in doubt" in told


def test_a_pipeline_that_is_refused_before_it_begins_is_not_in_doubt(mongo_estate: Estate) -> None:
    merge = {"aggregate": "c", "pipeline": [{"$sot": {"_id": 1}}, {"$merge": {"into": "target"}}], "cursor": {}}
    mongo_estate.add("mongo", "a", {"1_x.up.js": json.dumps([merge])})
    assert "nothing of this file is in the database" in mongo_estate.orch("apply", code=1).stderr


def test_a_write_concern_that_fails_at_the_commit_undoes_nothing(mongo_estate: Estate) -> None:
    """The server has committed and says that it cannot be sure of the majority: the commit is asked for again."""
    mongo_estate.add("mongo", "a", {"1_x.up.js": "[]"})
    mongo_estate.orch("apply")
    server = mongo_estate.servers["mongo"]
    database = Database("mongo-a", "mongo", mongo_estate.prefix + "a", server.dsn(), Path())
    engine = load_engine("mongo", "tester@here", mongo_estate.prefix)
    fail: dict[str, Any] = {
        "configureFailPoint": "failCommand",
        "mode": {"times": 1},
        "data": {
            "failCommands": ["commitTransaction"],
            "appName": f"orch/{mongo_estate.prefix}",
            "writeConcernError": {"code": 100, "errmsg": "not enough data-bearing nodes"},
        },
    }
    attempt = Attempt(2, 1, "two", Direction.UP, "sha256:2", applied=1, total=1, done=True)
    with engine.connect(resolve(database, {}, Redactor(), "orch_history")) as session:
        mongo_estate.client().admin.command(fail)
        command = {"insert": "c", "documents": [{"_id": 1}]}
        session.commit([Statement("", command, 0, 1, atomic=True)], [attempt], VersionRow(2), Limits())
    engine.close()
    assert mongo_estate.mongo("a")["c"].count_documents({}) == 1
    assert mongo_estate.status("mongo-a")["applied"] == [1, 2]
