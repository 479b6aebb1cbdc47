"""Migration files on disk: names, versions, pairs, checksums. Reads; decides nothing about databases."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

from orchestrator.engines import dialect
from orchestrator.errors import InvalidError, InvalidGroup, OrchError, OtherToolError
from orchestrator.model import Database, Direction, File, Mark, Migration
from orchestrator.patterns import regex
from orchestrator.planning.squash import Ranges, check_ranges, parse_ranges

_MAX_FILE_BYTES = 64 * 1024 * 1024
_MAX_LOOKED_AT = 1024 * 1024  # bytes of a file whose name is none of ours, to see whose it is
_MAX_UNWRITTEN = 1_000  # bytes of a file that nobody has written yet
MAX_VERSION = 2**63 - 1  # golang-migrate's version table column is a signed bigint

_NAME = regex(r"([0-9]+)_(.*)\.(down|up)\.(.*)")
_MAX_HANDED_ON = 16 * 1024  # bytes of a file
_IS_DUMP = regex(rb"(?i)^-- m(?:ysql|ariadb) dump", re.MULTILINE)
_OF_A_DUMP = "make the dump with --hex-blob and --default-character-set=utf8mb4, so that it is UTF-8"
_BOM = b"\xef\xbb\xbf"


def read_catalog(database: Database, keep: dict[File, bytes] | None = None) -> tuple[Migration, ...]:
    """Return the migrations of a database in numeric order of their versions.

    `keep` receives what is in the up files, for whoever reads them next, as long as they are small.

    Raises InvalidError (or a group of them) for files that golang-migrate would ignore or mistake: names that almost
    match, two files of one version, a wrong extension, files of other tools. A version with a down file alone is one whose
    up does nothing, as in golang-migrate.
    """
    directory = database.directory
    errors: list[InvalidError] = []
    found: dict[tuple[int, Direction], tuple[str, File]] = {}
    replaces: dict[int, Ranges] = {}
    unwritten: set[int] = set()
    try:
        entries = sorted(os.listdir(directory))  # noqa: PTH208 - names alone, and thousands of them
    except OSError as error:
        raise InvalidError(
            f"the migrations of {database.id} cannot be read: {error.strerror or error}",
            where=database.mark,
            detail=str(directory),
            hint=f"create it: mkdir -p {_shown(directory)}" if isinstance(error, FileNotFoundError) else "",
        ) from None
    shown = _shown(directory)
    extensions = dialect(database.engine).extensions
    for entry in entries:
        path, location = f"{shown}/{entry}", directory / entry
        try:
            parsed = _parse_name(entry, location, path, extensions)
            if parsed is None:
                continue
            version, direction, name = parsed
            data = _read(location, path)
            file = File(path, location, _digest(data))
            if keep is not None and direction is Direction.UP and len(data) <= _MAX_HANDED_ON:
                keep[file] = data
            if direction is Direction.UP and _is_unwritten(database.engine, name, data):
                unwritten.add(version)
            if direction is Direction.UP and b"replaces" in data:
                replaces |= _replaced(database.engine, version, path, data)
        except InvalidError as error:
            errors.append(error)
            continue
        if other := found.get((version, direction)):
            errors.append(
                InvalidError(
                    f"two {direction.value} files for version {version}",
                    where=Mark(path),
                    detail=f"the other is {other[1].path}",
                    hint="give one of them the next free version",
                )
            )
        else:
            found[version, direction] = (name, file)
    migrations = []
    for version in sorted({version for version, _ in found}):
        up, down = found.get((version, Direction.UP)), found.get((version, Direction.DOWN))
        name = (up or down or ("",))[0]
        pair = up[1] if up else None, down[1] if down else None
        migrations.append(Migration(version, name, *pair, replaces.get(version, ())))
    for place in reversed(range(len(migrations))):
        if migrations[place].version not in unwritten:
            break  # below one that was written it is a migration that does nothing, as in golang-migrate
        migrations[place] = migrations[place]._replace(unwritten=True)
    errors += _contradictions(migrations)
    InvalidGroup.raise_if(_folded(errors))
    if not migrations:
        from orchestrator.planning.places import refuse_subdirectories

        refuse_subdirectories(database, shown)
    return tuple(migrations)


def _is_unwritten(engine: str, name: str, data: bytes) -> bool:
    """Whether an up file is exactly what `orch new` writes for this name."""
    before, asked, after = dialect(engine).scaffold.next_up.partition("{description}")
    if len(data) > _MAX_UNWRITTEN or not data.startswith(before.encode()) or not data.endswith(after.encode()):
        return False
    if not asked:
        return data == before.encode()
    described = data[len(before.encode()) : len(data) - len(after.encode())].decode("utf-8", errors="replace")
    return "\n" not in described and re.sub(r"[^0-9a-z]+", "_", described.lower()).strip("_") == name


def _folded(errors: list[InvalidError]) -> list[InvalidError]:
    """Return the errors; where more than three files have the same fault, one error with a count and three examples."""
    alike: dict[str, list[InvalidError]] = {}
    for error in errors:
        name = Path(error.where.path).name if error.where else ""
        alike.setdefault(re.sub(r"\d+", "N", error.what.replace(f"'{name}'", "'…'")), []).append(error)
    folded = []
    for same in alike.values():
        first = same[0]
        if len(same) <= 3 or isinstance(first, OtherToolError):
            folded += same
            continue
        examples = [str(error.where) for error in same[:3]]
        names = ", ".join(one.rpartition("/")[2] for one in examples)
        rest = "\n".join([*examples, f"and {len(same) - 3:,} more files with the same fault"])
        what = f"{len(same):,} files with the same fault ({names}, …): {first.what}"
        folded.append(InvalidError(what, where=first.where, detail=rest, hint=first.hint))
    return folded


def _replaced(engine: str, version: int, path: str, data: bytes) -> dict[int, Ranges]:
    """Return the versions that a file says it replaces, under its own; InvalidError if they cannot be."""
    text = data.decode("utf-8", errors="replace")
    squashing = dialect(engine).squashing
    said = squashing.replaces(text) if squashing else None
    if said is None:
        return {}
    value, offset = said
    try:
        ranges = parse_ranges(value)
    except ValueError as error:
        hint = f"write for example: replaces 1-{version}"
        raise InvalidError(str(error), where=Mark.at(path, text, offset), hint=hint) from None
    return {version: ranges}


def _contradictions(migrations: Sequence[Migration]) -> list[InvalidError]:
    """Return what is wrong with files that replace others."""
    found = []
    for migration in migrations:
        if migration.replaces and migration.up:
            others = [other.version for other in migrations]
            if what := check_ranges(migration.replaces, migration.version, others):
                hint = "a file has the version of the last one that it replaces, and the files of those are removed"
                found.append(InvalidError(what, where=Mark(migration.up.path), hint=hint))
    return found


def read_text(file: File, data: bytes | None = None) -> str:
    """Return a file's text without byte order mark. Line ends stay as they are: they are part of the literals they stand in.

    `data` is what it holds, if that is known. Raises InvalidError if it is not UTF-8, and OrchError if it changed since its
    checksum was taken.
    """
    if data is None:
        data = _read(file.location, file.path)
        if _digest(data) != file.checksum:
            raise OrchError(
                "the file changed while orch was running", where=Mark(file.path), hint="run the command again"
            )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, column = before.count(b"\n") + 1, len(before[before.rfind(b"\n") + 1 :].decode()) + 1
        raise InvalidError(
            f"not UTF-8: byte 0x{data[error.start]:02x}",
            where=Mark(file.path, line, column),
            hint=_OF_A_DUMP if _IS_DUMP.search(data[:300]) else "save the file as UTF-8",
        ) from None


def _shown(directory: Path) -> str:
    try:
        return str(directory.relative_to(Path.cwd()))
    except ValueError:
        return str(directory)


def _parse_name(
    entry: str, location: Path, path: str, extensions: tuple[str, ...]
) -> tuple[int, Direction, str] | None:
    """Return version, direction and name; None for a file that is no migration; raise if it nearly is one."""
    match = _NAME.fullmatch(entry)
    if (match is None or match[4] not in extensions) and (tool := _other_tool(entry, location, extensions)):
        from orchestrator.planning.other_tools import refusal

        raise refusal(tool, path)
    wanted = f"NNNNNN_description.up.{extensions[0]}"
    if match is None:
        lowered = entry.lower()
        looks_like_one = not entry.startswith(".") and (
            lowered.endswith(tuple(f".{extension}" for extension in extensions)) or re.match(r"\d+[-_. ].*\.", entry)
        )
        if looks_like_one:
            raise InvalidError(
                f"'{entry}' is almost a migration, and would be ignored",
                where=Mark(path),
                hint=f"name it {_suggest(entry, extensions) or wanted}, or move it out of this directory",
            )
        return None
    digits, name, direction, extension = match.groups()
    if extension not in extensions:
        raise InvalidError(
            f"'{entry}' has the extension '.{extension}', not '.{extensions[0]}'",
            where=Mark(path),
            hint=f"name it {digits}_{name}.{direction}.{extensions[0]}, or move it out of this directory",
        )
    version = int(digits)
    if version > MAX_VERSION:
        hint = f"the largest is {MAX_VERSION}; a timestamp such as 20240826120919 is fine"
        raise InvalidError(f"version {version} is too large", where=Mark(path), hint=hint)
    return version, Direction(direction), name


def _other_tool(entry: str, location: Path, extensions: tuple[str, ...]) -> str:
    """Return the tool that this file belongs to, by its name or by the marks in it; '' if that is not known."""
    from orchestrator.planning.other_tools import by_name, by_text

    tool = by_name(entry)
    if not tool and (entry.startswith(".") or not entry.lower().endswith(tuple(f".{one}" for one in extensions))):
        return ""
    try:
        if tool or not location.is_file():  # a pipe would hang whoever opens it
            return tool if location.is_file() else ""
        with location.open("rb") as file:
            return by_text(file.read(_MAX_LOOKED_AT).decode(errors="replace"))
    except OSError:
        return ""


def _suggest(entry: str, extensions: tuple[str, ...]) -> str | None:
    loose = re.fullmatch(r"(\d+)[-_. ]*(.*?)[-_. ](up|down)\.(\w+)", entry, re.IGNORECASE)
    if plain := re.fullmatch(r"(\d+)_([^.]+)\.(\w+)", entry) if loose is None else None:
        return f"{plain[1]}_{plain[2]}.up.{plain[3]}" if plain[3] in extensions else None
    if loose is None or loose[4].lower() not in extensions:
        return None
    name = re.sub(r"[^0-9A-Za-z]+", "_", loose[2]).strip("_").lower() or "migration"
    return f"{int(loose[1]):06d}_{name}.{loose[3].lower()}.{loose[4].lower()}"


def _read(location: Path, path: str) -> bytes:
    """Return the bytes of a file without byte order mark; what is too large or never ends is not begun."""
    try:
        handle = os.open(
            location, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
        )  # an estate has 100,000 files: no layers above it
        try:
            facts = os.fstat(handle)
            if not stat.S_ISREG(facts.st_mode):
                raise _irregular(path)
            if facts.st_size > _MAX_FILE_BYTES:
                raise InvalidError(
                    f"larger than {_MAX_FILE_BYTES // 1024 // 1024} MiB",
                    where=Mark(path),
                    hint="load data of this size outside of migrations, or split the file",
                )
            data = b"".join(iter(lambda: os.read(handle, facts.st_size + 1), b""))
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket cannot be opened
            raise _irregular(path) from None
        raise InvalidError(f"cannot be read: {error.strerror or error}", where=Mark(path)) from None
    return data.removeprefix(_BOM)


def _irregular(path: str) -> InvalidError:
    return InvalidError("this is not a regular file", where=Mark(path), hint="move it out of this directory")


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data.replace(b"\r\n", b"\n")).hexdigest()
