"""Values of variables: from the environment, from files named by `…_FILE`, from a dotenv file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from orchestrator.engines.url import DsnError
from orchestrator.errors import InvalidError
from orchestrator.manifest.source import read_text, shown
from orchestrator.manifest.template import Variable
from orchestrator.model import Mark
from orchestrator.patterns import regex

_MAX_BYTES = 1024 * 1024


class UnsetError(DsnError):
    """A variable that is needed has no value; `name` is its name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not set")
        self.name = name


def look_up(name: str, env: Mapping[str, str]) -> str | None:
    """Return the value of a variable, or of the file that `{name}_FILE` names (one newline at its end is dropped).

    None if neither is set; DsnError if both are, or the file cannot be read.
    """
    value, file = env.get(name), env.get(f"{name}_FILE")
    if value is not None and file:
        raise DsnError(f"{name} and {name}_FILE are both set", "unset one of them")
    if value is None and file:
        try:
            value = read_text(Path(file), _MAX_BYTES)
        except (InvalidError, ValueError) as error:
            reason = error.what if isinstance(error, InvalidError) else "not a path"
            raise DsnError(f"{name}_FILE: {reason}") from None
        value = re.sub(r"\r?\n\Z", "", value)
    if value is not None and not value.isprintable() and re.search("[\0\ud800-\udfff]", value):
        raise DsnError(f"{name} holds a NUL character or bytes that are not UTF-8")
    return value


def value_of(variable: Variable, env: Mapping[str, str]) -> str:
    """Return what a variable of a template stands for; UnsetError or DsnError if it stands for nothing."""
    value = look_up(variable.name, env)
    if variable.operator == ":-":
        return value or variable.argument
    if variable.operator == ":?" and not value:
        raise DsnError(f"{variable.name}: {variable.argument or 'is not set, or empty'}")
    if value is None:
        raise UnsetError(variable.name)
    return value


_LINE = regex(
    r"""[^\S\n]*(?:
        (?:\#[^\n]*)?                                                     # nothing, or a comment
      | (?:export[^\S\n]+)?(?P<key>[A-Za-z_][A-Za-z0-9_.-]*)[^\S\n]*(?:
            =[^\S\n]*(?: '(?P<plain>[^']*)'[^\S\n]*(?:\#[^\n]*)?
                       | "(?P<quoted>(?:[^"\\]|\\.)*)"[^\S\n]*(?:\#[^\n]*)?
                       | (?P<bare>(?!['"])[^\n]*) )
        )
    )(?:\n|\Z)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}

_DOTENV = ".env"
CHOOSES_FILE = "ORCH_ENV_FILE"
"""The variable that names a dotenv file; empty: none is read."""


def environment(given: str | None, env: Mapping[str, str], base: Path) -> Mapping[str, str]:
    """Return `env` with the variables of a dotenv file: `given`, else ORCH_ENV_FILE, else `.env` in `base` if it is there.

    `base` is the directory of the manifest. InvalidError as of `read_env_file`.
    """
    chosen = env.get(CHOOSES_FILE) if given is None else given
    if chosen:
        return read_env_file(Path(chosen), env)
    if chosen is None and (base / _DOTENV).is_file():
        return read_env_file(base / _DOTENV, env)
    return env


def read_env_file(path: Path, env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a dotenv file and of `env`, which wins.

    Lines are KEY=VALUE, with or without `export`, quotes and # comments; a value in quotes may go over several lines. Nothing
    is interpolated; inside double quotes a backslash escapes. InvalidError with file:line for anything else, which never
    shows the line.
    """
    found: dict[str, str] = {}
    text, position = read_text(path, _MAX_BYTES).replace("\r\n", "\n"), 0
    while position < len(text):
        line = _LINE.match(text, position)
        if not line:
            raise InvalidError(
                "this line is not KEY=VALUE",
                where=Mark(shown(path), text.count("\n", 0, position) + 1),
                hint="is a quote missing? A command with --no-env-file does not read this file",
            )
        position = line.end()
        if line["key"] and (value := _value(line)) is not None:
            found[line["key"]] = value
    return found | dict(env)


def _value(line: re.Match[str]) -> str | None:
    if line["bare"] is not None:
        return re.split(r"(?:^|\s)#", line["bare"], maxsplit=1)[0].rstrip()
    if line["quoted"] is not None:
        return re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), line["quoted"], flags=re.DOTALL)
    return line["plain"]
