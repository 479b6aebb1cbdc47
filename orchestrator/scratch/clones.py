"""Create fresh migrated databases: migrate a template once, then copy it.

First, derive the template's name from the content of the migrations. If there is no such template, create and migrate it as any
other database: survey, plan, execute, under its migration lock. So several processes can ask for it at once, and the work of
a killed process is continued. Then mark the template as complete. A clone is a copy of a complete template. Its name says
which process it belongs to; the next run drops the clones of processes that no longer exist.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from orchestrator.engines import load_engine
from orchestrator.engines.base import Copies, MemberCopies, Reach
from orchestrator.errors import (
    ConnectError,
    ConnectionLostError,
    DatabaseMissingError,
    InterruptedRunError,
    OrchError,
    UsageError,
)
from orchestrator.events import DatabaseFailed, Event, Failure
from orchestrator.execution.executor import Executor
from orchestrator.execution.reading import plan_of
from orchestrator.execution.run import Run
from orchestrator.execution.survey import survey
from orchestrator.manifest.retarget import login, retarget, without_password
from orchestrator.model import Direction, Migration, Target
from orchestrator.planning.plan import Request
from orchestrator.scratch.clone_names import (
    CLONES,
    TEMPLATES,
    clone_name,
    family,
    is_clone,
    is_left_behind,
    is_orphan,
    origin,
    owner,
    template_name,
    template_of,
)
from orchestrator.scratch.confine import UP, confined, reaching

_BUILD_WAIT = 600.0  # seconds; the lock ends with its process, so its holder is at work
KEPT_TEMPLATES = 4
"""This many templates of one database are kept, such as those of other branches and those without seeds."""
_TRIES = 3
_SEED = re.compile(r"(?<![a-z])seed(s|ed|ing)?(?![a-z])", re.IGNORECASE)


class TemplateError(OrchError):
    """The migrations of a database fail, so there is nothing to copy."""

    kind = "template"

    def __init__(self, id: str, failure: Failure) -> None:
        super().__init__(f"{id}: {failure.what}", where=failure.where, detail=failure.detail, hint=failure.hint)
        self.failure = failure
        self.exit_code = failure.exit_code  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Copy:
    """A clone or a template on a server.

    `owner` is the process to which a clone belongs, or ''. `made` is when it was made, in seconds since 1970 (Unix time).
    """

    name: str
    engine: str
    endpoint: str
    template: bool
    owner: str = ""
    made: int | None = None


def is_seed(migration: Migration) -> bool:
    """Whether a migration only inserts rows. Its name then has the word `seed`, as in `000002_seed_inventory`."""
    return bool(_SEED.search(migration.name))


@dataclass
class Cloner:
    """Makes and removes clones of the databases of one run. Without `seeds`, migrations that are seeds are left out.

    A template that failed once is not tried again: every later call raises the same error at once. With `members` the
    copies are members of a fleet, which stay: their records say that they were cloned, and from which template.
    """

    run: Run
    seeds: bool = True
    members: bool = False
    _copies: dict[str, Copies] = field(default_factory=dict)
    _templates: dict[str, str] = field(default_factory=dict)
    _ready: set[str] = field(default_factory=set)
    _failed: dict[str, OrchError] = field(default_factory=dict)
    _mutex: threading.Lock = field(default_factory=threading.Lock)

    def clone(self, id: str, wanted: str = "", *, pid: int | None = None) -> Target:
        """Make a fresh migrated copy of a database, and return where it is.

        It is called `wanted`, or else has a name that ties it to the process `pid`. TemplateError if a migration fails,
        UsageError if `wanted` exists.
        """
        for left in reversed(range(_TRIES)):
            # A clone that is to outlive this process has this process in its name until the copy is complete.
            name = clone_name(pid or os.getpid())
            lasting = wanted or ("" if pid else clone_name(None))
            target = retarget(self.run.targets[id], lasting or name)
            if self._copied(id, partial(self._of(id).copy, name=name, wanted=lasting), last=not left) is not None:
                break
        return target

    def member(self, id: str, wanted: str) -> bool:
        """Make a database that is a migrated copy and stays. Returns False if there is one of this name already.

        TemplateError if a migration fails.
        """
        copies = self._of(id)
        if not isinstance(copies, MemberCopies):
            return False
        for left in reversed(range(_TRIES)):
            copy = partial(copies.copy_member, name=clone_name(os.getpid()), wanted=wanted)
            if (made := self._copied(id, copy, last=not left)) is not None:
                return made
        return False

    def _copied(self, id: str, copy: Callable[[str], bool | None], *, last: bool) -> bool | None:
        """Return what `copy` made of the template; None: it is gone, and has to be built again."""
        template = self._template(id)
        try:
            return copy(template) is not False
        except (DatabaseMissingError, ConnectError, ConnectionLostError):  # it was dropped, or the server restarted
            if last:
                raise
            self._ready.discard(template)
            return None

    def drop(self, id: str, name: str) -> None:
        """Drop a clone on the server of this database; nothing happens if it is gone already."""
        if not is_clone(name):
            raise UsageError(f"'{name}' was not made as a clone")
        self._of(id).drop(name)

    def drop_on_any(self, ids: Iterable[str], name: str) -> None:
        """Drop a clone, wherever it is on the servers of these databases; UsageError for anything else."""
        for id in self._one_of_each_server(ids):
            copies = self._of(id)
            if name in copies.names(name) and (is_clone(name) or copies.is_marked(name)):
                copies.drop(name)
                return
        raise UsageError(f"there is no clone called '{name}'", hint="only what `orch clone` made is dropped")

    def listed(self, ids: Iterable[str]) -> list[Copy]:
        """Return the clones and templates on the servers of these databases, by server and name."""
        found = []
        declared = {(target.server_key, target.database) for target in self.run.targets.values()}
        for id in self._one_of_each_server(ids):
            copies, target = self._of(id), self.run.targets[id]
            for name in sorted(self.run.when_ready(id, partial(copies.names, ""))):
                template = name.startswith(TEMPLATES)
                if (target.server_key, name) in declared:
                    continue
                if template or is_clone(name) or copies.is_marked(name):
                    found.append(Copy(name, target.engine, target.endpoint, template, *owner(name)))
        return found

    def drop_left_behind(self, ids: Iterable[str]) -> list[str]:
        """Drop the clones on the servers of these databases whose process is gone; return their names."""
        dropped = []
        for id in self._one_of_each_server(ids):
            copies = self._of(id)
            for name in self.run.when_ready(id, partial(copies.names, CLONES)):
                if is_left_behind(name):
                    with suppress(OrchError):  # somebody else is dropping it too
                        copies.drop(name)
                        dropped.append(name)
        return dropped

    def drop_templates(self, ids: Iterable[str]) -> list[str]:
        """Drop the templates of these databases, and those of projects that are gone; return their names."""
        ids = list(ids)
        dropped = []
        families = {(self.run.targets[id].server_key, prefix): id for id in ids for prefix in self._families(id)}
        for (_, prefix), id in families.items():
            copies = self._of(id)
            names = self.run.when_ready(id, partial(copies.names, prefix))
            dropped += [name for name in names if self._drop_template(copies, name)]
        for id in self._one_of_each_server(ids):
            copies = self._of(id)
            orphans = [name for name, kept in copies.origins(TEMPLATES).items() if is_orphan(kept)]
            dropped += [name for name in orphans if self._drop_template(copies, name)]
        self._ready.clear()
        return dropped

    def _one_of_each_server(self, ids: Iterable[str]) -> list[str]:
        return list({self.run.targets[id].server_key: id for id in ids}.values())

    # ------------------------------------------------------------ the template

    def _of(self, id: str) -> Copies:
        if id not in self._copies:
            target, database = self.run.targets[id], self.run.databases[id]
            self._copies[id] = self.run.when_ready(
                id, lambda: self.run.engines[target.engine].copies(target, database.create)
            )
        return self._copies[id]

    def _template(self, id: str) -> str:
        """Return the name of the finished template of a database, building it if it is not there."""
        with self._mutex:
            if id not in self._templates:
                migrations = self._migrations(id)
                target = self.run.targets[id]
                database = self.run.databases[id]
                who = login(target)
                if self.members:  # what else its members have in common
                    who = f"{without_password(retarget(target, 'x'))} {database.settings}"
                self._templates[id] = template_name(database, target, who, migrations, self.run.tool)
            template = self._templates[id]
            if template in self._failed:
                raise self._failed[template]
            if template not in self._ready:
                try:
                    self._ensure(id, template)
                except (ConnectError, ConnectionLostError):
                    raise  # of the server, not of the migrations
                except OrchError as error:
                    self._failed[template] = error
                    raise
                self._ready.add(template)
            return template

    def _ensure(self, id: str, template: str) -> None:
        copies = self._of(id)
        if self.run.when_ready(id, lambda: copies.is_finished(template)):
            return
        try:
            self._build(id, template)
        except TemplateError as error:
            if error.failure.kind != "conflict":
                raise
            self._build(id, template)  # a builder was killed where nobody can tell what became of a statement
        others = [name for name in copies.names(self._family(id)) if name != template]
        orphans = [name for name, kept in copies.origins(TEMPLATES).items() if is_orphan(kept)]
        for name in [*others[: max(0, len(others) - KEPT_TEMPLATES + 1)], *orphans]:
            self._drop_template(copies, name)

    def _family(self, id: str) -> str:
        return family(self.run.databases[id], self.run.targets[id])

    def _families(self, id: str) -> list[str]:
        """Return what the names of templates begin with that were made for a database, or for its fleet."""
        database, target = self.run.databases[id], self.run.targets[id]
        fleet = database.fleet is not None and database.fleet.bootstrap
        return [self._family(id), *([family(*template_of(database, target))] if fleet else [])]

    def _drop_template(self, copies: Copies, name: str) -> bool:
        """Drop a template; returns False and leaves it if another process builds or copies it now."""
        try:
            with copies.building(name, 0):
                copies.drop(name)
        except OrchError:
            return False
        return True

    def _build(self, id: str, template: str) -> None:
        copies = self._of(id)
        run = confined(self.run, id, template, self._migrations(id))
        if self.members:
            run = replace(run, cloned=f"from template {template.rpartition('_')[2]}")
        with copies.building(template, _BUILD_WAIT):
            if copies.is_finished(template):
                return  # while we waited somebody else built it
            try:
                self._migrate(run, id, template)
            except TemplateError:
                with suppress(OrchError):  # half a file would be continued, and tell another error
                    copies.drop(template)
                raise
            copies.finish(template, origin(self.run.databases[id]))

    def _migrate(self, run: Run, id: str, template: str) -> None:
        """Migrate the template as `orch apply` would."""
        failures: list[Failure] = []

        def sink(event: Event) -> None:
            self.run.sink(event)
            if isinstance(event, DatabaseFailed):
                failures.append(event.failure)

        name = run.databases[id].engine
        engine = load_engine(name, run.actor, run.run_id)
        try:
            run = replace(run, engines={name: engine}, sink=sink, started=time.monotonic())
            request = Request(Direction.UP)
            plan = plan_of(run, [run.databases[id]], survey(run), request)
            finished = Executor(run, plan).execute()
        finally:
            engine.close()
        if failures and failures[0].kind == ConnectionLostError.kind:
            raise ConnectionLostError(failures[0].what, detail=failures[0].detail, hint=failures[0].hint)
        if failures:
            raise TemplateError(id, self._explained(id, template, failures[0]))
        if finished.exit_code:
            raise InterruptedRunError(f"stopped while the template of {id} was being built")

    def _explained(self, id: str, template: str, failure: Failure) -> Failure:
        """Say of a file that failed which of its statements act on the whole server: there they are not new."""
        told = [
            f"{finding.where}: {finding.what}"
            for _, finding in reaching(self.run, id, self._migrations(id), UP, template)
            if finding.reach is Reach.SERVER and failure.where and failure.where.path == finding.where.path
        ]
        if not told:
            return failure
        detail = "statements that act on the whole server run again in every copy of a database; this file has:\n"
        return replace(
            failure,
            detail="\n".join([*filter(None, [failure.detail]), detail + "\n".join(told)]),
            hint="let the statement pass over what is there already, or make what belongs to the server outside of migrations",
        )

    def _migrations(self, id: str) -> tuple[Migration, ...]:
        return tuple(m for m in self.run.catalogs[id] if self.seeds or not is_seed(m))
