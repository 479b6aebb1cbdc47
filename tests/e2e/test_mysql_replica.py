"""A primary and a replica that follows it by GTID: nothing is ever written on the replica, and what happens in a failover."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from estate import Estate, Result
from mysql_server import Pair, pair
from mysql_shop import Shop

from orchestrator.embedded import Server

FILES = {
    "1_a.up.sql": (
        "CREATE TABLE a (i int PRIMARY KEY);\nCREATE TEMPORARY TABLE tmp (i int);\nINSERT INTO tmp VALUES (7);\n"
        "INSERT INTO a SELECT i FROM tmp;\nDROP TEMPORARY TABLE tmp;\n"
    ),
    "1_a.down.sql": "DROP TABLE a;\n",
    "2_b.up.sql": "INSERT INTO a VALUES (8);\nUPDATE a SET i = 9 WHERE i = 7;\n",
    "2_b.down.sql": "DELETE FROM a WHERE i = 8;\n",
}
MORE = {"3_c.up.sql": "CREATE TABLE c (i int);\n", "3_c.down.sql": "DROP TABLE c;\n"}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("pair")) as made:
        yield made


@pytest.fixture
def shop(tmp_path: Path, servers: Pair) -> Iterator[Shop]:
    made = Shop(tmp_path, servers.primary)
    yield made
    _read_only(servers, servers.replica, on=False)
    _read_only(servers, servers.primary, on=False)
    made.estate.drop()


def _read_only(servers: Pair, server: Server, *, on: bool) -> None:
    name = "read_only" if servers.is_maria else "super_read_only"
    servers.ask(server, f"SET GLOBAL {name} = {int(on)}", *([] if on else ["SET GLOBAL read_only = 0"]))


def _on(shop: Shop, server: Server, *arguments: str, code: int | None = 0, login: tuple[str, str] = ("", "")) -> Result:
    user, password = login if login[0] else (server.user, server.password)
    dsn = f"mysql://{user}:{password}@tcp({server.host}:{server.port})/{shop.estate.prefix}shop"
    return shop.estate.orch(*arguments, code=code, env={"ORCH_DSN_MYSQL_SHOP": dsn})


def _tables(servers: Pair, server: Server, estate: Estate) -> list[str]:
    query = f"SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{estate.prefix}shop' ORDER BY 1"
    return [str(name) for (name,) in servers.ask(server, query)]


def test_a_replica_is_never_written_to(shop: Shop, servers: Pair) -> None:
    """The login may write all the same: as a root login does, where read_only is on."""
    shop.declare(FILES)
    _read_only(servers, servers.replica, on=True)
    for command in (["plan"], ["apply"]):  # the database is not there yet: it must not be created
        refused = _on(shop, servers.replica, *command, code=7).text
        assert "read_only is on" in refused
        assert "the DSN of the primary" in refused
    assert servers.ask(servers.replica, f"SHOW DATABASES LIKE '{shop.estate.prefix}shop'") == []
    shop.orch("apply")
    servers.wait()
    assert servers.ask(servers.replica, f"SELECT i FROM `{shop.estate.prefix}shop`.a") == [(8,), (9,)]
    before = _tables(servers, servers.replica, shop.estate)
    _on(shop, servers.replica, "clones", code=None)
    _on(shop, servers.replica, "drop-clone", "--templates", code=None)
    assert "orch_history" in before
    assert "read_only is on" in _on(shop, servers.replica, "status", code=7).text
    assert "read-only" in _on(shop, servers.replica, "doctor", code=None).text
    shop.write(MORE)
    for command in (
        ["plan"],
        ["apply"],
        ["verify"],
        ["rollback", "shop", "--steps", "1", "--yes"],
        ["clone", "shop", "--as", f"{shop.estate.prefix}copy"],
        ["repair", "shop", "--mark-applied", "3", "--reason", "x"],
    ):
        told = _on(shop, servers.replica, *command, code=None)
        assert told.code in (1, 7)
        assert "read_only is on" in told.text
        assert "the DSN of the primary" in told.text
    left = [str(name) for (name,) in servers.ask(servers.replica, "SHOW DATABASES")]
    assert [name for name in left if "orch" in name or "copy" in name] == []
    assert _tables(servers, servers.replica, shop.estate) == before
    shop.orch("apply")
    logged = [row for row in servers.ask(servers.replica, "SHOW BINLOG EVENTS") if row[2] == "Query" and row[3] == 2]
    assert logged == []
    servers.wait()  # the replica has followed: nothing of its own is in the way
    assert "c" in _tables(servers, servers.replica, shop.estate)


def test_a_plan_of_the_primary_is_not_applied_after_a_failover(shop: Shop, servers: Pair) -> None:
    shop.declare(FILES)
    shop.orch("plan", "--out", "plan.json", code=None)
    _read_only(servers, servers.primary, on=True)
    told = shop.orch("apply", "plan.json", code=7).text
    assert "the DSN of the primary" in told
    _read_only(servers, servers.primary, on=False)
    assert servers.ask(servers.primary, f"SHOW DATABASES LIKE '{shop.estate.prefix}shop'") == []
    shop.orch("apply", "plan.json")
    shop.write(MORE)
    shop.orch("plan", "--out", "plan.json", code=None)
    _read_only(servers, servers.primary, on=True)
    assert "the DSN of the primary" in shop.orch("apply", "plan.json", code=7).text
    _read_only(servers, servers.primary, on=False)
    assert "c" not in _tables(servers, servers.primary, shop.estate)
    shop.orch("apply", "plan.json")
    shop.orch("rollback", "shop", "--to", "0", "--yes")
    servers.wait()


def test_a_failover_in_the_middle_of_a_file(shop: Shop, servers: Pair) -> None:
    """The server refuses the next write: what is done stays recorded, and the next run goes on behind it."""
    user, password = f"u{secrets.token_hex(3)}", secrets.token_hex(8)
    shop.create()
    grant = f"GRANT ALL ON `{shop.estate.prefix}shop`.* TO '{user}'@'127.0.0.1'"
    servers.ask(servers.primary, f"CREATE USER '{user}'@'127.0.0.1' IDENTIFIED BY '{password}'", grant)
    shop.declare(
        {"1_a.up.sql": "CREATE TABLE a (i int);\nDO SLEEP(1);\nCREATE TABLE b (i int);\nINSERT INTO a VALUES (1);\n"}
    )
    dsn = f"mysql://{user}:{password}@tcp({servers.primary.host}:{servers.primary.port})/{shop.estate.prefix}shop"
    try:
        with shop.estate.start("apply", env={"ORCH_DSN_MYSQL_SHOP": dsn}) as process:
            while "a" not in _tables(servers, servers.primary, shop.estate):
                assert process.poll() is None
            _read_only(servers, servers.primary, on=True)
            out, err = process.communicate(timeout=60)
        assert process.returncode == 7
        assert "Traceback" not in out + err
        assert "the DSN of the primary" in out + err
        assert password not in out + err
        _on(shop, servers.primary, "apply", code=7, login=(user, password))
        _read_only(servers, servers.primary, on=False)
        again = _on(shop, servers.primary, "apply", login=(user, password))
        assert "continues at statement" in again.text
        assert shop.sql("SELECT * FROM a") == [(1,)]
        assert shop.sql("SELECT * FROM b") == []
    finally:
        _read_only(servers, servers.primary, on=False)
        servers.ask(servers.primary, f"DROP USER '{user}'@'127.0.0.1'")
