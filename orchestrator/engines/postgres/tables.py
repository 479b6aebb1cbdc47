"""Find the history, the version table and the lock of one database, and read the two tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, cast

import psycopg

from orchestrator.engines.identity import Identity, document, read_identity, told, written_elsewhere
from orchestrator.engines.postgres import errors, names
from orchestrator.engines.postgres.find_tables import Place, ask, current_query, find, place_of, set_by_dsn
from orchestrator.engines.postgres.foreign_tables import attempts_of, empty_version_row, refuse_hidden, version_row_of
from orchestrator.engines.postgres.history import (
    COLUMNS,
    TEXTS,
    complete_history,
    create_history,
    create_pointer,
    create_session,
    identifier,
    literal,
)
from orchestrator.engines.postgres.other_sets import FIND, OtherTable, others, untouched
from orchestrator.engines.postgres.shapes import HISTORY, VERSION_TABLE, Shape, read_shapes, shapes_query
from orchestrator.engines.postgres.unchanged import KnownRecords, points_condition
from orchestrator.model import Attempt, History, Origin, Target, VersionRow


class Usual:
    """The query that read the tables of the last database of a server, as most of them are alike.

    It can be sent together with the look: if it is the right one, that saves a round trip. A query that fails leaves a line
    in the log of the server, so after one that did, no other is sent on trust.
    """

    def __init__(self) -> None:
        self.query: str | None = None
        self.schema = ""

    def learn(self, query: str, schema: str) -> None:
        """Take note of the query of a database that was read, '' if its tables are not in their usual place."""
        if query and self.query != "":
            self.query, self.schema = query, schema


class Tables:
    """The history and golang-migrate's version table, as seen over one connection.

    The first look tells where they are, or are to be. Rows that were read and written since are known, so that it is
    noticed if a file changes them.
    """

    def __init__(
        self, connection: psycopg.Connection[Any], target: Target, usual: Usual | None = None, *, pristine: bool = False
    ) -> None:
        self._connection = connection
        self._usual = usual or Usual()
        self._target = target
        self._pristine = pristine  # no history can be in another schema
        self._version_schema, self._version_name = names.version_table(target)
        self._place: Place | None = None  # as it was at the last look
        self._has_pointer = False
        self._has_history = False
        self._columns: Collection[str] = ()  # of the history; none: not seen yet
        self._may_alter = True  # this login can add columns to the history
        self.has_session = False  # the history is known to have the column for the state of a session
        self._seen: Sequence[Any] = ()  # what was read last …
        self._history = History()  # … and what that says
        self._stored: Sequence[str] = ()  # identities in the rows that were read last
        self._others: Sequence[OtherTable] | None = None  # tables of other sets; None: not looked for
        self._shapes: Mapping[str, Shape] = {}  # of both tables, before a file of this session ran
        self._known: KnownRecords | None = None  # what was read, and written since; None: not read

    @property
    def place(self) -> Place:
        """Where the tables are, or are to be, as the last look found it. Looks for them if nobody has."""
        if self._place is None:
            self.look()
        return cast(Place, self._place)

    @property
    def schema(self) -> str | None:
        """The schema of the tables; None before the first look."""
        return self._place.schema if self._place else None

    @property
    def server_pid(self) -> int:
        """The backend that answered; 0 before the first look."""
        return self._place.server_pid if self._place else 0

    @property
    def server_start(self) -> str:
        """When the server that answered was started; '' before the first look."""
        return self._place.server_start if self._place else ""

    @property
    def moved(self) -> bool:
        """Whether the history is not in the current schema, as far as is known."""
        return self._place.moved if self._place else False

    @property
    def version_row(self) -> str:
        """The name of golang-migrate's version table in SQL."""
        return self.place.version_row

    @property
    def history(self) -> str:
        """The name of the history in SQL."""
        return self.place.history

    @property
    def snapshot(self) -> str:
        """The name of the table in which a schema snapshot is kept, in SQL."""
        schema = self.history.removesuffix(identifier(self.place.history_name))
        return f"{schema}{identifier(names.snapshot_table(self.place.history_name))}"

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

    def shaped(self) -> Iterator[tuple[str, str]]:
        """Yield conditions like those of `unchanged`, which name columns: the tables have them, and still are what they were.

        The version table that was made before the first file may be gone with its schema.
        """
        if shape := self._shapes.get(self.version_row):
            gone = "" if self._has_pointer else f"pg_catalog.to_regclass({self._literal(self.version_row)}) IS NULL OR "
            condition = gone + shape.condition(self.version_row, self._literal)
            yield condition, errors.marker(errors.RESHAPED, self.version_row)
        if self._has_history and (shape := self._shapes.get(self.history)):
            known = self._seen_columns()
            shape = shape._replace(columns={name: kind for name, kind in shape.columns.items() if name in known})
            yield shape.condition(self.history, self._literal), errors.marker(errors.RESHAPED, self.history)

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
            ours = {self.version_row: VERSION_TABLE, self.history: HISTORY}
            found, shapes = (
                ("[]", "[]") if self._pristine else self.ask(f"SELECT ({FIND}), {shapes_query(ours, self._literal)}")
            )
            self._shapes = read_shapes(shapes, ours)
            where = self._version_schema or self.schema or ""
            self._others = others(json.loads(found), {(where, self._version_name), (where, self.place.history_name)})

    def look(self, *, elsewhere: bool = True) -> None:
        """Learn where history and version table are, or are to be: in the current schema, unless a migration moved that away."""
        self._take(find(self._connection, self._target, elsewhere=elsewhere and not self._pristine))

    def look_and_read(
        self, extensions: Sequence[str] = (), holder: Callable[[int], str] | None = None
    ) -> tuple[Any, History] | None:
        """Do what `look` and `read` do, in one round trip; with `holder`, the query about a lock, also what that tells.

        The query is that of the last database of this server. Where it turns out not to be the one for this database,
        return None: look, and then read.
        """
        query = self._usual.query
        if not query or self._pristine:
            return None
        key = names.lock_key(self._target, self._usual.schema)
        between = f"BEGIN; {holder(key)}; COMMIT; " if holder else ""
        answers: list[list[Any]] = []
        try:
            cursor = self._connection.execute(
                f"{current_query(self._connection, self._target)}; {between}{query}".encode()
            )
            answers.append(cursor.fetchall())
            while cursor.nextset():
                if cursor.description:
                    answers.append(cursor.fetchall())
        except psycopg.Error:
            self._usual.query = ""  # the tables are not everywhere the same: ask no other database of this server so
            return None
        self._take(place_of(self._connection, self._target, answers[0][0]))
        if not self.complete or self._query(extensions) != query or self.lock_key() != key:
            return None
        refuse_hidden(self.place, self._target, self._connection.info.user)
        return answers[1][0][0] if holder else None, self._history_of(answers[-1], extensions)

    def _take(self, place: Place) -> None:
        self._place = place
        self._has_pointer, self._has_history = place.version_kind is not None, place.history_kind is not None
        self._may_alter = place.may_alter

    def read(self, extensions: Sequence[str]) -> History:
        """Return what both say, in one snapshot, and which of these extensions are there."""
        if not (self._has_pointer or self._has_history):
            self._known = None
            return self._read_unrecorded(extensions)
        refuse_hidden(self.place, self._target, self._connection.info.user)
        with errors.mapped(self._connection, self._target) as failing:
            failing.reads = True
            query = self._query(extensions)
            rows = self._connection.execute(query.encode()).fetchall()
        self._usual.learn(query if self.complete and not self.moved else "", self.schema or "")
        return self._history_of(rows, extensions)

    def _read_unrecorded(self, extensions: Sequence[str]) -> History:
        """Return what a database is that has neither table yet: one that was made before orch knew it has tables."""
        if self._pristine and not extensions:
            return History(read_only=self.place.read_only)
        row = self.ask(
            "SELECT (SELECT count(*) FROM pg_catalog.pg_class c WHERE relkind IN ('r', 'p') "
            f"AND relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {self._literal(self.schema or '')}) "
            "AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend WHERE objid = c.oid AND deptype = 'e')), "
            "ARRAY(SELECT extname::text FROM pg_catalog.pg_extension)"
        )
        return History(
            unrecorded=row[0],
            extensions=tuple(name for name in extensions if name in row[1]),
            read_only=self.place.read_only,
        )

    def read_after(self, query: str, extensions: Sequence[str] = ()) -> tuple[Any, History]:
        """Run a query, and read what both say once it is done, in one round trip; they must be there.

        Return the first value of its first row, too.
        """
        refuse_hidden(self.place, self._target, self._connection.info.user)
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
        return create_pointer(self.version_row) if self.place.has_schema and not self._has_pointer else ""

    def create(self, *, after_file: bool = False) -> str:
        """Return SQL that makes what is missing of the two tables; `after_file`: the version table should be there."""
        version_row = "" if self._has_pointer else create_pointer(self.version_row)
        if version_row and after_file:  # the file may have dropped its schema; if not, nobody wants to hear of it
            version_row = f"SET LOCAL client_min_messages = warning; {version_row}"
        if self._has_history:
            return version_row + (complete_history(self.history, self._seen_columns()) if self._may_alter else "")
        return version_row + create_history(
            self.history, set_by_dsn=set_by_dsn(self._connection) or self._version_schema is not None
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
        """Return the first row of a query about our tables."""
        return ask(self._connection, self._target, query)

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
        if TEXTS not in self.place.columns:
            return self.history
        columns = ", ".join(identifier(name) for name in self.place.columns if name != TEXTS)
        return f"(SELECT {columns} FROM {self.history})"

    def kept_texts(self, version: int | None) -> dict[tuple[int, int], str]:
        """Return the texts in the rows of a version, or of all, by version and attempt."""
        if not self._has_history or TEXTS not in self.place.columns:
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
        self._columns = self.place.columns or self._read_columns(self.history) if self._has_history else ()
        self.has_session = "session" in self._columns
        elsewhere, place = self._whose(records, found("identity"))
        versions: list[VersionRow] = []
        if self._has_pointer:
            versions = list(dict.fromkeys(version_row_of(self._target, row) for row in pointers))
            versions = versions or [empty_version_row(self._target, self._read_columns(self.version_row))]
        return History(
            exists=True,
            store=self._has_history,
            version_row=versions[0] if versions else None,
            attempts=attempts_of(self._target, self.history, self._columns if self._has_history else None, records),
            extensions=tuple(name for name in extensions if name in installed),
            emptied=self._has_history and not records and self._holds_other_tables(),
            rows=tuple(sorted(versions, key=lambda row: row.version or 0)) if len(versions) > 1 else (),
            read_only=self.place.read_only,
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
        place = f"{current.store} {self.version_row}" if current.server else ""
        return told(written_elsewhere(self._stored, current), current), place

    def _identity(self, took_over: Sequence[Identity] = ()) -> str:
        """Return SQL for a JSON document that says which database this is."""
        more = f", 'took_over', {self._literal(json.dumps(list(map(document, took_over))))}::json" if took_over else ""
        return (
            "(SELECT pg_catalog.json_build_object('server', pg_catalog.array_remove(ARRAY[s], ''), "
            f"'store', s || '/' || oid, 'name', datname{more}) "
            f"FROM pg_catalog.pg_database, (SELECT {self.place.system} AS s) AS s "
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

    def _read_columns(self, table: str) -> list[str]:
        row = self.ask(
            "SELECT ARRAY(SELECT attname::text FROM pg_catalog.pg_attribute WHERE NOT attisdropped AND attnum > 0 "
            f"AND attrelid = pg_catalog.to_regclass({self._literal(table)}))"
        )
        return list(row[0])

    def _literal(self, value: str) -> str:
        return literal(self._connection, value)
