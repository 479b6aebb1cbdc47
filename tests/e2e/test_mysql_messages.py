"""Several statements of orch in one message to MySQL: few messages, and never a statement of a file that becomes two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pymysql
import pytest
from kill import Forge
from mysql_server import server_with
from mysql_shop import Shop

from orchestrator.engines.mysql.connection import OurConnection, ask, ask_all, run_alone
from orchestrator.engines.mysql.engine import Mysql
from orchestrator.errors import DatabaseMissingError
from orchestrator.model import CreateOptions, Target
from orchestrator.secret import Secret

FILES = {
    "1_a.up.sql": "CREATE TABLE item (id int PRIMARY KEY, name varchar(80));\nCREATE INDEX item_name ON item (name);\n",
    "2_b.up.sql": "ALTER TABLE item ADD COLUMN note varchar(80);\n",
    "3_c.up.sql": "INSERT INTO item (id, name) VALUES (1, 'one; two'), (2, 'DROP TABLE item;');\n",
}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.estate.drop()


def connection_to(shop: Shop) -> OurConnection:
    from pymysql.constants import CLIENT

    server = shop.estate.servers["mysql"]
    return OurConnection(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        charset="utf8mb4",
        autocommit=True,
        ssl_disabled=True,
        client_flag=CLIENT.MULTI_STATEMENTS,
    )


def test_a_statement_of_a_file_never_becomes_two(shop: Shop) -> None:
    connection = connection_to(shop)
    try:
        for send in (ask, run_alone):
            with pytest.raises(pymysql.err.ProgrammingError) as refused:
                send(connection, "SELECT 1; SELECT 2")
            assert refused.value.args[0] == 1064
            assert ask_all(connection, ["SELECT 1", "SELECT 'a;b'"]) == [((1,),), (("a;b",),)]
            assert ask(connection, "SELECT 'c;d'") == (("c;d",),)
        connection.waiting.append("SET @kept = 5")
        assert ask(connection, "SELECT ';', @kept") == ((";", 5),)
        answers: list[tuple[tuple[object, ...], ...]] = []
        with pytest.raises(pymysql.Error):
            ask_all(connection, ["SELECT 1", "SELECT wrong", "SET @kept = 6"], answers)
        assert answers == [((1,),)]
        assert ask(connection, "SELECT @kept") == ((5,),)
    finally:
        connection.close()


def test_a_new_database_takes_few_messages(tmp_path: Path) -> None:
    """Those of a run with nothing to do are taken off: the survey, and what is asked once for a server."""
    with server_with(tmp_path / "own", ()) as server:  # it counts what all of its sessions send
        shop = Shop(tmp_path, server)
        shop.declare(FILES)
        before = {str(name): int(value) for name, value in shop.estate.mysql("", "SHOW GLOBAL STATUS LIKE 'Com\\_%'")}
        shop.orch("apply")
        now = {str(name): int(value) for name, value in shop.estate.mysql("", "SHOW GLOBAL STATUS LIKE 'Com\\_%'")}
        used = {name: now[name] - before[name] for name in now if now[name] > before[name]}
        assert used["Com_commit"] == 6, used  # three intents, two ends of files, and the rows of the last file
        assert used["Com_select"] < 14, used
        assert used["Com_show_create_table"] == 3, used
        assert shop.sql("SELECT * FROM item") == [(1, "one; two", None), (2, "DROP TABLE item;", None)]
        told = shop.sql("SELECT version, applied, total, in_flight, done FROM orch_history ORDER BY version")
        assert told == [(1, 2, 2, 0, 1), (2, 1, 1, 0, 1), (3, 1, 1, 0, 1)]


def test_a_connection_that_found_a_database_missing_is_used_again_unless_it_is_gone(shop: Shop) -> None:
    shop.create()
    server = shop.estate.servers["mysql"]
    engine: Any = Mysql("a test", "1")
    here, one, two = (
        Target("mysql-x", "mysql", Secret(server.dsn(name)), name, "here", "server")
        for name in (f"{shop.estate.prefix}{end}" for end in ("shop", "one", "two"))
    )
    used = []
    for target in (one, two, here):
        with suppress(DatabaseMissingError), engine.connect(target) as session:
            used.append(session.connection.thread_id())
            assert ask(session.connection, "SELECT DATABASE()") == ((here.database,),)
    with pytest.raises(DatabaseMissingError), engine.connect(one):
        pass
    idle = [one.thread_id() for each in engine._idle.values() for one in each]
    for id in idle:
        shop.sql(f"KILL {id}")
    assert engine.create(one, CreateOptions())
    with engine.connect(one) as session, session.lock(1, print):
        assert session.connection.thread_id() not in (*used, *idle)
        assert not session.read_history().store
    engine.close()
    shop.estate.mysql("", f"DROP DATABASE `{one.database}`")
    assert len(used) == len(idle) == 1


def test_after_a_kill_the_next_run_finds_out_that_a_statement_was_done(shop: Shop, forge: Forge) -> None:
    shop.declare(FILES)
    ended = forge.run(
        ["apply"], shop.root, shop.estate.env, kill_at=2, label="after MysqlSession.commit"
    )  # the first commit was the intent
    assert ended.code is None, ended.output
    assert shop.sql("SELECT applied, in_flight FROM orch_history") == [(0, 1)]
    again = shop.orch("apply")
    assert "was cut off: table item is no longer as before" in again.text
    assert shop.sql("SELECT applied, done FROM orch_history WHERE version = 1") == [(2, 1)]


def test_an_end_is_recorded_if_the_next_statement_fails(shop: Shop) -> None:
    shop.declare({"1_a.up.sql": "CREATE TABLE a (x int);\nCREATE TABLE b (x int);\nCREATE TABLE a (y int);\n"})
    shop.orch("apply", code=1)
    assert shop.sql("SELECT applied, in_flight, done FROM orch_history") == [(2, 0, 0)]
    shop.write({"1_a.up.sql": "CREATE TABLE a (x int);\nCREATE TABLE b (x int);\nCREATE TABLE c (y int);\n"})
    shop.orch("apply")
    assert [name for (name,) in shop.sql("SHOW TABLES") if len(str(name)) == 1] == ["a", "b", "c"]


def test_messages_between_the_statements_of_a_file_change_nothing_that_it_asks_for(shop: Shop) -> None:
    """Variables and LAST_INSERT_ID() between changes of the schema; ROW_COUNT() also after a warning, in a file of rows alone."""
    files = {
        "1_a.up.sql": (
            "SET @orch = 5;\nCREATE TABLE p (id int AUTO_INCREMENT PRIMARY KEY, t tinyint);\nINSERT INTO p (t) VALUES (1), (2);\n"
            "CREATE TABLE told (a bigint, b bigint);\nINSERT INTO told VALUES (@orch, LAST_INSERT_ID());\n"
        ),
        "2_b.up.sql": (
            "INSERT IGNORE INTO p (t) VALUES (1), (2000), (3);\nINSERT INTO told VALUES (ROW_COUNT(), LAST_INSERT_ID());\n"
            "SELECT * FROM p;\nINSERT INTO told VALUES (FOUND_ROWS(), 0);\n"
        ),
        "3_c.up.sql": "CREATE PROCEDURE r() BEGIN DELETE FROM p; INSERT INTO told VALUES (ROW_COUNT(), 0); END;\nCALL r();\n",
    }
    shop.declare(files)
    shop.orch("apply")
    assert shop.sql("SELECT a, b FROM told") == [(5, 1), (3, 3), (5, 0), (5, 0)]
    counted = "INSERT INTO told VALUES (ROW_COUNT(), 1);\n"
    for asked in ("SET @n = ROW_COUNT();", counted, "GET DIAGNOSTICS @n = ROW_COUNT;"):
        shop.write({"4_d.up.sql": f"ALTER TABLE p ADD COLUMN x int;\nUPDATE p SET x = 1;\n{asked}\n"})
        told = shop.orch("apply", code=4).text
        assert "4_d.up.sql:3" in told, told
        assert "asks about the statement before it" in told
    shop.write(
        {
            "4_d.up.sql": "CREATE TABLE flat (x int) ENGINE=MyISAM;\n",
            "5_e.up.sql": f"INSERT INTO flat VALUES (1);\n{counted}",
        }
    )
    told = shop.orch("apply", code=1).text
    assert "5_e.up.sql:2:26" in told, told
    assert shop.sql("SELECT * FROM flat") == []
    assert len(shop.sql("SHOW COLUMNS FROM p")) == 2


def test_an_error_after_the_first_result_of_a_call_belongs_to_the_call(shop: Shop) -> None:
    shop.declare({"1_a.up.sql": "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; SELECT 3 FROM missing_one; END;\n"})
    shop.orch("apply")
    shop.write({"2_b.up.sql": "CREATE TABLE a (x int);\nCALL p();\n"})
    told = shop.orch("apply", code=1).text
    assert "2_b.up.sql:2" in told, told
    assert "missing_one" in told, told
