"""Names of template databases and clones. A name contains the purpose and the owner, so no register is needed.

orch_template_{database}_{content}                    migrated, never connected to; `content` names its migrations
orch_clone_{machine}_{pid}_{start}_{time}{random}     a copy, or a scratch database of `orch verify`, and
                                                      the process that it belongs to (pid 0: to nobody)
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.model import HISTORY_FORMAT, Database, Migration, Target
from orchestrator.records import replace

_FOREIGN_AFTER = 24 * 3600
"""Seconds after which a clone of a process on another machine, which cannot be looked up, counts as left behind."""

ORPHAN_AFTER = 30 * 24 * 3600
"""Seconds after which a template of a project on another machine, which cannot be looked up, counts as nobody's."""

CLONES = "orch_clone_"
TEMPLATES = "orch_template_"
_CLONE = re.compile(r"orch_clone_([0-9a-f]{8})_(\d+)_(\d+|-1)_([0-9a-f]{8})[0-9a-f]{8}")


def is_clone(name: str) -> bool:
    """Whether this is the name of a clone."""
    return bool(_CLONE.fullmatch(name))


def template_name(database: Database, target: Target, login: str, migrations: Sequence[Migration], tool: str) -> str:
    """Return the name of the template for these migrations, create options, login, and this release of orch."""
    facts = [
        HISTORY_FORMAT,
        tool,
        login,
        [(m.version, m.name, m.up.checksum if m.up else "") for m in migrations],
        database.create._asdict(),
        sorted(target.parameters.items()),
        target.history_name,
        *([sorted(database.variables.items())] if database.variables else []),
    ]
    return f"{family(database, target)}{_hash(facts, 16)}"


def family(database: Database, target: Target) -> str:
    """Return the prefix of the names of all templates of this database, in this checkout of the project only."""
    return f"{TEMPLATES}{_hash([target.engine, database.id, target.database, _directory(database)], 8)}_"


def template_of(database: Database, target: Target) -> tuple[Database, Target]:
    """Return the database that stands for the template of all members of a fleet, and where it would be."""
    if database.fleet is None:
        return database, target
    name = database.fleet.template
    id = f"{database.engine}-{name}"
    return replace(database, id=id, name=name), replace(target, database_id=id, database=name)


def origin(database: Database) -> str:
    """Return what is stored with a template about its project, for `is_orphan`."""
    return json.dumps({"directory": _directory(database), "machine": _lasting_machine(), "at": int(time.time())})


def is_orphan(origin: str) -> bool:
    """Whether the project that a template was made for is gone, or on another machine and the template is old.

    `origin` is what the template remembers; of what is no such text nothing is known.
    """
    try:
        facts = json.loads(origin)
        directory, machine, made = Path(facts["directory"]), facts["machine"], float(facts["at"])
    except (ValueError, TypeError, KeyError):
        return False
    if machine != _lasting_machine():
        return time.time() - made > ORPHAN_AFTER
    return not directory.is_dir()


def clone_name(pid: int | None) -> str:
    """Return a new name for a clone that belongs to the process `pid`; None: the clone stays until a person drops it.

    UsageError if there is no such process.
    """
    started = _started(pid) if pid else 0
    if started < 0:
        raise UsageError(f"there is no process {pid}, to which the clone could belong")
    owner = f"{pid or 0}_{started}"
    return f"{CLONES}{_machine()}_{owner}_{int(time.time()):08x}{secrets.token_hex(4)}"


def is_left_behind(name: str) -> bool:
    """Whether this is a clone whose process is gone."""
    match = _CLONE.fullmatch(name)
    if match is None or match[2] == "0":
        return False
    machine, pid, started, made = match.groups()
    if machine != _machine():
        return time.time() - int(made, 16) > _FOREIGN_AFTER
    return started == "-1" or _started(int(pid)) != int(started)  # -1: of earlier releases, for a process that was gone


def owner(name: str) -> tuple[str, int | None]:
    """Return the owner of a clone, and when it was made (Unix time in seconds), as far as its name tells."""
    match = _CLONE.fullmatch(name)
    if match is None:
        return "", None
    machine, pid, _, made = match.groups()
    if pid == "0":
        return "", int(made, 16)
    if machine != _machine():
        return f"pid {pid} on another machine", int(made, 16)
    return f"pid {pid}{', which has exited' if is_left_behind(name) else ''}", int(made, 16)


def _hash(facts: object, digits: int) -> str:
    return hashlib.sha256(json.dumps(facts, ensure_ascii=False).encode()).hexdigest()[:digits]


def _directory(database: Database) -> str:
    return str(database.directory.resolve())


@cache
def _lasting_machine() -> str:
    """Return a name of this machine that stays the same after a reboot.

    Containers of one image have the same machine-id, or an empty one, and only the host name tells them apart.
    """
    try:
        id = Path("/etc/machine-id").read_text().strip()
    except OSError:
        id = ""
    return _hash([id, os.uname().nodename], 8)


@cache
def _machine() -> str:
    """Return a name of this boot and pid namespace: a pid is valid only there."""
    try:
        here = Path("/proc/sys/kernel/random/boot_id").read_text() + str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        here = os.uname().nodename
    return hashlib.sha256(here.encode()).hexdigest()[:8]


def _started(pid: int) -> int:
    """Return when a process started, in clock ticks since boot: with the pid, that names it. -1: there is none.

    Without `/proc` it is 0 for every process that lives.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        if Path("/proc/self").exists():
            return -1
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return -1
        except PermissionError:
            return 0
        return 0
    return -1 if fields[0] in "ZX" else int(fields[19])
