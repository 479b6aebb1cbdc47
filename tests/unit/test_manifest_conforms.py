"""The small interpreter of the JSON Schema agrees with jsonschema; no manifest and no text makes a traceback."""

from __future__ import annotations

import copy
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from manifests import read

from orchestrator.errors import InvalidError, InvalidGroup
from orchestrator.manifest.conforms import ANNOTATIONS, KEYWORDS, conforms
from orchestrator.manifest.schema import schema

READ = ("report", "status", "plan", "apply")
"""What orch writes and reads again."""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# ---------------------------------------------------------------- conforms against jsonschema


def test_conforms_knows_every_keyword_of_the_schema() -> None:
    def keywords(part: dict[str, Any]) -> set[str]:
        inner = [*part.get("properties", {}).values(), *part.get("$defs", {}).values()]
        inner += [part[key] for key in ("items", "additionalProperties") if isinstance(part.get(key), dict)]
        return set(part).union(*map(keywords, inner))

    package = files("orchestrator.schemas")
    written = [json.loads(package.joinpath(f"{name}.schema.json").read_text()) for name in READ]
    words = keywords(schema()).union(*map(keywords, written))
    assert words - ANNOTATIONS - {"$ref"} == KEYWORDS.keys()
    Draft202012Validator.check_schema(schema())
    with pytest.raises(KeyError):
        conforms({"anyOf": []}, 1)


SOUND: dict[str, Any] = {
    "version": 1,
    "defaults": {"lock_timeout": "5m", "out_of_order": "refuse"},
    "history": {"name": "h"},
    "servers": {"pg": {"engine": "postgres", "dsn": "postgres://h/{database}", "statement_timeout": 1.5}},
    "databases": [
        {"name": "a", "server": "pg", "labels": ["x"], "create": {"extensions": ["e"], "connection_limit": 3}},
        {"name": "b", "engine": "mongo", "dsn": "mongodb://h/b", "depends_on": ["a"], "lock_timeout": "none"},
    ],
    "render": {"targets": ["k8s"], "k8s": {"wait_timeout": 5, "keys": {"mongo": "M"}}, "argo": None},
}
odd_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300_000),
    st.sampled_from([1.0, 0.5, 3.0, -1.0]),
    st.sampled_from(["", "x", "postgres", "mongo", "refuse", "apply", "none", "5s", "5x", "h\n", "5s\n", "Ä"]),
    st.text(max_size=5),
    st.lists(st.sampled_from(["x", "", 1, None, True]), max_size=3),
    st.dictionaries(
        st.sampled_from(["name", "engine", "dsn", "owner", "x"]), st.sampled_from(["x", 1, None]), max_size=3
    ),
)
known_keys = st.sampled_from(
    [
        "version",
        "defaults",
        "history",
        "servers",
        "databases",
        "render",
        "name",
        "engine",
        "dsn",
        "create",
        "labels",
        "zz",
    ]
)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    value = copy.deepcopy(SOUND)
    for _ in range(draw(st.integers(0, 3))):
        place: Any = value
        while isinstance(place, dict | list) and place:
            key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            if not isinstance(place[key], dict | list) or not place[key] or draw(st.booleans()):
                action = draw(st.sampled_from(["replace", "remove", "add"]))
                if action == "replace":
                    place[key] = draw(odd_values)
                elif action == "remove":
                    del place[key]
                elif isinstance(place, dict):
                    place[draw(known_keys)] = draw(odd_values)
                else:
                    place.append(draw(odd_values))
                break
            place = place[key]
    return value


@settings(max_examples=400, deadline=None)
@given(st.one_of(mutated(), odd_values))
def test_conforms_agrees_with_jsonschema(value: Any) -> None:
    assert conforms(schema(), value) == Draft202012Validator(schema()).is_valid(value)


@settings(max_examples=150, deadline=None)
@given(mutated())
def test_no_manifest_makes_a_traceback(value: Any) -> None:
    try:
        read(yaml.safe_dump(value, allow_unicode=True))
    except InvalidError as error:
        for one in error.errors if isinstance(error, InvalidGroup) else (error,):
            assert one.what
            assert one.where


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(), st.binary()))
def test_no_text_makes_a_traceback(text: str | bytes) -> None:
    try:
        read(text.encode(errors="surrogatepass") if isinstance(text, str) else text)
    except InvalidError as error:
        assert error.what
