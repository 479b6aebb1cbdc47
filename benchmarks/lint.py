"""How long `orch lint` takes for many files: python benchmarks/lint.py [FILES] [DATABASES]."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TABLE = """-- table {n}
CREATE TABLE t{n} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    state varchar(20) NOT NULL DEFAULT 'new',
    total numeric(10, 2) CHECK (total > 0),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX t{n}_state ON t{n} (state);
"""
LATER = """ALTER TABLE t{n} ADD COLUMN note text DEFAULT '';
UPDATE t{n} SET note = 'x' WHERE id < 100;
"""


def estate(root: Path, files: int, databases: int) -> None:
    """Write a manifest and its files: half of them make tables, half change them; each has a down file."""
    entries = []
    for number in range(databases):
        entries.append(f'  - {{name: d{number}, engine: postgres, dsn: "postgres://nowhere.invalid/{{database}}"}}\n')
        directory = root / f"migrations/postgres-d{number}/schema"
        directory.mkdir(parents=True)
        half = files // databases // 2
        for n in range(half):
            (directory / f"{n + 1:06}_t.up.sql").write_text(TABLE.format(n=n))
            (directory / f"{n + 1:06}_t.down.sql").write_text(f"DROP TABLE t{n};\n")
            (directory / f"{half + n + 1:06}_u.up.sql").write_text(LATER.format(n=n))
            (directory / f"{half + n + 1:06}_u.down.sql").write_text(f"ALTER TABLE t{n} DROP COLUMN note;\n")
    (root / "databases.yaml").write_text("version: 1\ndatabases:\n" + "".join(entries))


def main() -> None:
    """Print wall and processor seconds of three runs."""
    files, databases = (int(one) for one in [*sys.argv[1:], "10000", "10"][:2])
    with tempfile.TemporaryDirectory() as directory:
        estate(Path(directory), files, databases)
        for _ in range(3):
            before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
            done = subprocess.run(["orch", "lint"], cwd=directory, capture_output=True, text=True, check=True)
            after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - begin
            used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(f"{wall:.1f} s, {used:.1f} s of processors: {done.stdout.strip().splitlines()[0]}")


if __name__ == "__main__":
    main()
