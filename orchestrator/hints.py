"""What to do next, as data: words, and apart from them the commands of orch. Shell quoting is done here, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from orchestrator.records import dataclass


class Blank(str):
    """A word of a command that a person fills in, such as VERSION."""

    __slots__ = ()


NAME = Blank("NAME")
"""Stands for a database whose name is not known where the command is made; `Hint.for_database` puts it in."""


def _nothing(_command: Command) -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True, init=False)
class Command:
    """A command line of orch: its words without `orch`, not quoted."""

    argv: tuple[str, ...]

    def __init__(self, *words: str | int) -> None:
        object.__setattr__(self, "argv", tuple(word if isinstance(word, str) else str(word) for word in words))

    @property
    def names(self) -> tuple[str, ...]:
        """The words that name the command: `("apply",)`, `("dev", "up")`; none for `orch --help`."""
        return tuple(word for word in self.argv[: 2 if self.argv[:1] == ("dev",) else 1] if not word.startswith("-"))

    def text(self, carried: Callable[[Command], Sequence[str]] = _nothing) -> str:
        """Return the line to paste into a shell. `carried` gives options that belong to each command, such as `-f`."""
        from shlex import quote

        words = (*self.names, *carried(self), *self.argv[len(self.names) :])
        return " ".join(["orch", *(word if isinstance(word, Blank) else quote(word) for word in words)])

    def __str__(self) -> str:
        return self.text()

    def mapped(self, change: Callable[[str], str]) -> Command:
        """Return the command with every word changed, but those that a person fills in."""
        return Command(*(word if isinstance(word, Blank) else change(word) for word in self.argv))

    def for_database(self, id: str) -> Command:
        """Return the command with a database in the place of NAME."""
        return Command(*(id if word is NAME else word for word in self.argv))


class Hint(str):
    """A text in which the commands stay data: `Hint("let it finish; or ", Command("unlock", id))`.

    It is the text itself, with every command quoted for a shell.
    """

    __slots__ = ("parts",)
    parts: tuple[str | Command, ...]

    def __new__(cls, *parts: str | Command) -> Hint:
        """Take words and commands in their order. A hint among them gives its own parts."""
        flat: list[str | Command] = []
        for part in parts:
            flat += part.parts if isinstance(part, Hint) else [part]
        made = super().__new__(cls, "".join(map(str, flat)))
        made.parts = tuple(flat)
        return made

    def __getnewargs__(self) -> tuple[str | Command, ...]:  # type: ignore[override] # what __new__ takes
        return self.parts

    def __add__(self, other: str) -> Hint:
        return Hint(self, other)

    def __radd__(self, other: str) -> Hint:
        return Hint(other, self)

    @property
    def commands(self) -> tuple[Command, ...]:
        """The commands in it."""
        return tuple(part for part in self.parts if isinstance(part, Command))

    def text(self, carried: Callable[[Command], Sequence[str]]) -> str:
        """Return the text in which every command has the options that `carried` gives for it."""
        return "".join(part.text(carried) if isinstance(part, Command) else part for part in self.parts)

    def mapped(self, change: Callable[[str], str]) -> Hint:
        """Return the hint with its words, and every word of its commands, changed."""
        return Hint(*(part.mapped(change) if isinstance(part, Command) else change(part) for part in self.parts))

    def for_database(self, id: str) -> Hint:
        """Return the hint with a database in the place of NAME."""
        return Hint(*(part.for_database(id) if isinstance(part, Command) else part for part in self.parts))


WAIT = "`--wait SECONDS`"
EMBEDDED = "--embedded"
"""How hints name options of a run that are settings of another name where pytest starts orch."""


def hint_of(text: str) -> Hint:
    """Return a text as a hint: itself if it is one."""
    return text if isinstance(text, Hint) else Hint(text)


def joined(separator: str, parts: Sequence[str]) -> Hint:
    """Return texts and hints as one hint, the empty ones left out."""
    made = Hint()
    for part in filter(None, parts):
        made = Hint(made, separator, part) if made else Hint(part)
    return made


def rebuilt(text: str, commands: Sequence[Sequence[str]]) -> Hint:
    """Return the hint that was written as its text and, apart from it, the words of its commands."""
    parts: list[str | Command] = []
    for argv in commands:
        command = Command(*argv)
        before, found, after = text.partition(str(command))
        if found:
            parts += [before, command]
            text = after
    return Hint(*parts, text)
