"""The walk over the graph: order, limits, failures, stopping."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.execution.scheduler import walk

DIAMOND = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c"), "e": ()}


def noting(seen: list[str]) -> Callable[[str], bool]:
    """Return work that succeeds and notes the order in which it was done."""

    def work(id: str) -> bool:
        seen.append(id)
        return True

    return work


def test_everything_after_what_it_needs() -> None:
    seen: list[str] = []
    walked = walk(DIAMOND, noting(seen), server_of={})
    assert sorted(walked.done) == sorted(DIAMOND)
    for id, needs in DIAMOND.items():
        assert all(seen.index(need) < seen.index(id) for need in needs)


def test_nothing() -> None:
    assert walk({}, lambda _: True, server_of={}).done == []


def test_no_waves() -> None:
    """`quick` starts as soon as its own need is done, while another of the same wave still runs."""
    quick_ran = threading.Event()

    def work(id: str) -> bool:
        if id == "quick":
            quick_ran.set()
        return quick_ran.wait(20) if id == "slow" else True

    walked = walk({"slow": (), "need": (), "quick": ("need",)}, work, server_of={})
    assert sorted(walked.done) == ["need", "quick", "slow"]


def test_declared_order_where_nothing_else_decides() -> None:
    seen: list[str] = []
    walk(dict.fromkeys("cabd", ()), noting(seen), server_of={}, jobs=1)
    assert "".join(seen) == "cabd"


@pytest.mark.parametrize(
    ("jobs", "per_server", "most"), [(1, 9, (1, 1)), (4, 9, (4, 4)), (9, 2, (4, 2)), (3, 2, (3, 2))]
)
def test_limits(jobs: int, per_server: int, most: tuple[int, int]) -> None:
    server_of = {str(number): f"s{number % 2}" for number in range(24)}
    running: Counter[str] = Counter()
    seen: list[tuple[int, int]] = []
    mutex = threading.Lock()

    def work(id: str) -> bool:
        with mutex:
            running[server_of[id]] += 1
            seen.append((running.total(), max(running.values())))
        time.sleep(0.005)
        with mutex:
            running[server_of[id]] -= 1
        return True

    walk(dict.fromkeys(server_of, ()), work, server_of=server_of, jobs=jobs, jobs_per_server=per_server)
    assert max(total for total, _ in seen) == most[0]
    assert max(one for _, one in seen) <= most[1]


def test_each_server_has_its_own_limit() -> None:
    server_of = {str(number): f"s{number % 2}" for number in range(12)}
    running: Counter[str] = Counter()
    most: Counter[str] = Counter()
    mutex = threading.Lock()

    def work(id: str) -> bool:
        with mutex:
            running[server_of[id]] += 1
            most[server_of[id]] = max(most[server_of[id]], running[server_of[id]])
        time.sleep(0.005)
        with mutex:
            running[server_of[id]] -= 1
        return True

    walk(dict.fromkeys(server_of, ()), work, server_of=server_of, jobs_per_server={"s0": 1, "s1": 3})
    assert most == {"s0": 1, "s1": 3}


def test_a_failure_blocks_only_what_is_downstream() -> None:
    blocked: dict[str, tuple[str, ...]] = {}
    walked = walk(DIAMOND, lambda id: id != "b", server_of={}, on_blocked=lambda id, by: blocked.update({id: by}))
    assert (sorted(walked.done), walked.failed, walked.blocked) == (["a", "c", "e"], ["b"], ["d"])
    assert blocked == {"d": ("b",)}


def test_root_causes_are_named_through_the_whole_chain() -> None:
    chain = {"x": (), "y": (), "m": ("x",), "n": ("m", "y"), "o": ("n",), "free": ()}
    blocked: dict[str, tuple[str, ...]] = {}
    walked = walk(chain, lambda id: id not in "xy", server_of={}, on_blocked=lambda id, by: blocked.update({id: by}))
    assert blocked == {"m": ("x",), "n": ("x", "y"), "o": ("x", "y")}
    assert walked.done == ["free"]
    assert walked.skipped == []


def test_fail_fast_starts_nothing_new() -> None:
    walked = walk(dict.fromkeys("abc", ()), lambda _: False, server_of={}, jobs=1, fail_fast=True)
    assert (walked.failed, walked.skipped) == (["a"], ["b", "c"])


def test_stop_lets_what_runs_finish() -> None:
    stop = threading.Event()

    def stopping(_id: str) -> bool:
        stop.set()
        return True

    walked = walk({"a": (), "b": ("a",), "c": ()}, stopping, server_of={}, jobs=1, stop=stop)
    assert (walked.done, walked.skipped) == (["a"], ["b", "c"])


def test_an_exception_ends_the_walk_and_is_raised() -> None:
    def work(id: str) -> bool:
        raise ZeroDivisionError(id)

    with pytest.raises(ZeroDivisionError):
        walk({"a": (), "b": ()}, work, server_of={}, jobs=1)


def test_needs_that_are_not_walked_count_as_done() -> None:
    assert walk({"a": ("elsewhere",)}, lambda _: True, server_of={}).done == ["a"]


def test_five_thousand_are_quick() -> None:
    chain = {str(number): (str(number - 1),) if number % 10 else () for number in range(5_000)}
    began = time.process_time()
    assert len(walk(chain, lambda _: True, server_of={}).done) == 5_000
    assert time.process_time() - began < 5


def test_a_failure_before_five_thousand_in_a_row() -> None:
    chain = {str(number): (str(number - 1),) if number else () for number in range(5_000)}
    walked = walk(chain, lambda _: False, server_of={})
    assert (walked.failed, len(walked.blocked)) == (["0"], 4_999)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sets(st.integers(0, 11)), st.booleans()), min_size=1, max_size=12), st.integers(1, 4))
def test_every_id_has_exactly_one_end(nodes: list[tuple[set[int], bool]], jobs: int) -> None:
    graph = {str(i): tuple(str(need) for need in sorted(needs) if need < i) for i, (needs, _) in enumerate(nodes)}
    good = {str(i): fine for i, (_, fine) in enumerate(nodes)}
    causes: dict[str, tuple[str, ...]] = {}
    walked = walk(graph, good.__getitem__, server_of={}, jobs=jobs, on_blocked=lambda id, by: causes.update({id: by}))
    assert sorted([*walked.done, *walked.failed, *walked.blocked]) == sorted(graph)

    def roots(id: str) -> set[str]:
        return set().union(*({need} if need in walked.failed else roots(need) for need in graph[id]))

    for id in graph:
        assert (id in walked.blocked) is bool(roots(id))
        if id in causes:
            assert set(causes[id]) == roots(id)


def test_after_waits_for_the_end_whatever_it_is_and_a_gate_takes_no_room() -> None:
    seen: list[str] = []
    opened = threading.Event()

    def work(id: str) -> bool:
        seen.append(id)
        if id == "other":
            opened.set()
        return id != "bad"

    def gate(settle: Callable[[bool], None]) -> None:
        threading.Thread(target=lambda: settle(opened.wait(20))).start()

    needs = {"bad": (), "hurt": ("bad",), "gate": (), "next": ("gate",), "other": ()}
    walked = walk(needs, work, server_of={}, jobs=1, after={"gate": ("bad", "hurt")}, gates={"gate": gate})
    assert seen == ["bad", "other", "next"]  # one at a time, and the gate is no work
    assert (walked.failed, walked.blocked) == (["bad"], ["hurt"])
    closed = walk(needs, work, server_of={}, after={"gate": ("bad",)}, gates={"gate": lambda settle: settle(False)})
    assert sorted(closed.failed) == ["bad", "gate"]
    assert sorted(closed.blocked) == ["hurt", "next"]
    assert walk({"a": ()}, work, server_of={}, after={"a": ("elsewhere",)}).done == ["a"]


def test_a_signal_that_does_not_wake_the_main_thread_is_handled_soon() -> None:
    """As one that comes just before it begins to wait: here another thread of the process gets it."""
    handled = threading.Event()

    def work(_id: str) -> bool:
        time.sleep(0.2)  # the main thread waits by then; if not, the signal reaches it anyway
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR2)
        return handled.wait(20)

    before = signal.signal(signal.SIGUSR2, lambda *_: handled.set())
    try:
        assert walk({"a": ()}, work, server_of={}).done == ["a"]
    finally:
        signal.signal(signal.SIGUSR2, before)
