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
    if value is not None and re.search("[\0\ud800-\udfff]", value):
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


_KEY = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*=\s*")
_QUOTED = re.compile(r"""(?:'([^']*)'|"((?:[^"\\]|\\.)*)")\s*(?:#.*)?""")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def read_env_file(path: Path, env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a dotenv file and of `env`, which wins.

    Lines are KEY=VALUE, with or without `export`, quotes and # comments; nothing is interpolated, inside double quotes
    a backslash escapes. InvalidError with file:line for anything else, which never shows the line.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(read_text(path, _MAX_BYTES).split("\n"), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        key = _KEY.match(text)
        value = _value(text[key.end() :]) if key else None
        if not key or value is None:
            raise InvalidError(
                "this line is not KEY=VALUE", where=Mark(shown(path), number), hint="is a quote missing?"
            )
        found[key[1]] = value
    return found | dict(env)


def _value(text: str) -> str | None:
    if not text.startswith(("'", '"')):
        return re.split(r"(?:^|\s)#", text, maxsplit=1)[0].rstrip()
    quoted = _QUOTED.fullmatch(text)
    if not quoted:
        return None
    if quoted[1] is not None:
        return quoted[1]
    return re.sub(r"\\(.)", lambda escape: _ESCAPES.get(escape[1], escape[1]), quoted[2])
