"""In which waves the members of a fleet are migrated, and how long a wave waits for the one before. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from fnmatch import fnmatchcase
from math import ceil

from orchestrator.errors import InvalidError
from orchestrator.model import Attempt, Database, Direction, Origin, Rollout
from orchestrator.phrases import did_you_mean, some
from orchestrator.planning.graph import cycle
from orchestrator.planning.plan import DatabasePlan, Plan
from orchestrator.planning.surveys import Survey
from orchestrator.records import dataclass

NEVER = float("inf")
"""The pause of a wave that a person has to release."""


@dataclass(frozen=True, slots=True)
class Wave:
    """A wave after the first: `members` have work in this plan. They begin when all of `before` have come to an end.

    `rest` is how many seconds of the pause are left if nothing of `before` runs in this plan; `number` counts from 1.
    `released`: somebody has ended the pause, also for what `before` tries again.
    """

    group: str
    number: int
    of: int
    members: tuple[str, ...]
    before: tuple[str, ...]
    rest: float = 0.0
    released: bool = False

    @property
    def id(self) -> str:
        """What the gate before this wave is called; no database can be called so."""
        return f"\0{self.group} {self.number}"


@dataclass(frozen=True, slots=True)
class FleetRollout:
    """How one fleet is rolled out in this plan. `first` are the members of its first wave that have canaries in it.

    More than `most` failures end it; so does any among `canaries`. `size` is how many members the fleet has.
    """

    group: str
    waves: tuple[Wave, ...]
    members: frozenset[str]
    canaries: frozenset[str]
    most: int
    pause: float


def waves_of(members: Sequence[Database], rollout: Rollout) -> list[list[str]]:
    """Return the ids of all members wave by wave: the canaries first, if there are any."""
    left = {one.id: one for one in members}
    canaries = [one.id for one in members if any(_matches(one, pattern) for pattern in rollout.canary)]
    waves = [canaries] if canaries else []
    for id in canaries:
        del left[id]
    steps = list(rollout.then)
    while left:
        step = steps.pop(0) if steps else rollout.then[-1] if rollout.then else None
        if step is None:
            chosen = list(left)
        elif step.match:
            chosen = [id for id, one in left.items() if _matches(one, step.match)]
            if not steps and step is rollout.then[-1]:
                chosen = chosen or list(left)
        else:
            count = step.size or ceil(len(members) * step.percent / 100)
            chosen = list(left)[: max(1, count)]
        for id in chosen:
            del left[id]
        waves += [chosen] if chosen else []
    return _in_order(members, waves)


def _in_order(members: Sequence[Database], waves: list[list[str]]) -> list[list[str]]:
    """Return the waves with each member no later than those of the fleet that depend on it."""
    number = {id: place for place, wave in enumerate(waves) for id in wave}
    needs = {one.id: [need for need in one.depends_on if need in number] for one in members}
    queue = [one.id for one in members if needs[one.id]]
    while queue:
        id = queue.pop()
        for need in needs[id]:
            if number[need] > number[id]:
                number[need] = number[id]
                queue.append(need)
    found: list[list[str]] = [[] for _ in waves]
    for one in members:
        found[number[one.id]].append(one.id)
    return [wave for wave in found if wave]


def _matches(database: Database, pattern: str) -> bool:
    if pattern.startswith("label:"):
        return any(fnmatchcase(label, pattern.removeprefix("label:")) for label in database.labels)
    return any(name == pattern or fnmatchcase(name, pattern) for name in (database.member, database.name, database.id))


def idle_canaries(members: Sequence[Database], rollout: Rollout) -> list[str]:
    """Return the canaries of a rollout that mean no member."""
    return [pattern for pattern in rollout.canary if not any(_matches(one, pattern) for one in members)]


def without_meaning(members: Sequence[Database], rollout: Rollout) -> Iterator[str]:
    """Yield a sentence on the canaries of a rollout that mean no member, and on each wave whose `match` means none."""
    group = members[0].fleet.group if members[0].fleet else ""
    if idle := idle_canaries(members, rollout):
        yield f"the rollout of group:{group} has canaries that are no members: {some(idle)}"
    for step in rollout.then:
        if step.match and not any(_matches(one, step.match) for one in members):
            yield f"the rollout of group:{group} has a wave that no member belongs to: {step.match}"


def _no_canary(members: Sequence[Database], rollout: Rollout) -> InvalidError | None:
    """Return what is wrong if a rollout begins with canaries and no member is one: its first wave would be as large as others."""
    fleet = members[0].fleet
    if fleet is None or not rollout.canary or len(idle_canaries(members, rollout)) < len(rollout.canary):
        return None
    known = [one.member for one in members]
    hint = (
        did_you_mean(rollout.canary[0], known) or "a canary is a member, a glob, or label:NAME; or leave out 'canary'"
    )
    what = f"no member of group:{fleet.group} is a canary of its rollout: {some(rollout.canary)}"
    return InvalidError(what, where=fleet.mark, hint=hint)


def rollouts(
    fleet_members: Mapping[str, Sequence[Database]],
    plan: Plan,
    surveys: Mapping[str, Survey] | None,
    now: datetime,
    *,
    resumed: Collection[str] = (),
    pauses: bool = True,
) -> list[FleetRollout]:
    """Return how the fleets of a plan are rolled out. `fleet_members` has all members of each, by group.

    Without `surveys` (a saved plan) nothing is known of earlier runs, and a wave whose predecessors are done waits its whole
    pause. `resumed` are groups whose first pause somebody has ended; without `pauses` no wave waits. InvalidError for a
    rollout whose canaries are no members, if it has work.
    """
    if plan.direction is not Direction.UP:
        return []
    planned = {one.id: one for one in plan.databases}
    found = []
    for group, members in fleet_members.items():
        rollout = members[0].fleet.rollout if members[0].fleet else None
        if rollout is None:
            continue
        if not pauses:
            rollout = rollout._replace(pause=0.0)
        works = any(one.id in planned and planned[one.id].has_changes for one in members)
        if works and (wrong := _no_canary(members, rollout)):
            raise wrong
        all_waves = waves_of(members, rollout)
        waves: list[Wave] = []
        before: list[str] = []
        skip = group in resumed
        for number, ids in enumerate(all_waves, 1):
            working = [id for id in ids if id in planned and (planned[id].has_changes or planned[id].failure)]
            if working and before:
                rest = _rest(rollout, all_waves, number - 1, surveys, now)
                released = bool(rest and skip and (_is_idle(before, planned) or _is_known(ids, before, surveys or {})))
                if released:
                    rest, skip = 0.0, False
                waves.append(Wave(group, number, len(all_waves), tuple(working), tuple(before), rest, released))
            before += ids
        canaries = {one.id for one in members if any(_matches(one, pattern) for pattern in rollout.canary)}
        most = rollout.max_failures if not rollout.rate else int(len(members) * rollout.max_failures / 100)
        found.append(
            FleetRollout(
                group, tuple(waves), frozenset(one.id for one in members), frozenset(canaries), int(most), rollout.pause
            )
        )
    return found


def _is_idle(ids: Sequence[str], planned: Mapping[str, DatabasePlan]) -> bool:
    return not any(planned[id].has_changes for id in ids if id in planned)


def _is_known(wave: Sequence[str], before: Sequence[str], surveys: Mapping[str, Survey]) -> bool:
    """Return whether all that a wave would run is applied before it: then what is pending there failed, or is of new members."""
    pending = {version for id in wave if id in surveys for version in surveys[id].state.pending}
    return pending <= {version for id in before if id in surveys for version in surveys[id].state.applied}


def _rest(
    rollout: Rollout,
    waves: Sequence[Sequence[str]],
    place: int,
    surveys: Mapping[str, Survey] | None,
    now: datetime,
) -> float:
    """Return how many seconds a wave still waits if all before it is done.

    What a wave waits with are the versions that are pending there and applied before it. What was applied once and is
    rolled back does not count.
    """
    if not rollout.pause:
        return 0.0
    if surveys is None:
        return rollout.pause
    before = [id for wave in waves[:place] for id in wave]
    applied = {id: set(survey.state.applied) for id, survey in surveys.items()}
    pending = {version for id in waves[place] if id in surveys for version in surveys[id].state.pending}
    coming = pending & {version for id in before for version in applied.get(id, ())}
    if not coming:
        return 0.0
    newest = max(coming)
    ends = [
        end for id in before if (survey := surveys.get(id)) for end in _ends(survey.history.attempts, newest) if end
    ]
    if any(
        newest in applied[id] or _was_tried(surveys[id].history.attempts, newest, ends)
        for id in waves[place]
        if id in surveys
    ):
        return 0.0  # this wave has been begun
    if not ends or rollout.pause == NEVER:
        return rollout.pause
    passed = (now - max(ends)).total_seconds()
    return max(0.0, rollout.pause - max(0.0, passed))


def _was_tried(attempts: Sequence[Attempt], version: int, ends: Sequence[datetime]) -> bool:
    """Return whether a version failed here since the waves before were done with it. Older failures are of another rollout."""
    tried = [
        one.started_at
        for one in attempts
        if one.version == version and one.direction is Direction.UP and not one.done and one.started_at
    ]
    return bool(ends) and any(at >= max(ends) for at in tried)


def _ends(attempts: Sequence[Attempt], version: int) -> list[datetime | None]:
    """Return when a version was done. Of a member from a template nobody knows: its rows are as old as the template."""
    return [
        one.finished_at for one in attempts if one.version == version and one.done and one.origin is not Origin.CLONED
    ]


def skipped_waves(found: Sequence[FleetRollout], chosen: Collection[str]) -> Iterator[str]:
    """Yield a sentence on each rollout of which members were chosen without those of the waves before: nobody waits for them."""
    for one in found:
        for wave in one.waves:
            if left := [id for id in wave.before if id not in chosen]:
                number = f"{len(left):,} member{'s' * (len(left) != 1)}"
                yield (
                    f"wave {wave.number} of {wave.of} of group:{one.group} does not wait for {number} of earlier waves, "
                    f"which --only or --exclude left out: {some(left)}"
                )
                break


def refuse_cycles(found: Sequence[FleetRollout], plan: Plan) -> None:
    """Raise InvalidError if a wave waits for something that waits for this wave."""
    waves = [wave for one in found for wave in one.waves]
    rolled = {id for one in found for id in one.members}
    if not any(need in rolled for one in plan.databases for need in one.depends_on):
        return
    gate_of = {id: wave.id for wave in waves for id in wave.members}
    needs = {one.id: (*one.depends_on, *([gate_of[one.id]] if one.id in gate_of else [])) for one in plan.databases}
    needs |= {wave.id: wave.before for wave in waves}
    if ring := cycle(needs):
        path = " → ".join(id for id in ring if id not in {wave.id for wave in waves})
        raise InvalidError(
            f"the rollouts of this plan wait for each other: {path}",
            hint="make what others depend on a canary of its fleet, or remove one of the rollouts",
        )
