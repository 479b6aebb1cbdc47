"""The parameters of commands: defined once, read here where a call is plain, and handed to typer for everything else.

Importing typer takes longer than what an everyday command does. It still writes the help, completes words, and reads
every call in which anything is unusual or wrong; what is read here is what typer would read, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import wraps
from types import UnionType
from typing import Annotated, Any, get_args, get_origin

from orchestrator.patterns import regex
from orchestrator.records import NamedTuple

_NUMBER = regex(r"[0-9]{1,15}")
_SECONDS = regex(r"[0-9]{1,15}(?:\.[0-9]{1,15})?")


class Parameter:
    """A parameter in the signature of a command, as metadata of its type. `settings` are those of typer."""

    def __init__(self, *names: str, **settings: Any) -> None:
        self.names = names
        self.settings = settings


class Option(Parameter):
    """An option, with its names."""


class Argument(Parameter):
    """A word, or several, without a name before it."""


class Taken(NamedTuple):
    """A parameter that a command takes by its name. `annotation` is a text to evaluate among `names`, if it is a text."""

    default: Any
    annotation: Any
    names: dict[str, Any]

    def hint(self) -> Any:
        """Return the type, with its metadata."""
        text = self.annotation
        return eval(text, self.names) if isinstance(text, str) else text  # noqa: S307 - from the source of a command


_NO_DEFAULT = object()


class _Kind(NamedTuple):
    """How the text of one parameter is read. `read` returns None for what typer has to judge."""

    name: str
    given: Parameter
    several: bool
    flag: bool
    read: Callable[[str], Any]


def taken(command: Callable[..., Any]) -> Mapping[str, Taken]:
    """Return the parameters of a command by their names. `inspect` would take longer to import than a call is read."""
    while not hasattr(command, "taken") and hasattr(command, "__wrapped__"):
        command = command.__wrapped__
    if hasattr(command, "taken"):
        known: Mapping[str, Taken] = command.taken
        return known
    code = command.__code__
    named = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    positional = command.__defaults__ or ()
    defaults = dict(zip(named[code.co_argcount - len(positional) :], positional, strict=False))
    defaults |= command.__kwdefaults__ or {}
    hints = command.__annotations__
    return {name: Taken(defaults.get(name, _NO_DEFAULT), hints[name], command.__globals__) for name in named}


def for_typer(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function of a command with typer's own records in its signature."""
    from inspect import Parameter as Ours
    from inspect import Signature

    import typer

    makes: dict[type[Parameter], Any] = {Option: typer.Option, Argument: typer.Argument}
    parameters = []
    for name, one in taken(command).items():
        hint = one.hint()
        if (given := _given(hint)) is not None:
            hint = Annotated[get_args(hint)[0], makes[type(given)](*given.names, **given.settings)]
        default = Ours.empty if one.default is _NO_DEFAULT else one.default
        parameters.append(Ours(name, Ours.KEYWORD_ONLY, default=default, annotation=hint))

    @wraps(command)
    def same(*arguments: Any, **named: Any) -> Any:
        return command(*arguments, **named)

    same.__annotations__ = {}  # all that typer reads is in the signature
    same.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return same


def read(command: Callable[..., Any], words: Sequence[str]) -> dict[str, Any] | None:
    """Return the arguments of a call for the function of its command; None: typer has to read the call."""
    parameters = taken(command)
    if not words:  # the call that is made most often
        return {name: one.default for name, one in parameters.items()}
    kinds = [kind for name, one in parameters.items() if (kind := _kind(name, one.hint()))]
    named = {option: kind for kind in kinds for option in kind.given.names}
    argument = next((kind for kind in kinds if isinstance(kind.given, Argument)), None)
    values: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        option, has_text, text = word.partition("=") if word.startswith("--") else (word, "", "")
        kind = named.get(option) if word.startswith("-") else argument
        if kind is None or (kind.name in values and not kind.several) or (kind.flag and has_text):
            return None
        if not word.startswith("-"):
            text = word
        elif not kind.flag and not has_text:
            text = next(rest, "")
        value = True if kind.flag else kind.read(text)
        if value is None:
            return None
        values[kind.name] = [*values.get(kind.name, ()), value] if kind.several else value
    return {name: values.get(name, one.default) for name, one in parameters.items()}


def _given(hint: Any) -> Parameter | None:
    found = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((one for one in found if isinstance(one, Parameter)), None)


def _kind(name: str, hint: Any) -> _Kind | None:
    given = _given(hint)
    if given is None:
        return None
    wanted = get_args(hint)[0]
    if isinstance(wanted, UnionType):  # … | None
        wanted = get_args(wanted)[0]
    several = get_origin(wanted) is list
    if several:
        wanted = get_args(wanted)[0]
    least, callback = given.settings.get("min"), given.settings.get("callback")

    def read(text: str) -> Any:
        value = _value(wanted, text)
        if value is None or (least is not None and value < least):
            return None
        return callback(value) if callback else value

    return _Kind(name, given, several, wanted is bool, read)


def _value(wanted: Any, text: str) -> Any:
    if not text or text.startswith("-"):
        return None
    if issubclass(wanted, Enum):
        return next((one for one in wanted if one.value == text), None)
    if wanted is int:
        return int(text) if _NUMBER.fullmatch(text) else None
    if wanted is float:
        return float(text) if _SECONDS.fullmatch(text) else None
    return text if wanted is str else None
