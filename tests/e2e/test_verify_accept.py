"""`orch verify` in an old estate: where it begins, what is accepted, and what MongoDB makes by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest
from estate import Estate

INDEX = [{"createIndexes": "users", "indexes": [{"key": {"email": 1}, "name": "email"}]}]
INSERT = [{"insert": "users", "documents": [{"_id": 1}]}]
LEFT = "left behind after the down: collection users"


def results(document: Any) -> list[str]:
    return [one["result"] for entry in document["databases"] for one in entry["migrations"]]


def told(document: Any) -> list[str]:
    return [one["error"]["what"] for entry in document["databases"] for one in entry["migrations"] if "error" in one]


@pytest.mark.parametrize(
    ("up", "down", "found"),
    [
        (INDEX, [{"dropIndexes": "users", "index": "email"}], []),
        (INSERT, [{"delete": "users", "deletes": [{"q": {}, "limit": 0}]}], []),
        (INSERT, [], [LEFT]),  # it holds a document
        (INDEX, [], [LEFT]),  # and an index
        ([{"create": "users"}, *INDEX], [{"dropIndexes": "users", "index": "email"}], [LEFT]),  # a command made it
        ([{"create": "users"}], [], [LEFT]),
    ],
)
def test_a_collection_that_the_server_made_by_itself_is_no_leftover(
    mongo_estate: Estate, up: Any, down: Any, found: list[str]
) -> None:
    files: dict[str, str | bytes] = {"000001_a.up.js": json.dumps(up), "000001_a.down.js": json.dumps(down)}
    files |= {"000002_b.up.js": '[{"create": "b"}]', "000002_b.down.js": '[{"drop": "b"}]'}
    mongo_estate.add("mongo", "m", files)
    document = mongo_estate.orch("verify", "--output", "json", code=1 if found else 0).json
    assert told(document) == found
    assert results(document) == ["failed" if found else "verified", "verified"]


def pair(version: int, up: str, down: str) -> dict[str, str | bytes]:
    return {f"00000{version}_x.up.sql": up, f"00000{version}_x.down.sql": down}


def test_since_begins_at_a_version(pg_estate: Estate) -> None:
    files = pair(1, "CREATE TABLE a ();", "SELECT 1;") | pair(2, "CREATE TABLE b ();", "DROP TABLE b;")
    pg_estate.add("postgres", "a", files | pair(3, "CREATE TABLE c ();", "DROP TABLE c;"))
    assert results(pg_estate.orch("verify", "--output", "json", code=1).json) == ["failed", "verified", "verified"]
    assert results(pg_estate.orch("verify", "--since", "2", "--output", "json").json) == ["verified", "verified"]
    nothing = pg_estate.orch("verify", "--since", "4", "--output", "json")
    assert results(nothing.json) == []
    assert "nothing was verified: no chosen database has version 4 or a later one" in nothing.stderr
    pg_estate.write("postgres-a", pair(3, "CREATE TABLE c ();", "SELECT 1;"))
    assert results(pg_estate.orch("verify", "--since", "3", "--output", "json", code=1).json) == ["failed"]


def test_the_manifest_accepts_findings(pg_estate: Estate) -> None:
    files = pair(1, "CREATE TABLE a ();", "SELECT 1;") | pair(2, "CREATE TABLE b ();", "SELECT 1;")
    pg_estate.add("postgres", "a", files)
    first = pg_estate.orch("verify", "--output", "json", code=1)
    assert told(first.json) == ["left behind after the down: table a", "left behind after the down: table b"]
    line = '{version: 1, finding: "left behind after the down: table a"}'
    assert f"verify: {{accept: [{line}]}}" in first.stderr

    accept = [{"version": 1, "finding": "left behind after the down: table a", "reason": "old"}]
    pg_estate.add("postgres", "b", files, verify={"accept": [*accept, {"version": 2}]})
    document = pg_estate.orch("verify", "b", "--output", "json").json
    assert results(document) == ["left_out", "left_out"]
    assert document["databases"][0]["migrations"][0]["reason"] == "accepted: left behind after the down: table a"

    other = [{"version": 1, "finding": "left behind after the down: table other"}]  # something else is found
    pg_estate.add("postgres", "c", files, verify={"accept": other})
    assert results(pg_estate.orch("verify", "c", "--output", "json", code=1).json) == ["failed", "failed"]

    sound = pair(1, "CREATE TABLE a ();", "DROP TABLE a;")
    pg_estate.add("postgres", "d", sound, verify={"accept": accept})
    assert "accepts a finding in version 1, and there is none" in pg_estate.orch("verify", "d").stderr
    pg_estate.add("postgres", "e", sound, verify={"accept": [{"finding": "x"}]})
    assert "databases.yaml:" in pg_estate.orch("validate", code=4).stderr
