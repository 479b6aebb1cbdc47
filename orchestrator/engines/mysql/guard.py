"""What no file of one set of migrations may change: its own records, and those of other sets in the same database.

What the text of a statement tells is refused before it runs (`written`). What a trigger, a routine or a prepared text does
is seen afterwards: a transaction in which any of these tables changed does not commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pymysql

from orchestrator.engines.mysql import errors
from orchestrator.engines.mysql.connection import Answer, ask, ask_all, open_connection
from orchestrator.engines.mysql.lexer import name_of
from orchestrator.engines.mysql.reader import runs_others, tokens_of
from orchestrator.engines.mysql.records import DEFAULT, Records, quoted, text
from orchestrator.engines.mysql.written import writes_in_body, written_table
from orchestrator.errors import StatementError
from orchestrator.hints import Hint
from orchestrator.model import Attempt, Statement, Target, VersionRow
from orchestrator.records import replace

_HISTORY = ("version", "attempt", "direction", "checksum", "done")
_VERSIONS = ("version", "dirty")
_TRIES = 10
_SHOWN = 200  # characters of a text that is executed
_NOT_READABLE = (1142, 1143, 1146, 1356)
_NAMES = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
# golang-migrate's table has two columns and no other one, if nobody added one; a history is told by five of its own.
_FIND = f"""SELECT c.TABLE_NAME, SUM(c.COLUMN_NAME IN ({", ".join(map(text, _HISTORY))})) = {len(_HISTORY)}
    FROM information_schema.COLUMNS c WHERE c.TABLE_SCHEMA = DATABASE(){{only}} GROUP BY c.TABLE_NAME
    HAVING SUM(c.COLUMN_NAME IN ({", ".join(map(text, _HISTORY))})) = {len(_HISTORY)}
    OR SUM(c.COLUMN_NAME = 'version' AND c.DATA_TYPE = 'bigint' OR c.COLUMN_NAME = 'dirty' AND c.DATA_TYPE = 'tinyint') = 2
    AND (COUNT(*) = 2 OR c.TABLE_NAME = {text(DEFAULT)})"""
_FEW = 8
"""So many new tables are looked at one by one; to find the columns of all, the server opens each table of the database."""
_ROUTINES = "SELECT ROUTINE_NAME, ROUTINE_DEFINITION FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()"
_MAY_WRITE = frozenset({"insert", "update", "delete", "replace", "load", "with", "select", "do"})
Marks = Mapping[str, tuple[int, int]]


class Guard:
    """The watch of one session over the records of all sets."""

    def __init__(self, connection: Any, target: Target, records: Records) -> None:
        self._connection = connection
        self._target = target
        self._records = records
        self._ours = {name.lower() for name in records.tables}
        self._others: dict[str, tuple[str, ...]] = {}  # tables of other sets, with the columns that are compared
        self._plain: set[str] = set()  # tables that belong to no set: checked, or created by this session
        self.is_alone = False  # the database was just created, and has no other tables
        self._before: Marks | None = None
        self._finished: set[tuple[int, int]] = set()

    # ------------------------------------------------------------ before anything runs

    def look(self) -> None:
        """Find the tables of other sets; `refuse` knows them then."""
        if self.is_alone:
            self.is_alone = False
            return
        names = {str(name) for (name,) in ask(self._connection, _NAMES)}
        self._plain &= names
        # On most servers `versions` and `Versions` are two tables: only one of them is ours then.
        spelled = {*self._records.tables} & names
        ours = spelled | {name for name in names if name.lower() in self._ours - {one.lower() for one in spelled}}
        new = sorted(names - self._plain - ours)
        told = {str(name): _HISTORY if history else _VERSIONS for name, history in self._find(new)} if new else {}
        found: dict[str, tuple[str, ...]] = {name: told[name] for name in new if name in told}
        self._plain |= {*new} - found.keys()
        if not found and not self._others:
            return
        if found:
            query = f"{_NAMES} AND TABLE_TYPE = 'BASE TABLE' AND TABLE_NAME IN ({', '.join(map(text, found))})"
            found = {str(name): found[str(name)] for (name,) in ask(self._connection, query) if str(name) in found}
        self._others = found
        self._before = None

    def note_created(self, tables: Iterable[str]) -> None:
        """Take note of tables that a file has created."""
        self._plain |= {*tables}

    def _find(self, names: Sequence[str]) -> Answer:
        """Return which of these tables look like those of a set, and whether each is a history."""
        if len(names) > _FEW:
            return ask(self._connection, _FIND.format(only=""))
        each = (_FIND.format(only=f" AND c.TABLE_NAME = {text(name)}") for name in names)
        return ask(self._connection, " UNION ALL ".join(each))

    def refuse(self, statements: Sequence[Statement]) -> None:
        """Raise StatementError for a statement whose text says that it changes records. Nothing of these has run then."""
        others = {name.lower() for name in self._others}
        for statement in statements:
            self._refuse_drop(statement)
            if token := written_table(statement.source, self._ours | others):
                named = (table for table in sorted(self._ours | others) if written_table(statement.source, {table}))
                name = next(named, "")  # of a prepared text, which is one token
                raise self._refused(name, statement, token.start, other=name in others)
            if tokens_of(statement.source)[:1] and tokens_of(statement.source)[0].text == "call":
                self._refuse_call(statement, others)

    def refuse_texts(self, statement: Statement) -> None:
        """Raise StatementError if a text that the statement is about to execute changes records, as the session has it now."""
        words = [token.text for token in tokens_of(statement.source)[:2]]
        if words[:1] == ["prepare"] or words == ["execute", "immediate"]:
            from orchestrator.engines.mysql.dynamic_sql import given_texts

            for given in given_texts(self._connection, statement.source):
                try:
                    self.refuse((replace(statement, source=given, body=given),))
                except StatementError as error:
                    detail = f"the text that it executes: {given[:_SHOWN]}"
                    raise StatementError(error.what, detail=detail, hint=error.hint, statement=statement) from None

    def _refuse_drop(self, statement: Statement) -> None:
        """Refuse to drop the database that is being migrated: everything goes with it, and nobody could record that."""
        tokens = tokens_of(statement.source)
        words = [token.text for token in tokens[:4]]
        replaces = words[:3] == ["create", "or", "replace"]
        if (words[3:4] if replaces else words[1:2] if words[:1] == ["drop"] else []) not in (["database"], ["schema"]):
            return
        named = (tokens[4:5] if replaces else tokens)[-1:]
        if named and name_of(named[0]).lower() == self._target.database.lower():
            raise StatementError(
                "the file drops the database that it migrates",
                statement=statement,
                offset=named[0].start,
                hint="drop the tables instead, or the database outside of migrations",
            )

    def _refuse_call(self, statement: Statement, others: set[str]) -> None:
        """Refuse a CALL of a procedure that writes to one of these tables, itself or by another one."""
        with suppress(pymysql.Error):
            bodies = {str(name).lower(): str(body or "") for name, body in ask(self._connection, _ROUTINES)}
            reached: set[str] = set()
            named = {name_of(token).lower() for token in tokens_of(statement.source)}
            while called := (named & bodies.keys()) - reached:
                reached |= called
                for name in called:
                    for table in sorted(self._ours | others):
                        if writes_in_body(bodies[name], {table}):
                            raise self._refused(table, statement, 0, other=table in others)
                    named |= {word for word in bodies if word in bodies[name].lower()}

    # ------------------------------------------------------------ in the transaction of a file

    def begin(self, then: Sequence[str] = ()) -> None:
        """Keep what the tables hold before a file runs, unless that is known; with the same message, do `then`."""
        if self._before is None:
            answers: list[Answer] = []
            try:
                ask_all(self._connection, [self.marks(), *then], answers)
            except pymysql.Error as error:
                if answers or errors.code_of(error) not in _NOT_READABLE:
                    raise
                self._before = self._marks(self._connection)
            else:
                self._before = self._read(answers[0])
                return
        if then:
            ask_all(self._connection, then)

    def are_unchanged(self) -> list[str]:
        """Return SQL conditions that hold if the tables are as they were before the file."""
        known = self._before or {}
        return [
            f"(SELECT COUNT(*) = {known[name][0]} AND {_sum_of(columns)} = {known[name][1]} FROM {quoted(name)})"
            for name, columns in self._guarded().items()
            if name in known
        ]

    def marks(self) -> str:
        """Return SQL that reads what the tables hold."""
        return " UNION ALL ".join(self._selected())

    def note_written(self, marks: Answer | None, attempts: Sequence[Attempt]) -> None:
        """Take note of the records that were written, and what the tables hold now; None: read that when it is needed."""
        self._before = None if marks is None else self._read(marks)
        self._finished |= {(one.version, one.number) for one in attempts if one.done}

    def check(self, statement: Statement | None = None) -> None:
        """Raise StatementError where the tables are not what they were: `statement` or, without it, the file changed them."""
        if self._before is None:
            return
        now = self._marks(self._connection)
        changed = [name for name, mark in self._before.items() if now.get(name) != mark]
        if statement is not None:  # it has committed: what other sets did meanwhile looks the same
            changed = [name for name in changed if name.lower() in self._ours]
        elif any(name in self._others for name in changed):
            changed = self._not_of_others(changed)
        if changed:
            error = self._refused(changed[0], statement, None, other=changed[0] in self._others)
            error.partly = statement is not None
            raise error

    def has_changed(self) -> bool:
        """Whether our own tables are not what they were before the statement that ran last."""
        now = self._marks(self._connection) if self._before is not None else {}
        return any(now.get(name) != mark for name, mark in (self._before or {}).items() if name.lower() in self._ours)

    def may_write(self, source: str) -> bool:
        """Whether a statement that commits by itself can change rows in a way that its text does not tell."""
        words = [token.text for token in tokens_of(source)]
        return bool(words) and (
            words[0] in _MAY_WRITE or runs_others(words) or (words[0] == "create" and "select" in words)
        )

    def check_kept(
        self,
        attempts: Sequence[Attempt],
        version_row: VersionRow | None,
        finished: Callable[[], set[tuple[int, int]]],
    ) -> None:
        """Raise StatementError where the tables do not hold what was just written: a trigger is in the way.

        `finished` returns the attempts that were over before: nothing changes their rows.
        """
        if not attempts and version_row is None:
            return
        history, versions = quoted(self._records.history), quoted(self._records.version_table)
        parts = [_select(versions, -1, "version", "dirty <> 0")]  # ours before the numbers of the others
        if attempts:
            keys = ", ".join(f"({one.version}, {one.number})" for one in attempts)
            query = _select(history, -2, "version", "attempt", "applied", "in_flight", "done")
            parts.append(f"{query} WHERE (version, attempt) IN ({keys})")
        told = ask(self._connection, " UNION ALL ".join([*parts, *self._selected()]))
        rows = list(map(_numbers, told))
        pairs = {(row[1], bool(row[2])) for row in rows if row[0] == -1}
        written = {row[1:] for row in rows if row[0] == -2}
        lacking = {
            (one.version, one.number, one.applied, int(one.in_flight), int(one.done)) for one in attempts
        } - written
        lost = bool(lacking) and bool({row[:2] for row in lacking} - self._finished - finished())
        if lost or (version_row is not None and pairs != {*_pairs(version_row)}):
            table = self._records.history if lost else self._records.version_table
            raise StatementError(
                f"{table} does not hold what orch has just written into it: a trigger on it is in the way",
                hint="drop that trigger: it may look at what is written, and must not change or keep it back",
            )
        self._before = self._read(told)
        self._finished |= {(one.version, one.number) for one in attempts if one.done}

    def forget(self) -> None:
        """Read the tables again the next time: a transaction was rolled back."""
        self._before = None

    # ------------------------------------------------------------ what stands behind the verbs

    def _guarded(self) -> dict[str, tuple[str, ...]]:
        return {self._records.version_table: _VERSIONS, self._records.history: _HISTORY, **self._others}

    def _selected(self) -> list[str]:
        return [
            _select(quoted(name), at, "COUNT(*)", _sum_of(columns))
            for at, (name, columns) in enumerate(self._guarded().items())
        ]

    def _read(self, rows: Sequence[Sequence[Any]]) -> Marks:
        names = list(self._guarded())
        return {names[at]: (count, total) for at, count, total, *_ in map(_numbers, rows) if at >= 0}

    def _marks(self, connection: Any) -> Marks:
        for _ in range(len(self._others) + 1):
            try:
                return self._read(ask(connection, self.marks()))
            except pymysql.Error as error:
                if errors.code_of(error) not in _NOT_READABLE:
                    raise
                self._drop_unreadable(connection)
        return {}

    def _drop_unreadable(self, connection: Any) -> None:
        """Leave out the tables of other sets that this login may not read, or that are gone meanwhile."""
        for name in list(self._others):
            try:
                ask(connection, f"SELECT COUNT(*) FROM {quoted(name)}")
            except pymysql.Error as error:
                if errors.code_of(error) not in _NOT_READABLE:
                    raise
                del self._others[name]

    def _not_of_others(self, changed: list[str]) -> list[str]:
        """Leave out the tables of other sets that are as another session sees them: what changed there is committed."""
        other = open_connection(self._target)
        try:
            return [name for name in changed if name not in self._others or self._is_ours(name, other)]
        finally:
            with suppress(pymysql.Error):
                other.close()

    def _is_ours(self, name: str, other: Any) -> bool:
        """Whether this transaction changed a table: the newest rows that it sees are not what is committed."""
        query = f"SELECT COUNT(*), {_sum_of(self._others[name])} FROM {quoted(name)}"
        # A locking read sees all that is committed by now; a plain read may see an older state. Both are compared several
        # times, because a run of the other set may be writing at the same moment.
        now = ask(self._connection, f"{query} LOCK IN SHARE MODE")
        for _ in range(_TRIES):
            committed = ask(other, query)
            if committed == now:
                return False
            before, now = now, ask(self._connection, f"{query} LOCK IN SHARE MODE")
            if before == now:
                return True
        return True

    def _refused(self, name: str, statement: Statement | None, offset: int | None, *, other: bool) -> StatementError:
        if other:
            return StatementError(
                f"the file changes, empties or removes {name}, in which another set of migrations records what is applied",
                statement=statement,
                offset=offset,
                hint="leave it out; if that set is no longer used, drop its tables by hand",
            )
        return StatementError(
            "the file changes the records of orch or of golang-migrate",
            statement=statement,
            offset=offset,
            hint=Hint(f"remove what it does to {self._records.version_table} and {self._records.history}"),
        )


def _sum_of(columns: Sequence[str]) -> str:
    return f"COALESCE(SUM(CRC32(CONCAT_WS(',', {', '.join(map(quoted, columns))}))), 0)"


def _select(table: str, number: int, *values: str) -> str:
    """Return SQL that reads numbers as one text: the driver takes long for each column of an answer."""
    return f"SELECT CONCAT_WS(':', {number}, {', '.join(f'COALESCE({value}, -9)' for value in values)}) FROM {table}"


def _numbers(row: Sequence[Any]) -> tuple[int, ...]:
    """Return what a row that `_select` asked for holds."""
    return tuple(map(int, str(row[0]).split(":")))


def _pairs(row: VersionRow) -> tuple[tuple[int, bool], ...]:
    """Return what the version table holds after it was set to this."""
    return () if row.version is None else ((row.version, row.dirty),)
