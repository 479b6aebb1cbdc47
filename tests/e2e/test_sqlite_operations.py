"""SQLite: one migration in place of many, and databases beside the declared one that no manifest declares."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from estate import Estate
from golang import GolangSqlite

TRIGGER = "CREATE TRIGGER g AFTER INSERT ON a BEGIN UPDATE a SET n = 1; SELECT 1; END;"
FILES = {
    "1_a.up.sql": "-- the first\nBEGIN;\nCREATE TABLE a (n int);\nCOMMIT;",
    "2_b.up.sql": f"-- orch: lock_timeout=2s\n{TRIGGER}",
    "3_c.up.sql": "INSERT INTO a VALUES (7);\n-- the last",
    "4_d.up.sql": "CREATE TABLE d (n int);",
    "1_a.down.sql": "DROP TABLE a;",
    "2_b.down.sql": "DROP TRIGGER g",
    "3_c.down.sql": "DELETE FROM a;",
    "4_d.down.sql": "DROP TABLE d;",
}


@pytest.fixture
def shop(tmp_path: Path) -> Estate:
    estate = Estate(tmp_path, {})
    entry = "version: 1\nservers:\n  files: {engine: sqlite, dsn: 'sqlite3://{database}.db'}\ndatabases:\n"
    (tmp_path / "databases.yaml").write_text(entry + "  - {name: shop, server: files}\n")
    estate.write("sqlite-shop", FILES)
    return estate


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_a_squash_of_sqlite(shop: Estate) -> None:
    path, folder = shop.root / "shop.db", shop.root / "migrations" / "sqlite-shop" / "schema"
    old = {one.name: one.read_text() for one in folder.iterdir()}
    shop.orch("apply", "--only", "shop", "--to", "3")
    shop.orch("squash", "shop", "--to", "3")
    text = (folder / "3_squashed.up.sql").read_text()
    assert text.startswith("-- orch: replaces 1-3\n")
    assert not {*old} & {one.name for one in folder.iterdir()} - {"4_d.up.sql", "4_d.down.sql"}
    shop.orch("validate")
    shop.orch("apply")  # at version 3 it counts as applied
    ours = "name LIKE '%migrations%' OR name LIKE '%orch%' OR name = 'version_unique'"
    made = f"SELECT name, sql FROM sqlite_master WHERE NOT ({ours}) ORDER BY 1"
    before = rows(path, made), rows(path, "SELECT n FROM a")
    path.unlink()
    shop.orch("apply")  # a new one runs it
    assert (rows(path, made), rows(path, "SELECT n FROM a")) == before
    shop.orch("verify")
    shop.orch("rollback", "shop", "--to", "0", "--yes")
    assert rows(path, made) == []
    path.unlink()
    GolangSqlite(path, folder).up()
    assert rows(path, made) == before[0]
    path.unlink()

    # One in between is refused with what it lacks.
    kept = {one.name: one.read_text() for one in folder.iterdir()}
    for one in folder.iterdir():
        one.unlink()
    shop.write("sqlite-shop", old)
    shop.orch("apply", "--only", "shop", "--to", "2")
    for one in folder.iterdir():
        one.unlink()
    shop.write("sqlite-shop", kept)
    assert "version 3" in shop.orch("apply", code=5).stderr


def test_a_file_that_needs_its_session_is_not_joined(shop: Estate) -> None:
    shop.write("sqlite-shop", {"2_b.up.sql": "PRAGMA foreign_keys = OFF;\nCREATE TABLE x (n int);"})
    told = shop.orch("squash", "shop", "--to", "3", code=4).stderr
    assert "2_b.up.sql:1:1: this file cannot be joined with others: it has PRAGMA foreign_keys" in told
    assert "there is no snapshot of SQLite" in shop.orch("squash", "shop", "--to", "3", "--snapshot", code=2).stderr


def test_orphans_of_sqlite(shop: Estate) -> None:
    shop.orch("apply")
    (shop.root / "shop.db").rename(shop.root / "lost.db")
    with closing(sqlite3.connect(shop.root / "other.db")) as connection:
        connection.execute("CREATE TABLE t (n int)")
        connection.commit()
    shop.orch("apply")
    before = {one.name: one.read_bytes() for one in shop.root.iterdir() if one.is_file()}
    found = shop.orch("orphans", "--output", "json")
    assert [(one["database"], one["version"]) for one in found.json["orphans"]] == [("lost.db", 4)], found.text
    told = shop.orch("orphans")
    assert "lost.db" in told.stdout
    assert "not looked at" not in told.stderr, "other files are passed over"
    assert {one.name: one.read_bytes() for one in shop.root.iterdir() if one.is_file()} == before


SHOP = """
PRAGMA foreign_keys = ON;
CREATE TABLE c (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL DEFAULT 'a;b',
    g TEXT GENERATED ALWAYS AS (upper(name)) STORED, h TEXT AS (name || ';') VIRTUAL, CHECK (name <> '--'));
CREATE TABLE o (id INTEGER PRIMARY KEY, c INTEGER REFERENCES c (id), bytes BLOB);
CREATE TABLE w (k TEXT PRIMARY KEY, v) WITHOUT ROWID;
CREATE INDEX i ON c (name) WHERE name <> 'x;';
CREATE VIEW v AS SELECT c.name, count(*) FROM c JOIN o ON o.c = c.id GROUP BY 1;
CREATE TRIGGER t AFTER INSERT ON c WHEN NEW.name = 'end;' BEGIN
    UPDATE c SET name = CASE WHEN 1 THEN 'x;y' ELSE name END WHERE id = NEW.id; DELETE FROM o WHERE c IS NULL; END;
CREATE TRIGGER tv INSTEAD OF INSERT ON v BEGIN SELECT RAISE(ABORT, 'no; end;'); END;
INSERT INTO c (name) VALUES ('a'), ('line\nbreak;'), ('ü''ber; /* x');
INSERT INTO o VALUES (1, 1, x'00ff3b'), (2, 2, NULL);
INSERT INTO w VALUES ('k;', 1);
"""


@pytest.mark.parametrize("by", ["sqlite3", "python"])
def test_a_dump_is_a_migration(shop: Estate, by: str) -> None:
    source, made = shop.root / "source.db", shop.root / "shop.db"
    with closing(sqlite3.connect(source)) as connection:
        connection.executescript(SHOP)
        dump = "\n".join(connection.iterdump())
    if by == "sqlite3":
        if not (program := shutil.which("sqlite3")):
            pytest.skip("no sqlite3 here")
        dump = subprocess.run([program, source, ".dump"], check=True, capture_output=True, text=True).stdout
    for one in (shop.root / "migrations" / "sqlite-shop" / "schema").iterdir():
        one.unlink()
    shop.write("sqlite-shop", {"1_dump.up.sql": dump})
    shop.orch("apply", "--only", "shop")
    names = "('c', 'o', 'w', 'i', 'v', 't', 'tv')"
    queries = [f"SELECT type, name, sql FROM sqlite_master WHERE name IN {names} ORDER BY 2"]
    queries += [
        "SELECT * FROM c",
        "SELECT * FROM o",
        "SELECT * FROM w",
        "SELECT * FROM v",
        "SELECT * FROM sqlite_sequence",
    ]
    for query in queries:
        assert rows(made, query) == rows(source, query)

    # Every sqlite3 dumps a virtual table so; iterdump() of Python 3.11.2 does not, that of 3.11.7 does.
    virtual = (
        "BEGIN TRANSACTION;\nPRAGMA writable_schema=ON;\n"
        "INSERT INTO sqlite_schema(type,name,tbl_name,rootpage,sql)"
        "VALUES('table','f','f',0,'CREATE VIRTUAL TABLE f USING fts5 (title)');\n"
        "PRAGMA writable_schema=OFF;\nCOMMIT;\n"
    )
    shop.write("sqlite-shop", {"1_dump.up.sql": virtual})
    refused = shop.orch("validate", code=4).text
    assert "PRAGMA writable_schema does not belong in a migration" in refused and "CREATE VIRTUAL TABLE" in refused
