"""The plan: made by a pure function, saved and read again, and what of it is left under the lock."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from orchestrator.errors import InvalidError, InvalidGroup, OrchError, StalePlanError, UsageError
from orchestrator.events import Failure
from orchestrator.model import (
    Attempt,
    CreateOptions,
    Database,
    Direction,
    File,
    History,
    Mark,
    Migration,
    Script,
    Statement,
    VersionRow,
)
from orchestrator.planning.attempts import digest, prefix_checksum
from orchestrator.planning.choose import choose
from orchestrator.planning.plan import PLAN_FORMAT, DatabasePlan, Plan, Request, Step
from orchestrator.planning.planner import make_plan, remaining
from orchestrator.planning.saved_plan import parse_plan
from orchestrator.planning.surveys import States, Survey
from orchestrator.views.document import json_pieces

UP, DOWN = Direction.UP, Direction.DOWN


def database(name: str, *needs: str, engine: str = "postgres", **keys: object) -> Database:
    blank = Database(f"{engine}-{name}", engine, name, "dsn", Path(), depends_on=needs)
    return dataclasses.replace(blank, **keys)  # type: ignore[arg-type]


def migration(version: int, *, down: bool = True) -> Migration:
    lower = File(f"{version}.down.sql", Path(), f"sha256:{version}down") if down else None
    return Migration(version, f"m{version}", File(f"{version}.up.sql", Path(), f"sha256:{version}"), lower)


def script(file: File) -> Script | OrchError:
    if file.path.startswith(("98.", "99.")):
        return InvalidError("no SQL", where=Mark(file.path, 1, 1))
    statements = tuple(Statement(source, source, 0, 1, True) for source in (f"{file.path} a", f"{file.path} b"))
    return Script(file, "", statements, atomic=not file.path.startswith("7."))


def up(version: int, **changes: object) -> Attempt:
    blank = Attempt(version, 1, f"m{version}", UP, f"sha256:{version}", applied=2, total=2, done=True)
    return blank._replace(**changes)  # type: ignore[arg-type]


def at(*versions: int, dirty: bool = False) -> History:
    version_row = VersionRow(max(versions, default=None), dirty)
    return History(store=True, version_row=version_row, attempts=tuple(up(version) for version in versions))


A, B = database("a"), database("b", "postgres-a", "postgres-z")
ALL = Request()
FILES = [migration(1), migration(2), migration(3)]


def plan_all(
    databases: list[Database], catalogs: dict[str, list[Migration]], surveys: dict[str, Survey], request: Request
) -> Plan:
    draft = choose(databases, catalogs, surveys, request)
    return make_plan(draft, [{(id, file): script(file) for file in files} for id, files in draft.files()], "1.0")


def plan_one(
    history: History, request: Request = ALL, files: list[Migration] = FILES, of: Database = A
) -> DatabasePlan:
    plan = plan_all([of], {of.id: files}, {of.id: surveyed("host:1", history, files, of)}, request)
    return plan.databases[0]


def surveyed(endpoint: str, history: History, files: list[Migration] = FILES, of: Database = A) -> Survey:
    state, base = States().of(of, tuple(files), history)
    return Survey(endpoint, history, state=state, base=base)


def versions(planned: DatabasePlan) -> list[int]:
    return [step.version for step in planned.steps]


# ---------------------------------------------------------------- up


def test_from_nothing() -> None:
    planned = plan_one(History(exists=False))
    assert planned.create
    assert planned.has_changes
    assert planned.steps[0] == Step(1, "m1", UP, "1.up.sql", "sha256:1", 2, atomic=True)
    assert versions(planned) == [1, 2, 3]


def test_mongodb_needs_no_creating() -> None:
    assert not plan_one(History(exists=False), of=database("a", engine="mongo")).create


def test_nothing_to_do() -> None:
    planned = plan_one(at(1, 2, 3))
    assert not planned.has_changes
    assert planned.version == 3


@pytest.mark.parametrize(("to", "expected"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3])])
def test_up_to(to: int, expected: list[int]) -> None:
    assert versions(plan_one(at(), Request(to=to, to_of="postgres-a"))) == expected
    assert versions(plan_one(at(), Request(to=to, to_of="postgres-other"))) == [1, 2, 3]


@pytest.mark.parametrize("to", [4, 2])
def test_up_to_what_makes_no_sense(to: int) -> None:
    with pytest.raises(UsageError):
        plan_one(at(1, 2, 3), Request(to=to))


def test_what_golang_migrate_did_is_a_change() -> None:
    planned = plan_one(History(version_row=VersionRow(3)))
    assert planned.adopt == (1, 2, 3)
    assert planned.has_changes
    assert plan_one(at(1, 2, 3)._replace(version_row=VersionRow(2))).forget == (3,)
    assert plan_one(at(1, 2, 3)._replace(version_row=None)).version_row_stale


def test_extensions_that_are_missing() -> None:
    of = database("a", create=CreateOptions(extensions=("citext", "hstore")))
    assert plan_one(at(1, 2, 3)._replace(extensions=("citext",)), of=of).extensions == ("hstore",)


def test_a_half_done_file_continues() -> None:
    begun = up(2, applied=1, done=False, prefix=prefix_checksum(script(FILES[1].up or FILES[1].down), 1))  # type: ignore[arg-type]
    planned = plan_one(History(version_row=VersionRow(2, True), attempts=(up(1), begun)))
    assert [(step.version, step.first) for step in planned.steps] == [(2, 1), (3, 0)]
    changed = begun._replace(prefix="sha256:other")
    failure = plan_one(History(version_row=VersionRow(2, True), attempts=(up(1), changed))).failure
    assert failure is not None
    assert failure.kind == "conflict"
    assert "the part that already ran was changed (the first 1 of 2 statements" in failure.what


def test_conflicts_are_that_databases_failure_only() -> None:
    dirty = surveyed("h", History(version_row=VersionRow(2, True)))
    plan = plan_all([A, B], {A.id: FILES, B.id: FILES}, {A.id: dirty, B.id: surveyed("h", at())}, Request())
    assert [bool(planned.failure) for planned in plan.databases] == [True, False]
    assert plan.failures[0].exit_code == 5
    assert "orch repair postgres-a" in plan.failures[0].hint
    assert plan.databases[1].depends_on == ("postgres-a",), "of what is chosen"


def test_a_survey_that_failed_is_passed_on() -> None:
    lost = Failure("unreachable", 7, "no answer")
    plan = plan_all([A], {A.id: FILES}, {A.id: Survey("h", failure=lost)}, Request())
    assert plan.failures == (lost,)
    assert not plan.has_changes


def test_files_that_do_not_parse_are_told_all_at_once() -> None:
    files = {A.id: [migration(99)], B.id: [migration(1), migration(98), migration(99)]}
    surveys = {A.id: surveyed("h", at(), files[A.id]), B.id: surveyed("h", at(), files[B.id])}
    with pytest.raises(InvalidGroup) as caught:
        plan_all([A, B], files, surveys, Request())
    assert sorted(str(error.where) for error in caught.value.errors) == ["98.up.sql:1:1", "99.up.sql:1:1"]  # each once


# ---------------------------------------------------------------- down


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (Request(DOWN, steps=1), [3]),
        (Request(DOWN, steps=3), [3, 2, 1]),
        (Request(DOWN, to=1), [3, 2]),
        (Request(DOWN, to=3), []),
        (Request(DOWN, to=0), [3, 2, 1]),
    ],
)
def test_down(request_: Request, expected: list[int]) -> None:
    planned = plan_one(at(1, 2, 3), request_)
    assert versions(planned) == expected
    assert all(step.path.endswith("down.sql") for step in planned.steps)


@pytest.mark.parametrize("request_", [Request(DOWN, steps=3), Request(DOWN, to=3), Request(DOWN, to=8)])
def test_down_by_what_is_not_there(request_: Request) -> None:
    with pytest.raises(UsageError):
        plan_one(at(1, 2), request_)


def test_down_without_a_file() -> None:
    files = [migration(1), migration(2, down=False)]
    failure = plan_one(at(1, 2), Request(DOWN, steps=2), files).failure
    assert failure is not None
    assert "past version 2: it has no down file" in failure.what
    planned = plan_one(at(1, 2), Request(DOWN, steps=2, allow_missing_down=True), files)
    assert [(step.version, step.path) for step in planned.steps] == [(2, ""), (1, "1.down.sql")]
    gone = plan_one(at(1, 2), Request(DOWN, steps=1, allow_missing_down=True), [migration(1)]).failure
    assert gone is not None
    assert "its files are gone" in gone.what


def test_down_runs_in_the_other_order() -> None:
    surveys = {A.id: surveyed("h", at(1)), B.id: surveyed("h", at(1))}
    plan = plan_all([A, B], {A.id: FILES, B.id: FILES}, surveys, Request(DOWN, to=0))
    assert [planned.id for planned in plan.databases] == ["postgres-b", "postgres-a"]


# ---------------------------------------------------------------- saved


def test_a_plan_survives_being_saved() -> None:
    surveys = {
        A.id: surveyed("host:5432", History(exists=False), [*FILES, migration(7)]),
        B.id: Survey("h", failure=Failure("locked", 6, "what", Mark("f", 1, 2), "detail", "hint ชื่อ", "42")),
    }
    plan = plan_all([A, B], {A.id: [*FILES, migration(7)], B.id: FILES}, surveys, Request())
    adopted = dataclasses.replace(plan_one(History(version_row=VersionRow(2))), id="postgres-c")
    plan = dataclasses.replace(plan, databases=(*plan.databases, dataclasses.replace(adopted, notes=("a note",))))
    text = "".join(json_pieces(plan.document()))
    assert json.loads(text)["format"] == PLAN_FORMAT
    assert parse_plan(text, "p") == plan


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("databases"),
        lambda d: d.update(format=PLAN_FORMAT + 1),
        lambda d: d.update(direction="sideways"),
        lambda d: d["databases"][0].update(surprise=1),
        lambda d: d["databases"][0].update(adopt="12"),
        lambda d: d["databases"][0]["steps"][0].pop("version"),
        lambda d: d["databases"][0].update(steps={}),
        lambda d: d["databases"][0].update(steps=""),
        lambda d: d.update(databases={}),
        lambda d: d["databases"].append("postgres-b"),
    ],
)
def test_a_plan_that_was_tampered_with(change: object) -> None:
    plan = plan_all([A], {A.id: FILES}, {A.id: surveyed("h", at())}, Request())
    document = json.loads("".join(json_pieces(plan.document())))
    change(document)  # type: ignore[operator]
    with pytest.raises(InvalidError) as caught:
        parse_plan(json.dumps(document), "plan.json")
    assert "plan.json" in caught.value.what
    assert caught.value.hint


def test_a_step_that_many_databases_have_is_checked_in_each() -> None:
    """Equal steps are held against the schema once; one that differs in a byte is not equal."""
    files = [migration(version) for version in range(1, 21)]
    plan = plan_all([A], {A.id: files}, {A.id: surveyed("h", History(exists=False), files)}, Request())
    members = tuple(dataclasses.replace(plan.databases[0], id=f"postgres-{n}") for n in range(500))
    plan = dataclasses.replace(plan, databases=members)
    document = json.loads("".join(json_pieces(plan.document())))
    assert parse_plan(json.dumps(document), "p") == plan
    document["databases"][321]["steps"][7]["atomic"] = "yes"
    with pytest.raises(InvalidError) as caught:
        parse_plan(json.dumps(document), "p")
    assert "$.databases[321].steps[7].atomic" in caught.value.what


# ---------------------------------------------------------------- what is left under the lock


def left(planned: DatabasePlan, now: History, files: list[Migration] = FILES) -> list[tuple[int, int]]:
    return [(step.version, step.first) for step in remaining(planned, files, now, False)]


def test_nothing_changed() -> None:
    planned = plan_one(at(1))
    assert planned.base == digest(at(1))
    assert left(planned, at(1)) == [(2, 0), (3, 0)]


def test_another_was_quicker() -> None:
    planned = plan_one(at(1))
    assert left(planned, at(1, 2)) == [(3, 0)]
    assert left(planned, at(1, 2, 3)) == []
    assert left(plan_one(History(exists=False)), at(1)) == [(2, 0), (3, 0)]
    assert left(plan_one(at(1), Request(to=2)), at(1, 2, 3)) == []


def test_another_went_half_way() -> None:
    begun = up(2, applied=1, done=False)
    assert left(plan_one(at(1)), History(version_row=VersionRow(2, True), attempts=(up(1), begun))) == [(2, 1), (3, 0)]


def test_another_took_back_what_was_planned_to_go() -> None:
    planned = plan_one(at(1, 2, 3), Request(DOWN, steps=2))
    assert left(planned, at(1, 2)) == [(2, 0)]
    assert left(planned, at(1)) == []


@pytest.mark.parametrize(
    ("history", "request_", "now"),
    [
        (at(1, 2), Request(), at(1)),
        (at(1), Request(), at()),
        (at(1), Request(), at(1, 3)),
        (at(1), Request(), at(1, dirty=True)),
        (at(1), Request(), History(version_row=VersionRow(2), attempts=(up(1), up(2, checksum="sha256:other")))),
        (at(1, 2), Request(DOWN, steps=1), at(1, 2, 3)),
    ],
    ids=["taken back", "all taken back", "a later one", "dirty", "another file", "one more on top"],
)
def test_stale(history: History, request_: Request, now: History) -> None:
    planned = plan_one(history, request_)
    with pytest.raises(StalePlanError) as caught:
        remaining(planned, FILES, now, False)
    assert "postgres-a changed after the plan was made" in caught.value.what
    assert caught.value.hint
