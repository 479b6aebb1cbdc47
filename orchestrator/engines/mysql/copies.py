"""Whole databases as templates and copies of them: MySQL has no such statement, so a copy is made table by table.

A table of ours in each copy tells what it is: with a template whether it is whole and of what it was made, with a clone
that it is one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pymysql

from orchestrator.engines.mysql import errors
from orchestrator.engines.mysql.connection import ask, is_mariadb, open_connection
from orchestrator.engines.mysql.records import quoted, text
from orchestrator.engines.mysql.writable import READ_ONLY, is_on, refuse
from orchestrator.errors import DatabaseMissingError, LockError, StatementError, UsageError
from orchestrator.hints import Command, Hint
from orchestrator.model import CreateOptions, Target

TRY_EVERY = 0.1  # seconds
MARKS = "orch_copy"
"""The table that tells what a copy is."""
_TEMPLATES = "orch_template_"  # how their names begin
_THERE = 1007
_WAITED = "1205"
_NO_MARK = (1049, 1109, 1146)  # no such database or table; 1109 in information_schema
_NOT_READABLE = (1044, 1142, 1143)
_IDLE = 28_800  # seconds, what servers have by default
_PATIENCE = 5  # seconds to wait for a lock of a database that is being dropped
_LIKE = str.maketrans({"%": "|%", "_": "|_", "|": "||"})  # a backslash means nothing with NO_BACKSLASH_ESCAPES
_TABLES = """SELECT TABLE_NAME, IF(ENGINE = 'MRG_MyISAM', 'MERGE', TABLE_TYPE) AS kind FROM information_schema.TABLES
    WHERE TABLE_SCHEMA = {database} ORDER BY kind = 'VIEW', kind = 'MERGE', kind <> 'SEQUENCE', TABLE_NAME"""
_ROUTINES = "SELECT ROUTINE_NAME, ROUTINE_TYPE FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {database}"
_TRIGGERS = """SELECT TRIGGER_NAME, 'TRIGGER' FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = {database}
    ORDER BY ACTION_ORDER"""
_EVENTS = "SELECT EVENT_NAME, 'EVENT' FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {database}"
_COLUMNS = """SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {database} AND TABLE_NAME = {table}
    AND COALESCE(CHAR_LENGTH(GENERATION_EXPRESSION), 0) = 0 ORDER BY ORDINAL_POSITION"""
_SHOWN = {"TRIGGER": (1, 2), "PROCEDURE": (1, 2), "FUNCTION": (1, 2), "EVENT": (1, 3)}
"""In which columns of SHOW CREATE the sql_mode and the definition stand."""


class MysqlCopies:
    """The templates and clones of one server."""

    def __init__(self, target: Target, options: CreateOptions) -> None:
        self._target = target
        self._options = options

    def names(self, prefix: str) -> list[str]:
        """Return the names of the databases that begin so; of templates, the oldest first."""
        like = text(prefix.translate(_LIKE) + "%")
        query = f"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE {like} ESCAPE '|'"
        with self._server() as connection:
            names = [str(name) for (name,) in ask(connection, query)]
            made = {name: self._age(connection, name) for name in names if name.startswith(_TEMPLATES)}
        return sorted(names, key=lambda name: (made.get(name, ""), name))

    @contextmanager
    def building(self, template: str, wait: float) -> Iterator[None]:
        """Be the only one who builds or drops this template; LockError after `wait` seconds."""
        name = text(f"orch:{template}"[:64])
        deadline = time.monotonic() + wait
        with self._server() as connection:
            # Idle while others build: some servers end idle sessions soon, and the lock would go with this one.
            connection.waiting.append(f"SET SESSION wait_timeout = {_IDLE}")
            while ask(connection, f"SELECT GET_LOCK({name}, 0)")[0][0] != 1:
                if time.monotonic() >= deadline:
                    raise LockError(
                        f"the template of {self._target.database_id} is being built by somebody else",
                        detail=f"waited {wait:g} s",
                        hint="SHOW PROCESSLIST tells who",
                    )
                time.sleep(TRY_EVERY)
            yield

    def is_finished(self, template: str) -> bool:
        """Whether the template is there and whole."""
        with self._server() as connection:
            return self._mark(connection, template, "origin") is not None

    def finish(self, template: str, origin: str) -> None:
        """Say that the template is whole; `origin` is kept with it."""
        with self._server() as connection:
            self._put_mark(connection, template, "origin", origin)

    def origins(self, prefix: str) -> dict[str, str]:
        """Return the origins of the whole templates whose names begin so."""
        names = self.names(prefix)
        with self._server() as connection:
            found = {name: self._mark(connection, name, "origin") for name in names}
        return {name: origin for name, origin in found.items() if origin is not None}

    def copy(self, template: str, name: str, wanted: str = "") -> None:
        """Make a database of the template, called `name`. With `wanted` it is called so instead, and marked as a clone.

        DatabaseMissingError if the template is gone, UsageError if the wanted name is taken. While the wanted database is
        made, there is also a database called `name`. Its name has the process in it. Dropping it drops the unfinished copy too.
        """
        with self._server() as connection:
            if self._mark(connection, template, "origin") is None:
                raise DatabaseMissingError(f"the template {template} is gone")
            try:
                if wanted:
                    self._claim(connection, template, name, wanted)
                else:
                    self._create(connection, template, name)
                _Copying(connection, template, wanted or name).run()
                if wanted:  # nobody is making it any more: it is whole
                    ask(connection, f"DROP DATABASE {quoted(name)}")
            except BaseException:
                with suppress(pymysql.Error, OSError):  # else whoever comes next does it
                    self._drop(connection, name)
                raise

    def is_marked(self, name: str) -> bool:
        """Whether a database with a name of its own was made as a clone; False for one that this login may not read."""
        with self._server() as connection:
            return self._readable_mark(connection, name, "clone") is not None

    def drop(self, name: str) -> None:
        """Drop a clone or a template, even if sessions are connected to it. If there is none of that name, do nothing.

        LockError if a session without a current database there, or a prepared XA transaction, holds a lock of it: the
        server does not tell which.
        """
        try:
            with self._server() as connection:
                ask(connection, f"SET SESSION lock_wait_timeout = {_PATIENCE}, innodb_lock_wait_timeout = {_PATIENCE}")
                self._drop(connection, name)
        except StatementError as error:
            if error.code != _WAITED:
                raise
            raise LockError(
                f"cannot drop the copy {name}: another session or a prepared XA transaction holds a lock of one of its tables",
                detail=f"waited {_PATIENCE} s",
                hint=Hint(
                    "SHOW PROCESSLIST and XA RECOVER list who it can be: end it (KILL, XA ROLLBACK), then: ",
                    Command("drop-clone", name),
                ),
            ) from None

    # ------------------------------------------------------------ what stands behind the verbs

    @contextmanager
    def _server(self) -> Iterator[Any]:
        connection = open_connection(self._target, database=False)
        try:
            with errors.mapped(self._target):
                yield connection
        finally:
            with suppress(pymysql.Error):
                connection.close()

    def _claim(self, connection: Any, template: str, name: str, wanted: str) -> None:
        """Begin a database under a wanted name that nobody has."""
        if ask(connection, f"SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {text(wanted)}"):
            raise UsageError(f"there is a database called '{wanted}' already")
        self._create(connection, template, name)
        self._put_mark(connection, name, "wanted", wanted)
        try:
            self._create(connection, template, wanted)
        except UsageError:  # somebody was quicker: theirs is not ours to drop
            self._put_mark(connection, name, "wanted", "")
            raise
        self._put_mark(connection, wanted, "clone", name)

    def _drop(self, connection: Any, name: str) -> None:
        """Drop a database, and before it the one under a wanted name that it was making."""
        if wanted := self._mark(connection, name, "wanted"):
            query = (
                "SELECT COUNT(*) FROM information_schema.TABLES "
                f"WHERE TABLE_SCHEMA = {text(wanted)} AND TABLE_NAME <> '{MARKS}'"
            )
            # Without a mark it was only created: nothing is in it yet.
            half = self._mark(connection, wanted, "clone") == name or ask(connection, query)[0][0] == 0
            if half:
                self._end(connection, wanted)
        self._end(connection, name)

    def _end(self, connection: Any, name: str) -> None:
        there = f"SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {text(name)}"
        ((closed, count),) = ask(connection, f"SELECT {READ_ONLY}, ({there})")
        if is_on(closed):  # a replica would log DROP DATABASE IF EXISTS as a change of its own, which stops replication
            if count:
                refuse(closed, self._target)
            return
        query = f"SELECT ID FROM information_schema.PROCESSLIST WHERE DB = {text(name)} AND ID <> CONNECTION_ID()"
        for (id,) in ask(connection, query):
            with suppress(pymysql.Error):  # it has gone by itself
                ask(connection, f"KILL {id}")
        ask(connection, f"DROP DATABASE IF EXISTS {quoted(name)}")

    def _create(self, connection: Any, template: str, name: str) -> None:
        """Create an empty database like the template; UsageError if the name is taken."""
        what = f"DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME, {READ_ONLY}"
        query = f"SELECT {what} FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {text(template)}"
        ((charset, collation, closed),) = ask(connection, query)
        refuse(closed, self._target)
        try:
            ask(connection, f"CREATE DATABASE {quoted(name)} CHARACTER SET {charset} COLLATE {collation}")
        except pymysql.Error as error:
            if errors.code_of(error) == _THERE:
                raise UsageError(f"there is a database called '{name}' already") from None
            raise

    def _age(self, connection: Any, database: str) -> str:
        """Return when a template was made, '' for any other database, also one that this login may not read."""
        return self._readable_mark(connection, database, "made") or ""

    def _readable_mark(self, connection: Any, database: str, kind: str) -> str | None:
        try:
            return self._mark(connection, database, kind)
        except pymysql.Error as error:
            if errors.code_of(error) in _NOT_READABLE:
                return None
            raise

    def _mark(self, connection: Any, database: str, kind: str) -> str | None:
        query = f"SELECT said FROM {quoted(database)}.{MARKS} WHERE kind = {text(kind)}"
        try:
            rows = ask(connection, query)
        except pymysql.Error as error:
            if errors.code_of(error) in _NO_MARK:
                return None
            raise
        return str(rows[0][0]) if rows else None

    def _put_mark(self, connection: Any, database: str, kind: str, said: str) -> None:
        table = f"{quoted(database)}.{MARKS}"
        ask(
            connection,
            f"CREATE TABLE IF NOT EXISTS {table} (kind varchar(16) NOT NULL PRIMARY KEY, said longtext NOT NULL) "
            "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
        )
        now = "UTC_TIMESTAMP(6)"
        ask(connection, f"REPLACE INTO {table} VALUES ({text(kind)}, {text(said)}), ('made', {now})")


class _Copying:
    """Copies everything of one database into another, which is empty."""

    def __init__(self, connection: Any, source: str, made: str) -> None:
        self._connection = connection
        self._source = source
        self._made = made

    def run(self) -> None:
        """Copy tables with their rows, then routines, triggers, events and views."""
        connection = self._connection
        ask(connection, f"USE {quoted(self._made)}")
        ask(connection, "SET SESSION foreign_key_checks = 0, SESSION unique_checks = 0, SESSION sql_notes = 0")
        # So SHOW CREATE puts names in backticks, and a row with 0 in an AUTO_INCREMENT column keeps the 0.
        ask(connection, "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO', SESSION sql_quote_show_create = 1")
        if is_mariadb(connection):  # a row may be older than a constraint, or need not hold it
            ask(connection, "SET SESSION check_constraint_checks = 0")
        views = []
        for name, kind in self._ask(_TABLES):
            if name == MARKS:
                continue
            if kind == "VIEW":
                views.append(str(name))
            elif kind == "SEQUENCE":
                self._sequence(str(name))
            else:
                self._table(str(name), with_rows=kind != "MERGE")  # its rows are those of other tables
        for query in (_ROUTINES, _TRIGGERS, _EVENTS):
            for name, kind in self._ask(query):
                self._program(str(name), str(kind))
        self._views(views)

    def _ask(self, query: str, **more: str) -> tuple[tuple[Any, ...], ...]:
        return ask(self._connection, query.format(database=text(self._source), **more))

    def _shown(self, kind: str, name: str) -> tuple[Any, ...]:
        return ask(self._connection, f"SHOW CREATE {kind} {quoted(self._source)}.{quoted(name)}")[0]

    def _table(self, name: str, *, with_rows: bool) -> None:
        ask(self._connection, self._here(str(self._shown("TABLE", name)[1])))  # DEFAULT nextval(`database`.`sequence`)
        columns = ", ".join(quoted(str(one)) for (one,) in self._ask(_COLUMNS, table=text(name)))
        if columns and with_rows:
            source = f"{quoted(self._source)}.{quoted(name)}"
            ask(self._connection, f"INSERT INTO {quoted(name)} ({columns}) SELECT {columns} FROM {source}")

    def _sequence(self, name: str) -> None:
        ask(self._connection, str(self._shown("SEQUENCE", name)[1]))
        source = f"{quoted(self._source)}.{quoted(name)}"
        ((value,),) = ask(self._connection, f"SELECT next_not_cached_value FROM {source}")
        ask(self._connection, f"ALTER SEQUENCE {quoted(name)} RESTART WITH {value}")

    def _program(self, name: str, kind: str) -> None:
        row = self._shown(kind, name)
        mode, definition = (str(row[at]) for at in _SHOWN[kind])
        ((before,),) = ask(self._connection, "SELECT @@SESSION.sql_mode")
        ask(self._connection, f"SET SESSION sql_mode = {text(mode)}")
        try:
            ask(self._connection, self._here(definition))
        finally:
            ask(self._connection, f"SET SESSION sql_mode = {text(before)}")

    def _views(self, names: list[str]) -> None:
        """Create the views, each after those that it is made of: whoever lacks one is tried again later."""
        while names:
            later = []
            for name in names:
                try:
                    ask(self._connection, self._here(str(self._shown("VIEW", name)[1])))
                except pymysql.Error as error:
                    if errors.code_of(error) != 1146:
                        raise
                    later.append(name)
            if len(later) == len(names):
                raise UsageError(f"the view {later[0]} of the template names a table that is not there")
            names = later

    def _here(self, definition: str) -> str:
        """Return a definition for the copy: the template is named in it nowhere else than before a dot."""
        return re.sub(re.escape(quoted(self._source)) + r"(?=\.)", lambda _: quoted(self._made), definition)
