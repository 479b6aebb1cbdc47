"""Find the history, the version table and the lock of one database, and read the two tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from orchestrator.engines.identity import stored_identities, took_over_document, whose
from orchestrator.engines.postgres import errors, names
from orchestrator.engines.postgres.find_tables import (
    Place,
    TablesRead,
    Usual,
    answers_of,
    ask,
    ask_all,
    current_query,
    find,
    may_alter,
    place_of,
    set_by_dsn,
)
from orchestrator.engines.postgres.foreign_tables import attempts_of, empty_version_row, refuse_hidden, version_row_of
from orchestrator.engines.postgres.history import (
    COLUMNS,
    TEXTS,
    complete_history,
    create_history,
    create_session,
    create_version_table_sql,
    identifier,
    identity_of,
    identity_query,
    identity_sql,
    literal,
)
from orchestrator.engines.postgres.unchanged import KnownRecords
from orchestrator.model import Attempt, History, Origin, Target, VersionRow

if TYPE_CHECKING:
    from orchestrator.engines.postgres.libpq import AnyConnection


class Tables:
    """The history and golang-migrate's version table, as seen over one connection.

    The first look tells where they are, or are to be. Rows that were read and written since are known, so that it is
    noticed if a file changes them.
    """

    def __init__(
        self, connection: AnyConnection, target: Target, usual: Usual | None = None, *, pristine: bool = False
    ) -> None:
        self._connection = connection
        self._usual = usual or Usual()
        self._target = target
        self.pristine = pristine  # no history can be in another schema
        self.version_schema, self._version_name = names.version_table(target)
        self._place: Place | None = None  # as it was at the last look
        self.has_version_table = False
        self.has_history = False
        self.columns: Collection[str] = ()  # of the history
        self._may_alter = True  # this login can add columns to the history
        self.has_session = False  # the history is known to have the column for the state of a session
        self._seen: Sequence[Any] = ()  # what was read last …
        self._history = History()  # … and what that says
        self._stored: Sequence[str] = ()  # identities in the rows that were read last
        self._identity: dict[str, Any] | None = None  # of this database, as it was read last
        self.known: KnownRecords | None = None  # what was read, and written since; None: not read

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
    def version_table(self) -> str:
        """The name of golang-migrate's version table in SQL."""
        return self.place.version_table

    @property
    def history(self) -> str:
        """The name of the history in SQL."""
        return self.place.history

    @property
    def names(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """Schema and name of version table and history, as they are in the catalogue."""
        where = self.version_schema or self.schema or ""
        return (where, self._version_name), (where, self.place.history_name)

    @property
    def complete(self) -> bool:
        """Whether both are there."""
        return self.has_version_table and self.has_history

    def written(self, attempts: Sequence[Attempt], version_row: VersionRow | None, *, session: bool = False) -> None:
        """Take note that a transaction with `create` and these rows in it is committed, perhaps with `create_session`."""
        self.has_session = self.has_session or session
        if not self.complete:
            self.known = self.known or KnownRecords(History())
        self._may_alter = self._may_alter or not self.has_history
        self.pristine = False
        self.has_version_table = self.has_history = True
        self.columns = COLUMNS if self._may_alter else self.columns
        if self.known is not None:
            self.known.wrote(attempts, version_row)

    def look(self, *, elsewhere: bool = True) -> None:
        """Learn where history and version table are, or are to be: in the current schema, unless a migration moved that away."""
        self._take(find(self._connection, self._target, elsewhere=elsewhere and not self.pristine))

    @property
    def usual_key(self) -> int | None:
        """The key of the lock, if the tables are where those of this server usually are; None if that is not known."""
        return names.lock_key(self._target, known.schema) if (known := self._usual.known) else None

    def look_and_read(
        self,
        extensions: Sequence[str] = (),
        about_lock: Callable[[int], str] | None = None,
        also: str = "",
    ) -> TablesRead | None:
        """Do what `look` and `read` do, in one round trip.

        The query is that of the last database of this server. Where it turns out not to be the one for this database,
        return None: look, and then read. `about_lock` returns a query about a lock, which comes first; `also` comes last.
        """
        known = self._usual.known
        if known is None or self.pristine:
            return None
        key = names.lock_key(self._target, known.schema)
        before = f"BEGIN; {about_lock(key)}; COMMIT; " if about_lock else ""
        look = f"{current_query(self._connection, self._target)}; SELECT * FROM {known.history} LIMIT 0"
        message = f"{before}{look}; {known.query}{also and f'; {also}'}"
        try:
            answers = list(answers_of(self._connection.execute(message.encode()), 2 if before else 1))
        except Exception as error:
            import psycopg

            if not isinstance(error, psycopg.Error):
                raise
            if isinstance(self._connection, psycopg.Connection):
                with suppress(psycopg.Error):
                    self._connection.rollback()
            self._usual.give_up()
            return None
        first = answers.pop(0) if about_lock else ()
        looked, columns, rows, *last = answers
        place = place_of(self._connection, self._target, looked[0])
        self._take(place, columns if place.history == known.history else ())
        if not self.complete or self._query(extensions) != known.query or self.lock_key() != key:
            self._place = None  # they may be in another schema, where only `look` looks
            return None
        refuse_hidden(self.place, self._target, self._connection.info.user)
        return TablesRead(first[0][0] if first else None, self._history_of(rows, extensions), last[0] if last else ())

    def look_after(self, query: str) -> Any:
        """Run a query, and do what `look` does, in one round trip; return the first value of the query, None if there is none."""
        message = f"BEGIN; {query}; COMMIT; {current_query(self._connection, self._target)}"
        with errors.mapped(self._connection, self._target) as failing:
            failing.reads = True
            first, looked = answers_of(self._connection.execute(message.encode()))
        self._take(place_of(self._connection, self._target, looked[0]))
        return first[0][0] if first else None

    def _take(self, place: Place, columns: Sequence[str] = ()) -> None:
        """Take note of what a look found, and of the columns of the history; without these, ask for them."""
        self.has_version_table, self.has_history = place.version_kind is not None, place.history_kind is not None
        if self.has_history:
            place = place._replace(columns=columns or self._read_columns(place.history))
            if not COLUMNS.keys() <= set(place.columns):
                place = place._replace(may_alter=may_alter(self._connection, self._target, place))
        self._place, self._may_alter, self.columns = place, place.may_alter, place.columns
        self.has_session = "session" in place.columns

    def read(self, extensions: Sequence[str]) -> History:
        """Return what both say, in one snapshot, and which of these extensions are there."""
        if not (self.has_version_table or self.has_history):
            self.known = None
            return self._read_unrecorded(extensions)
        refuse_hidden(self.place, self._target, self._connection.info.user)
        query = self._query(extensions)
        rows = self.ask_all(query)
        self._usual.learn(query if self.complete and not self.moved else "", self.place)
        return self._history_of(rows, extensions)

    def _read_unrecorded(self, extensions: Sequence[str]) -> History:
        """Return what a database is that has neither table yet: one that was made before orch knew it has tables."""
        if self.pristine and not extensions:
            return History(read_only=self.place.read_only)
        from orchestrator.engines.postgres.other_tables import unrecorded_query

        row = self.ask(unrecorded_query(self._literal(self.schema or "")))
        return History(
            unrecorded=row[0],
            extensions=tuple(name for name in extensions if name in row[1]),
            read_only=self.place.read_only,
        )

    def read_after(self, query: str, extensions: Sequence[str] = (), also: str = "") -> TablesRead:
        """Run a query, read both tables once it is done, and run another query, in one round trip."""
        refuse_hidden(self.place, self._target, self._connection.info.user)
        with errors.mapped(self._connection, self._target) as failing:
            failing.reads = True
            # Committed on its own: where transactions are REPEATABLE READ, a snapshot of before would serve for both.
            message = f"BEGIN; {query}; COMMIT; {self._query(extensions)}{also and f'; {also}'}"
            first, rows, *last = answers_of(self._connection.execute(message.encode()))
        return TablesRead(first[0][0], self._history_of(rows, extensions), last[0] if last else ())

    def create_version_table(self) -> str:
        """Return SQL for before a file: golang-migrate makes its table first, so that files can grant or comment on it."""
        missing = self.place.has_schema and not self.has_version_table
        return create_version_table_sql(self.version_table) if missing else ""

    def create(self, *, after_file: bool = False) -> str:
        """Return SQL that makes what is missing of the two tables; `after_file`: the version table should be there."""
        missing = "" if self.has_version_table else create_version_table_sql(self.version_table)
        if missing and after_file:  # the file may have dropped its schema; if not, nobody wants to hear of it
            missing = f"SET LOCAL client_min_messages = warning; {missing}"
        if self.has_history:
            return missing + (complete_history(self.history, self.columns) if self._may_alter else "")
        by_dsn = set_by_dsn(self._connection) or self.version_schema is not None
        return missing + create_history(self.history, set_by_dsn=by_dsn)

    def columns_to_write(self) -> Collection[str]:
        """Return the columns that the history has once `create` ran."""
        return COLUMNS if self._may_alter or not self.has_history else self.columns

    def create_session(self) -> str:
        """Return SQL that adds the column for the state of a session, if the history may lack it."""
        return "" if self.has_session else create_session(self.history)

    def lock_key(self) -> int:
        """Return the key of golang-migrate's advisory lock."""
        return names.lock_key(self._target, self.schema or "")

    def ask(self, query: str) -> Any:
        """Return the first row of a query about our tables."""
        return ask(self._connection, self._target, query)

    def ask_all(self, query: str) -> list[Any]:
        """Return all rows of a query about our tables."""
        return ask_all(self._connection, self._target, query)

    def _query(self, extensions: Sequence[str]) -> str:
        """Return the query for rows of version table and history as JSON, whatever columns they have, and for all extensions."""
        parts = []
        if self.has_version_table:
            parts.append(f"SELECT 'version', row_to_json(v)::text FROM {self.version_table} v")
        if self.has_history:
            parts.append(f"SELECT 'attempt', row_to_json(h)::text FROM {self._read_from()} h")
            parts.append(identity_query(self.place.system))
        if extensions:
            parts.append("SELECT 'extension', to_json(extname)::text FROM pg_catalog.pg_extension")
        return " UNION ALL ".join(parts)

    def _read_from(self) -> str:
        """Return what the rows of the history are read from: the table without the texts, which nobody needs every time."""
        columns = ", ".join(identifier(name) for name in self.place.columns if name != TEXTS)
        return f"(SELECT {columns} FROM {self.history})" if TEXTS in self.place.columns else self.history

    def _history_of(self, rows: Sequence[tuple[str, str]], extensions: Sequence[str]) -> History:
        """Return what the rows of `_query` say; mostly that is what they said before."""
        seen = (self.has_version_table, self.has_history, *extensions, *rows)
        if seen != self._seen:
            self._seen, self._history = seen, self._parse(rows, extensions)
        self.known = KnownRecords(self._history)
        return self._history

    def _parse(self, rows: Sequence[tuple[str, str]], extensions: Sequence[str]) -> History:
        def found(kind: str) -> list[Any]:
            return [json.loads(text) for what, text in rows if what == kind]

        versions_found, records, installed = found("version"), found("attempt"), found("extension")
        self._stored = stored_identities(records)
        self._identity = identity_of(rows)
        elsewhere, place = whose(self._stored, [self._identity] if self._identity else [], self.version_table)
        versions: list[VersionRow] = []
        if self.has_version_table:
            versions = list(dict.fromkeys(version_row_of(self._target, row) for row in versions_found))
            versions = versions or [empty_version_row(self._target, self._read_columns(self.version_table))]
        return History(
            exists=True,
            store=self.has_history,
            version_row=versions[0] if versions else None,
            attempts=attempts_of(self._target, self.history, self.columns if self.has_history else None, records),
            extensions=tuple(name for name in extensions if name in installed),
            emptied=self.has_history and not records and self._holds_other_tables(),
            rows=tuple(sorted(versions, key=lambda row: row.version or 0)) if len(versions) > 1 else (),
            read_only=self.place.read_only,
            elsewhere=elsewhere,
            place=place,
        )

    def _holds_other_tables(self) -> bool:
        """Whether there is anything but our tables, which a run that was killed before its first record leaves alone."""
        from orchestrator.engines.postgres.other_tables import other_tables_query

        return bool(self.ask(other_tables_query(list(map(self._literal, (self.version_table, self.history)))))[0])

    def take_over(self) -> None:
        """Make the rows say nothing of where they were written: whoever copied them knew what they did."""
        if "identity" in self.columns:
            with errors.mapped(self._connection, self._target):
                self._connection.execute(f"UPDATE {self.history} SET identity = ''".encode())

    def identity(self, attempt: Attempt) -> str:
        """Return SQL for what a row of this attempt says of where it was written."""
        if self._target.scratch:
            return "''"
        if attempt.origin is not Origin.MOVED:
            known = self._identity and self._literal(json.dumps(self._identity))
            return known or f"{identity_sql(self.place.system)}::text"
        taken = took_over_document(self._stored)  # the rows are of this database from now on
        return f"{identity_sql(self.place.system, self._literal(taken) if taken else '')}::text"

    def _read_columns(self, table: str) -> list[str]:
        row = self.ask(
            "SELECT ARRAY(SELECT attname::text FROM pg_catalog.pg_attribute WHERE NOT attisdropped AND attnum > 0 "
            f"AND attrelid = pg_catalog.to_regclass({self._literal(table)}) ORDER BY attnum)"
        )
        return list(row[0])

    def _literal(self, value: str) -> str:
        return literal(self._connection, value)
