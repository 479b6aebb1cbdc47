"""Judge the up files of chosen databases by the lint rules. No server is asked."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from orchestrator.analysis.findings import Finding, Story
from orchestrator.analysis.lint_report import Report, Told
from orchestrator.analysis.permissions import allowed, permissions, wrong
from orchestrator.analysis.rule import ERROR, OFF, WARN, Rule
from orchestrator.analysis.rules import fits_engine, rules
from orchestrator.analysis.sizes import size_of, weighed
from orchestrator.engines import dialect
from orchestrator.errors import InvalidError, InvalidGroup, OrchError, UsageError
from orchestrator.model import Database, File, Mark, Script, Size
from orchestrator.operations.assembly import Assembly, one_of_each
from orchestrator.operations.load import assemble
from orchestrator.operations.side_by_side import side_by_side
from orchestrator.planning.catalog import read_catalog

_MAX_LINE = 200
_LARGE = 2_000  # files


@dataclass(frozen=True, slots=True)
class Request:
    """What to judge. `names` select databases, as --only does; none means all.

    `since`: the files after this version are one plan. `changed`: the files that differ from this git commit are one
    plan. Else each file is judged as if all before it were applied. `server_version` goes before the manifest's.
    `sizes` of tables, by databases, weigh the findings.
    """

    file: str | None = None
    names: Sequence[str] = ()
    since: int | None = None
    changed: str | None = None
    server_version: int | None = None
    sizes: Mapping[str, Mapping[str, Size]] = field(default_factory=dict)


def lint(request: Request) -> Report:
    """Return what the rules say. InvalidError for a manifest that cannot be read, UsageError for options.

    A file that cannot be read as a migration is a finding, and every other one is judged; of a directory with such a file
    name no file is judged.
    """
    if request.since is not None and request.changed is not None:
        raise UsageError("--since and --changed cannot be used together", hint="use one of them")
    assembly = assemble(request.file, None, request.names or None, None, no_deps=bool(request.names), offline=True)
    _check_version(request.server_version, assembly)
    changed: Collection[Path] | None = None
    if request.changed is not None:
        from orchestrator.operations.git_changes import changed_files

        changed = changed_files(request.changed, assembly.manifest.path.parent)
    judge = partial(_judge, assembly, request, changed)
    different = one_of_each(assembly.databases)  # the members of a fleet share their files
    found = side_by_side(judge, different) if _is_large(different) else None
    if found is None:
        found = [judge(database) for database in different]
    told = tuple(one for told, _, _ in found for one in told)
    return Report(told, len(assembly.databases), sum(files for _, files, _ in found), sum(one for _, _, one in found))


def rule_named(code: str) -> Rule:
    """Return the rule with this code, in whatever case; UsageError if there is none, with one that looks like it."""
    from difflib import get_close_matches

    rule = rules().get(code.upper())
    if rule is None:
        near = get_close_matches(code.upper(), rules(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"the rules are {', '.join(rules())}"
        raise UsageError(f"there is no lint rule {code!r}", hint=hint)
    return rule


def _is_large(databases: Sequence[Database]) -> bool:
    """Whether several processes are done sooner than one; beginning one costs some hundredths of a second."""
    with suppress(OSError):
        return sum(len(os.listdir(database.directory)) for database in databases) > _LARGE  # noqa: PTH208 - names alone
    return False


def _judge(
    assembly: Assembly,
    request: Request,
    changed: Collection[Path] | None,
    database: Database,
) -> tuple[list[Told], int, int]:
    """Return findings, files and permitted findings of one database."""
    judged = _Judged(database, request)
    for script in _scripts(assembly, database, judged):
        judged.take(script, _is_pending(request, changed, judged.version, script.file))
    return judged.told, judged.files, judged.allowed


def _own(database: Database) -> str:
    """Return the name of a database on its server where the manifest alone tells it, '' else."""
    as_named = re.search(r"/\{database\}(?:\?|$)", database.dsn) and not database.database and database.fleet is None
    return database.name if as_named else ""


def _is_pending(request: Request, changed: Collection[Path] | None, version: int, file: File) -> bool:
    if changed is not None:
        return file.location.resolve() in changed
    return request.since is None or version > request.since


def _scripts(assembly: Assembly, database: Database, judged: _Judged) -> Iterator[Script]:
    """Yield the up files of a database; one that cannot be read is told."""
    try:
        catalog = read_catalog(database, assembly.contents)
    except OrchError as error:
        judged.unreadable(error, database.mark)
        return
    for migration in catalog:
        if migration.up is None:
            continue
        judged.version = migration.version
        try:
            yield assembly.read_script(database, migration.up)
        except OrchError as error:
            judged.unreadable(error, Mark(migration.up.path, 1, 1))


class _Judged:
    """The findings of one database, gathered file by file."""

    def __init__(self, database: Database, request: Request) -> None:
        self.told: list[Told] = []
        self.files = 0
        self.allowed = 0
        self.version = 0
        self._database = database
        self._sizes = request.sizes.get(database.id, {})
        self._alone = request.since is None and request.changed is None
        version = _version_of(database, request.server_version)
        self._story = Story(version=version, engine=database.engine, own=_own(database))

    def take(self, script: Script, pending: bool) -> None:
        """Judge a file if it is pending, else only take note of what it makes."""
        if not pending:
            self._story.past(script)
            return
        self.files += 1
        granted = permissions(script)
        found = [finding for finding in self._story.judge(script) if self._level(finding) != OFF]
        if self._alone:
            self._story.now_applied()
        for finding in sorted([*found, *wrong(granted, found)], key=lambda one: one.where):
            if allowed(finding, granted):
                self.allowed += 1
            elif self._level(finding) != OFF:
                level, size = weighed(finding, self._level(finding), self._sizes), size_of(finding.table, self._sizes)
                self.told.append(Told(self._database.id, level, finding, _line(script, finding), size))

    def unreadable(self, error: OrchError, place: Mark) -> None:
        """Tell of a file that is no migration. `place` is for an error that has none."""
        self.files += 1
        for one in error.errors if isinstance(error, InvalidGroup) else (error,):
            what = ": ".join(filter(None, [one.what, one.hint]))
            self.told.append(Told(self._database.id, ERROR, Finding("LT001", one.where or place, what)))

    def _level(self, finding: Finding) -> str:
        if not fits_engine(finding.code, self._database.engine):
            return OFF
        given = self._database.lint.levels.get(finding.code)
        level = rules()[finding.code].level
        return given or (WARN if finding.maybe and level == ERROR else level)


def _line(script: Script, finding: Finding) -> str:
    """Return the line that a finding points to, from its beginning, at most so long that a terminal can show it."""
    statement = script.statements[finding.statement] if script.statements else None
    at = statement.offset if statement else 0
    line = statement.line if statement else 1
    start = script.text.rfind("\n", 0, at) + 1
    if finding.where.line < line:
        start, line = 0, 1
    for _ in range(finding.where.line - line):
        start = script.text.find("\n", start) + 1
    end = script.text.find("\n", start)
    return script.text[start : end if end >= 0 else None][:_MAX_LINE].rstrip("\r")


def _version_of(database: Database, wanted: int | None) -> int:
    """Return the server's version by which a database is judged; 0 if none is told, or one of another engine."""
    version = wanted if wanted is not None else database.lint.server_version
    return version if version is not None and _knows(database, version) else 0


def _knows(database: Database, version: int) -> bool:
    first, last = dialect(database.engine).lint_versions
    return first <= version <= last


def _check_version(version: int | None, assembly: Assembly) -> None:
    """Refuse a version that the rules do not know: of the option, else of the manifest.

    What is said of all databases is true of those whose engine has such a version, and must be true of one.
    """
    if version is not None:
        if not any(_knows(database, version) for database in assembly.databases):
            what, hint = _unknown_version(assembly.databases[0], version)
            raise UsageError(what, hint=hint)
        return
    everything = assembly.manifest.databases
    for database in assembly.databases:
        wanted = database.lint.server_version
        if wanted is None or _knows(database, wanted):
            continue
        if database.lint.own_version or not any(_knows(one, wanted) for one in everything):
            what, hint = _unknown_version(database, wanted)
            raise InvalidError(f"{database.id}: {what}", where=database.mark, hint=hint)


def _unknown_version(database: Database, version: int) -> tuple[str, str]:
    first, last = dialect(database.engine).lint_versions
    if not last:
        return f"the lint rules of {database.engine} are the same for every version", "leave the version out"
    return f"the lint rules do not know {database.engine} {version}", f"use {first} to {last}"
