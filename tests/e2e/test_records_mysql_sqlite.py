"""Records that cannot be true, on MariaDB and SQLite: refused with a way on, and nothing runs twice."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from estate import Estate, start

FILES = {
    "1_t1.up.sql": "CREATE TABLE t1 (id int);\n",
    "1_t1.down.sql": "DROP TABLE t1;\n",
    "2_paid.up.sql": "INSERT INTO t1 VALUES (2);\n",
    "2_paid.down.sql": "DELETE FROM t1 WHERE id = 2;\n",
    "3_more.up.sql": "INSERT INTO t1 VALUES (3);\n",
    "3_more.down.sql": "DELETE FROM t1 WHERE id = 3;\n",
}


class Shop:
    """A project with one database, on which three migrations are declared."""

    def __init__(self, root: Path, engine: str) -> None:
        self.engine = engine
        self.root = root
        self.id = f"{engine}-shop"
        self.path = root / "shop.db"
        self.directory = root / "migrations" / self.id / "schema"
        if engine == "mysql":
            self.estate = Estate(root, {"mysql": start("mariadb")})
            self.estate.add("mysql", "shop", FILES)
        else:
            self.estate = Estate(root, {})
            entry = 'version: 1\ndatabases:\n  - {name: shop, engine: sqlite, dsn: "sqlite3://{database}.db"}\n'
            (root / "databases.yaml").write_text(entry)
            self.estate.write(self.id, FILES)

    def create(self) -> None:
        if self.engine == "mysql":
            self.estate.mysql("", f"CREATE DATABASE `{self.estate.prefix}shop`")

    def sql(self, *queries: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        for query in queries:
            if self.engine == "mysql":
                rows = self.estate.mysql("shop", query)
            else:
                with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
                    rows = connection.execute(query).fetchall()
        return rows

    def refused(self, *words: str) -> None:
        """Every command refuses the database with these words, and changes nothing."""
        for command in (["status"], ["plan"], ["apply"], ["wait", "--timeout", "60"]):
            told = self.estate.orch(*command, code=5).text
            for word in words:
                assert word in told, (command, word, told)


@pytest.fixture(params=["mysql", "sqlite"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path, request.param)
    yield made
    made.estate.drop()


def test_two_rows_in_the_version_table_are_a_conflict_until_one_is_kept(shop: Shop) -> None:
    shop.estate.orch("apply", "--to", "2", "--only", shop.id)
    shop.sql("INSERT INTO schema_migrations VALUES (1, 0)")
    shop.refused("2 rows", "version 1", "version 2", f"orch repair {shop.id} --keep-version 2")
    shop.estate.orch("repair", shop.id, "--keep-version", "2")
    shop.estate.orch("apply")
    assert sorted(shop.sql("SELECT id FROM t1")) == [(2,), (3,)], "nothing ran twice"
    assert shop.sql("SELECT version FROM schema_migrations") == [(3,)]


def test_emptied_tables_are_not_a_new_database(shop: Shop) -> None:
    shop.estate.orch("apply", "--to", "2", "--only", shop.id)
    shop.sql("DELETE FROM schema_migrations", "DELETE FROM orch_history")
    shop.refused("holds no rows", f"orch baseline {shop.id} --version", "--mark-not-applied 1")
    assert shop.sql("SELECT id FROM t1") == [(2,)]
    shop.estate.orch("baseline", shop.id, "--version", "2")
    shop.estate.orch("apply")
    assert sorted(shop.sql("SELECT id FROM t1")) == [(2,), (3,)], "nothing ran twice"


def test_emptied_tables_beside_those_of_others_can_be_declared_to_begin_at_nothing(shop: Shop) -> None:
    shop.estate.orch("apply")
    shop.sql("DELETE FROM schema_migrations", "DELETE FROM orch_history", "DROP TABLE t1", "CREATE TABLE o (id int)")
    shop.refused("holds no rows")
    shop.estate.orch("repair", shop.id, "--mark-not-applied", "1")
    shop.estate.orch("apply")
    assert sorted(shop.sql("SELECT id FROM t1")) == [(2,), (3,)]


def test_a_first_file_that_fails_beside_tables_of_others_leaves_no_emptied_history(shop: Shop) -> None:
    shop.create()
    shop.sql("CREATE TABLE o (id int)")
    shop.estate.write(shop.id, {"1_t1.up.sql": "INSERT INTO nowhere VALUES (1);\n"})
    for _ in range(2):
        shop.estate.orch("apply", code=1)
    shop.estate.write(shop.id, {"1_t1.up.sql": FILES["1_t1.up.sql"]})
    shop.estate.orch("apply")


def test_a_run_at_its_first_file_beside_tables_of_others_has_emptied_nothing(tmp_path: Path) -> None:
    shop = Shop(tmp_path, "mysql")
    shop.create()
    shop.sql("CREATE TABLE o (id int)")
    shop.estate.write(shop.id, {"1_t1.up.sql": "INSERT INTO o SELECT SLEEP(4);\n"})
    try:
        with shop.estate.start("apply", "--to", "1", "--only", shop.id) as process:
            while ("orch_history",) not in shop.sql("SHOW TABLES") or not shop.sql(
                "SELECT 1 FROM information_schema.PROCESSLIST WHERE INFO LIKE 'INSERT INTO o SELECT SLEEP%'"
            ):
                assert process.poll() is None
            assert shop.estate.status(shop.id)["problems"] == []
            assert "holds no rows" not in shop.estate.orch("wait", "--timeout", "1", code=8).text
            process.communicate()
        assert process.returncode == 0
    finally:
        shop.estate.drop()


def test_a_renumbered_file_is_not_run_again(shop: Shop) -> None:
    shop.estate.orch("apply", "--to", "2", "--only", shop.id)
    for way in ("up", "down"):
        os.rename(shop.directory / f"2_paid.{way}.sql", shop.directory / f"4_paid.{way}.sql")
    shop.refused("would run a second time", f"orch repair {shop.id} --renumber 2=4")
    shop.estate.orch("repair", shop.id, "--renumber", "2=4")
    shop.estate.orch("apply", "--allow-out-of-order")
    assert sorted(shop.sql("SELECT id FROM t1")) == [(2,), (3,)], "nothing ran twice"


OTHERS = (
    ("CREATE TABLE orch_history (id int, note text)", ["another tool's", "its columns are id, note"]),
    ("CREATE TABLE schema_migrations (version varchar(14) PRIMARY KEY)", ["another tool's", "x-migrations-table"]),
    ("CREATE VIEW orch_history AS SELECT 1 AS version", ["orch_history is not a table", "it is a view"]),
    (
        "CREATE VIEW orch_history AS SELECT 1 version, 1 attempt, 'up' direction, '' checksum, 1 done",
        ["orch_history is not a table", "it is a view"],
    ),
    ("CREATE VIEW schema_migrations AS SELECT 2 AS version, 0 AS dirty", ["schema_migrations is not a table"]),
    (
        "CREATE TABLE schema_migrations AS SELECT 'v2' AS version, 0 AS dirty",
        ["a row of schema_migrations is not one that golang-migrate wrote", "'v2', 0"],
    ),
    ("CREATE TABLE schema_migrations AS SELECT NULL AS version, 0 AS dirty", ["not one that golang-migrate wrote"]),
)


@pytest.mark.parametrize(("made", "words"), OTHERS)
def test_tables_of_others_with_the_names_of_ours_are_explained(shop: Shop, made: str, words: list[str]) -> None:
    shop.create()
    shop.sql(made)
    shop.refused(*words)


def test_a_copy_of_a_mariadb_database_is_noticed_and_declared_once(tmp_path: Path) -> None:
    shop = Shop(tmp_path, "mysql")
    try:
        shop.estate.orch("apply", "--to", "2", "--only", shop.id)
        name, copy = f"{shop.estate.prefix}shop", f"{shop.estate.prefix}copy"
        shop.estate.mysql("", f"CREATE DATABASE `{copy}`")
        for (table,) in shop.sql("SHOW TABLES"):
            shop.estate.mysql("", f"CREATE TABLE `{copy}`.`{table}` LIKE `{name}`.`{table}`")
            shop.estate.mysql("", f"INSERT INTO `{copy}`.`{table}` SELECT * FROM `{name}`.`{table}`")
        shop.estate.env["ORCH_DSN_MYSQL_SHOP"] = shop.estate.servers["mysql"].dsn(copy)
        shop.refused(f"written in database '{name}'", f"this is database '{copy}'", f"orch repair {shop.id} --here")
        shop.estate.orch("repair", shop.id, "--here")
        shop.estate.orch("apply")
        del shop.estate.env["ORCH_DSN_MYSQL_SHOP"]
        assert [one["pending"] for one in [shop.estate.status(shop.id)]] == [[3]], "the first one is as it was"
        # Under the old name again, as a restore by way of another name leaves it: its rows say both.
        shop.estate.mysql("", f"DROP DATABASE `{name}`")
        shop.estate.mysql("", f"CREATE DATABASE `{name}`")
        for (table,) in shop.estate.mysql("copy", "SHOW TABLES"):
            shop.estate.mysql("", f"RENAME TABLE `{copy}`.`{table}` TO `{name}`.`{table}`")
        shop.refused(f"written in database '{copy}'")
        shop.estate.orch("repair", shop.id, "--here")
        assert shop.estate.status(shop.id)["pending"] == []
    finally:
        shop.estate.drop()


def test_a_file_of_sqlite_that_is_put_back_goes_on_from_its_own_version(tmp_path: Path) -> None:
    shop = Shop(tmp_path, "sqlite")
    shop.estate.orch("apply", "--to", "2", "--only", shop.id)
    shutil.copy(shop.path, tmp_path / "backup.db")
    shop.estate.orch("apply")
    os.replace(tmp_path / "backup.db", shop.path)
    assert shop.estate.status(shop.id)["pending"] == [3]
    shop.estate.orch("apply")
    assert sorted(shop.sql("SELECT id FROM t1")) == [(2,), (3,)]
