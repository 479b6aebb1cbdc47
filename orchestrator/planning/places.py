"""Find migrations in directories that the manifest does not name."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from orchestrator.engines import dialect
from orchestrator.errors import InvalidError, InvalidGroup
from orchestrator.hints import Blank, Command, Hint
from orchestrator.model import Database, Fleet, Manifest
from orchestrator.patterns import regex
from orchestrator.planning.other_tools import refusal

_MAX_DIRECTORIES = 10_000  # looked into before the search is given up
_PAIR = regex(r"[0-9]+_.*\.(?:down|up)\.(\w+)")
_OWN_DIRECTORY = {"up.sql": "Diesel or Hasura", "migration.sql": "Prisma"}


def refuse_subdirectories(database: Database, shown: str) -> None:
    """Raise InvalidError if a directory without any migration has them in its subdirectories.

    `shown` is the directory as people are told it.
    """
    known = dialect(database.engine)
    counts: Counter[str] = Counter()
    other: list[tuple[str, str]] = []
    for place, names in _below(database.directory):
        counts[place] += sum(1 for name in names if (pair := _PAIR.fullmatch(name)) and pair[1] in known.extensions)
        other += [(tool, f"{shown}/{place}/{name}") for name, tool in _OWN_DIRECTORY.items() if name in names]
    places = [place for place, count in sorted(counts.items()) if count]
    if not places:
        InvalidGroup.raise_if(refusal(tool, path) for tool, path in sorted(other))
        return
    told = ", ".join(f"{place}/ ({counts[place]:,})" for place in places[:3]) + (", …" if len(places) > 3 else "")
    named = [place for place in places if {*known.dsn.schemes, known.name} & {*place.lower().split("/")}]
    best = (named or places)[0]
    hint = f"write in the manifest: migrations: {_entry(database, best)}"
    if len(places) > 1 and not named:
        hint += " (or another of them; the files of one database are in one directory)"
    raise InvalidError(
        f"{shown} holds no migration itself, only its subdirectories do: {told}", where=database.mark, hint=hint
    )


def _entry(database: Database, place: str) -> str:
    """Return a directory as the manifest has it: as seen from there where that can be said."""
    root = Path(database.mark.path).absolute().parent
    path = database.directory / place
    return os.path.relpath(path, root) if path.is_relative_to(root) else str(path)


def _below(directory: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each subdirectory, as seen from the directory, with the names of its files."""
    for path, directories, files in islice(os.walk(directory), _MAX_DIRECTORIES):
        directories[:] = sorted(one for one in directories if not one.startswith("."))
        if path != str(directory):
            yield Path(path).relative_to(directory).as_posix(), files


def without_migrations(database: Database) -> str:
    """Return what to know of a database whose directory holds no migration."""
    names = sorted(one.name for one in os.scandir(database.directory))
    there = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    holds = f"there is only {there}" if names else "it is empty"
    first = Command("new", database.id, Blank("DESCRIPTION"))
    return Hint(f"no migration in {_entry(database, '.')}: {holds}; the first: ", first)


def no_members(fleet: Fleet) -> str:
    """Return what is to be told of a fleet that has no members."""
    return (
        f"{fleet.template}: {fleet.origin} has no rows, so this fleet has no members; "
        "databases of former members are left as they are"
    )


def unnamed(manifest: Manifest) -> Iterator[str]:
    """Yield the directories that hold files and that no entry names: under `migrations/`, and below those of the entries."""
    root = manifest.path.absolute().parent
    directories = [one.directory for one in manifest.databases]
    directories += [one.directory for one in manifest.fleets if one.directory]  # also without members
    named = {Path(os.path.normpath(directory.absolute())) for directory in directories}
    for directory in sorted(named):
        for one in _directories(directory):
            if one not in named and not any(other.is_relative_to(one) for other in named) and _holds_pairs(one):
                yield f"no entry of the manifest names {_seen_from(root, one)}: its files do not run"
    yield from _strangers(root / "migrations", root, named)


def _strangers(directory: Path, root: Path, named: set[Path]) -> Iterator[str]:
    for one in _directories(directory) if directory not in named else ():
        if any(other.is_relative_to(one) for other in named):
            yield from _strangers(one, root, named)
        elif any(files for _, _, files in os.walk(one)):
            yield f"no entry of the manifest names {_seen_from(root, one)}: its files do not run"


def _directories(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    with os.scandir(directory) as entries:
        return sorted(Path(one.path) for one in entries if not one.name.startswith(".") and one.is_dir())


def _holds_pairs(directory: Path) -> bool:
    return any(_PAIR.fullmatch(name) for _, _, files in os.walk(directory) for name in files)


def _seen_from(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
