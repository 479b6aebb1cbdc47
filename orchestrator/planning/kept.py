"""The text of a migration as the history keeps it: both files of a version, compressed, with a checksum of its own."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

from orchestrator.model import Attempt, Direction, Origin
from orchestrator.planning.attempts import latest_effective
from orchestrator.records import NamedTuple

_MAX_TEXT = 2 * 1024 * 1024
"""Characters of both files together; longer ones bring data, and are not kept."""
MAX_STORED = 256 * 1024
"""Characters of what is stored."""
_SHARED = 32 * 1024
"""Characters. Shorter texts are packed once for all members of a fleet: what is remembered stays small."""
_FORMAT = "1"


class Kept(NamedTuple):
    """The texts of the up and the down file of a version, as they were when it went up. None: there was no such file."""

    up: str | None
    down: str | None


def pack(kept: Kept) -> str:
    """Return what the history stores; '' for texts that are too long."""
    length = sum(map(len, filter(None, kept)))
    if length > _MAX_TEXT:
        return ""
    return _packed_once(kept) if length <= _SHARED else _packed(kept)


def _packed(kept: Kept) -> str:
    raw = json.dumps(kept._asdict(), ensure_ascii=False).encode(errors="surrogatepass")
    stored = f"{_FORMAT}:{_checksum(raw)}:{base64.b64encode(zlib.compress(raw)).decode()}"
    return stored if len(stored) <= MAX_STORED else ""


_packed_once = lru_cache(maxsize=256)(_packed)


def unpack(stored: str) -> Kept:
    """Return the texts; ValueError says why they cannot be believed: another format, or changed since."""
    kind, _, rest = stored.partition(":")
    checksum, _, data = rest.partition(":")
    if kind != _FORMAT:
        raise ValueError("a later release of orch kept it")
    try:
        unzip = zlib.decompressobj()
        raw = unzip.decompress(base64.b64decode(data, validate=True), 8 * _MAX_TEXT)
    except (ValueError, zlib.error):
        raise ValueError("it was changed since it was kept") from None
    if unzip.unconsumed_tail or _checksum(raw) != checksum:
        raise ValueError("it was changed since it was kept: its checksum is another one")
    values = json.loads(raw)
    return Kept(values["up"], values["down"])


def of_what_is_applied(
    version: int, attempts: Sequence[Attempt], stored: Mapping[tuple[int, int], str]
) -> tuple[Attempt, Kept]:
    """Return the attempt that took a version up, and the texts kept of it. `stored` is by version and attempt.

    ValueError says why there are none that can be believed.
    """
    effective = latest_effective(attempts).get(version)
    if effective is None or effective.direction is not Direction.UP:
        raise ValueError("it is not applied")
    ran = [
        one for one in sorted(attempts, key=lambda one: one.number) if one.version == version
        and one.number <= effective.number and one.direction is Direction.UP and stored.get((version, one.number))
    ]  # fmt: skip
    if not ran:
        raise ValueError("the history keeps no text of it")
    kept = unpack(stored[version, ran[-1].number])
    if effective.origin is Origin.ACKNOWLEDGED and not effective.checksum:
        raise ValueError("somebody declared that its file may be gone, and not with which content")
    if kept.up is None or text_checksum(kept.up) != effective.checksum:
        if ran[-1].checksum != effective.checksum:
            raise ValueError("its file was edited after it ran, and the kept text is that of before")
        raise ValueError("the kept text was changed: it has not the checksum of the file that ran")
    return effective, kept


def text_checksum(text: str) -> str:
    """Return the checksum that the catalog gives a file with this text."""
    return "sha256:" + hashlib.sha256(text.encode(errors="surrogatepass").replace(b"\r\n", b"\n")).hexdigest()


def _checksum(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()
