"""What `orch doctor` asks PostgreSQL: its clock, whether it is a standby, and the rights of this login."""

from __future__ import annotations

from typing import Any

import psycopg

from orchestrator.engines.postgres.history import identifier, literal
from orchestrator.model import Vitals

_TABLE_RIGHTS = {"version_row": ("SELECT", "INSERT", "DELETE"), "history": ("SELECT", "INSERT", "UPDATE")}
SHOWN = 3  # owners of tables
_ASKED = """SELECT pg_catalog.clock_timestamp(), pg_catalog.current_schema(), current_user,
    pg_catalog.pg_is_in_recovery(), pg_catalog.has_schema_privilege(pg_catalog.current_schema(), 'CREATE'),
    (SELECT rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user),
    pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'), {snapshot} IS NOT NULL,
    ARRAY(SELECT DISTINCT pg_catalog.pg_get_userbyid(c.relowner)::text FROM pg_catalog.pg_class c
        WHERE c.relnamespace = pg_catalog.to_regnamespace(pg_catalog.quote_ident(pg_catalog.current_schema()))
        AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')
        AND c.oid NOT IN (SELECT d.objid FROM pg_catalog.pg_depend d WHERE d.deptype = 'e')
        AND c.oid IS DISTINCT FROM {version_row} AND c.oid IS DISTINCT FROM {history}
        AND c.oid IS DISTINCT FROM {snapshot} ORDER BY 1),
    ARRAY[{rights}]"""


def vitals(connection: psycopg.Connection[Any], version_row: str, history: str, snapshot: str) -> Vitals:
    """Return what the server says of itself and of this login. The names of our tables are as in SQL; they may be missing."""

    def there(table: str) -> str:
        return f"pg_catalog.to_regclass({literal(connection, table)})"

    rights = [
        f"CASE WHEN {there(table)} IS NOT NULL THEN pg_catalog.has_table_privilege({there(table)}, '{right}') END"
        for table, wanted in ((version_row, _TABLE_RIGHTS["version_row"]), (history, _TABLE_RIGHTS["history"]))
        for right in wanted
    ]
    query = _ASKED.format(
        version_row=there(version_row), history=there(history), snapshot=there(snapshot), rights=", ".join(rights)
    )
    row = connection.execute(query.encode()).fetchone()
    if row is None:
        return Vitals()
    clock, schema, user, standby, may_create, makes_databases, sees_queries, kept, owners, given = row
    login = identifier(user)
    problems, notes = [], []
    names = [version_row] * len(_TABLE_RIGHTS["version_row"]) + [history] * len(_TABLE_RIGHTS["history"])
    wanted = [*_TABLE_RIGHTS["version_row"], *_TABLE_RIGHTS["history"]]
    for table in (version_row, history):
        lacking = [
            right
            for name, right, has in zip(names, wanted, given, strict=True)
            if name == table and has is False and right != "SELECT"
        ]
        if lacking:
            what = f"{user} may not {' and '.join(lacking)} in {table}, which apply and rollback do"
            problems.append(f"{what}: GRANT {', '.join(lacking)} ON {table} TO {login};")
    if schema is None:
        problems.append("no schema of the search_path exists: orch has nowhere to put its tables")
    elif not may_create:
        grant = f"GRANT CREATE ON SCHEMA {identifier(schema)} TO {login};"
        if given[0] is None or given[3] is None:
            problems.append(f"{user} may not create tables in schema {schema}, which the first apply does: {grant}")
        else:
            more = "" if kept else " and `orch drift --accept`"
            notes.append(f"{user} may not create tables in schema {schema}; migrations that do{more} need {grant}")
    if owners:
        some = ", ".join(owners[:SHOWN]) + (f" and {len(owners) - SHOWN} more" if len(owners) > SHOWN else "")
        grants = f"GRANT {', '.join(map(identifier, owners[:SHOWN]))} TO {login};"
        notes.append(f"tables belong to {some}: a migration that alters them needs {grants}")
    if not makes_databases:
        what = f"{user} may not create databases, which verify, clone and new databases need"
        notes.append(f"{what}: ALTER ROLE {login} CREATEDB;")
    if not sees_queries:
        what = f"{user} may not see which queries block a migration"
        notes.append(f"{what}: GRANT pg_read_all_stats TO {login};")
    return Vitals(clock, tuple(problems), tuple(notes), "standby" if standby else "primary")
