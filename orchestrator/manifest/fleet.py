"""Make the members of a fleet of one entry with `for_each`: a database for each row of its source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.manifest.for_each import Answer, Members, Report, only, read_members, value_problem
from orchestrator.manifest.member_files import Row
from orchestrator.manifest.source import Source, Steps
from orchestrator.model import Fleet, Mark
from orchestrator.patterns import regex
from orchestrator.phrases import did_you_mean, either
from orchestrator.records import NamedTuple

SAID = 20
"""So many errors about members of one fleet are told."""
_PART = regex(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PART_OR_VARIABLE = regex(r"\$\$|\$\{[^}]*\}|\{([A-Za-z_][A-Za-z0-9_]*)\}")
_TEXTS = ("name", "server", "labels", "create", "depends_on")
"""Keys of an entry in which a column is put by its value; `dsn` and `database` stay templates, and are filled later."""
_TEMPLATES = ("dsn", "database")
_AT_THE_EDGE = "_-. "


class Member(NamedTuple):
    """The entry of one member. Without columns it stands for all: they are not known."""

    values: Mapping[str, Any]
    columns: Mapping[str, str]
    value: str
    mark: Mark


def expand(
    values: Mapping[str, Any], steps: Steps, source: Source, base: Path, error: Report, answer: Answer | None
) -> tuple[Fleet, list[Member]] | None:
    """Return a fleet and its members; None, and errors, if the entry cannot be understood.

    InvalidError for what is wrong in a file of members.
    """
    name = values["name"]
    members = read_members(values, steps, source, base, error, answer)
    if members is None:
        return None
    parts = list(dict.fromkeys(_PART.findall(name)))
    if not parts:
        found = only(members.columns)
        error([*steps, "name"], f"every member would be called {name!r}", f"put {{{found or 'tenant'}}} in the name")
        return None
    if "migrations" not in values:
        error(
            steps, f"the fleet {name!r} has no 'migrations'", "its members share one directory: migrations: DIRECTORY"
        )
        return None
    if odd := next((mark for mark in _PART.sub("", name) if mark in "{}"), ""):
        error(
            [*steps, "name"],
            f"the name {name!r} has a {odd!r} that is no part of a column",
            "write a column as {column}",
        )
        return None
    if "database" in parts:
        error([*steps, "name"], "{database} can only stand in a dsn", "give the column another name")
        return None
    key = _key(parts, members, steps, error)
    if key is None:
        return None
    if members.query:
        values = {**values, "depends_on": _with_source(values.get("depends_on"), members.query.database)}
    from orchestrator.manifest.rollout import read_rollout

    fleet = Fleet(
        _PART.sub("", name).strip(_AT_THE_EDGE) or parts[0],
        name,
        int(steps[1]),
        members.origin,
        members.query,
        read_rollout(values, steps, error),
        source.key_mark(steps),
        values.get("bootstrap") == "template",
        base / values["migrations"],
        tuple(sorted({*_wanted(values, key), *filter(None, [members.column])})),
    )
    if members.rows is None:
        return fleet, [Member(values, {}, "", source.mark(steps))]
    if members.rows and not _parts_known(values, {*members.columns, key}, steps, error):
        return None
    return fleet, list(_members(values, members, key, error, steps))


def check_group(fleet: Fleet, others: Sequence[Fleet], steps: Steps, error: Report) -> None:
    """Tell of a fleet with the group of another one, if one of them has a rollout: its waves are those of a group."""
    for other in others:
        if other.group == fleet.group and (other.rollout or fleet.rollout):
            what = f"the fleets {other.template!r} and {fleet.template!r} are both group:{fleet.group}"
            error([*steps, "name"], f"{what}, and a rollout is that of one fleet", "give one of them another name")
            return


def used(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns that the templates of an entry name, each once."""
    texts = (str(values[key]) for key in _TEMPLATES if key in values)
    return tuple(dict.fromkeys(part for text in texts for part in _in_template(text)))


def filled_for_comparison(template: str, columns: Mapping[str, str]) -> str:
    """Return a template with its columns filled, not encoded: only to see whether two databases are one."""
    return _PART_OR_VARIABLE.sub(lambda part: columns.get(part[1], part[0]) if part[1] else part[0], template)


def _in_template(text: str) -> Iterator[str]:
    """Yield the columns of a DSN template or of the name of a database on its server."""
    return (found[1] for found in _PART_OR_VARIABLE.finditer(text) if found[1] and found[1] != "database")


def _with_source(given: Any, database: str) -> list[Any]:
    """Return the dependencies with the database whose query tells the members."""
    needs = [given] if isinstance(given, dict) else list(given or ())
    return needs if database in needs else [*needs, database]


def _key(parts: list[str], members: Members, steps: Steps, error: Report) -> str | None:
    """Return the part of the name that stands for the member itself; None, and an error, if that is not clear."""
    if members.rows == () or members.rows is None:
        return parts[0]
    unknown = [part for part in parts if part not in members.columns]
    at = [*steps, "name"]
    if len(unknown) > 1 or (unknown and len(members.columns) > 1 and not members.column):
        columns = ", ".join(members.columns) or "there are none, as each member is one value"
        hint = did_you_mean(unknown[0], members.columns) or "say which one the member is: column: NAME"
        error(at, f"{either([f'{{{one}}}' for one in unknown])} is no column of {members.origin}: {columns}", hint)
        return None
    return unknown[0] if unknown else members.column or parts[0]


def _parts_known(values: Mapping[str, Any], columns: set[str], steps: Steps, error: Report) -> bool:
    """Return whether every part of every template is a column; errors for those that are none."""
    wrong = [(key, part) for key in _TEXTS for part in _in_texts(values.get(key)) if part not in columns]
    wrong += [(key, part) for key in _TEMPLATES for part in _in_template(values.get(key) or "") if part not in columns]
    for key, part in dict.fromkeys(wrong):
        hint = did_you_mean(part, columns) or "the columns are " + ", ".join(sorted(columns))
        error([*steps, key], f"{{{part}}} in {key!r} is no column of the fleet", hint)
    return not wrong


def _in_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from _PART.findall(value)
    elif isinstance(value, list):
        for item in value:
            yield from _in_texts(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _in_texts(item)


def _wanted(values: Mapping[str, Any], key: str) -> set[str]:
    """Return the columns that the entry needs of each row."""
    return {part for name in _TEXTS for part in _in_texts(values.get(name))} | set(used(values)) | {key}


def _secret(values: Mapping[str, Any], key: str) -> set[str]:
    """Return the columns whose values may be passwords: they stand in the DSN, and in no text that is shown anyway."""
    in_dsn = {found[1] for found in _PART_OR_VARIABLE.finditer(str(values.get("dsn", ""))) if found[1]}
    shown = {part for name in ("name", "database", "labels", "depends_on") for part in _in_texts(values.get(name))}
    return in_dsn - shown - {key}


def _members(values: Mapping[str, Any], members: Members, key: str, error: Report, steps: Steps) -> Iterator[Member]:
    """Yield the members whose values can be used; errors for the others."""
    changing = [name for name in _TEXTS if name in values and next(_in_texts(values[name]), None)]
    wanted = _wanted(values, key)
    secret = _secret(values, key)
    for row in members.rows or ():
        own = _value(row, members, key)
        columns = {key: own, **row.columns}
        if problem := next(((name, why) for name in sorted(wanted) if (why := value_problem(columns[name]))), None):
            told = (
                f"the value of {problem[0]}" if problem[0] in secret else f"{problem[0]} {columns[problem[0]][:80]!r}"
            )
            error(steps, f"{members.origin}: {told} {problem[1]}", "", row.mark)
            continue
        changed = {name: _filled(values[name], columns) for name in changing}
        yield Member({**values, **changed}, columns, own, row.mark)


def _value(row: Row, members: Members, key: str) -> str:
    """Return the value of a member: that of `column`, else of the column in its name, else of the only one there is."""
    if not row.columns:
        return row.value
    return row.columns[members.column or (key if key in row.columns else next(iter(row.columns)))]


def _filled(value: Any, columns: Mapping[str, str]) -> Any:
    """Return a value of an entry with each {column} replaced, once: what a column holds is not read again."""
    if isinstance(value, str):
        return _PART.sub(lambda part: columns[part[1]], value)
    if isinstance(value, list):
        return [_filled(item, columns) for item in value]
    if isinstance(value, dict):
        return {name: _filled(item, columns) for name, item in value.items()}
    return value
