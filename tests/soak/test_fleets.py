"""Fleets whose runs die by SIGKILL: in the middle of waves, and as one of four shards. Each migration runs exactly once."""

from __future__ import annotations

import json
import random
import signal
import subprocess

import pytest
from estate import Estate, Figure

MEMBERS = 8
ROUNDS = 40
FILES = {
    "000001_a.up.sql": "CREATE TABLE a (id int);",
    "000001_a.down.sql": "DROP TABLE a;",
    "000002_b.up.sql": "INSERT INTO a VALUES (2); SELECT pg_sleep(0.02);",
    "000002_b.down.sql": "DELETE FROM a;",
    "000003_c.up.sql": "INSERT INTO a VALUES (3);",
    "000003_c.down.sql": "DELETE FROM a;",
}


class Fleets:
    """Fleets of one server, a new one for each round."""

    def __init__(self, estate: Estate, seed: int) -> None:
        self.estate = estate
        self.random = random.Random(seed)
        self.name = ""
        estate.write("t", FILES)

    def declare(self, number: int, rollout: str = "") -> None:
        self.name = f"f{number}"
        source = f"migrations: migrations/t/schema, for_each: {{range: 1..{MEMBERS}}}{rollout}"
        self.estate.manifest(
            f"  - {{name: {self.name}core, server: postgres, migrations: migrations/t/schema}}\n"
            f'  - {{name: "{self.name}_{{n}}", server: postgres, {source}, depends_on: [{self.name}core]}}\n'
        )

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
            assert self.estate.sql(name, "SELECT id FROM a ORDER BY 1") == [(2,), (3,)], name
            assert self.estate.sql(name, "SELECT count(*) FROM orch_history WHERE done") == [(3,)], name
        assert f"{MEMBERS + 1} databases up to date" in self.estate.orch("apply").stderr


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
def test_many_fleets_whose_runs_are_killed(pg_estate: Estate, figure: Figure) -> None:
    seed = random.randrange(10**6)
    fleets = Fleets(pg_estate, seed)
    figure("fleets: SIGKILL in waves", tried=2 * ROUNDS, under_a_run=waves(fleets, ROUNDS), seed=seed)
    figure("fleets: SIGKILL of one of four shards", tried=ROUNDS, under_a_run=shards(fleets, ROUNDS), seed=seed)
