"""MySQL Group Replication, with one member: a COMMIT that the group refuses."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from mysql_server import program, server_with
from mysql_shop import Shop

_LIMIT = "group_replication_transaction_size_limit"


def _join(shop: Shop) -> None:
    """Make the server the only member of a group."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    for query in (
        "INSTALL PLUGIN group_replication SONAME 'group_replication.so'",
        "SET GLOBAL group_replication_group_name = 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa'",
        f"SET GLOBAL group_replication_local_address = '{address}', GLOBAL group_replication_group_seeds = '{address}'",
        "SET GLOBAL group_replication_bootstrap_group = ON",
        "START GROUP_REPLICATION",
    ):
        shop.estate.mysql("", query)


def test_a_commit_that_the_group_refuses_is_told_with_its_reason(tmp_path: Path) -> None:
    if program()[1]:
        pytest.skip("MariaDB has no Group Replication")
    options = ("--log-bin=log", "--server-id=7", "--gtid-mode=ON", "--enforce-gtid-consistency=ON")
    with server_with(tmp_path / "one", options) as server:
        shop = Shop(tmp_path, server)
        _join(shop)
        table = "CREATE TABLE t (i int PRIMARY KEY, x longtext);\n"
        shop.declare(
            {"1_a.up.sql": table, "2_b.up.sql": "INSERT INTO t VALUES (1, REPEAT('x', 200000));\n", "2_b.down.sql": ""}
        )
        shop.estate.mysql("", f"SET GLOBAL {_LIMIT} = 100000")
        told = shop.orch("apply", code=1).text
        assert "error 3100" in told
        assert "the log of the server says why" in told
        assert shop.sql("SELECT i FROM t") == []
        shop.estate.mysql("", f"SET GLOBAL {_LIMIT} = 150000000")
        shop.orch("apply")
        assert shop.sql("SELECT i FROM t") == [(1,)]
