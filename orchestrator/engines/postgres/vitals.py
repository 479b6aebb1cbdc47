"""What `orch doctor` asks PostgreSQL: its clock, rights, and whether a pooler is in between."""

from __future__ import annotations

from typing import Any

import psycopg

from orchestrator.model import Vitals

_BACKEND = b"SELECT pg_catalog.pg_backend_pid()"
_ASKED = b"""SELECT pg_catalog.clock_timestamp(), pg_catalog.current_schema(), current_user,
    pg_catalog.has_schema_privilege(pg_catalog.current_schema(), 'CREATE')"""


def vitals(connection: psycopg.Connection[Any]) -> Vitals:
    """Return what the server says of itself and of this login."""
    asked = connection.execute(_ASKED).fetchone()
    if asked is None:
        return Vitals()
    clock, schema, user, may_create = asked
    problems = []
    if schema is None:
        problems.append("no schema of the search_path exists: orch has nowhere to put its tables")
    elif not may_create:
        problems.append(f"{user} may not create tables in schema {schema}")
    backends = {row[0] for row in (connection.execute(_BACKEND).fetchone() for _ in range(3)) if row}
    if backends != {connection.info.backend_pid}:
        problems.append("a pooler is between orch and the server; in transaction mode it cannot be used for migrations")
    return Vitals(clock, tuple(problems))
