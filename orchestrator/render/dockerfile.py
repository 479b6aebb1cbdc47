"""A `Dockerfile` for an image with `orch`, the manifest and the migrations; small, pinned, for an ordinary user."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import PurePosixPath

from orchestrator.errors import InvalidError
from orchestrator.model import Manifest, Mark
from orchestrator.render.jobs import USER
from orchestrator.render.package import is_path, requirement
from orchestrator.render.settings import Settings
from orchestrator.render.sources import directory_of
from orchestrator.render.text import header

_TEXT = """\
FROM {base} AS build
{install}

FROM {base}
COPY --from=build /opt/orch /opt/orch
ENV PATH=/opt/orch/bin:$PATH PYTHONUNBUFFERED=1 ORCH_FILE=/estate/{manifest}
WORKDIR /estate
{copies}
USER {user}:{user}
ENTRYPOINT ["orch"]
CMD ["apply"]
"""
_INSTALL = "RUN python -m venv /opt/orch && /opt/orch/bin/pip install --no-cache-dir {package}"
_SOURCES = ("pyproject.toml", "README.md", "LICENSE", "orchestrator")


def render(manifest: Manifest, settings: Settings) -> dict[str, str]:
    """Return the Dockerfile, and a list beside it of what the build may see: secrets lie about in a project."""
    if not manifest.databases:
        return {}
    install, sources = _install(manifest, settings)
    directories = _directories(manifest)
    top = header("dockerfile", manifest)
    text = _TEXT.format(
        base=settings.base_image,
        install=install,
        manifest=manifest.path.name,
        copies="\n".join(_copy(path, f"./{path}") for path in [manifest.path.name, *directories]),
        user=USER,
    )
    seen = [manifest.path.name, *directories, *sources]
    path = settings.files["dockerfile"]
    ignore = "".join(f"{line}\n" for line in ["*", *(f"!{name}" for name in seen), "**/__pycache__"])
    return {path: top + text, f"{path}.dockerignore": top + ignore}


def _install(manifest: Manifest, settings: Settings) -> tuple[str, list[str]]:
    """Return the instructions that install orch, and the paths of the project that they take it from."""
    package = requirement(settings)
    if not is_path(package):
        return _INSTALL.format(package=shlex.quote(package)), []
    place = PurePosixPath(os.path.normpath(package))
    if place.is_absolute() or ".." in place.parts:
        raise InvalidError(
            f"'render: dockerfile: package' lies outside of the project, where an image cannot take it from: {package}",
            where=Mark(manifest.path.name),
        )
    if str(place) == ".":  # the directory of orch itself
        *files, code = _SOURCES
        copies = f"COPY {' '.join(files)} /source/\nCOPY {code} /source/{code}"
        return f"{copies}\n{_INSTALL.format(package='/source')}", list(_SOURCES)
    there = f"/source/{place.name}"
    return f"{_copy(str(place), there)}\n{_INSTALL.format(package=shlex.quote(there))}", [str(place)]


def _copy(path: str, there: str) -> str:
    plain = re.fullmatch(r"[\w./-]+", path)
    return f"COPY {path} {there}" if plain else f"COPY {json.dumps([path, there], ensure_ascii=False)}"


def _directories(manifest: Manifest) -> list[str]:
    """Return the directories to copy."""
    found: dict[str, None] = {}
    for database in manifest.databases:
        directory = directory_of(database, manifest)
        if directory is None or not directory.parts:
            place = "lie outside of the project, where an image cannot take them from"
            if directory is not None:
                place = "are in the directory of the project itself, which an image must not take as a whole"
            raise InvalidError(
                f"the migrations of {database.id} {place}",
                where=database.mark,
                hint="move them into a directory of their own in the project",
            )
        found[str(directory)] = None
    return list(found)
