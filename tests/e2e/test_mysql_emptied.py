"""MySQL and MariaDB: what takes rows or numbers away, or runs by itself, is not made a second time after a kill."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kill import Forge
from mysql_shop import Shop

SETUP = {
    "1_a.up.sql": (
        "CREATE TABLE `a b` (i int PRIMARY KEY, j int) PARTITION BY RANGE (i) (PARTITION p VALUES LESS THAN (9));\n"
        "INSERT INTO `a b` VALUES (1, 2), (2, 2);\n"
    )
}
WRITTEN = "INSERT INTO `a b` VALUES (7, 7)"
LOOKED = "SELECT count(*) FROM `a b`"
# The statement, what an application writes before the next run, the exit code of that run, a query, and its answer. First
# where the run was killed after the statement, then where it was killed before.
CASES = [
    ("TRUNCATE TABLE `a b`", WRITTEN, (5, 1), (0, 0), LOOKED),
    ("TRUNCATE `a b`", "", (0, 0), (0, 0), LOOKED),
    ("ALTER TABLE `a b` TRUNCATE PARTITION p", WRITTEN, (5, 1), (0, 0), LOOKED),
    ("ALTER TABLE `a b` DROP COLUMN j, ADD COLUMN j int", WRITTEN, (5, 1), (5, 3), "SELECT count(j) FROM `a b`"),
]
NUMBERS = "SELECT NEXTVAL(s), NEXTVAL(s)"
OF_MARIADB = [
    ("CREATE OR REPLACE TABLE c (i int)", "INSERT INTO c VALUES (7)", (5, 1), (0, 0), "SELECT count(*) FROM c"),
    ("CREATE OR REPLACE TABLE c (i int, k int)", "", (0, 0), (0, 0), "SELECT count(k) FROM c"),
    ("CREATE OR REPLACE SEQUENCE s", NUMBERS, (5, 3), (5, 3), "SELECT NEXTVAL(s)"),
    ("ALTER SEQUENCE s RESTART WITH 50", NUMBERS, (5, 52), (5, 3), "SELECT NEXTVAL(s)"),
]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.estate.drop()


@pytest.mark.parametrize("when", ["after", "before"])
def test_what_others_have_written_since_stays(shop: Shop, forge: Forge, when: str) -> None:
    shop.declare(SETUP)
    for text, written, after, before, query in CASES + (OF_MARIADB if shop.is_maria() else []):
        setup = SETUP["1_a.up.sql"]
        if shop.is_maria():
            setup += "CREATE SEQUENCE s;\nCREATE TABLE c (i int);\nINSERT INTO c VALUES (1);\n"
        (shop.directory / "2_b.up.sql").unlink(missing_ok=True)
        shop.write({"1_a.up.sql": setup})
        shop.orch("apply")
        shop.write({"2_b.up.sql": f"CREATE TABLE first_of_all (i int);\n{text};\nCREATE TABLE last_of_all (i int);\n"})
        _killed(shop, forge, f"{when} MysqlSession.execute", 2)
        if written:
            shop.sql(written)
        code, found = after if when == "after" else before
        told = shop.orch("apply", code=code).text
        assert shop.sql(query) == [(found,)], (text, told)
        shop.estate.drop()


def test_a_login_that_sees_no_ids_asks_a_person_only_where_there_are_rows(shop: Shop, forge: Forge) -> None:
    shop.declare(SETUP)
    user, server = f"{shop.estate.prefix}u", shop.estate.servers["mysql"]
    shop.estate.mysql("", f"CREATE USER '{user}'@'%' IDENTIFIED BY '{server.password}'")
    shop.estate.mysql("", f"GRANT ALL ON `{shop.estate.prefix}shop`.* TO '{user}'@'%'")
    try:
        manifest = (shop.root / "databases.yaml").read_text()
        (shop.root / "databases.yaml").write_text(manifest.replace(f"//{server.user}:", f"//{user}:"))
        shop.orch("apply")
        shop.write({"2_b.up.sql": "CREATE TABLE first_of_all (i int);\nTRUNCATE `a b`;\n"})
        _killed(shop, forge, "before MysqlSession.execute", 2)
        assert "nobody knows" in shop.orch("apply", code=5).text
        shop.orch("repair", "shop", "--statement-not-done", "--reason", "looked")
        _killed(shop, forge, "after MysqlSession.execute", 1)
        shop.orch("apply")
        assert shop.sql(LOOKED) == [(0,)]
    finally:
        shop.estate.mysql("", f"DROP USER '{user}'@'%'")


@pytest.mark.parametrize("when", ["after", "before"])
def test_an_event_that_has_run_and_is_gone_does_not_run_again(shop: Shop, forge: Forge, when: str) -> None:
    """And a variable of the server that is made out of itself is not set twice."""
    ((scheduler, most),) = shop.estate.mysql("", "SELECT @@GLOBAL.event_scheduler, @@GLOBAL.max_connect_errors")
    shop.declare({"1_a.up.sql": "CREATE TABLE log (i int);\n"})
    shop.orch("apply")
    added = "SET GLOBAL max_connect_errors = @@GLOBAL.max_connect_errors + 1"
    event = "CREATE EVENT once ON SCHEDULE AT CURRENT_TIMESTAMP DO INSERT INTO log VALUES (1)"
    try:
        shop.estate.mysql("", "SET GLOBAL event_scheduler = ON")
        for number, text in enumerate((event, added), 2):
            shop.write({f"{number}_b.up.sql": f"CREATE TABLE first_{number} (i int);\n{text};\n"})
            _killed(shop, forge, f"{when} MysqlSession.execute", 2)
            deadline = time.monotonic() + 20
            while when == "after" and not shop.sql("SELECT i FROM log"):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert "in doubt at statement 2" in shop.orch("apply", code=5).text
            shop.orch("repair", "shop", "--statement-done", "--reason", "looked")
            shop.orch("apply")
        done = int(when == "after")
        assert shop.sql("SELECT count(*) FROM log") == [(done,)]
        assert shop.estate.mysql("", "SELECT @@GLOBAL.max_connect_errors") == [(most + done,)]
    finally:
        shop.estate.mysql("", f"SET GLOBAL event_scheduler = {scheduler}, GLOBAL max_connect_errors = {most}")


def _killed(shop: Shop, forge: Forge, label: str, number: int) -> None:
    ended = forge.run(["apply"], shop.root, shop.estate.env, label=label, kill_at=number)
    assert ended.code is None, ended.output
