"""Detect secondaries of a replica set that are so far behind that majority writes wait for them."""

from __future__ import annotations

from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from orchestrator.model import Blocking

_BEHIND = 3.0  # seconds that are worth a word


def lagging(client: MongoClient[Any]) -> Blocking | None:
    """Return what to say of a majority that is behind its primary; None if it is not, or the server does not tell."""
    try:
        hello = client.admin.command("hello")
        write = hello.get("lastWrite", {})
        if "majorityWriteDate" not in write or write["majorityOpTime"]["ts"] >= write["opTime"]["ts"]:
            return None
        since = max((hello["localTime"] - write["lastWriteDate"]).total_seconds(), 0.0)
        behind = max((write["lastWriteDate"] - write["majorityWriteDate"]).total_seconds(), since)
        if behind < _BEHIND:
            return None
        name = hello.get("setName", "")
        lines = [
            f"a majority of the replica set '{name}' is {behind:.0f} s behind its primary",
            *_members(client, write),
        ]
    except (PyMongoError, KeyError, TypeError):
        return None
    return Blocking(
        who=f"the secondaries of '{name}'",
        detail="\n".join(lines),
        hint="check the members: rs.printSecondaryReplicationInfo(); the run continues when they have caught up",
    )


def _members(client: MongoClient[Any], write: dict[str, Any]) -> list[str]:
    """Return a line for each member that is behind or gone; none without the right to ask."""
    try:
        members = client.admin.command("replSetGetStatus")["members"]
    except PyMongoError:
        return []
    lines = []
    for member in members:
        if member.get("state") == 1:  # the primary
            continue
        if not member.get("health") or "optimeDate" not in member:
            lines.append(f"{member['name']} is {member.get('stateStr', 'unknown').lower()}")
        elif (behind := (write["lastWriteDate"] - member["optimeDate"]).total_seconds()) > 0:
            lines.append(f"{member['name']} is {behind:.0f} s behind")
    return lines
