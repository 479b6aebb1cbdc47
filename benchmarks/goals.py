"""All figures of docs/performance.md that have a goal, in one table in Markdown, within twelve minutes.

`python benchmarks/goals.py [--most 1000] [--runs 3] [--only SECTION]`. Installs the wheel into a new environment, starts real
servers with their default durability, lets orch and the floor take turns, and prints medians. `orch s` is the whole process,
start-up included; `floor s` leaves out the start of Python. Needs 10 GB of disk for a thousand databases, one set at a
time. Leaves nothing behind.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from installed import HERE, SERVERS
from sizes import Sizes, Used, machine

ROWS = 400_000
UP_TO_DATE = "orch apply, nothing to do"
SECTIONS = ("core", "sqlite", "large", "postgres", "many", "mysql", "mongo")
"""The parts of the table, in the order in which they are measured."""
PLAIN = (
    "CREATE TABLE item (id integer PRIMARY KEY, name varchar(80) NOT NULL);\nCREATE INDEX item_name ON item (name);\n",
    "ALTER TABLE item ADD COLUMN note varchar(80);\n",
    "INSERT INTO item (id, name) VALUES (1, 'one'), (2, 'two');\n",
)
"""Three migrations that SQLite and MySQL understand."""


class Row(NamedTuple):
    """One figure. `peak` is in MB, `goal` a multiple of the floor, `limits` what else is asked for, in words."""

    work: str
    orch: Used
    floor: Used | None = None
    peak: float = 0.0
    goal: float = 0.0
    limits: str = ""

    def line(self) -> str:
        """Return the figure as a row of the table."""
        ours, raw = self.orch, self.floor or (0.0, 0.0)
        ratios = [f"{mine / least:.2f}" if least else "" for mine, least in zip(ours, raw, strict=True)]
        least = [f"{value:.2f}" if value else "" for value in raw]
        peak = f"{self.peak:.0f} MB" if self.peak else ""
        goal = f"≤ {self.goal:g} x floor" if self.goal else self.limits
        cells = (self.work, f"{ours[0]:.2f}", least[0], ratios[0], f"{ours[1]:.2f}", least[1], ratios[1], peak, goal)
        return f"| {' | '.join(cells)} |"


HEAD = (
    "| work | orch s | floor s | ratio | orch CPU s | floor CPU s | CPU ratio | peak memory | goal |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


class Goals(Sizes):
    """The figures, section by section. Each section has servers of its own."""

    most = 1_000

    def peak(self, *command: str | Path, cwd: Path) -> tuple[Used, float, str]:
        """Run a program; return its wall and CPU time, its peak memory in MB, and what it printed."""
        started = time.perf_counter()
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(
                [*map(str, command)], cwd=cwd, env=self.env, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
            _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - started
            said.seek(0)
            text = said.read()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{' '.join(map(str, command))}: exit code {process.returncode}\n{text}")
        return (wall, used.ru_utime + used.ru_stime), used.ru_maxrss / 1024, text

    def postgres(self) -> Iterator[Row]:
        """Small fleets, beside an empty Python too, for they are mostly start-up; and over a slow network."""
        counts = [count for count in (1, 20, 100) if count < self.most]
        with self.servers("postgres"):
            for name, orch, floor in self.sizes("postgres", counts, bootstrap=True):
                yield Row(name, orch, floor)
            with self.delayed(20):
                for count in counts:
                    yield self.up_to_date("postgres", count, "; each round trip takes 20 ms longer")
            yield from self.start_up(counts)

    def start_up(self, counts: list[int]) -> Iterator[Row]:
        """Measure short commands. Their floor is a Python that does nothing."""
        works: dict[str, tuple[tuple[str, ...], Path, str]] = {
            "orch --version": (("--version",), self.root, "≤ 3 x empty Python"),
            "orch --help": (("--help",), self.root, "≤ 6 x empty Python"),
        }
        applies = [(count, most) for count, most in ((1, 9), (20, 11)) if count in counts]
        for count, _ in applies:
            works[f"{UP_TO_DATE}, {count} PostgreSQL, with a password"] = (
                ("apply",),
                self.root / f"postgres{count}_",
                "",
            )
        yield from self.beside_empty_python(works)
        self.trust()
        works = {
            f"{UP_TO_DATE}, {count} PostgreSQL": (
                ("apply",),
                self.root / f"postgres{count}_",
                f"≤ {most} x empty Python (CPU)",
            )
            for count, most in applies
        }
        yield from self.beside_empty_python(works)

    def beside_empty_python(self, works: Mapping[str, tuple[tuple[str, ...], Path, str]]) -> Iterator[Row]:
        """Measure commands: the arguments of each, where it runs, and what is asked for. Many runs, as they are short."""
        for work, (arguments, directory, limits) in works.items():
            ours, least = self.turns(
                lambda given=arguments, at=directory: self.used(self.bin / "orch", *given, cwd=at)[0],  # type: ignore[misc]
                lambda: self.used(self.bin / "python", "-c", "")[0],
                times=3,
            )
            yield Row(work, ours, least, limits=limits)

    def trust(self) -> None:
        """Let everybody in without a password, as on the server for which the goals of the start-up were set."""
        (file,) = self.root.glob("servers/**/pg_hba.conf")
        file.write_text("host all all 127.0.0.1/32 trust\n")
        login = {name: self.env[f"POSTGRES_{name}"] for name in ("HOST", "PORT", "USER")}
        reload = (
            "import os, psycopg; psycopg.connect(os.environ['DSN'], autocommit=True).execute('SELECT pg_reload_conf()')"
        )
        dsn = "postgres://{USER}:{PASSWORD}@{HOST}:{PORT}/postgres".format(
            PASSWORD=self.env["POSTGRES_PASSWORD"], **login
        )
        subprocess.run([self.bin / "python", "-c", reload], check=True, env={**self.env, "DSN": dsn})
        time.sleep(1)  # the server reads the file when it gets to it

    def many(self) -> Iterator[Row]:
        """A thousand databases."""
        count = self.most
        directory = self.fleet("postgres", count)
        files = sorted((directory / "migrations").glob("*.up.*"))
        with self.servers("postgres"):
            orch = self.apply(directory)
            yield self.up_to_date("postgres", count, goal=1.15)
            with self.delayed(20):
                yield self.up_to_date("postgres", count, "; each round trip takes 20 ms longer", runs=1)
            rounds = []
            for version in range(4, 4 + 2 * min(2, self.runs), 2):
                self.write(directory, "postgres", version)
                ours = self.apply(directory)
                raw = self.root / f"{version + 1:06d}_raw.up.sql"  # the same work, of which orch has no file
                text = (directory / "migrations" / f"{version:06d}_step.up.sql").read_text()
                raw.write_text(text.replace(f"_{version}", f"_{version + 1}"))
                rounds.append((ours, self.raw("pending", directory.name, count, raw)))
            ours, least = (_median([pair[side] for pair in rounds]) for side in (0, 1))
            yield Row(f"one pending in each of {count:,} PostgreSQL", ours, least, goal=1.7)
        with self.servers("postgres"):
            floor = self.raw("bootstrap", "raw", count, *files)
        yield Row(f"bootstrap, {count:,} x 3, PostgreSQL (once)", orch, floor, goal=1.15)
        manifest = directory / "databases.yaml"
        manifest.write_text(
            manifest.read_text().replace("migrations: migrations", "migrations: migrations, bootstrap: template")
        )
        for file in (directory / "migrations").iterdir():
            if int(file.name[:6]) > 3:
                file.unlink()
        with self.servers("postgres"):
            yield Row(f"bootstrap from a template, {count:,} x 3 (once)", self.apply(directory), floor, goal=0.6)

    def up_to_date(self, engine: str, count: int, more: str = "", *, goal: float = 0.0, runs: int = 0) -> Row:
        """Measure a fleet that is there and up to date."""
        directory = self.root / f"{engine}{count}_"
        work = "nothing" if engine == "postgres" else "mongo"
        rounds = [(self.apply(directory), self.raw(work, directory.name, count)) for _ in range(runs or self.runs)]
        ours, least = (_median([pair[side] for pair in rounds]) for side in (0, 1))
        title = {"postgres": "PostgreSQL", "mongo": "MongoDB"}[engine]
        return Row(f"nothing to do, {count:,} {title}{more}", ours, least, goal=goal)

    def mongo(self) -> Iterator[Row]:
        """MongoDB: fleets that are up to date, and new ones."""
        with self.servers("mongo"):
            counts = sorted({min(100, self.most), self.most})
            for count in counts:
                self.apply(self.fleet("mongo", count, 1))  # each collection and index is an open file of mongod
                yield self.up_to_date("mongo", count, goal=2.5)
            with self.delayed(20):
                yield self.up_to_date("mongo", counts[0], "; each round trip takes 20 ms longer")
        with self.servers("mongo"):
            yield self.bootstraps("mongo", 50, 1.4)

    def bootstraps(self, engine: str, count: int, goal: float) -> Row:
        """Measure new databases with three migrations each; the first round is not counted."""
        rounds = []
        for number in range(max(2, self.runs)):
            name = f"{engine}{number}_"
            directory = self.root / f"new_{name}"
            (directory / "migrations").mkdir(parents=True)
            for version in (1, 2, 3):
                if engine == "mongo":
                    self.write(directory, engine, version)
                else:
                    (directory / "migrations" / f"{version:06d}_x.up.sql").write_text(PLAIN[version - 1])
            source = f"for_each: {{range: 0..{count - 1}}}"
            entry = f"  - {{name: 'orch_{name}{{n}}', server: {engine}, {source}, migrations: migrations}}\n"
            (directory / "databases.yaml").write_text(SERVERS + entry)
            files = sorted((directory / "migrations").glob("*.up.*"))
            prefix = str(self.root / f"raw_{name}") if engine == "sqlite" else f"raw_{name}"
            rounds.append((self.apply(directory), self.raw(f"new-{engine}", prefix, count, *files)))
        ours, least = (_median([pair[side] for pair in rounds[1:]]) for side in (0, 1))
        title = {"mongo": "MongoDB", "sqlite": "SQLite", "mysql": "MySQL"}[engine]
        return Row(f"bootstrap, {count} x 3, {title}", ours, least, goal=goal)

    def sqlite(self) -> Iterator[Row]:
        """SQLite has no server."""
        yield self.bootstraps("sqlite", 100, 1.5)

    def mysql(self) -> Iterator[Row]:
        """MariaDB or MySQL, as it is installed."""
        with self.servers("mysql"):
            yield self.bootstraps("mysql", 100, 1.3)

    def core(self) -> Iterator[Row]:
        """orch alone, with an engine in memory."""
        count = 10 * self.most
        used, peak, text = self.peak(
            self.bin / "python", HERE / "core.py", "--databases", str(count), "--migrations", "50", cwd=self.root
        )
        each = re.search(r"\(([\d,]+) us a database\)", text)
        what = f"engine in memory, {count:,} x 50: {int(each[1].replace(',', '')) / 1000:.2f} ms each" if each else text
        yield Row(what, used, peak=peak, limits="≤ 0.4 ms each, ≤ 250 MB")

    def large(self) -> Iterator[Row]:
        """One file of very many INSERTs."""
        directory = self.root / "large"
        (directory / "migrations").mkdir(parents=True)
        (directory / "databases.yaml").write_text(
            SERVERS + "  - {name: large, server: postgres, migrations: migrations}\n"
        )
        file, rows = directory / "migrations" / "000001_rows.up.sql", ROWS * self.most // 1_000
        with file.open("w") as out:
            out.write("CREATE TABLE item (id integer, name text);\n")
            for n in range(rows):
                out.write(f"INSERT INTO item (id, name) VALUES ({n}, 'item number {n} {'x' * 40}');\n")
        with self.servers("postgres"):
            used, peak, _ = self.peak(self.bin / "orch", "apply", "--yes", cwd=directory)
            floor = self.raw("bootstrap", "raw", 1, file)
        yield Row(f"one file of {rows:,} INSERTs", used, floor, peak=peak, limits="≤ 5 s, ≤ 250 MB")


def _median(found: list[Used]) -> Used:
    return statistics.median(one[0] for one in found), statistics.median(one[1] for one in found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--most", type=int, default=1_000, help="databases of the largest fleet; the others shrink with it"
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", choices=SECTIONS, help="measure this section alone")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    failed = []
    with ExitStack() as stack:
        root = Path(tempfile.mkdtemp(prefix="orch-goals-"))
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        root.chmod(0o711)
        bench = Goals(root, options.runs)
        bench.most = options.most
        bench.install()
        sections: dict[str, Callable[[], Iterator[Row]]] = {name: getattr(bench, name) for name in SECTIONS}
        print(f"{machine()}; medians of {options.runs}\n\n{HEAD}")
        products: dict[str, None] = {}
        for name, section in sections.items():
            if options.only and name != options.only:
                continue
            began = time.monotonic()
            try:
                for row in section():
                    print(row.line(), flush=True)
            except (SystemExit, subprocess.SubprocessError, OSError) as error:
                if isinstance(error, SystemExit) and error.code == 143:
                    raise
                failed.append(name)
                print(f"{name}: {error}", file=sys.stderr, flush=True)
            products |= dict.fromkeys(bench.products)
            print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
        print(f"\nServers: {', '.join(products)}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
