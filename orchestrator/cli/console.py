"""Output for people: stdout for data, stderr for everything else, colours only on a terminal that supports them."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any, TextIO

from orchestrator.cli.streams import put, tell
from orchestrator.events import Failure
from orchestrator.hints import Command, Hint
from orchestrator.phrases import some

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


def paint_dangers(plan: str, stream: TextIO) -> str:
    """Return the text of a plan in which what to look at first is seen."""
    return "\n".join(
        paint(line, "yellow", stream) if line.lstrip().startswith("! ") else line for line in plan.splitlines()
    )


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


def out_secret(text: str) -> None:
    """Write a text to stdout that may hold a secret, because a person asked for just that."""
    put(text + "\n", secret=True)


def out_json(document: Any) -> None:
    """Write one JSON document to stdout."""
    from orchestrator.views.document import json_text

    put(json_text(document, indent=2) + "\n")


def say(text: str) -> None:
    """Write a line for people to stderr. Whether anybody reads it changes nothing of what is done."""
    tell(_for_people(text, sys.stderr) + "\n")


def pasteable(text: str) -> str:
    """Return a text; of a hint, every command in it carries this call's --file, --env-file and --embedded."""
    return text.text(_carried) if isinstance(text, Hint) and _given() else text


_CARRIED = {"-f": "file", "--file": "file", "--env-file": "env_file", "--embedded": "embedded"}


def _given() -> dict[str, list[str]]:
    """Return parameter → words, of what the call says about where things are."""
    given: dict[str, list[str]] = {}
    words = iter(sys.argv[1:])
    for word in words:
        option, equals, value = word.partition("=")
        if option in _CARRIED:
            argument = [] if option == "--embedded" else [value if equals else next(words, "")]
            given[_CARRIED[option]] = [option, *argument]
    return given


def _carried(command: Command) -> list[str]:
    """Return the options of this call that the command takes and does not have yet."""
    if command.argv[-1:] == ("--help",):
        return []
    first, *more = command.names
    module = import_module(f"orchestrator.cli.commands.{first.replace('-', '_')}")
    takes = inspect.signature(getattr(module, more[0] if more else "command")).parameters
    has = {_CARRIED.get(word) for word in command.argv}
    return [word for name, words in _given().items() if name in takes and name not in has for word in words]


def confirmed(question: str) -> bool:
    """Ask a person on the terminal; only the whole word is a yes. `question` says what is done then."""
    import typer

    answer: str = typer.prompt(f"Type 'yes' {question}", default="", show_default=False, err=True)
    return answer.strip().lower() == "yes"


def say_failures(failures: Iterable[tuple[str, Failure]]) -> None:
    """Show the errors of databases; those that several share (a server that is down) once."""
    from orchestrator.views.failures import shared

    for databases, failure in shared(failures):
        say_failure(failure, *databases)


def say_failure(failure: Failure, *databases: str) -> None:
    """Show an error: what and where, the databases that it hits, the facts, and the next thing to do."""
    place = f"{failure.where}: " if failure.where else ""
    alone = databases[0] if len(databases) == 1 else ""
    owner = f"{alone}: " if not failure.what.startswith(alone) else ""
    say(f"{paint('error:', 'red', sys.stderr)} {place}{owner}{failure.what}")
    if len(databases) > 1:
        say(f"  {len(databases)} databases: {some(databases)}")
    for line in failure.detail.splitlines():
        say(f"  {line}")
    for line in pasteable(failure.hint).splitlines():
        say(f"  {paint('hint:', 'blue', sys.stderr)} {line}")
