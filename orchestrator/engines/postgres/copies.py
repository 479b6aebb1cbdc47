"""Whole PostgreSQL databases as templates and copies of them: CREATE DATABASE … TEMPLATE."""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import psycopg
from psycopg import sql

from orchestrator.engines.base import Finding
from orchestrator.engines.postgres import errors
from orchestrator.errors import DatabaseMissingError, LockError, StatementError, UsageError
from orchestrator.model import CreateOptions, Script, Target

TRY_EVERY = 0.1  # seconds
_GOING = 2.0  # seconds that an ended session may take to go
LOOK_EVERY = 0.002  # seconds
_CLASS = 1_869_767_528  # "orch": the first half of our advisory keys in the maintenance database
_MARK = "orch clone"
_IN_USE = "55006"  # object_in_use
_TAKEN = {"42P04", "23505"}  # duplicate_database; two creators met inside the catalogue
# What pg_dump knows too: these settings hold lists of names, stored quoted as identifiers; SET takes each as a literal.
_LISTS = {
    "local_preload_libraries",
    "oauth_validator_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
}
_NAME_IN_LIST = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",]+?))\s*(?:,|$)')


class PostgresCopies:
    """The templates and clones of one server, seen from its maintenance database: a template is never connected to."""

    def __init__(
        self,
        lend: Callable[[], AbstractContextManager[psycopg.Connection[Any]]],
        enter: Callable[[str], psycopg.Connection[Any]],
        target: Target,
        options: CreateOptions,
    ) -> None:
        self._lend = lend
        self._enter = enter
        self._target = target
        self._options = options
        self._besides: dict[str, list[tuple[sql.Composable, sql.Composable]]] = {}

    def names(self, prefix: str) -> list[str]:
        """Return the names of the databases that begin so, oldest first."""
        query = (
            "SELECT datname FROM pg_catalog.pg_database WHERE pg_catalog.starts_with(datname::text, %s) ORDER BY oid"
        )
        with self._connection() as connection:
            return [row[0] for row in connection.execute(query.encode(), (prefix,)).fetchall()]

    @contextmanager
    def building(self, template: str, wait: float) -> Iterator[None]:
        """Be the only one who builds or drops this template; LockError after `wait` seconds."""
        key = zlib.crc32(template.encode()) - 2**31
        deadline = time.monotonic() + wait
        with self._lend() as connection:
            while not self._one(connection, "SELECT pg_catalog.pg_try_advisory_lock(%s, %s)", _CLASS, key)[0]:
                if time.monotonic() >= deadline:
                    raise LockError(
                        f"the template of {self._target.database_id} is being built by somebody else",
                        detail=f"waited {wait:g} s",
                        hint="SELECT * FROM pg_stat_activity; tells who",
                    )
                time.sleep(TRY_EVERY)
            try:
                yield
            finally:
                with suppress(psycopg.Error):
                    connection.execute("SELECT pg_catalog.pg_advisory_unlock(%s, %s)", (_CLASS, key))

    def is_finished(self, template: str) -> bool:
        """Whether the template is there, whole and closed to connections."""
        query = "SELECT datallowconn FROM pg_catalog.pg_database WHERE datname = %s"
        with self._connection() as connection:
            row = self._one(connection, query, template)
            finished = row is not None and not row[0]
            if finished:
                self._left_out(connection, template)
        return finished

    def origins(self, prefix: str) -> dict[str, str]:
        """Return the origins of the whole templates whose names begin so; '' where none was kept."""
        query = (
            "SELECT datname, pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database "
            "WHERE pg_catalog.starts_with(datname::text, %s) AND NOT datallowconn"
        )
        with self._connection() as connection:
            rows = connection.execute(query.encode(), (prefix,)).fetchall()
        return {name: origin or "" for name, origin in rows}

    def finish(self, template: str, origin: str) -> None:
        """Close a built template: from now on it is only copied. A comment on it tells its origin."""
        with self._connection() as connection:
            name = sql.Identifier(template)
            connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, sql.Literal(origin)))
            connection.execute(sql.SQL("ALTER DATABASE {} WITH IS_TEMPLATE true ALLOW_CONNECTIONS false").format(name))
            self._besides.pop(template, None)
            self._left_out(connection, template)

    def copy(self, template: str, name: str, wanted: str = "") -> None:
        """Make a database of the template, called `wanted` if that is given.

        DatabaseMissingError if the template is gone, UsageError if the wanted name is taken. The wanted name is given
        last: whatever has it is whole, and marked as a clone.
        """
        self._copy(template, name, wanted, _MARK)

    def makes_members(self) -> bool:
        """Whether the server copies through its log, without two checkpoints for each copy: from 15 on."""
        with self._connection() as connection:
            return connection.info.server_version >= 150_000

    def unlike(self, script: Script) -> list[Finding]:
        """Return where a file asks for the name of its database, which in a copy would be that of the template."""
        from orchestrator.engines.postgres.reach import names_itself

        return names_itself(script)

    def copy_member(self, template: str, name: str, wanted: str) -> bool:
        """Make a database called `wanted` of the template, which is no clone; returns False if that name is taken."""
        try:
            self._copy(template, name, wanted, "")
        except UsageError:
            return False
        return True

    def _copy(self, template: str, name: str, wanted: str, mark: str) -> None:
        # Where nothing is to be done to a member once it is copied, it is whole as soon as there is a database of its name.
        whole = wanted if not mark and self._besides.get(template) == [] else ""
        clauses: list[sql.Composable] = [sql.SQL("TEMPLATE {}").format(sql.Identifier(template))]
        if not mark:
            clauses.append(sql.SQL("STRATEGY wal_log"))
        if self._options.owner:
            clauses.append(sql.SQL("OWNER {}").format(sql.Identifier(self._options.owner)))
        if self._options.connection_limit is not None:
            clauses.append(sql.SQL("CONNECTION LIMIT {}").format(sql.Literal(self._options.connection_limit)))
        made = sql.Identifier(whole or name)
        statement = sql.SQL("CREATE DATABASE {} {}").format(made, sql.SQL(" ").join(clauses))
        with self._connection() as connection:
            try:
                with errors.mapped(connection, self._target):
                    connection.execute(statement)
            except StatementError as error:
                if error.code == "3D000":
                    raise DatabaseMissingError(f"the template {template} is gone") from None
                if whole and error.code in _TAKEN:
                    raise _taken(whole) from None
                raise
            if whole:
                return
            try:
                for before, after in self._left_out(connection, template):
                    connection.execute(before + sql.SQL(" DATABASE ") + made + after)
                if wanted:
                    self._rename(connection, name, wanted, mark)
            except BaseException:
                with suppress(psycopg.Error):  # else whoever comes next does it
                    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(made))
                raise

    def is_marked(self, name: str) -> bool:
        """Whether a database of any name was made as a clone."""
        query = "SELECT pg_catalog.shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database WHERE datname = %s"
        with self._connection() as connection:
            row = self._one(connection, query, name)
        return row is not None and row[0] == _MARK

    def drop(self, name: str) -> None:
        """Drop a clone or a template, whoever is connected to it. None of that name: nothing to do.

        What else keeps a database from being dropped goes first: prepared transactions, which block others too, and
        subscriptions.
        """
        try:
            self._drop(name)
        except StatementError as error:
            if error.code != _IN_USE:
                raise
            with self._enter(name) as inside, errors.mapped(inside, self._target):
                _remove_what_holds(inside)
            self._drop(name)

    # ------------------------------------------------------------ what stands behind the verbs

    @contextmanager
    def _connection(self) -> Iterator[psycopg.Connection[Any]]:
        with self._lend() as connection, errors.mapped(connection, self._target):
            yield connection

    def _drop(self, name: str) -> None:
        with self._connection() as connection:
            row = self._one(connection, "SELECT datistemplate FROM pg_catalog.pg_database WHERE datname = %s", name)
            if row is not None and row[0]:
                connection.execute(sql.SQL("ALTER DATABASE {} WITH IS_TEMPLATE false").format(sql.Identifier(name)))
            self._end_sessions(connection, name)
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _one(self, connection: psycopg.Connection[Any], query: str, *parameters: object) -> Any:
        return connection.execute(query.encode(), parameters).fetchone()

    def _end_sessions(self, connection: psycopg.Connection[Any], name: str) -> None:
        """End who is connected to a database, and see them go: DROP DATABASE itself looks only every 100 ms.

        Whom this may not end, or who does not go, is left to DROP DATABASE … WITH (FORCE), which tells about it.
        """
        there = (
            "FROM pg_catalog.pg_stat_activity WHERE datname = %s AND backend_type IN ('client backend', 'walsender') "
            "AND pid <> pg_catalog.pg_backend_pid()"
        )
        with suppress(psycopg.errors.InsufficientPrivilege):
            count = self._one(
                connection, f"SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) {there}", name
            )
            deadline = time.monotonic() + _GOING
            while count[0] and time.monotonic() < deadline:
                time.sleep(LOOK_EVERY)
                count = self._one(connection, f"SELECT pg_catalog.count(*) {there}", name)

    def _rename(self, connection: psycopg.Connection[Any], name: str, wanted: str, mark: str) -> None:
        old, new = sql.Identifier(name), sql.Identifier(wanted)
        if mark:
            connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(old, sql.Literal(mark)))
        try:
            with errors.mapped(connection, self._target):
                connection.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(old, new))
        except StatementError as error:
            if error.code in _TAKEN:
                raise _taken(wanted) from None
            raise

    def _left_out(
        self, connection: psycopg.Connection[Any], template: str
    ) -> list[tuple[sql.Composable, sql.Composable]]:
        """Return what CREATE DATABASE … TEMPLATE leaves behind, as statements without the name of the database.

        That is settings (ALTER DATABASE … SET, ALTER ROLE … IN DATABASE … SET) and rights on the database itself.
        """
        if template not in self._besides:
            rows = connection.execute(_SETTINGS, (template,)).fetchall()
            statements = [_setting(role, *setting.split("=", 1)) for role, setting in rows]
            rights = connection.execute(_RIGHTS, (template,)).fetchall()
            if rights:  # none: those of every new database
                owner = sql.Identifier(rights[0][3])
                statements.append((sql.SQL("REVOKE ALL ON"), sql.SQL(" FROM PUBLIC, ") + owner))
            for grantee, right, grantable, _ in rights:
                to = sql.Identifier(grantee) if grantee else sql.SQL("PUBLIC")
                more = sql.SQL(" WITH GRANT OPTION" if grantable else "")
                statements.append((sql.SQL("GRANT {} ON").format(sql.SQL(right)), sql.SQL(" TO ") + to + more))
            self._besides[template] = statements
        return self._besides[template]


def _taken(name: str) -> UsageError:
    return UsageError(f"there is a database called '{name}' already")


def _remove_what_holds(connection: psycopg.Connection[Any]) -> None:
    """Roll back the prepared transactions of a database, and remove its subscriptions; what they read from stays as it is."""
    connection.execute("SET default_transaction_read_only = off")
    for (gid,) in connection.execute(_PREPARED).fetchall():
        connection.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid)))
    for (name,) in connection.execute(_SUBSCRIPTIONS).fetchall():
        for before, after in (("ALTER", "DISABLE"), ("ALTER", "SET (slot_name = NONE)"), ("DROP", "")):
            connection.execute(sql.SQL(before + " SUBSCRIPTION {} " + after).format(sql.Identifier(name)))


_PREPARED = b"""SELECT gid FROM pg_catalog.pg_prepared_xacts
    WHERE database = pg_catalog.current_database()"""
_SUBSCRIPTIONS = b"""SELECT s.subname FROM pg_catalog.pg_subscription s
    JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
    WHERE d.datname = pg_catalog.current_database()"""
_SETTINGS = b"""SELECT r.rolname, pg_catalog.unnest(s.setconfig)
    FROM pg_catalog.pg_db_role_setting s
    JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
    LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
    WHERE d.datname = %s"""
_RIGHTS = b"""SELECT r.rolname, a.privilege_type, a.is_grantable, pg_catalog.pg_get_userbyid(d.datdba)
    FROM pg_catalog.pg_database d
    CROSS JOIN LATERAL pg_catalog.aclexplode(d.datacl) a
    LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
    WHERE d.datname = %s"""


def _setting(role: str | None, setting: str, value: str) -> tuple[sql.Composable, sql.Composable]:
    before = sql.SQL("ALTER ROLE {} IN").format(sql.Identifier(role)) if role else sql.SQL("ALTER")
    names = [value]
    if setting in _LISTS:
        found = _NAME_IN_LIST.findall(value)
        names = [plain or quoted.replace('""', '"') for quoted, plain in found] or [""]
    values = sql.SQL(", ").join(map(sql.Literal, names))
    return before, sql.SQL(" SET {} TO {}").format(sql.Identifier(*setting.split(".")), values)
