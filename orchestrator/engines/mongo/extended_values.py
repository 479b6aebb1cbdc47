"""The values of MongoDB Extended JSON (v2, canonical and relaxed): an object such as {"$date": …} becomes a BSON value.

Stricter than the driver's own reader, which takes what MongoDB's specification does not ("1_000", " 5", an int32 of 40
bits), and wider where that is narrower than BSON: dates before year 1 and after year 9999 are values like others.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import DecimalException
from typing import Any

from bson import Binary, Code, DatetimeMS, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.errors import InvalidId

from orchestrator.patterns import regex

INT32, INT64 = 2**31, 2**63
_INTEGER = regex(r"-?\d{1,19}", re.ASCII)
_DOUBLE = regex(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|-?Infinity|NaN", re.ASCII)
_DECIMAL = regex(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|Inf(?:inity)?|NaN)", re.ASCII | re.IGNORECASE)
_SUBTYPE = regex(r"[0-9a-fA-F]{1,2}")
_TIME = regex(
    r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII | re.IGNORECASE
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_REGEX_OPTIONS = {"i": 2, "l": 4, "m": 8, "s": 16, "u": 32, "x": 64}  # as in the module re, and so in bson.Regex


def value_of(pairs: list[tuple[str, Any]]) -> Any:
    """Return what an object means: a BSON value, or the object itself. ValueError in plain words if it is a malformed value.

    `$regex` and `$ref` are left alone: the server knows them as operators.
    """
    document = dict(pairs)
    if not pairs or not pairs[0][0].startswith("$") or "$regex" in document or "$ref" in document:
        return document
    for key in document:
        if reader := _READERS.get(key):
            return reader(document)
    return document


def _only(document: Mapping[str, Any], key: str, *others: str) -> Any:
    """Return the value of the key; ValueError if there are further fields than `others`."""
    if extra := [name for name in document if name not in (key, *others)]:
        raise ValueError(f"'{extra[0]}' cannot stand beside '{key}'")
    return document[key]


def _text(document: Mapping[str, Any], key: str, *others: str) -> str:
    value = _only(document, key, *others)
    if not isinstance(value, str):
        raise ValueError(f"the value of '{key}' must be a string")  # noqa: TRY004 - all malformed values are this error
    return value


def _whole(text: Any, bound: int, key: str) -> int:
    if isinstance(text, str) and _INTEGER.fullmatch(text) and -bound <= int(text) < bound:
        return int(text)
    if isinstance(text, int) and not isinstance(text, bool) and -bound <= text < bound:  # golang-migrate takes it too
        return int(text)
    bits = 32 if bound == INT32 else 64
    raise ValueError(f"the value of '{key}' must be a whole number of {bits} bits, as a string")


def _int(document: Mapping[str, Any]) -> int:
    return _whole(_only(document, "$numberInt"), INT32, "$numberInt")


def _long(document: Mapping[str, Any]) -> Int64:
    return Int64(_whole(_only(document, "$numberLong"), INT64, "$numberLong"))


def _double(document: Mapping[str, Any]) -> float:
    text = _only(document, "$numberDouble")
    if isinstance(text, float):
        return text
    if not isinstance(text, str) or not _DOUBLE.fullmatch(text):
        raise ValueError(
            'the value of \'$numberDouble\' must be a number, "Infinity", "-Infinity" or "NaN", as a string'
        )
    number = float(text)
    if math.isinf(number) and "Infinity" not in text:
        raise ValueError("the value of '$numberDouble' is larger than a double can be")
    return number


def _decimal(document: Mapping[str, Any]) -> Decimal128:
    text = _text(document, "$numberDecimal")
    try:
        if _DECIMAL.fullmatch(text):
            return Decimal128(text)
    except (ArithmeticError, DecimalException, ValueError):  # more than 34 digits, or an exponent beyond 6144
        pass
    raise ValueError("the value of '$numberDecimal' must be a decimal number of at most 34 digits, as in \"12.5\"")


def _oid(document: Mapping[str, Any]) -> ObjectId:
    try:
        return ObjectId(_text(document, "$oid"))
    except InvalidId:
        raise ValueError("the value of '$oid' must be 24 hexadecimal digits") from None


def _date(document: Mapping[str, Any]) -> datetime | DatetimeMS:
    value = _only(document, "$date")
    if isinstance(value, str):
        return _time(value)
    if isinstance(value, int) and not isinstance(value, bool) and -INT64 <= value < INT64:
        return _moment(value)
    raise ValueError('the value of \'$date\' must be a time as in "2024-01-31T00:00:00Z", or {"$numberLong": "…"}')


def _moment(milliseconds: int) -> datetime | DatetimeMS:
    """Return a time of milliseconds since 1970; one that Python has no datetime for stays a number."""
    try:
        return _EPOCH + milliseconds * _MILLISECOND
    except OverflowError:
        return DatetimeMS(int(milliseconds))  # an Int64 is no int to the driver


def _time(text: str) -> datetime | DatetimeMS:
    found = _TIME.fullmatch(text)
    if not found:
        beyond = re.fullmatch(r"[+-]\d+-.*|\d{5,}-.*", text)
        other = 'write years beyond 9999 as {"$date": {"$numberLong": "milliseconds since 1970"}}'
        raise ValueError(
            f"the value of '$date' must be a time as in \"2024-01-31T00:00:00Z\"{f'; {other}' if beyond else ''}"
        )
    fraction = int((found[7] or "").ljust(3, "0")[:3])  # BSON has milliseconds
    try:
        local = datetime(*map(int, found.groups()[:6]), tzinfo=UTC)  # type: ignore[arg-type, misc]
    except ValueError as error:  # a 31st of June
        raise ValueError(f"the value of '$date' is no time: {error}") from None
    milliseconds = (local - _EPOCH) // _MILLISECOND + fraction
    if (zone := (found[8] or "Z")) not in "Zz":
        digits = zone[1:].replace(":", "").ljust(4, "0")
        hours, minutes = int(digits[:2]), int(digits[2:])
        if hours > 23 or minutes > 59:
            raise ValueError(f"the value of '$date' has no such time zone: {zone}")
        milliseconds -= (hours * 60 + minutes) * 60_000 * (-1 if zone[0] == "-" else 1)
    return _moment(milliseconds)


def _binary(document: Mapping[str, Any]) -> Any:
    value = _only(document, "$binary", "$type")
    if isinstance(value, str):  # as version 1 has it
        data, subtype = value, document.get("$type")
        if isinstance(subtype, int) and not isinstance(subtype, bool) and 0 <= subtype < 256:
            subtype = f"{subtype:x}"
    elif isinstance(value, dict) and set(value) == {"base64", "subType"} and len(document) == 1:
        data, subtype = value["base64"], value["subType"]
    else:
        raise ValueError('the value of \'$binary\' must be as in {"base64": "AQID", "subType": "00"}')
    if not isinstance(subtype, str) or not _SUBTYPE.fullmatch(subtype):
        raise ValueError("the subtype of '$binary' must be one or two hexadecimal digits, as a string")
    try:
        return Binary(base64.b64decode(data, validate=True), int(subtype, 16))
    except (binascii.Error, TypeError, ValueError):
        raise ValueError("the value of '$binary' is not base64") from None


def _uuid(document: Mapping[str, Any]) -> Binary:
    text = _text(document, "$uuid")
    if not re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text):
        raise ValueError("the value of '$uuid' must be as in \"c8edabc3-f738-4ca3-b68d-ab92a91478a3\"")
    return Binary(uuid.UUID(text).bytes, 4)


def _timestamp(document: Mapping[str, Any]) -> Timestamp:
    value = _only(document, "$timestamp")
    if isinstance(value, dict) and set(value) == {"t", "i"}:
        t, i = value["t"], value["i"]
        if all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 2**32 for n in (t, i)):
            return Timestamp(t, i)
    raise ValueError('the value of \'$timestamp\' must be as in {"t": 1700000000, "i": 1}, each below 4294967296')


def _regular_expression(document: Mapping[str, Any]) -> Regex[str]:
    value = _only(document, "$regularExpression")
    if isinstance(value, dict) and set(value) == {"pattern", "options"}:
        pattern, options = value["pattern"], value["options"]
        if isinstance(pattern, str) and isinstance(options, str) and "\0" not in pattern:
            flags = 0
            for letter in options:
                if letter not in _REGEX_OPTIONS:
                    raise ValueError(f"'{letter}' is no option of a regular expression: those are i, l, m, s, u and x")
                flags |= _REGEX_OPTIONS[letter]
            return Regex(pattern, flags)
    raise ValueError('the value of \'$regularExpression\' must be as in {"pattern": "^a", "options": "i"}')


def _code(document: Mapping[str, Any]) -> Code:
    code = _text(document, "$code", "$scope")
    scope = document.get("$scope")
    if "$scope" in document and not isinstance(scope, dict):
        raise ValueError("the value of '$scope' must be an object")
    return Code(code, scope)


def _db_pointer(document: Mapping[str, Any]) -> DBRef:
    value = _only(document, "$dbPointer")
    if isinstance(value, dict) and list(value) == ["$ref", "$id"] and isinstance(value["$ref"], str):
        return DBRef(value["$ref"], value["$id"])
    raise ValueError('the value of \'$dbPointer\' must be as in {"$ref": "things", "$id": {"$oid": "…"}}')


def _symbol(document: Mapping[str, Any]) -> str:
    return _text(document, "$symbol")


def _key(key: str, value: Any) -> Callable[[Mapping[str, Any]], Any]:
    def read(document: Mapping[str, Any]) -> Any:
        given = _only(document, key)
        if given != 1 or isinstance(given, bool):
            raise ValueError(f"the value of '{key}' must be 1")
        return value

    return read


def _undefined(document: Mapping[str, Any]) -> None:
    if _only(document, "$undefined") is not True:
        raise ValueError("the value of '$undefined' must be true")


_READERS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "$oid": _oid,
    "$symbol": _symbol,
    "$numberInt": _int,
    "$numberLong": _long,
    "$numberDouble": _double,
    "$numberDecimal": _decimal,
    "$binary": _binary,
    "$uuid": _uuid,
    "$code": _code,
    "$timestamp": _timestamp,
    "$regularExpression": _regular_expression,
    "$dbPointer": _db_pointer,
    "$date": _date,
    "$minKey": _key("$minKey", MinKey()),
    "$maxKey": _key("$maxKey", MaxKey()),
    "$undefined": _undefined,
}
