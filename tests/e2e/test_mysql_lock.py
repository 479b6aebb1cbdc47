"""Who has the migration lock of a new database is written down only if the lock is held for long."""

import subprocess
import time
from pathlib import Path

import pytest
from mysql_shop import Shop

from orchestrator.engines.mysql.lock import lock_name

WITHIN = 60.0  # seconds
TABLE = "orch_history_lock"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def _tables(shop: Shop) -> set[str]:
    name = f"{shop.estate.prefix}shop"
    query = f"SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{name}'"
    return {str(table) for (table,) in shop.estate.mysql("", query)}


def _holder_while_it_runs(shop: Shop, process: subprocess.Popen[str]) -> list[tuple[object, ...]]:
    """Return who has the lock as the table tells it, and whether that is the session that has it."""
    lock = lock_name(f"{shop.estate.prefix}shop", "schema_migrations")
    deadline = time.monotonic() + WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        if TABLE in _tables(shop):
            query = f"SELECT who, connection = IS_USED_LOCK('{lock}'), since <= UTC_TIMESTAMP(6) FROM {TABLE}"
            if rows := shop.sql(query):
                return rows
        time.sleep(0.1)
    return []


def test_a_new_database_is_migrated_without_the_table(shop: Shop) -> None:
    shop.declare({"1_a.up.sql": "CREATE TABLE a (i int);\n"})
    shop.orch("apply")
    assert _tables(shop) == {"a", "schema_migrations", "orch_history"}
    shop.write({"2_b.up.sql": "CREATE TABLE b (i int);\n"})
    shop.orch("apply")
    assert shop.sql(f"SELECT who LIKE 'orch/%' FROM {TABLE}") == [(1,)]


@pytest.mark.parametrize(
    "files",
    [
        {"1_a.up.sql": "CREATE TABLE a (i int);\nDO SLEEP(8);\n"},
        {
            "1_a.up.sql": "CREATE TABLE a (i int);\nDO SLEEP(1.5);\n",
            "2_b.up.sql": "CREATE TABLE b (i int);\nDO SLEEP(2);\n",
        },
    ],
    ids=["one long statement", "several"],
)
def test_whoever_waits_for_long_is_told_who_migrates_a_new_database(shop: Shop, files: dict[str, str]) -> None:
    shop.declare(files)
    with shop.estate.start("apply") as process:
        ((who, is_holder, is_past),) = _holder_while_it_runs(shop, process)
        told = shop.orch("unlock", "mysql-shop", code=None).text
        _, err = process.communicate(timeout=WITHIN)
    assert process.returncode == 0, err
    assert (str(who).startswith("orch/"), is_holder, is_past) == (True, 1, 1)
    assert str(who) in told
