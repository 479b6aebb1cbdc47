"""Names of databases on the command line, and which databases `--only` and `--exclude` select."""

from __future__ import annotations

from pathlib import Path

import pytest
from manifests import HEAD, read

from orchestrator.errors import UsageError
from orchestrator.manifest import resolve_name, select
from orchestrator.manifest.names import resolve_files
from orchestrator.model import Manifest, Rollout
from orchestrator.planning.rollout import waves_of


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# ---------------------------------------------------------------- names and selection


def estate() -> Manifest:
    return read(
        HEAD
        + """\
  - {name: product, server: pg, labels: [core]}
  - {name: user, server: pg, labels: [core]}
  - {name: order, server: pg, depends_on: [postgres-product, user]}
  - {name: inventory, server: pg, depends_on: [order]}
  - {name: product, server: mongo}
  - {name: logs, server: mongo, labels: [reporting]}
"""
    )


@pytest.mark.parametrize(
    ("only", "exclude", "no_deps", "expected"),
    [
        ([], [], False, "P U O I m l"),
        (["inventory"], [], False, "P U O I"),
        (["inventory"], [], True, "I"),
        (["postgres-product"], [], False, "P"),
        (["*product"], [], False, "P m"),
        (["mongo-*", "user"], [], False, "U m l"),
        (["label:core"], [], False, "P U"),
        (["label:c*"], ["user"], False, "P"),
        (["order"], ["postgres-product"], False, "U O"),
        ([], ["postgres-*"], False, "m l"),
        ([], ["label:*"], False, "O I m"),
        (["[ul]*"], [], False, "U l"),
    ],
)
def test_select(only: list[str], exclude: list[str], no_deps: bool, expected: str) -> None:
    letters = {"postgres-product": "P", "postgres-user": "U", "postgres-order": "O", "postgres-inventory": "I"}
    letters |= {"mongo-product": "m", "mongo-logs": "l"}
    chosen = select(estate().databases, only, exclude, no_deps)
    assert " ".join(letters[database.id] for database in chosen) == expected


@pytest.mark.parametrize(
    ("pattern", "what", "hint"),
    [
        ("product", "'product' is the name of 2 databases", "write postgres-product or mongo-product"),
        ("oder", "no database is called 'oder'", "did you mean 'order'?"),
        ("postgres-oder", "no database is called", "did you mean 'postgres-order'?"),
        ("zzz*", "no database is called 'zzz*'", "postgres-product"),
        ("label:cor", "no database has the label 'cor'", "did you mean 'core'?"),
        ("", "no database is called ''", ""),
    ],
)
def test_select_refuses(pattern: str, what: str, hint: str) -> None:
    databases = estate().databases
    for only, exclude in (([pattern], []), ([], [pattern])):
        with pytest.raises(UsageError) as caught:
            select(databases, only, exclude)
        assert what in caught.value.what
        assert hint in caught.value.hint


@pytest.mark.parametrize(("only", "exclude"), [([], ["*"]), (["logs"], ["logs"]), (["label:core"], ["postgres-*"])])
def test_a_selection_selects_something(only: list[str], exclude: list[str]) -> None:
    with pytest.raises(UsageError, match="nothing is selected"):
        select(estate().databases, only, exclude)


def test_a_name_with_a_comma_or_brackets_is_a_name() -> None:
    text = (
        HEAD
        + '  - {name: "t_{n}", server: pg, migrations: m, labels: ["l-{n}"], for_each: {values: ["a,b", a, "[x]"]}}\n'
    )
    databases = read(text).databases
    for only in ("t_a,b", "postgres-t_a,b", "t_[x]"):
        assert [one.name for one in select(databases, [only])] == [only.removeprefix("postgres-")]
    assert [one.name for one in select(databases, ["label:l-a,b"])] == ["t_a,b"]
    assert [one.name for one in select(databases, ["label:l-a,label:l-[[]x]"])] == ["t_a", "t_[x]"]
    assert [one.name for one in select(databases, ["t_a,t_[x]"])] == ["t_a", "t_[x]"]
    assert [one.name for one in select(databases, exclude=["t_a,b"])] == ["t_a", "t_[x]"]
    assert waves_of(databases, Rollout(("[x]",)))[0] == ["postgres-t_[x]"]


def test_no_deps_is_for_only() -> None:
    with pytest.raises(UsageError, match="--no-deps is for --only"):
        select(estate().databases, [], ["logs"], no_deps=True)


def test_resolve_name() -> None:
    databases = estate().databases
    assert resolve_name(databases, "order").id == "postgres-order"
    assert resolve_name(databases, "mongo-product").id == "mongo-product"
    with pytest.raises(UsageError, match="is the name of 2 databases"):
        resolve_name(databases, "product")
    with pytest.raises(UsageError, match="no database is called 'order\\*'"):
        resolve_name(databases, "order*")


def test_a_fleet_is_chosen_by_the_name_of_its_entry() -> None:
    text = (
        HEAD + '  - {name: "t_{n}", server: pg, migrations: m, for_each: {values: [a, b]}}\n  - {name: x, server: pg}\n'
    )
    databases = read(text).databases
    for only in ("t_{n}", "postgres-t_{n}", "group:t"):
        assert [one.name for one in select(databases, [only])] == ["t_a", "t_b"]
    for name in ("t_{n}", "postgres-t_{n}", "group:t", "t"):
        found, users = resolve_files(databases, name)
        assert (found.name, users) == ("t_a", "group:t")
    assert resolve_files(databases, "t_b")[1] == "group:t", "its files are those of all members"
    assert resolve_files(databases, "x")[1] == "x"
    for refuse in (lambda: select(databases, ["t"]), lambda: resolve_name(databases, "t")):
        with pytest.raises(UsageError) as caught:
            refuse()
        assert caught.value.hint == "a fleet is: write group:t"
    with pytest.raises(UsageError, match="no database is called 'y'"):
        resolve_files(databases, "y")
