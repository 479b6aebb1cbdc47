"""Compare two schema snapshots, and keep one as text. Pure: whoever calls it has read the snapshots."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Iterator, Sequence
from difflib import unified_diff
from fnmatch import fnmatchcase
from typing import NamedTuple

from orchestrator.model import SchemaObject, SchemaSnapshot
from orchestrator.records import dataclass

_SNAPSHOT_FORMAT = 1
_MAX_RAW = 256 * 2**20
"""Bytes of a schema snapshot as JSON; a larger one is not kept."""
MAX_STORED = 8 * 2**20
"""Characters of a kept schema snapshot, compressed."""
MAX_SHOWN = 20
"""So many differences stand in an error."""
NOT_COVERED = (
    "how far a sequence has got",
    "whether a materialized view is filled",
    "large objects",
    "comments on the database and privileges on it",
    "security labels",
    "subscriptions",
    "the order of columns",
    "objects of the system, such as those in pg_catalog",
    "roles, and settings that belong to a role in all databases",
    "DEPENDS ON EXTENSION, and comments on extensions",
    "the table type of CREATE TABLE … OF, where its columns are the same and it was set later",
    "documents, users, roles and profiling of MongoDB",
    "users, roles and privileges of MySQL",
    "page size, encoding and auto_vacuum of SQLite",
)
_NAME = r'(?:"(?:[^"]|"")+"|[^\s".]+)'
_PARTITION = re.compile(rf"partition of ({_NAME}(?:\.{_NAME})?)")


class KeptSnapshot(NamedTuple):
    """A schema snapshot as it is kept beside the history.

    `server` is the engine with the server's major version, `base` the fingerprint of the history when it was taken.
    """

    server: str
    version: int | None
    base: str
    snapshot: SchemaSnapshot

    @property
    def checksum(self) -> str:
        """The checksum of the snapshot: the same for two databases that look alike."""
        return checksum(self.snapshot)


def checksum(snapshot: SchemaSnapshot) -> str:
    """Return a checksum that is the same for equal snapshots."""
    return hashlib.sha256(_raw(snapshot)).hexdigest()


def packed(snapshot: SchemaSnapshot) -> bytes:
    """Return a snapshot in the least memory."""
    return zlib.compress(_raw(snapshot), 1)


def unpacked(data: bytes) -> SchemaSnapshot:
    """Return the snapshot of `packed`."""
    rows = json.loads(zlib.decompress(data))
    return {SchemaObject(kind, name, of): definition for kind, name, of, definition in rows}


def write_kept(kept: KeptSnapshot) -> str:
    """Return what is stored; ValueError if the schema is too large to be kept."""
    raw = _raw(kept.snapshot)
    data = base64.b64encode(zlib.compress(raw)).decode() if len(raw) <= _MAX_RAW else ""
    if not data or len(data) > MAX_STORED:
        raise ValueError(f"the schema is too large to be kept ({len(raw) / 2**20:,.0f} MiB)")
    about = {"format": _SNAPSHOT_FORMAT, "server": kept.server, "version": kept.version, "base": kept.base}
    return json.dumps({**about, "sha256": hashlib.sha256(raw).hexdigest(), "data": data})


def read_kept(text: str) -> KeptSnapshot:
    """Return what was stored; ValueError says why it cannot be used: another format, or changed since."""
    if len(text) > MAX_STORED + 10_000:
        raise ValueError("the kept schema snapshot is too large")
    try:
        stored = json.loads(text)
        known = stored["format"] == _SNAPSHOT_FORMAT
        snapshot = _unpacked(stored["data"], stored["sha256"]) if known else {}
        kept = KeptSnapshot(str(stored["server"]), stored["version"], str(stored["base"]), snapshot) if known else None
    except (ValueError, KeyError, TypeError, zlib.error, RecursionError):
        raise ValueError("the kept schema snapshot was changed since it was kept") from None
    if kept is None:
        raise ValueError("the kept schema snapshot has the format of another release of orch")
    return kept


def _unpacked(data: str, expected: str) -> SchemaSnapshot:
    unzip = zlib.decompressobj()
    raw = unzip.decompress(base64.b64decode(data, validate=True), _MAX_RAW)
    if unzip.unconsumed_tail or hashlib.sha256(raw).hexdigest() != expected:
        raise ValueError("its checksum is another one")
    return {SchemaObject(kind, name, of): definition for kind, name, of, definition in json.loads(raw)}


def _raw(snapshot: SchemaSnapshot) -> bytes:
    rows = sorted((*one, definition) for one, definition in snapshot.items())
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")


@dataclass(frozen=True, slots=True)
class Difference:
    """One schema object that is `missing`, `extra` or `different`, with both definitions ('' where there is none)."""

    how: str
    name: str
    expected: str = ""
    found: str = ""

    def lines(self) -> list[str]:
        """Return both texts, line by line; of long ones only what differs."""
        before, after = self.expected.splitlines(), self.found.splitlines()
        if self.how != "different":
            sign = "-" if self.how == "missing" else "+"
            return [f"{sign} {line}" for line in (before or after)]
        if max(len(before), len(after)) <= 1:
            return [f"- {self.expected}", f"+ {self.found}"]
        return [line for line in unified_diff(before, after, lineterm="", n=1) if not line.startswith(("---", "+++"))]


@dataclass(frozen=True, slots=True)
class Drift:
    """How a database differs from what is expected. `ignored` objects differ and do not count; `notes` are no drift."""

    differences: tuple[Difference, ...] = ()
    ignored: int = 0
    notes: tuple[str, ...] = ()


def compare(expected: SchemaSnapshot, found: SchemaSnapshot, ignore: Sequence[str] = ()) -> Drift:
    """Return the differences, without what belongs to something that is itself missing or extra.

    `ignore` are globs of `kind name`. Partitions that came or went, and other versions of an extension, are notes.
    """
    notes: list[str] = []
    partitions = {**_partitions(expected, found), **_partitions(found, expected)}
    whole = {one.name for one in partitions if one.kind == "table"}
    differences: list[Difference] = []
    ignored = 0
    for how, one in _changes(expected, found):
        if one in partitions or one.name in whole or one.of in whole:
            continue
        if any(fnmatchcase(str(one), glob) for glob in ignore):
            ignored += 1
            continue
        before, after = expected.get(one, ""), found.get(one, "")
        if one.kind == "extension" and how == "different" and before.split(" ")[1:] == after.split(" ")[1:]:
            notes.append(f"{one} is at {after.split(' ')[0]}, and was at {before.split(' ')[0]}")
            continue
        differences.append(Difference(how, str(one), before, after))
    for parent in sorted(set(partitions.values())):
        count = sum(value == parent for value in partitions.values())
        notes.append(f"{count:,} {'partition' if count == 1 else 'partitions'} of {parent} came or went")
    everything = expected.keys() | found.keys() if ignore else ()
    if everything and all(any(fnmatchcase(str(one), glob) for glob in ignore) for one in everything):
        notes.append(f"drift_ignore hides all {len(everything):,} schema objects: nothing was compared")
    return Drift(tuple(differences), ignored, tuple(notes))


def carried(kept: SchemaSnapshot, before: SchemaSnapshot, after: SchemaSnapshot) -> SchemaSnapshot:
    """Return how a database looks after a run, but for what somebody had changed before it and the run left alone.

    That is taken from `kept`, so that the next comparison tells it again.
    """
    result = dict(after)
    for one in kept.keys() | before.keys():
        if kept.get(one) != before.get(one) and before.get(one) == after.get(one):
            if one in kept:
                result[one] = kept[one]
            else:
                result.pop(one, None)
    return result


def details(drift: Drift, shown: int) -> str:
    """Return the first differences with both texts, line by line."""
    lines: list[str] = []
    for one in drift.differences[:shown]:
        lines += [f"{one.how}: {one.name}", *(f"  {line}" for line in one.lines())]
    if (more := len(drift.differences) - shown) > 0:
        lines.append(f"and {more:,} more")
    return "\n".join(lines)


def named(drift: Drift) -> str:
    """Return the first differences in a few words."""
    told = ", ".join(f"{one.name} {one.how}" for one in drift.differences[:3])
    return told + (f" and {len(drift.differences) - 3:,} more" if len(drift.differences) > 3 else "")


def _changes(expected: SchemaSnapshot, found: SchemaSnapshot) -> Iterator[tuple[str, SchemaObject]]:
    for how, less, more in (("missing", found, expected), ("extra", expected, found)):
        only = [one for one in more if one not in less]
        names = {one.name for one in only if one.name != one.of}
        yield from ((how, one) for one in sorted(only, key=str) if one.of not in names)
    both = (one for one in expected if one in found and expected[one] != found[one])
    yield from (("different", one) for one in sorted(both, key=str))


def _partitions(less: SchemaSnapshot, more: SchemaSnapshot) -> dict[SchemaObject, str]:
    """Return the partitions that only `more` has, and theirs, with the table that both have."""
    tables = {one.name for one in less if one.kind == "table"}
    parents: dict[SchemaObject, str] = {}
    for one, definition in more.items():
        if one in less:
            continue
        if one.kind == "partition":
            parents[one] = one.of
        elif one.kind == "table" and (match := _PARTITION.search(definition)):
            parents[one] = match[1].removeprefix("public.")
    by_name = {one.name: parent for one, parent in parents.items() if one.kind == "table"}
    found: dict[SchemaObject, str] = {}
    for one, parent in parents.items():
        while parent in by_name:
            parent = by_name[parent]
        if parent in tables:
            found[one] = parent
    return found
