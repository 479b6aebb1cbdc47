"""Turn plain values into databases, and check everything about a manifest that a schema cannot."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.engines import DIALECTS, dialect
from orchestrator.engines.url import DsnError
from orchestrator.errors import InvalidError
from orchestrator.manifest.between import Unknown, check_cycles, check_same_dsn, internal
from orchestrator.manifest.directories import directory_of
from orchestrator.manifest.dsn import check_name_template, check_template
from orchestrator.manifest.entry import Entry, Server
from orchestrator.manifest.fleet import SAID, Member, check_group, expand
from orchestrator.manifest.for_each import Answer
from orchestrator.manifest.lint import NO_LINT, read_lint
from orchestrator.manifest.names import NameIndex, control_problem, name_problem
from orchestrator.manifest.settings import read_create_options, read_settings, read_variables
from orchestrator.manifest.source import Source, Steps
from orchestrator.model import Accepted, Database, External, Fleet, Mark, Settings
from orchestrator.phrases import did_you_mean, either
from orchestrator.records import replace

_NO_ANSWERS: Mapping[int, Answer] = {}
_MANY = 20  # near misses searched for; each costs milliseconds in a large estate


class Declarations:
    """Reads a manifest's values; `errors` collects what is wrong, `databases` what is declared.

    `broken` names the places of what does not conform to the schema; it is passed over, its names stay known.
    `base` is the directory of the manifest; `directories` says whether those of the migrations must be there. `answers`
    are those to the queries of fleets, by the positions of their entries.
    """

    def __init__(
        self,
        source: Source,
        broken: Collection[Steps],
        base: Path,
        directories: bool,
        answers: Mapping[int, Answer] = _NO_ANSWERS,
    ) -> None:
        self.errors: list[InvalidError] = []
        self.databases: tuple[Database, ...] = ()
        self.fleets: list[Fleet] = []
        self.unresolved: set[str] = set()
        self._answers = answers
        self._member: Entry | None = None  # the one that errors are about
        self._wrong: Counter[int] = Counter()  # errors about members, by entry
        self._alike: dict[tuple[int, str], Database] = {}
        self._source = source
        self._base = base
        self._directories = directories
        self._broken = {tuple(steps[:2]) for steps in broken}
        self._suggested = 0
        value = source.value if isinstance(source.value, dict) else {}
        self._servers = self._read_servers(value)
        entries = list(self._identify(value))
        if ("databases",) not in self._broken:
            self._index = NameIndex((entry.id, entry.name) for entry in entries)
            self._unknown = Unknown(entries)
            sound = [entry for entry in entries if ("databases", entry.index) not in self._broken]
            self.databases = tuple(self._declare(entry) for entry in sound)
            check_same_dsn(sound, self.databases, self._error)
            check_cycles(sound, self.databases, self._index, self._error)
            for index, number in self._wrong.items():
                if number > SAID:
                    self._error(("databases", index), f"{number - SAID:,} more errors about members of this fleet")

    def _error(self, steps: Steps, what: str, hint: str = "", detail: str = "") -> None:
        where = self._source.mark(steps)
        if (entry := self._member) and entry.member and not entry.member.columns:
            entry = None
        if entry and entry.member:
            self._wrong[entry.index] += 1
            if self._wrong[entry.index] > SAID:
                return
            if entry.member.mark != where:
                where, detail = entry.member.mark, detail or f"the entry of the fleet is at {where}"
        self.errors.append(InvalidError(what, where=where, hint=hint, detail=detail))

    def _suggest(self, word: str, possible: Collection[str]) -> str:
        self._suggested += 1
        return did_you_mean(word, possible) if self._suggested <= _MANY else ""

    # ------------------------------------------------------------ servers and settings

    def _read_servers(self, value: Mapping[str, Any]) -> dict[str, Server | None]:
        """Return the servers by name; None for one that is broken."""
        defaults = Settings()
        if ("defaults",) not in {steps[:1] for steps in self._broken}:
            defaults = read_settings(value.get("defaults") or {}, ["defaults"], defaults, self._error)
        self._defaults = defaults
        self._lint = (
            NO_LINT
            if any(steps[:1] == ("lint",) for steps in self._broken)
            else read_lint(value, [], NO_LINT, self._error)
        )
        self._risks = {} if ("risks",) in {steps[:1] for steps in self._broken} else value.get("risks") or {}
        given = value.get("servers") or {}
        servers: dict[str, Server | None] = {}
        for name, values in given.items() if isinstance(given, dict) else ():
            steps = ["servers", name]
            if tuple(steps) in self._broken:
                servers[name] = None
                continue
            if problem := control_problem(name):
                self._errors_at_key(steps, f"the name {name!r} of a server {problem}")
            self._check_template(values["dsn"], values["engine"], [*steps, "dsn"], f"server {name!r}")
            maintenance = values.get("maintenance_database")
            known = dialect(values["engine"])
            if maintenance and not known.maintenance_database:
                self._error(
                    [*steps, "maintenance_database"], f"server {name!r}: {known.title} has no maintenance database"
                )
            settings = read_settings(values, steps, defaults, self._error)
            servers[name] = Server(name, values["engine"], values["dsn"], settings, maintenance)
        return servers

    # ------------------------------------------------------------ databases

    def _identify(self, value: Mapping[str, Any]) -> Iterator[Entry]:
        """Yield the entries whose engine and name are known; two with the same identity are an error."""
        self._all_known = True
        first: dict[str, Entry] = {}
        given = value.get("databases")
        for index, values in enumerate(given if isinstance(given, list) else ()):
            values = values if isinstance(values, dict) else {}
            for member in self._members_of(index, values):
                own = member.values if member else values
                name, engine = own.get("name"), self._engine(index, own, member)
                if not (isinstance(name, str) and name and engine):
                    self._all_known = False
                    continue
                fleet = self.fleets[-1] if member else None
                entry = Entry(index, f"{engine}-{name}", engine, name, own, member, fleet)
                if entry.id in first:
                    self._tell_twice(entry, first[entry.id])
                    continue
                first[entry.id] = entry
                yield entry

    def _members_of(self, index: int, values: Mapping[str, Any]) -> Sequence[Member | None]:
        """Return the members of an entry: [None] for one that is no fleet."""
        steps: Steps = ("databases", index)
        if "for_each" not in values:
            for key in ("rollout", "bootstrap"):
                if key in values and steps not in self._broken:
                    self._error([*steps, key], f"{key!r} is for a fleet", hint="it needs 'for_each'")
            return [None]
        if steps in self._broken:
            self._all_known = False
            return []

        def error(at: Steps, what: str, hint: str, row: Mark | None = None) -> None:
            self._wrong[index] += 1
            if self._wrong[index] <= SAID:
                self.errors.append(InvalidError(what, where=row or self._source.mark(at), hint=hint))

        try:
            found = expand(values, steps, self._source, self._base, error, self._answers.get(index))
        except InvalidError as wrong:
            self.errors.append(wrong)
            found = None
        if found is None:
            self._all_known = False
            return []
        check_group(found[0], self.fleets, steps, error)
        self.fleets.append(found[0])
        return found[1]

    def _tell_twice(self, entry: Entry, other: Entry) -> None:
        """Tell of two databases with the same identity."""
        self._member = entry
        place = other.member.mark if other.member else self._source.mark(other.steps)
        hint = "an id is engine and name; the same name on a second server needs a manifest of its own"
        if entry.member and other.member and entry.index == other.index:
            hint = "remove one of them"
            if entry.fleet and entry.fleet.query:
                hint = "let the query return each once: select distinct …"
        self._error(entry.steps, f"two databases are {entry.id!r}", hint=hint, detail=f"the first is at {place}")
        self._member = None

    def _engine(self, index: int, values: Mapping[str, Any], member: Member | None) -> str | None:
        """Return the engine of an entry, its own or its server's; errors only if the entry is not broken."""
        if member and not member.columns and "{" in str(values.get("server", "")):
            return self._engine_of_all(values)
        self._member = Entry(index, "", "", "", values, member) if member else None
        try:
            return self._engine_or_errors(index, values)
        finally:
            self._member = None

    def _engine_of_all(self, values: Mapping[str, Any]) -> str | None:
        """Return the engine of a fleet whose servers are not known: its own, or that of the servers that may be meant."""
        if isinstance(own := values.get("engine"), str) and own in DIALECTS:
            return own
        fitting = re.escape(values["server"])
        fitting = re.sub(r"\\\{\w+\\\}", ".+", fitting)
        engines = {one.engine for name, one in self._servers.items() if one and re.fullmatch(fitting, name)}
        return engines.pop() if len(engines) == 1 else None

    def _engine_or_errors(self, index: int, values: Mapping[str, Any]) -> str | None:
        sound = ("databases", index) not in self._broken
        own, name = values.get("engine"), values.get("server")
        server = self._servers.get(name) if isinstance(name, str) else None
        about = f"database {values.get('name')!r}"
        if sound and isinstance(name, str) and name not in self._servers and ("servers",) not in self._broken:
            hint = self._suggest(name, self._servers) or self._known_servers()
            self._error(["databases", index, "server"], f"{about}: there is no server {name!r}", hint=hint)
        elif sound and server and own and own != server.engine:
            what = f"{about} is of engine {own}, and its server {server.name!r} of engine {server.engine}"
            self._error(["databases", index, "engine"], what, hint="leave out 'engine', or choose another server")
        elif sound and not own and name is None:
            what = f"{about} has no engine and no server" if "dsn" in values else f"{about} has no server and no dsn"
            self._error(["databases", index], what, hint=self._known_servers())
        if isinstance(own, str) and own in DIALECTS:
            return str(own)
        return server.engine if server else None

    def _known_servers(self) -> str:
        if not self._servers:
            return "declare it under 'servers', or give the database its own 'engine' and 'dsn'"
        return "the servers are " + ", ".join(self._servers)

    def _declare(self, entry: Entry) -> Database:
        if entry.member is None:
            return self._declared(entry)
        self._member = entry
        try:
            server = str(entry.values.get("server", ""))
            alike = self._alike.get((entry.index, server))
            found = self._declared(entry, alike)
            self._alike.setdefault((entry.index, server), found)
            return found
        finally:
            self._member = None

    def _declared(self, entry: Entry, alike: Database | None = None) -> Database:
        """Return the database of an entry. `alike` is another member of its fleet on the same server."""
        values, steps = entry.values, entry.steps
        about = f"database {entry.name!r}"
        named = re.sub(r"\{\w+\}", "x", entry.name) if entry.member and not entry.member.columns else entry.name
        if problem := name_problem(entry.engine, named):
            self._error([*steps, "name"], f"the name {entry.name!r} {problem}")
        server = self._servers.get(values.get("server", ""))
        common: dict[str, Any] = {
            "id": entry.id,
            "name": entry.name,
            "depends_on": tuple(self._dependencies(entry)),
            "labels": tuple(self._labels(entry)),
            "variables": read_variables(entry, self._error, self._errors_at_key),
            "create": read_create_options(entry, server, self._errors_at_key),
        }
        if entry.member:
            common |= {"columns": entry.member.columns, "member": entry.member.value, "mark": entry.member.mark}
        if alike is not None:
            return replace(alike, **common)
        dsn = values.get("dsn")
        self._check_dsn(entry, server, about)
        if entry.fleet and entry.fleet.bootstrap and not (known := dialect(entry.engine)).templates:
            what = f"{known.title} makes no database from a template"
            self._error([*steps, "bootstrap"], what, hint="leave out 'bootstrap'")
        return Database(
            **{"mark": self._source.mark(steps), **common},
            engine=entry.engine,
            dsn=dsn or (server.dsn if server else ""),
            directory=directory_of(entry, self._base, self._error, must_exist=self._directories),
            database=values.get("database", ""),
            server=values.get("server"),
            external=tuple(self._external(entry)),
            settings=read_settings(values, steps, server.settings if server else self._defaults, self._error),
            accepted=tuple(
                Accepted(int(one["version"]), one.get("finding", ""))
                for one in (values.get("verify") or {}).get("accept") or ()
            ),
            lint=read_lint(values, steps, self._lint, self._error),
            risks={**self._risks, **(values.get("risks") or {})},
            fleet=entry.fleet,
        )

    def _check_dsn(self, entry: Entry, server: Server | None, about: str) -> None:
        """Check the templates of a DSN and of the name on the server; errors say what is wrong with them."""
        values, steps, dsn = entry.values, entry.steps, entry.values.get("dsn")
        if dsn and "server" in values:
            self._error([*steps, "dsn"], f"{about} has a server and a dsn of its own", hint="leave out one of them")
        elif dsn:
            self._check_template(dsn, entry.engine, [*steps, "dsn"], about, entry.columns)
        elif "server" not in values and "engine" in values:
            self._error(steps, f"{about} has no server and no dsn", hint=self._known_servers())
        if (real := values.get("database")) and (full := dsn or (server.dsn if server else "")):
            try:
                check_name_template(real, full, entry.columns)
            except DsnError as fault:
                self._error([*steps, "database"], f"{about}: {fault.what}", hint=fault.hint)

    def _labels(self, entry: Entry) -> Mapping[str, None]:
        labels = entry.values.get("labels") or ()
        for place, label in enumerate(labels):
            if problem := control_problem(label):
                self._error([*entry.steps, "labels", place], f"database {entry.name!r}: the label {label!r} {problem}")
        return dict.fromkeys(labels)

    def _check_template(self, dsn: str, engine: str, steps: Steps, about: str, columns: tuple[str, ...] = ()) -> None:
        try:
            check_template(dsn, engine, columns)
        except DsnError as fault:
            self._error(steps, f"{about}: {fault.what}", hint=fault.hint)

    def _errors_at_key(self, steps: Steps, what: str) -> None:
        self.errors.append(InvalidError(what, where=self._source.key_mark(steps)))

    # ------------------------------------------------------------ dependencies

    def _dependencies(self, entry: Entry) -> Iterator[str]:
        seen = {entry.id}
        for place, name in internal(entry):
            steps = [*entry.steps, "depends_on", place]
            found = self._index.find(name)
            if len(found) > 1:
                what = f"database {entry.name!r} depends on {name!r}, which is the name of {len(found)} databases"
                self._error(steps, what, hint=f"write {either(found)}")
            elif not found and self._unknown.may_have(name):
                self.unresolved.add(entry.id)
                yield from self._unknown.needed(name, seen)
            elif not found and self._all_known:
                self._suggested += 1
                hint = self._index.suggestion(name) if self._suggested <= _MANY else ""
                self._error(steps, f"database {entry.name!r} depends on {name!r}, which is not declared", hint=hint)
            elif not found:
                self.unresolved.add(entry.id)
            elif found == (entry.id,):
                self._error(steps, f"database {entry.name!r} depends on itself", hint="remove this entry")
            elif found and found[0] not in seen:
                seen.add(found[0])
                yield found[0]

    def _external(self, entry: Entry) -> Iterator[External]:
        """Yield the databases of other manifests that this one depends on; whether they are there is asked elsewhere."""
        given = entry.values.get("depends_on") or ()
        for place, one in enumerate([given] if isinstance(given, dict) else given):
            if isinstance(one, dict):
                steps = [*entry.steps, "depends_on", *(() if isinstance(given, dict) else (place,)), "external"]
                external = one["external"]
                yield External(external["manifest"], external["database"], self._source.mark(steps))
