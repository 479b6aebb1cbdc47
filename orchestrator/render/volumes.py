"""Databases that are files: the volume that keeps them in a Compose project, and where it is mounted."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from orchestrator.engines import dialect
from orchestrator.errors import InvalidError
from orchestrator.manifest.template import Literal, Variable, columns_in, parse
from orchestrator.model import Manifest
from orchestrator.render.servers import Server

ESTATE = "/estate"
"""The directory of the manifest in the image."""
_MOUNTED = "/var/lib/orch"
"""Below it the files are whose directory a variable names."""


@dataclass(frozen=True, slots=True)
class FileVolume:
    """A volume: its name, the absolute path at which it is mounted, and the variables of the DSN that name that path."""

    name: str
    path: str
    variables: Mapping[str, str]


def volume_of(server: Server) -> FileVolume | None:
    """Return the volume for the files of a server; None if its databases are no files, or their directory cannot be told."""
    if dialect(server.engine).container:
        return None
    name, directory = f"{server.service}-files", _directory(server)
    if isinstance(directory, Variable):
        path = f"{_MOUNTED}/{server.service}"
        return FileVolume(name, path, {directory.name: path})
    return (
        FileVolume(name, posixpath.normpath(posixpath.join(ESTATE, directory)), {}) if directory is not None else None
    )


def volumes_of(servers: Sequence[Server]) -> list[FileVolume]:
    """Return the volumes for the files of these servers."""
    return [volume for server in servers if (volume := volume_of(server))]


def without_volume(servers: Sequence[Server], manifest: Manifest) -> Iterator[InvalidError]:
    """Yield an error for each database that is a file for which no volume can be mounted."""
    for server in servers:
        if dialect(server.engine).container:
            continue
        database, volume = server.databases[0], volume_of(server)
        if volume is None:
            what = f"{database.id} is a file, and its DSN does not tell the directory in which a volume can be mounted"
        elif hidden := _hidden(volume, manifest):
            what = f"{database.id} is a file, and a volume mounted at its directory would hide {hidden} in the image"
        else:
            continue
        hint = f"name a directory of its own: sqlite3://${{{server.engine.upper()}_DIRECTORY:-files}}/{{database}}.db"
        yield InvalidError(what, where=database.mark, hint=hint)


def _directory(server: Server) -> str | Variable | None:
    """Return the directory in a DSN template: as it stands, or the one variable that is all of it; None for another one."""
    template = server.databases[0].dsn
    pieces = parse(template, columns_in(template))
    marks = [piece.text if isinstance(piece, Literal) else f"\0{place}\0" for place, piece in enumerate(pieces)]
    _, scheme, path = "".join(marks).partition("://")
    directory, slash, _ = path.partition("?")[0].rpartition("/")
    named = [pieces[int(place)] for place in re.findall(r"\0(\d+)\0", path.partition("?")[0])]
    if not scheme or (not slash and any(isinstance(one, Variable) for one in named)):  # it may hold directories too
        return None
    if "\0" not in directory:
        return directory or (slash or ".")
    found = re.fullmatch(r"\0(\d+)\0", directory)
    piece = pieces[int(found[1])] if found else None
    return piece if isinstance(piece, Variable) else None


def _hidden(volume: FileVolume, manifest: Manifest) -> str:
    """Return what of the image nobody would see below a mounted volume; '' if nothing."""
    at = PurePosixPath(volume.path)
    if PurePosixPath(ESTATE).is_relative_to(at):
        return "the manifest"
    root = manifest.path.absolute().parent
    for database in manifest.databases:
        place = Path(database.directory).absolute()
        if place.is_relative_to(root) and PurePosixPath(ESTATE, place.relative_to(root)).is_relative_to(at):
            return f"the migrations of {database.id}"
    return ""
