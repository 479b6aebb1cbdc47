"""Read the migration files that a plan or a state needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.errors import OrchError
from orchestrator.execution.run import Run
from orchestrator.model import Database, File, Script
from orchestrator.planning.half_done import partial_file
from orchestrator.planning.history import State
from orchestrator.planning.scripts import Scripts
from orchestrator.planning.surveys import Survey

if TYPE_CHECKING:
    from orchestrator.planning.plan import Plan, Request


def read(run: Run, id: str, files: Iterable[File]) -> Scripts:
    """Return the statements of files of a database. For a file that cannot be read, the error is returned."""
    scripts: dict[tuple[str, File], Script | OrchError] = {}
    for file in files:
        try:
            scripts[id, file] = run.read_script(run.databases[id], file)
        except OrchError as error:
            scripts[id, file] = error
    return scripts


def read_half_done(run: Run, states: Mapping[str, State]) -> Scripts:
    """Return the statements of the files in which attempts of these databases stopped half way."""
    stopped = {id: partial_file(state, run.catalogs[id]) for id, state in states.items() if state.partial}
    return {key: script for id, file in stopped.items() if file for key, script in read(run, id, [file]).items()}


def plan_of(run: Run, databases: Sequence[Database], surveys: Mapping[str, Survey], request: Request) -> Plan:
    """Return the plan for these databases, given in an order that respects their dependencies.

    Raises InvalidGroup for files that do not parse and UsageError for a version that does not exist. What is wrong with
    one database only becomes its `failure`.
    """
    from orchestrator.planning.choose import choose
    from orchestrator.planning.planner import make_plan

    draft = choose(databases, run.catalogs, surveys, request)
    return make_plan(draft, (read(run, id, files) for id, files in draft.files()), run.tool)
