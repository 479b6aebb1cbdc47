"""What orch itself costs: a fleet of databases of an engine in memory, whose servers answer at once.

`python benchmarks/core.py [--databases N] [--migrations M] [--servers S] [--work nothing|pending|bootstrap]
[--command apply|plan|status] [--output text|json]` runs one command in this process and prints its CPU time and its peak
memory. The engine keeps nothing for a database but its state; every history is made anew for each reader, as a driver does.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from memory_engine import Memory, MemorySession, Store
from toy_engine import DIALECT

from orchestrator.engines import DIALECTS
from orchestrator.model import Attempt, CreateOptions, Direction, History, LockHolder, Target, VersionRow

ROWS: list[dict[str, Any]] = []
"""The history of a database that is up to date, as a server has it."""
STORES: dict[str, Store] = {}
"""The state of the databases that this run writes to."""
WORK = {"pending": 1, "nothing": 0}
FLEET = DIALECT._replace(engine="__main__:Fleet")
"""The record of the engine below."""


class Fleet(Memory):
    """The memory engine with as many databases as are asked for."""

    behind: int | None = 0
    """How many migrations of each database are pending; None: all, and no database is there."""

    def __init__(self, actor: str, run_id: str) -> None:
        super().__init__(Store())
        self._mutex = threading.Lock()
        del actor, run_id

    def create(self, target: Target, options: CreateOptions) -> bool:
        del options
        STORES[target.database] = Store(exists=True)
        return True

    @contextmanager
    def connect(self, target: Target, until: float | None = None) -> Iterator[MemorySession]:
        del until
        yield FleetSession(target.database, self.behind)


class FleetSession(MemorySession):
    """A session on one database of the fleet; its state is made when it is written to."""

    def __init__(self, name: str, behind: int | None) -> None:
        self._name, self._behind = name, behind

    def read_history(self, extensions: Sequence[str] = ()) -> History:
        if self._name in STORES:
            return super().read_history(extensions)
        if self._behind is None:
            return History(exists=False)
        rows = ROWS[: len(ROWS) - self._behind]
        attempts = tuple(Attempt(**row) for row in rows)
        return History(True, bool(rows), VersionRow(attempts[-1].version) if attempts else None, attempts)

    def look(self, extensions: Sequence[str] = ()) -> tuple[History, LockHolder | None]:
        return self.read_history(extensions), None

    @property
    def _store(self) -> Store:  # type: ignore[override] - made when it is first asked for
        if self._name not in STORES:
            history = self.read_history()
            attempts = {(one.version, one.number): one for one in history.attempts}
            STORES[self._name] = Store(attempts=attempts, version_row=history.version_row, exists=True)
        return STORES[self._name]


def project(root: Path, databases: int, migrations: int, servers: int) -> None:
    """Write a manifest of many databases that share their migrations, on several servers."""
    from orchestrator.planning.catalog import read_catalog

    directory = root / "migrations" / "tenant"
    directory.mkdir(parents=True)
    for version in range(1, migrations + 1):
        (directory / f"{version:06d}_step.up.toy").write_text(f"add thing{version}\n")
        (directory / f"{version:06d}_step.down.toy").write_text(f"remove thing{version}\n")
    lines = ["version: 1\nservers:\n"]
    lines += [f'  s{n}: {{engine: toy, dsn: "toy://host{n}:1/{{database}}"}}\n' for n in range(servers)]
    lines.append("databases:\n")
    lines += [f"  - {{name: t{n}, server: s{n % servers}, migrations: migrations/tenant}}\n" for n in range(databases)]
    (root / "databases.yaml").write_text("".join(lines))
    from orchestrator.model import Database

    for one in read_catalog(Database("toy-t0", "toy", "t0", "", directory)):
        assert one.up is not None
        ROWS.append(
            {
                "version": one.version,
                "number": 1,
                "name": one.name,
                "direction": Direction.UP,
                "checksum": one.up.checksum,
                "applied": 1,
                "total": 1,
                "done": True,
                "actor": "bench@host",
                "run_id": "00000000",
            }
        )


def measured(work: Callable[[], None]) -> tuple[float, float]:
    """Return the CPU seconds that the work took, and its wall time."""
    started, cpu = time.perf_counter(), time.process_time()
    work()
    return time.process_time() - cpu, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--databases", type=int, default=1_000)
    parser.add_argument("--migrations", type=int, default=50)
    parser.add_argument("--servers", type=int, default=10)
    parser.add_argument("--work", choices=("nothing", "pending", "bootstrap"), default="nothing")
    parser.add_argument("--command", choices=("apply", "plan", "status"), default="apply")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    options = parser.parse_args()
    DIALECTS["toy"] = "__main__:FLEET"
    Fleet.behind = {"nothing": 0, "pending": 1, "bootstrap": None}[options.work]
    with tempfile.TemporaryDirectory(prefix="orch-core-") as root:
        project(Path(root), options.databases, options.migrations, options.servers)
        os.chdir(root)
        started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        cpu, wall = measured(lambda: orch(options.command, options.output))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{options.command} --output {options.output}, {options.work}: "
        f"{options.databases:,} databases x {options.migrations}, {options.servers:,} servers: "
        f"{cpu:.2f} s CPU ({cpu / options.databases * 1e6:,.0f} us a database), {wall:.2f} s, "
        f"peak {peak / 1024:,.0f} MB (before: {started / 1024:,.0f})"
    )


def orch(command: str, output: str) -> None:
    """Run a command, with what it says thrown away."""
    import gc

    from orchestrator.cli.run import run

    gc.set_threshold(200_000)  # as the command has it
    sys.argv[1:] = [command, "--output", output, *(["--yes"] if command == "apply" else [])]
    streams = os.dup(1), os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 1)
        os.dup2(null, 2)
        code = run()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(streams[0], 1)
        os.dup2(streams[1], 2)
    if code:
        sys.exit(f"orch {command}: exit code {code}")


if __name__ == "__main__":
    main()
