"""Make the missing members of a fleet from one template, which is migrated once: `bootstrap: template`.

orch does not connect to the copies, so every member gets the history of the template as it is. Its rows name no database, and
say that they were cloned and from which template. Files that would have another effect in each member are refused.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from orchestrator.engines.base import Copies, MemberCopies, Reach
from orchestrator.errors import InvalidError, InvalidGroup
from orchestrator.events import Event, Notice
from orchestrator.execution.run import Run
from orchestrator.execution.timings import Timings
from orchestrator.manifest.retarget import retarget
from orchestrator.model import Direction
from orchestrator.planning.plan import DatabasePlan, Plan
from orchestrator.scratch.clone_names import template_of
from orchestrator.scratch.clones import Cloner
from orchestrator.scratch.confine import UP, reaching

_HINT = "or leave out 'bootstrap': then each member is migrated by itself"


def with_templates(run: Run, plan: Plan) -> Run:
    """Return the run that copies what the plan creates of fleets with `bootstrap: template`. Asks no server.

    InvalidError, or InvalidGroup for several, if copies of one template cannot be what each member has to be.
    """
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for planned in plan.databases:
        fleet = run.databases[planned.id].fleet
        if fleet and fleet.bootstrap and plan.direction is Direction.UP and _is_whole(run, planned):
            groups[fleet.template, run.targets[planned.id].endpoint].append(planned.id)
    by_id: dict[str, _Template] = {}
    for members in groups.values():
        by_id |= dict.fromkeys(members, _template(run, members))
    return replace(run, bootstrap=lambda id: id in by_id and by_id[id].make(id)) if by_id else run


def _is_whole(run: Run, planned: DatabasePlan) -> bool:
    """Whether a database is to be created and migrated up to its last version."""
    if planned.failure or not (planned.create and planned.steps):
        return False
    return max(step.version for step in planned.steps) == run.catalogs[planned.id][-1].version


def _template(run: Run, members: Sequence[str]) -> _Template:
    """Return the template of these members of a fleet on one server; raises if they cannot have one."""
    first = members[0]
    database, target = template_of(run.databases[first], run.targets[first])
    alike = {
        (retarget(run.targets[id], "x").url.reveal(), *sorted(run.targets[id].parameters.items())) for id in members
    }
    if len(alike) > 1 or any(run.databases[id].create != database.create for id in members):
        raise InvalidError(
            f"no template can serve all members of {database.name}: on {target.endpoint} "
            "they differ in more than the names of their databases",
            where=database.fleet.mark if database.fleet else None,
            hint=f"leave out the columns in 'create', and in 'dsn' those that are no part of that name; {_HINT}",
        )
    alone = replace(
        run,
        databases={database.id: database},
        targets={database.id: target},
        catalogs={database.id: run.catalogs[first]},
        sink=lambda event: _pass_on(run, event),
        ready=lambda _id: None,
        timings=Timings(),
        fail_fast=False,
    )
    made = _Template(run, database.id, Cloner(alone, members=True))
    made.check()
    return made


def _pass_on(run: Run, event: Event) -> None:
    """Tell what people have to know of a template; all else would count as work on a database of the manifest."""
    if isinstance(event, Notice):
        run.sink(event)


@dataclass
class _Template:
    """The template of a fleet on one server. `id` is that of the database that stands for it in the run of `cloner`."""

    run: Run
    id: str
    cloner: Cloner
    _first: threading.Lock = field(default_factory=threading.Lock)  # taken by the first member, for good

    def check(self) -> None:
        """Raise InvalidError for a file that does something beyond its database, or asks in which one it runs."""
        run = self.cloner.run
        database, files = run.databases[self.id], [one.up for one in run.catalogs[self.id] if one.up]
        found = [one for _, one in reaching(run, self.id, run.catalogs[self.id], UP, "x") if one.reach is not Reach.MAY]
        copies = self._copies()
        if isinstance(copies, MemberCopies):
            found += [one for file in files for one in copies.unlike(run.read_script(database, file))]
        InvalidGroup.raise_if(
            InvalidError(
                f"no template can do this for the members of {database.name}: {one.what}",
                where=one.where,
                hint="; ".join(filter(None, [one.hint, _HINT])),
            )
            for one in found
        )

    def _copies(self) -> Copies:
        run = self.cloner.run
        target = run.targets[self.id]
        return run.engines[target.engine].copies(target, run.databases[self.id].create)

    def make(self, id: str) -> bool:
        """Make a missing member. Returns False if it has to be migrated: it is there already, or the server is too old."""
        run = self.run
        target = run.targets[id]

        def able() -> bool:
            copies = self._copies()
            return isinstance(copies, MemberCopies) and copies.makes_members()

        if not run.when_ready(id, able):
            self._tell(
                "this server copies a database slowly (PostgreSQL 15 is the first that does not)", "migrated each"
            )
            return False
        self._tell("copied from one template", "")
        return self.cloner.member(self.id, target.database)

    def _tell(self, what: str, more: str) -> None:
        """Say once for all members how they are made, and drop what killed runs left on the server."""
        if not self._first.acquire(blocking=False):
            return
        name = self.cloner.run.databases[self.id].name
        self.run.sink(Notice("", f"missing members of {name}: {what}{more and ', so they are ' + more}"))
        self.cloner.drop_left_behind([self.id])
