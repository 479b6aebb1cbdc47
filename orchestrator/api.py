"""Run orch from Python programs: plan, apply, roll back and inspect the databases of a manifest.

    from orchestrator import api

    project = api.load("databases.yaml", only=["order"])
    planned = api.plan(project)
    if planned.plan.has_changes:
        done = api.apply(project, planned)
        if not done.ok:
            raise SystemExit(done.exit_code)

The functions print nothing, read no command line and install no signal handler. What is wrong with the manifest, the files
or the options is raised as an OrchError; what goes wrong on one database is data in the result (`failures`). Nothing in a
result holds a secret. A `sink` is called with every event of a run, from several threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.errors import ExitCode, OrchError
from orchestrator.events import Event, Failure, Sink
from orchestrator.execution.scheduler import JOBS
from orchestrator.model import Database
from orchestrator.operations import execute as _execute
from orchestrator.operations import plan as _plan
from orchestrator.operations import rollback as _rollback
from orchestrator.operations import status as _status
from orchestrator.operations import validate as _validate
from orchestrator.operations.execute import Executed
from orchestrator.operations.plan import Planned
from orchestrator.operations.scope import Scope
from orchestrator.operations.validate import Validated
from orchestrator.planning.plan import Plan
from orchestrator.planning.status import DatabaseStatus, Status

__all__ = [
    "Database",
    "DatabaseStatus",
    "Event",
    "Executed",
    "ExitCode",
    "Failure",
    "OrchError",
    "Plan",
    "Planned",
    "Project",
    "Sink",
    "Status",
    "Validated",
    "apply",
    "load",
    "plan",
    "rollback",
    "status",
    "validate",
]


@dataclass(frozen=True, slots=True)
class Project:
    """A manifest with the databases that were chosen from it, in an order that respects their dependencies."""

    path: Path
    databases: tuple[Database, ...]
    scope: Scope


def _ignore(_event: Event) -> None:
    """Take no notice of an event."""


def load(
    file: str | Path | None = None,
    *,
    only: Sequence[str] = (),
    exclude: Sequence[str] = (),
    no_deps: bool = False,
    env_file: str | Path | None = None,
    embedded: bool = False,
    jobs: int = JOBS,
    jobs_per_server: int | None = None,
    wait: float = 0.0,
    lock_timeout: float | None = None,
) -> Project:
    """Read a manifest and choose databases. No server is asked, and no DSN is resolved yet.

    `file` is the manifest; by default ORCH_FILE, or the nearest databases.yaml in this or a parent directory. `only` and
    `exclude` take names, globs and `label:x`; with `no_deps` what they depend on is left out. `embedded` uses the servers
    of `orch dev`. Without `jobs_per_server` each engine's own limit holds. `wait` is how many seconds to wait for servers
    that are starting, `lock_timeout` for the migration lock.
    Raises InvalidError for a manifest that is wrong, UsageError for names that mean nothing.
    """
    scope = Scope(
        None if file is None else str(file),
        None if env_file is None else str(env_file),
        list(only) or None,
        list(exclude) or None,
        no_deps=no_deps,
        embedded=embedded,
        jobs=jobs,
        jobs_per_server=jobs_per_server,
        wait=wait,
        lock_timeout=lock_timeout,
    )
    assembly = scope.assemble()
    path = assembly.manifest.path
    return Project(path, assembly.databases, replace(scope, file=str(path.absolute())))


def validate(project: Project) -> Validated:
    """Read and parse every migration file; return how many there are, and warnings. No server is asked.

    Raises InvalidError for one thing that is wrong, and InvalidGroup (its `errors`) for several.
    """
    return _validate.validate(project.scope.assemble(offline=True))


def status(project: Project, *, sink: Sink = _ignore) -> Status:
    """Return the version, pending migrations and problems of each database. Changes nothing on any server."""
    return _status.status(project.scope, sink, close=True)


def plan(
    project: Project,
    *,
    to: int | None = None,
    create: bool = True,
    out_of_order: bool = False,
    checks: bool = False,
    sink: Sink = _ignore,
) -> Planned:
    """Return what `apply` would do. Changes nothing on any server.

    `to` is the last version, if `only` chose one database. Without `create` a missing database is a failure.
    `out_of_order` permits versions below one that is applied. `checks` also asks the `require` checks of the files.
    The result has the `plan`, its risky statements (`risks`) and why databases cannot be planned (`failures`).
    """
    planned = _plan.plan(project.scope, sink, to=to, create=create, late=out_of_order, checks=checks)
    planned.risks  # noqa: B018 - what is read from files is read now
    return _execute.let_go(planned)


def apply(
    project: Project,
    planned: Planned | None = None,
    *,
    to: int | None = None,
    create: bool = True,
    out_of_order: bool = False,
    fail_fast: bool = False,
    sink: Sink = _ignore,
) -> Executed:
    """Create missing databases and apply pending migrations; return what became of each database.

    With `planned` exactly that plan is executed (a database that changed since then fails with the kind `stale_plan`), and
    the other options have no effect, but for `fail_fast` and `sink`. Raises ConflictError if the manifest refuses a risk of
    the plan; nothing has run then. Nobody is asked before statements that lose data: look at `planned.risks`.
    """
    if planned is None:
        planned = _plan.plan(project.scope, sink, to=to, create=create, late=out_of_order, at_once=True)
    else:
        planned = _execute.let_go(planned)
    return _execute.execute(replace(planned, run=replace(planned.run, sink=sink, fail_fast=fail_fast)))


def rollback(
    project: Project,
    names: Sequence[str],
    *,
    steps: int | None = None,
    to: int | None = None,
    allow_missing_down: bool = False,
    ignore_dependents: bool = False,
    sink: Sink = _ignore,
) -> Executed:
    """Roll back the last `steps` migrations of the named databases, or all above version `to`, at once and without asking.

    If one of them cannot be rolled back, nothing runs, and `failures` says why. Raises UsageError unless one of `steps` and
    `to` is given, and ConflictError if a dependent database still has applied migrations.
    """
    planned = _rollback.prepare(
        replace(project.scope, only=list(names), exclude=None),
        sink,
        steps=steps,
        to=to,
        allow_missing_down=allow_missing_down,
        ignore_dependents=ignore_dependents,
    )
    return _execute.execute(planned)
