"""An estate with a migration file of every kind, on both engines."""

from __future__ import annotations

import psycopg
from estate import Estate
from psycopg import sql
from schema_snapshot import SchemaSnapshot, mongo_picture, postgres_picture

SHOP = {
    "000001_tables.up.sql": "CREATE TABLE item (id int PRIMARY KEY, name text, hits int DEFAULT 0);\n"
    "INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 50) n;\nCREATE TABLE log (what text);",
    "000001_tables.down.sql": "DROP TABLE log; DROP TABLE item;",
    "000002_index.up.sql": "CREATE INDEX CONCURRENTLY item_name ON item (name);",
    "000002_index.down.sql": "DROP INDEX CONCURRENTLY item_name;",
    "000003_mixed.up.sql": "-- orch: no-transaction\nINSERT INTO log (what) VALUES ('one');\n"
    "CREATE UNIQUE INDEX CONCURRENTLY item_unique ON item (name);\nUPDATE item SET hits = hits + 1;\n"
    "DROP INDEX CONCURRENTLY item_name;\nINSERT INTO log (what) VALUES ('two');\nVACUUM item;",
    "000003_mixed.down.sql": "-- orch: no-transaction\nCREATE INDEX CONCURRENTLY item_name ON item (name);\n"
    "UPDATE item SET hits = hits - 1;\nDROP INDEX CONCURRENTLY item_unique;\nDELETE FROM log;",
    "000004_blocks.up.sql": "BEGIN;\nINSERT INTO log (what) VALUES ('three');\nUPDATE item SET hits = hits + 10;\nCOMMIT;\n"
    "BEGIN;\nINSERT INTO log (what) SELECT 'n' || count(*) FROM log;\nCOMMIT;",
    "000004_blocks.down.sql": "BEGIN; UPDATE item SET hits = hits - 10; COMMIT; "
    "BEGIN; DELETE FROM log WHERE what = 'three'; COMMIT;",
    "000005_set.up.sql": "BEGIN; SET search_path TO nowhere, public; INSERT INTO log (what) VALUES ('set first'); COMMIT;\n"
    "INSERT INTO log (what) SELECT 'then ' || current_setting('search_path') FROM item WHERE id = 1;\n"
    "BEGIN; CREATE TEMP TABLE picked AS SELECT id FROM item WHERE id < 4; SET search_path TO public;\n"
    "SET LOCAL search_path TO nowhere; INSERT INTO public.log (what) VALUES ('set last'); COMMIT;\n"
    "BEGIN; INSERT INTO log (what) SELECT 'and ' || current_setting('search_path'); COMMIT;",
    "000005_set.down.sql": "DELETE FROM log WHERE what ~ '^(set|then|and) ';",
    "000006_last.up.sql": "UPDATE item SET hits = hits * 2; ALTER TABLE log ADD COLUMN n int DEFAULT 7;",
    "000006_last.down.sql": "ALTER TABLE log DROP COLUMN n; UPDATE item SET hits = hits / 2;",
}
STOCK = {
    "1_a.up.sql": "BEGIN; CREATE TABLE stock (id int, n int); INSERT INTO stock VALUES (1, 1); COMMIT;",
    "1_a.down.sql": "DROP TABLE stock;",
    "2_b.up.sql": "UPDATE stock SET n = n + 1;",
    "2_b.down.sql": "UPDATE stock SET n = n - 1;",
    "10_c.up.sql": "-- nothing but this comment",
    "10_c.down.sql": "",
}
CATALOG = {
    "000001_make.up.json": """[
      {"create": "things", "validator": {"$jsonSchema": {"bsonType": "object", "required": ["name"]}}},
      {"createIndexes": "things", "indexes": [{"key": {"name": 1}, "name": "by_name"}, {"key": {"n": -1}, "name": "by_n"}]},
      {"insert": "things", "documents": [{"name": "a", "n": 1}, {"name": "b", "n": 2}]},
      {"collMod": "things", "validator": {"$jsonSchema": {"bsonType": "object", "required": ["name", "n"]}}},
      {"update": "things", "updates": [{"q": {}, "u": {"$inc": {"n": 10}}, "multi": true}]}]""",
    "000001_make.down.json": '[{"drop": "things"}]',
    "000002_data.up.json": """[{"insert": "things", "documents": [{"_id": "c", "name": "c", "n": 3}]},
      {"insert": "things", "documents": [{"name": "d", "n": 4}]},
      {"update": "things", "updates": [{"q": {"name": "a"}, "u": {"$inc": {"n": 100}}}]},
      {"delete": "things", "deletes": [{"q": {"name": "b"}, "limit": 1}]}]""",
    "000002_data.down.json": """[{"delete": "things", "deletes": [{"q": {"name": {"$in": ["c", "d"]}}, "limit": 0}]},
      {"insert": "things", "documents": [{"name": "b", "n": 12}]},
      {"update": "things", "updates": [{"q": {"name": "a"}, "u": {"$inc": {"n": -100}}}]}]""",
    "000003_mixed.up.json": """[{"insert": "things", "documents": [{"name": "e", "n": 5}]},
      {"create": "old", "capped": true, "size": 4096}, {"dropIndexes": "things", "index": "by_n"}, {"drop": "old"},
      {"update": "things", "updates": [{"q": {"name": "e"}, "u": {"$inc": {"n": 1}}}]},
      {"createIndexes": "things", "indexes": [{"key": {"name": 1, "n": 1}, "name": "both", "unique": true}]}]""",
    "000003_mixed.down.json": """[{"dropIndexes": "things", "index": "both"},
      {"delete": "things", "deletes": [{"q": {"name": "e"}, "limit": 1}]},
      {"createIndexes": "things", "indexes": [{"key": {"n": -1}, "name": "by_n"}]}]""",
}
LOGS = {
    "000001_a.up.json": '[{"insert": "lines", "documents": [{"text": "first"}]}]',
    "000001_a.down.json": '[{"drop": "lines"}]',
    "000002_b.up.json": "[]",
    "000002_b.down.json": "[]",
}
DATABASES = """  - {name: shop, server: postgres}
  - {name: stock, server: postgres, depends_on: [shop]}
  - {name: catalog, server: mongo}
  - {name: logs, server: mongo, depends_on: [catalog, stock]}
"""
NAMES = ["shop", "stock", "catalog", "logs"]


class Varied(Estate):
    """An estate with a file of every kind."""

    def __init__(self, base: Estate) -> None:
        self.__dict__.update(base.__dict__)
        self.manifest(DATABASES)
        for directory, files in (
            ("postgres-shop", SHOP),
            ("postgres-stock", STOCK),
            ("mongo-catalog", CATALOG),
            ("mongo-logs", LOGS),
        ):
            self.write(directory, files)

    def schema_snapshots(self, *, history: bool = True) -> dict[str, SchemaSnapshot]:
        found = {n: postgres_picture(self.servers["postgres"].dsn(self.prefix + n), history=history) for n in NAMES[:2]}
        found |= {n: mongo_picture(self.client(), self.prefix + n, history=history) for n in NAMES[2:]}
        for name in NAMES[2:]:  # the lease of the killed run may still lie there; the next that needs it takes it
            found[name].get("migrate_advisory_lock", {}).pop("documents", None)
        return found

    def wipe(self) -> None:
        """Remove the databases, and nothing else."""
        for name in NAMES[2:]:
            self.client().drop_database(self.prefix + name)
        with psycopg.connect(self.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
            for name in NAMES[:2]:
                query = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
                connection.execute(query.format(sql.Identifier(self.prefix + name)))
