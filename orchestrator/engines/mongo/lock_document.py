"""What a lock document says about its holder: since when, and whether that process still runs. And who granted it."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pymongo import MongoClient


def runs(pid: Any) -> bool:
    """Whether there is a process with this id on this machine; without `/proc`, as on macOS, a signal asks."""
    if Path("/proc/self").exists():
        return Path(f"/proc/{pid}").exists()
    try:
        os.kill(int(pid), 0)
    except PermissionError:  # it belongs to somebody else
        return True
    except (OSError, ValueError, TypeError, OverflowError):
        return False
    return int(pid) > 0


def machine() -> str:
    """Return a name for this boot and pid namespace, within which a pid means one process; '' if it is unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def writable(client: MongoClient[Any]) -> str:
    """Return which process takes the writes, and since which election; '' where the driver cannot tell.

    A write that it acknowledged is lost only if this changes. Behind a mongos it may change unseen.
    """
    servers = client.topology_description.server_descriptions().values()
    known = (
        f"{version['processId']} {one.election_id}"
        for one in servers
        if one.is_writable and one.server_type_name != "Mongos" and (version := one.topology_version)
    )
    return " ".join(known)


def aware(moment: datetime) -> datetime:
    """Return a moment with its time zone; one without any is of UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def clock(since: Any, now: datetime) -> str:
    """Return since when something is, and for how long, as people read it."""
    if not isinstance(since, datetime):
        return str(since)
    age = max(timedelta(), now - aware(since))
    hours, minutes = age.seconds // 3600, age.seconds // 60 % 60
    parts = ((age.days, "days"), (hours, "h"), (minutes, "min"), (age.seconds % 60, "s"))
    first = next((i for i, (number, _) in enumerate(parts) if number), len(parts) - 1)
    told = " ".join(f"{number} {unit}" for number, unit in parts[first : first + 2])
    return f"{since:%Y-%m-%d %H:%M:%S %Z}".rstrip() + f", for {told}"
