"""What MongoDB says of a command that takes long: secondaries that lag, an index build, transactions that hold its lock."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from orchestrator.engines.mongo.lag import lagging
from orchestrator.model import Activity, Blocking

SHOWN = 3  # of the transactions in the way
_COUNTS = re.compile(r": \d+/\d+ \d+%$")


def watching(client: MongoClient[Any], session_id: Mapping[str, Any]) -> Callable[[], Activity]:
    """Return a function that asks what the command of a session does now. It tells nothing where it may not ask."""

    def look() -> Activity:
        if behind := lagging(client):
            return Activity(blocking=behind)
        try:
            return _activity(_operations(client, session_id["id"]), session_id["id"])
        except (PyMongoError, KeyError, TypeError, ValueError):
            return Activity()

    return look


def _operations(client: MongoClient[Any], session: Any) -> list[dict[str, Any]]:
    """Return the operations of a session, and open transactions. An index is built by a thread that has the command's session."""
    ours = {"$or": [{"lsid.id": session}, {"command.lsid.id": session}, {"transaction.timeOpenMicros": {"$gt": 0}}]}
    kept = dict.fromkeys(
        ("msg", "progress", "waitingForLock", "microsecs_running", "lsid", "command.lsid", "client", "appName"), 1
    ) | {"transaction.timeOpenMicros": 1}
    for every in (True, False):  # whoever may not see those of others sees their own
        asked = {"allUsers": every, "idleSessions": True}
        try:
            return list(client.admin.aggregate([{"$currentOp": asked}, {"$match": ours}, {"$project": kept}]))
        except OperationFailure as error:
            if not every or error.code != 13:  # Unauthorized
                raise
    return []


def _activity(operations: Sequence[Mapping[str, Any]], session: Any) -> Activity:
    ours = [one for one in operations if _session(one) == session]
    for one in ours:
        if message := one.get("msg"):
            counted = one.get("progress") or {}
            return Activity(_said_once(message), int(counted.get("done", 0)), int(counted.get("total", 0)))
    waited = max((one.get("microsecs_running", 0) for one in ours if one.get("waitingForLock")), default=None)
    return Activity() if waited is None else Activity(blocking=_holders(operations, session, waited))


def _session(operation: Mapping[str, Any]) -> Any:
    lsid = operation.get("lsid") or operation.get("command", {}).get("lsid") or {}
    return lsid.get("id")


def _said_once(message: str) -> str:
    """Return `Index Build: scanning collection` of that text, said twice and followed by counts."""
    text = _COUNTS.sub("", message)
    first, second = text[: len(text) // 2], text[len(text) // 2 + 1 :]
    return first if first == second else text


def _holders(operations: Sequence[Mapping[str, Any]], session: Any, waited: int) -> Blocking | None:
    """Return the open transactions that are older than the wait, the oldest first: of these one holds the lock."""
    ages = [
        (one["transaction"]["timeOpenMicros"] / 1e6, one)
        for one in operations
        if one.get("transaction") and _session(one) != session and one["transaction"]["timeOpenMicros"] >= waited
    ]
    if not ages:
        return None
    ages.sort(key=lambda one: -one[0])
    who = [f"a transaction of {_client(one)}" for _, one in ages]
    more = f" and {len(who) - SHOWN} more" if len(who) > SHOWN else ""
    lines = [f"blocked by {name}, which began {age:.0f} s ago" for name, (age, _) in zip(who, ages, strict=True)]
    return Blocking(
        ", ".join(who[:SHOWN]) + more,
        "\n".join(lines[:SHOWN]),
        "wait until it is done, or end it: killSessions in mongosh",
        datetime.now(UTC) - timedelta(seconds=ages[0][0]),
    )


def _client(operation: Mapping[str, Any]) -> str:
    name = f" ({operation['appName']})" if operation.get("appName") else ""
    return f"{operation.get('client', 'a client that is gone')}{name}"
