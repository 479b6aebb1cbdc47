"""Show what `make demo` made: a few rows of every database on the embedded servers."""

from pathlib import Path

import psycopg
from psycopg import sql
from pymongo import MongoClient

from orchestrator import embedded
from orchestrator.manifest.load import load

OURS = ["schema_migrations", "orch_history", "migrate_advisory_lock"]
root = Path(__file__).parents[1]
servers = {server.engine: server for server in embedded.status(root / ".orch")}
for database in load(root / "databases.yaml").databases:
    print(f"\n{database.id}")
    if database.engine == "postgres":
        with psycopg.connect(servers["postgres"].dsn(database.name)) as connection:
            query = "SELECT relname FROM pg_stat_user_tables WHERE NOT relname = ANY(%s) ORDER BY 1"
            for (table,) in connection.execute(query, (OURS,)).fetchall():
                rows = connection.execute(sql.SQL("SELECT * FROM {} LIMIT 2").format(sql.Identifier(table))).fetchall()
                print(f"  {table}: {', '.join(map(str, rows[0])) if rows else 'empty'}")
    else:
        client: MongoClient[dict[str, object]] = MongoClient(servers["mongo"].dsn(database.name))
        collections = client[database.name].list_collection_names(filter={"name": {"$nin": OURS}})
        for name in sorted(collections):
            document = client[database.name][name].find_one(projection={"_id": False}) or {}
            print(f"  {name}: {', '.join(f'{key}={value}' for key, value in list(document.items())[:4])}")
        client.close()
