"""Fleets whose runs die by SIGKILL: in the middle of waves, and as one of four shards. Each migration runs exactly once.

On every engine.
"""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from estate import Estate, Figure, start

MEMBERS = 8
ROUNDS = 40
SERVERS = {"postgres": "postgres-wheel", "mysql": "mariadb", "mongo": "mongod", "sqlite": ""}
INSERT = '[{{"insert": "a", "documents": [{{"id": {0}}}]}}]'
UP = {
    "postgres": (
        "CREATE TABLE a (id int);",
        "INSERT INTO a VALUES (2); SELECT pg_sleep(0.02);",
        "INSERT INTO a VALUES (3);",
    ),
    "mysql": ("CREATE TABLE a (id int);", "INSERT INTO a VALUES (2);", "INSERT INTO a VALUES (3);"),
    "sqlite": ("CREATE TABLE a (id int);", "INSERT INTO a VALUES (2);", "INSERT INTO a VALUES (3); VACUUM;"),
    "mongo": ('[{"create": "a"}]', INSERT.format(2), INSERT.format(3)),
}


@pytest.fixture(params=SERVERS)
def any_estate(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Estate]:
    server = SERVERS[request.param]
    estate = Estate(tmp_path, {request.param: start(server)} if server else {})
    yield estate
    estate.drop()


class Fleets:
    """Fleets of one server, a new one for each round."""

    def __init__(self, estate: Estate, seed: int) -> None:
        self.estate = estate
        self.random = random.Random(seed)
        self.name = ""
        (self.engine,) = estate.servers or ["sqlite"]
        suffix, nothing = ("json", "[]") if self.engine == "mongo" else ("sql", "")
        for version, up in enumerate(UP[self.engine], 1):
            estate.write("t", {f"{version:06d}_a.up.{suffix}": up, f"{version:06d}_a.down.{suffix}": nothing})

    def declare(self, number: int, rollout: str = "") -> None:
        self.name = f"f{number}"
        source = f"migrations: migrations/t/schema, for_each: {{range: 1..{MEMBERS}}}{rollout}"
        entries = (
            f"  - {{name: {self.name}core, server: {self.engine}, migrations: migrations/t/schema}}\n"
            f'  - {{name: "{self.name}_{{n}}", server: {self.engine}, {source}, depends_on: [{self.name}core]}}\n'
        )
        if self.engine == "sqlite":
            head = 'version: 1\nservers:\n  sqlite: {engine: sqlite, dsn: "sqlite3://{database}.db"}\ndatabases:\n'
            (self.estate.root / "databases.yaml").write_text(head + entries)
        else:
            self.estate.manifest(entries)

    def kill(self, process: subprocess.Popen[str]) -> bool:
        """Kill a run after some of its events; returns whether it was still at work."""
        assert process.stdout is not None
        left = self.random.randrange(1, 12 * MEMBERS)
        for line in process.stdout:
            left -= 1
            if not left or json.loads(line)["event"] == "RunFinished":
                break
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return not left

    def check(self) -> None:
        for name in (f"{self.name}core", *(f"{self.name}_{n}" for n in range(1, MEMBERS + 1))):
            assert self.found(name) == ([2, 3], 3), name
        assert f"{MEMBERS + 1} databases up to date" in self.estate.orch("apply").stderr

    def found(self, name: str) -> tuple[list[int], int]:
        """Return what the migrations wrote, and how many the history has as done."""
        if self.engine == "mongo":
            database = self.estate.mongo(name)
            return sorted(one["id"] for one in database["a"].find()), database["orch_history"].count_documents(
                {"done": True}
            )
        if self.engine == "sqlite":
            with closing(sqlite3.connect(self.estate.root / f"{name}.db")) as connection:
                found = [id for (id,) in connection.execute("SELECT id FROM a ORDER BY 1")]
                return found, connection.execute("SELECT count(*) FROM orch_history WHERE done").fetchone()[0]
        ask = self.estate.sql if self.engine == "postgres" else self.estate.mysql
        ((done,),) = ask(name, "SELECT count(*) FROM orch_history WHERE done")
        return [id for (id,) in ask(name, "SELECT id FROM a ORDER BY 1")], done


def waves(fleets: Fleets, rounds: int) -> int:
    hit = 0
    for number in range(rounds):
        fleets.declare(number, ", rollout: {canary: [3], then: 3}")
        for _ in range(2):
            hit += fleets.kill(fleets.estate.start("apply", "--output", "jsonl", "--jobs-per-server", "3"))
        fleets.estate.orch("apply")
        fleets.check()
    return hit


def shards(fleets: Fleets, rounds: int) -> int:
    hit = 0
    for number in range(rounds):
        fleets.declare(1000 + number)
        order = fleets.random.sample(range(1, 5), 4)
        running = {index: fleets.estate.start("apply", "--shard", f"{index}/4", "--output", "jsonl") for index in order}
        doomed = fleets.random.choice(order)
        hit += fleets.kill(running[doomed])
        running[doomed] = fleets.estate.start("apply", "--shard", f"{doomed}/4", "--output", "jsonl")
        for process in running.values():
            _, told = process.communicate(timeout=100)
            assert process.returncode == 0, told
        fleets.check()
    return hit


def test_fleets_whose_runs_are_killed(pg_estate: Estate) -> None:
    fleets = Fleets(pg_estate, 15)
    waves(fleets, 1)
    shards(fleets, 1)


@pytest.mark.soak
def test_many_fleets_whose_runs_are_killed(any_estate: Estate, figure: Figure) -> None:
    seed = random.randrange(10**6)
    fleets = Fleets(any_estate, seed)
    where, rounds = f"fleets on {fleets.engine}", ROUNDS if fleets.engine == "postgres" else ROUNDS // 4
    figure(f"{where}: SIGKILL in waves", tried=2 * rounds, under_a_run=waves(fleets, rounds), seed=seed)
    figure(f"{where}: SIGKILL of one of four shards", tried=rounds, under_a_run=shards(fleets, rounds), seed=seed)
