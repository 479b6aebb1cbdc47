"""Kill everywhere: a run that dies by SIGKILL at any point is finished by the next one, as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Estate
from kill import Ended, Forge
from picture import Picture, difference, mongo_picture, postgres_picture

SHOP = {
    "000001_tables.up.sql": "CREATE TABLE item (id int PRIMARY KEY, name text, hits int DEFAULT 0);\n"
    "INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 50) n;\nCREATE TABLE log (id serial, what text);",
    "000001_tables.down.sql": "DROP TABLE log; DROP TABLE item;",
    "000002_index.up.sql": "CREATE INDEX CONCURRENTLY item_name ON item (name);",
    "000002_index.down.sql": "DROP INDEX CONCURRENTLY item_name;",
    "000003_mixed.up.sql": "-- orch: no-transaction\nINSERT INTO log (what) VALUES ('one');\n"
    "CREATE UNIQUE INDEX CONCURRENTLY item_unique ON item (name);\nUPDATE item SET hits = hits + 1;\n"
    "DROP INDEX CONCURRENTLY item_name;\nINSERT INTO log (what) VALUES ('two');\nVACUUM item;",
    "000003_mixed.down.sql": "-- orch: no-transaction\nCREATE INDEX CONCURRENTLY item_name ON item (name);\n"
    "UPDATE item SET hits = hits - 1;\nDROP INDEX CONCURRENTLY item_unique;\nDELETE FROM log;",
    "000004_blocks.up.sql": "BEGIN;\nINSERT INTO log (what) VALUES ('three');\nUPDATE item SET hits = hits + 10;\nCOMMIT;\n"
    "BEGIN;\nINSERT INTO log (what) SELECT 'n' || count(*) FROM log;\nCOMMIT;",
    "000004_blocks.down.sql": "BEGIN; UPDATE item SET hits = hits - 10; COMMIT; BEGIN; DELETE FROM log WHERE what = 'three'; COMMIT;",
    "000005_last.up.sql": "UPDATE item SET hits = hits * 2; ALTER TABLE log ADD COLUMN n int DEFAULT 7;",
    "000005_last.down.sql": "ALTER TABLE log DROP COLUMN n; UPDATE item SET hits = hits / 2;",
}
STOCK = {
    "1_a.up.sql": "BEGIN; CREATE TABLE stock (id int, n int); INSERT INTO stock VALUES (1, 1); COMMIT;",
    "1_a.down.sql": "DROP TABLE stock;",
    "2_b.up.sql": "UPDATE stock SET n = n + 1;",
    "2_b.down.sql": "UPDATE stock SET n = n - 1;",
    "10_c.up.sql": "-- nothing but this comment",
    "10_c.down.sql": "",
}
CATALOG = {
    "000001_make.up.json": """[
      {"create": "things", "validator": {"$jsonSchema": {"bsonType": "object", "required": ["name"]}}},
      {"createIndexes": "things", "indexes": [{"key": {"name": 1}, "name": "by_name"}, {"key": {"n": -1}, "name": "by_n"}]},
      {"insert": "things", "documents": [{"name": "a", "n": 1}, {"name": "b", "n": 2}]},
      {"collMod": "things", "validator": {"$jsonSchema": {"bsonType": "object", "required": ["name", "n"]}}},
      {"update": "things", "updates": [{"q": {}, "u": {"$inc": {"n": 10}}, "multi": true}]}]""",
    "000001_make.down.json": '[{"drop": "things"}]',
    "000002_data.up.json": """[{"insert": "things", "documents": [{"_id": "c", "name": "c", "n": 3}]},
      {"insert": "things", "documents": [{"name": "d", "n": 4}]},
      {"update": "things", "updates": [{"q": {"name": "a"}, "u": {"$inc": {"n": 100}}}]},
      {"delete": "things", "deletes": [{"q": {"name": "b"}, "limit": 1}]}]""",
    "000002_data.down.json": """[{"delete": "things", "deletes": [{"q": {"name": {"$in": ["c", "d"]}}, "limit": 0}]},
      {"insert": "things", "documents": [{"name": "b", "n": 12}]},
      {"update": "things", "updates": [{"q": {"name": "a"}, "u": {"$inc": {"n": -100}}}]}]""",
    "000003_mixed.up.json": """[{"insert": "things", "documents": [{"name": "e", "n": 5}]},
      {"create": "old", "capped": true, "size": 4096}, {"dropIndexes": "things", "index": "by_n"}, {"drop": "old"},
      {"update": "things", "updates": [{"q": {"name": "e"}, "u": {"$inc": {"n": 1}}}]},
      {"createIndexes": "things", "indexes": [{"key": {"name": 1, "n": 1}, "name": "both", "unique": true}]}]""",
    "000003_mixed.down.json": """[{"dropIndexes": "things", "index": "both"},
      {"delete": "things", "deletes": [{"q": {"name": "e"}, "limit": 1}]},
      {"createIndexes": "things", "indexes": [{"key": {"n": -1}, "name": "by_n"}]}]""",
}
LOGS = {
    "000001_a.up.json": '[{"insert": "lines", "documents": [{"text": "first"}]}]',
    "000001_a.down.json": '[{"drop": "lines"}]',
    "000002_b.up.json": "[]",
    "000002_b.down.json": "[]",
}
DATABASES = """  - {name: shop, server: postgres}
  - {name: stock, server: postgres, depends_on: [shop]}
  - {name: catalog, server: mongo}
  - {name: logs, server: mongo, depends_on: [catalog, stock]}
"""
NAMES = ["shop", "stock", "catalog", "logs"]


class Varied(Estate):
    """An estate with a file of every kind."""

    def __init__(self, base: Estate) -> None:
        self.__dict__.update(base.__dict__)
        self.manifest(DATABASES)
        for directory, files in (
            ("postgres-shop", SHOP),
            ("postgres-stock", STOCK),
            ("mongo-catalog", CATALOG),
            ("mongo-logs", LOGS),
        ):
            self.write(directory, files)

    def pictures(self, *, history: bool = True) -> dict[str, Picture]:
        found = {n: postgres_picture(self.servers["postgres"].dsn(self.prefix + n), history=history) for n in NAMES[:2]}
        found |= {n: mongo_picture(self.client(), self.prefix + n, history=history) for n in NAMES[2:]}
        for name in NAMES[2:]:  # the lease of the killed run may still lie there; the next that needs it takes it
            found[name].get("migrate_advisory_lock", {}).pop("documents", None)
        return found

    def wipe(self) -> None:
        """Remove the databases, and nothing else."""
        for name in NAMES[2:]:
            self.client().drop_database(self.prefix + name)
        import psycopg
        from psycopg import sql

        with psycopg.connect(self.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
            for name in NAMES[:2]:
                query = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
                connection.execute(query.format(sql.Identifier(self.prefix + name)))


@pytest.fixture
def varied(estate: Estate) -> Iterator[Varied]:
    yield Varied(estate)


APPLY = ["apply"]
ROLLBACK = ["rollback", *NAMES, "--to", "0", "--yes"]


class Hunt:
    """One command, killed at one point after the other."""

    def __init__(self, varied: Varied, forge: Forge, command: list[str]) -> None:
        self.varied = varied
        self.forge = forge
        self.command = command
        self.tried = 0
        self._begin()
        undisturbed = self.run(0)
        assert undisturbed.code == 0, undisturbed.output
        self.points = len(undisturbed.points)
        self.expected = varied.pictures()

    def run(self, kill_at: int = -1, delay: float = 0.0) -> Ended:
        return self.forge.run(self.command, self.varied.root, self.varied.env, kill_at=kill_at, delay=delay)

    def _begin(self) -> None:
        self.varied.wipe()
        if self.command is ROLLBACK:
            done = self.forge.run(APPLY, self.varied.root, self.varied.env, kill_at=-1)
            assert done.code == 0, done.output

    def kill(self, at: int, delay: float = 0.0) -> None:
        """Kill at this point, run again, and again: the end must be that of the undisturbed run."""
        self._begin()
        killed = self.run(at, delay)
        place = f"killed at point {at} of {self.points} ({killed.points[at - 1 : at]}) + {delay * 1000:.1f} ms"
        assert killed.code is None or delay or at > len(killed.points), f"{place}: {killed.output}"
        second = self.run()
        told = f"{place}\n--- killed:\n{killed.output}\n--- second:\n{second.output}"
        assert second.code == 0, told
        if at % 4 == 0:
            third = self.run()
            assert third.code == 0, f"{told}\n--- third:\n{third.output}"
            assert "Nothing to" in third.output, f"{told}\n--- third:\n{third.output}"
        found = self.varied.pictures()
        for name in NAMES:
            assert not (text := difference(self.expected[name], found[name])), f"{told}\n--- {name}: {text}"
        self.tried += 1


@pytest.mark.parametrize(("command", "sample"), [(APPLY, 20), (ROLLBACK, 10)], ids=["apply", "rollback"])
def test_a_killed_run_is_finished_by_the_next(varied: Varied, forge: Forge, command: list[str], sample: int) -> None:
    hunt = Hunt(varied, forge, command)
    step = hunt.points / sample
    for number in range(sample):
        hunt.kill(1 + int(number * step), delay=0.001 * (number % 3))
    print(f"{' '.join(command[:1])}: {hunt.tried} of {hunt.points} kill points tried")


@pytest.mark.soak
@pytest.mark.parametrize("command", [APPLY, ROLLBACK], ids=["apply", "rollback"])
def test_every_kill_point(varied: Varied, forge: Forge, command: list[str], figures: Path) -> None:
    """Each point itself, and each again with a moment's delay, so that kills fall between and into calls."""
    hunt = Hunt(varied, forge, command)
    moments = random.Random(20)
    lost = []
    every = int(os.environ.get("ORCH_SOAK_EVERY", "1"))
    for at in range(1, hunt.points + 1, every):
        for delay in (0.0, moments.uniform(0.0002, 0.02)):
            try:
                hunt.kill(at, delay)
            except AssertionError as error:
                lost.append(str(error))
                print(error)
    with figures.open("a") as file:
        document = {"what": f"kills of {command[0]}", "tried": hunt.tried + len(lost), "lost": len(lost), "points": hunt.points}
        file.write(json.dumps(document) + "\n")
    assert not lost, lost[0]
