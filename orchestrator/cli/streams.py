"""Standard streams that tolerate being closed: an output error never aborts a migration."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

_lost: list[OSError] = []
_last: list[int] = []  # how much was written last; empty until something was


def open_closed() -> None:
    """Give the process those of its three streams that its caller closed: they lead nowhere."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - open until the end, and no pathlib this early


def without_secrets(text: str) -> str:
    """Return a text without the secrets of this process: a process that has not loaded what keeps them has none."""
    loaded = sys.modules.get("orchestrator.manifest.redact")
    return loaded.redactor.once_more(text) if loaded else text


def put(text: str, *, now: bool = False, secret: bool = False) -> None:
    """Write to stdout. What cannot be written is told once, at the end. `secret`: showing secrets is what it is for."""
    if _lost:
        return
    try:
        if text:  # Python may write nothing, too, and a full disk refuses even that
            _last[:] = [sys.stdout.write(text if secret else without_secrets(text))]
        if now:
            sys.stdout.flush()
    except OSError as error:
        _lost.append(error)


def has_put() -> bool:
    """Whether something was written to stdout."""
    return bool(_last)


def tell(text: str) -> None:
    """Write to stderr, at once; nobody can be told that it cannot be written.

    What was written to stdout before comes first, for those who send both to the same place.
    """
    if _last and not _lost:
        try:
            sys.stdout.flush()
        except OSError as error:
            _lost.append(error)
    with suppress(OSError):
        sys.stderr.write(without_secrets(text))
        sys.stderr.flush()


def finish(code: int) -> int:
    """Flush both and return the exit code: of what succeeded, 1 if its output is lost, 141 if its reader went away."""
    put("", now=True)
    if not _lost:
        return code
    if isinstance(_lost[0], BrokenPipeError):  # as `| head` does
        return code or 141
    tell(f"error: stdout cannot be written: {_lost[0].strerror}\n")
    return code or 1
