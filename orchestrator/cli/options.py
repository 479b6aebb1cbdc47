"""The options that several commands share."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container
from enum import StrEnum
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any

from orchestrator.cli.console import COLOURS, QUIET
from orchestrator.cli.parameters import Argument, Option

if TYPE_CHECKING:
    from orchestrator.model import Database


VERBOSE = "ORCH_VERBOSE"
"""The environment variable that stands for --verbose of commands that have no NOTICEs to show."""

LABELS_ONLY = "_ORCH_COMPLETE_LABELS"
"""The environment variable that is set while a shell completes the text after `label:`."""


class Output(StrEnum):
    """Formats of stdout."""

    text = "text"
    json = "json"


class RunsOn(StrEnum):
    """Where the databases of a run are migrated."""

    local = "local"
    dask = "dask"


class StreamOutput(StrEnum):
    """Formats of stdout for commands that run migrations."""

    text = "text"
    json = "json"
    jsonl = "jsonl"
    github = "github"
    gitlab = "gitlab"


class PlanOutput(StrEnum):
    """Formats of stdout for a plan."""

    text = "text"
    json = "json"
    github = "github"
    markdown = "markdown"


def finite(value: float | None) -> float | None:
    """Return the value of an option in seconds. Raise BadParameter for NaN and infinity, which no range excludes."""
    if value is not None and not isfinite(value):
        import typer

        raise typer.BadParameter(f"{value} is not a finite number of seconds")
    return value


def complete_name(ctx: Any, incomplete: str) -> list[str]:
    """Complete the name of a database, or its id where several databases have the same name."""
    databases = _declared(ctx)
    names = Counter(database.name for database in databases)
    short = [database.name if names[database.name] == 1 else database.id for database in databases]
    found = [name for name in short if name.startswith(incomplete)]
    return found or [database.id for database in databases]


def complete_pattern(ctx: Any, incomplete: str) -> list[str]:
    """Complete a name or a label (`label:NAME`)."""
    labels = dict.fromkeys(label for database in _declared(ctx) for label in database.labels)
    if LABELS_ONLY in os.environ:
        return list(labels)
    return [*complete_name(ctx, incomplete), *(f"label:{label}" for label in labels)]


def _declared(ctx: Any) -> tuple[Database, ...]:
    """Return the databases of the manifest, or none if it cannot be read: completion must not print errors."""
    from pathlib import Path

    from orchestrator.errors import OrchError
    from orchestrator.manifest.load import find_manifest, load

    try:
        return load(find_manifest(ctx.params.get("file"), os.environ, Path.cwd()), directories=False).databases
    except (OrchError, OSError):
        return ()


File = Annotated[
    str | None,
    Option(
        "--file",
        "-f",
        metavar="PATH",
        help="The manifest. Default: ORCH_FILE, or the nearest databases.yaml in this or a parent directory.",
    ),
]
EnvFile = Annotated[
    str | None,
    Option(
        "--env-file",
        metavar="PATH",
        help="Read environment variables from this dotenv file. Default: ORCH_ENV_FILE, or .env beside the manifest.",
    ),
]


def of_every_command(taken: Container[str]) -> list[Any]:
    """Return the options of every command; `taken` are the names of those that a command has itself."""
    import typer
    import typer.core

    def keep(variable: str) -> Any:
        def callback(_context: Any, _parameter: Any, wanted: bool) -> None:
            if wanted:
                os.environ[variable] = "1"

        return callback

    def choose_colours(_context: Any, _parameter: Any, when: str | None) -> None:
        if when is not None and when not in ("auto", "always", "never"):
            raise typer.BadParameter(f"{when!r} is not auto, always or never")
        if when is not None:
            os.environ[COLOURS] = when

    color = typer.core.TyperOption(
        param_decls=["--color"],
        metavar="WHEN",
        callback=choose_colours,
        help="Show colours: auto, always or never. auto: on a terminal, unless NO_COLOR is set.",
        expose_value=False,
        is_eager=True,
    )
    quiet = typer.core.TyperOption(
        param_decls=["--quiet", "-q"],
        is_flag=True,
        callback=keep(QUIET),
        help="Show only errors, warnings and questions on stderr.",
        expose_value=False,
        is_eager=True,
    )
    verbose = typer.core.TyperOption(
        param_decls=["--verbose", "-v"],
        is_flag=True,
        callback=keep(VERBOSE),
        help="Also show which manifest was used, and how long it took.",
        expose_value=False,
        is_eager=True,
    )
    return [color, quiet] if "verbose" in taken else [verbose, color, quiet]


def no_env_file() -> Any:
    """Return the option --no-env-file, which every command with --env-file has."""
    import typer.core

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
    Option(
        "--only",
        metavar="NAME",
        help="Select this database and what it depends on: a name, a glob, label:NAME or group:NAME. Repeatable.",
        autocompletion=complete_pattern,
    ),
]
Exclude = Annotated[
    list[str] | None,
    Option(
        "--exclude",
        metavar="NAME",
        help="Exclude these databases: a name, a glob, label:NAME or group:NAME. Repeatable.",
        autocompletion=complete_pattern,
    ),
]
Names = Annotated[
    list[str] | None,
    Argument(
        metavar="[NAME]...",
        help="The databases: names, globs, label:NAME or group:NAME. Default: all.",
        autocompletion=complete_pattern,
    ),
]
Name = Annotated[str, Argument(metavar="NAME", help="The database.", autocompletion=complete_name)]
NoDeps = Annotated[bool, Option("--no-deps", help="With --only: exclude the dependencies of the selected databases.")]
NoCreate = Annotated[
    bool,
    Option("--no-create", help="Fail if a database does not exist, as `create: never` in the manifest does."),
]
AllowOutOfOrder = Annotated[
    bool,
    Option("--allow-out-of-order", help="In this run, apply pending migrations below the current version too."),
]
Jobs = Annotated[int, Option("--jobs", min=1, metavar="N", help="Work on at most N databases at the same time.")]
JobsPerServer = Annotated[
    int | None,
    Option(
        "--jobs-per-server",
        min=1,
        metavar="N",
        help="Work on at most N databases of one server at the same time. Default: 8; MySQL: 4; SQLite: 16.",
    ),
]
Wait = Annotated[
    float,
    Option(
        "--wait",
        min=0,
        callback=finite,
        metavar="SECONDS",
        help="Wait up to SECONDS for servers that are still starting.",
    ),
]
LockTimeout = Annotated[
    float | None,
    Option(
        "--lock-timeout",
        min=0,
        callback=finite,
        metavar="SECONDS",
        help="Wait up to SECONDS for a migration lock that another run holds. Default: 60.",
    ),
]
Embedded = Annotated[bool, Option("--embedded", help="Use the embedded servers (orch dev) instead of the DSNs.")]
OutputOption = Annotated[Output, Option("--output", help="Format of stdout.")]
StreamOption = Annotated[
    StreamOutput,
    Option(
        "--output",
        help="Format of stdout. jsonl: the event stream. github: annotations, job summary and step outputs. "
        "gitlab: JUnit and code quality reports.",
    ),
]
Verbose = Annotated[bool, Option("--verbose", "-v", help="Also show NOTICE and INFO messages of the server.")]
Engine = Annotated[
    RunsOn,
    Option("--engine", help="Migrate the databases in this process, or on the workers of a Dask cluster."),
]
Scheduler = Annotated[
    str | None, Option("--scheduler", metavar="ADDRESS", help="The Dask scheduler, as tcp://host:8786.")
]
ShowTimings = Annotated[bool, Option("--timings", help="At the end, show on stderr where the time went.")]
Prometheus = Annotated[
    str | None,
    Option("--prometheus", metavar="FILE", help="Also write metrics to FILE, for Prometheus's textfile collector."),
]
JUnit = Annotated[str | None, Option("--junit", metavar="FILE", help="Also write a JUnit report to FILE.")]
