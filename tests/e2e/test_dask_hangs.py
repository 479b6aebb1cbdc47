"""A Dask cluster whose processes hang, come too late, or come again: no run waits for them without end."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dask_cluster import Cluster, Nodes, cluster_nodes, kill
from estate import Estate
from test_dask import at_work, dask, each_once, fleet, sleeping, until

pytest.importorskip("distributed", reason="Dask is not installed: pip install 'dborch[dask]'")
_WATCH = "orchestrator.operations.dask_watch."
SOON = {_WATCH + "CANCELS_WITHIN": 2.0, _WATCH + "LOOK_EVERY": 0.2, _WATCH + "_TELLS_WITHIN": 0.5}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with cluster_nodes() as made:
        yield made


@pytest.fixture
def own(nodes: Nodes, pg_estate: Estate, tmp_path: Path, request: pytest.FixtureRequest) -> Cluster:
    """Return a cluster with two workers, each of which has one thread. Its settings may be given as a parameter."""
    made = Cluster(nodes, tmp_path / "dask", **getattr(request, "param", {}))
    for name in ("one", "two"):
        made.worker(name, pg_estate.env, threads=1)
    return made


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def ended(run: subprocess.Popen[str], code: int, seconds: float = 30) -> str:
    """Return what a run said, which must end by itself."""
    try:
        _, err = run.communicate(timeout=seconds)
    finally:
        run.kill()
    assert run.returncode == code, err
    assert "Traceback" not in err
    assert "a fault in orch" not in err
    return err


def twice(run: subprocess.Popen[str], number: int) -> None:
    """Send a signal, and again when the first one has arrived."""
    for _ in range(2):
        run.send_signal(number)
        time.sleep(0.4)


@pytest.mark.parametrize("who", ["worker", "scheduler"])
def test_a_second_signal_ends_a_run_whose_cluster_hangs(pg_estate: Estate, own: Cluster, who: str) -> None:
    names = fleet(pg_estate, 4, "SELECT pg_sleep(6);")
    pg_estate.orch("apply", "--only", "core")
    run = pg_estate.start(*dask(own), patches=SOON)
    until(lambda: sleeping(pg_estate) > 0)
    with stopped(own.workers[at_work(pg_estate, own)] if who == "worker" else own.scheduler):
        twice(run, signal.SIGINT if who == "worker" else signal.SIGTERM)
        err = ended(run, 130)
        assert "does not answer; a migration may still run" in err
        assert "not done" in err
        if who == "worker":  # the other one has got the signal
            assert sleeping(pg_estate) <= 1
    until(lambda: not sleeping(pg_estate))
    pg_estate.orch("apply")
    each_once(pg_estate, names)


def test_a_scheduler_that_says_nothing_any_more(pg_estate: Estate, own: Cluster) -> None:
    names = fleet(pg_estate, 4, "SELECT pg_sleep(2);")
    pg_estate.orch("apply", "--only", "core")
    run = pg_estate.start(*dask(own)[:-2], patches={**SOON, _WATCH + "PATIENCE": 1.5})
    until(lambda: sleeping(pg_estate) > 0)
    with stopped(own.scheduler):
        err = ended(run, 1)
        assert "the Dask scheduler does not answer; it had postgres-t_" in err
        assert " failed" in err
        late = pg_estate.start(*dask(own)[:-2], patches={"orchestrator.operations.dask_client.CONNECT_TIMEOUT": 0.5})
        assert f"the Dask scheduler at {own.address} does not answer within" in ended(late, 7)
    until(lambda: not sleeping(pg_estate))
    pg_estate.orch("apply")
    each_once(pg_estate, names)


def test_a_worker_that_hangs_before_anything_runs_is_named(pg_estate: Estate, own: Cluster) -> None:
    fleet(pg_estate, 1)
    for pid in own.workers.values():
        with stopped(pid):
            soon = {"orchestrator.operations.dask_cluster.PATIENCE": 1.5}
            err = ended(pg_estate.start(*dask(own)[:-2], patches=soon), 7)
        assert "a Dask worker does not answer within 1.5 s" in err
        assert "the scheduler has not heard from: tcp://127.0.0.1:" in err
        break
    assert not pg_estate.snapshot()


@pytest.mark.parametrize("own", [{"worker_ttl": "5s"}], indirect=True)
def test_a_worker_that_hangs_longer_than_the_scheduler_waits_for_it(pg_estate: Estate, own: Cluster) -> None:
    """Its database goes to another worker, which waits for the lock that the first one still has."""
    names = fleet(pg_estate, 3, "SELECT pg_sleep(2);")
    pg_estate.orch("apply", "--only", "core")
    run = pg_estate.start(*dask(own))
    until(lambda: sleeping(pg_estate) > 0)
    with stopped(own.workers[at_work(pg_estate, own)]):
        until(lambda: "Remove worker" in own.printed("scheduler") or run.poll() is not None)
        time.sleep(1)
    assert "was lost; tcp://127.0.0.1:" in ended(run, 0)
    each_once(pg_estate, names)


def test_a_scheduler_that_is_started_again(pg_estate: Estate, own: Cluster) -> None:
    names = fleet(pg_estate, 4, "SELECT pg_sleep(2);")
    pg_estate.orch("apply", "--only", "core")
    run = pg_estate.start(*dask(own))
    until(lambda: sleeping(pg_estate) > 0)
    own.restart()
    err = ended(run, 1)
    assert "the Dask scheduler was lost while postgres-t_" in err
    assert " failed" in err
    until(lambda: not sleeping(pg_estate))
    pg_estate.orch("apply")
    each_once(pg_estate, names)


def test_a_scheduler_that_is_lost_between_two_waves(pg_estate: Estate, own: Cluster) -> None:
    """Nothing is in hand then, which could tell of it."""
    names = fleet(pg_estate, 3, rollout="{canary: ['1'], pause: 3s}")
    pg_estate.orch("apply", "--only", "core")
    soon = {"orchestrator.operations.dask_client.CONNECT_TIMEOUT": 1.0}
    run = pg_estate.start(*dask(own)[:-2], patches=soon)
    assert run.stderr is not None
    while "begins in" not in (line := run.stderr.readline()):
        assert line
    kill(own.scheduler)
    assert "the Dask scheduler was lost before postgres-t_" in ended(run, 1)
    pg_estate.orch("apply", "--failed")
    each_once(pg_estate, names)


def test_a_worker_that_joins_later_and_cannot_execute_the_plan(pg_estate: Estate, own: Cluster) -> None:
    """It is told once, and given nothing more. Before, it failed one database after another."""
    own.end("two")
    names = fleet(pg_estate, 6, "SELECT pg_sleep(0.5);")
    pg_estate.orch("apply", "--only", "core")
    run = pg_estate.start(*dask(own))
    until(lambda: sleeping(pg_estate) > 0)
    own.worker("odd", {key: value for key, value in pg_estate.env.items() if key != "POSTGRES_PASSWORD"}, threads=4)
    err = ended(run, 0)
    assert err.count("this run gives that worker nothing more") == 1
    assert "POSTGRES_PASSWORD" in err
    each_once(pg_estate, names)
    own.end("one")  # now no worker is left that can
    pg_estate.write("t", {"000003_c.up.sql": "SELECT 1;", "000003_c.down.sql": ""})
    err = ended(pg_estate.start(*dask(own)[:-2]), 4)
    assert "the Dask worker tcp://127.0.0.1:" in err
