"""What use cases share that write files of a project: its manifest as text and as data, and the changes to make."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import InvalidError
from orchestrator.files.changes import Change, change, commit
from orchestrator.hints import Command, Hint
from orchestrator.model import Database, Manifest

_BOM = "\ufeff"


@dataclass(frozen=True)
class Project:
    """A manifest and the directory that it is in. `manifest` has no databases where none is declared yet."""

    path: Path
    text: str
    manifest: Manifest
    values: Mapping[str, Any]

    @property
    def root(self) -> Path:
        """The directory of the manifest; nothing outside of it is written."""
        return self.path.parent

    def holds(self, path: Path) -> bool:
        """Whether a path lies in the project, as it is written."""
        return Path(os.path.normpath(path)).is_relative_to(self.root)

    def with_text(self, text: str) -> Project:
        """Return the project as it will be with another text in its manifest; InvalidError if that is not valid."""
        return _project(self.path, text)

    def manifest_change(self, text: str) -> Change | None:
        """Return the change to the manifest's file; a byte order mark stays."""
        bom = _BOM if self.path.read_bytes().startswith(_BOM.encode()) else ""
        return change(self.path, (bom + text).encode())

    def render_changes(self) -> list[Change]:
        """Return what brings every rendered file up to date that this project declares, or else has."""
        from orchestrator.render.settings import settings_of
        from orchestrator.render.targets import present, stale

        settings = settings_of(self.manifest)
        return stale(settings.targets or present(settings, self.root), self.manifest, settings, self.root)


def open_project(file: str | None) -> Project:
    """Find and read the manifest; one without any database is fine, anything else that is wrong is InvalidError."""
    from orchestrator.manifest.load import find_manifest
    from orchestrator.manifest.source import read_text

    path = find_manifest(file, os.environ, Path.cwd()).absolute()
    return _project(path, read_text(path))


def _project(path: Path, text: str) -> Project:
    from orchestrator.errors import InvalidGroup
    from orchestrator.manifest.load import load
    from orchestrator.manifest.source import parse_yaml, shown

    source = parse_yaml(text, shown(path))
    InvalidGroup.raise_if(source.errors)
    if not isinstance(source.value, dict):
        raise InvalidError(f"{shown(path)} is not a manifest", hint=Hint(Command("init"), " writes a first one"))
    if source.value.get("databases"):
        manifest = load(path, directories=False, text=text)
    else:
        manifest = Manifest(path, (), render=source.value.get("render") or {})
    return Project(path, text, manifest, source.value)


@dataclass(frozen=True)
class Changes:
    """Changes to the files of a project that are not made yet: all of them are made, or none.

    `root` is the directory that they stay in, `following` what to do after them, and `notes` what a person should know.
    """

    wanted: tuple[Change, ...]
    root: Path
    following: Hint
    notes: tuple[str, ...] = ()

    def diff(self) -> str:
        """Return what would change, as a diff."""
        return "".join(one.diff(one.path.relative_to(self.root).as_posix()) for one in self.wanted)

    def commit(self) -> None:
        """Make the changes together; OrchError if one cannot be made, and then none is."""
        commit(self.wanted, self.root)


def changes(found: Iterable[Change | None], root: Path, following: Hint, notes: Iterable[str] = ()) -> Changes:
    """Return changes without those that change nothing."""
    return Changes(tuple(one for one in found if one is not None), root, following, tuple(notes))


def renamed_notes(before: Project, after: Project) -> list[str]:
    """Return which other databases get another name in a cluster, because a name is now used twice, or no longer is."""
    from orchestrator.render.jobs import renamed
    from orchestrator.render.settings import settings_of
    from orchestrator.render.targets import present

    settings = settings_of(after.manifest)
    if not {"k8s", "argo"} & {*(settings.targets or present(settings, after.root))}:
        return []
    return [
        f"{id} has another name in a cluster now: {job}, with its DSN in the Secret {new} (before: {old})."
        for id, (job, old, new) in renamed(before.manifest, after.manifest, settings).items()
    ]


def quoted(*words: str) -> str:
    """Return words as a person types them in a shell."""
    return shlex.join(words)


def the_new(before: Project, after: Project) -> Database:
    """Return the database that one manifest has and the other has not."""
    known = {database.id for database in before.manifest.databases}
    return next(database for database in after.manifest.databases if database.id not in known)
