"""How orch grows: fleets of several sizes beside the raw drivers, and the same over a slow network.

`python benchmarks/sizes.py [--postgres 1,20,100,1000] [--mongo 100,1000] [--latency MS] [--runs N] [--bootstrap]`. Installs
the wheel into a new environment, starts real servers with their default durability, lets orch and the floor take turns and
prints medians as a table in Markdown. CPU is that of the client process alone, start-up included. Leaves nothing behind.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from installed import COMMANDS, HERE, SERVERS, SQL, Bench

Used = tuple[float, float]
"""Seconds of wall time and of CPU."""


class Sizes(Bench):
    """Fleets whose members share one directory of migrations."""

    def fleet(self, engine: str, count: int, migrations: int = 3) -> Path:
        """Write a fleet with so many migrations, and return its directory."""
        directory = self.root / f"{engine}{count}_"
        (directory / "migrations").mkdir(parents=True)
        for version in range(1, migrations + 1):
            self.write(directory, engine, version)
        source = f"for_each: {{range: 0..{count - 1}}}"
        entry = f"  - {{name: '{directory.name}{{n}}', server: {engine}, {source}, migrations: migrations}}\n"
        (directory / "databases.yaml").write_text(SERVERS + entry)
        return directory

    def write(self, directory: Path, engine: str, version: int) -> Path:
        """Write one more migration for all members, and return its up file."""
        up, down = SQL[min(version, len(SQL)) - 1] if engine == "postgres" else COMMANDS
        suffix = "sql" if engine == "postgres" else "json"
        for way, text in (("down", down), ("up", up)):
            file = directory / "migrations" / f"{version:06d}_step.{way}.{suffix}"
            file.write_text(text.replace("{version}", str(version)))
        return file

    def used(self, *command: str | Path, cwd: Path | None = None) -> tuple[Used, str]:
        """Run a program, and return its wall and CPU time and what it printed."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall, printed = self.timed(*command, cwd=cwd)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime), printed

    def apply(self, directory: Path) -> Used:
        return self.used(self.bin / "orch", "apply", cwd=directory)[0]

    def raw(self, work: str, prefix: str, count: int, *files: Path) -> Used:
        """Do the same with the raw driver. The wall time leaves out the start of Python and the imports."""
        (_, cpu), printed = self.used(self.bin / "python", HERE / "floor.py", work, prefix, str(count), *files)
        return float(printed), cpu

    def turns(self, *works: Callable[[], Used], times: int = 1) -> list[Used]:
        """Let the works take turns, `times` as often as asked for, and return the medians; the first round is not counted."""
        rounds = [[work() for work in works] for _ in range(self.runs * times + 1)][1:]
        return [
            (statistics.median(one[0] for one in work), statistics.median(one[1] for one in work))
            for work in zip(*rounds, strict=True)
        ]

    def sizes(self, engine: str, counts: list[int], *, bootstrap: bool) -> Iterator[tuple[str, Used, Used]]:
        """Yield each figure: its name, what orch used, and what the floor used."""
        title = {"postgres": "PostgreSQL", "mongo": "MongoDB"}[engine]
        for count in counts:
            directory = self.fleet(engine, count)
            first = self.apply(directory)
            files = sorted((directory / "migrations").glob("*.up.*"))
            if bootstrap and engine == "postgres":
                yield (
                    f"bootstrap, {count:,} x 3, {title} (once)",
                    first,
                    self.raw("bootstrap", f"raw{count}_", count, *files),
                )
            orch, floor = self.turns(
                lambda at=directory: self.apply(at),  # type: ignore[misc]
                lambda at=directory, n=count: self.raw("nothing" if engine == "postgres" else "mongo", at.name, n),  # type: ignore[misc]
            )
            yield f"nothing to do, {count:,} {title}", orch, floor
            if bootstrap and engine == "postgres":
                last = self.write(directory, engine, 4)
                yield (
                    f"one pending in each of {count:,} {title} (once)",
                    self.apply(directory),
                    self.raw("pending", f"raw{count}_", count, last),
                )

    @contextmanager
    def delayed(self, milliseconds: float) -> Iterator[None]:
        """Put a slow network before the servers that run: each round trip takes so much longer."""
        before, proxies = dict(self.env), []
        try:
            for engine in ("POSTGRES", "MONGO"):
                if f"{engine}_HOST" not in before:
                    continue
                place = before[f"{engine}_HOST"], before[f"{engine}_PORT"], str(milliseconds)
                program = [sys.executable, HERE / "slow_network.py", *place]
                proxies.append(subprocess.Popen([*map(str, program)], stdout=subprocess.PIPE, text=True))
                assert proxies[-1].stdout is not None
                port = proxies[-1].stdout.readline().strip()
                self.env |= {f"{engine}_HOST": "127.0.0.1", f"{engine}_PORT": port}
            yield
        finally:
            self.env = before
            for proxy in proxies:
                proxy.kill()
                proxy.wait()


def machine() -> str:
    """Return what this was measured on."""
    facts = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    model = next((line.partition(":")[2].strip() for line in facts.splitlines() if line.startswith("model name")), "")
    load = os.getloadavg()[0]
    cores, python = os.cpu_count(), platform.python_version()
    return f"{model or platform.machine()}, {cores} cores, load {load:.1f} at the start, Python {python}"


def main() -> None:
    def sizes(text: str) -> list[int]:
        return [int(part) for part in text.split(",") if part]

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--postgres", type=sizes, default=[1, 20, 100, 1_000])
    parser.add_argument("--mongo", type=sizes, default=[100, 1_000])
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds that each round trip takes longer")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--bootstrap", action="store_true", help="measure bootstrap and one pending migration too")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with ExitStack() as stack:
        root = Path(tempfile.mkdtemp(prefix="orch-sizes-"))
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        root.chmod(0o711)
        bench = Sizes(root, options.runs)
        bench.install()
        stack.enter_context(bench.servers("postgres", "mongo"))
        network = ""
        if options.latency:
            stack.enter_context(bench.delayed(options.latency))
            network = f"; each round trip takes {options.latency:g} ms longer"
        print(f"{machine()}; {', '.join(bench.products)}{network}; medians of {options.runs}\n")
        print(
            "| work | orch s | floor s | ratio | orch CPU s | floor CPU s | CPU ratio |\n|---|---|---|---|---|---|---|"
        )
        for engine, counts in (("postgres", options.postgres), ("mongo", options.mongo)):
            for name, orch, floor in bench.sizes(engine, counts, bootstrap=options.bootstrap):
                pairs = zip(orch, floor, strict=True)
                cells = [f"{ours:.2f} | {raw:.2f} | {ours / raw:.2f}" for ours, raw in pairs]
                print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
