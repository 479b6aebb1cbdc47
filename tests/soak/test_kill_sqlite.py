"""SQLite: a run killed at every point, and again a moment after it, is finished by the next."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from estate import Estate, Figure
from kill import Forge

FILES = {
    "1_a.up.sql": "CREATE TABLE log (n int);\nCREATE TABLE a (i int);\nINSERT INTO log VALUES (1);\n",
    "1_a.down.sql": "DROP TABLE a;\nDROP TABLE log;\n",
    "2_b.up.sql": "PRAGMA journal_mode = wal;\nCREATE TABLE b (i int);\nVACUUM;\nINSERT INTO log VALUES (2);\n",
    "2_b.down.sql": "PRAGMA journal_mode = delete;\nDROP TABLE b;\nDELETE FROM log WHERE n = 2;\n",
    "3_c.up.sql": "PRAGMA foreign_keys = 1;\nALTER TABLE a ADD COLUMN c text;\nINSERT INTO log VALUES (3);\n",
    "3_c.down.sql": "ALTER TABLE a DROP COLUMN c;\nDELETE FROM log WHERE n = 3;\n",
}
DOWN = ["rollback", "shop", "--to", "0", "--yes"]


def _found(path: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
        if any(name == "log" for _, name, _ in found):
            found += connection.execute("SELECT n FROM log ORDER BY n").fetchall()
    return found


@pytest.mark.soak
@pytest.mark.parametrize("command", [["apply"], DOWN], ids=["apply", "rollback"])
def test_every_kill_point_of_sqlite(tmp_path: Path, forge: Forge, figure: Figure, command: list[str]) -> None:
    estate = Estate(tmp_path, {})
    path = tmp_path / "shop.db"
    (tmp_path / "databases.yaml").write_text(
        'version: 1\ndatabases:\n  - {name: shop, engine: sqlite, dsn: "sqlite3://{database}.db"}\n'
    )
    estate.write("sqlite-shop", FILES)

    def begin() -> None:
        for one in tmp_path.glob("shop.db*"):
            one.unlink()
        if command is DOWN:
            assert forge.run(["apply"], tmp_path, estate.env, kill_at=-1).code == 0

    begin()
    whole = forge.run(command, tmp_path, estate.env, kill_at=0)
    assert whole.code == 0, whole.output
    expected, moments, tried, lost = _found(path), random.Random(18), 0, []
    for at in range(1, len(whole.points) + 1):
        for delay in (0.0, moments.uniform(0.0002, 0.01)):
            begin()
            forge.run(command, tmp_path, estate.env, kill_at=at, delay=delay)
            second = forge.run(command, tmp_path, estate.env, kill_at=-1)
            tried += 1
            if second.code != 0 or _found(path) != expected:
                lost.append(f"{at} {whole.points[at - 1]} + {delay}: {second.output}")
    figure(f"kills of {command[0]} on SQLite", tried=tried, lost=len(lost), points=len(whole.points))
    assert not lost, lost[0]
