"""The Python API, on real servers: what it returns, what it raises, and that it prints nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from estate import Estate

from orchestrator import api

EXAMPLE = Path(__file__).parents[2] / "examples" / "embed.py"
SQL = {
    "000001_a.up.sql": "CREATE TABLE a (b int);",
    "000001_a.down.sql": "DROP TABLE a;",
    "000002_b.up.sql": "ALTER TABLE a ADD c int;",
    "000002_b.down.sql": "ALTER TABLE a DROP c;",
}
MONGO = {"000001_a.up.json": '[{"create": "a"}]', "000001_a.down.json": '[{"drop": "a"}]'}


@pytest.fixture
def shop(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> Estate:
    """Two databases, not created yet; this process has the environment of their commands."""
    estate.add("postgres", "order", SQL)
    estate.add("mongo", "log", MONGO, depends_on=["order"])
    for name, value in estate.env.items():
        monkeypatch.setenv(name, value)
    return estate


def test_from_an_empty_server_to_the_newest_version_and_back(shop: Estate, capfd: pytest.CaptureFixture[str]) -> None:
    project = api.load(shop.root / "databases.yaml")
    assert [one.id for one in project.databases] == ["postgres-order", "mongo-log"]
    assert (api.validate(project).files, api.validate(project).databases) == (6, 2)
    assert [one.state for one in api.status(project).databases] == ["to be created", "to be created"]

    planned = api.plan(project)
    assert [len(one.steps) for one in planned.plan.databases] == [2, 1] and not planned.failures
    told: list[str] = []
    done = api.apply(project, planned, sink=lambda event: told.append(type(event).__name__))
    assert done.ok and done.versions == {"postgres-order": 2, "mongo-log": 1} and done.applied["postgres-order"] == 2
    assert told[0] == "RunStarted" and told[-1] == "RunFinished" and told.count("StepFinished") == 3
    assert [(one.version, one.state) for one in api.status(project).databases] == [(2, "up to date"), (1, "up to date")]

    stale = api.apply(project, planned)  # it was made for databases that did not exist: now all of it is done
    assert stale.ok and not any(stale.applied.values())

    with pytest.raises(api.OrchError, match="mongo-log depends on it"):
        api.rollback(project, ["order"], steps=1)
    assert api.rollback(project, ["order"], steps=1, ignore_dependents=True).versions == {"postgres-order": 1}
    back = api.rollback(project, ["order", "log"], to=0)
    assert back.ok and back.versions == {"postgres-order": None, "mongo-log": None}
    assert shop.tables("order") == set()
    assert capfd.readouterr() == ("", "")


def test_what_goes_wrong_is_raised_or_data(shop: Estate) -> None:
    file = shop.root / "databases.yaml"
    with pytest.raises(api.OrchError) as raised:
        api.load(file, only=["nobody"])
    assert raised.value.exit_code is api.ExitCode.USAGE
    (shop.root / "migrations/postgres-order/schema/000002_b.up.sql").write_text("ALTER TABLE nothing ADD c int;")
    done = api.apply(api.load(file))
    assert not done.ok and done.exit_code == api.ExitCode.FAILED
    assert done.failures["postgres-order"].what == 'relation "nothing" does not exist'
    assert done.finished.blocked == ("mongo-log",)
    planned = api.plan(api.load(file, only=["order"]), to=2)
    assert planned.plan.databases[0].steps[0].version == 2


def test_the_example(shop: Estate) -> None:
    command = [sys.executable, str(EXAMPLE), "databases.yaml"]
    ran = subprocess.run(command, cwd=shop.root, env=shop.env, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert "postgres-order: 2 b" in ran.stdout and "mongo-log is at version 1: up to date" in ran.stdout
