"""Check a value against one of our JSON Schemas, yes or no, without importing jsonschema.

Makes one function of a schema, from exactly the keywords that ours use. jsonschema is imported when the answer is
no, to explain; the tests prove that both always agree.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

Schema = Mapping[str, Any]
Test = Callable[[Any], bool]
Make = Callable[[Schema], Test]

ANNOTATIONS = frozenset({"$schema", "$id", "$defs", "title", "description", "default", "examples", "format"})
"""Keywords that say nothing about a value."""


def conforms(schema: Schema, value: Any) -> bool:
    """Return whether `value` satisfies `schema`; KeyError for a keyword that is not known here."""
    made: dict[str, Test] = {}

    def make(part: Schema) -> Test:
        tests = [KEYWORDS[word](part, make) for word in part if word not in ANNOTATIONS and word != "$ref"]
        if "$ref" in part:
            name = part["$ref"].removeprefix("#/$defs/")
            if name not in made:
                made[name] = make(schema["$defs"][name])
            tests.append(made[name])
        return reduce(_both, tests) if tests else lambda _: True

    return make(schema)(value)


def _both(first: Test, second: Test) -> Test:
    return lambda value: first(value) and second(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: dict[str, Test] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "number": _is_number,
    "integer": lambda value: _is_number(value) and float(value).is_integer(),
}


def _type(names: str | list[str]) -> Test:
    if isinstance(names, str):
        return _TYPES[names]
    tests = [_TYPES[name] for name in names]
    return lambda value: any(test(value) for test in tests)


def _mapping(part: Schema, make: Make) -> Test:
    """Make one test of both `properties` and `additionalProperties`."""
    known = {key: make(rule) for key, rule in part.get("properties", {}).items()}
    rule = part.get("additionalProperties", True)
    other: Test = make(rule) if isinstance(rule, dict) else lambda _: bool(rule)
    return lambda value: (
        not isinstance(value, dict)
        or all(known[key](item) if key in known else other(item) for key, item in value.items())
    )


def _items(part: Schema, make: Make) -> Test:
    test = make(part["items"])
    return lambda value: not isinstance(value, list) or all(map(test, value))


def _one_of(tests: list[Test]) -> Test:
    return lambda value: sum(test(value) for test in tests) == 1


def _equal(option: Any, value: Any) -> bool:
    return bool(option == value) and isinstance(option, bool) == isinstance(value, bool)


KEYWORDS: dict[str, Callable[[Schema, Make], Test]] = {
    "type": lambda s, _: _type(s["type"]),
    "properties": _mapping,
    "additionalProperties": lambda s, make: (lambda _: True) if "properties" in s else _mapping(s, make),
    "items": _items,
    "oneOf": lambda s, make: _one_of([make(part) for part in s["oneOf"]]),
    "required": lambda s, _: lambda v: not isinstance(v, dict) or all(key in v for key in s["required"]),
    "const": lambda s, _: lambda v: _equal(s["const"], v),
    "enum": lambda s, _: lambda v: any(_equal(option, v) for option in s["enum"]),
    "pattern": lambda s, _: lambda v: not isinstance(v, str) or re.search(s["pattern"], v) is not None,
    "minLength": lambda s, _: lambda v: not isinstance(v, str) or len(v) >= s["minLength"],
    "minItems": lambda s, _: lambda v: not isinstance(v, list) or len(v) >= s["minItems"],
    "minimum": lambda s, _: lambda v: not _is_number(v) or v >= s["minimum"],
    "maximum": lambda s, _: lambda v: not _is_number(v) or v <= s["maximum"],
}
