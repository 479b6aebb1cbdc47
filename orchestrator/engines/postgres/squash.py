"""Read and write PostgreSQL files that replace several others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from orchestrator.engines.postgres.sql import REPLACES, directives
from orchestrator.engines.postgres.sql_reader import Reader
from orchestrator.errors import InvalidError
from orchestrator.model import Script

_SET = re.compile(
    r"SET\s+(?:(?:SESSION|LOCAL)\s+)?(?!TRANSACTION\b|SESSION\s+CHARACTERISTICS\b)"
    r"(?P<what>TIME\s+ZONE|SESSION\s+AUTHORIZATION|CONSTRAINTS\b|ROLE\b|NAMES\b|SCHEMA\b|[\w.\"]+)",
    re.IGNORECASE,
)
_CONFIG = re.compile(r"\bset_config\s*\(\s*'(?P<what>[\w.]+)'", re.IGNORECASE)
_CALLED = {
    "TIME ZONE": "RESET timezone;",
    "SESSION AUTHORIZATION": "RESET SESSION AUTHORIZATION;",
    "CONSTRAINTS": "SET CONSTRAINTS ALL IMMEDIATE;",
    "ROLE": "RESET ROLE;",
    "NAMES": "RESET client_encoding;",
    "SCHEMA": "RESET search_path;",
}


def replaces(text: str) -> tuple[str, int] | None:
    """Return the value of the directive `replaces` and its offset; None if the file has none, or cannot be read."""
    try:
        for directive in directives(Reader("", text)):
            if directive.name == REPLACES:
                return directive.value, directive.value_at
    except InvalidError:  # whoever parses the file tells that
        return None
    return None


def head(versions: str) -> str:
    """Return what a file begins with that replaces these versions."""
    return f"-- orch: {REPLACES} {versions}\n\n"


def squash(scripts: Sequence[Script], versions: str) -> str:
    """Return a file that runs these one after the other; each begins as if it had the session for itself."""
    head = [f"-- orch: {REPLACES} {versions}"] if versions else []
    whole = all(script.atomic for script in scripts)
    if not whole:
        head.append("-- orch: no-transaction")
    parts = ["\n".join(head)] if head else []
    for script in scripts:
        name = script.file.path.rpartition("/")[2]
        resets = "".join(f"\n{one}" for one in dict.fromkeys(_resets(script)))
        body = _body(script)
        if not whole and script.atomic and not all(statement.block for statement in script.statements):
            body = f"BEGIN;\n{body}\nCOMMIT;"  # it was one transaction, and stays one
        parts.append(f"-- {name}\n{body}{resets}")
    return "\n\n".join(parts) + "\n"


def _body(script: Script) -> str:
    """Return the text of a file without its directives, and with a semicolon after its last statement."""
    text = script.text
    reader = Reader(script.file.path, text)
    end = max((end for _, end in reader.statements()), default=0)
    if end and not text[end:].lstrip().startswith(";"):
        text = f"{text[:end]};{text[end:]}"
    for directive in reversed(list(directives(reader))):
        text = text[: directive.start] + text[directive.end :]
    return text.strip()


def _resets(script: Script) -> Iterator[str]:
    """Yield what undoes the settings that a file makes: the file after it was written without them."""
    for statement in script.statements:
        found = [_SET.match(statement.source), *_CONFIG.finditer(statement.source)]
        for what in (" ".join(one["what"].split()) for one in found if one):
            yield _CALLED.get(what.upper(), f"RESET {what};")
