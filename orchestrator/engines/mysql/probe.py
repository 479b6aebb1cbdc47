"""Fingerprints: what a statement names, before and after it, and so what became of it.

MySQL and MariaDB commit a change of the schema by itself. The intent to make one is recorded before it, together with a
fingerprint of all that it names: its definition, or that it is absent. Whoever finds an intent without an end takes the lock
first, which the server frees when the leftover statement is over, and compares.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pymysql

from orchestrator.engines.base import Effect
from orchestrator.engines.mysql import errors
from orchestrator.engines.mysql.connection import Answer, ask, ask_all
from orchestrator.engines.mysql.emptied import files_of, was_emptied
from orchestrator.engines.mysql.named import Change, Named, change_of, quoted, what_is_left
from orchestrator.engines.mysql.reader import words_of
from orchestrator.engines.mysql.shown import IS_PLAIN, plainly
from orchestrator.model import Statement

ABSENT, HIDDEN = "absent", "hidden"
SERVER = "@server"
"""Under this key a fingerprint keeps the release of the server: another one may show the same thing otherwise."""
ROWS = "@rows"
"""Under this key it keeps which files hold the rows of a table that the statement empties."""
_COUNTER = re.compile(r" AUTO_INCREMENT=[0-9]+")
_NO_SUCH_ACCOUNT = (1141, 1133, 1396)
Fingerprint = Mapping[str, str]


class Intent:
    """What a statement names, and what that looked like before it ran. In a copy of a database its body names the copy."""

    def __init__(self, statement: Statement, before: Fingerprint | None = None) -> None:
        self._body = str(statement.body)
        self.change = change_of(self._body)
        self.source = statement.source
        self.before = before

    def take(self, connection: Any) -> None:
        """Look at what the statement names, before it runs."""
        now = fingerprint(connection, self.change) if self.change else {}
        if now and self.change and self.change.empties:
            now[ROWS] = files_of(connection, self.change.things[0])
        self.before = {**now, SERVER: _release(connection)} if now else {}

    @property
    def tells_its_end(self) -> bool:
        """Whether the objects that the statement names tell for certain if it was done, or running it again changes nothing."""
        change, before = self.change, self.before or {}
        if change is None or change.traceless or change.empties or not change.things or HIDDEN in before.values():
            return False
        is_definition = words_of(self._body)[0] in ("create", "alter", "drop", "rename")
        return is_definition and all(thing.kind != "user" and thing.key in before for thing in change.things)

    def created(self) -> list[str]:
        """Return the tables that the statement has created in the session's database, once it is done."""
        if words_of(self._body)[0] != "create" or not self.change or not self.before:
            return []
        return [
            thing.name
            for thing in self.change.things
            if thing.kind == "table" and not thing.database and self.before.get(thing.key) == ABSENT
        ]

    def stored(self) -> str:
        """Return the fingerprint as it is recorded with the intent."""
        return json.dumps(self.before or {}, sort_keys=True)

    def changed(self, connection: Any) -> tuple[list[Named], list[Named]]:
        """Return which of the things look different now, or are gone where it drops several, and which are left."""
        now = fingerprint(connection, self.change) if self.change else {}
        things = self.change.things if self.change else ()
        before = self.before or {}
        other = [thing for thing in things if now[thing.key] != before.get(thing.key)]
        if self.change and self.change.drops:  # what was absent when it began is still to be dropped, or missed
            other = [thing for thing in other if now[thing.key] == ABSENT]
        return other, [thing for thing in things if thing not in other]

    def verdict(self, connection: Any) -> tuple[Effect, str]:
        """Return what became of the statement."""
        if self.change is None or self.before is None:
            return Effect.UNKNOWN, "the server keeps no trace of whether it was done"
        if not self.change.things and not self.change.traceless:
            return Effect.NOT_DONE, "it can be made again with the same end"
        if self.before.get(SERVER, _release(connection)) != _release(connection):
            return (
                Effect.UNKNOWN,
                "the server is of another release than when it began, and may show the same otherwise",
            )
        if {*self.before} - {SERVER, ROWS} != {thing.key for thing in self.change.things}:
            return Effect.UNKNOWN, "what it looked like before was not recorded"
        if HIDDEN in self.before.values():
            return Effect.UNKNOWN, "this login may not see what it names"
        other, same = self.changed(connection)
        if not other:
            if self.change.traceless:
                return Effect.UNKNOWN, "the definitions of all that it names are as before, and that tells nothing here"
            if self.change.empties:
                return was_emptied(connection, same[0], self.before.get(ROWS, ""))
            return Effect.NOT_DONE, f"{_named(same)} {'is' if len(same) == 1 else 'are'} as before"
        if same and self.change.drops:
            return Effect.NOT_DONE, f"{_named(other)} is gone, {_named(same)} is not: the rest is dropped now"
        if same and all(thing.kind == "user" for thing in same):
            return Effect.UNKNOWN, f"{_named(other)} changed, {_named(same)} did not"
        return Effect.DONE, f"{_named(other)} {'is' if len(other) == 1 else 'are'} no longer as before"

    def body(self, connection: Any) -> str:
        """Return what is to be sent: of a DROP of several things that was cut off, what is left of it."""
        if self.change is None or not self.change.drops or self.before is None:
            return self._body
        other, same = self.changed(connection)
        return what_is_left(self._body, same) if other and same else self._body


def fingerprint(connection: Any, change: Change) -> dict[str, str]:
    """Return what each thing looks like now."""
    if not change.things:
        return {}
    seen = _seen_at_once(connection, change.things)
    if len(seen) == len(change.things):
        return dict(seen)
    with plainly(connection):
        return dict(seen) | {thing.key: _look(connection, thing) for thing in change.things[len(seen) :]}


def _release(connection: Any) -> str:
    return str(connection.get_server_info())


def _seen_at_once(connection: Any, things: Sequence[Named]) -> list[tuple[str, str]]:
    """Return the fingerprints of the first of these objects with one message: up to the first that is missing.

    Returns none if the settings of the session change what SHOW CREATE shows. It returns none for accounts either: their
    names are in the message as the file spells them.
    """
    if any(thing.kind == "user" for thing in things):
        return []
    answers: list[Answer] = []
    failed: pymysql.Error | None = None
    try:
        ask_all(connection, [errors.stop_unless(IS_PLAIN), *map(_query, things)], answers)
    except pymysql.Error as error:
        if not answers and errors.code_of(error) == errors.OUT_OF_RANGE:
            return []
        if not answers:
            raise
        failed = error
    seen = [(thing.key, _told(rows)) for thing, rows in zip(things, answers[1:], strict=False)]
    if failed:
        thing = things[len(seen)]
        seen.append((thing.key, _refused(failed, thing)))
    return seen


def _look(connection: Any, thing: Named) -> str:
    try:
        return _told(ask(connection, _query(thing)))
    except pymysql.Error as error:
        return _refused(error, thing)


def _query(thing: Named) -> str:
    return f"SHOW GRANTS FOR {thing.name}" if thing.kind == "user" else f"SHOW CREATE {thing.kind} {quoted(thing)}"


def _told(rows: Answer) -> str:
    """Return a hash of what the server shows."""
    shown = _COUNTER.sub("", "\n".join(str(value) for row in rows for value in row))
    return hashlib.sha256(shown.encode()).hexdigest()[:16]


def _refused(error: pymysql.Error, thing: Named) -> str:
    """Return the fingerprint that an error of the server stands for; raise the error if it stands for none."""
    code = errors.code_of(error)
    if code in errors.MISSING or (thing.kind == "user" and code in _NO_SUCH_ACCOUNT):
        return ABSENT
    if code == 1347:  # a table where a view was meant, or the other way
        return "another kind"
    if code in (1044, 1142, 1227, 1370):
        return HIDDEN
    raise error


def _named(things: list[Named]) -> str:
    return ", ".join(f"{thing.kind} {thing.name}" for thing in things)
