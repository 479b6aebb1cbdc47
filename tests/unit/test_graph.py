"""The dependency graph."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import pairwise

import pytest

from orchestrator.planning.graph import cycle, dependants, order, waves

SHOP = {"product": (), "user": (), "order": ("product", "user"), "inventory": ("order",), "logs": ()}


def test_waves() -> None:
    assert waves(SHOP) == [["product", "user", "logs"], ["order"], ["inventory"]]
    assert waves({}) == []


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (SHOP, list(SHOP)),
        ({"c": ("a",), "b": (), "a": ()}, ["b", "a", "c"]),
        ({"z": ("elsewhere",), "a": ()}, ["z", "a"]),
        ({}, []),
    ],
)
def test_order_is_as_declared_where_it_can_be(graph: dict[str, tuple[str, ...]], expected: list[str]) -> None:
    assert order(graph) == expected


def test_dependants() -> None:
    assert dependants(SHOP, "product") == {"order", "inventory"}
    assert dependants(SHOP, "logs") == set()


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (SHOP, None),
        ({"a": ("a",)}, ["a", "a"]),
        ({"a": ("b",), "b": ("a",)}, ["a", "b", "a"]),
    ],
)
def test_cycle(graph: dict[str, tuple[str, ...]], expected: list[str] | None) -> None:
    assert cycle(graph) == expected


def test_a_cycle_reads_as_depends_on() -> None:
    graph = {"x": ("a",), "a": ("b",), "b": ("c",), "c": ("a",), "d": ()}
    path = cycle(graph)
    assert path is not None
    assert path[0] == path[-1]
    assert set(path) == {"a", "b", "c"}
    for id, need in pairwise(path):
        assert need in graph[id]


def test_networkx_is_loaded_only_when_the_order_is_not_there_already() -> None:
    program = (
        "import sys; from orchestrator.planning.graph import order; "
        "order({'a': (), 'b': ('a',)}); assert 'networkx' not in sys.modules; "
        "order({'b': ('a',), 'a': ()}); assert 'networkx' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_five_thousand_are_quick() -> None:
    graph = {str(number): (str(number + 1),) if number < 4_999 else () for number in range(5_000)}
    began = time.process_time()
    assert order(graph)[0] == "4999"
    assert len(waves(graph)) == 5_000
    assert cycle(graph) is None
    assert len(cycle(graph | {"4999": ("0",)}) or ()) == 5_001
    assert time.process_time() - began < 10
