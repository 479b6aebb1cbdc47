"""Show what is wrong with a database, and record the resolution that a person chooses."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase

from orchestrator.errors import ConflictError, OrchError, UsageError
from orchestrator.events import Failure, Sink
from orchestrator.hints import Hint, joined
from orchestrator.model import Direction, History
from orchestrator.operations.recording import Looked, Recording, look_at_one, look_at_several, of_one
from orchestrator.operations.scope import Scope
from orchestrator.planning.history import reconcile
from orchestrator.planning.problems import Kind, Problem, spoken
from orchestrator.planning.repair import (
    accepted,
    acknowledge,
    marked_range,
    next_applied,
    on_request,
    resolutions,
    together,
)
from orchestrator.planning.resolution import Resolution, Signature
from orchestrator.planning.squash import Ranges, parse_ranges


@dataclass(frozen=True, slots=True)
class Offered:
    """What is wrong with a database, and its resolutions. `following` marks the next pending version applied."""

    id: str
    problems: tuple[Problem, ...]
    resolutions: tuple[Resolution, ...]
    following: Resolution | None
    diffs: Mapping[int, str] = field(default_factory=dict)
    """How edited files differ from what ran, by version, as far as the history keeps that."""


def examine(scope: Scope, sink: Sink, name: str) -> Offered:
    """Return what is wrong with a database and what can be done. DatabaseMissingError if it does not exist."""
    looked, id = look_at_one(_alone(scope, name), sink, name)
    history, migrations, by = looked.histories[id], looked.migrations(id), looked.signature("")
    problems = tuple(looked.state(id, history).problems)
    following = next_applied(on_request(migrations, history, by))
    diffs = _diffs(looked, id) if any(problem.kind is Kind.EDITED for problem in problems) else {}
    return Offered(id, problems, resolutions(migrations, history, by), following, diffs)


def _diffs(looked: Looked, id: str) -> dict[int, str]:
    from orchestrator.operations.kept import edits

    run, target = looked.run, looked.run.targets[id]
    with run.engines[target.engine].connect(target) as session:
        found = edits(session, looked.histories[id], looked.migrations(id))
    return {version: run.redact(diff) for version, diff in found.items()}


def resolve(scope: Scope, sink: Sink, name: str, flag: str, reason: str = "") -> Recording:
    """Return the recording of a resolution of one database, chosen by its flag, such as `mark-applied 3`.

    UsageError if the state of the database does not allow it.
    """
    looked, id = look_at_one(_alone(scope, name), sink, name)
    by = looked.signature(reason)
    word, _, value = flag.partition(" ")
    if word == "mark-applied" and not value.isdecimal():
        return of_one(looked, id, lambda history: _range(looked, id, history, by, value))
    return of_one(looked, id, lambda history: _chosen(looked, id, history, by, flag))


def accept(scope: Scope, sink: Sink, files: Sequence[str], reason: str = "") -> Recording:
    """Return the recording that accepts edited files of the chosen databases: paths, names, globs of either, versions.

    UsageError if one of `files` means none. If a database cannot be read, nothing is recorded of any.
    """
    looked = look_at_several(scope, sink)
    by = looked.signature(reason)
    chosen: dict[str, list[str]] = {}
    for id, history in looked.histories.items():
        found = accepted(resolutions(looked.migrations(id), history, by))
        edited = [path for resolution in found for path in resolution.values]
        chosen[id] = [path for path in edited if any(_means(word, path) for word in files)]
    if looked.failures:
        return Recording(looked.run, {}, _nothing, failures=looked.failures)
    for word in files:
        if not any(_means(word, path) for paths in chosen.values() for path in paths):
            id = next(iter(looked.histories))
            history = looked.histories[id]
            hint = _possible(looked, id, history, resolutions(looked.migrations(id), history, by))
            about = id if len(looked.histories) == 1 else f"any of {len(looked.histories)} databases"
            raise UsageError(f"--accept {shlex.quote(word)} matches no edited file of {about}", hint=hint)

    def decide(id: str, history: History) -> Resolution:
        offered = accepted(resolutions(looked.migrations(id), history, by))
        return together([one for one in offered if one.values[0] in chosen[id]])

    return Recording(looked.run, {id: looked.histories[id] for id, paths in chosen.items() if paths}, decide)


def acknowledge_gone(scope: Scope, sink: Sink, versions: str, reason: str = "") -> Recording:
    """Return the recording that the files of these applied versions are gone, as is meant, for the chosen databases.

    UsageError if `versions` are no ranges such as 1-60 or 3,5.
    """
    try:
        ranges = parse_ranges(versions)
    except ValueError as error:
        raise UsageError(f"--acknowledge: {error}") from None
    looked = look_at_several(scope, sink)
    by = looked.signature(reason)

    def wanted(id: str, history: History) -> bool:
        for problem in reconcile(looked.migrations(id), history).blocked(Direction.DOWN):
            raise ConflictError(f"{id}: {problem.what}", hint=problem.hint_for(id))  # what makes the records doubtful
        return acknowledge(looked.migrations(id), history, ranges, by) is not None

    def decide(id: str, history: History) -> Resolution:
        return _acknowledged(looked, id, history, ranges, by)

    return _of_those(looked, wanted, decide, "none of these versions is applied without a file; nothing to record")


def declare_here(scope: Scope, sink: Sink, reason: str = "") -> Recording:
    """Return the recording that the records of the chosen databases belong to the databases in which they are now."""
    looked = look_at_several(scope, sink)
    by = looked.signature(reason)

    def wanted(id: str, history: History) -> bool:
        return any(problem.kind is Kind.ELSEWHERE for problem in reconcile(looked.migrations(id), history).problems)

    def decide(id: str, history: History) -> Resolution:
        return resolutions(looked.migrations(id), history, by)[0]

    return _of_those(looked, wanted, decide, "its records were written here; nothing to record")


def _of_those(
    looked: Looked,
    wanted: Callable[[str, History], bool],
    decide: Callable[[str, History], Resolution],
    otherwise: str,
) -> Recording:
    """Return the recording of those databases for which there is something to record; the others are told why not."""
    seen: dict[str, History] = {}
    unchanged: dict[str, str] = {}
    failures: dict[str, Failure] = dict(looked.failures)
    for id, history in looked.histories.items():
        try:
            if wanted(id, history):
                seen[id] = history
            else:
                unchanged[id] = otherwise
        except OrchError as error:
            failures[id] = Failure.of(error, looked.run.redact)
    return Recording(looked.run, seen, decide, unchanged, failures)


def _alone(scope: Scope, name: str) -> Scope:
    return replace(scope, only=[name], no_deps=True)


def _nothing(id: str, _history: History) -> Resolution:
    raise AssertionError(id)


def _acknowledged(looked: Looked, id: str, history: History, ranges: Ranges, by: Signature) -> Resolution:
    if (found := acknowledge(looked.migrations(id), history, ranges, by)) is None:
        raise ConflictError(f"{id} changed while you were looking", hint="run the command again")
    return found


def _chosen(looked: Looked, id: str, history: History, by: Signature, flag: str) -> Resolution:
    """Return the resolution that was asked for; UsageError if the state does not allow it."""
    migrations = looked.migrations(id)
    offered, requested = resolutions(migrations, history, by), on_request(migrations, history, by)
    for resolution in (*offered, *requested):
        if resolution.flag == flag:
            return resolution
    hint = _possible(looked, id, history, offered)
    if following := next_applied(requested):
        about = "\npending versions can only be marked applied in their order; the next: "
        hint = Hint(hint, about, following.command(id))
    raise UsageError(f"--{flag} does not apply to {id}", hint=hint)


def _range(looked: Looked, id: str, history: History, by: Signature, text: str) -> Resolution:
    """Return what takes a range of pending versions as applied; UsageError if they are not the next ones."""
    try:
        ranges = parse_ranges(text)
    except ValueError as error:
        raise UsageError(f"--mark-applied: {error}") from None
    if (found := marked_range(looked.migrations(id), history, ranges, by)) is None:
        pending = ", ".join(map(str, looked.state(id, history).pending[:10])) or "none"
        hint = f"pending versions can only be marked applied in their order, without a gap; pending: {pending}"
        raise UsageError(f"--mark-applied {text} does not apply to {id}", hint=hint)
    return found


def _means(word: str, path: str) -> bool:
    """Whether a FILE of the command line means this file: a path, a name, a glob of either, a version."""
    name = path.rpartition("/")[2]
    if word.isdecimal():
        return int(word) == int(name.partition("_")[0])
    return (
        word in (path, name)
        or os.path.realpath(word) == os.path.realpath(path)
        or any(fnmatchcase(known, word) for known in (path, name))
    )


def _possible(looked: Looked, id: str, history: History, offered: Sequence[Resolution]) -> str:
    """Return what can be done instead."""
    if offered:
        return Hint("what you can do: ", joined("; or ", [Hint(one.command(id)) for one in offered]))
    state = looked.state(id, history)
    if state.problems:
        told = [Hint(f"no resolution of repair fits: {p.what}\n  ", p.hint_for(id)) for p in state.problems]
        return joined("\n", told)
    pending = f"{len(state.pending)} pending" if state.pending else "nothing is pending"
    return f"nothing needs repair: it is at {spoken(state.version)}, {pending}"
