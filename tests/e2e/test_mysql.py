"""MySQL and MariaDB through the installed command, on a real server: kills, golang-migrate beside it, bad files and servers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
from estate import Figure
from golang import Crashed
from kill import Forge
from mysql_shop import Shop

FILES = {
    "000001_t1.up.sql": (
        "CREATE TABLE log (n int);\nCREATE TABLE t1 (id int);\nINSERT INTO t1 VALUES (1);\n"
        "INSERT INTO log VALUES (1);\n"
    ),
    "000001_t1.down.sql": "DROP TABLE t1, log;\n",
    "000002_t2.up.sql": (
        "SET @n = 2;\nALTER TABLE t1 ADD COLUMN a int, ADD KEY (a);\nINSERT INTO log VALUES (@n);\n"
        "RENAME TABLE t1 TO t2;\nUPDATE t2 SET a = 5;\nALTER TABLE log ADD KEY (n);\n"
    ),
    "000002_t2.down.sql": (
        "RENAME TABLE t2 TO t1;\nALTER TABLE t1 DROP COLUMN a;\nALTER TABLE log DROP KEY n;\n"
        "DELETE FROM log WHERE n = 2;\n"
    ),
    "000003_t3.up.sql": "INSERT INTO log VALUES (3);\nINSERT INTO t2 VALUES (3, 3);\n",
    "000003_t3.down.sql": "DELETE FROM log WHERE n = 3;\nDELETE FROM t2 WHERE id = 3;\n",
}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.estate.drop()


WHOLE = (("log", [(1,), (2,), (3,)]), ("t2", [(1, 5), (3, 3)]))


def test_up_verified_and_down(shop: Shop) -> None:
    shop.declare(FILES)
    applied = shop.orch("apply")
    assert "3 migrations" in applied.text
    assert shop.state()[0] == WHOLE
    assert shop.sql("SELECT version, dirty FROM schema_migrations") == [(3, 0)]
    shop.orch("plan", code=0)
    assert shop.estate.status("mysql-shop")["pending"] == []
    verified = shop.orch("verify")
    assert "3" in verified.text
    shop.orch("rollback", "shop", "--to", "0", "--yes")
    assert shop.state()[0] == ()
    assert shop.sql("SELECT version, dirty FROM schema_migrations") == []
    left = [
        name for (name,) in shop.estate.mysql("", "SHOW DATABASES") if "orch" in name and shop.estate.prefix in name
    ]
    assert not left


def _sweep(
    shop: Shop, forge: Forge, points: list[tuple[int, float]], way: list[str], before: list[str]
) -> tuple[int, list[str]]:
    """Kill a run at each of these points, some seconds later; let the next finish it. Return the kills, and what was lost."""
    killed, lost = 0, []
    for point, delay in points:
        shop.estate.drop()
        if before:
            assert forge.run(before, shop.root, shop.estate.env, kill_at=-1).code == 0
        ended = forge.run(way, shop.root, shop.estate.env, kill_at=point, delay=delay)
        killed += ended.code is None
        again = forge.run(way, shop.root, shop.estate.env, kill_at=-1)
        if again.code != 0 or shop.state()[0] != (WHOLE if way[0] == "apply" else ()):
            lost.append(f"killed at {point} + {delay} {ended.points[-1:]}: {again.output}")
    return killed, lost


@pytest.mark.parametrize("way", [["apply"], ["rollback", "shop", "--to", "0", "--yes"]], ids=["up", "down"])
def test_a_run_killed_anywhere_is_finished_by_the_next(shop: Shop, forge: Forge, way: list[str]) -> None:
    shop.declare(FILES)
    before = [] if way == ["apply"] else ["apply"]
    if before:
        shop.orch(*before)
    whole = forge.run(way, shop.root, shop.estate.env, kill_at=10_000)
    assert whole.code == 0, whole.output
    points = random.Random(18).sample(range(1, len(whole.points) + 1), 6)
    assert _sweep(shop, forge, [(point, 0.0) for point in sorted(points)], way, before) == (6, [])


@pytest.mark.soak
@pytest.mark.parametrize("way", [["apply"], ["rollback", "shop", "--to", "0", "--yes"]], ids=["up", "down"])
def test_a_run_killed_at_every_point_is_finished_by_the_next(
    shop: Shop, forge: Forge, way: list[str], figure: Figure
) -> None:
    shop.declare(FILES)
    before = [] if way == ["apply"] else ["apply"]
    if before:
        shop.orch(*before)
    whole = forge.run(way, shop.root, shop.estate.env, kill_at=10_000)
    moments = random.Random(18)
    points = [(at, delay) for at in range(1, len(whole.points) + 1) for delay in (0.0, moments.uniform(0.0002, 0.02))]
    killed, lost = _sweep(shop, forge, points, way, before)
    figure(f"kills of {way[0]} on MariaDB", tried=killed, lost=len(lost), points=len(whole.points))
    assert not lost, lost[0]
    assert killed > len(whole.points)


def test_a_client_killed_in_a_long_alter_finds_it_done(shop: Shop, forge: Forge) -> None:
    """The server runs it to its end, and frees the lock then: the next run waits for it, and makes it once."""
    shop.declare(
        {"1_a.up.sql": "CREATE TABLE big (id int, t varchar(200));\nINSERT INTO big VALUES (1, REPEAT('x', 200));\n"}
    )
    shop.orch("apply")
    for _ in range(13):
        shop.sql("INSERT INTO big SELECT id, t FROM big")
    shop.write(
        {
            "2_b.up.sql": "ALTER TABLE big ADD COLUMN a int, ADD KEY (t), ALGORITHM=COPY;\nINSERT INTO big (a) VALUES (7);\n"
        }
    )
    ended = forge.run(["apply"], shop.root, shop.estate.env, kill_at=1, label="before Wire.run", delay=0.03)
    assert ended.code is None, ended.output
    again = shop.orch("apply")
    assert shop.sql("SELECT count(*) FROM big WHERE a = 7") == [(1,)]
    assert "was cut off" in again.text


def test_a_drop_of_several_tables_goes_on_where_it_stopped(shop: Shop) -> None:
    shop.declare(
        {
            "1_a.up.sql": "CREATE TABLE a (i int);\nCREATE TABLE b (i int);\n",
            "2_b.up.sql": "DROP TABLE a, missing, b;\n",
        }
    )
    failed = shop.orch("apply", code=1)
    assert "2_b.up.sql:1:15" in failed.text
    if shop.is_maria():  # MySQL drops all or none
        assert "may be done in part" in failed.text
    shop.sql("CREATE TABLE missing (i int)")
    shop.orch("apply")
    assert shop.state()[0] == ()


def test_a_failed_file_is_told_with_its_place_and_continued(shop: Shop) -> None:
    shop.declare({"1_a.up.sql": "CREATE TABLE a (i int);\nINSERT INTO a VALUES (1);\nINSERT INTO a\n  VALUES (1 2);\n"})
    failed = shop.orch("apply", code=1)
    assert "1_a.up.sql:4:13" in failed.text
    assert "2 of 3 statements are done" in failed.text
    shop.write({"1_a.up.sql": "CREATE TABLE a (i int);\nINSERT INTO a VALUES (1);\nINSERT INTO a\n  VALUES (2);\n"})
    shop.orch("apply")
    assert shop.sql("SELECT i FROM a ORDER BY i") == [(1,), (2,)]


def test_the_session_is_put_back_after_each_file(shop: Shop) -> None:
    shop.declare(
        {
            "1_a.up.sql": (
                "SET sql_mode = 'ANSI_QUOTES';\nSET foreign_key_checks = 0;\nSET time_zone = '+05:00';\nSET @x = 5;\n"
                'CREATE TABLE "a" (i int);\nCREATE TEMPORARY TABLE tmp (i int);\nSET NAMES latin1;\nSET sql_safe_updates = 1;\n'
            ),
            "2_b.up.sql": (
                "CREATE TABLE seen AS SELECT @@foreign_key_checks AS f, @@sql_mode AS m, @@time_zone AS z, @x AS x, "
                "@@sql_safe_updates AS s, @@character_set_client AS c;\nCREATE TEMPORARY TABLE tmp (i int);\n"
            ),
        }
    )
    shop.orch("apply")
    ((foreign_keys, mode, zone, value, safe, charset),) = shop.sql("SELECT * FROM seen")
    assert (foreign_keys, zone, value, safe, charset) == (1, "SYSTEM", None, 0, "utf8mb4")
    assert "ANSI_QUOTES" not in mode


def test_what_a_file_needs_of_its_own_session_is_not_guessed(shop: Shop) -> None:
    shop.declare(
        {
            "1_a.up.sql": (
                "CREATE TABLE a (i int);\nSELECT count(*) INTO @n FROM a;\nSET @m = 4;\n"
                "ALTER TABLE a ADD COLUMN b int;\nINSERT INTO a VALUES (@m, 1);\nINSERT INTO a VALUES (@n, bad);\n"
            )
        }
    )
    shop.orch("apply", code=1)
    text = (shop.directory / "1_a.up.sql").read_text().replace("bad", "1")
    shop.write({"1_a.up.sql": text})
    refused = shop.orch("apply", code=5)
    assert "@n went with the session" in refused.text
    assert shop.sql("SELECT * FROM a") == [(4, 1)]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_mode_that_a_file_computes_changes_nothing_of_what_is_found_out(shop: Shop, forge: Forge, when: str) -> None:
    """SHOW CREATE quotes names otherwise with ANSI_QUOTES: that is no sign that a statement was done."""
    shop.declare(
        {
            "1_a.up.sql": (
                "SET sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES');\nCREATE TABLE a (i int);\n"
                'ALTER TABLE "a" ADD COLUMN b int;\nCREATE TABLE "c" AS SELECT @@sql_mode AS mode;\n'
            )
        }
    )
    ended = forge.run(["apply"], shop.root, shop.estate.env, kill_at=3, label=f"{when} MysqlSession.execute")
    assert ended.code is None, ended.output
    shop.orch("apply")
    assert [name for (name, *_) in shop.sql("SHOW COLUMNS FROM a")] == ["i", "b"]
    assert "ANSI_QUOTES" in str(shop.sql("SELECT mode FROM c"))


def test_a_setting_whose_value_is_not_the_same_again_is_not_guessed(shop: Shop) -> None:
    shop.declare(
        {
            "1_a.up.sql": (
                "CREATE TABLE a (i int);\nSET max_error_count = (SELECT 60 + count(*) FROM a);\nINSERT INTO a VALUES (1);\n"
                "ALTER TABLE a ADD COLUMN b int;\nINSERT INTO a VALUES (2, bad);\n"
            )
        }
    )
    shop.orch("apply", code=1)
    text = (shop.directory / "1_a.up.sql").read_text().replace("bad", "1")
    shop.write({"1_a.up.sql": text})
    assert "max_error_count went with the session" in shop.orch("apply", code=5).text


def test_what_may_not_be_in_a_transaction_with_its_record(shop: Shop) -> None:
    """Rows of MyISAM stay whatever happens: their statements are not taken for transactional."""
    shop.declare({"1_a.up.sql": "CREATE TABLE m (i int) ENGINE=MyISAM;\n", "2_b.up.sql": "INSERT INTO m VALUES (1);\n"})
    shop.orch("apply")
    assert shop.sql("SELECT * FROM m") == [(1,)]
    shop.write({"3_c.up.sql": "INSERT INTO m VALUES (2);\nINSERT INTO m VALUES ('x');\n"})
    failed = shop.orch("apply", code=1)
    assert "may be done in part" in failed.text
    doubt = shop.orch("apply", code=5)
    assert "orch repair" in doubt.text


# ---------------------------------------------------------------- beside golang-migrate


def test_taking_turns_with_golang_migrate(shop: Shop) -> None:
    shop.declare(FILES)
    shop.create()
    shop.golang.up(1)
    shop.orch("apply")
    assert shop.state()[0] == WHOLE
    shop.golang.down(1)
    assert shop.estate.status("mysql-shop")["version"] == 2
    shop.orch("apply")
    shop.orch("rollback", "shop", "--to", "0", "--yes")
    shop.golang.up()
    shop.orch("apply")
    assert shop.state()[0] == WHOLE


@pytest.mark.parametrize("crash", ["dirty", "middle", "ran"])
def test_a_dirty_database_of_golang_migrate_is_told_and_repaired(shop: Shop, crash: Any) -> None:
    shop.declare(FILES)
    shop.create()
    with pytest.raises(Crashed):
        shop.golang.up(1, crash_at=crash)
    refused = shop.orch("apply", code=5)
    assert "dirty" in refused.text
    assert "orch repair" in refused.text


def test_golang_migrates_lock_is_waited_for(shop: Shop) -> None:
    shop.declare(FILES)
    shop.create()
    with shop.golang._locked(None):
        refused = shop.orch("apply", "--lock-timeout", "1", code=6)
        assert "another program" in refused.text
    shop.orch("apply")


# ---------------------------------------------------------------- bad servers, names and rights


def test_missing_rights_are_told_from_a_missing_database(shop: Shop) -> None:
    shop.declare({"1_a.up.sql": "CREATE TABLE a (i int);\n"})
    server = shop.estate.servers["mysql"]
    user = f"u{shop.estate.prefix}"
    shop.estate.mysql("", f"CREATE USER '{user}'@'127.0.0.1' IDENTIFIED BY 'sesame-opens'")
    dsn = {
        "ORCH_DSN_MYSQL_SHOP": f"mysql://{user}:sesame-opens@tcp({server.host}:{server.port})/{shop.estate.prefix}shop"
    }
    try:
        none = shop.estate.orch("apply", code=None, env=dsn)
        assert none.code == 7
        assert "has no right on the database" in none.text
        assert "sesame" not in none.text
        pattern = f"{shop.estate.prefix}shop".replace("_", "\\_")
        grant = f"GRANT ALL ON `{pattern}`.* TO '{user}'@'127.0.0.1';"
        assert grant in none.text
        shop.create()
        shop.estate.mysql("", f"GRANT SELECT, INSERT ON `{shop.estate.prefix}shop`.* TO '{user}'@'127.0.0.1'")
        some = shop.estate.orch("apply", code=None, env=dsn)
        assert some.code == 7
        assert "lacks a right" in some.text
        assert grant in some.text
        shop.estate.mysql("", grant)
        shop.estate.orch("apply", env=dsn)
    finally:
        shop.estate.mysql("", f"DROP USER '{user}'@'127.0.0.1'")


def test_a_wrong_character_set_is_told_before_anything_is_made(shop: Shop) -> None:
    shop.declare({"1_a.up.sql": "CREATE TABLE a (i int);\n"}, create={"encoding": "utf9"})
    failed = shop.orch("apply", code=1)
    assert "utf9" in failed.text
    assert shop.estate.snapshot() == {}


def test_a_version_table_without_transactions_is_refused(shop: Shop) -> None:
    shop.declare(FILES)
    shop.create()
    shop.sql(
        "CREATE TABLE schema_migrations (version bigint not null primary key, dirty boolean not null) ENGINE=MyISAM"
    )
    refused = shop.orch("apply", code=5)
    assert "ENGINE=InnoDB" in refused.text
    assert not [table for (table,) in shop.sql("SHOW TABLES") if table == "t1"]


@pytest.mark.parametrize("name", ["select", "Shop-1", "ราคา", "a b"])
def test_names_that_must_be_quoted(shop: Shop, name: str) -> None:
    server = shop.estate.servers["mysql"]
    database = f"{shop.estate.prefix}{name}"
    shop.declare({"1_a.up.sql": "CREATE TABLE `select` (`key` int);\nDROP TABLE `select`;\n"})
    dsn = f"mysql://{server.user}:{server.password}@tcp({server.host}:{server.port})/{database}"
    shop.estate.orch("apply", env={"ORCH_DSN_MYSQL_SHOP": dsn})
    assert shop.estate.mysql(name, "SELECT version FROM schema_migrations") == [(1,)]


def test_a_file_that_touches_our_records_is_refused(shop: Shop) -> None:
    shop.declare(
        {"1_a.up.sql": "CREATE TABLE a (i int);\n", "2_b.up.sql": "UPDATE schema_migrations SET version = 7;\n"}
    )
    refused = shop.orch("apply", code=1)
    assert "2_b.up.sql:1:8" in refused.text
    assert shop.sql("SELECT version, dirty FROM schema_migrations") == [(1, 0)]


def test_a_clone_is_whole(shop: Shop) -> None:
    shop.declare(
        {
            "1_a.up.sql": (
                "CREATE TABLE a (i int PRIMARY KEY AUTO_INCREMENT, n int, g int AS (n + 1) STORED);\n"
                "CREATE TABLE b (i int, FOREIGN KEY (i) REFERENCES a (i));\nINSERT INTO a (n) VALUES (4);\n"
                "INSERT INTO b VALUES (1);\nCREATE VIEW v2 AS SELECT n FROM a;\nCREATE VIEW v1 AS SELECT n FROM v2;\n"
                "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.n = NEW.n + 1;\n"
                "CREATE PROCEDURE p() BEGIN SELECT count(*) FROM a; END;\n"
            )
        }
    )
    shop.orch("apply")
    made = shop.orch("clone", "shop", "--as", f"{shop.estate.prefix}copy", code=None)
    assert made.code == 0, made.text
    assert shop.estate.mysql("copy", "SELECT n, g FROM a") == [(4, 5)]
    assert shop.estate.mysql("copy", "SELECT n FROM v1") == [(4,)]
    assert shop.estate.mysql("copy", "CALL p()") == [(1,)]
    with pytest.raises(pymysql.IntegrityError):
        shop.estate.mysql("copy", "INSERT INTO b VALUES (9)")
    for name in [name for (name,) in shop.estate.mysql("", "SHOW DATABASES") if name.startswith("orch_")]:
        shop.estate.mysql("", f"DROP DATABASE IF EXISTS `{name}`")
