"""The options that several commands share, spelled once."""

from __future__ import annotations

import os
from collections import Counter
from enum import StrEnum
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

if TYPE_CHECKING:
    from orchestrator.model import Database


LABELS_ONLY = "_ORCH_COMPLETE_LABELS"
"""Set while a shell completes what follows `label:`."""


class Output(StrEnum):
    """What stdout holds."""

    text = "text"
    json = "json"


class StreamOutput(StrEnum):
    """What stdout holds, for a command that takes a while."""

    text = "text"
    json = "json"
    jsonl = "jsonl"
    github = "github"
    gitlab = "gitlab"


class PlanOutput(StrEnum):
    """What stdout holds, for a plan."""

    text = "text"
    json = "json"
    github = "github"
    markdown = "markdown"


def finite(value: float | None) -> float | None:
    """Return the value of an option in seconds; usage error for NaN and infinity, which no range refuses."""
    if value is not None and not isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number of seconds")
    return value


def complete_name(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return what may stand for a database, for the shell: its name, or its id where others have the same name."""
    databases = _declared(ctx)
    names = Counter(database.name for database in databases)
    short = [database.name if names[database.name] == 1 else database.id for database in databases]
    found = [name for name in short if name.startswith(incomplete)]
    return found or [database.id for database in databases]


def complete_pattern(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return what may select databases, for the shell: names, and labels as `label:x`."""
    labels = dict.fromkeys(label for database in _declared(ctx) for label in database.labels)
    if LABELS_ONLY in os.environ:
        return list(labels)
    return [*complete_name(ctx, incomplete), *(f"label:{label}" for label in labels)]


def _declared(ctx: typer.Context) -> tuple[Database, ...]:
    """Return the databases of the manifest; none if it cannot be read, for nothing may disturb who is typing."""
    from pathlib import Path

    from orchestrator.errors import OrchError
    from orchestrator.manifest.load import find_manifest, load

    try:
        return load(find_manifest(ctx.params.get("file"), os.environ, Path.cwd()), directories=False).databases
    except (OrchError, OSError):
        return ()


File = Annotated[
    str | None,
    typer.Option(
        "--file", "-f", metavar="PATH", help="The manifest. Default: ORCH_FILE, or databases.yaml found upward."
    ),
]
EnvFile = Annotated[
    str | None,
    typer.Option(
        "--env-file",
        metavar="PATH",
        help="Read variables from a dotenv file. Default: ORCH_ENV_FILE, or .env beside the manifest.",
    ),
]


def no_env_file() -> Any:
    """Return the option that every command with --env-file has too: no dotenv file is read."""

    def choose_none(_context: Any, _parameter: Any, wanted: bool) -> None:
        if wanted:
            from orchestrator.manifest.variables import CHOOSES_FILE

            os.environ[CHOOSES_FILE] = ""

    return typer.core.TyperOption(
        param_decls=["--no-env-file"],
        is_flag=True,
        expose_value=False,
        callback=choose_none,
        help="Read no dotenv file.",
    )


Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="NAME",
        help="This database and what it depends on. Repeatable; globs; label:x.",
        autocompletion=complete_pattern,
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="NAME",
        help="Leave these out. Repeatable; globs; label:x.",
        autocompletion=complete_pattern,
    ),
]
Name = Annotated[str, typer.Argument(help="The database.", autocompletion=complete_name)]
NoDeps = Annotated[bool, typer.Option("--no-deps", help="With --only: exactly those, not what they depend on.")]
NoCreate = Annotated[
    bool,
    typer.Option("--no-create", help="Fail for a database that is missing, as `create: never` in the manifest does."),
]
AllowOutOfOrder = Annotated[
    bool,
    typer.Option(
        "--allow-out-of-order", help="This once, run pending migrations that are older than one already applied."
    ),
]
Jobs = Annotated[int, typer.Option("--jobs", min=1, metavar="N", help="Databases at the same time.")]
JobsPerServer = Annotated[
    int, typer.Option("--jobs-per-server", min=1, metavar="N", help="Databases at the same time on one server.")
]
Wait = Annotated[
    float,
    typer.Option(
        "--wait", min=0, callback=finite, metavar="SECONDS", help="Wait so long for servers that are still starting."
    ),
]
LockTimeout = Annotated[
    float | None,
    typer.Option(
        "--lock-timeout", min=0, callback=finite, metavar="SECONDS", help="Wait so long for another run's lock."
    ),
]
Embedded = Annotated[bool, typer.Option("--embedded", help="Use the embedded servers (orch dev) instead of the DSNs.")]
OutputOption = Annotated[Output, typer.Option("--output", help="Format of stdout.")]
StreamOption = Annotated[
    StreamOutput,
    typer.Option(
        "--output",
        help="Format of stdout; jsonl is the event stream, github annotations, summary and step outputs, "
        "gitlab JUnit and code quality files.",
    ),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Show also what the server says below a WARNING: NOTICE and INFO.")
]
JUnit = Annotated[str | None, typer.Option("--junit", metavar="FILE", help="Write a JUnit report too.")]
