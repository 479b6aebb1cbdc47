"""Read and write MongoDB files that replace several others.

JSON has no comments, so it is the `comment` of a command that says it: {"orch": {"replaces": "1-60"}}.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from orchestrator.model import Script
from orchestrator.patterns import regex

_NOTE = regex(r',\s*"comment"\s*:\s*\{\s*"orch"\s*:\s*\{\s*"replaces"\s*:\s*"[^"]*"\s*\}\s*\}')


def replaced(comment: Any) -> str | None:
    """Return the versions that the comment of a command says its file replaces; None if it says nothing of that."""
    inner = comment.get("orch") if isinstance(comment, dict) and len(comment) == 1 else None
    value = inner.get("replaces") if isinstance(inner, dict) and len(inner) == 1 else None
    return value if isinstance(value, str) else None


def replaces(text: str) -> tuple[str, int] | None:
    """Return the versions that a file says it replaces and their offset; None if it says nothing, or cannot be read."""
    try:
        commands = json.loads(text)
    except (ValueError, RecursionError):  # whoever parses the file tells that
        return None
    for command in commands if isinstance(commands, list) else ():
        value = replaced(command.get("comment")) if isinstance(command, dict) else None
        if value is not None:
            return value, max(text.find('"replaces"'), 0)
    return None


def _without_note(source: str) -> str:
    """Return a command without what an earlier file of this kind says that it replaces."""
    return source if replaces(f"[{source}]") is None else _NOTE.sub("", source, count=1)


def head(versions: str) -> str:
    """Return nothing: a MongoDB file says it in the comment of a command."""
    del versions
    return ""


def squash(scripts: Sequence[Script], versions: str) -> str:
    """Return a file with the commands of all these files, in their order."""
    commands = [statement for script in scripts for statement in script.statements]
    sources = [_without_note(statement.source.strip()) for statement in commands]
    if versions:
        note = json.dumps({"orch": {"replaces": versions}})
        place = next((n for n, source in enumerate(sources) if '"comment"' not in source), None)
        if place is None:
            sources.insert(0, f'{{"ping": 1, "comment": {note}}}')
        else:
            sources[place] = f'{sources[place][:-1].rstrip()}, "comment": {note}}}'
    return "[\n" + ",\n".join(f"  {source}" for source in sources) + "\n]\n"
