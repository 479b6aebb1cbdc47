"""The first content of new files: migrations and a manifest."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from orchestrator.engines import dialect, dialects
from orchestrator.errors import UsageError

# How versions that are dates are written, by their number of digits. Of ten digits the seconds of Unix begin with 1.
_DATES = {14: "%Y%m%d%H%M%S", 12: "%Y%m%d%H%M", 10: "%Y%m%d%H", 8: "%Y%m%d"}
_YEARS = range(1970, 10_000)


def first_pair(engine: str, name: str) -> dict[str, str]:
    """Return file name → text of the first migration of a database."""
    known, word = dialect(engine), snake(name)
    texts = known.scaffold
    stem = f"000001_{texts.first.format(word=word)}"
    return {
        f"{stem}.up.{known.extensions[0]}": texts.first_up.format(name=name, word=word),
        f"{stem}.down.{known.extensions[0]}": texts.first_down.format(name=name, word=word),
    }


def next_pair(
    engine: str, versions: list[str], description: str, now: datetime | None = None, *, extension: str = ""
) -> dict[str, str]:
    """Return the next pair, after `versions` as they are written in the file names: numbers, dates, or seconds of Unix.

    Without an `extension` it is the engine's usual one.
    """
    highest = max(map(int, versions), default=0)
    stamp = _stamp(highest, now or datetime.now(UTC))
    version = f"{highest + 1:0{max(map(len, versions), default=6)}d}" if stamp is None else str(max(stamp, highest + 1))
    known = dialect(engine)
    stem, extension = f"{version}_{snake(description)}", extension or known.extensions[0]
    return {
        f"{stem}.up.{extension}": known.scaffold.next_up.format(description=description),
        f"{stem}.down.{extension}": known.scaffold.next_down.format(description=description),
    }


def _stamp(highest: int, now: datetime) -> int | None:
    """Return this moment as the highest version is written; None if that is no moment."""
    digits = len(str(highest))
    for unix, each in ((10, 1), (13, 1000)):
        if digits == unix and str(highest).startswith("1"):
            return int(now.timestamp() * each)
    if digits not in _DATES:
        return None
    try:
        is_date = datetime.strptime(str(highest), _DATES[digits]).replace(tzinfo=UTC).year in _YEARS
    except ValueError:
        is_date = digits == max(_DATES)  # nobody counts so far
    return int(now.strftime(_DATES[digits])) if is_date else None


def snake(text: str) -> str:
    """Return the text as it stands in a file name; UsageError if nothing is left of it."""
    if re.search(r"[/\\\0]|\.\.", text):
        raise UsageError(f"{text!r} cannot be part of a file name", hint="use letters, digits and _")
    word = re.sub(r"[^0-9a-z]+", "_", text.lower()).strip("_")
    if not word or len(word) > 100:
        raise UsageError(f"{text!r} cannot be part of a file name", hint="use up to 100 letters, digits and _")
    return word


_MANIFEST = """\
# yaml-language-server: $schema={schema}
# Every database of this project. `orch apply` creates what is missing and migrates it, each after what it depends on.
# The migrations of a database are in migrations/{{engine}}-{{name}}/schema. Secrets come from the environment, or from the
# file that a variable such as POSTGRES_PASSWORD_FILE names.
version: 1

servers:
{servers}
"""


def first_manifest(entries: Sequence[Mapping[str, Any]], engines: Collection[str], schema: str) -> str:
    """Return a manifest with these databases, and a server of each engine that they or `engines` name.

    `schema` is the address of the JSON Schema; editors take it from the first line.
    Where nothing names an engine, each one that has servers gets one, as an example. (Databases that are files need none.)
    """
    from orchestrator.files.yaml_text import Flow, to_yaml

    head = _MANIFEST.format(schema=schema, servers="".join(_servers(entries, engines)))
    if not entries:
        return head + "databases: # add one: orch add-db NAME\n"
    listed = [{key: Flow(value) if key == "depends_on" else value for key, value in entry.items()} for entry in entries]
    return head + to_yaml({"databases": listed})


def _servers(entries: Sequence[Mapping[str, Any]], engines: Collection[str]) -> Iterator[str]:
    named = {str(entry["server"]) for entry in entries if "server" in entry}.union(engines)
    for known in dialects():
        if known.name in named or (not entries and not named and known.container):
            yield known.scaffold.server
