"""End the session that holds a migration lock, for engines in which the lock belongs to a session."""

from __future__ import annotations

import time
from collections.abc import Callable

from orchestrator.errors import LockError
from orchestrator.hints import Command, Hint
from orchestrator.model import LockHolder

_WITHIN = 10.0  # seconds
_LOOK_EVERY = 0.25  # seconds


def end_holder(
    id: str, holder: LockHolder, *, terminate: bool, end: Callable[[], object], current: Callable[[], LockHolder | None]
) -> None:
    """End the session of the holder by `end`, and wait until it no longer holds the lock, as `current` tells.

    LockError without `terminate`, or if the session still holds the lock after 10 seconds.
    """
    if not terminate:
        raise LockError(
            f"the lock of {id} is held by a running session: {holder.description}",
            hint=Hint("let it finish, or end that session: ", Command("unlock", id, "--terminate")),
        )
    deadline = time.monotonic() + _WITHIN
    end()
    while (now := current()) and now.key == holder.key:
        if time.monotonic() >= deadline:
            raise LockError(
                f"orch has ended {holder.description}, but it still holds the lock of {id}",
                hint=Hint("look again: ", Command("unlock", id)),
            )
        time.sleep(_LOOK_EVERY)
