"""Lines of comment that speak to orch: `-- orch: NAME VALUE`, for every engine whose files have such comments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from orchestrator.model import Directive
from orchestrator.patterns import regex

_DIRECTIVE = regex(
    r"(?:--|#)[ \t]*orch:[ \t]*(?P<name>[^\s=]*)[ \t]*(?P<equals>=?)[ \t]*(?P<value>[^\n\r]*)", re.IGNORECASE
)
_WORD = "orch:"


def are_in(text: str) -> bool:
    """Whether a text may hold a directive: whoever reads a file looks at its comments only then."""
    return _WORD in text or _WORD in text.lower()


def read_directives(text: str, comments: Iterable[tuple[int, int]]) -> Iterator[Directive]:
    """Yield the directives among line comments, which are told by their bounds. A directive is a whole comment."""
    for start, end in comments:
        if line := _DIRECTIVE.match(text, start, end):
            yield Directive(
                line["name"],
                line["value"].strip(),
                start,
                line.end(),
                line.start("name"),
                line.start("value"),
                bool(line["equals"]),
            )
