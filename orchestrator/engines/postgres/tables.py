"""Find the history, the version table and the lock of one database, and read the two tables."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import psycopg

from orchestrator.engines.identity import Identity, document, read_identity, told, written_elsewhere
from orchestrator.engines.postgres import errors, names
from orchestrator.engines.postgres.history import (
    COLUMNS,
    OURS,
    SET_BY_DSN,
    TEXTS,
    complete_history,
    create_history,
    create_pointer,
    create_session,
    identifier,
    literal,
)
from orchestrator.engines.postgres.other_sets import FIND, OtherTable, others, untouched
from orchestrator.engines.postgres.unchanged import KnownRecords, points_condition
from orchestrator.engines.postgres.writable import IN_RECOVERY, READ_ONLY, read_only
from orchestrator.errors import ConflictError, ConnectError
from orchestrator.hints import Blank, Command, Hint
from orchestrator.model import Attempt, History, Origin, ReadOnly, Target, VersionRow, read_attempt

_KINDS = {"v": "it is a view", "m": "it is a materialized view", "f": "it is a foreign table", "S": "it is a sequence"}


class Tables:
    """The history and golang-migrate's version table, as seen over one connection.

    After the first look `schema` is where they are, or are to be; `version table` and `history` are their names in SQL, and
    `server_pid` is the backend that answered.
    """

    def __init__(self, connection: psycopg.Connection[Any], target: Target, *, pristine: bool) -> None:
        self._connection = connection
        self._target = target
        self._pristine = pristine  # no history can be in another schema
        self._version_schema, self._version_name = names.version_table(target)
        self._own_history = self._history_name = names.history_table(target)
        self._has_schema = True  # the one in which the tables are to be
        self.schema: str | None = None
        self.server_pid = 0
        self.server_start = ""  # when the server that answered was started
        self.read_only: ReadOnly | None = None
        self.moved = False  # the history is not in the current schema
        self._has_pointer = False
        self._has_history = False
        self._kinds: dict[
            str, str
        ] = {}  # relkind of each table that is there; with "!" if row level security hides rows
        self._columns: Collection[str] = ()  # of the history; none: not seen yet
        self._looked: Sequence[str] = ()  # its columns at the last look
        self._may_alter = True  # this login can add columns to the history
        self.has_session = False  # the history is known to have the column for the state of a session
        self._seen: Sequence[Any] = ()  # what was read last …
        self._history = History()  # … and what that says
        self._system = "''"  # SQL for the server's system identifier, where this login may read it
        self._stored: Sequence[str] = ()  # identities in the rows that were read last
        self._others: Sequence[OtherTable] | None = None  # tables of other sets; None: not looked for
        self._known: KnownRecords | None = None  # what was read, and written since; None: not read

    @property
    def snapshot(self) -> str:
        """The name of the table in which a schema snapshot is kept, in SQL."""
        schema = self.history.removesuffix(identifier(self._history_name))
        return f"{schema}{identifier(names.snapshot_table(self._history_name))}"

    @property
    def complete(self) -> bool:
        """Whether both are there."""
        return self._has_pointer and self._has_history

    def written(self, attempts: Sequence[Attempt], version_row: VersionRow | None, *, session: bool = False) -> None:
        """Take note that a transaction with `create` and these rows in it is committed, perhaps with `create_session`."""
        self.has_session = self.has_session or session
        if not self.complete:
            self._known = self._known or KnownRecords(History())
        self._may_alter = self._may_alter or not self._has_history
        self._has_pointer = self._has_history = True
        self._columns = COLUMNS if self._may_alter else self._columns
        if self._known is not None:
            self._known.wrote(attempts, version_row)

    def unchanged(self) -> list[tuple[str, str]]:
        """Return conditions that the file just run must have left true, each with the marker of its error."""
        conditions = []
        if self._has_history:
            hidden = f"pg_catalog.row_security_active({self._literal(self.history)})"
            conditions.append((f"NOT {hidden}", errors.marker(errors.RECORDS_HIDDEN, self.history)))
        if self._known is not None and self._has_history:
            condition = self._known.history_condition(self.history)
            conditions.append((condition, errors.marker(errors.HISTORY_CHANGED, self.history)))
        if self._known is not None and self._has_pointer:
            condition = self._known.version_condition(self.version_row)
            conditions.append((condition, errors.marker(errors.VERSION_TABLE_CHANGED, self.version_row)))
        for table in self._others or ():
            name = errors.marker(errors.OTHERS_CHANGED, f"{table.schema}.{table.name}")
            conditions.append((untouched(table, self._literal), name))
        return conditions

    def kept(self, attempts: Sequence[Attempt], version_row: VersionRow | None) -> list[tuple[str, str]]:
        """Return conditions that hold if these rows, which were just written, are there."""
        known = self._known or KnownRecords(History())
        conditions = []
        if condition := known.kept_condition(self.history, attempts):
            conditions.append((condition, errors.marker(errors.NOT_KEPT, self.history)))
        if version_row is not None:
            condition = points_condition(self.version_row, version_row)
            conditions.append((condition, errors.marker(errors.NOT_KEPT, self.version_row)))
        return conditions

    def look_for_other_sets(self) -> None:
        """Learn which tables of other sets are in this database, before a file runs that may change them."""
        if self._others is None:
            # A database that was created just now has none.
            found = [] if self._pristine else json.loads(self.ask(FIND)[0])
            where = self._version_schema or self.schema or ""
            self._others = others(found, {(where, self._version_name), (where, self._history_name)})

    def look(self, *, elsewhere: bool = True) -> None:
        """Learn where history and version table are, or are to be: in the current schema, unless a migration moved that away."""
        self._look_in("pg_catalog.current_schema()::text")
        elsewhere = elsewhere and not self._has_history and not self._set_by_dsn and not self._pristine
        elsewhere = elsewhere and self._version_schema is None
        if elsewhere and (schema := self._home()):
            self._look_in(self._literal(schema))
            self.moved = True

    def read(self, extensions: Sequence[str]) -> History:
        """Return what both say, in one snapshot, and which of these extensions are there."""
        if not (self._has_pointer or self._has_history):
            self._known = None
            return self._read_unrecorded(extensions)
        self._refuse_hidden()
        with errors.mapped(self._connection, self._target) as failing:
            failing.reads = True
            rows = self._connection.execute(self._query(extensions).encode()).fetchall()
        return self._history_of(rows, extensions)

    def _read_unrecorded(self, extensions: Sequence[str]) -> History:
        """Return what a database is that has neither table yet: one that was made before orch knew it has tables."""
        if self._pristine and not extensions:
            return History(read_only=self.read_only)
        row = self.ask(
            "SELECT (SELECT count(*) FROM pg_catalog.pg_class c WHERE relkind IN ('r', 'p') "
            f"AND relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {self._literal(self.schema or '')}) "
            "AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend WHERE objid = c.oid AND deptype = 'e')), "
            "ARRAY(SELECT extname::text FROM pg_catalog.pg_extension)"
        )
        return History(
            unrecorded=row[0], extensions=tuple(name for name in extensions if name in row[1]), read_only=self.read_only
        )

    def read_after(self, query: str, extensions: Sequence[str] = ()) -> tuple[Any, History]:
        """Run a query, and read what both say once it is done, in one round trip; they must be there.

        Return the first value of its first row, too.
        """
        self._refuse_hidden()
        answers: list[list[Any]] = []
        with errors.mapped(self._connection, self._target) as failing:
            failing.reads = True
            # Committed on its own: where transactions are REPEATABLE READ, a snapshot of before would serve for both.
            cursor = self._connection.execute(f"BEGIN; {query}; COMMIT; {self._query(extensions)}".encode())
            while cursor.nextset():
                if cursor.description:
                    answers.append(cursor.fetchall())
        first, rows = answers
        return first[0][0], self._history_of(rows, extensions)

    def create_version_table(self) -> str:
        """Return SQL for before a file: golang-migrate makes its table first, so that files can grant or comment on it."""
        return create_pointer(self.version_row) if self._has_schema and not self._has_pointer else ""

    def create(self, *, after_file: bool = False) -> str:
        """Return SQL that makes what is missing of the two tables; `after_file`: the version table should be there."""
        version_row = "" if self._has_pointer else create_pointer(self.version_row)
        if version_row and after_file:  # the file may have dropped its schema; if not, nobody wants to hear of it
            version_row = f"SET LOCAL client_min_messages = warning; {version_row}"
        if self._has_history:
            return version_row + (complete_history(self.history, self._seen_columns()) if self._may_alter else "")
        return version_row + create_history(
            self.history, set_by_dsn=self._set_by_dsn or self._version_schema is not None
        )

    def columns_to_write(self) -> Collection[str]:
        """Return the columns that the history has once `create` ran."""
        return COLUMNS if self._may_alter or not self._has_history else self._seen_columns()

    def _seen_columns(self) -> Collection[str]:
        self._columns = self._columns or self._read_columns(self.history)
        return self._columns

    def create_session(self) -> str:
        """Return SQL that adds the column for the state of a session, if the history may lack it."""
        return "" if self.has_session else create_session(self.history)

    def lock_key(self) -> int:
        """Return the key of golang-migrate's advisory lock."""
        return names.lock_key(self._target, self.schema or "")

    def ask(self, query: str) -> Any:
        """Return the first row of a query of the bookkeeping."""
        with errors.mapped(self._connection, self._target) as failing:
            failing.reads = True
            return self._connection.execute(query.encode()).fetchone()

    def _query(self, extensions: Sequence[str]) -> str:
        """Return the query for rows of version table and history as JSON, whatever columns they have, and for all extensions."""
        parts = []
        if self._has_pointer:
            parts.append(f"SELECT 'pointer', row_to_json(p)::text FROM {self.version_row} p")
        if self._has_history:
            parts.append(f"SELECT 'revision', row_to_json(h)::text FROM {self._read_from()} h")
            parts.append(f"SELECT 'identity', {self._identity()}::text")
        if extensions:
            parts.append("SELECT 'extension', to_json(extname)::text FROM pg_catalog.pg_extension")
        return " UNION ALL ".join(parts)

    def _read_from(self) -> str:
        """Return what the rows of the history are read from: the table without the texts, which nobody needs every time."""
        if TEXTS not in self._looked:
            return self.history
        columns = ", ".join(identifier(name) for name in self._looked if name != TEXTS)
        return f"(SELECT {columns} FROM {self.history})"

    def kept_texts(self, version: int | None) -> dict[tuple[int, int], str]:
        """Return the texts in the rows of a version, or of all, by version and attempt."""
        if not self._has_history or TEXTS not in self._looked:
            return {}
        chosen = "" if version is None else f" AND version = {version}"
        with errors.mapped(self._connection, self._target) as failing:
            failing.reads = True
            query = f"SELECT version, attempt, {TEXTS} FROM {self.history} WHERE {TEXTS} IS NOT NULL{chosen}"
            return {(row[0], row[1]): row[2] for row in self._connection.execute(query.encode()).fetchall()}

    def _history_of(self, rows: Sequence[tuple[str, str]], extensions: Sequence[str]) -> History:
        """Return what the rows of `_query` say; mostly that is what they said before."""
        seen = (self._has_pointer, self._has_history, *extensions, *rows)
        if seen != self._seen:
            self._seen, self._history = seen, self._parse(rows, extensions)
        self._known = KnownRecords(self._history)
        return self._history

    def _parse(self, rows: Sequence[tuple[str, str]], extensions: Sequence[str]) -> History:
        def found(kind: str) -> list[Any]:
            return [json.loads(text) for what, text in rows if what == kind]

        pointers, records, installed = found("pointer"), found("revision"), found("extension")
        elsewhere, place = self._whose(records, found("identity"))
        versions: list[VersionRow] = []
        if self._has_pointer:
            versions = list(dict.fromkeys(map(self._pointer_of, pointers))) or [self._empty_pointer()]
        return History(
            exists=True,
            store=self._has_history,
            version_row=versions[0] if versions else None,
            attempts=self._attempts_of(records),
            extensions=tuple(name for name in extensions if name in installed),
            emptied=self._has_history and not records and self._holds_other_tables(),
            rows=tuple(sorted(versions, key=lambda row: row.version or 0)) if len(versions) > 1 else (),
            read_only=self.read_only,
            elsewhere=elsewhere,
            place=place,
        )

    def _holds_other_tables(self) -> bool:
        """Whether there is anything but our tables, which a run that was killed before its first record leaves alone."""
        ours = ", ".join(f"pg_catalog.to_regclass({self._literal(name)})" for name in (self.version_row, self.history))
        return bool(
            self.ask(
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace "
                "WHERE relkind IN ('r', 'p') AND nspname !~ '^pg_' AND nspname <> 'information_schema' "
                f"AND c.oid NOT IN (SELECT o FROM pg_catalog.unnest(ARRAY[{ours}]::oid[]) AS o WHERE o IS NOT NULL) "
                "AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend WHERE objid = c.oid AND deptype = 'e'))"
            )[0]
        )

    def _whose(self, records: Sequence[dict[str, Any]], identities: Sequence[dict[str, Any]]) -> tuple[str, str]:
        """Return where the rows were written, if not here, and which place this is."""
        self._stored = tuple(dict.fromkeys(stored for row in records if (stored := row.get("identity"))))
        current = next(filter(None, map(read_identity, identities)), None)
        if current is None:
            return "", ""
        return told(
            written_elsewhere(self._stored, current), current
        ), f"{current.store} {self.version_row}" if current.server else ""

    def _identity(self, took_over: Sequence[Identity] = ()) -> str:
        """Return SQL for a JSON document that says which database this is."""
        more = f", 'took_over', {self._literal(json.dumps(list(map(document, took_over))))}::json" if took_over else ""
        return (
            "(SELECT pg_catalog.json_build_object('server', pg_catalog.array_remove(ARRAY[s], ''), "
            f"'store', s || '/' || oid, 'name', datname{more}) FROM pg_catalog.pg_database, (SELECT {self._system} AS s) AS s "
            "WHERE datname = pg_catalog.current_database())"
        )

    def take_over(self) -> None:
        """Make the rows say nothing of where they were written: whoever copied them knew what they did."""
        if self._has_history and "identity" in self._read_columns(self.history):
            with errors.mapped(self._connection, self._target):
                self._connection.execute(f"UPDATE {self.history} SET identity = ''".encode())

    def identity(self, attempt: Attempt) -> str:
        """Return SQL for what a row of this attempt says of where it was written."""
        if self._target.scratch:
            return "''"
        if attempt.origin is not Origin.MOVED:
            return f"{self._identity()}::text"
        nowhere = Identity((), "", "")  # whatever the rows say so far is of this database from now on
        return f"{self._identity(written_elsewhere(self._stored, nowhere))}::text"

    def _attempts_of(self, records: Sequence[dict[str, Any]]) -> tuple[Attempt, ...]:
        """Return the history's rows. Another tool, or a person, may have made a table of its name."""
        self._columns = self._looked or self._read_columns(self.history) if self._has_history else ()
        self.has_session = "session" in self._columns
        if self._has_history and not set(self._columns) >= OURS:
            raise ConflictError(
                f"{self._target.database_id}: {self.history} is not orch's history table but another tool's",
                detail=f"its columns are {', '.join(self._columns)}",
                hint=f"rename it (ALTER TABLE {self.history} RENAME TO …), "
                "or let orch use another name: history in databases.yaml",
            )
        try:
            return tuple(map(read_attempt, records))
        except (KeyError, TypeError, ValueError, OverflowError):
            raise ConflictError(
                f"{self._target.database_id}: a row of {self.history} is not one that orch wrote",
                hint="who changed it? Put it back as it was",
            ) from None

    def _refuse_hidden(self) -> None:
        """Refuse to read tables whose rows this login may not see, or that are views: no rows would look like a new database."""
        for name, table in (("pointer", self.version_row), ("history", self.history)):
            kind, shown = self._kinds.get(name, "r"), table.replace('"', "")
            if kind.endswith("!"):
                raise errors.hidden(self._target, shown, self._connection.info.user)
            if kind not in ("r", "p"):
                raise ConflictError(
                    f"{self._target.database_id}: {shown} is not a table ({_KINDS.get(kind, kind)})",
                    detail="orch reads and writes its records in tables of its own, never through something else",
                    hint=f"put the table back in its place: whoever made {shown} can tell where it went",
                )

    def _pointer_of(self, row: dict[str, Any]) -> VersionRow:
        version, dirty = row.get("version"), row.get("dirty")
        if type(version) is not int or type(dirty) is not bool:
            raise self._foreign(row.keys())
        return VersionRow(version, dirty)

    def _empty_pointer(self) -> VersionRow:
        """What golang-migrate's table says after the last down. Other tools have tables of that name, too."""
        columns = self._read_columns(self.version_row)
        if not {"version", "dirty"} <= set(columns):
            raise self._foreign(columns)
        return VersionRow(None)

    def _foreign(self, columns: Iterable[str]) -> ConflictError:
        return ConflictError(
            f"{self._target.database_id}: {self._version_name} is not golang-migrate's table but another tool's",
            detail=f"its columns are {', '.join(columns)}; golang-migrate's are version bigint, dirty boolean",
            hint=Hint(
                "give orch one of its own: x-migrations-table=orch_migrations in the DSN; "
                "and if these migrations have run already: ",
                Command("baseline", self._target.database_id, "--version", Blank("VERSION")),
            ),
        )

    def _look_in(self, schema: str) -> None:
        """Look for the two tables in a schema, or in the one that the DSN gives the version table."""
        own, shared = self._literal(identifier(self._own_history)), self._literal(identifier(self._target.history_name))
        where = self._literal(self._version_schema) if self._version_schema else "s"
        there = f"pg_catalog.quote_ident({where}) || '.' || "
        golang = f"pg_catalog.to_regclass({there}'{names.DEFAULT}')"
        row = self.ask(
            f"SELECT pg_catalog.pg_backend_pid(), s, pg_catalog.quote_ident({where}), "
            "pg_catalog.has_function_privilege("
            "pg_catalog.to_regprocedure('pg_catalog.pg_control_system()'), 'EXECUTE'), "
            f"pg_catalog.to_regnamespace(pg_catalog.quote_ident({where})) IS NOT NULL, "
            f"{self._kind(there + self._literal(identifier(self._version_name)))}, {self._kind(there + own)}, "
            f"{self._kind(there + shared)}, {_columns(there + own)}, {_columns(there + shared)}, "
            f"EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = {golang} AND attname = 'dirty'), "
            f"pg_catalog.pg_postmaster_start_time()::text, {IN_RECOVERY}, {READ_ONLY} "
            f"FROM (SELECT {schema} AS s) AS schema"
        )
        if row[1] is None:
            raise ConnectError(
                f"{self._target.database_id} has no current schema",
                detail="the search_path names no schema that exists and that this login may use",
                hint=f"GRANT USAGE ON SCHEMA public TO {identifier(self._connection.info.user)}; "
                "CREATE SCHEMA public; or set search_path in the DSN "
                "(options=-csearch_path=...)",
            )
        self.server_pid, self.schema, quoted, knows_system, self._has_schema, *found, self.server_start = row[:12]
        version_row, own_kind, shared_kind, own_columns, shared_columns, golang = found
        refuses = row[12:]
        self.read_only = read_only(self._connection, self._target, standby=refuses[0]) if any(refuses) else None
        if knows_system:
            self._system = "(SELECT system_identifier::text FROM pg_catalog.pg_control_system())"
        # Earlier releases called every history the same. One that has no other set to belong to stays where it is.
        keeps = not own_kind and shared_kind and version_row and not golang
        self._take_kinds(version_row, shared_kind if keeps else own_kind)
        self._looked = (shared_columns if keeps else own_columns) or ()
        self.version_row = f"{quoted}.{identifier(self._version_name)}"
        self._history_name = self._target.history_name if keeps else self._own_history
        self.history = f"{quoted}.{identifier(self._history_name)}"

    def _take_kinds(self, version_row: str | None, history: str | None) -> None:
        kinds = {"pointer": version_row, "history": history}
        self._kinds = {name: kind.removesuffix("-") for name, kind in kinds.items() if kind is not None}
        self._may_alter = not (history or "").endswith("-")
        self._has_pointer, self._has_history = version_row is not None, history is not None

    def _kind(self, name: str) -> str:
        """Return SQL for what a relation is; "!" after it: row level security hides rows from this login; "-": not its owner."""
        return (
            "(SELECT relkind::text || CASE WHEN pg_catalog.row_security_active(oid) THEN '!' ELSE '' END "
            "|| CASE WHEN pg_catalog.pg_has_role(relowner, 'USAGE') THEN '' ELSE '-' END "
            f"FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass({name}))"
        )

    def _home(self) -> str | None:
        """Return the other schema where the history is, or else the version table, where the current one has none."""
        version_row, history = self._literal(self._version_name), self._literal(self._own_history)
        on_path = "nspname = ANY(pg_catalog.current_schemas(false))"
        ours = "pg_catalog.pg_get_userbyid(relowner) = current_user"
        with errors.mapped(self._connection, self._target) as failing:
            failing.reads = True
            elsewhere = self._connection.execute(
                f"SELECT relname = {history}, nspname, {ours} AND {on_path} FROM pg_catalog.pg_class c "
                "JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace "
                f"WHERE relname IN ({history}, {version_row}) AND relkind IN ('r', 'p') "
                f"AND nspname <> {self._literal(self.schema or '')} AND nspname !~ '^pg_' "
                f"AND CASE WHEN relname = {history} THEN ({ours} OR {on_path}) "
                f"AND pg_catalog.obj_description(c.oid, 'pg_class') IS DISTINCT FROM '{SET_BY_DSN}' "
                f"ELSE {on_path} "
                "AND EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = c.oid AND attname = 'dirty') END".encode()
            ).fetchall()
        found = [table for table in elsewhere if table[0]]
        if not found and not self._has_pointer:
            found = elsewhere
        if not found:
            return None
        if len(found) == 1 and found[0][2]:
            return str(found[0][1])
        raise ConflictError(
            f"{self._target.database_id} has no history in schema {self.schema}, which is the current one now, "
            f"and one in {', '.join(sorted(schema for _, schema, _ in found))}",
            detail="CREATE SCHEMA with the name of the login, and ALTER DATABASE or ROLE … SET search_path, change that schema",
            hint="say in the DSN which it is: options=-csearch_path%3D<schema> (a new one there begins at nothing)",
        )

    def _read_columns(self, table: str) -> list[str]:
        row = self.ask(
            "SELECT ARRAY(SELECT attname::text FROM pg_catalog.pg_attribute WHERE NOT attisdropped AND attnum > 0 "
            f"AND attrelid = pg_catalog.to_regclass({self._literal(table)}))"
        )
        return list(row[0])

    @property
    def _set_by_dsn(self) -> bool:
        return "search_path" in self._connection.info.options.replace("-", "_")

    def _literal(self, value: str) -> str:
        return literal(self._connection, value)


def _columns(name: str) -> str:
    """Return SQL for the names of the columns of a table, NULL where there is none."""
    return (
        "(SELECT pg_catalog.array_agg(attname::text ORDER BY attnum) FROM pg_catalog.pg_attribute "
        f"WHERE attnum > 0 AND NOT attisdropped AND attrelid = pg_catalog.to_regclass({name}))"
    )
