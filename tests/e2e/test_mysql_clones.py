"""Copies of MySQL databases whose maker is killed: the next run drops what is left, and the name is free again."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest
from mysql_shop import Shop

FILES = {
    "000001_a.up.sql": (
        "CREATE TABLE a (i int PRIMARY KEY, n int);\nINSERT INTO a VALUES (1, 1), (2, 2);\n"
        "CREATE TABLE b (i int, FOREIGN KEY (i) REFERENCES a (i));\nCREATE VIEW v AS SELECT n FROM a;\n"
        "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.n = NEW.n + 1;\n"
    )
}
# Dies before or after the n-th statement of a copy.
DYING = """
import os, signal, sys
from orchestrator.engines.mysql import copies
ask, left = copies.ask, [int(sys.argv.pop(1))]
def dying(connection, query):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return ask(connection, query)
copy = copies.MysqlCopies.copy
def counted(self, *arguments, **named):
    copies.ask = dying
    try:
        copy(self, *arguments, **named)
    finally:
        copies.ask = ask
        print("statements", -left[0], file=sys.stderr)
copies.MysqlCopies.copy = counted
from orchestrator.cli import main
main()
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.estate.drop()


def clones(shop: Shop) -> set[str]:
    query = "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'orch\\_clone\\_%'"
    return {str(name) for (name,) in shop.estate.mysql("", query)}


def dying(shop: Shop, at: int, wanted: str) -> tuple[int, int, str]:
    """Make a clone that is killed at a statement; return exit code, pid, and what it said."""
    command = [sys.executable, "-c", DYING, str(at), "clone", "shop", "--as", wanted]
    process = subprocess.Popen(command, cwd=shop.root, env=shop.estate.env, stdout=-1, stderr=-1, text=True)
    _, said = process.communicate(timeout=60)
    return process.returncode, process.pid, said


def sweep(shop: Shop, points: int) -> int:
    """Kill the maker of a copy at so many of its statements, spread over all of them; return how many there are."""
    shop.declare(FILES)
    wanted = f"{shop.estate.prefix}copy"
    code, _, said = dying(shop, 0, wanted)
    assert code == 0, said
    statements = int(said.rpartition("statements")[2])
    shop.orch("drop-clone", wanted)
    for at in sorted({1 + round(n * (statements - 1) / (points - 1)) for n in range(points)}):
        code, pid, said = dying(shop, at, wanted)
        assert code == -signal.SIGKILL, said
        again = shop.orch("clone", "shop", "--as", wanted, code=None)
        assert again.code == 0, f"killed at {at} of {statements}: {again.text}"
        assert not [name for name in clones(shop) if f"_{pid}_" in name], at
        assert shop.estate.mysql("copy", "SELECT i, n FROM a") == [(1, 1), (2, 2)], at
        assert shop.estate.mysql("copy", "SELECT n FROM v") == [(1,), (2,)], at
        assert shop.estate.mysql("copy", "SHOW TRIGGERS"), at
        shop.orch("drop-clone", wanted)
    return statements


def test_a_clone_half_made_under_a_wanted_name_is_dropped_by_the_next(shop: Shop) -> None:
    assert sweep(shop, 6) > 20


@pytest.mark.soak
def test_a_clone_killed_at_every_statement_is_dropped_by_the_next(shop: Shop) -> None:
    assert sweep(shop, 1000) > 20


def test_a_name_that_somebody_has_is_not_touched(shop: Shop) -> None:
    shop.declare(FILES)
    shop.create()
    shop.estate.mysql("", f"CREATE DATABASE `{shop.estate.prefix}mine`")
    refused = shop.orch("clone", "shop", "--as", f"{shop.estate.prefix}mine", code=None)
    assert "already" in refused.text
    assert refused.code == 2
    assert shop.estate.mysql("", f"SHOW DATABASES LIKE '{shop.estate.prefix}mine'")


def test_clones_of_processes_that_are_gone_and_old_templates_are_dropped(shop: Shop) -> None:
    """By the beginning of their names: of this project, and only what orch made."""
    shop.declare(FILES)
    code, pid, said = dying(shop, 9, f"{shop.estate.prefix}copy")
    assert code == -signal.SIGKILL, said
    assert [name for name in clones(shop) if f"_{pid}_" in name]
    shop.orch("drop-clone", "--left-behind", "--templates")
    assert not [name for name in clones(shop) if f"_{pid}_" in name]
    assert shop.estate.mysql("", f"SHOW DATABASES LIKE '{shop.estate.prefix}%'") == []


def test_no_name_in_double_quotes_and_no_text_reaches_the_real_database(shop: Shop) -> None:
    estate = shop.estate
    shop.declare({"1_a.up.sql": "CREATE TABLE a (i int);\nINSERT INTO a VALUES (1);\n"})
    shop.orch("apply")
    real = f"{estate.prefix}shop"
    shop.write({"2_b.up.sql": f'SET sql_mode = \'ANSI_QUOTES\';\nINSERT INTO "{real}"."a" VALUES (2);\n'})
    shop.orch("clone", "shop", "--as", f"{estate.prefix}first")
    assert estate.mysql("first", "SELECT * FROM a") == [(1,), (2,)]
    assert shop.sql("SELECT * FROM a") == [(1,)]
    shop.orch("apply")
    text = f"SET @s = CONCAT('DELETE FROM ', '`{real}`', '.a');\nPREPARE p FROM @s;\nEXECUTE p;\n"
    shop.write({"3_c.up.sql": text})
    refused = shop.orch("clone", "shop", "--as", f"{estate.prefix}copy", code=4).stderr
    assert "3_c.up.sql:1:" in refused and f"it names the database '{real}', in a text that is executed" in refused
    assert shop.sql("SELECT * FROM a") == [(1,), (2,)]
    shop.orch("apply")  # the real one runs it as it stands
    assert shop.sql("SELECT * FROM a") == []


def test_a_clone_that_somebody_has_locked_is_named_in_seconds(shop: Shop) -> None:
    """The server's own patience is a day for the lock of a table."""
    shop.declare(FILES)
    name = shop.orch("clone", "shop").stdout.strip()
    server = shop.estate.servers["mysql"]
    with pymysql.connect(
        host=server.host, port=server.port, user=server.user, password=server.password, ssl_disabled=True
    ) as other:  # its current database is none
        other.cursor().execute(f"SELECT COUNT(*) FROM `{name}`.a")
        refused = shop.orch("drop-clone", name, code=6).stderr
        assert f"cannot drop the copy {name}: another session or a prepared XA transaction" in refused
        assert f"then: orch drop-clone {name}" in refused
    shop.orch("drop-clone", name)
    assert name not in clones(shop)


def test_columns_that_a_select_does_not_show_are_copied(shop: Shop) -> None:
    """Invisible ones; and those with an expression as their default, which MySQL calls generated."""
    columns = (
        "i int PRIMARY KEY, x int INVISIBLE, g int AS (i + 1), made datetime DEFAULT (NOW()), u text DEFAULT (UUID())"
    )
    versioned = "CREATE TABLE v (n int) WITH SYSTEM VERSIONING;\nINSERT INTO v VALUES (3);\n" if shop.is_maria() else ""
    rows = "INSERT INTO a (i, x, made, u) VALUES (1, 7, '2001-02-03', 'same');\n"
    shop.declare({"1_a.up.sql": f"CREATE TABLE a ({columns});\n{rows}{versioned}"})
    shop.orch("apply")
    wanted = f"{shop.estate.prefix}copy"
    shop.orch("clone", "shop", "--as", wanted)
    ((made,),) = shop.estate.mysql("copy", "SELECT CONCAT_WS(' ', i, x, g, made, u) FROM a")
    assert made == "1 7 2 2001-02-03 00:00:00 same"
    if versioned:
        assert shop.estate.mysql("copy", "SELECT n FROM v") == [(3,)]
    shop.orch("drop-clone", wanted)


def test_what_names_its_own_database_is_of_the_copy_and_no_drift(shop: Shop) -> None:
    """A sequence in a DEFAULT, which the server shows with its database; bodies that name it without quotes, or as an alias."""
    own = f"{shop.estate.prefix}shop"
    up = (
        f"CREATE TABLE log (i int);\nCREATE FUNCTION f() RETURNS int DETERMINISTIC RETURN (SELECT count(*) FROM {own}.log);\n"
        f"CREATE TRIGGER t BEFORE INSERT ON log FOR EACH ROW SET NEW.i = NEW.i + (SELECT count(*) FROM {own}.log {own} "
        f"WHERE {own}.i < 0 AND '{own}.log' <> '');\n"
    )
    down = "DROP FUNCTION f;\nDROP TABLE log;\n"
    if shop.is_maria():
        up += (
            "CREATE SEQUENCE zs;\nCREATE TABLE a (i int DEFAULT NEXTVAL(zs), n int CHECK (n > 0));\n"
            "SET check_constraint_checks = 0;\nINSERT INTO a (n) VALUES (-1);\nCREATE TABLE m1 (i int) ENGINE=MyISAM;\n"
            "CREATE TABLE all_m (i int) ENGINE=MERGE UNION=(m1) INSERT_METHOD=LAST;\nINSERT INTO all_m VALUES (1);\n"
        )
        down += "DROP TABLE a, all_m, m1;\nDROP SEQUENCE zs;\n"
    shop.declare({"1_a.up.sql": up, "1_a.down.sql": down})
    shop.orch("apply")
    shop.orch("drift")
    shop.orch("verify")
    shop.orch("clone", "shop", "--as", f"{shop.estate.prefix}copy")
    assert shop.estate.mysql("copy", "SELECT f()") == [(0,)]
    if shop.is_maria():
        shop.orch("drop-clone", "--templates")
        shop.estate.mysql("copy", "INSERT INTO a (n) VALUES (5)")
        assert shop.estate.mysql("copy", "SELECT n FROM a ORDER BY n") == [(-1,), (5,)]
        assert shop.estate.mysql("copy", "SELECT (SELECT count(*) FROM m1), (SELECT count(*) FROM all_m)") == [(1, 1)]
        assert shop.sql("SELECT NEXTVAL(zs)") == [(2,)]
