"""A `Dockerfile` for an image with `orch`, the manifest and the migrations; small, pinned, for an ordinary user."""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import replace
from pathlib import PurePosixPath

from orchestrator.errors import InvalidError
from orchestrator.model import Manifest, Mark
from orchestrator.render.jobs import USER
from orchestrator.render.package import is_path, requirement
from orchestrator.render.servers import servers_of
from orchestrator.render.settings import Settings
from orchestrator.render.sources import directory_of, member_files
from orchestrator.render.text import header
from orchestrator.render.volumes import ESTATE, volumes_of

# Pip installs into an environment without pip, and then leaves the image: nothing can be installed into a container.
_TEXT = """\
# The same base for every build: --build-arg BASE={base}@sha256:... (docker buildx imagetools inspect {base})
ARG BASE={base}
FROM ${{BASE}} AS build
{install}

FROM ${{BASE}}
ARG BASE
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="database-migration" \\
      org.opencontainers.image.description="orch with a manifest and its migrations" \\
      org.opencontainers.image.version="$VERSION" \\
      org.opencontainers.image.revision="$REVISION" \\
      org.opencontainers.image.base.name="$BASE"
RUN python -m pip uninstall --yes pip
COPY --from=build /opt/orch /opt/orch
ENV PATH=/opt/orch/bin:$PATH PYTHONUNBUFFERED=1 ORCH_FILE={manifest}
WORKDIR {estate}
{copies}
USER {user}:{user}
ENTRYPOINT ["orch"]
CMD ["apply"]
"""
_PIP = "python -m pip --python /opt/orch/bin/python"
_INSTALL = f"RUN python -m venv --without-pip /opt/orch && {_PIP} install --no-cache-dir {{package}}"
_LOCKED = f"""\
RUN python -m venv --without-pip /opt/orch && {_PIP} install --no-cache-dir --require-hashes -r {{requirements}}
{{copies}}RUN {_PIP} install --no-cache-dir --no-deps {{package}} && {_PIP} check"""
_SOURCES = ("pyproject.toml", "README.md", "LICENSE", "orchestrator")


def render(manifest: Manifest, settings: Settings) -> dict[str, str]:
    """Return the Dockerfile and its .dockerignore, which lets the build see only what it needs: a project may hold secrets."""
    if not manifest.databases:
        return {}
    install, sources = _install(manifest, settings)
    taken = [*_directories(manifest), *_member_files(manifest)]
    top = header("dockerfile", manifest)
    text = _TEXT.format(
        base=settings.base_image,
        install=install,
        manifest=_word(f"{ESTATE}/{manifest.path.name}"),
        estate=ESTATE,
        copies="\n".join([*(_copy(path, f"./{path}") for path in [manifest.path.name, *taken]), *_for_files(manifest)]),
        user=USER,
    )
    seen = [manifest.path.name, *taken, *sources]
    for name in seen:
        _refuse_signs(name, manifest)
    path = settings.files["dockerfile"]
    ignore = "".join(f"{line}\n" for line in ["*", *(f"!{name}" for name in seen), "**/__pycache__"])
    return {path: top + text, f"{path}.dockerignore": top + ignore}


def _install(manifest: Manifest, settings: Settings) -> tuple[str, list[str]]:
    """Return the instructions that install orch, and the paths of the project that they take it from."""
    package = requirement(replace(settings, extras=()) if is_path(settings.package) else settings)
    there, copies, sources = package, "", list[str]()
    if is_path(package):
        place = _inside(package, "package", manifest)
        if str(place) == ".":  # the directory of orch itself
            *files, code = _SOURCES
            there, sources = "/source", list(_SOURCES)
            copies = f"COPY {' '.join(files)} /source/\nCOPY {code} /source/{code}\n"
        else:
            there, sources = f"/source/{place.name}", [str(place)]
            copies = f"{_copy(str(place), there)}\n"
    if is_path(package) and settings.extras:
        there += f"[{','.join(settings.extras)}]"
    if not settings.requirements:
        return copies + _INSTALL.format(package=shlex.quote(there)), sources
    lock = _inside(settings.requirements, "requirements", manifest)
    held = f"/locked/{lock.name}"
    text = _LOCKED.format(requirements=shlex.quote(held), copies=copies, package=shlex.quote(there))
    return f"{_copy(str(lock), held)}\n{text}", [str(lock), *sources]


def _member_files(manifest: Manifest) -> list[str]:
    """Return the files that members of fleets come from; InvalidError for one that lies outside of the project."""
    found = member_files(manifest)
    for file, inside in found.items():
        if not inside:
            raise InvalidError(
                f"the file {file!r} with members lies outside of the project, where an image cannot take it from",
                where=Mark(manifest.path.name),
                hint="move it into the project",
            )
    return list(found)


def _for_files(manifest: Manifest) -> list[str]:
    """Return an instruction for each directory of databases that are files: a new volume there belongs to our user too."""
    return [
        f"RUN install -d -o {USER} -g {USER} {shlex.quote(volume.path)}" for volume in volumes_of(servers_of(manifest))
    ]


def _inside(path: str, key: str, manifest: Manifest) -> PurePosixPath:
    """Return a path of the project; InvalidError for one that lies outside."""
    place = PurePosixPath(os.path.normpath(path))
    if place.is_absolute() or ".." in place.parts:
        raise InvalidError(
            f"'render: dockerfile: {key}' lies outside of the project, where an image cannot take it from: {path}",
            where=Mark(manifest.path.name),
        )
    return place


def _refuse_signs(path: str, manifest: Manifest) -> None:
    """Raise InvalidError for a path that a Dockerfile would read as a pattern, or in which it would replace variables."""
    if found := re.search(r"[$*?\[\]\\\"\x00-\x1f]|^[#!]|^\s|\s\Z", path):
        raise InvalidError(
            f"a Dockerfile does not read the path {path!r} as it is, because of {found[0]!r}",
            where=Mark(manifest.path.name),
            hint="rename it, or leave out this target",
        )


def _word(text: str) -> str:
    """Return a text as one word of an ENV instruction."""
    return text if re.fullmatch(r"[\w./-]+", text) else json.dumps(text, ensure_ascii=False)


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
