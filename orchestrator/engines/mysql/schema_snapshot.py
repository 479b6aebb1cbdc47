"""The schema of a database: every table by its lines in SHOW CREATE TABLE, views, triggers, routines and events."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.engines.mysql.connection import ask, is_mariadb
from orchestrator.engines.mysql.reach import confine
from orchestrator.engines.mysql.records import quoted
from orchestrator.engines.mysql.rights import rights_of
from orchestrator.engines.mysql.shown import plainly
from orchestrator.errors import NotPermittedError
from orchestrator.model import File, SchemaObject, SchemaSnapshot, Script, Statement

_TABLES = "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() ORDER BY 1"
# SHOW CREATE TRIGGER has the name of its table as it is spelled: otherwise after the table was renamed and back.
_TRIGGERS = """SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, CONCAT_WS(' ', ACTION_TIMING, EVENT_MANIPULATION, 'ON',
    EVENT_OBJECT_TABLE, 'FOR EACH', ACTION_ORIENTATION), CONCAT('order ', ACTION_ORDER), ACTION_STATEMENT, DEFINER, SQL_MODE,
    CHARACTER_SET_CLIENT, COLLATION_CONNECTION FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE()"""
_ROUTINES = "SELECT ROUTINE_NAME, ROUTINE_TYPE FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()"
_EVENTS = "SELECT EVENT_NAME, STARTS <=> CREATED FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE()"
_STARTS = re.compile(r" STARTS '[^']*'")
_DATABASE = """SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA
    WHERE SCHEMA_NAME = DATABASE()"""
SEE_SCHEMA = ("SELECT", "SHOW VIEW", "TRIGGER", "EVENT", "EXECUTE")
"""The rights without which the server leaves parts of the schema out, as if they were not there."""
_COUNTER = re.compile(r" AUTO_INCREMENT=[0-9]+")
_NAME = re.compile(r"`((?:[^`]|``)*)`")
_PARTITION = re.compile(r"[ (]PARTITION (?!BY )(?:`((?:[^`]|``)*)`|(\S+)) ?")
_LAST = re.compile(r"\)(?: \*/)?\Z")
_KEYS = ("PRIMARY KEY", "UNIQUE KEY", "KEY", "FULLTEXT KEY", "SPATIAL KEY", "VECTOR KEY")
_MARKS = "orch_copy"  # what a scratch database is, see copies.py
_SHOWN = {
    "sequence": (1,),
    "view": (1, 2, 3),
    "procedure": (2, 1, 3, 4),
    "function": (2, 1, 3, 4),
    "event": (3, 1, 2, 4, 5),
}
"""In which columns of SHOW CREATE the definition stands, and the settings of the session that it keeps."""


def read_schema(connection: Any, ours: Sequence[str]) -> SchemaSnapshot:
    """Return everything in the database but the tables of the bookkeeping, with its definition.

    NotPermittedError for a login that the server would not show all of it.
    """
    _refuse_half_blind(connection)
    with plainly(connection):
        return _read(connection, ours)


def _read(connection: Any, ours: Sequence[str]) -> SchemaSnapshot:
    found: dict[SchemaObject, str] = {}
    hidden = {name.lower() for name in ours}
    ((database,),) = ask(connection, "SELECT DATABASE()")
    own = f"{quoted(str(database))}."
    for name, kind in ask(connection, _TABLES):
        if name.lower() in hidden or name.lower() == _MARKS:
            continue
        if kind in ("BASE TABLE", "SYSTEM VERSIONED"):
            _read_table(connection, str(name), own, found)
        else:
            _read_other(connection, "sequence" if kind == "SEQUENCE" else "view", str(name), own, found)
    for name, table, *rest in ask(connection, _TRIGGERS):
        trigger = SchemaObject("trigger", str(name), str(table))
        when, order, body, *settings = map(str, rest)
        found[trigger] = "\n".join((when, order, _without(own, body), *settings))
    for name, kind in ask(connection, _ROUTINES):
        _read_other(connection, str(kind).lower(), str(name), own, found)
    for name, at_once in ask(connection, _EVENTS):
        _read_other(connection, "event", str(name), own, found)
        if at_once:  # the server has put the time of its creation there
            event = SchemaObject("event", str(name))
            found[event] = _STARTS.sub("", found[event], count=1)
    for charset, collation in ask(connection, _DATABASE):
        found[SchemaObject("default", "character set")] = f"{charset} {collation}"
    return found


def _read_table(connection: Any, name: str, own: str, found: dict[SchemaObject, str]) -> None:
    """Add a table, and its columns, keys, constraints and partitions one by one: where a column stands does not matter."""
    table = SchemaObject("table", name)
    lines = str(ask(connection, f"SHOW CREATE TABLE {quoted(name)}")[0][1]).replace(own, "").split("\n")
    options: list[str] = []
    partition: SchemaObject | None = None
    for line in lines[1:]:
        text = line.strip().rstrip(",")
        if started := _PARTITION.match(line):
            partition = SchemaObject("partition", f"{name}.{(started[1] or started[2]).replace('``', '`')}", name)
            text = line[started.end() :]
        if partition:  # what follows is its own, up to the next one
            text = _LAST.sub("", text.rstrip(",")) if line == lines[-1] else text.strip().rstrip(",")
            found[partition] = " ".join(filter(None, (found.get(partition), text)))
            continue
        if not line.startswith("  "):
            options.append(_COUNTER.sub("", text).lstrip(") "))
            continue
        kind = next((key for key in _KEYS if text.startswith(key)), "")
        label = (found_name := _NAME.search(text)) and found_name[1].replace("``", "`")
        if text.startswith("`"):
            found[SchemaObject("column", f"{name}.{label}", name)] = text.partition("` ")[2]
        elif kind:
            key = "PRIMARY" if kind == "PRIMARY KEY" else label
            found[SchemaObject("index", f"{name}.{key}", name)] = text
        elif text.startswith("CONSTRAINT"):
            found[SchemaObject("constraint", f"{name}.{label}", name)] = text
        else:
            options.append(text)
    found[table] = "\n".join(options)


def _read_other(connection: Any, kind: str, name: str, own: str, found: dict[SchemaObject, str]) -> None:
    row = ask(connection, f"SHOW CREATE {kind} {quoted(name)}")[0]
    if row[_SHOWN[kind][0]] is None:
        raise _hidden_routine(connection, kind, name)
    definition, *settings = (str(row[at]) for at in _SHOWN[kind])
    found[SchemaObject(kind, name)] = "\n".join((_without(own, definition), *settings))


def _without(own: str, definition: str) -> str:
    """Return a definition that does not name its own database: a body names it as the file does, in quotes or without."""
    database = own[1:-2].replace("``", "`")
    if database.lower() in definition.lower():
        statement = Statement(definition, definition, 0, 1, atomic=False)
        script = Script(File("", Path(), ""), definition, (statement,), atomic=False)
        definition = str(confine(script, database, database).script.statements[0].body)
    return definition.replace(own, "")


def _refuse_half_blind(connection: Any) -> None:
    ((database,),) = ask(connection, "SELECT DATABASE()")
    rights = rights_of(connection, str(database))
    if rights and (lacking := rights.lacking(SEE_SCHEMA)):
        raise NotPermittedError(
            f"the schema of '{database}' cannot be read: {rights.account} does not see all of it",
            detail=f"it lacks {', '.join(lacking)}, without which the server leaves parts of the schema out",
            hint=rights.grant(lacking),
        )


def _hidden_routine(connection: Any, kind: str, name: str) -> NotPermittedError:
    """Return the error for a routine of another definer, whose text the server does not show."""
    ((login,),) = ask(connection, "SELECT CURRENT_USER()")
    user, _, host = str(login).rpartition("@")
    maria = is_mariadb(connection)
    right = "SELECT ON mysql.proc" if maria else "SHOW_ROUTINE ON *.*"
    return NotPermittedError(
        f"the schema cannot be read: the server does not show the text of {kind} {name} to '{user}'@'{host}'",
        hint=f"GRANT {right} TO '{user}'@'{host}';",
    )
