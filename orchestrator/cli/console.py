"""What reaches a person: stdout for data, stderr for everything else, colour only on a terminal that wants it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from orchestrator.cli.streams import put, tell
from orchestrator.events import Failure

_CODES = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "bold": "1", "dim": "2"}
# A terminal obeys these, whoever wrote them; a runner takes a line that begins after a bare \r for one of its own.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_CONTROL_BUT_PAINT = re.compile(rf"(?!\x1b\[(?:0|{'|'.join(_CODES.values())})m){_CONTROL.pattern}")


def is_terminal(stream: TextIO) -> bool:
    """Whether a person watches this stream; never in CI."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


def paint(text: str, colour: str, stream: TextIO) -> str:
    """Return the text in a colour, where the stream shows colours and NO_COLOR is not set."""
    return f"\033[{_CODES[colour]}m{text}\033[0m" if _painted(stream) else text


def _painted(stream: TextIO) -> bool:
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def readable(text: str, *, painted: bool = False) -> str:
    """Return a text in which control characters from elsewhere are written out (`\\x1b`), so that nobody obeys them."""
    control = _CONTROL_BUT_PAINT if painted else _CONTROL
    return control.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _for_people(text: str, stream: TextIO) -> str:
    """Return a text for a terminal or a log; for GitHub's runner, one in which it finds no commands."""
    text = readable(text, painted=_painted(stream))
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return text
    from orchestrator.views.github import harmless

    return harmless(text)


def out(text: str) -> None:
    """Write a text to stdout."""
    put(_for_people(text if text.endswith("\n") else text + "\n", sys.stdout))


def out_json(document: Any) -> None:
    """Write one JSON document to stdout."""
    from orchestrator.views.document import json_text

    put(json_text(document, indent=2) + "\n")


def say(text: str) -> None:
    """Write a line for people to stderr. Whether anybody reads it changes nothing of what is done."""
    tell(_for_people(text, sys.stderr) + "\n")


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
