"""The cost of a schema snapshot, as each apply takes one where drift is warn or refuse: 10, 500 and 3,000 tables.

`python benchmarks/snapshots.py [--runs N] [--root DIR] [--output json]`. A real embedded PostgreSQL below DIR (default: a
temporary directory); every table has ten columns, a primary and a foreign key, a unique column and two indexes.
Milliseconds, medians; `kept` is what is stored, in KiB.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

from orchestrator.analysis.drift import KeptSnapshot, compare, read_kept, write_kept
from orchestrator.embedded import up
from orchestrator.engines.postgres.schema_snapshot import schema_snapshot

COUNTS = (10, 500, 3_000)
TABLE = (
    "CREATE TABLE t{n} (id int PRIMARY KEY, a text DEFAULT 'x', b int NOT NULL UNIQUE, c timestamptz DEFAULT now(), "
    "d numeric(10,2), e varchar(20) CHECK (e IN ('a', 'b')), f jsonb, g bool, h date, i int REFERENCES t{before} (id)); "
    "CREATE INDEX ON t{n} (c); CREATE INDEX ON t{n} (d)"
)


@dataclass(frozen=True)
class Figure:
    """Milliseconds: to read the schema, to pack it, to unpack it, to compare two of them."""

    tables: int
    objects: int
    read: float
    pack: float
    unpack: float
    compare: float
    kept: float


def median(runs: int, work: Callable[[], object]) -> float:
    """Return the median of several calls, in milliseconds."""
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return round(statistics.median(seconds) * 1000, 1)


def measure(dsn: str, tables: int, runs: int) -> Figure:
    """Make a database with so many tables, and measure."""
    with psycopg.connect(dsn, autocommit=True) as server:
        server.execute("DROP DATABASE IF EXISTS snapshots")
        server.execute("CREATE DATABASE snapshots")
    with psycopg.connect(dsn, dbname="snapshots", autocommit=True) as connection:
        for number in range(tables):
            connection.execute(TABLE.format(n=number, before=max(number - 1, 0)).encode())
        connection.execute("ANALYZE")
        found = schema_snapshot(connection, ())
        kept = KeptSnapshot("postgres", 1, "", found)
        stored = write_kept(kept)
        return Figure(
            tables,
            len(found),
            median(runs, lambda: schema_snapshot(connection, ())),
            median(runs, lambda: write_kept(kept)),
            median(runs, lambda: read_kept(stored)),
            median(runs, lambda: compare(found, found)),
            round(len(stored) / 1024, 1),
        )


def main() -> None:
    """Measure all counts and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--root", default=None)
    parser.add_argument("--output", choices=("text", "json"), default="text")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        server = up(Path(given.root or directory), ["postgres"])["postgres"]
        try:
            figures = [measure(server.dsn("postgres"), tables, given.runs) for tables in COUNTS]
        finally:
            from orchestrator.embedded import down

            down(Path(given.root or directory))
    if given.output == "json":
        print(json.dumps([asdict(figure) for figure in figures], indent=2))
        return
    print(f"{'tables':>8}{'objects':>9}{'read':>9}{'pack':>9}{'unpack':>9}{'compare':>9}{'KiB':>9}")
    for one in figures:
        print(
            f"{one.tables:>8,}{one.objects:>9,}{one.read:>9}{one.pack:>9}{one.unpack:>9}{one.compare:>9}{one.kept:>9}"
        )


if __name__ == "__main__":
    main()
