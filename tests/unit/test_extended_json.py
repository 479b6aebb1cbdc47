"""What a MongoDB file may hold: every malformed value is refused with its place, every value of BSON is taken."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson import Binary, Code, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp

from orchestrator.engines.mongo.migration_file import parse_commands
from orchestrator.errors import InvalidError
from orchestrator.model import File, Mark

FILE = File("1_x.up.js", Path("1_x.up.js"), "")

VALUES: dict[str, Any] = {
    '{"$numberDecimal": "12.5"}': Decimal128("12.5"),
    '{"$numberDecimal": "-Infinity"}': Decimal128("-Infinity"),
    '{"$numberInt": "-5"}': -5,
    '{"$numberLong": "-9223372036854775808"}': Int64(-(2**63)),
    '{"$numberDouble": "1.5e3"}': 1500.0,
    '{"$numberDouble": "-Infinity"}': float("-inf"),
    '{"$oid": "507f1f77bcf86cd799439011"}': ObjectId("507f1f77bcf86cd799439011"),
    '{"$date": "2024-12-24T00:00:00Z"}': datetime(2024, 12, 24, tzinfo=UTC),
    '{"$date": "2024-12-24T00:30:00.5+01:00"}': datetime(2024, 12, 23, 23, 30, 0, 500_000, tzinfo=UTC),
    '{"$date": {"$numberLong": "-1"}}': datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
    '{"$date": {"$numberLong": "253402300800000"}}': DatetimeMS(253402300800000),
    '{"$date": "9999-12-31T23:59:59-01:00"}': DatetimeMS(253402304399000),
    '{"$binary": {"base64": "AQID", "subType": "80"}}': Binary(b"\1\2\3", 0x80),
    '{"$uuid": "c8edabc3-f738-4ca3-b68d-ab92a91478a3"}': Binary(
        b"\xc8\xed\xab\xc3\xf78L\xa3\xb6\x8d\xab\x92\xa9\x14x\xa3", 4
    ),
    '{"$timestamp": {"t": 1, "i": 2}}': Timestamp(1, 2),
    '{"$regularExpression": {"pattern": "^a", "options": "im"}}': Regex("^a", "im"),
    '{"$code": "x()"}': Code("x()"),
    '{"$minKey": 1}': MinKey(),
    '{"$maxKey": 1}': MaxKey(),
    '{"$regex": "^a", "$options": "i"}': {"$regex": "^a", "$options": "i"},
    '{"$set": {"a": 1}}': {"$set": {"a": 1}},
}

MALFORMED = [
    *(
        f'{{"$numberDecimal": {value}}}'
        for value in ('"12,5"', '""', '"1_0"', "12.5", "null", '"1e99999"', f'"{"1" * 40}"')
    ),
    *(
        f'{{"$numberInt": {value}}}'
        for value in ('"3000000000"', '"1_0"', '" 5"', '"5.0"', "true", "null", "{}", '"٣"')
    ),
    *(f'{{"$numberLong": {value}}}' for value in ('"9223372036854775808"', '"0x1"', "1.5", "[]", f'"{"9" * 5000}"')),
    *(f'{{"$numberDouble": {value}}}' for value in ('"one"', '"1_0"', '"inf"', "null", '"1e999"')),
    *(f'{{"$oid": {value}}}' for value in ('"12"', "5", "null", '"zzzzzzzzzzzzzzzzzzzzzzzz"')),
    *(
        f'{{"$date": {value}}}'
        for value in (
            '"2024-01-01"',
            '"2024-13-01T00:00:00Z"',
            '"2024-06-31T00:00:00Z"',
            '"2024-01-01T25:00:00Z"',
            '"2024-01-01T00:00:00+99:00"',
            '"+012024-01-01T00:00:00Z"',
            '""',
            "null",
            "1.5",
            "true",
            "9223372036854775808",
            '{"$numberDouble": "1"}',
        )
    ),
    *(
        f'{{"$binary": {value}}}'
        for value in (
            '{"base64": "AQI", "subType": "00"}',
            '{"base64": "ä", "subType": "00"}',
            '{"base64": "", "subType": "100"}',
            '{"base64": "", "subType": 0}',
            '{"base64": null, "subType": "00"}',
            '{"base64": ""}',
            '"AQID"',
            "null",
        )
    ),
    *(f'{{"$uuid": {value}}}' for value in ('"c8"', "null", '"c8edabc3f7384ca3b68dab92a91478a3"')),
    *(f'{{"$timestamp": {value}}}' for value in ('{"t": -1, "i": 0}', '{"t": 4294967296, "i": 0}', '{"t": 1}', "5")),
    *(
        f'{{"$regularExpression": {value}}}'
        for value in ('{"pattern": "a", "options": "q"}', '{"pattern": 1, "options": ""}', '"a"', '{"pattern": "a"}')
    ),
    '{"$code": 5}',
    '{"$code": "x", "$scope": 5}',
    '{"$minKey": 2}',
    '{"$maxKey": true}',
    '{"$symbol": 5}',
    '{"$undefined": false}',
    '{"$dbPointer": {"$ref": 1, "$id": 2}}',
    '{"$numberInt": "5", "more": 1}',
    '{"$date": "2024-01-01T00:00:00Z", "$numberLong": "1"}',
    "NaN",
    "-Infinity",
    "1e400",
    "9223372036854775808",
    "9" * 5000,
    f"{'9' * 400}.5",
    '"\\ud800"',
]


@pytest.mark.parametrize("text", VALUES)
def test_a_value_of_extended_json(text: str) -> None:
    (statement,) = parse_commands(FILE, f'[{{"insert": "c", "documents": [{{"a": {text}}}]}}]').statements
    value = statement.body["documents"][0]["a"]
    assert value == VALUES[text]
    assert isinstance(value, type(VALUES[text]))


@pytest.mark.parametrize("text", MALFORMED, ids=lambda text: text[:40])
def test_a_malformed_value_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        parse_commands(FILE, f'[\n{{"insert": "c", "documents": [\n {{"a": {text}}}]}}]')
    where = caught.value.where
    assert where is not None
    nested = text.index("{", 1) if text.startswith('{"$date": {') else 0  # the inner value is read first
    assert where in (Mark(FILE.path, 3, 8), Mark(FILE.path, 3, 8 + nested), Mark(FILE.path, 3, 8 + text.find("922")))


def test_whatever_stands_in_a_file_never_crashes() -> None:
    """Valid files with parts exchanged, doubled and left out, and values of the wrong types in every place."""
    seed = random.Random(11)
    names = ["insert", "update", "delete", "aggregate", "create", "createIndexes", "renameCollection", "findAndModify"]
    names += ["collMod", "drop", "dropIndexes", "bulkWrite", "x"]
    fields = ["documents", "updates", "deletes", "pipeline", "indexes", "to", "q", "u", "$merge", "into", "$out", "db"]
    fields += ["coll", "comment", "orch", "_id", "validator", "writeConcern", "$set", "key", "name", "index", "a"]
    keys = [text[2 : text.index('"', 2)] for text in MALFORMED if text.startswith('{"$')]
    plain: list[Any] = [None, True, 0, -1.5, "", "c", "12,5", "no-transaction", 2**64, [], {}, "$a", "admin.c"]

    def value(depth: int) -> Any:
        choice = seed.random()
        if depth > 4 or choice < 0.4:
            return seed.choice(plain)
        if choice < 0.55:
            return {seed.choice(keys): value(depth + 1) for _ in range(seed.randint(1, 2))}
        if choice < 0.75:
            return [value(depth + 1) for _ in range(seed.randint(0, 3))]
        return {seed.choice(fields): value(depth + 1) for _ in range(seed.randint(0, 3))}

    taken = 0
    for _ in range(20_000):
        commands = [
            {seed.choice(names): value(3), **{seed.choice(fields): value(0) for _ in range(seed.randint(0, 3))}}
            for _ in range(seed.randint(1, 2))
        ]
        text = json.dumps(commands)
        if seed.random() < 0.3:
            at = seed.randrange(len(text))
            text = text[:at] + seed.choice(["", "}", "]", ",", '"', "\\", "NaN", "\0", "٣"]) + text[at + 1 :]
        try:
            parse_commands(FILE, text)
            taken += 1
        except InvalidError as error:
            assert error.where is not None
            assert error.where.line
    assert taken > 500


@pytest.mark.parametrize(
    "command",
    [
        '{"drop": "orch_history"}',
        '{"findAndModify": "schema_migrations", "query": {}, "remove": true}',
        '{"renameCollection": "shop.orch_history", "to": "shop.old"}',
        '{"renameCollection": "shop.new", "to": "shop.schema_migrations", "dropTarget": true}',
        '{"aggregate": "a", "pipeline": [{"$out": "orch_history"}], "cursor": {}}',
        '{"aggregate": "a", "pipeline": [{"$merge": {"into": {"db": "shop", "coll": "orch_history"}}}], "cursor": {}}',
        '{"mapReduce": "a", "map": "f", "reduce": "f", "out": "schema_migrations"}',
        '{"mapReduce": "a", "map": "f", "reduce": "f", "out": {"reduce": "orch_history", "db": "shop"}}',
        '{"cloneCollectionAsCapped": "a", "toCollection": "orch_history", "size": 4096}',
        '{"applyOps": [{"op": "d", "ns": "shop.schema_migrations", "o": {"_id": 1}}]}',
        '{"applyOps": [{"op": "c", "ns": "shop.$cmd", "o": {"drop": "orch_history"}}]}',
        '{"applyOps": [{"op": "c", "ns": "shop.$cmd", "o": {"applyOps": [{"op": "i", "ns": "shop.orch_history", "o": {}}]}}]}',
    ],
)
def test_what_writes_to_our_records_is_refused_with_its_place(command: str) -> None:
    with pytest.raises(InvalidError, match=r"holds what orch and golang-migrate remember") as caught:
        parse_commands(FILE, f"[\n {command}]")
    assert caught.value.where is not None
    assert (caught.value.where.line, caught.value.where.column) == (2, 2)


@pytest.mark.parametrize(
    "comment",
    [
        '"x"',
        '{"orch": "no-transaction"}',
        '{"orch": {"replaces": "1-2"}}',
        '{"orch": {"require": {"count": "a"}, "is": 0}}',
    ],
)
def test_a_comment_without_a_command_is_refused(comment: str) -> None:
    with pytest.raises(InvalidError, match="a comment and no command") as caught:
        parse_commands(FILE, f'[\n {{"comment": {comment}}}]')
    assert str(caught.value.where).endswith(":2:2")
