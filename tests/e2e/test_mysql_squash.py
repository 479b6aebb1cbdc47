"""One MySQL file in place of several: it comes to the same end, counts where the old ones ran, and goes on after a kill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kill import Forge
from mysql_shop import Shop

FILES = {
    "1_a.up.sql": (
        "SET @old = @@sql_mode, sql_mode = 'ANSI_QUOTES', foreign_key_checks = 0;\nSET NAMES utf8mb4 COLLATE utf8mb4_bin;\n"
        'CREATE TABLE "log" (n int, m varchar(200));\nCREATE TEMPORARY TABLE tmp (i int);\nINSERT INTO tmp VALUES (1);\n'
        "INSERT INTO log SELECT i, 'ä;' FROM tmp;\nSET @n = 5;\n"
    ),
    "1_a.down.sql": "DROP TABLE log;\n",
    "2_b.up.sql": (
        "DELIMITER //\nCREATE PROCEDURE p(x int)\nBEGIN\n  IF x THEN INSERT INTO log VALUES (x, 'p'); END IF;\nEND//\n"
        'CREATE TRIGGER t BEFORE INSERT ON log FOR EACH ROW SET NEW.m = CONCAT(NEW.m, "!")//\nDELIMITER ;\n'
        "CREATE TEMPORARY TABLE tmp (i int);\nINSERT INTO log VALUES (@@foreign_key_checks, @@collation_connection);\n"
        "INSERT INTO log VALUES (@n, 'n');\nDROP TEMPORARY TABLE tmp"
    ),
    "2_b.down.sql": "DROP TRIGGER t;\nDROP PROCEDURE p;\nDELETE FROM log WHERE n IS NULL OR m LIKE 'utf%';\n",
    "3_c.up.sql": "BEGIN;\nINSERT INTO log VALUES (3, 'three');\nUPDATE log SET n = 30 WHERE n = 3;\nCOMMIT;\n",
    "3_c.down.sql": "DELETE FROM log WHERE n = 30;\n",
    "4_d.up.sql": "ALTER TABLE log ADD COLUMN z int;\n",
    "4_d.down.sql": "ALTER TABLE log DROP COLUMN z;\n",
}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.estate.drop()


def _found(shop: Shop) -> tuple[Any, ...]:
    shown = [
        shop.sql(f"SHOW CREATE {one}")[0][2 if one != "TABLE log" else 1]
        for one in ("TABLE log", "PROCEDURE p", "TRIGGER t")
    ]
    # Where a file is one message, MySQL keeps the semicolon behind a trigger.
    return shop.sql("SELECT n, m FROM log"), [str(one).rstrip(";") for one in shown]


def test_a_squash_of_mysql(shop: Shop, forge: Forge) -> None:
    shop.declare(FILES)
    shop.orch("apply")
    before = _found(shop)
    shop.orch("squash", "shop", "--to", "3")
    assert {one.name for one in shop.directory.iterdir()} == {
        *("3_squashed.up.sql", "3_squashed.down.sql", "4_d.up.sql", "4_d.down.sql")
    }
    assert (shop.directory / "3_squashed.up.sql").read_text().startswith("-- orch: replaces 1-3\n")
    shop.orch("validate")
    assert "Nothing to do" in shop.orch("apply").text
    shop.estate.drop()
    shop.orch("apply")  # a new one runs it
    assert _found(shop) == before
    shop.orch("verify")
    shop.orch("rollback", "shop", "--to", "0", "--yes")
    assert shop.state()[0] == ()
    # Killed in it, and continued: nothing twice.
    for label, at in (
        ("after MysqlSession.execute", 2),
        ("before MysqlSession.commit", 9),
        ("after MysqlSession.commit", 14),
    ):
        shop.estate.drop()
        ended = forge.run(["apply"], shop.root, shop.estate.env, kill_at=at, label=label)
        assert ended.code is None, ended.output
        again = shop.orch("apply", code=None)
        assert again.code == 0, again.text
        assert _found(shop) == before


def test_golang_migrate_runs_a_squashed_file(shop: Shop) -> None:
    shop.declare(FILES)
    shop.orch("apply")
    before = _found(shop)
    shop.orch("squash", "shop", "--to", "4")
    shop.estate.drop()
    shop.create()
    shop.golang.up()
    assert _found(shop) == before
    shop.orch("apply")


def test_what_a_squash_refuses(shop: Shop) -> None:
    shop.declare(
        {**FILES, "3_c.up.sql": "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;\nINSERT INTO log VALUES (3, 'x');\n"}
    )
    refused = shop.orch("squash", "shop", "--to", "3", code=4).text
    assert "3_c.up.sql:1:1: this file cannot be joined with others" in refused
    shop.orch("apply", "--only", "shop", "--to", "2")
    shop.orch("squash", "shop", "--to", "2")
    shop.sql("DELETE FROM orch_history WHERE version = 2")
    shop.sql("UPDATE schema_migrations SET version = 1")
    stopped = shop.orch("apply", code=None)
    assert stopped.code != 0
    assert "version 2" in stopped.text
