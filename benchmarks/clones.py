"""A fresh migrated database for a test: a clone, beside running all migrations again, for 5, 50 and 300 of them.

`python benchmarks/clones.py [--runs N] [--root DIR] [--output json]`. Real embedded servers below DIR (default: a temporary
directory), medians of whole calls in one process, connection included. Leaves nothing behind.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

COUNTS = (5, 50, 300)
TABLES = 5
SEEDS = 2_000  # rows of every seed; there is one for every table, after the other migrations
MANIFEST = """version: 1
servers:
  postgres: {{engine: postgres, dsn: "{postgres}"}}
  mongo: {{engine: mongo, dsn: "{mongo}"}}
databases:
"""


@dataclass(frozen=True)
class Figure:
    """Milliseconds, medians and the best: `again` runs every migration, `clone` copies, `first` builds a template too."""

    engine: str
    migrations: int
    seeds: bool
    first: float
    clone: float
    drop: float
    again: float
    best_clone: float
    best_again: float


def sql(number: int) -> str:
    """One migration of a schema that stays of one size: the first make tables, the others change them."""
    table = f"table_{number % TABLES}"
    if number < TABLES:
        return f"CREATE TABLE {table} (id bigserial PRIMARY KEY, note text NOT NULL, at timestamptz DEFAULT now());\n"
    if number % 2:
        return f"CREATE INDEX passing ON {table} (note);\nDROP INDEX passing;\n"
    return f"ALTER TABLE {table} ADD COLUMN passing integer;\nALTER TABLE {table} DROP COLUMN passing;\n"


def commands(number: int) -> str:
    name = f"things_{number % TABLES}"
    if number < TABLES:
        return json.dumps([{"create": name, "validator": {"$jsonSchema": {"required": ["note"]}}}])
    if number % 2:
        index = {"key": {"note": 1}, "name": "passing"}
        return json.dumps([{"createIndexes": name, "indexes": [index]}, {"dropIndexes": name, "index": "passing"}])
    return json.dumps([{"collMod": name, "validationLevel": "moderate"}])


def seed(engine: str, number: int) -> str:
    if engine == "postgres":
        return (
            f"INSERT INTO table_{number % TABLES} (note) SELECT 'note ' || n FROM generate_series(1, {SEEDS}) AS n;\n"
        )
    documents = [{"note": f"note {n}"} for n in range(SEEDS)]
    return json.dumps([{"insert": f"things_{number % TABLES}", "documents": documents}])


def write(root: Path, servers: dict[str, str]) -> None:
    """Write a project with a database for every engine and number of migrations; the last is a seed."""
    lines = [MANIFEST.format(**servers)]
    for engine, extension, make in (("postgres", "sql", sql), ("mongo", "js", commands)):
        for count in COUNTS:
            name = f"bench{count}"
            lines.append(f"  - {{name: {name}, server: {engine}}}\n")
            folder = root / "migrations" / f"{engine}-{name}" / "schema"
            folder.mkdir(parents=True)
            for number in range(count):
                (folder / f"{number + 1:06d}_change.up.{extension}").write_text(make(number))
            for number in range(TABLES):
                (folder / f"{count + number + 1:06d}_seed.up.{extension}").write_text(seed(engine, number))
    (root / "databases.yaml").write_text("".join(lines))


def milliseconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def measure(root: Path, engine: str, count: int, seeds: bool, runs: int) -> Figure:
    from orchestrator import testing
    from orchestrator.scratch.clones import Cloner

    estate = testing.estate(root / "databases.yaml")
    id = f"{engine}-bench{count}"
    clones, drops = [], []

    def once() -> None:
        started = time.perf_counter()
        with estate.database(id, seeds=seeds) as fresh:
            connection = fresh.connect()
            if engine == "mongo":
                connection.admin.command("ping")
            fresh.close()
            clones.append((time.perf_counter() - started) * 1000)
            ended = time.perf_counter()
        drops.append((time.perf_counter() - ended) * 1000)

    first = milliseconds(once)
    clones.clear()
    drops.clear()
    for _ in range(runs):
        once()
    cloner: Cloner = estate._cloner(estate.manifest.database(id), seeds)
    template = cloner._template(id)

    def again() -> None:
        cloner._migrate(id, f"{template[:-4]}{os.urandom(2).hex()}")  # the road of `orch apply`, to another name

    migrated = [milliseconds(again) for _ in range(max(2, runs // 10))]
    copies = cloner._of(id)
    for name in copies.names(template[:-4]):
        with suppress(Exception):
            copies.drop(name)
    return Figure(
        engine,
        count,
        seeds,
        round(first, 1),
        round(statistics.median(clones), 1),
        round(statistics.median(drops), 1),
        round(statistics.median(migrated), 1),
        round(min(clones), 1),
        round(min(migrated), 1),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--output", choices=("text", "json"), default="text")
    options = parser.parse_args()
    from orchestrator import embedded

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # then everything is stopped and removed too
    with tempfile.TemporaryDirectory(prefix="orch-bench-", dir=options.root) as directory:
        root = Path(directory)
        root.chmod(0o711)  # a server that root may not run itself must reach its data here
        servers = embedded.up(root / "servers", ["postgres", "mongo"])
        try:
            write(root, {engine: server.dsn() for engine, server in servers.items()})
            os.chdir(root)
            figures = [
                measure(root, engine, count, seeds, options.runs)
                for engine in ("postgres", "mongo")
                for seeds in (True, False)
                for count in COUNTS
            ]
            products = ", ".join(server.product for server in servers.values())
        finally:
            embedded.remove(root / "servers")
    if options.output == "json":
        print(json.dumps({"servers": products, "figures": [asdict(figure) for figure in figures]}, indent=2))
    else:
        print(f"{products}; milliseconds, medians of {options.runs}\n")
        print("engine    migrations  seeds  migrate again (best)   clone  (best)    drop   first   ratio")
        for f in figures:
            seeds = "yes" if f.seeds else "no"
            ratio = f.again / f.clone
            print(
                f"{f.engine:9} {f.migrations:10}  {seeds:5} {f.again:14.1f} {f.best_again:6.0f} {f.clone:8.1f} "
                f"{f.best_clone:7.1f} {f.drop:7.1f} {f.first:7.0f} {ratio:6.1f}x"
            )
    sys.stdout.flush()
    os._exit(0)  # pymongo's exit handler would wait for half a second


main()
