"""The how-to pages: each block of commands is typed as it stands there, in the situation that its heading names."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import psycopg
import pytest
from estate import Estate
from golang import Crash, Crashed, GolangPostgres, GolangSqlite

DOCS = Path(__file__).parents[2] / "docs"
MANIFEST = """version: 1
servers:
  files: {engine: sqlite, dsn: 'sqlite3://{database}.db'}
databases:
  - {name: order, server: files}
"""
ONE = {"000001_a.up.sql": "CREATE TABLE a (n int);\n", "000001_a.down.sql": "DROP TABLE a;\n"}
TWO = {"000002_b.up.sql": "CREATE TABLE b (n int);\n", "000002_b.down.sql": "DROP TABLE b;\n"}
SCHEMA = Path("migrations/sqlite-order/schema")


def _blocks(page: str) -> dict[str, str]:
    """Return heading → the commands below it."""
    sections = re.split(r"^## ", (DOCS / page).read_text(), flags=re.MULTILINE)[1:]
    return {one.partition("\n")[0]: "".join(re.findall(r"```sh\n(.*?)```", one, re.DOTALL)) for one in sections}


def _sql(shop: Estate, *statements: str) -> None:
    with closing(sqlite3.connect(shop.root / "order.db", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def _failed(shop: Estate) -> None:
    shop.write("sqlite-order", TWO | {"000002_b.up.sql": "CREATE TABLE b (n int); INSERT INTO nowhere VALUES (1);\n"})
    shop.orch("apply", code=1)
    shop.write("sqlite-order", TWO)


def _half(shop: Estate, then: str = "") -> None:
    parts = "CREATE TABLE b (n int);\nVACUUM;\nINSERT INTO {0} VALUES (1);\n"
    shop.write("sqlite-order", TWO | {"000002_b.up.sql": parts.format("nowhere")})
    shop.orch("apply", code=1)
    shop.write("sqlite-order", {"000002_b.up.sql": parts.format("b")})
    if then:
        _sql(shop, then)


def _dirty(shop: Estate, crash: Crash, *then: str) -> None:
    shop.write("sqlite-order", TWO)
    with suppress(Crashed):
        GolangSqlite(shop.root / "order.db", shop.root / SCHEMA).up(crash_at=crash)
    _sql(shop, *then)


def _edited(shop: Estate) -> None:
    shop.write("sqlite-order", {"000001_a.up.sql": "-- the first table\nCREATE TABLE a (n int);\n"})


def _renumbered(shop: Estate) -> None:
    shop.write("sqlite-order", TWO)
    shop.orch("apply")
    for name in TWO:
        (shop.root / SCHEMA / name).rename(shop.root / SCHEMA / name.replace("000002", "000005"))


def _removed(shop: Estate) -> None:
    shop.write("sqlite-order", TWO)
    shop.orch("apply")
    for name in ONE:
        (shop.root / SCHEMA / name).unlink()


def _by_hand(shop: Estate) -> None:
    shop.write("sqlite-order", TWO)
    _sql(shop, "CREATE TABLE b (n int)")


def _two_rows(shop: Estate) -> None:
    _sql(shop, "DROP INDEX IF EXISTS version_unique", "INSERT INTO schema_migrations VALUES (7, 0)")


def _moved(shop: Estate) -> None:
    shutil.copy(shop.root / "order.db", shop.root / "copy.db")
    (shop.root / "order.db").unlink()
    manifest = shop.root / "databases.yaml"
    manifest.write_text(manifest.read_text().replace("server: files", "server: files, database: copy"))


SITUATIONS: dict[str, Callable[[Estate], None]] = {
    "See what is wrong": _edited,
    "A migration failed, and nothing of it is in the database": _failed,
    "A migration stopped half way": _half,
    "… and you finished it by hand": lambda shop: _half(shop, "INSERT INTO b VALUES (1)"),
    "… and you undid what was done of it": lambda shop: _half(shop, "DROP TABLE b"),
    "golang-migrate left the version dirty": lambda shop: _dirty(shop, "ran"),
    "… and nothing of it is there": lambda shop: _dirty(shop, "dirty"),
    "An applied file was edited": _edited,
    "An applied file has another number now": _renumbered,
    "Files of applied migrations were removed on purpose": _removed,
    "Somebody made the change by hand": _by_hand,
    "The version table has two rows": _two_rows,
    "The database is a copy, or moved to another server": _moved,
    "A lock is held, and nobody works": lambda shop: None,
}
PAGE = _blocks("repair.md")


@pytest.mark.parametrize("heading", PAGE)
def test_repair(tmp_path: Path, heading: str) -> None:
    shop = Estate(tmp_path, {})
    (tmp_path / "databases.yaml").write_text(MANIFEST)
    shop.write("sqlite-order", ONE)
    shop.orch("apply")
    SITUATIONS[heading](shop)
    looks = heading == "See what is wrong"
    for line in PAGE[heading].splitlines():
        words = re.findall(r'"[^"]*"|\S+', line)
        assert words[0] == "orch"
        shop.orch(*(word.strip('"') for word in words[1:]), code=None if looks or line == "orch repair order" else 0)
    if not looks:
        status = shop.orch("status").stdout
        assert "1 up to date." in status, status


def test_taking_over_golang_migrate(pg_estate: Estate) -> None:
    name = f"{pg_estate.prefix}order"
    directory = pg_estate.root / "services" / name / "migrations"
    directory.mkdir(parents=True)
    for version in (1, 2, 3, 4):
        (directory / f"00000{version}_t.up.sql").write_text(f"CREATE TABLE t{version} (n int);\n")
        (directory / f"00000{version}_t.down.sql").write_text(f"DROP TABLE t{version};\n")
    server = pg_estate.servers["postgres"]
    env = {"POSTGRES_HOST": server.host, "POSTGRES_PORT": str(server.port), "POSTGRES_USER": server.user}
    env["POSTGRES_PASSWORD"] = server.password
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    golang = GolangPostgres(server.dsn(name), name, directory)
    golang.up(steps=2)
    told = []
    for heading, commands in _blocks("take-over-golang-migrate.md").items():
        if heading.startswith("4."):
            (directory / "000005_t.up.sql").write_text("CREATE TABLE t5 (n int);\n")
            golang.up()
        for line in commands.splitlines():
            if "baseline" in line:  # of a database without a version table
                pg_estate.sql("order", "DROP TABLE schema_migrations")
            words = [word.replace("order", name) if word == "order" else word for word in line.split()]
            told.append(pg_estate.orch(*words[1:], env=env).text)
    text = "\n".join(told)
    assert "adopted what golang-migrate applied: 5" in text
    assert golang.version() == (5, False)
    assert pg_estate.sql("order", "SELECT count(*) FROM pg_tables WHERE tablename LIKE 't_'") == [(5,)]
