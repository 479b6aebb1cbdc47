"""Find where the history and golang-migrate's version table of one database are, or are to be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from orchestrator.engines.postgres import errors, names
from orchestrator.engines.postgres.history import SET_BY_DSN, identifier, literal
from orchestrator.engines.postgres.writable import IN_RECOVERY, READ_ONLY, read_only
from orchestrator.errors import ConflictError, ConnectError
from orchestrator.model import History, ReadOnly, Target
from orchestrator.records import NamedTuple

if TYPE_CHECKING:
    from orchestrator.engines.postgres.libpq import AnyConnection

_CURRENT = "pg_catalog.current_schema()::text"
_RELKINDS = {"table": "r", "view": "v", "materialized view": "m", "foreign table": "f", "sequence": "S"}


class Place(NamedTuple):
    """Where both tables are, or are to be, and what the server said beside that.

    `version_table` and `history` are the names of the tables in SQL. `version_kind` and `history_kind` are the kinds of
    these relations as pg_class has them, with "!" after it if row level security hides rows from this login; None if there
    is no such relation. `has_schema`: `schema` exists. `moved`: the history is not in the current schema. The look does not
    tell the `columns` of the history, nor whether this login can add columns to it (`may_alter`).

    `server_pid` is the backend that answered, `server_start` when its server was started, and `system` SQL for the
    server's system identifier, which is '' where this login may not read it.
    """

    schema: str
    version_table: str
    history: str
    history_name: str
    version_kind: str | None
    history_kind: str | None
    has_schema: bool
    read_only: ReadOnly | None
    server_pid: int
    server_start: str
    system: str
    moved: bool = False
    columns: Sequence[str] = ()
    may_alter: bool = True


class TablesRead(NamedTuple):
    """The answers to one message: the first value of the query about the lock, both tables, and the rows of the last query."""

    first: Any
    history: History
    last: Sequence[Any] = ()


class Known(NamedTuple):
    """A query that read both tables of a database, their schema, and the SQL name of the history."""

    query: str
    schema: str
    history: str


class Usual:
    """The query that read the tables of the last database of a server, as most of them are alike.

    It can be sent together with the look: if it is the right one, that saves a round trip. A query that fails leaves a line
    in the log of the server, so after one that did, no other is sent on trust.
    """

    def __init__(self) -> None:
        self.known: Known | None = None  # read once for each message: other threads replace it
        self._failed = False

    def learn(self, query: str, place: Place) -> None:
        """Take note of the query of a database that was read, '' if its tables are not in their usual place."""
        if query and not self._failed:
            self.known = Known(query, place.schema, place.history)

    def give_up(self) -> None:
        """Use no known query any more: the tables of this server are not the same everywhere."""
        self._failed, self.known = True, None


def answers_of(cursor: Any, columns_of: int | None = None) -> Iterator[list[Any]]:
    """Yield the rows of each answer to a message that can have rows; of the answer with number `columns_of`, the column names."""
    more, number = True, 0
    while more:
        if cursor.description:
            yield [column[0] for column in cursor.description] if number == columns_of else cursor.fetchall()
            number += 1
        more = cursor.nextset()


def find(connection: AnyConnection, target: Target, *, elsewhere: bool = True) -> Place:
    """Look for both tables in the current schema, or in the one that the DSN gives the version table.

    With `elsewhere`, and if nothing decides on a schema, look for the history in others too: a migration may have made
    another schema the current one. ConnectError if there is no current schema, ConflictError if it cannot be told which
    history is meant.
    """
    place = _look_in(connection, target, _CURRENT)
    decided = place.history_kind is not None or set_by_dsn(connection) or names.version_table(target)[0] is not None
    if elsewhere and not decided and (schema := _other_schema(connection, target, place)):
        return _look_in(connection, target, literal(connection, schema))._replace(moved=True)
    return place


def current_query(connection: AnyConnection, target: Target) -> str:
    """Return the query that `find` begins with; `place_of` reads its row."""
    return _look_query(connection, target, _CURRENT)


def ask(connection: AnyConnection, target: Target, query: str) -> Any:
    """Return the first row of a query about our tables."""
    return next(iter(ask_all(connection, target, query)), None)


def ask_all(connection: AnyConnection, target: Target, query: str) -> list[Any]:
    """Return all rows of a query about our tables."""
    with errors.mapped(connection, target) as failing:
        failing.reads = True
        return connection.execute(query.encode()).fetchall()


def may_alter(connection: AnyConnection, target: Target, place: Place) -> bool:
    """Whether this login can add columns to the history."""
    oid = f"pg_catalog.to_regclass({literal(connection, place.history)})"
    owner = f"SELECT pg_catalog.pg_has_role(relowner, 'USAGE') FROM pg_catalog.pg_class WHERE oid = {oid}"
    return bool(ask(connection, target, owner)[0])


def set_by_dsn(connection: AnyConnection) -> bool:
    """Whether the DSN sets the search_path."""
    return "search_path" in connection.info.options.replace("-", "_")


def _look_in(connection: AnyConnection, target: Target, schema: str) -> Place:
    """Look for the two tables in a schema, which is given as SQL, or in the one that the DSN gives the version table."""
    return place_of(connection, target, ask(connection, target, _look_query(connection, target, schema)))


def _look_query(connection: AnyConnection, target: Target, schema: str) -> str:
    version_schema, version_name = names.version_table(target)
    own_name, shared_name = names.history_table(target), target.history_name
    own, shared = literal(connection, identifier(own_name)), literal(connection, identifier(shared_name))
    where = literal(connection, version_schema) if version_schema else "s"
    there = f"pg_catalog.quote_ident({where}) || '.' || "
    golang = f"pg_catalog.to_regclass({there}'{names.DEFAULT}')"
    has_golang = f"EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = {golang} AND attname = 'dirty')"
    about_shared = f"{_kind(there + shared)}, {has_golang}" if own_name != shared_name else "NULL, NULL, NULL"
    # It avoids queries of the catalogue: a new backend takes longer to plan the first one than to run all of this.
    return (
        f"SELECT pg_catalog.pg_backend_pid(), s, pg_catalog.quote_ident({where}), "
        "pg_catalog.has_function_privilege(pg_catalog.to_regprocedure('pg_catalog.pg_control_system()'), 'EXECUTE'), "
        f"pg_catalog.to_regnamespace(pg_catalog.quote_ident({where})) IS NOT NULL, "
        f"{_kind(there + literal(connection, identifier(version_name)))}, {_kind(there + own)}, {about_shared}, "
        f"pg_catalog.pg_postmaster_start_time()::text, {IN_RECOVERY}, {READ_ONLY} "
        f"FROM (SELECT {schema} AS s) AS schema"
    )


def place_of(connection: AnyConnection, target: Target, row: Sequence[Any]) -> Place:
    """Return the place that the row of a look tells; ConnectError if there is no current schema."""
    version_name = names.version_table(target)[1]
    own_name, shared_name = names.history_table(target), target.history_name
    if row[1] is None:
        raise ConnectError(
            f"{target.database_id} has no current schema",
            detail="the search_path names no schema that exists and that this login may use",
            hint=f"GRANT USAGE ON SCHEMA public TO {identifier(connection.info.user)}; "
            "CREATE SCHEMA public; or set search_path in the DSN "
            "(options=-csearch_path=...)",
        )
    pid, current, quoted, knows_system, has_schema, *found = row[:12]
    version_kind, own_kind, shared_kind = (_told(*found[at : at + 2]) for at in (0, 2, 4))
    has_golang, started, standby, refuses = row[11:]
    # Earlier releases called every history the same. One that has no other set to belong to stays where it is.
    keeps = not own_kind and shared_kind and version_kind and not has_golang
    history_name = shared_name if keeps else own_name
    return Place(
        schema=current,
        version_table=f"{quoted}.{identifier(version_name)}",
        history=f"{quoted}.{identifier(history_name)}",
        history_name=history_name,
        version_kind=version_kind,
        history_kind=shared_kind if keeps else own_kind,
        has_schema=has_schema,
        read_only=read_only(connection, target, standby=standby) if standby or refuses else None,
        server_pid=pid,
        server_start=started,
        system="(SELECT system_identifier::text FROM pg_catalog.pg_control_system())" if knows_system else "''",
    )


def _kind(name: str) -> str:
    """Return SQL for what a relation is, in words, and whether row level security hides rows from this login."""
    oid = f"pg_catalog.to_regclass({name})::oid"
    # 1259 is pg_class.
    return f"(pg_catalog.pg_identify_object(1259, {oid}, 0)).type, pg_catalog.row_security_active({oid})"


def _told(kind: str | None, hides: bool | None) -> str | None:
    """Return the kind of a relation, as `Place` has it."""
    return kind and _RELKINDS.get(kind, kind) + ("!" if hides else "")


# A search_path that the database, the role or the server has been given hides tables that were made before.
_GIVEN = (
    "(SELECT source FROM pg_catalog.pg_settings WHERE name = 'search_path') NOT IN ('default', 'client', 'session')"
)
_OURS = "pg_catalog.pg_get_userbyid(relowner) IN (current_user, session_user)"
_ON_PATH = "nspname = ANY(pg_catalog.current_schemas(false))"
_OF_DSN = f"pg_catalog.obj_description(c.oid, 'pg_class') IS NOT DISTINCT FROM '{SET_BY_DSN}'"


class _Elsewhere(NamedTuple):
    """A history or a version table in another schema; `readable`: this login may look into it."""

    is_history: bool
    schema: str
    ours: bool
    on_path: bool
    readable: bool


def _other_schema(connection: AnyConnection, target: Target, current: Place) -> str | None:
    """Return the other schema where the history is, or else the version table, where the current one has none."""
    version_table = literal(connection, names.version_table(target)[1])
    history_name = names.history_table(target)
    history = literal(connection, history_name)
    with_dsn = (
        f"EXISTS (SELECT FROM pg_catalog.pg_class c WHERE relname = {history} AND relnamespace = n.oid AND {_OF_DSN})"
    )
    with errors.mapped(connection, target) as failing:
        failing.reads = True
        rows = connection.execute(
            f"SELECT relname = {history}, nspname, {_OURS}, {_ON_PATH}, "
            "pg_catalog.has_table_privilege(c.oid, 'SELECT') AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') "
            "FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace "
            f"WHERE relname IN ({history}, {version_table}) AND relkind IN ('r', 'p') "
            f"AND nspname <> {literal(connection, current.schema)} AND nspname !~ '^pg_' "
            f"AND CASE WHEN relname = {history} THEN ({_OURS} OR {_ON_PATH} OR {_GIVEN}) AND NOT {_OF_DSN} "
            f"ELSE ({_ON_PATH} OR {_OURS} AND {_GIVEN} AND NOT {with_dsn}) "
            "AND EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = c.oid AND attname = 'dirty') END".encode()
        ).fetchall()
        candidates = [_Elsewhere(*row) for row in rows]
        found = [
            one
            for one in candidates
            if one.is_history
            and (one.ours or one.on_path or (one.readable and _written_by_us(connection, one.schema, history_name)))
        ]
    if not found and current.version_kind is None:
        found = [one for one in candidates if not one.is_history]
    if not found:
        return None
    if len(found) == 1 and found[0].ours and found[0].on_path:
        return found[0].schema
    schemas = sorted(one.schema for one in found)
    raise ConflictError(
        f"{target.database_id} has no history in schema {current.schema}, which is the current one now, "
        f"and one in {', '.join(schemas)}",
        detail="CREATE SCHEMA with the name of the login, and ALTER DATABASE or ROLE … SET search_path, change that schema",
        hint="say in the DSN which it is: options=-csearch_path%3D<schema> (a new one there begins at nothing)"
        + (f"; or, to leave the search_path as it is: {_named(target, schemas[0])}" if len(schemas) == 1 else ""),
    )


def _written_by_us(connection: AnyConnection, schema: str, history: str) -> bool:
    """Whether this login has written a row of a history that belongs to another role."""
    row = connection.execute(
        f"SELECT EXISTS (SELECT FROM {identifier(schema)}.{identifier(history)} h "
        "WHERE row_to_json(h)->>'role' = session_user)".encode()
    ).fetchone()
    return bool(row and row[0])


def _named(target: Target, schema: str) -> str:
    """Return the parameters of a DSN that name the version table in a schema."""
    table = quote(f"{identifier(schema)}.{identifier(names.version_table(target)[1])}", safe=".")
    return f"x-migrations-table={table}&x-migrations-table-quoted=1"
