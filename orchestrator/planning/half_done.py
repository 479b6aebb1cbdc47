"""A database that is half way through a file: what that looks like, and whether it can go on."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.errors import (
    InvalidError,
    InvalidGroup,
)
from orchestrator.hints import NAME, Command, Hint
from orchestrator.model import Attempt, File, Migration, Script
from orchestrator.planning.attempts import resumable
from orchestrator.planning.history import State
from orchestrator.planning.problems import Kind, Problem
from orchestrator.planning.scripts import Scripts, script_of
from orchestrator.records import replace

UNDERWAY = (Kind.DIRTY, Kind.PARTIAL, Kind.IN_FLIGHT)
"""What a database looks like while a file of it runs."""


def partial_file(state: State, migrations: Sequence[Migration]) -> File | None:
    """Return the file in which an attempt stopped half way; None if there is no such attempt, or its file is gone."""
    partial = state.partial
    if partial is None:
        return None
    return next((m.file(partial.direction) for m in migrations if m.version == partial.version), None)


def held_against_file(state: State, id: str, migrations: Sequence[Migration], scripts: Scripts) -> State:
    """Return the state as a plan will tell it: an attempt that stopped half way can go on only in the file that it began.

    `scripts` has the `partial_file` of this database, if there is one.
    """
    partial, file = state.partial, partial_file(state, migrations)
    if partial is None or file is None:
        return state
    try:
        problem = part_changed(file, partial, script_of(scripts, id, file))
    except InvalidGroup as group:
        problem = _unreadable(group.errors[0], partial)
    except InvalidError as error:
        problem = _unreadable(error, partial)
    if problem is None:
        return state
    problems: list[Problem] = []
    for known in state.problems:
        if known.kind in (Kind.PARTIAL, Kind.IN_FLIGHT) and known.version == partial.version:
            problems += [problem, replace(known, hint="", blocks=problem.blocks)]  # it does not go on so
        else:
            problems.append(known)
    return replace(state, problems=tuple(problems))


def part_changed(file: File, partial: Attempt, script: Script) -> Problem | None:
    """Return what is wrong if the part of a file that already ran is not as it was then."""
    if resumable(partial, script):
        return None
    return Problem(
        Kind.EDITED,
        f"{file.path}: the part that already ran was changed (the first {partial.applied} of {partial.total} "
        f"statements; the next begins at line {_line_after(script, partial.applied)})",
        Hint("put that part back as it was; only what follows may be corrected. Or: ", Command("repair", NAME)),
        partial.version,
    )


def _unreadable(error: InvalidError, partial: Attempt) -> Problem:
    what = f"{error.where}: {error.what}" if error.where else error.what
    return Problem(
        Kind.EDITED, what, error.hint or "correct the file; what already ran must stay as it was", partial.version
    )


def _line_after(script: Script, count: int) -> int:
    """Return the line where the statement after the first `count` begins, or the line after the end."""
    left = count < len(script.statements)
    return script.statements[count].line if left else script.text.rstrip().count("\n") + 2
