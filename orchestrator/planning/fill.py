"""Migration files that are templates: put the variables of a database into the text. Executes nothing.

A file is a template only if a comment above its first statement says `-- orch: template`. Then `{name}`, `${name}` and
`{{ .name }}` stand for a variable of the manifest, and `{{name}}` for the text `{name}`. Checksums are those of the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from orchestrator.errors import InvalidError
from orchestrator.model import Mark
from orchestrator.phrases import did_you_mean

_LINES = re.compile(
    r"\ufeff?(?:[ \t\r]*\n|[ \t]*--[^\n]*\n)*?[ \t]*(?:(--[ \t]*orch:[ \t]*template)[ \t]*\r?(?:\n|$)|(?=/\*))"
)
_EDGE = re.compile(r"/\*M?!?|\*/")
_HOLE = re.compile(
    r"\{\{[ \t]*\.(?P<go>[A-Za-z_]\w*)[ \t]*\}\}|\{\{(?P<text>[A-Za-z_]\w*)\}\}|\$?\{(?P<name>[A-Za-z_]\w*)\}", re.ASCII
)


def filled(path: str, text: str, variables: Mapping[str, str]) -> str | None:
    """Return the text with its variables; None if the file is no template. InvalidError for a variable nobody declares.

    Lines stay where they are: no value holds a line break.
    """
    if "template" not in text:
        return None
    head = _head(text)
    if head is None:
        return None

    def value(found: re.Match[str]) -> str:
        if found["text"]:
            return f"{{{found['text']}}}"
        name = found["go"] or found["name"]
        if name not in variables:
            raise InvalidError(
                f"the template has no value for {found[0]}",
                where=Mark.at(path, text, found.start()),
                hint=did_you_mean(name, variables)
                or f"declare {name} under `variables` of the database; for the text {{{name}}} itself write {{{{{name}}}}}",
            )
        return variables[name]

    start, end = head
    body = text[:start] + "-- " + " " * (end - start - 3) + text[end:]  # for the reader it is a comment like others
    return _HOLE.sub(value, body)


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
