"""Migration files that are templates: put the variables of a database into the text. Executes nothing.

An SQL file is a template only if a comment above its first statement says `-- orch: template`, and a file of commands in JSON
only if its first command is `{"ping": 1, "comment": {"orch": "template"}}`. Then `{name}`, `${name}` and `{{ .name }}` stand
for a variable of the manifest, and `{{name}}` for the text `{name}`. Checksums are those of the file.

No value can end the JSON string in which it stands. Outside of strings it must be a number, true, false or null.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

from orchestrator.errors import InvalidError
from orchestrator.model import Mark
from orchestrator.patterns import regex
from orchestrator.phrases import did_you_mean

_LINES = regex(
    r"\ufeff?(?:[ \t\r]*\n|[ \t]*--[^\n]*\n)*?[ \t]*(?:(--[ \t]*orch:[ \t]*template)[ \t]*\r?(?:\n|$)|(?=/\*))"
)
_EDGE = regex(r"/\*M?!?|\*/")
_JSON_HEAD = regex(
    r'\ufeff?\s*\[\s*(\{\s*"ping"\s*:\s*1\s*,\s*"comment"\s*:\s*\{\s*"orch"\s*:\s*"template"\s*\}\s*\}\s*(?:,|(?=\])))'
)
_HOLES = r"\{\{[ \t]*\.(?P<go>[A-Za-z_]\w*)[ \t]*\}\}|\{\{(?P<text>[A-Za-z_]\w*)\}\}|\$?\{(?P<name>[A-Za-z_]\w*)\}"
_HOLE = regex(_HOLES, re.ASCII)
_STRING_OR_HOLE = regex(rf'"(?:[^"\\]|\\.)*"|{_HOLES}', re.ASCII | re.DOTALL)
_JSON_SCALAR = regex(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null", re.ASCII)


def filled(path: str, text: str, variables: Mapping[str, str]) -> str | None:
    """Return the text with its variables; None if the file is no template. InvalidError for a variable nobody declares.

    Lines stay where they are: no value holds a line break.
    """
    if "template" not in text:
        return None
    filling = _Filling(path, text, variables)
    if bounds := _head(text):
        start, end = bounds
        body = text[:start] + "-- " + " " * (end - start - 3) + text[end:]  # for the reader it is a comment like others
        return _HOLE.sub(lambda hole: filling.value(hole, hole.start()), body)
    if head := _JSON_HEAD.match(text):
        start, end = head.span(1)
        body = text[:start] + re.sub(r"[^\n]", " ", text[start:end]) + text[end:]
        return _STRING_OR_HOLE.sub(filling.in_json, body)
    return None


class _Filling:
    """Gives each hole of one file its value."""

    def __init__(self, path: str, text: str, variables: Mapping[str, str]) -> None:
        self._path = path
        self._text = text
        self._variables = variables

    def value(self, hole: re.Match[str], at: int, written: Callable[[str], str] = str) -> str:
        """Return what stands for a hole at an offset, `written` as its surroundings need it."""
        if hole["text"]:
            return f"{{{hole['text']}}}"
        name = hole["go"] or hole["name"]
        if name not in self._variables:
            raise InvalidError(
                f"the template has no value for {hole[0]}",
                where=Mark.at(self._path, self._text, at),
                hint=did_you_mean(name, self._variables)
                or f"declare {name} under `variables` of the database; for the text {{{name}}} itself write {{{{{name}}}}}",
            )
        return written(self._variables[name])

    def in_json(self, found: re.Match[str]) -> str:
        """Return a JSON string with its holes filled, or the value of a hole that stands alone."""
        if found[0].startswith('"'):
            return _HOLE.sub(lambda hole: self.value(hole, found.start() + hole.start(), _in_string), found[0])
        made = self.value(found, found.start())
        if not _JSON_SCALAR.fullmatch(made):
            raise InvalidError(
                f"the value of {found[0]} is no number, true, false or null, and stands outside of quotes",
                where=Mark.at(self._path, self._text, found.start()),
                hint=f'for a text write "{found[0]}"',
            )
        return made


def _in_string(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)[1:-1]


def _head(text: str) -> tuple[int, int] | None:
    """Return the bounds of the comment that says that the file is a template; None if none above the first statement does.

    Block comments are passed over, and may nest. One of MySQL that is code (`/*!`) is a statement.
    """
    at = 0
    while found := _LINES.match(text, at):
        if found[1]:
            return found.span(1)
        depth, at = 0, -1
        for edge in _EDGE.finditer(text, found.end()):
            if edge[0].endswith("!") and not depth:
                return None
            depth += -1 if edge[0] == "*/" else 1
            if not depth:
                at = edge.end()
                break
        if at < 0:
            return None
    return None
