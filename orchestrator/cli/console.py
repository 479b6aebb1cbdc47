"""Output for people: stdout for data, stderr for everything else, colours only on a terminal that supports them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from typing import Any, TextIO

from orchestrator.cli.streams import put, tell, without_secrets
from orchestrator.events import Failure
from orchestrator.hints import Command, Hint
from orchestrator.patterns import regex
from orchestrator.phrases import some

_CODES = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "bold": "1", "dim": "2"}
# A terminal obeys these, whoever wrote them; a runner takes a line that begins after a bare \r for one of its own.
_SORT = "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]"
_CONTROL = regex(_SORT)
_CONTROL_BUT_PAINT = regex(rf"(?!\x1b\[(?:0|{'|'.join(_CODES.values())})m){_SORT}")


def is_terminal(stream: TextIO) -> bool:
    """Whether a person watches this stream; never in CI."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")


COLOURS = "ORCH_COLOR"
"""The environment variable that stands for --color: always, never or auto."""


def paint(text: str, colour: str, stream: TextIO) -> str:
    """Return the text in a colour, where the stream shows colours."""
    return f"\033[{_CODES[colour]}m{text}\033[0m" if is_painted(stream) else text


def is_painted(stream: TextIO) -> bool:
    """Whether colours are shown: as --color says, else on a terminal unless NO_COLOR is set."""
    wanted = os.environ.get(COLOURS, "")
    if wanted in ("always", "never"):
        return wanted == "always"
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def _columns(stream: TextIO) -> int | None:
    """Return how wide the terminal is; None for what is no terminal, where no line is too long."""
    if not is_terminal(stream):
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def readable(text: str, *, painted: bool = False) -> str:
    """Return a text in which control characters from elsewhere are written out (`\\x1b`), so that nobody obeys them."""
    if text.isprintable():  # most texts are: the pattern is not compiled then
        return text
    control = _CONTROL_BUT_PAINT if painted else _CONTROL
    return control.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _for_people(text: str, stream: TextIO) -> str:
    """Return a text for a terminal or a log: tables as wide as there is room, colours where they are shown.

    For GitHub's runner it is one in which it finds no commands.
    """
    parts = text.parts if isinstance(text, Hint) else (text,)
    whole = "".join(_part(part, stream) for part in parts)
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return whole
    from orchestrator.views.github import harmless

    return harmless(whole)


def _part(part: str | Command, stream: TextIO) -> str:
    if isinstance(part, Command) or type(part) is str:
        return readable(str(part), painted=is_painted(stream))
    from orchestrator.views.table import Painted, Table

    if isinstance(part, Table):  # secrets are hidden while their lines are whole
        cells = part.mapped(lambda cell: readable(without_secrets(cell)))
        return cells.fitted(_columns(stream), lambda text, colour: paint(text, colour, stream))
    shown = readable(part, painted=is_painted(stream))
    return paint(shown, part.colour, stream) if isinstance(part, Painted) else shown


def out(text: str) -> None:
    """Write a text to stdout."""
    put(_for_people(text, sys.stdout) + ("" if text.endswith("\n") else "\n"))


def out_secret(text: str) -> None:
    """Write a text to stdout that may hold a secret, because a person asked for just that."""
    put(text + "\n", secret=True)


_AT_ONCE = 64 * 1024  # characters


def out_json(document: Any) -> None:
    """Write one JSON document to stdout, as `json_pieces` makes it: a large one is never in memory as a whole."""
    from orchestrator.views.document import json_pieces

    pieces, size = list[str](), 0
    for piece in json_pieces(document):
        pieces.append(piece)
        size += len(piece)
        if size > _AT_ONCE:
            put("".join(pieces))
            pieces, size = [], 0
    put("".join(pieces))


QUIET = "ORCH_QUIET"
"""The environment variable that stands for --quiet."""


def is_quiet() -> bool:
    """Whether people want to see errors and warnings alone."""
    return bool(os.environ.get(QUIET))


def say(text: str) -> None:
    """Write a line for people to stderr, unless they asked for quiet. Whether anybody reads it changes nothing."""
    if not is_quiet():
        warn(text)


def warn(text: str) -> None:
    """Write an error, a warning or what a question is about to stderr."""
    tell(_for_people(text, sys.stderr) + "\n")


def pasteable(text: str) -> str:
    """Return a text; of a hint, every command in it carries this call's --file, --env-file and --embedded."""
    if not isinstance(text, Hint) or not _given():
        return text
    return Hint(*(part.text(_carried) if isinstance(part, Command) else part for part in text.parts))


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


def given_file() -> str | None:
    """Return what the call says with --file."""
    return next(iter(_given().get("file", ())[1:]), None)


def _carried(command: Command) -> list[str]:
    """Return the options of this call that the command takes and does not have yet."""
    if command.argv[-1:] == ("--help",):
        return []
    from orchestrator.cli.parameters import taken

    first, *more = command.names
    module = import_module(f"orchestrator.cli.commands.{first.replace('-', '_')}")
    takes = taken(getattr(module, more[0] if more else "command"))
    has = {_CARRIED.get(word) for word in command.argv}
    return [word for name, words in _given().items() if name in takes and name not in has for word in words]


def confirmed(question: str) -> bool:
    """Ask a person on the terminal; only the whole word is a yes. `question` says what is done then."""
    import typer

    answer: str = typer.prompt(f"Type 'yes' {question}", default="", show_default=False, err=True)
    return answer.strip().lower() == "yes"


def say_failures(failures: Iterable[tuple[str, Failure]]) -> None:
    """Show the errors of databases; those that several share (a server that is down) once."""
    from orchestrator.views.failures import alike

    unreached = False
    for databases, failure in alike(failures):
        say_failure(failure, *databases)
        unreached |= failure.kind in ("unreachable", "not_permitted")
    if unreached and "--embedded" not in sys.argv:
        _tell_stale_variables()


def _tell_stale_variables() -> None:
    """Say that this shell still has the variables of an older embedded server, if that is so."""
    from orchestrator.errors import OrchError
    from orchestrator.operations.dev import stale_variables

    with suppress(OrchError):
        if hint := stale_variables(given_file(), os.environ):
            warn(Hint(f"{paint('hint:', 'blue', sys.stderr)} ", pasteable(hint)))


def say_failure(failure: Failure, *databases: str) -> None:
    """Show an error: what and where, the databases that it hits, the facts, and the next thing to do."""
    place = f"{failure.where}: " if failure.where else ""
    alone = databases[0] if len(databases) == 1 else ""
    owner = f"{alone}: " if not failure.what.startswith(alone) else ""
    warn(f"{paint('error:', 'red', sys.stderr)} {place}{owner}{failure.what}")
    if len(databases) > 1:
        warn(f"  {len(databases)} databases: {some(databases)}")
    for line in failure.detail.splitlines():
        warn(f"  {line}")
    for line in pasteable(failure.hint).splitlines():
        warn(f"  {paint('hint:', 'blue', sys.stderr)} {line}")
