"""Migrations of a PostgreSQL and a MongoDB database that a clone must copy whole."""

from __future__ import annotations

import json

PG = {
    "000001_tables.up.sql": "CREATE TYPE mood AS ENUM ('sad', 'glad');\n"
    "CREATE TABLE one (id bigserial PRIMARY KEY, note text NOT NULL, m mood DEFAULT 'glad');\n"
    "CREATE INDEX one_note ON one (note);\nCREATE VIEW glad AS SELECT * FROM one WHERE m = 'glad';\n",
    "000001_tables.down.sql": "DROP VIEW glad; DROP TABLE one; DROP TYPE mood;",
    "000002_seed_one.up.sql": "INSERT INTO one (note) SELECT 'สวัสดี ' || n FROM generate_series(1, 10) AS n;",
    "000002_seed_one.down.sql": "DELETE FROM one;",
    "000003_setting.up.sql": "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path TO public, pg_catalog', "
    "current_database()); EXECUTE format('ALTER DATABASE %I SET work_mem TO ''7MB''', current_database()); END $$;",
    "000003_setting.down.sql": "SELECT 1;",
}
SIMPLE = {"locale": "simple"}
MONGO = {
    "000001_things.up.js": json.dumps(
        [
            {
                "create": "things",
                "validator": {"$jsonSchema": {"required": ["sku"], "properties": {"price": {"bsonType": "decimal"}}}},
                "validationLevel": "moderate",
                "collation": {"locale": "th"},
            },
            {"create": "log", "capped": True, "size": 4096, "max": 3},
            {"create": "cheap", "viewOn": "things", "pipeline": [{"$match": {"price": {"$lt": 5}}}]},
            {"create": "empty"},
            {"create": "orch_clones_log"},
            {
                "createIndexes": "things",
                "indexes": [
                    {"key": {"sku": 1}, "name": "sku", "unique": True},
                    {"key": {"at": 1}, "name": "at", "expireAfterSeconds": 3600000, "sparse": True},
                    {"key": {"name": "text"}, "name": "words", "default_language": "none", "collation": SIMPLE},
                    {"key": {"a": 1, "b": -1}, "name": "ab", "partialFilterExpression": {"a": {"$gt": 1}}},
                ],
            },
        ]
    ),
    "000001_things.down.js": json.dumps(
        [{"drop": name} for name in ("cheap", "things", "log", "empty", "orch_clones_log")]
    ),
    "000002_seed_things.up.js": json.dumps(
        [
            {
                "insert": "things",
                "documents": [
                    {"sku": "ก-1", "price": {"$numberDecimal": "1.50"}, "at": {"$date": "2030-01-01T00:00:00.123Z"}},
                    {
                        "sku": "b",
                        "big": {"$numberLong": "9007199254740993"},
                        "nested": {"z": 1, "a": [1, {"$oid": "5" * 24}]},
                    },
                ],
            },
        ]
    ),
    "000002_seed_things.down.js": '[{"delete": "things", "deletes": [{"q": {}, "limit": 0}]}]',
}
