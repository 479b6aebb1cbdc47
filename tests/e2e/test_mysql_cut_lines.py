"""Lines to MariaDB that break at the worst moment: what became of a statement is asked, and nothing is lost or doubled."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from estate import Figure, start
from mysql_shop import Shop
from proxy import HARMS, Harm, Proxy, Rule, proxied
from test_mysql import FILES, WHOLE

MARKS = (
    b"COMMIT",
    b"GET_LOCK",
    b"ALTER TABLE t1",
    b"RENAME TABLE",
    b"INSERT INTO log",
    b"CREATE TABLE t1",
    b"CREATE DATABASE",
)
MARKS_OF_ORCH = (
    b"REPLACE INTO",
    b"orch_history",
    b"schema_migrations",
    b"SHOW CREATE",
    b"START TRANSACTION",
    b"RELEASE_LOCK",
)


class Lines:
    """A project whose server is behind a proxy, and the proxy."""

    def __init__(self, root: Path, proxy: Proxy) -> None:
        direct = start("mariadb")
        self.shop = Shop(root, dataclasses.replace(direct, port=proxy.port))
        self.shop.declare(FILES)
        self.shop.estate.servers = {"mysql": direct}
        self.proxy = proxy
        self.by_itself = 0

    def spoiled(self, rule: Rule) -> bool:
        """Run with this rule, and again if it gave up: the end is the undisturbed one. Returns whether the rule struck."""
        self.shop.estate.drop()
        self.proxy.spoil(rule)
        first = self.shop.orch("apply", code=None)
        told = f"{rule}\n--- first: {first.code}\n{first.text}"
        assert first.code in (0, 1, 7), told
        self.by_itself += rule.struck and first.code == 0
        if first.code:
            second = self.shop.orch("apply", "--wait", "10", code=None)
            told += f"\n--- second:\n{second.text}"
            assert second.code == 0, told
        assert self.shop.state()[0] == WHOLE, told
        assert self.shop.sql("SELECT version, dirty FROM schema_migrations") == [(3, 0)], told
        return rule.struck


@pytest.fixture
def lines(tmp_path: Path) -> Iterator[Lines]:
    server = start("mariadb")
    with proxied(server.host, server.port) as proxy:
        made = Lines(tmp_path, proxy)
        yield made
        made.shop.estate.drop()


@pytest.mark.parametrize("harm", ["cut after", "cut before"])
def test_a_lost_commit_is_resolved_by_asking(lines: Lines, harm: Harm) -> None:
    assert lines.spoiled(Rule(b"COMMIT", 2, harm))


@pytest.mark.parametrize(
    ("mark", "number", "harm"),
    [
        (b"ALTER TABLE t1", 1, "cut after"),
        (b"RENAME TABLE", 1, "deaf"),
        (b"INSERT INTO log", 2, "cut after"),
        (b"CREATE DATABASE", 1, "cut after"),
        (b"GET_LOCK", 2, "half close"),
    ],
)
def test_a_spoiled_line_loses_and_doubles_nothing(lines: Lines, mark: bytes, number: int, harm: Harm) -> None:
    lines.spoiled(Rule(mark, number, harm))


@pytest.mark.soak
def test_every_line_and_harm(lines: Lines, figure: Figure) -> None:
    tried, lost = 0, []
    for mark in MARKS + MARKS_OF_ORCH:
        for number in (1, 2, 3, 5, 8, 13):
            for harm in HARMS:
                try:
                    tried += lines.spoiled(Rule(mark, number, harm, down=(number % 3) * 0.4))
                except AssertionError as error:
                    lost.append(str(error))
                    print(error)
    figure("cut lines to MariaDB", tried=tried, lost=len(lost), ended_by_itself=lines.by_itself)
    assert not lost, lost[0]
