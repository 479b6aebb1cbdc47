"""Read how migrations run, how databases are created, and the variables of their files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from orchestrator.engines import dialect
from orchestrator.manifest.entry import Entry, Server, Tell
from orchestrator.manifest.source import Steps
from orchestrator.model import CreateOptions, Settings

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_SHORTEST, _LONGEST = 0.001, 2_147_483.0  # what PostgreSQL counts in milliseconds, in 31 bits
_NO_OPTIONS = CreateOptions()


def read_settings(values: Mapping[str, Any], steps: Steps, inherited: Settings, error: Tell) -> Settings:
    """Return the settings of a section: those that it has, and the others as inherited."""
    changes: dict[str, Any] = {}
    for key in ("lock_timeout", "lock_try", "statement_timeout"):
        if key in values:
            changes[key] = seconds = _seconds(values[key])
            if values[key] != "none" and not _SHORTEST <= seconds <= _LONGEST:
                error([*steps, key], f"{key!r} must be from 1ms to {_LONGEST:.0f}s", hint="no limit is none")
    if "out_of_order" in values:
        changes["out_of_order"] = values["out_of_order"] == "apply"
    if "keep_text" in values:
        changes["keep_text"] = values["keep_text"]
    if "drift" in values:
        changes["drift"] = values["drift"] or "off"  # YAML reads off as false
    if "drift_ignore" in values:
        changes["drift_ignore"] = (*inherited.drift_ignore, *(values["drift_ignore"] or ()))
    if isinstance(values.get("create"), str):
        changes["create"] = values["create"] != "never"
    return inherited._replace(**changes) if changes else inherited


def read_create_options(
    entry: Entry, server: Server | None, error_at_key: Callable[[Steps, str], None]
) -> CreateOptions:
    """Return what a new database gets. `error_at_key` takes note of an option that the engine does not have."""
    given = entry.values.get("create") or {}
    if isinstance(given, str):  # whether it is created at all is among the settings
        given = {}
    known = dialect(entry.engine)
    if given and not known.create_options:
        what = f"database {entry.name!r}: 'create' does not apply to {known.title}: a new database has no options"
        error_at_key([*entry.steps, "create"], what)
        return CreateOptions()
    for key in given:
        if key not in known.create_options:
            what = f"database {entry.name!r}: {known.title} has no 'create' option {key!r}"
            error_at_key([*entry.steps, "create", key], what)
    inherited = server.maintenance_database if server else None
    if not given:
        return CreateOptions(maintenance_database=inherited) if inherited else _NO_OPTIONS
    return CreateOptions(
        owner=given.get("owner"),
        encoding=given.get("encoding"),
        locale=given.get("locale"),
        collation=given.get("collation"),
        template=given.get("template"),
        extensions=tuple(dict.fromkeys(given.get("extensions") or ())),
        connection_limit=None if given.get("connection_limit") is None else int(given["connection_limit"]),
        maintenance_database=given.get("maintenance_database", inherited),
    )


def read_variables(entry: Entry, error: Tell, error_at_key: Callable[[Steps, str], None]) -> Mapping[str, str]:
    """Return the variables that a database has for its files; both callbacks take note of what is wrong with one."""
    given: Mapping[str, str] = entry.values.get("variables") or {}
    for name, value in given.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            what = f"database {entry.name!r}: the name {name!r} of a variable is invalid: use letters, digits and _"
            error_at_key([*entry.steps, "variables", name], what)
        elif not value.isprintable():
            what = f"database {entry.name!r}: the value of {name} has a line break or another control character"
            error([*entry.steps, "variables", name], what)
    return given


def _seconds(value: float | str) -> float:
    if not isinstance(value, str):
        return float(value)
    if value == "none":
        return 0.0
    number = re.match(r"[0-9.]+", value)
    amount = number[0] if number else "0"
    return float(amount) * _SECONDS[value[len(amount) :]]
