"""Several runs at once, and servers that are killed under a run: every migration happens exactly once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from estate import SERVERS, Estate, Figure, launch
from kill import Ended, Forge
from schema_snapshot import difference
from varied import NAMES, Varied

from orchestrator import embedded
from orchestrator.embedded import Server

RUNS = 8
STREAMS = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}


@pytest.fixture
def varied(estate: Estate) -> Iterator[Varied]:
    yield Varied(estate)


def _at_once(estate: Estate, count: int, *arguments: str) -> list[tuple[int, str]]:
    """Start processes together, and return exit code and output of each."""
    started = [launch(arguments, estate.root, estate.env, **STREAMS) for _ in range(count)]
    outputs = [process.communicate(timeout=180)[0] for process in started]
    return [(process.returncode, output) for process, output in zip(started, outputs, strict=True)]


def _race(varied: Varied, forge: Forge, rounds: int) -> None:
    expected = None
    for _ in range(rounds):
        varied.wipe()
        if expected is None:
            assert forge.run(["apply"], varied.root, varied.env, kill_at=-1).code == 0
            expected = varied.schema_snapshots()
            varied.wipe()
        ended = _at_once(varied, RUNS, "apply")
        for code, output in ended:
            assert code == 0, output
        found = varied.schema_snapshots()
        for name in NAMES:
            assert not (text := difference(expected[name], found[name])), f"{name}: {text}\n" + "\n---\n".join(
                output for _, output in ended
            )


def test_eight_runs_at_once_make_each_migration_once(varied: Varied, forge: Forge) -> None:
    """CREATE DATABASE is raced for too: nothing is there when they start."""
    _race(varied, forge, 1)


@pytest.mark.soak
def test_many_races(varied: Varied, forge: Forge, figure: Figure) -> None:
    rounds = 10
    _race(varied, forge, rounds)
    figure(f"races of {RUNS} runs", tried=rounds)


def test_apply_and_rollback_at_once_end_in_a_state_that_one_of_them_wanted(varied: Varied, forge: Forge) -> None:
    """Each either does what its plan says, or finds the plan stale and touches nothing."""
    assert forge.run(["apply"], varied.root, varied.env).code == 0
    up = varied.schema_snapshots(history=False)
    process = launch(["rollback", *NAMES, "--to", "0", "--yes"], varied.root, varied.env, **STREAMS)
    codes = {code for code, _ in _at_once(varied, 3, "apply")}
    output = process.communicate(timeout=120)[0]
    assert codes <= {0, 1, 5}, codes
    assert process.returncode in (0, 1, 5), output
    last = forge.run(["apply"], varied.root, varied.env)
    assert last.code == 0, last.output
    found = varied.schema_snapshots(history=False)
    for name in NAMES:
        assert not (text := difference(_without_positions(up[name]), _without_positions(found[name]))), (
            f"{name}: {text}"
        )


def _without_positions(schema_snapshot: dict[str, object]) -> dict[str, object]:
    """Leave out what differs after a way down and up: the positions of columns are new."""
    return {key: value for key, value in schema_snapshot.items() if key != "columns"}


# ---------------------------------------------------------------- servers that die


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Servers that belong to this file alone, so that they can be killed."""
    roots = {engine: tmp_path_factory.mktemp("own") for engine in ("postgres", "mongo")}
    yield roots
    for root in roots.values():
        embedded.remove(root)


def _up(roots: dict[str, Path], engine: str) -> Server:
    with mock.patch.dict(os.environ, SERVERS["postgres-wheel" if engine == "postgres" else "mongod"][1]):
        return embedded.up(roots[engine], [engine])[engine]


def _server_kills(engine: str, own: dict[str, Path], varied: Varied, forge: Forge, rounds: int) -> int:
    """Kill the server under a run, start it again, and run again."""
    moments = random.Random(7)
    assert forge.run(["apply"], varied.root, varied.env).code == 0
    expected = varied.schema_snapshots()
    hit = 0
    for _ in range(rounds):
        varied.wipe()
        ended: list[Ended] = []
        run = threading.Thread(target=lambda into=ended: into.append(forge.run(["apply"], varied.root, varied.env)))
        run.start()
        time.sleep(moments.uniform(0.1, 1.0))
        hit += run.is_alive()
        os.kill(_up(own, engine).pid, signal.SIGKILL)
        time.sleep(0.3)
        assert _up(own, engine).port == varied.servers[engine].port
        run.join(120)
        assert ended[0].code in (0, 1, 7), ended[0].output
        second = forge.run(["apply", "--wait", "20"], varied.root, varied.env)
        told = f"--- first:\n{ended[0].output}\n--- second:\n{second.output}"
        assert second.code == 0, told
        found = varied.schema_snapshots()
        for name in NAMES:
            assert not (text := difference(expected[name], found[name])), f"{told}\n--- {name}: {text}"
    return hit


@pytest.fixture
def mortal(tmp_path: Path, own: dict[str, Path]) -> Iterator[Varied]:
    estate = Estate(tmp_path, {engine: _up(own, engine) for engine in own})
    yield Varied(estate)
    estate.drop()


@pytest.mark.parametrize("engine", ["postgres", "mongo"])
def test_a_server_that_is_killed_under_a_run(mortal: Varied, own: dict[str, Path], forge: Forge, engine: str) -> None:
    _server_kills(engine, own, mortal, forge, 2)


@pytest.mark.soak
@pytest.mark.parametrize("engine", ["postgres", "mongo"])
def test_many_server_kills(mortal: Varied, own: dict[str, Path], forge: Forge, engine: str, figure: Figure) -> None:
    rounds = 25
    hit = _server_kills(engine, own, mortal, forge, rounds)
    figure(f"SIGKILL of the {engine} server", tried=rounds, under_a_run=hit)
