"""The chosen databases of a manifest, and the run that is made of them: DSNs, files, engines."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import __version__
from orchestrator.errors import InvalidError, InvalidGroup
from orchestrator.events import Notice
from orchestrator.execution.run import Run
from orchestrator.execution.scheduler import JOBS
from orchestrator.execution.timings import Timings
from orchestrator.manifest.redact import redactor
from orchestrator.model import Database, File, Hook, Manifest, Migration, Script, Settings, Target
from orchestrator.operations.actor import actor
from orchestrator.patterns import regex
from orchestrator.planning.catalog import read_catalog, read_text
from orchestrator.records import dataclass, field, replace

if TYPE_CHECKING:
    from orchestrator.engines.base import Engine
    from orchestrator.events import Sink
    from orchestrator.manifest.for_each import Answer
    from orchestrator.planning.shards import Shard
    from orchestrator.secret import Secret

_MULTI_STATEMENT = regex(r"[?&\s]x-multi-statement=(\w+)")
_Parsed = tuple[str, File, bool, tuple[tuple[str, str], ...]]
"""What makes a script: the engine that parses the file, how, and the variables in it. Engines may share a directory."""
_MAX_KEPT = 64 * 1024 * 1024  # characters of all files that are kept; what comes after these is parsed again


@dataclass
class Assembly:
    """The manifest and the selected databases, in an order that respects their dependencies.

    `later` has a sentence for each fleet whose members are not known yet, `notes` all that is to be told of fleets.
    `contents` are files that were read already; each is used once. `answers` are those to the queries of fleets, by the
    positions of their entries.
    """

    manifest: Manifest
    databases: tuple[Database, ...]
    env: Mapping[str, str]
    run_id: str = field(default_factory=lambda: os.urandom(4).hex())
    actor: str = field(default_factory=lambda: actor(os.environ))
    engines: dict[str, Engine] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    answers: Mapping[int, Answer] = field(default_factory=dict)
    contents: dict[File, bytes] = field(default_factory=dict)
    _scripts: dict[_Parsed, Script] = field(default_factory=dict)
    _texts: dict[tuple[str, bool, str], Script] = field(default_factory=dict)
    _kept: int = 0
    _invalid: dict[_Parsed, InvalidError] = field(default_factory=dict)
    _targets: Mapping[str, Target] = field(default_factory=dict)

    def catalogs(self) -> dict[str, tuple[Migration, ...]]:
        """Read the migration directories, each once however many databases share it. InvalidGroup with all errors."""
        found: dict[tuple[str, Path], tuple[Migration, ...]] = {}
        errors: list[InvalidError] = []
        for database in self.databases:
            place = database.engine, database.directory
            if place in found:
                continue
            found[place] = ()
            try:
                found[place] = read_catalog(database)
            except InvalidGroup as group:
                errors.extend(group.errors)
            except InvalidError as error:
                errors.append(error)
        InvalidGroup.raise_if(errors)
        return {database.id: found[database.engine, database.directory] for database in self.databases}

    def targets(self, *, embedded: bool = False) -> dict[str, Target]:
        """Resolve the DSNs of the selected databases. The credentials of others are not needed.

        InvalidGroup with everything that is wrong, also where two of them turn out to be one database.
        """
        from orchestrator.manifest.dsn import check_distinct, resolve_all

        databases = self.databases
        if embedded:
            from orchestrator.embedded import dsns

            found = dsns(self.manifest.path.parent / ".orch", {database.engine for database in databases})
            databases = tuple(replace(d, dsn=found[d.engine]) for d in databases)
        env = {} if embedded else self.env
        targets = resolve_all(databases, env, redactor, self.manifest.history_name, self.manifest.path.parent)
        redactor.tolerate(*(name for one in targets.values() for name in (one.database_id, one.database)))
        errors = list(check_distinct(databases, targets))
        for database in databases:
            try:
                self.engine(database.engine).check(targets[database.id])
            except InvalidError as error:
                errors.append(error.completed(where=error.where or database.mark))
        InvalidGroup.raise_if(errors)
        self._targets = targets
        return targets

    def read_script(self, database: Database, file: File) -> Script:
        """Parse a migration file, once for the plan and its execution. Raise InvalidError with line and column."""
        piecewise = self._is_piecewise(database)
        key = database.engine, file, piecewise, tuple(database.variables.items())
        from orchestrator.planning.other_tools import refuse_both_directions

        if key in self._invalid:  # the members of a fleet share it
            raise self._invalid[key].with_traceback(None)
        if (script := self._scripts.get(key)) is None:
            try:
                script = self._parse(
                    database, file, read_text(file, self.contents.pop(file, None)), piecewise=piecewise
                )
                refuse_both_directions(script)
            except InvalidError as error:
                self._invalid[key] = error
                raise
            self._kept += len(script.text)
            if self._kept <= _MAX_KEPT:
                self._scripts[key] = script
        return script

    def _parse(self, database: Database, file: File, text: str, *, piecewise: bool) -> Script:
        """Parse a text, with the variables of its database if it is a template."""
        from orchestrator.planning.fill import filled

        body = filled(file.path, text, database.variables)
        if body is None:
            return self._parse_once(database.engine, file, text, piecewise)
        return replace(self.engine(database.engine).parse(file, body, piecewise=piecewise), template=text)

    def _parse_once(self, engine: str, file: File, text: str, piecewise: bool) -> Script:
        """Parse a text unless another file has the same: databases of a fleet are often copies."""
        key = engine, piecewise, text
        if (known := self._texts.get(key)) is None:
            known = self.engine(engine).parse(file, text, piecewise=piecewise)
            if self._kept <= _MAX_KEPT and not known.notes:  # notes name the file
                self._texts[key] = known
        return known if known.file == file else replace(known, file=file)

    def hold(self, database: Database, file: File, text: str) -> None:
        """Parse a text that is in no file, so that `read_script` returns it. Raise InvalidError if it is not a migration."""
        piecewise = self._is_piecewise(database)
        key = database.engine, file, piecewise, tuple(database.variables.items())
        self._scripts[key] = self._parse(database, file, text, piecewise=piecewise)
        self._invalid.pop(key, None)

    def _is_piecewise(self, database: Database) -> bool:
        """Whether the DSN, or its template before it is resolved, sets golang-migrate's multi-statement mode."""
        target, found = self._targets.get(database.id), _MULTI_STATEMENT.search(database.dsn)
        value = target.parameters.get("x-multi-statement", "") if target else ""
        value = value or (found[1] if found else "")
        return value in ("1", "t", "T", "true", "TRUE", "True")  # what Go takes for true

    def engine(self, name: str) -> Engine:
        """Return the engine with this name. The first call imports its driver."""
        if name not in self.engines:
            from orchestrator.engines import load_engine

            self.engines[name] = load_engine(name, self.actor, self.run_id)
        return self.engines[name]

    def divide(self, shard: Shard) -> dict[str, tuple[str, ...]]:
        """Keep the databases of a shard, and those of others that they wait for; return the latter with their dependencies."""
        from orchestrator.planning.shards import split

        needs = {one.id: one.depends_on for one in self.databases}
        mine, awaited = split(needs, shard)
        kept = {*mine, *awaited}
        self.databases = tuple(one for one in self.databases if one.id in kept)
        return {id: needs[id] for id in awaited}

    def permit(self, *, create: bool = True, late: bool = False) -> None:
        """Override the manifest for this run: create no database, or apply late versions."""

        def settings(own: Settings) -> Settings:
            return own._replace(create=own.create and create, out_of_order=own.out_of_order or late)

        self.databases = tuple(replace(one, settings=settings(one.settings)) for one in self.databases)

    def run(
        self,
        sink: Sink,
        *,
        embedded: bool = False,
        jobs: int = JOBS,
        jobs_per_server: int | None = None,
        shard: Shard | None = None,
        wait: float = 0.0,
        lock_timeout: float | None = None,
        fail_fast: bool = False,
        timings: Timings | None = None,
    ) -> Run:
        """Return the data that all stages of a run share. Files are read first, so that their errors come before a connection."""
        if embedded:  # these servers begin empty, whatever holds for the real ones
            self.databases = tuple(replace(one, settings=one.settings._replace(create=True)) for one in self.databases)
        timings = timings or Timings()
        with timings.stage("catalog"):
            catalogs = self.catalogs()
        with timings.stage("DSNs and drivers"):
            targets = self.targets(embedded=embedded)
        for note in self.notes:
            sink(Notice("", note))
        return Run(
            run_id=self.run_id,
            actor=redactor.once_more(self.actor),
            tool=__version__,
            databases={database.id: database for database in self.databases},
            targets=targets,
            catalogs=catalogs,
            engines={name: self.engine(name) for name in {database.engine for database in self.databases}},
            read_script=self.read_script,
            redact=redactor,
            sink=sink,
            jobs=jobs,
            jobs_per_server=self._limits(targets, jobs_per_server, shard),
            wait=wait,
            lock_timeout=lock_timeout,
            fail_fast=fail_fast,
            timings=timings,
            hooks=self._hooks(),
        )

    def _limits(self, targets: Mapping[str, Target], wanted: int | None, shard: Shard | None) -> dict[str, int]:
        """Return for each server how many of its databases are worked on at the same time; a shard has its part of that."""
        from orchestrator.engines import dialect

        limits = {target.server_key: wanted or dialect(target.engine).jobs_per_server for target in targets.values()}
        return {key: shard.share(limit) for key, limit in limits.items()} if shard else limits

    def _hooks(self) -> tuple[tuple[Hook, Secret | None], ...]:
        if not self.manifest.notify:
            return ()
        from orchestrator.operations.notify import url_of

        return tuple((hook, url_of(hook, self.env)) for hook in self.manifest.notify)


def one_of_each(databases: Sequence[Database]) -> tuple[Database, ...]:
    """Return the databases with one member of each fleet: what concerns files alone is the same for all of them."""
    seen: set[int] = set()
    found = []
    for database in databases:
        if database.fleet is None or database.fleet.entry not in seen:
            found.append(database)
            seen |= {database.fleet.entry} if database.fleet else set()
    return tuple(found)
