"""A `Dockerfile` for an image with `orch`, the manifest and the migrations; small, pinned, for an ordinary user."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from orchestrator import __version__
from orchestrator.errors import InvalidError
from orchestrator.model import Manifest
from orchestrator.render.jobs import USER
from orchestrator.render.settings import Settings
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
_FROM_INDEX = "RUN python -m venv /opt/orch && /opt/orch/bin/pip install --no-cache-dir {package}"
_FROM_HERE = """\
COPY {sources} /source/
COPY orchestrator /source/orchestrator
RUN python -m venv /opt/orch && /opt/orch/bin/pip install --no-cache-dir /source"""
_SOURCES = ("pyproject.toml", "README.md", "LICENSE")


def render(manifest: Manifest, settings: Settings) -> dict[str, str]:
    """Return the Dockerfile, and a list beside it of what the build may see: secrets lie about in a project."""
    if not manifest.databases:
        return {}
    here = settings.package == "."
    package = settings.package or f"dborch=={__version__}"
    install = _FROM_HERE.format(sources=" ".join(_SOURCES)) if here else _FROM_INDEX.format(package=package)
    directories = _directories(manifest)
    top = header("dockerfile", manifest.path.name)
    text = _TEXT.format(
        base=settings.base_image,
        install=install,
        manifest=manifest.path.name,
        copies="\n".join(map(_copy, [manifest.path.name, *directories])),
        user=USER,
    )
    seen = [manifest.path.name, *directories, *((*_SOURCES, "orchestrator") if here else ())]
    path = settings.files["dockerfile"]
    ignore = "".join(f"{line}\n" for line in ["*", *(f"!{name}" for name in seen), "**/__pycache__"])
    return {path: top + text, f"{path}.dockerignore": top + ignore}


def _copy(path: str) -> str:
    plain = re.fullmatch(r"[\w./-]+", path)
    return f"COPY {path} ./{path}" if plain else f"COPY {json.dumps([path, f'./{path}'], ensure_ascii=False)}"


def _directories(manifest: Manifest) -> list[str]:
    """Return the directories to copy: what lies under migrations/ comes as a whole."""
    base = manifest.path.absolute().parent
    found: dict[str, None] = {}
    for database in manifest.databases:
        directory = Path(os.path.normpath(database.directory))
        if not directory.is_relative_to(base):
            raise InvalidError(
                f"the migrations of {database.id} lie outside of the project, where an image cannot take them from",
                where=database.mark,
            )
        inside = directory.relative_to(base)
        found[inside.parts[0] if inside.parts[0] == "migrations" else inside.as_posix()] = None
    return list(found)
