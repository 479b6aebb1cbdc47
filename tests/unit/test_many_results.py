"""What a run of very many databases ends with: failures that are alike once, and the databases that took longest."""

from __future__ import annotations

from dataclasses import replace

from orchestrator import events
from orchestrator.analysis.risks import Risk
from orchestrator.events import Failure
from orchestrator.model import Direction, Mark
from orchestrator.planning.plan import DatabasePlan, Plan, Step
from orchestrator.planning.status import DatabaseStatus, FailedTry, Status
from orchestrator.views.document import DocumentView
from orchestrator.views.failures import MANY, alike, shared
from orchestrator.views.graph_text import text as graph_text
from orchestrator.views.markdown import plan_markdown, run_markdown
from orchestrator.views.status import status_text
from orchestrator.views.text import OutcomeTable


def failure(name: str, code: int = 1, what: str = 'relation "{}_orders" already exists') -> Failure:
    return Failure(
        "statement", code, what.format(name), Mark("m/000002_b.up.sql", 3, 1), f"database {name}", code="42P07"
    )


def ids(number: int, prefix: str = "t") -> list[str]:
    return [f"postgres-{prefix}_{place}x" for place in range(number)]


def named(found: list[str]) -> list[tuple[str, Failure]]:
    return [(id, failure(id.partition("-")[2])) for id in found]


def test_failures_that_differ_by_their_names_alone_are_one() -> None:
    ((databases, told),) = alike(named(ids(MANY)))
    assert databases == ids(MANY)
    assert told == failure("t_0x")  # as it was, for one of them
    assert len(alike(named(ids(MANY - 1)))) == MANY - 1  # of few, each is told


def test_another_failure_is_not_hidden_among_many() -> None:
    others = [
        ("postgres-other", failure("other", what="permission denied")),
        ("postgres-line", replace(failure("line"), where=Mark("m/000002_b.up.sql", 4, 1))),
    ]
    found = alike([*named(ids(40)), *others])
    assert [len(databases) for databases, _ in found] == [40, 1, 1]
    assert found[1][1].what == "permission denied"


def test_failures_of_one_statement_with_other_values_are_one() -> None:
    what = 'could not create unique index "i"'
    found = [(id, replace(failure(id, what=what), detail=f"SQLSTATE 23505\nKey (a)=({id[-2]}.5)")) for id in ids(MANY)]
    ((databases, told),) = alike(found)
    assert databases == ids(MANY)
    assert told.detail == "SQLSTATE 23505\nKey (a)=(0.5)\nThis is of postgres-t_0x; values of the others differ."
    assert len(alike([(id, replace(one, where=None)) for id, one in found])) == MANY, "not of one statement of a file"


def test_markdown_folds_databases_with_the_same_work_and_result() -> None:
    step = Step(2, "b", Direction.UP, "m/000002_b.up.sql", "sha256:0", 1, atomic=True)
    plans = tuple(DatabasePlan(id, "postgres", id.partition("-")[2], "h:1", steps=(step,)) for id in ids(40))
    risk = Risk(Mark("m/000002_b.up.sql", 1), "drops column a", "ALTER TABLE t DROP a")
    shown = plan_markdown(Plan(Direction.UP, plans), {id: [risk] for id in ids(40)})
    assert shown.count("postgres-t\\_0x") == 2, "in the risk and in the table"
    assert "| 40 databases: postgres-t\\_0x" in shown
    assert "and 35 more | h:1 | 2 b |" in shown
    document = DocumentView()
    for id in ids(40):
        document(events.DatabaseStarted(id, 1))
        document(events.DatabaseFinished(id, 2, 1, 0.25 if id == "postgres-t_7x" else 0.1))
    document(events.DatabaseSkipped("postgres-last", "the rollout of group:t is paused"))
    made = document.document()
    databases = list(made["databases"])
    assert databases[-1]["why"] == "the rollout of group:t is paused"
    shown = run_markdown(None, made | {"databases": databases}, [])
    assert "| ✅ | 40 databases: postgres-t\\_0x" in shown
    assert "| 2 | 0 | up to 0.25 |" in shown
    assert "| ⏭️ | postgres-last |" in shown


def test_a_server_that_is_down_is_one_failure_whatever_it_said_of_each_login() -> None:
    down = [
        (id, Failure("unreachable", 7, "cannot connect to h:1", detail=f"no pg_hba entry for {id}")) for id in ids(3)
    ]
    ((databases, _),) = shared(down)
    assert databases == ids(3)


def outcome(number: int) -> str:
    view = OutcomeTable()
    for place, id in enumerate(ids(number)):
        view(events.StepFinished(id, 1, "a", Direction.UP, 0.0))
        view(events.DatabaseFinished(id, 1, 1, place / 10))
    view(events.DatabaseFailed("postgres-bad", failure("bad")))
    plans = tuple(DatabasePlan(id, "postgres", id, "h") for id in [*ids(number), "postgres-bad"])
    return view.text(Plan(Direction.UP, plans))


def test_the_slowest_of_many_databases_are_named() -> None:
    lines = outcome(60).splitlines()
    assert lines[-1] == "Slowest: postgres-t_59x 5.90 s, postgres-t_58x 5.80 s, postgres-t_57x 5.70 s."
    assert any("postgres-t_0x and 59 more" in line and "up to 5.90 s" in line for line in lines)
    assert any("postgres-bad" in line and "failed" in line for line in lines)
    assert len(lines) == 4
    assert "Slowest" not in outcome(20)


def test_status_folds_failed_tries_whenever_they_were_and_keeps_versions_apart() -> None:
    def member(name: str, version: int, second: int = 0) -> DatabaseStatus:
        tried = FailedTry(version, f"the last try of version {version} failed on 2026-11-27 21:28:{second:02d} UTC", "")
        return DatabaseStatus(f"sqlite-{name}", "sqlite", name, "h", name, "failed", group="t", failed=(tried,))

    found = [member(f"t_{number}", 3, number % 60) for number in range(1, 1199)]
    text = str(status_text(Status((*found, member("1", 1), member("2", 2)))))
    assert text.count("the same holds") == 1
    assert (
        "the same holds for 1,197 more: sqlite-t_2, sqlite-t_3, sqlite-t_4, sqlite-t_5, sqlite-t_6 and 1,192 more"
        in text
    )
    assert "sqlite-2: the last try of version 2 failed" in text
    assert "1,200 failed." in text


def test_a_graph_of_very_many_databases_shows_the_first_of_them() -> None:
    leaves = [f"t{number}" for number in range(3_000)]
    chain = {
        f"c{number}": (f"c{number - 1}",) if number else () for number in range(1_200)
    }  # deeper than Python's stack
    lines = graph_text({"core": (), **dict.fromkeys(leaves, ("core",)), **chain}, [["core", *leaves]]).splitlines()
    assert "└─ and 2,500 more" in lines
    assert "├─ t0" in lines
    assert lines[-1].endswith("└─ c1199")
    assert sum("t2999" in line for line in lines) == 0
