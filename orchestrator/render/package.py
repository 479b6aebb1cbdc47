"""The argument with which pip installs orch: from an index, a URL, or a path in the project."""

from __future__ import annotations

import re

from orchestrator.render.settings import Settings

_NAME = "dborch"
# The name is not on a package index yet. An archive, because an image without git can install it.
REPOSITORY = "https://github.com/dborch/dborch/archive/refs/heads/main.tar.gz"
_FILES = (".whl", ".tar.gz", ".zip")


def requirement(settings: Settings, extra: str = "") -> str:
    """Return the requirement, with an extra if one is asked for and those of the drivers; it is quoted where a shell reads it.

    Without `render: dockerfile: package` it is the newest orch of its repository.
    """
    given = " ".join(settings.package.split()) or f"{_NAME} @ {REPOSITORY}"
    extra = ",".join(filter(None, [extra, *settings.extras]))
    if not extra:
        return given
    if is_path(given):
        return f"{given}[{extra}]"
    if re.match(r"[a-z+]+://", given):
        return f"{_NAME}[{extra}] @ {given}"
    name, extras, rest = re.fullmatch(r"([\w.-]*)(?:\s*\[(.*?)\])?(.*)", given).groups()  # type: ignore[union-attr]
    return f"{name}[{','.join(filter(None, [extras, extra]))}]{rest}"


def is_path(package: str) -> bool:
    """Whether a package lies in the project, as a directory or a file."""
    before = package.partition("@")[0]
    return "://" not in package and (package.startswith(".") or "/" in before or package.endswith(_FILES))
