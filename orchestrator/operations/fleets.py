"""Ask the queries that return the members of fleets, and find databases of former members. Only reads."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from orchestrator.engines import dialect
from orchestrator.engines.base import Engine, Glancing, Limits, Rows, Session
from orchestrator.errors import (
    DatabaseMissingError,
    InvalidError,
    OrchError,
    StatementError,
    UsageError,
)
from orchestrator.events import Event, Notice
from orchestrator.execution.run import Run
from orchestrator.hints import Command, Hint
from orchestrator.manifest.for_each import MAX_MEMBERS, Answer
from orchestrator.manifest.names import NameIndex, resolve_name, select
from orchestrator.manifest.template import columns_in
from orchestrator.model import Database, File, Fleet, Manifest, MemberQuery, Statement, Target
from orchestrator.operations.assembly import Assembly
from orchestrator.phrases import some
from orchestrator.planning.history import reconcile
from orchestrator.planning.places import no_members
from orchestrator.records import dataclass, field
from orchestrator.scratch.clone_names import CLONES, TEMPLATES

SECONDS = 60.0
"""A query that tells members may take so long."""
_NOTHING = Answer((), ())
_PART = re.compile(r"\{\w+\}")


@dataclass(frozen=True, slots=True)
class Asked:
    """The answers to the queries of fleets, by the positions of their entries. `later`: why one was not answered yet."""

    answers: Mapping[int, Answer] = field(default_factory=dict)
    later: Mapping[int, str] = field(default_factory=dict)


def ask_members(
    assembly: Assembly, *, embedded: bool, wait: float, known: Mapping[int, Answer | None] | None = None
) -> Asked:
    """Ask the queries of the fleets of a manifest. A database that is not migrated yet answers later.

    `known`: what `handed_over` returned; then only those that it left open.

    InvalidError for a query that fails, ConnectError for a server that does not answer.
    """
    answers: dict[int, Answer] = {}
    later: dict[int, str] = {}
    for fleet in assembly.manifest.fleets:
        if fleet.query is None or (known is not None and known.get(fleet.entry, _NOTHING) is not None):
            continue
        source = _source(assembly.manifest, fleet.query)
        found = _ask(assembly, fleet, fleet.query, source, embedded=embedded, wait=wait)
        if isinstance(found, str):
            later[fleet.entry] = found
        else:
            answers[fleet.entry] = Answer(found.columns, found.rows)
    return Asked(answers, later)


def handed_over(manifest: Manifest, answers: Mapping[int, Answer]) -> dict[int, Answer | None]:
    """Return the answers for a process on another machine, with the columns that the entries need, and no others.

    None for an answer with parts of a DSN, which may be secret: that process must ask the query itself.
    """
    in_dsn = {one.fleet.entry for one in manifest.databases if one.fleet and columns_in(one.dsn)}
    found: dict[int, Answer | None] = {}
    for fleet in manifest.fleets:
        if answer := answers.get(fleet.entry):
            found[fleet.entry] = None if fleet.entry in in_dsn else _narrowed(answer, fleet.columns)
    return found


def _narrowed(answer: Answer, columns: Sequence[str]) -> Answer:
    if len(answer.columns) == 1:
        return answer
    kept = [place for place, name in enumerate(answer.columns) if name in columns]
    rows = tuple(tuple(row[place] for place in kept) for row in answer.rows)
    return Answer(tuple(answer.columns[place] for place in kept), rows)


def are_needed(manifest: Manifest, only: Sequence[str], exclude: Sequence[str], no_deps: bool) -> bool:
    """Return whether members that a query tells may be among the chosen databases."""
    if not any(fleet.query for fleet in manifest.fleets):
        return False
    index = NameIndex((one.id, one.name) for one in manifest.databases if not one.stands_for_all)
    if not only or exclude or not all(len(index.find(pattern)) == 1 for pattern in only):
        return True
    chosen = select(manifest.databases, only, (), no_deps)
    return any(one.stands_for_all or one.id in manifest.unresolved for one in chosen)


def not_yet(manifest: Manifest, chosen: Sequence[Database], later: Mapping[int, str]) -> tuple[set[str], list[str]]:
    """Return which of the chosen databases cannot be worked on yet, and a sentence for each fleet that is not known."""
    needs = {one.id: one.depends_on for one in manifest.databases}
    unknown = {one.id for one in manifest.databases if one.stands_for_all}
    waiting = _with_dependants(needs, unknown | manifest.unresolved)
    ids = {one.id for one in chosen} & waiting
    if not ids:
        return set(), []
    notes = [f"{fleet.template}: its members are not known yet: {why}" for fleet, why in _of_entries(manifest, later)]
    if others := sorted(ids - unknown):
        notes.append(f"{some(others)} depend{'s' * (len(others) == 1)} on members that are not known yet")
    return ids, notes


def _with_dependants(needs: Mapping[str, Sequence[str]], ids: set[str]) -> set[str]:
    """Return these ids and all that depends on them, directly or not."""
    below: dict[str, list[str]] = {}
    for id, others in needs.items():
        for other in others:
            below.setdefault(other, []).append(id)
    reached, queue = set[str](), list(ids)
    while queue:
        id = queue.pop()
        if id not in reached:
            reached.add(id)
            queue += below.get(id, ())
    return reached


def without_members(manifest: Manifest, later: Mapping[int, str]) -> list[str]:
    """Return a sentence for each fleet that has no members."""
    inhabited = {one.fleet.entry for one in manifest.databases if one.fleet}
    return [no_members(fleet) for fleet in manifest.fleets if fleet.entry not in inhabited and fleet.entry not in later]


def tell_vanished(run: Run, assembly: Assembly) -> None:
    """Tell of databases that look like members of a fleet and are not in its source: they are left as they are."""
    for fleet in assembly.manifest.fleets:
        members = [one for one in assembly.databases if one.fleet == fleet]
        if not members:
            continue
        for endpoint, names in _vanished(run, fleet, members):
            told = some([f"'{name}'" for name in names])
            what = f"looks like a member of {fleet.template} and is" if len(names) == 1 else "look like members and are"
            run.sink(
                Notice(
                    "",
                    Hint(
                        f"{told} on {endpoint} {what} not in {fleet.origin}: left as before; for details: ",
                        Command("orphans"),
                    ),
                )
            )


def _vanished(run: Run, fleet: Fleet, members: Sequence[Database]) -> Iterator[tuple[str, list[str]]]:
    """Yield the server, and the names there that have the form of a member's."""
    declared = {(target.endpoint, target.database) for target in run.targets.values()}
    servers = {run.targets[one.id].endpoint: one for one in members}
    for endpoint, member in servers.items():
        target = run.targets[member.id]
        form = _form(fleet, member, target.database)
        if form is None:
            continue
        prefix, pattern = form
        try:
            names = _names(run.engines[target.engine], target, member, prefix)
        except OrchError:  # the survey tells what is wrong with this server
            continue
        own = (*dialect(target.engine).server_databases, *_clones(names))
        strangers = [
            name for name in names if pattern.fullmatch(name) and (endpoint, name) not in declared and name not in own
        ]
        if strangers:
            yield endpoint, sorted(strangers)


def _names(engine: Engine, target: Target, member: Database, prefix: str) -> list[str]:
    """Return the names of the databases on a member's server that begin so, without loading a driver for that alone."""
    glanced = engine.glance_names(target, prefix) if isinstance(engine, Glancing) else None
    return engine.copies(target, member.create).names(prefix) if glanced is None else glanced


def _clones(names: Sequence[str]) -> list[str]:
    return [name for name in names if name.startswith((CLONES, TEMPLATES))]


def _form(fleet: Fleet, member: Database, real: str) -> tuple[str, re.Pattern[str]] | None:
    """Return how the names of members begin on a server, and their form; None if any name may be one."""
    if member.database or not real.endswith(member.name):
        return None
    before = real.removesuffix(member.name)
    texts = _PART.split(fleet.template)
    prefix = before + texts[0]
    if not prefix:
        return None
    return prefix, re.compile(re.escape(before) + ".+".join(map(re.escape, texts)), re.DOTALL)


def _of_entries(manifest: Manifest, later: Mapping[int, str]) -> Iterator[tuple[Fleet, str]]:
    for fleet in manifest.fleets:
        if fleet.entry in later:
            yield fleet, later[fleet.entry]


def _source(manifest: Manifest, query: MemberQuery) -> Database:
    try:
        found = resolve_name(manifest.databases, query.database)
    except UsageError as error:
        raise InvalidError(error.what, where=query.mark, hint=error.hint) from None
    if found.stands_for_all:
        raise InvalidError(
            f"{found.id} cannot be asked for members: its own members are told by a query",
            where=query.mark,
            hint="ask a database that is no fleet",
        )
    return found


def _ask(
    assembly: Assembly, fleet: Fleet, query: MemberQuery, source: Database, *, embedded: bool, wait: float
) -> Rows | str:
    """Return the answer to a query, or why there is none yet."""
    alone = Assembly(assembly.manifest, (source,), assembly.env, assembly.run_id, assembly.actor, assembly.engines)
    run = alone.run(_nobody, embedded=embedded, wait=wait)
    engine, target = run.engines[source.engine], run.targets[source.id]
    statement = _statement(alone, source, fleet, query)

    not_migrated = f"{source.id}, which tells them, is not migrated"

    def is_pending(session: Session) -> bool:
        return bool(reconcile(run.catalogs[source.id], session.read_history()).pending)

    def read() -> Rows | str:
        with engine.connect(target, run.until) as session:
            began = time.monotonic()
            try:
                found = session.select(statement, Limits(lock_timeout=SECONDS, statement_timeout=SECONDS), MAX_MEMBERS)
                # MongoDB answers for a collection that is not there yet, too.
                return found if found.rows or not is_pending(session) else not_migrated
            except StatementError as error:
                late = time.monotonic() - began >= SECONDS
                if not late and is_pending(session):
                    return not_migrated
                what = f"took longer than {SECONDS:g} s" if late else "failed"
                raise InvalidError(
                    f"the query of the fleet {fleet.template} {what} on {source.id}"
                    + ("" if late else f": {run.redact(error.what)}"),
                    where=query.mark,
                    detail="" if late else run.redact(error.detail),
                    hint="an index may help" if late else "it may only read, and its tables must be there",
                ) from None

    try:
        return run.when_ready(source.id, read)
    except DatabaseMissingError:
        return f"{source.id}, which tells them, does not exist"


def _statement(alone: Assembly, source: Database, fleet: Fleet, query: MemberQuery) -> Statement:
    """Return the query as a statement; InvalidError if it is none, or several."""
    text = query.text
    if text.lstrip().startswith("{"):  # a command of MongoDB: a file holds an array of them
        text = f"[{text}]"
    path = str(query.mark.path)
    try:
        script = alone.engine(source.engine).parse(File(path, Path(path), ""), text)
    except InvalidError as error:  # its place is one in the query
        what = f"the query of the fleet {fleet.template} cannot be read: {error.what}"
        raise InvalidError(what, where=query.mark, detail=error.detail) from None
    if len(script.statements) != 1:
        what = f"the query of the fleet {fleet.template} must be one statement; it has {len(script.statements)}"
        raise InvalidError(what, where=query.mark)
    return script.statements[0]


def _nobody(_event: Event) -> None:
    """Take an event that nobody needs to see."""
