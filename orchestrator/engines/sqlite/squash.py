"""One SQLite file for several: which versions a file says that it replaces, and how such a file is written."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.engines.file_settings import REPLACES
from orchestrator.engines.sqlite.reader import directives, is_session, words_of
from orchestrator.errors import InvalidError
from orchestrator.model import Mark, Script


def replaces(text: str) -> tuple[str, int] | None:
    """Return the value of the directive `replaces` and its offset; None if the file has none."""
    found = (line for line in directives(text) if line.name == REPLACES)
    return next(((line.value, line.value_at) for line in found), None)


def head(versions: str) -> str:
    """Return what a file begins with that replaces these versions."""
    return f"-- orch: {REPLACES} {versions}\n\n"


def squash(scripts: Sequence[Script], versions: str) -> str:
    """Return a file that runs these one after the other; InvalidError for one that must have the session for itself."""
    parts = [head(versions).strip()] if versions else []
    for script in scripts:
        alone = next((one for one in script.statements if not one.atomic or is_session(words_of(one.source))), None)
        if alone is not None:
            raise InvalidError(
                f"this file cannot be joined with others: it has {alone.source.partition(chr(10))[0]}",
                where=Mark.at(script.file.path, script.text, alone.offset),
                hint="squash up to a version below it, or write the new file by hand",
            )
        body = "\n".join(f"{statement.source};" for statement in script.statements)
        parts.append(f"-- {script.file.path.rpartition('/')[2]}\n{body}")
    return "\n\n".join(parts) + "\n"
