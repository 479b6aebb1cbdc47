"""SQLite: a run killed at every point, and again a moment after it, is finished by the next."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from estate import Estate, Figure
from kill import Forge

# Each file writes rows into the log, also on its way down: a row that is there twice tells that a statement ran twice.
FILES = {
    "1_a.up.sql": "CREATE TABLE log (n int);\nCREATE TABLE a (i int);\nINSERT INTO log VALUES (1);\n",
    "1_a.down.sql": "DROP TABLE a;\nINSERT INTO log VALUES (-1);\n",
    "2_b.up.sql": "PRAGMA journal_mode = wal;\nCREATE TABLE b (i int);\nVACUUM;\nINSERT INTO log VALUES (2);\n",
    "2_b.down.sql": "PRAGMA journal_mode = delete;\nDROP TABLE b;\nINSERT INTO log VALUES (-2);\n",
    "3_c.up.sql": "PRAGMA foreign_keys = 1;\nALTER TABLE a ADD COLUMN c text;\nINSERT INTO log VALUES (3);\n",
    "3_c.down.sql": "ALTER TABLE a DROP COLUMN c;\nINSERT INTO log VALUES (-3);\n",
    "4_d.up.sql": "CREATE TABLE d (i int);\nCREATE TRIGGER t AFTER INSERT ON d BEGIN INSERT INTO log VALUES (new.i); END;\n"
    "INSERT INTO d VALUES (4), (44);\nDROP TRIGGER t;\nCREATE INDEX d_i ON d (i);\n",
    "4_d.down.sql": "INSERT INTO log SELECT -i FROM d;\nDROP TABLE d;\nVACUUM;\nINSERT INTO log VALUES (-444);\n",
    "5_e.up.sql": "PRAGMA wal_checkpoint(TRUNCATE);\nINSERT INTO log VALUES (5);\nPRAGMA auto_vacuum = 1;\nVACUUM;\n"
    "INSERT INTO log SELECT n + 50 FROM log WHERE n = 5;\nPRAGMA journal_mode = truncate;\n",
    "5_e.down.sql": "PRAGMA foreign_keys = 1;\nINSERT INTO log VALUES (-5);\nVACUUM;\nUPDATE log SET n = n + 1 WHERE n = 55;\n"
    "REINDEX;\nUPDATE log SET n = n + 100 WHERE n = 56;\n",
    "6_f.up.sql": "-- nothing but a record\n",
    "6_f.down.sql": "",
}
TRIES = 2  # at each point: at it, and a moment after it
DOWN = ["rollback", "shop", "--to", "0", "--yes"]


def _found(path: Path) -> tuple[list[tuple[object, ...]], Counter[int]]:
    """Return the schema of a database, and how often each row of its log is there: once for each time its file ran."""
    with closing(sqlite3.connect(path)) as connection:
        schema = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
        rows = connection.execute("SELECT n FROM log") if any(name == "log" for _, name, _ in schema) else ()
        return schema, Counter(n for (n,) in rows)


@pytest.mark.soak
@pytest.mark.parametrize("command", [["apply"], DOWN], ids=["apply", "rollback"])
def test_every_kill_point_of_sqlite(tmp_path: Path, forge: Forge, figure: Figure, command: list[str]) -> None:
    estate = Estate(tmp_path, {})
    path, migrated = tmp_path / "shop.db", tmp_path / "migrated"
    (tmp_path / "databases.yaml").write_text(
        'version: 1\ndatabases:\n  - {name: shop, engine: sqlite, dsn: "sqlite3://{database}.db"}\n'
    )
    estate.write("sqlite-shop", FILES)

    def begin() -> None:
        for one in tmp_path.glob("shop.db*"):
            one.unlink()
        if command is DOWN:
            shutil.copyfile(migrated, path)

    if command is DOWN:
        assert forge.run(["apply"], tmp_path, estate.env, kill_at=-1).code == 0
        path.rename(migrated)
    begin()
    whole = forge.run(command, tmp_path, estate.env, kill_at=0)
    assert whole.code == 0, whole.output
    expected, moments, tried, lost, doubled = _found(path), random.Random(18), 0, [], 0
    for at in range(1, len(whole.points) + 1):
        for delay in (0.0, *(moments.uniform(0.0002, 0.01) for _ in range(TRIES - 1))):
            begin()
            forge.run(command, tmp_path, estate.env, kill_at=at, delay=delay)
            second = forge.run(command, tmp_path, estate.env, kill_at=-1)
            tried += 1
            found = _found(path)
            doubled += bool(found[1] - expected[1])
            if second.code != 0 or found != expected:
                lost.append(f"{at} {whole.points[at - 1]} + {delay}: {second.output}")
    counted = {"tried": tried, "lost": len(lost), "doubled": doubled, "points": len(whole.points)}
    figure(f"kills of {command[0]} on SQLite", **counted)
    assert not lost, lost[0]
