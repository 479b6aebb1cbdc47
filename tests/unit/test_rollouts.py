"""The `rollout` of a fleet: which members are canaries and waves, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from manifests import HEAD, one, read

from orchestrator.errors import InvalidError
from orchestrator.model import Attempt, Database, Direction, History
from orchestrator.operations.assembly import Assembly
from orchestrator.operations.validate import validate
from orchestrator.planning.history import State
from orchestrator.planning.plan import DatabasePlan, Plan
from orchestrator.planning.rollout import idle_canaries, rollouts, waves_of
from orchestrator.planning.surveys import Survey
from orchestrator.views.markdown import run_markdown

MEMBER = (
    '  - {{name: "tenant_{{tenant}}", server: pg, migrations: m, labels: ["in-{{region}}", "{{plan}}"],'
    " for_each: {{file: t.csv, column: tenant}}, rollout: {0}}}\n"
)
ROWS = "tenant,region,plan\nacme,eu,beta\nacorn,us,paying\nglobex,eu,paying\nbig-1,us,beta\nbig-2,us,paying\n"


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(ROWS)
    Path("m").mkdir()


def members(rollout: str) -> list[Database]:
    return list(read(HEAD + MEMBER.format(rollout)).databases)


def waves(rollout: str) -> list[list[str]]:
    found = members(rollout)
    fleet = found[0].fleet
    assert fleet is not None
    assert fleet.rollout is not None
    return [[id.removeprefix("postgres-tenant_") for id in wave] for wave in waves_of(found, fleet.rollout)]


@pytest.mark.parametrize(
    ("rollout", "expected"),
    [
        ("{canary: [globex]}", [["globex"], ["acme", "acorn", "big-1", "big-2"]]),
        ("{canary: [tenant_globex]}", [["globex"], ["acme", "acorn", "big-1", "big-2"]]),
        ("{canary: [postgres-tenant_globex]}", [["globex"], ["acme", "acorn", "big-1", "big-2"]]),
        ("{canary: ['ac*'], then: 2}", [["acme", "acorn"], ["globex", "big-1"], ["big-2"]]),
        ("{canary: ['big-[12]']}", [["big-1", "big-2"], ["acme", "acorn", "globex"]]),
        ("{canary: ['label:beta']}", [["acme", "big-1"], ["acorn", "globex", "big-2"]]),
        ("{canary: ['label:in-*s']}", [["acorn", "big-1", "big-2"], ["acme", "globex"]]),
        ("{canary: ['label:beta', 'ac*']}", [["acme", "acorn", "big-1"], ["globex", "big-2"]]),
        ("{canary: ['*'], then: 1}", [["acme", "acorn", "globex", "big-1", "big-2"]]),
        ("{then: [{match: 'label:paying'}, 40%]}", [["acorn", "globex", "big-2"], ["acme", "big-1"]]),
        ("{then: [{match: 'label:nobody'}, 3]}", [["acme", "acorn", "globex"], ["big-1", "big-2"]]),
        ("{canary: [], then: 100%}", [["acme", "acorn", "globex", "big-1", "big-2"]]),
        ("{then: 0.1%}", [["acme"], ["acorn"], ["globex"], ["big-1"], ["big-2"]]),
    ],
)
def test_canaries_and_waves_are_named_in_many_ways(rollout: str, expected: list[list[str]]) -> None:
    assert waves(rollout) == expected


def plan_of(found: list[Database], *, create: bool = True) -> Plan:
    plans = tuple(DatabasePlan(d.id, d.engine, d.name, "h", create=create) for d in found)
    return Plan(Direction.UP, plans)


def test_a_rollout_without_its_canaries_does_not_begin() -> None:
    found = members("{canary: [acne, 'label:gone'], then: 1}")
    assert found[0].fleet
    assert found[0].fleet.rollout
    assert idle_canaries(found, found[0].fleet.rollout) == ["acne", "label:gone"]
    now = datetime.now(UTC)
    with pytest.raises(InvalidError) as caught:
        rollouts({"tenant": found}, plan_of(found), None, now)
    assert "no member of group:tenant is a canary of its rollout: acne, label:gone" in caught.value.what
    assert "did you mean 'acme'?" in caught.value.hint
    assert str(caught.value.where) == "databases.yaml:6:5"
    rollouts({"tenant": found}, plan_of(found, create=False), None, now)  # nothing to do: nothing to refuse
    validated = validate(
        Assembly(read(HEAD + MEMBER.format("{canary: [acne, acme], then: {match: 'label:betta'}}")), tuple(found), {})
    )
    assert [one.what for one in validated.warnings if one.kind == "rollout"] == [
        "the rollout of group:tenant has canaries that are no members: acne",
        "the rollout of group:tenant has a wave that no member belongs to: label:betta",
    ]


@pytest.mark.parametrize(
    ("applied", "once", "wave", "rest"),
    [
        (["12", "1", "1", "1", "1"], "", 2, 60),
        (["12", "12", "1", "1", "1"], "", 2, 0),  # the wave has been begun
        (["12", "12", "1", "1", "1"], "", 3, 60),
        (["12", "1", "1", "1", "1"], "2", 2, 60),  # rolled back everywhere
        (["123", "13", "13", "13", "13"], "", 2, 60),  # 2 came late
        (["12", "12", "12", "12", ""], "", 3, 0),  # a new member of a wave that has been begun
        (["12", "12", "12", "", ""], "", 3, 60),  # nobody can tell new members from those that still wait
        (["12", "", "", "", ""], "", 2, 60),
        (["12", "1", "1", "12", "1"], "", 2, 60),  # `--only` migrated a member of a later wave
    ],
)
def test_a_pause_is_known_by_what_is_applied_now(applied: list[str], once: str, wave: int, rest: float) -> None:
    found = members("{canary: [acme], then: 2, pause: 1h}")
    now = datetime.now(UTC)
    surveys, plans = {}, []
    for member, text in zip(found, applied, strict=True):
        versions = tuple(map(int, text))
        pending = tuple(version for version in (1, 2, 3) if version not in versions)
        attempts = tuple(
            Attempt(version, 1, "x", Direction.UP, "", done=True, finished_at=now - timedelta(minutes=59))
            for version in {*versions, *map(int, once)}
        )
        surveys[member.id] = Survey("h", History(attempts=attempts), state=State(applied=versions, pending=pending))
        plans.append(DatabasePlan(member.id, member.engine, member.name, "h", create=member.member != "acme"))
    plan = Plan(Direction.UP, tuple(plans))
    (fleet,) = rollouts({"tenant": found}, plan, surveys, now)
    assert {step.number: step.rest for step in fleet.waves}[wave] == pytest.approx(rest)
    (fleet,) = rollouts({"tenant": found}, plan, surveys, now, pauses=False)  # as for embedded servers
    assert fleet.pause == 0
    assert not any(step.rest for step in fleet.waves)


@pytest.mark.parametrize(
    ("rollout", "where", "what"),
    [
        ("{then: 0}", ":6:", "must be at least 1"),
        ("{then: 0%}", ":6:", "'0%' is not the size of a wave"),
        ("{then: 101%}", ":6:", "'101%' is not the size of a wave"),
        ("{then: -5%}", ":6:", "'-5%' is not the size of a wave"),
        ("{then: many}", ":6:", "'many' is not the size of a wave"),
        ("{then: [5%, {}]}", ":6:", "match"),
        ("{then: {match: a, size: 2}}", ":6:", "size"),
        ("{then: true}", ":6:", "the truth value true"),
        ("{canary: acme}", ":6:", "must be a list"),
        ("{canary: [[acme]]}", ":6:", "must be text or a whole number"),
        ("{max_failures: -1}", ":6:", "must be at least 0"),
        ("{max_failures: few}", ":6:", "'few' is no number of failures"),
        ("{max_failures: 200%}", ":6:", "'200%' is no number of failures"),
        ("{pause: soon}", ":6:", "'soon' is no pause"),
        ("{pause: -1}", ":6:", "must be at least 0"),
        ("{pause: .nan}", ":6:", "not a number that can be used"),
        ("{pause: 169h}", ":6:", "the pause '169h' is too long"),
        ("{pause: 10d}", ":6:", "'10d' is no pause"),
        ("{canaries: [acme]}", ":6:", "canary"),
        ("[acme]", ":6:", "rollout"),
    ],
)
def test_what_is_wrong_with_a_rollout_is_told_with_its_place(rollout: str, where: str, what: str) -> None:
    place, said, hint = one(HEAD + MEMBER.format(rollout))
    assert what in said + hint
    assert where in place


@pytest.mark.parametrize("key", ["rollout: {canary: [a]}", "bootstrap: template"])
def test_what_is_for_fleets_is_refused_elsewhere(key: str) -> None:
    place, said, hint = one(f"{HEAD}  - {{name: a, server: pg, migrations: m, {key}}}\n")
    assert key.partition(":")[0] in said
    assert "for_each" in said + hint
    assert ":6:" in place


def test_two_fleets_of_one_group_have_no_rollout() -> None:
    fleet = '  - {{name: "{}", server: pg, migrations: m, for_each: {{values: [{}]}}{}}}\n'
    first, more = fleet.format("t_{x}", "a", ", rollout: {canary: [a]}"), ""
    place, said, _ = one(HEAD + first + fleet.format("t-{x}", "b", more))
    assert said == "the fleets 't_{x}' and 't-{x}' are both group:t, and a rollout is that of one fleet"
    assert place.startswith("databases.yaml:7:")
    assert len(read(HEAD + fleet.format("t_{x}", "a", "") + fleet.format("t-{x}", "b", "")).databases) == 2


def test_a_paused_rollout_is_no_failure_in_a_summary() -> None:
    skipped = {"id": "postgres-t_b", "result": "skipped", "created": False, "steps": []}
    blocked = skipped | {"result": "blocked", "blocked_by": ["postgres-t_a"]}
    for entry, code, icon in ((skipped, 8, "⏸️"), (blocked, 8, "❌"), (skipped, 130, "❌"), (skipped, 0, "✅")):
        drawn = run_markdown(None, {"databases": [entry], "exit_code": code}, [])
        assert drawn.startswith(f"## {icon} Databases")
