"""Whether the command line takes a command that a hint shows. Nothing is run: the words are parsed alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from orchestrator.hints import Blank, Command

RECORD = "TEST_RECORD_HINT_COMMANDS"
"""The variable that names the file in which a run of `orch` writes the commands of its hints (see support/site)."""
SITE = str(Path(__file__).with_name("site"))


def record(path: str) -> None:
    """From now on write every command of this process that becomes text into a file, a line each."""
    plain = Command.text

    def text(self: Command, *carried: Any) -> str:
        words = [[str(word), isinstance(word, Blank)] for word in self.argv]
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(words) + "\n")
        return plain(self, *carried)

    Command.text = text  # type: ignore[assignment, method-assign]


def refusal(argv: Sequence[str]) -> str:
    """Return why the command line does not take these words; '' if it does. What a person fills in counts as 1."""
    return _refusal(tuple("1" if isinstance(word, Blank) else str(word) for word in argv))


@cache
def _refusal(argv: tuple[str, ...]) -> str:
    import typer
    import typer.main

    from orchestrator.cli.app import app

    words = list(argv)
    command: Any = typer.main.get_command(app)
    context: Any = None
    name = "orch"
    try:
        while hasattr(command, "resolve_command") and words != ["--help"]:
            context = command.make_context(name, words, parent=context, resilient_parsing=True)
            name, command, words = command.resolve_command(context, words)
        if words != ["--help"]:
            command.make_context(name, list(words), parent=context)
    except typer.Exit:  # it shows its help
        return ""
    except Exception as error:  # noqa: BLE001 - of whatever kind: it would not run
        return f"orch {' '.join(argv)}: {type(error).__name__}: {error}"
    return ""


def refusals(recorded: Path) -> list[str]:
    """Return what is wrong with the commands that runs have recorded in a file."""
    if not recorded.exists():
        return []
    lines = {line for line in recorded.read_text().splitlines() if line}
    found = [[Blank(word) if blank else word for word, blank in json.loads(line)] for line in sorted(lines)]
    return [said for said in map(refusal, found) if said]
