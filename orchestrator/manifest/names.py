"""Names of databases: the rules of each engine, and finding the database that a person means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from orchestrator.engines import dialect
from orchestrator.errors import UsageError
from orchestrator.model import Database
from orchestrator.phrases import did_you_mean, either


def name_problem(engine: str, name: str) -> str:
    """Return why this engine cannot have a database of this name, or an empty text."""
    if problem := control_problem(name):
        return problem
    return dialect(engine).name_problem(name)


def control_problem(text: str) -> str:
    """Return what is wrong with text that people are to see whole on one line of a terminal, or an empty text."""
    if text.isprintable():  # most texts are: the pattern is not compiled then
        return ""
    # Control characters, ends of lines, those that turn the direction of text, those that nobody sees and no word needs
    # (of two files in one, the second begins with U+FEFF), and halves of characters (of JSON's \uXXXX).
    odd = re.search(
        "[\0-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufff9-\ufffb]", text
    )
    return f"holds the control character U+{ord(odd[0]):04X}" if odd else ""


class NameIndex:
    """Finds databases by full id or bare name; made of (id, name) pairs."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._ids: dict[str, str] = {}
        self._names: dict[str, list[str]] = {}
        for id, name in pairs:
            if id not in self._ids:
                self._ids[id] = name
                self._names.setdefault(name, []).append(id)

    def find(self, name: str) -> tuple[str, ...]:
        """Return the full ids that `name` may stand for; an id stands for itself alone."""
        return (name,) if name in self._ids else tuple(self._names.get(name, ()))

    def suggestion(self, name: str) -> str:
        """Return "did you mean …?", or an empty text."""
        return did_you_mean(name, (*self._ids, *self._names))


def resolve_name(databases: Sequence[Database], name: str) -> Database:
    """Return the database that `name` (full id or bare name) stands for; UsageError if none or several do."""
    id = _only_one(_index(databases), name)
    if id is None:
        raise _no_database(databases, name)
    return next(database for database in databases if database.id == id)


def resolve_files(databases: Sequence[Database], name: str) -> tuple[Database, str]:
    """Return a database whose migration files `name` means, and what `--only` selects all databases with them by.

    `name` is that of a database, or the name or `group:` of a fleet, whose members share their files. UsageError if it
    means none or several.
    """
    if id := _only_one(_index(databases), name):
        found = next(database for database in databases if database.id == id)
    else:
        wanted = name.removeprefix("group:")
        members = [one for one in databases if one.fleet and (one.fleet.group == wanted or _is_entry(one, name))]
        if not members:
            raise _no_database(databases, name)
        found = members[0]
    return found, f"group:{found.fleet.group}" if found.fleet else name


def _is_entry(database: Database, name: str) -> bool:
    """Whether a database is a member of the entry of this name, as the manifest writes it: tenant_{tenant}."""
    fleet = database.fleet
    return fleet is not None and name in (fleet.template, f"{database.engine}-{fleet.template}")


def select(
    databases: Sequence[Database], only: Sequence[str] = (), exclude: Sequence[str] = (), no_deps: bool = False
) -> tuple[Database, ...]:
    """Return the selected databases in declared order.

    `only` and `exclude` hold full ids, bare names, globs over both, names of fleets as the manifest writes them, `label:`
    with a label or glob, or `group:` with the group of a fleet or a glob, each alone or several with commas between them.
    `only` brings along all that the database depends on, unless `no_deps`; `exclude` then drops exactly what it matches.
    Without `only`, all are selected. UsageError for a pattern that matches nothing, an ambiguous name, or if nothing is left.
    """
    if no_deps and not only:
        raise UsageError("--no-deps is for --only", hint="it runs exactly those databases, not what they depend on")
    index = _index(databases)
    only, exclude = (
        [one for each in patterns for one in _several(databases, index, each)] for patterns in (only, exclude)
    )
    chosen = {id for pattern in only for id in _matches(databases, index, pattern)}
    if not only:
        chosen = {database.id for database in databases}
    elif not no_deps:
        chosen = _with_dependencies(databases, chosen)
    chosen -= {id for pattern in exclude for id in _matches(databases, index, pattern)}
    if not chosen and (only or exclude):
        raise UsageError("nothing is selected", hint="--exclude leaves out all that there is to select")
    return tuple(database for database in databases if database.id in chosen)


def _several(databases: Sequence[Database], index: NameIndex, text: str) -> list[str]:
    """Return the patterns in a text with commas between them. Names and labels may have commas too."""
    if "," not in text or index.find(text):
        return [text]
    label = text.removeprefix("label:")
    return [text] if label != text and any(label in one.labels for one in databases) else text.split(",")


def _index(databases: Sequence[Database]) -> NameIndex:
    return NameIndex((database.id, database.name) for database in databases)


def _only_one(index: NameIndex, name: str) -> str | None:
    found = index.find(name)
    if len(found) > 1:
        raise UsageError(f"{name!r} is the name of {len(found)} databases", hint=f"write {either(found)}")
    return found[0] if found else None


def _matches(databases: Sequence[Database], index: NameIndex, pattern: str) -> list[str]:
    exact = _only_one(index, pattern)
    if exact is not None:
        return [exact]
    if pattern.startswith("label:"):
        wanted = pattern.removeprefix("label:")
        found = [d.id for d in databases if any(fnmatchcase(label, wanted) for label in d.labels)]
        if not found:
            labels = [label for database in databases for label in database.labels]
            raise UsageError(f"no database has the label {wanted!r}", hint=did_you_mean(wanted, labels))
        return found
    if pattern.startswith("group:"):
        wanted = pattern.removeprefix("group:")
        found = [d.id for d in databases if d.fleet and fnmatchcase(d.fleet.group, wanted)]
        if not found:
            groups = list(dict.fromkeys(d.fleet.group for d in databases if d.fleet))
            hint = did_you_mean(wanted, groups) or ("the groups are " + ", ".join(groups[:10]) if groups else "")
            raise UsageError(f"no database is in the group {wanted!r}", hint=hint)
        return found
    found = [d.id for d in databases if fnmatchcase(d.id, pattern) or fnmatchcase(d.name, pattern)]
    found = found or [d.id for d in databases if _is_entry(d, pattern)]
    if not found:
        raise _no_database(databases, pattern)
    return found


def _no_database(databases: Sequence[Database], name: str) -> UsageError:
    if any(database.fleet and database.fleet.group == name for database in databases):
        return UsageError(f"no database is called {name!r}", hint=f"a fleet is: write group:{name}")
    hint = _index(databases).suggestion(name)
    if not hint and databases:
        shown = [database.id for database in databases[:10]]
        hint = "those declared are " + ", ".join(shown) + (", …" if len(databases) > len(shown) else "")
    return UsageError(f"no database is called {name!r}", hint=hint)


def _with_dependencies(databases: Sequence[Database], ids: set[str]) -> set[str]:
    needs = {database.id: database.depends_on for database in databases}
    reached: set[str] = set()
    waiting = list(ids)
    while waiting:
        id = waiting.pop()
        if id not in reached:
            reached.add(id)
            waiting.extend(needs.get(id, ()))
    return reached
