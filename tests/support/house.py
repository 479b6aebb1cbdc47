"""One database of one engine with four plain migrations, orch in a forked process, and golang-migrate beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from estate import Estate
from golang import GolangMongo, GolangPostgres
from kill import Ended, Forge
from schema_snapshot import SchemaSnapshot, mongo_picture, postgres_picture

SQL_FILES = {
    f"{n:06d}_t{n}.{way}.sql": text
    for n in range(1, 5)
    for way, text in (
        ("up", f"CREATE TABLE t{n} (id int PRIMARY KEY);\nINSERT INTO t{n} VALUES ({n});\n"),
        ("down", f"DROP TABLE t{n};\n"),
    )
}
JSON_FILES = {
    f"{n:06d}_t{n}.{way}.json": text
    for n in range(1, 5)
    for way, text in (
        ("up", f'[{{"create": "t{n}"}}, {{"insert": "t{n}", "documents": [{{"_id": {n}}}]}}]'),
        ("down", f'[{{"delete": "t{n}", "deletes": [{{"q": {{}}, "limit": 0}}]}}, {{"drop": "t{n}"}}]'),
    )
}


class House:
    """One database of one engine, with four migrations, and golang-migrate beside orch."""

    def __init__(self, estate: Estate, forge: Forge, engine: str) -> None:
        self.estate = estate
        self.forge = forge
        self.engine = engine
        self.id = f"{engine}-db"
        self.files = SQL_FILES if engine == "postgres" else JSON_FILES
        estate.manifest(f"  - {{name: db, server: {engine}}}\n")
        estate.write(self.id, self.files)
        name, directory = estate.prefix + "db", self.directory
        if engine == "postgres":
            self.dsn = estate.servers["postgres"].dsn(name)
            with psycopg.connect(estate.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
                connection.execute(f'CREATE DATABASE "{name}"')
            self.golang: GolangPostgres | GolangMongo = GolangPostgres(self.dsn, name, directory)
        else:
            self.golang = GolangMongo(estate.client(), name, directory)

    @property
    def directory(self) -> Path:
        return self.estate.root / "migrations" / self.id / "schema"

    def orch(self, *arguments: str, code: int | None = 0, patches: Mapping[str, float] | None = None) -> Ended:
        ended = self.forge.run([*arguments], self.estate.root, self.estate.env, kill_at=-1, patches=patches)
        assert code is None or ended.code == code, f"{arguments} ended with {ended.code}, not {code}\n{ended.output}"
        return ended

    def kill(self, label: str, number: int, *arguments: str) -> Ended:
        """Run orch, and kill it when it comes past the `number`th point of this label."""
        ended = self.forge.run([*arguments], self.estate.root, self.estate.env, kill_at=number, label=label)
        assert ended.code is None, f"it was not killed\n{ended.output}\n{ended.points}"
        return ended

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.orch("status", "--output", "json", code=None).output)
        return dict(found["databases"][0])

    def attempts(self) -> list[dict[str, Any]]:
        found: dict[str, Any] = json.loads(self.orch("history", self.id, "--output", "json").output)
        return list(found["attempts"])

    def version_row(self) -> tuple[int, bool]:
        try:
            return self.golang.version()
        finally:
            if isinstance(self.golang, GolangPostgres):
                self.golang.connection.close()

    def schema_snapshot(self) -> SchemaSnapshot:
        """What the files made, without locks, version table and history."""
        if self.engine == "postgres":
            found = postgres_picture(self.dsn, history=False)
            return {key: [row for row in rows if "orch_history" not in str(row)] for key, rows in found.items()}
        found = mongo_picture(self.estate.client(), self.estate.prefix + "db", history=False)
        found.pop("migrate_advisory_lock", None)
        return found

    def tables(self) -> list[int]:
        """Which of t1 to t4 are there."""
        if self.engine == "postgres":
            names = [
                row[0] for row in self.estate.sql("db", "SELECT tablename FROM pg_tables WHERE tablename ~ '^t[0-9]$'")
            ]
        else:
            names = self.estate.mongo("db").list_collection_names(filter={"name": {"$regex": "^t[0-9]$"}})
        return sorted(int(name[1:]) for name in names)
