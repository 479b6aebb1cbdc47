"""Hold back the waves of a rollout until those before them are done, and end it after too many failures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from orchestrator.events import Notice
from orchestrator.execution.run import Run
from orchestrator.execution.scheduler import Gate, Settle
from orchestrator.hints import Command, Hint
from orchestrator.planning.rollout import NEVER, FleetRollout, Wave

LOOK_EVERY = 0.2  # seconds


class Rollouts:
    """The rollouts of one run. Between two waves there is a gate: the members of the later wave depend on it.

    `ended` tells whether the whole run starts nothing new any more.
    """

    def __init__(self, run: Run, rollouts: Sequence[FleetRollout], ended: Callable[[], bool]) -> None:
        self._run = run
        self._ended = ended
        self._fleets = {one.group: one for one in rollouts}
        self._group_of = {id: one.group for one in rollouts for id in one.members}
        self._failures: dict[str, int] = {}
        self._halted: dict[str, str] = {}
        self._closed: set[str] = set()
        self._worked: set[str] = set()  # groups in which something was migrated
        self._begun: set[str] = set()  # groups of which members were worked on
        self._mutex = threading.Lock()
        self._waves = [wave for one in rollouts for wave in one.waves]
        self.paused: list[str] = []

    @property
    def gates(self) -> Mapping[str, Gate]:
        """For each gate, the function that waits until it may open."""
        return {wave.id: partial(self._begin, wave) for wave in self._waves}

    @property
    def after(self) -> Mapping[str, Sequence[str]]:
        """For each gate, the databases that must be finished before its function is called."""
        return {wave.id: wave.before for wave in self._waves}

    def with_gates(self, dependencies: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
        """Return the dependencies of all databases with the gates among them."""
        found = {id: tuple(needs) for id, needs in dependencies.items()}
        for wave in self._waves:
            found[wave.id] = ()
            for id in wave.members:
                if id in found:
                    found[id] = (*found[id], wave.id)
        return found

    def worked(self, id: str) -> None:
        """Take note that a database was migrated."""
        if group := self._group_of.get(id):
            self._worked.add(group)
            self._begun.add(group)

    def failed(self, id: str, *, begun: bool = True) -> None:
        """Count a failure; too many of them, or one of a canary, end the rollout of its fleet. `begun`: it was worked on."""
        group = self._group_of.get(id)
        if group is None:
            return
        fleet = self._fleets[group]
        with self._mutex:
            self._failures[group] = failures = self._failures.get(group, 0) + 1
            self._worked.add(group)
            self._begun |= {group} if begun else set()
            if group in self._halted or not (id in fleet.canaries or failures > fleet.most):
                return
            why = f"the canary {id} failed" if id in fleet.canaries else f"{failures:,} failed, {fleet.most:,} may"
        self._halt(group, why)

    def not_reached(self, id: str) -> None:
        """Take note of a member whose dependencies were not migrated: without a canary, its rollout ends."""
        group = self._group_of.get(id, "")
        if group and id in self._fleets[group].canaries and not self._ended():
            self._halt(group, f"the canary {id} could not be migrated")

    def _halt(self, group: str, why: str) -> None:
        with self._mutex:
            if group in self._halted:
                return
            self._halted[group] = what = f"the rollout of group:{group} has ended: {why}"
        # `--failed` finds the remaining members by the records of this run. If no member was begun, there are none.
        again = Command("apply", "--failed") if group in self._begun else Command("apply")
        self._run.sink(Notice("", Hint(f"{what}; what is left over is migrated by: ", again)))

    def halted(self, id: str) -> str:
        """Return why no member of the fleet of a database is begun any more, or an empty text."""
        return self._halted.get(self._group_of.get(id, ""), "")

    def why(self, id: str) -> str:
        """Return why a member was not begun."""
        return self.halted(id) or next(iter(self._told_paused(id)), "")

    def _told_paused(self, id: str) -> Iterator[str]:
        group = self._group_of.get(id, "")
        if group in self._closed:
            yield f"the rollout of group:{group} is paused"

    def _begin(self, wave: Wave, settle: Settle) -> None:
        """Wait for the pause before a wave, and open it; or leave it closed."""
        fleet = self._fleets[wave.group]
        if wave.group in self._halted or wave.group in self._closed:
            settle(False)
            return
        pause = fleet.pause if wave.group in self._worked and not wave.released else wave.rest
        if pause == NEVER:
            self._closed.add(wave.group)
            left = sum(len(one.members) for one in fleet.waves if one.number >= wave.number)
            what = f"the rollout of group:{wave.group} is paused before wave {wave.number} of {wave.of}; {left:,} left; next: "
            self.paused.append(what)
            self._run.sink(Notice("", Hint(what, Command("rollout", "resume"))))
            settle(False)
        elif not pause:
            settle(True)
        else:
            what = f"group:{wave.group}: wave {wave.number} of {wave.of} begins in {pause:.0f} s"
            self._run.sink(Notice("", what))
            threading.Thread(target=self._wait, args=(wave, pause, settle), daemon=True).start()

    def _wait(self, wave: Wave, pause: float, settle: Settle) -> None:
        until = time.monotonic() + pause
        while time.monotonic() < until and not self._ended():
            self._run.stop.wait(min(LOOK_EVERY, max(0.0, until - time.monotonic())))
        settle(not self._ended() and wave.group not in self._halted)
