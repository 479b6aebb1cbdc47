"""How orch grows: fleets of several sizes beside the raw drivers, and the same over a slow network.

`python benchmarks/sizes.py [--postgres 1,20,100,1000] [--mongo 100,1000] [--latency MS] [--runs N] [--bootstrap]`. Installs
the wheel into a new environment, starts real servers with their default durability, lets orch and the floor take turns and
prints medians as a table in Markdown. CPU is that of the client process alone, start-up included. Leaves nothing behind.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import resource
import shutil
import signal
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from run import COMMANDS, HERE, SERVERS, SQL, Bench

Used = tuple[float, float]
"""Seconds of wall time and of CPU."""


class Sizes(Bench):
    """Fleets whose members share one directory of migrations."""

    def fleet(self, engine: str, count: int) -> Path:
        """Write a fleet with three migrations, and return its directory."""
        directory = self.root / f"{engine}{count}_"
        (directory / "migrations").mkdir(parents=True)
        for version in (1, 2, 3):
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

    def turns(self, *works: Callable[[], Used], warm: bool = True) -> list[Used]:
        """Let the works take turns, and return the medians of each; the first round is not counted."""
        rounds = [[work() for work in works] for _ in range(self.runs + warm)][warm:]
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
    def delayed(self, seconds: float) -> Iterator[None]:
        """Put a proxy before the servers, behind which every answer takes so much longer."""
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        before = dict(self.env)
        for engine in ("POSTGRES", "MONGO"):
            started = _proxy(self.env[f"{engine}_HOST"], int(self.env[f"{engine}_PORT"]), seconds / 2)
            server = asyncio.run_coroutine_threadsafe(started, loop).result()
            self.env |= {f"{engine}_HOST": "127.0.0.1", f"{engine}_PORT": str(server.sockets[0].getsockname()[1])}
        yield
        self.env = before
        asyncio.run_coroutine_threadsafe(_end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)


async def _end() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _proxy(host: str, port: int, delay: float) -> asyncio.Server:
    async def one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pending: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        clock = asyncio.get_running_loop().time

        async def pass_on() -> None:
            while True:
                due, data = await pending.get()
                await asyncio.sleep(max(0.0, due - clock()))
                if not data:
                    break
                writer.write(data)
                await writer.drain()
            writer.close()

        passing = asyncio.create_task(pass_on())
        data = b"?"
        while data:
            try:
                data = await reader.read(65_536)
            except OSError:
                data = b""
            pending.put_nowait((clock() + delay, data))
        await asyncio.gather(passing, return_exceptions=True)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection(host, port)
        await asyncio.gather(one_way(reader, ours), one_way(theirs, writer), return_exceptions=True)

    return await asyncio.start_server(serve, "127.0.0.1", 0)


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
            stack.enter_context(bench.delayed(options.latency / 1000))
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
