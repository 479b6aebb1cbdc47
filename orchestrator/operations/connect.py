"""Where one database is, for a person who wants to look into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import NoReturn

from orchestrator.engines import dialect
from orchestrator.engines.url import DsnError
from orchestrator.errors import UsageError
from orchestrator.model import Target
from orchestrator.operations.load import assemble


def target_of(name: str, file: str | None, env_file: str | None, *, embedded: bool) -> Target:
    """Return where a database is, with its secrets. Nothing is connected to, and no migration file is read.

    UsageError if the name means several; InvalidError for a DSN that cannot be resolved.
    """
    assembly = assemble(file, env_file, [name], None, no_deps=True)
    if len(assembly.databases) != 1:
        raise UsageError(f"'{name}' names {len(assembly.databases)} databases", hint="name one")
    (target,) = assembly.targets(embedded=embedded).values()
    return target


def open_shell(target: Target, arguments: Sequence[str]) -> NoReturn:
    """Become the engine's own client, connected to this database; `arguments` are added to its own.

    UsageError if the engine has no client, or it is not installed.
    """
    known = dialect(target.engine)
    if known.shell is None:
        raise UsageError(f"orch knows no client program of {known.title}")
    try:
        call = known.shell(target.url.reveal())
    except DsnError as fault:
        raise UsageError(f"{target.database_id}: {fault.what}") from None
    path = shutil.which(call.program)
    if path is None:
        raise UsageError(
            f"there is no {call.program} on this machine", hint=f"install it: its package is {call.package}"
        )
    try:
        os.execve(path, [call.program, *call.arguments, *arguments], {**os.environ, **call.environment})  # noqa: S606 - a program by its path needs no shell
    except OSError as error:
        raise UsageError(f"{path} cannot be started: {error.strerror}") from None
