"""SQLite files as others leave them: odd tables in place of ours, virtual tables, two names of one file, read-only disks."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from estate import Estate

TABLE = {"1_a.up.sql": "CREATE TABLE a (n int);\n"}


class Shop:
    """A project whose one database is `shop.db`."""

    def __init__(self, root: Path, dsn: str = "sqlite3://{database}.db") -> None:
        self.estate = Estate(root, {})
        self.path = root / "shop.db"
        entry = f'version: 1\ndatabases:\n  - {{name: shop, engine: sqlite, dsn: "{dsn}"}}\n'
        (root / "databases.yaml").write_text(entry)
        self.write(TABLE)

    def write(self, files: dict[str, str]) -> None:
        self.estate.write("sqlite-shop", files)

    def said(self, *arguments: str, code: int = 0) -> str:
        return self.estate.orch(*arguments, code=code).text

    def sql(self, script: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            if ";" in script:
                connection.executescript(script)
                return []
            return connection.execute(script).fetchall()

    def version(self) -> int:
        return int(self.sql("SELECT version FROM schema_migrations")[0][0])


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("ALTER\tTABLE orch_history ADD COLUMN extra;", "2_b.up.sql:1:1"),
        ("CREATE TABLE b (n);\nALTER/**/TABLE orch_history RENAME COLUMN run_id TO run;", "2_b.up.sql:2:1"),
        ("DROP\nTABLE schema_migrations;", "2_b.up.sql:1:1"),
        ("DROP INDEX version_unique;", "2_b.up.sql:1:1"),
    ],
)
def test_no_spelling_of_a_statement_changes_the_tables_of_the_records(shop: Shop, text: str, place: str) -> None:
    shop.said("apply")
    schema = shop.sql("SELECT type, name, sql FROM sqlite_master")
    shop.write({"2_b.up.sql": text})
    told = shop.said("apply", code=1)
    assert place in told and "changes the records of orch" in told
    assert shop.sql("SELECT type, name, sql FROM sqlite_master") == schema and shop.version() == 1


@pytest.mark.parametrize(
    ("made", "code", "words"),
    [
        ("CREATE VIRTUAL TABLE schema_migrations USING fts5(version, dirty);", 5, "it is a virtual table"),
        (
            "CREATE VIRTUAL TABLE orch_history USING "
            "fts5(version, attempt, direction, checksum, applied, in_flight, done);",
            5,
            "it is a virtual table",
        ),
        (
            "CREATE TABLE schema_migrations (version uint64, dirty bool AS (version < 0));",
            1,
            'the records of sqlite-shop cannot be written: cannot INSERT into generated column "dirty"',
        ),
        ("CREATE TABLE version_unique (n int);", 1, "already a table named version_unique"),
        ("CREATE TABLE schema_migrations (version TEXT, dirty TEXT) STRICT;", 1, "the type of a column is in the way"),
    ],
)
def test_what_stands_in_place_of_our_tables_is_named(shop: Shop, made: str, code: int, words: str) -> None:
    shop.sql(made)
    before = shop.sql("SELECT name FROM sqlite_master WHERE name <> 'x'")
    told = shop.said("apply", code=code)
    assert words in told
    assert not shop.sql("SELECT 1 FROM sqlite_master WHERE name = 'a'"), "nothing of the file is there"
    if code == 5:
        assert shop.sql("SELECT name FROM sqlite_master WHERE name <> 'x'") == before


def test_virtual_generated_and_strict_tables_in_utf16_are_migrated_verified_copied_and_compared(shop: Shop) -> None:
    shop.sql("PRAGMA encoding = 'UTF-16le'; PRAGMA page_size = 65536; CREATE TABLE x (n); DROP TABLE x;")
    docs = "id INTEGER PRIMARY KEY, body TEXT, up TEXT AS (upper(body)) STORED, low TEXT AS (lower(body))"
    shop.write(
        {
            "1_a.up.sql": f"CREATE TABLE docs ({docs});\n"
            "CREATE VIRTUAL TABLE found USING fts5(body, content='docs', content_rowid='id');\n"
            "CREATE VIRTUAL TABLE box USING rtree(id, x0, x1, +note TEXT);\n"
            "CREATE TRIGGER filled AFTER INSERT ON docs BEGIN INSERT INTO found(rowid, body) VALUES (new.id, new.body); END;\n"
            "INSERT INTO docs (body) VALUES ('Ünder 😀' || char(0) || 'after');\nINSERT INTO box VALUES (1, 2, 3, 'x');\n"
            "CREATE TABLE exact (k TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;\n",
            "1_a.down.sql": "DROP TABLE exact;\nDROP TABLE box;\nDROP TABLE found;\nDROP TABLE docs;\n",
        }
    )
    shop.said("apply")
    assert shop.sql("PRAGMA encoding") == [("UTF-16le",)]
    shop.said("verify", "shop")
    shop.sql("INSERT INTO docs (body) VALUES ('more'); INSERT INTO found (found) VALUES ('optimize'); ANALYZE;")
    shop.said("drift")  # rows, statistics and the insides of an index are no schema
    shop.said("clone", "shop", "--as", "copy.db")
    with closing(sqlite3.connect(shop.path.parent / "copy.db")) as copy:
        assert copy.execute("SELECT rowid FROM found WHERE found MATCH 'under'").fetchall() == [(1,)]
        assert copy.execute("SELECT note FROM box").fetchall() == [("x",)]
    shop.sql("DROP TABLE found; CREATE VIRTUAL TABLE found USING fts5(body, tokenize='ascii');")
    told = shop.said("drift", code=3)
    assert "different: table found" in told and "tokenize='ascii'" in told


def test_a_virtual_table_of_a_module_that_orch_has_not_is_no_obstacle(shop: Shop) -> None:
    shop.said("apply")
    text = "CREATE VIRTUAL TABLE places USING mod_of_others(dirty, checksum)"
    shop.sql(f"PRAGMA writable_schema = 1;INSERT INTO sqlite_master VALUES ('table', 'places', 'places', 0, '{text}');")
    shop.write({"2_b.up.sql": "CREATE TABLE b (n int);\n"})
    shop.said("apply")
    assert shop.version() == 2
    assert "extra: table places" in shop.said("drift", code=3)


@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_two_names_of_one_new_file_are_told_before_anything_runs(tmp_path: Path, kind: str) -> None:
    estate = Estate(tmp_path, {})
    entries = [f'  - {{name: {name}, engine: sqlite, dsn: "sqlite3://{name}.db"}}\n' for name in ("one", "two")]
    (tmp_path / "databases.yaml").write_text(f"version: 1\ndatabases:\n{''.join(entries)}")
    for name in ("one", "two"):
        estate.write(f"sqlite-{name}", {"1_a.up.sql": f"CREATE TABLE {name} (n int);\n"})
    (tmp_path / "one.db").touch()
    if kind == "hard":
        os.link(tmp_path / "one.db", tmp_path / "two.db")
    else:
        (tmp_path / "two.db").symlink_to("one.db")
    told = estate.orch("apply", code=5).text
    assert "sqlite-one and sqlite-two are one database" in told
    assert not (tmp_path / "one.db").stat().st_size, "nothing ran"


def test_bytes_of_a_file_arrive_as_they_are(shop: Shop) -> None:
    directory = shop.estate.root / "migrations" / "sqlite-shop" / "schema"
    text = "\ufeffCREATE TABLE a (s text);\r\nINSERT INTO a VALUES ('x\r\ny\rz\ufeff'), (char(0) || 'n');\r\n"
    (directory / "1_a.up.sql").write_bytes(text.encode())
    (directory / "2_b.up.sql").write_bytes(b"\xef\xbb\xbf")
    shop.said("apply")
    assert shop.version() == 2
    assert shop.sql("SELECT s FROM a") == [("x\r\ny\rz\ufeff",), ("\0n",)]


def test_rows_that_refer_to_nothing_and_the_tables_of_sqlite_itself_have_a_hint(tmp_path: Path) -> None:
    shop = Shop(tmp_path, "sqlite3://{database}.db?_fk=1")
    shop.write(
        {
            "1_a.up.sql": "CREATE TABLE p (id INTEGER PRIMARY KEY);\n"
            "CREATE TABLE c (p REFERENCES p DEFERRABLE INITIALLY DEFERRED);\nINSERT INTO c VALUES (1);\n"
        }
    )
    told = shop.said("apply", code=1)
    assert "FOREIGN KEY constraint failed" in told and "PRAGMA foreign_key_check lists them" in told
    own = "CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT);\nCREATE TABLE sqlite_sequence(name,seq);\n"
    shop.write({"1_a.up.sql": own})
    told = shop.said("apply", code=1)
    assert "1_a.up.sql:2:1" in told and ".schema --nosys leaves it out" in told
    assert not shop.sql("SELECT 1 FROM sqlite_master WHERE name IN ('a', 'p', 'c')")


@contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """Mount a directory read-only."""
    bind = ["mount", "--bind", str(directory), str(directory)]
    if os.geteuid() or subprocess.run(bind, check=False, capture_output=True).returncode:
        pytest.skip("a file system of its own cannot be mounted here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(directory)], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@pytest.mark.parametrize("left", ["nothing", "wal", "journal"])
def test_a_read_only_file_system_is_named(tmp_path: Path, left: str) -> None:
    shop = Shop(tmp_path, "sqlite3://data/{database}.db")
    shop.path = tmp_path / "data" / "shop.db"
    shop.path.parent.mkdir()
    shop.said("apply")
    shop.write({"2_b.up.sql": "CREATE TABLE b (n int);\n"})
    if left == "wal":
        shop.sql("PRAGMA journal_mode = wal;")
    if left == "journal":
        rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 9000) SELECT hex(randomblob(200)) FROM n"
        dying = (
            f"import os, sqlite3; c = sqlite3.connect({str(shop.path)!r}, isolation_level=None); "
            "c.execute('PRAGMA cache_size = 5'); c.execute('BEGIN'); c.execute('CREATE TABLE half (a)'); "
            f"c.execute('INSERT INTO half {rows}'); os._exit(0)"
        )
        subprocess.run([sys.executable, "-c", dying], check=True)
        assert Path(f"{shop.path}-journal").stat().st_size
    with read_only(shop.path.parent):
        told = shop.said("apply", code=7)
        assert f"{shop.path} is on a file system that is mounted read-only" in told
        assert "give this user" not in told
        if left == "nothing":
            assert "applied" in shop.said("history", "shop")
    shop.said("apply")
    assert shop.version() == 2 and not shop.sql("SELECT 1 FROM sqlite_master WHERE name = 'half'")
