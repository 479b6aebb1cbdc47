"""List the paths that belong to a project: its migrations and its rendered files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from orchestrator.manifest.for_each import files_of
from orchestrator.model import Database, Manifest
from orchestrator.render.settings import Settings
from orchestrator.render.targets import TARGETS


def directory_of(database: Database, manifest: Manifest) -> PurePosixPath | None:
    """Return the directory with the migrations as seen from the manifest; None if it lies outside of the project.

    What lies under migrations/ counts as a whole.
    """
    base = manifest.path.absolute().parent
    directory = Path(os.path.normpath(base / database.directory))
    if not directory.is_relative_to(base):
        return None
    inside = PurePosixPath(directory.relative_to(base).as_posix())
    return PurePosixPath("migrations") if inside.parts[:1] == ("migrations",) else inside


def member_files(manifest: Manifest) -> dict[str, bool]:
    """Return the files that members of fleets come from, as paths from the manifest, and whether they lie in the project."""
    places = {file: PurePosixPath(os.path.normpath(file)) for file in files_of(manifest.fleets)}
    return {str(place): not place.is_absolute() and ".." not in place.parts for place in places.values()}


def watched(manifest: Manifest, settings: Settings, everything: str, escape: Callable[[str], str]) -> list[str]:
    """Return patterns of all files that a pipeline checks.

    `everything` stands for all below a directory; `escape` makes a pattern that matches one path and no other.
    """
    found = {escape(manifest.path.name): None}
    directories = [directory_of(database, manifest) for database in manifest.databases]
    for directory in filter(None, directories):
        found[_below(escape(str(directory)), everything)] = None
    found |= {escape(file): None for file, inside in member_files(manifest).items() if inside}
    for target in settings.targets or TARGETS:
        place = PurePosixPath(os.path.normpath(settings.files[target]))
        if target == "k8s":
            found[_below(escape(str(place)), everything)] = None
        elif target == "init-sql":
            found[f"{escape(str(place.with_suffix('')))}*{escape(place.suffix)}"] = None
        else:
            found[escape(str(place)) + ("*" if target == "dockerfile" else "")] = None
    return list(found)


def _below(directory: str, everything: str) -> str:
    return everything if directory == "." else f"{directory}/{everything}"
