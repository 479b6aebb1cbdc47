"""Explain why a manifest does not conform to the schema. The only module that imports jsonschema."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from orchestrator.engines import dialects
from orchestrator.errors import InvalidError
from orchestrator.hints import NAME, Command, Hint
from orchestrator.manifest.source import Source, Steps
from orchestrator.model import Mark
from orchestrator.phrases import did_you_mean, either

_ENOUGH = 1000  # violations; nobody reads more
_KINDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "null": "empty",
    "boolean": "true or false",
}
_FORMS = {
    "lock_timeout": "seconds such as 10, or text such as 30s, 5m, 500ms or none",
    "lock_try": "seconds such as 1, or text such as 2s, 500ms or none",
    "statement_timeout": "seconds such as 10, or text such as 30s, 5m, 500ms or none",
    "create": "never or if_missing, or a mapping of PostgreSQL's options",
    "drift_schedule": "five fields as in cron, such as 17 5 * * *, or @daily",
    "branch": "letters, digits and . _ / -, beginning with a letter or digit",
    "namespace": "lower-case letters, digits and -, beginning and ending with a letter or digit, at most 63 in all",
    "history": "a lower-case letter or _, then letters, digits and _, at most 63 in all",
}


def explain(schema: dict[str, Any], source: Source) -> list[tuple[Steps, InvalidError]]:
    """Return every violation of the schema with its path; at least one, else RuntimeError (a bug of ours)."""
    from jsonschema import Draft202012Validator

    found: dict[tuple[Steps, Mark | None, str], InvalidError] = {}
    for error in islice(Draft202012Validator(schema).iter_errors(source.value), _ENOUGH):
        steps = tuple(error.absolute_path)
        for said in _EXPLANATIONS[str(error.validator)](error, steps, source):
            found.setdefault((steps, said.where, said.what), said)
    if not found:
        raise RuntimeError("the manifest was refused, and jsonschema finds nothing wrong with it")
    return [(steps, said) for (steps, _, _), said in found.items()]


def subject(steps: Steps, value: Any) -> str:
    """Return what people call the thing at `steps`: "database 'order'", "server 'main'", "the manifest"."""
    match list(steps[:2]):
        case ["databases", int(index)]:
            entry = value["databases"][index]
            name = entry.get("name") if isinstance(entry, dict) else None
            return f"database {name!r}" if isinstance(name, str) and name else f"database number {index + 1}"
        case ["servers", name]:
            return f"server {name!r}"
        case [section, *_]:
            return f"{section!r}"
    return "the manifest"


def _named(steps: Steps, value: Any) -> str:
    """Return "'lock_timeout' of database 'order'" for a value inside a thing, or the thing itself."""
    depth = 2 if steps and steps[0] in ("databases", "servers") else 1
    inner = ".".join(str(step) for step in steps[depth:] if isinstance(step, str))
    about = subject(steps, value)
    if isinstance(steps[-1] if steps else None, int) and inner:
        inner = f"an entry of {inner}"
        return f"{inner} of {about}"
    return f"{inner!r} of {about}" if inner else about


def _unknown_key(error: Any, steps: Steps, source: Source) -> Iterator[InvalidError]:
    known = error.schema["properties"] if isinstance(error.schema, dict) else {}
    inside = " in " + _named(steps, source.value) if steps else ""
    for key in error.instance:
        if key not in known:
            hint = did_you_mean(key, known) or "the keys allowed here are " + ", ".join(known)
            yield InvalidError(f"unknown key {key!r}{inside}", where=source.key_mark([*steps, key]), hint=hint)


def _required(error: Any, steps: Steps, source: Source) -> Iterator[InvalidError]:
    for key in error.validator_value:
        if key not in error.instance:
            if key == "databases":
                yield _none_declared(source, steps)
                continue
            hint = "write 'version: 1' at the top" if key == "version" else ""
            yield InvalidError(f"{_named(steps, source.value)} has no {key!r}", where=source.key_mark(steps), hint=hint)


def _wrong_type(error: Any, steps: Steps, source: Source) -> Iterator[InvalidError]:
    if list(steps) == ["databases"] and error.instance is None:
        yield _none_declared(source, steps)
        return
    wanted = [error.validator_value] if isinstance(error.validator_value, str) else list(error.validator_value)
    kinds = either([_KINDS[word] for word in wanted if word != "null"])
    hint = ""
    if error.instance is None and "number" in wanted:
        hint = "for no limit write none"
    elif "string" in wanted and isinstance(error.instance, bool | int | float):
        hint = "put it in quotes"
    what = f"{_named(steps, source.value)} must be {kinds}, not {_kind(error.instance)}"
    yield InvalidError(what, where=source.mark(steps), hint=hint)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    names = {dict: "object", list: "array", str: "string", int: "number", float: "number"}
    return _KINDS[names.get(type(value), "null")]


def _none_declared(source: Source, steps: Steps) -> InvalidError:
    return InvalidError(
        "no database is declared", where=source.key_mark(steps), hint=Hint(Command("add-db", NAME), " adds the first")
    )


def _not_enumerated(error: Any, steps: Steps, source: Source) -> Iterator[InvalidError]:
    allowed = list(dict.fromkeys("off" if word is False else str(word) for word in error.validator_value))  # of YAML
    given = error.instance if isinstance(error.instance, str) else None
    about = _named(steps, source.value)
    if steps[-1] == "engine" and given is not None:
        alias = next((known.name for known in dialects() if given.lower() in known.aliases), "")
        hint = f"did you mean {alias!r}?" if alias else did_you_mean(given, allowed)
        what = f"{subject(steps, source.value)}: there is no engine {given!r}; those we have are {', '.join(allowed)}"
    else:
        hint = did_you_mean(given, allowed) if given else ""
        what = f"{about} must be {either(allowed)}"
    yield InvalidError(what, where=source.mark(steps), hint=hint)


def _plain(say: Callable[[Any], str]) -> Explanation:
    def explanation(error: Any, steps: Steps, source: Source) -> Iterator[InvalidError]:
        what = f"{_named(steps, source.value)} {say(error.validator_value)}"
        yield InvalidError(what, where=source.mark(steps))

    return explanation


def _malformed(_error: Any, steps: Steps, source: Source) -> Iterator[InvalidError]:
    form = _FORMS.get(str(steps[-1])) or _FORMS.get(str(steps[0]), "written differently")
    yield InvalidError(f"{_named(steps, source.value)} must be {form}", where=source.mark(steps))


def _too_few(_error: Any, steps: Steps, source: Source) -> Iterator[InvalidError]:
    yield _none_declared(source, steps)


Explanation = Callable[[Any, Steps, Source], Iterator[InvalidError]]
_EXPLANATIONS: dict[str, Explanation] = {
    "additionalProperties": _unknown_key,
    "required": _required,
    "type": _wrong_type,
    "enum": _not_enumerated,
    "const": _plain(lambda value: f"must be {value}"),
    "pattern": _malformed,
    "minItems": _too_few,
    "minLength": _plain(lambda _: "is empty"),
    "minimum": _plain(lambda value: f"must be at least {value}"),
    "maximum": _plain(lambda value: f"must be at most {value}"),
}
