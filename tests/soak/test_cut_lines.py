"""Lines that break at the worst moment, the reply to COMMIT above all: what became of it is asked, and nothing is doubled."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from estate import Estate, Figure
from kill import Forge
from proxy import HARMS, Harm, Proxy, Rule, proxied
from schema_snapshot import SchemaSnapshot, difference
from varied import NAMES, Varied


class Lines:
    """The varied estate behind a proxy for each server; schema snapshots are taken past it."""

    def __init__(self, estate: Estate, forge: Forge, proxies: dict[str, Proxy]) -> None:
        direct = estate.servers
        estate.servers = {e: dataclasses.replace(s, port=proxies[e].port) for e, s in direct.items()}
        self.varied = Varied(estate)
        self.varied.servers = estate.servers = direct
        self.forge = forge
        self.proxies = proxies
        assert forge.run(["apply"], self.varied.root, self.varied.env).code == 0
        self.expected: dict[str, SchemaSnapshot] = self.varied.schema_snapshots()
        self.by_itself = 0

    def spoiled(self, engine: str, rule: Rule) -> bool:
        """Run with this rule, and again if it gave up: the end is the undisturbed one. Returns whether the rule struck."""
        self.varied.wipe()
        self.proxies[engine].spoil(rule)
        first = self.forge.run(["apply"], self.varied.root, self.varied.env)
        told = f"{rule}\n--- first:\n{first.output}"
        assert first.code in (0, 1, 7), told
        self.by_itself += rule.struck and first.code == 0
        if first.code:
            second = self.forge.run(["apply", "--wait", "10"], self.varied.root, self.varied.env)
            told += f"\n--- second:\n{second.output}"
            assert second.code == 0, told
        found = self.varied.schema_snapshots()
        for name in NAMES:
            assert not (text := difference(self.expected[name], found[name])), f"{told}\n--- {name}: {text}"
        return rule.struck


@pytest.fixture
def lines(estate: Estate, forge: Forge) -> Iterator[Lines]:
    servers = estate.servers
    with (
        proxied(servers["postgres"].host, servers["postgres"].port) as postgres,
        proxied(servers["mongo"].host, servers["mongo"].port) as mongo,
    ):
        yield Lines(estate, forge, {"postgres": postgres, "mongo": mongo})


@pytest.mark.parametrize(("engine", "mark"), [("postgres", b"COMMIT"), ("mongo", b"commitTransaction\0")])
@pytest.mark.parametrize("harm", ["cut after", "cut before"])
def test_a_lost_commit_is_resolved_by_asking(lines: Lines, engine: str, mark: bytes, harm: Harm) -> None:
    """The run itself finds out whether it was done, and goes on."""
    assert lines.spoiled(engine, Rule(mark, 2, harm))
    assert lines.by_itself == 1, "it had to be run again"


MARKS: dict[str, list[bytes]] = {
    "postgres": [
        b"COMMIT",
        b"CONCURRENTLY",
        b"CREATE DATABASE",
        b"pg_try_advisory_lock",
        b"row_to_json",
        b"VACUUM",
        b"pg_advisory_unlock",
    ],
    "mongo": [
        b"commitTransaction\0",
        b"createIndexes\0",
        b"create\0",
        b"insert\0",
        b"collMod\0",
        b"findAndModify\0",
        b"find\0",
        b"update\0",
        b"delete\0",
        b"dropIndexes\0",
    ],
}


RULES = [
    ("postgres", Rule(b"CONCURRENTLY", 1, "cut after")),
    ("postgres", Rule(b"CREATE DATABASE", 1, "cut after")),
    ("postgres", Rule(b"COMMIT", 5, "deaf", down=1.0)),
    ("mongo", Rule(b"createIndexes\0", 2, "cut after")),
    ("mongo", Rule(b"insert\0", 3, "half close")),
    ("mongo", Rule(b"collMod\0", 1, "cut before")),
]


@pytest.mark.parametrize(
    ("engine", "rule"), RULES, ids=[f"{e}-{r.mark.decode().strip(chr(0))}-{r.harm}" for e, r in RULES]
)
def test_a_spoiled_line_loses_and_doubles_nothing(lines: Lines, engine: str, rule: Rule) -> None:
    assert lines.spoiled(engine, dataclasses.replace(rule))


@pytest.mark.soak
@pytest.mark.parametrize("engine", ["postgres", "mongo"])
def test_every_line_and_harm(lines: Lines, engine: str, figure: Figure) -> None:
    tried, lost, passed_by = 0, [], []
    for mark in MARKS[engine]:
        before = tried
        for number in (1, 2, 3, 5, 8):
            for harm in HARMS:
                try:
                    tried += lines.spoiled(engine, Rule(mark, number, harm, down=(number % 3) * 0.4))
                except AssertionError as error:
                    lost.append(str(error))
                    print(error)
        if tried == before:
            passed_by.append(mark)
    figure(f"cut lines to {engine}", tried=tried, lost=len(lost), ended_by_itself=lines.by_itself)
    assert not lost, lost[0]
    assert not passed_by, "no message holds these any more"
