"""What a database holds, as plain data that can be compared: schema, data, history without its times, version table."""

from __future__ import annotations

from typing import Any

import psycopg
from bson import ObjectId, json_util
from psycopg import sql
from pymongo import MongoClient

SchemaSnapshot = dict[str, Any]

_HISTORY = "version, attempt, name, direction, checksum, applied, total, in_flight, done, origin, error"
_QUERIES = {
    "columns": (
        "SELECT table_schema, table_name, column_name, data_type, is_nullable, column_default, ordinal_position "
        "FROM information_schema.columns WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2, 7"
    ),
    "indexes": (
        "SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisready "
        "FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname NOT IN ('pg_catalog', 'pg_toast') ORDER BY 1"
    ),
    "constraints": (
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(c.oid), convalidated FROM pg_constraint c "
        "JOIN pg_namespace n ON n.oid = c.connamespace WHERE nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
    ),
    "routines": (
        "SELECT p.oid::regprocedure::text, md5(prosrc) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace "
        "WHERE nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
    ),
    "types": "SELECT t.typname, enumlabel FROM pg_enum e JOIN pg_type t ON t.oid = enumtypid ORDER BY 1, enumsortorder",
}


def postgres_picture(dsn: str, *, history: bool = True) -> SchemaSnapshot:
    """Return what a PostgreSQL database holds; its sequences are seen through the keys that they gave."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        schema_snapshot: SchemaSnapshot = {
            name: connection.execute(query).fetchall() for name, query in _QUERIES.items()
        }
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        for schema, table in sorted(tables):
            query = sql.SQL("SELECT * FROM {} AS t ORDER BY t::text").format(sql.Identifier(schema, table))
            if table == "orch_history":
                query = sql.SQL("SELECT {} FROM {} ORDER BY 1, 2").format(
                    sql.SQL(_HISTORY),
                    sql.Identifier(schema, table),
                )
                if not history:
                    continue
            schema_snapshot[f"rows of {schema}.{table}"] = connection.execute(query).fetchall()
        return schema_snapshot


def mongo_picture(client: MongoClient[Any], name: str, *, history: bool = True) -> SchemaSnapshot:
    """Return what a MongoDB database holds; an `_id` that the server or the driver made is left out."""
    database, schema_snapshot = client[name], SchemaSnapshot()
    for found in sorted(database.list_collections(), key=lambda c: c["name"]):
        collection = found["name"]
        if collection == "orch_history":
            if history:
                fields = _HISTORY.split(", ")
                rows = database[collection].find({}).sort([("version", 1), ("attempt", 1)])
                schema_snapshot["history"] = [{field: row[field] for field in fields} for row in rows]
            continue
        documents = [
            {k: v for k, v in document.items() if not (k == "_id" and isinstance(v, ObjectId))}
            for document in database[collection].find({})
        ]
        indexes = [{k: v for k, v in dict(i).items() if k != "ns"} for i in database[collection].list_indexes()]
        schema_snapshot[collection] = {
            "options": found.get("options", {}),
            "indexes": sorted(json_util.dumps(index) for index in indexes),
            "documents": sorted(json_util.dumps(document, sort_keys=True) for document in documents),
        }
    return schema_snapshot


def difference(expected: SchemaSnapshot, found: SchemaSnapshot) -> str:
    """Say where two schema snapshots differ; '' where they do not."""
    lines = []
    for key in sorted({*expected, *found}):
        if expected.get(key) != found.get(key):
            lines.append(f"{key}:\n  expected {expected.get(key)}\n  found    {found.get(key)}")
    return "\n".join(lines)
