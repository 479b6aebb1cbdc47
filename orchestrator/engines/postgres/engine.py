"""PostgreSQL: parsing, connecting, creating databases. psycopg is imported when there is more to do than to look."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from orchestrator.engines.base import Confined, Copies
from orchestrator.engines.postgres import errors
from orchestrator.engines.postgres.find_tables import Usual
from orchestrator.engines.postgres.names import is_quoted
from orchestrator.engines.postgres.refusals import MANY_CONNECTIONS, NO_CONNECT, WRONG_DATABASE
from orchestrator.engines.postgres.scram import ScramKeys
from orchestrator.engines.postgres.slots import Slots
from orchestrator.engines.postgres.writable import DATABASES, read_only
from orchestrator.errors import ConnectError, DatabaseMissingError, InvalidError, OrchError
from orchestrator.hints import Command, Hint
from orchestrator.model import CreateOptions, File, History, LockHolder, ReadOnly, Script, Target

if TYPE_CHECKING:
    import psycopg

    from orchestrator.engines.postgres.opener import Opener
    from orchestrator.engines.postgres.session import PostgresSession

KEEP_SECONDS = 10.0  # how long a connection may wait for its next use


class Postgres:
    """The engine for PostgreSQL 13 and later."""

    name = "postgres"

    def __init__(self, actor: str, run_id: str) -> None:
        self._application = f"orch/{run_id} {actor}"[:63]
        self._mutex = threading.Lock()
        # server → when it was asked for its databases, these, and why none can be created
        self._listed: dict[str, tuple[float, frozenset[str], ReadOnly | None]] = {}
        self._met: dict[tuple[str, str], float] = {}  # server, database → when it was connected to, or made
        self._idle: dict[tuple[str, str | None], list[psycopg.Connection[Any]]] = {}
        self._kept: dict[str, PostgresSession] = {}
        self._pristine: set[str] = set()  # DSNs of databases that were made here, of nothing, and not connected to yet
        self._copied: set[str] = set()  # the same of those that were made of a template
        self._room: dict[str, int] = {}
        self._scram = ScramKeys()
        self._slots = Slots()
        self._usual: dict[str, Usual] = {}

    def parse(self, file: File, text: str, *, piecewise: bool = False) -> Script:
        """Return the statements of an SQL file."""
        from orchestrator.engines.postgres.sql import parse_sql  # when nothing is to do, no file is parsed

        return parse_sql(file, text, piecewise=piecewise)

    def glance(
        self, target: Target, extensions: Sequence[str] = (), *, whose_lock: bool = False
    ) -> tuple[History, LockHolder | None] | None:
        """Read what a session reads, over libpq alone: psycopg is not imported. None: only a session can tell."""
        if ("psycopg" in sys.modules and self.keeps(target)) or self._is_missing(target):
            return None
        from orchestrator.engines.postgres.glance import glance

        usual = self._usual.setdefault(target.server_key, Usual())
        glanced = glance(target, extensions, usual, self._application, self._slots, self._scram, whose_lock=whose_lock)
        if glanced is not None:
            self._met[target.server_key, target.database] = time.monotonic()
        return glanced

    def glance_names(self, target: Target, prefix: str) -> list[str] | None:
        """Return the names of databases as `PostgresCopies.names` does, over libpq alone. None: only that can tell."""
        if "psycopg" in sys.modules or self._is_missing(target):
            return None
        from orchestrator.engines.postgres.glance import database_names

        return database_names(target, prefix, self._application, self._slots, self._scram)

    def keeps(self, target: Target) -> bool:
        """Whether there is room for one more connection that waits for its next use; unknown as long as none was kept."""
        server = target.server_key
        return not self._slots.are_few(server) and self._waiting(server) < self._room.get(server, 1)

    @contextmanager
    def connect(self, target: Target, until: float | None = None) -> Iterator[PostgresSession]:
        """Open a session on the database."""
        from orchestrator.engines.postgres.session import PostgresSession

        if self._is_missing(target):
            raise self._missing(target)  # one answer of the server serves for all its databases
        with self._mutex:
            session = self._kept.pop(target.url.id, None)
        if session is not None and session.target != target:  # of other parameters
            session.connection.close()
            session = None
        if session is None:
            try:
                connection = self._opener.open(target, until)
            except ConnectError as error:
                if not _may_be_missing(error):
                    raise
                try:
                    lacking = self._lacks(target)
                except ConnectError as refused:  # by the database from which others are created
                    said_more = error.code == WRONG_DATABASE and refused.code not in (WRONG_DATABASE, NO_CONNECT)
                    raise (refused if said_more else error) from None
                if lacking is None:
                    raise
                if lacking:
                    raise self._missing(target) from None
                # It is there, perhaps only since a moment ago: what a killed run, or another one, was creating.
                connection = self._opener.open(target)
            self._met[target.server_key, target.database] = time.monotonic()
            usual = self._usual.setdefault(target.server_key, Usual())
            session = PostgresSession(connection, target, usual, pristine=target.url.id in self._pristine)
            self._pristine.discard(target.url.id)
            if target.url.id in self._copied:
                session.take_over()
                self._copied.discard(target.url.id)
        session.kept = False
        try:
            yield session
        finally:
            with suppress(Exception):  # whatever broke, nothing may stay open
                if not (session.kept and self._keep(session)):
                    session.connection.close()
            self._slots.closed()

    def confine(self, script: Script, database: str, scratch: str) -> Confined:  # noqa: ARG002 - none is exchanged
        """Return the file as it is, and what in it reaches beyond its database."""
        from orchestrator.engines.postgres.reach import confine

        return confine(script)

    def check(self, target: Target) -> None:
        """Look at the name of the version table, as golang-migrate does. libpq refuses what it does not know."""
        table = target.parameters.get("x-migrations-table", "")
        if is_quoted(target) and table and not re.fullmatch(r'"[^"]+"(\."[^"]+")?', table):
            raise InvalidError(
                f"{target.database_id}: with x-migrations-table-quoted, x-migrations-table must be quoted",
                hint='write it as an SQL name, %22app%22.%22versions%22 (that is "app"."versions"), '
                "or leave out x-migrations-table-quoted",
            )

    def create(self, target: Target, options: CreateOptions) -> bool:
        """CREATE DATABASE, from template0 unless told: it is the one that nobody can sit in."""
        from psycopg import sql

        if options.template:
            self._let_go()  # nobody may be connected to a template, we neither
        with self._maintenance(target) as connection:
            clauses = [sql.SQL("TEMPLATE {}").format(sql.Identifier(options.template or "template0"))]
            if options.owner:
                clauses.append(sql.SQL("OWNER {}").format(sql.Identifier(options.owner)))
            if options.encoding:
                clauses.append(sql.SQL("ENCODING {}").format(sql.Literal(options.encoding)))
            if options.locale:
                clauses.append(sql.SQL("LOCALE {}").format(sql.Literal(options.locale)))
            if options.connection_limit is not None:
                clauses.append(sql.SQL("CONNECTION LIMIT {}").format(sql.Literal(options.connection_limit)))
            statement = sql.SQL("CREATE DATABASE {} {}").format(
                sql.Identifier(target.database), sql.SQL(" ").join(clauses)
            )
            created = True
            try:
                with errors.mapped(connection, target):
                    connection.execute(statement)
            except OrchError as error:
                # 42P04: duplicate_database; 23505: two creators met inside the catalogue.
                if getattr(error, "code", "") not in ("42P04", "23505"):
                    hint = error.hint or "correct what stands under create: owner, encoding, locale, template"
                    raise error.completed(hint=hint) from error
                created = False
        with self._mutex:
            if created:
                (self._copied if options.template else self._pristine).add(target.url.id)
            self._met[target.server_key, target.database] = time.monotonic()
        return created

    def copies(self, target: Target, options: CreateOptions) -> Copies:
        """Return the verbs for templates and clones."""
        from orchestrator.engines.postgres.copies import PostgresCopies

        enter = partial(self._enter, target)
        return PostgresCopies(lambda: self._maintenance(target), enter, target, options)

    def close(self) -> None:
        """Close the connections to maintenance databases, and those kept."""
        self._let_go()

    def _enter(self, target: Target, name: str) -> psycopg.Connection[Any]:
        """Connect to another database of a target's server."""
        return self._opener.open(target, dbname=name)

    @cached_property
    def _opener(self) -> Opener:
        from orchestrator.engines.postgres.opener import Opener

        return Opener(self._application, self._slots, self._scram, self._let_go)

    def _keep(self, session: PostgresSession) -> bool:
        """Keep a session for the next one on its database. Many may wait so, but never for long."""
        server = session.target.server_key
        if self._slots.are_few(server):
            return False
        if server not in self._room:
            self._room[server] = session.connection.execute(_ROOM).fetchall()[0][0]
        with self._mutex:
            if session.target.url.id in self._kept or self._waiting(server) >= self._room[server]:
                return False
            if not self._kept:
                timer = threading.Timer(KEEP_SECONDS, self._expire)
                timer.daemon = True
                timer.start()
            self._kept[session.target.url.id] = session
        return True

    def _waiting(self, server: str) -> int:
        return sum(kept.target.server_key == server for kept in tuple(self._kept.values()))

    def _expire(self) -> None:
        """Close connections that nobody used in time, and keep no more on their servers: the run is too long for that."""
        with self._mutex:
            self._room |= dict.fromkeys((kept.target.server_key for kept in self._kept.values()), 0)
        self._let_go()

    def _let_go(self) -> None:
        """Close all connections that wait for their next use."""
        with self._mutex:
            kept, self._kept = self._kept, {}
            waiting = [session.connection for session in kept.values()]
            for idle in self._idle.values():
                waiting += idle
                idle.clear()
        for connection in waiting:
            connection.close()
        self._slots.closed()

    @contextmanager
    def _maintenance(self, target: Target) -> Iterator[psycopg.Connection[Any]]:
        """Lend a connection from which databases can be created; they are kept, one for each that works at a time."""
        with self._mutex:
            idle = self._idle.setdefault((target.server_key, target.maintenance_database), [])
            connection = idle.pop() if idle else None
        if connection is None:
            connection = self._open_maintenance(target)
        try:
            yield connection
        finally:
            if connection.closed or self._slots.are_few(target.server_key):
                connection.close()
                self._slots.closed()
            else:
                with self._mutex:
                    idle.append(connection)

    def _open_maintenance(self, target: Target) -> psycopg.Connection[Any]:
        names = [target.maintenance_database] if target.maintenance_database else ["postgres", "template1"]
        for name in names[:-1]:
            try:
                return self._opener.open(target, dbname=name)
            except ConnectError as error:
                if error.code == MANY_CONNECTIONS:  # the same for every database
                    raise
        return self._opener.open(target, dbname=names[-1])

    def _is_missing(self, target: Target) -> bool | None:
        """Whether the server had no such database when it was asked, and nobody met one since; None: it was not asked."""
        if (listed := self._listed.get(target.server_key)) is None:
            return None
        asked, names, _ = listed
        return target.database not in names and self._met.get((target.server_key, target.database), 0.0) < asked

    def _missing(self, target: Target) -> DatabaseMissingError:
        return DatabaseMissingError(
            f"database '{target.database}' does not exist on {target.endpoint}",
            hint=Hint(Command("apply"), " creates it"),
            read_only=self._listed[target.server_key][2],
        )

    def _lacks(self, target: Target) -> bool | None:
        """Whether the server has no such database; None or ConnectError if it cannot be asked."""
        if (missing := self._is_missing(target)) is not None:
            return missing
        import psycopg

        asked = time.monotonic()
        try:
            with self._maintenance(target) as connection:
                rows = connection.execute(DATABASES.encode()).fetchall()
                standby, closed = rows[0][1:]
                why = read_only(connection, target, standby=standby) if standby or closed else None
        except ConnectError:
            raise
        except (OrchError, psycopg.Error):
            return None
        self._listed[target.server_key] = asked, frozenset(row[0] for row in rows), why
        return self._is_missing(target)


# How many connections may be kept: one of four that this login could still open; the others are for applications.
_ROOM = """SELECT greatest(0, least(
        pg_catalog.current_setting('max_connections')::int
            - pg_catalog.current_setting('superuser_reserved_connections')::int
            - (SELECT pg_catalog.sum(numbackends) FROM pg_catalog.pg_stat_database),
        (SELECT CASE WHEN rolconnlimit >= 0 THEN rolconnlimit - 8 END
            FROM pg_catalog.pg_roles WHERE rolname = current_user)
    ) / 4)::int"""


def _may_be_missing(error: ConnectError) -> bool:
    """Whether the server answered, and what it refused may be the name of the database. (A pooler says 08…, and waits.)"""
    return bool(error.code) and error.code != "28P01" and (not error.transient or error.code.startswith("08"))
