"""What reaches a person: stdout for data, stderr for everything else, colour only on a terminal that wants it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, TextIO

from orchestrator.events import Failure

_CODES = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "bold": "1", "dim": "2"}


def is_terminal(stream: TextIO) -> bool:
    """Whether a person watches this stream; never in CI."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


def paint(text: str, colour: str, stream: TextIO) -> str:
    """Return the text in a colour, where the stream shows colours and NO_COLOR is not set."""
    if os.environ.get("NO_COLOR") or not is_terminal(stream):
        return text
    return f"\033[{_CODES[colour]}m{text}\033[0m"


def out(text: str) -> None:
    """Write data to stdout."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def _for_log(text: str) -> str:
    """Return a text for people; in a log that GitHub's runner reads, one in which it finds no commands."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return text
    from orchestrator.views.github import harmless

    return harmless(text)


def out_json(document: Any) -> None:
    """Write one JSON document to stdout."""
    out(json.dumps(document, indent=2, ensure_ascii=False))


def say(text: str) -> None:
    """Write a line for people to stderr. Whether anybody reads it changes nothing of what is done."""
    with suppress(OSError):
        sys.stderr.write(_for_log(text) + "\n")
        sys.stderr.flush()


def say_failures(failures: Iterable[tuple[str, Failure]]) -> None:
    """Show the errors of databases; those that several share (a server that is down) once."""
    owners: dict[Failure, list[str]] = {}
    for database, failure in failures:
        owners.setdefault(failure, []).append(database)
    for failure, databases in owners.items():
        more = f" and {len(databases) - 5} more" if len(databases) > 5 else ""
        say_failure(failure, ", ".join(databases[:5]) + more)


def say_failure(failure: Failure, database: str = "") -> None:
    """Show an error: what and where, the facts, and the next thing to do."""
    place = f"{failure.where}: " if failure.where else ""
    owner = f"{database}: " if database and not failure.what.startswith(database) else ""
    say(f"{paint('error:', 'red', sys.stderr)} {place}{owner}{failure.what}")
    for line in failure.detail.splitlines():
        say(f"  {line}")
    if failure.hint:
        say(f"  {paint('hint:', 'blue', sys.stderr)} {failure.hint}")
