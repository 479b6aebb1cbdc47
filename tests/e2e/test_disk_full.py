"""A server whose disk is full: the run fails clearly, and once there is space the next run ends as if nothing had been."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest import mock

import pymysql
import pytest
from embedded_roots import passable_place
from estate import SERVERS, Estate
from schema_snapshot import difference, mongo_picture, postgres_picture

from orchestrator import embedded
from orchestrator.embedded.mysql import Mysql

MIB = 1024 * 1024
KINDS = {"postgres-wheel": 1536, "mongod": 1024, "mariadb": 512}  # MiB that the empty server fits in with room to work


class SmallDisk:
    """A file system of its own with one server on it, and a file that takes the space away."""

    def __init__(self, kind: str, root: Path) -> None:
        self._kind = kind
        self.engine, self._variables = SERVERS[kind]
        self._servers = root / "servers"
        self._ballast = root / "ballast"
        self._root = root
        self.up()

    def up(self) -> embedded.Server:
        """Start the server if it does not run: a full disk may end it."""
        with mock.patch.dict(os.environ, self._variables):
            return embedded.up(self._servers, [self.engine])[self.engine]

    def fill(self, leave: int) -> None:
        """Leave so many bytes free."""
        state = os.statvfs(self._root)
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, state.f_bavail * state.f_frsize - leave))

    def free(self) -> None:
        self._ballast.unlink()

    def down(self) -> None:
        embedded.remove(self._servers)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that a server which does not run as root can walk through; pytest closes its own ones again."""
    with passable_place() as place:
        yield place


@pytest.fixture(params=["postgres-wheel", "mongod", pytest.param("mariadb", marks=pytest.mark.soak)])
def disk(request: pytest.FixtureRequest, place: Path) -> Iterator[SmallDisk]:
    root = place / "disk"
    root.mkdir()
    if request.param == "mariadb" and not Mysql().installed():
        pytest.skip("no MariaDB or MySQL on this machine")
    size = f"size={KINDS[request.param]}m,mode=0711"
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", root], check=False).returncode:
        pytest.skip("a file system of its own needs root")
    disk = None
    try:
        disk = SmallDisk(request.param, root)
        yield disk
    finally:
        if disk:
            disk.down()
        subprocess.run(["umount", "--lazy", root], check=True)


FILL = {
    "mysql": {
        "1_small.up.sql": "CREATE TABLE small (id int PRIMARY KEY);\nINSERT INTO small VALUES (1);",
        "2_large.up.sql": "CREATE TABLE large (n int PRIMARY KEY, text longtext);\nUPDATE small SET id = id + 1;\n"
        "INSERT INTO large WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) "
        "SELECT i, REPEAT(MD5(i), 1000) FROM n;\nUPDATE small SET id = id + 1;",
        "3_last.up.sql": "CREATE TABLE last (n int);\nUPDATE small SET id = id + 1;",
    },
    "postgres": {
        "1_small.up.sql": "CREATE TABLE small (id int PRIMARY KEY); INSERT INTO small VALUES (1);",
        "2_large.up.sql": "CREATE TABLE large AS SELECT n, repeat(md5(n::text), 20) AS text FROM generate_series(1, 30000) n;",
        "3_steps.up.sql": "-- orch: no-transaction\nUPDATE small SET id = id + 1;\n"
        "CREATE INDEX CONCURRENTLY large_text ON large (md5(text));\nUPDATE small SET id = id + 1;",
        "4_last.up.sql": "UPDATE small SET id = id + 1;",
    },
    "mongo": {
        "1_small.up.json": '[{"insert": "small", "documents": [{"_id": 1, "n": 0}]}]',
        "2_large.up.json": '[{"create": "large"}, '
        + ", ".join(
            f'{{"insert": "large", "documents": [{{"noise": "{secrets.token_hex(3_000_000)}"}}]}}' for _ in range(3)
        )
        + ', {"update": "small", "updates": [{"q": {"_id": 1}, "u": {"$inc": {"n": 1}}}]}]',
        "3_index.up.json": """[
            {"createIndexes": "large", "indexes": [{"key": {"n": 1}, "name": "n"}]},
            {"update": "small", "updates": [{"q": {"_id": 1}, "u": {"$inc": {"n": 1}}}]}]""",
    },
}


def _schema_snapshot(estate: Estate, engine: str) -> dict[str, object]:
    if engine == "mysql":
        return _mysql_picture(estate)
    if engine == "postgres":
        schema_snapshot = postgres_picture(estate.servers["postgres"].dsn(estate.prefix + "a"), history=False)
        schema_snapshot.pop("rows of public.large")  # of the same size anyway
        return schema_snapshot
    schema_snapshot = mongo_picture(estate.client(), estate.prefix + "a", history=False)
    schema_snapshot.pop("migrate_advisory_lock", None)
    schema_snapshot["large"]["documents"] = len(schema_snapshot["large"]["documents"])
    return schema_snapshot


def _mysql_picture(estate: Estate) -> dict[str, object]:
    server, seen = estate.servers["mysql"], dict[str, object]()
    login = pymysql.connect(
        host=server.host, port=server.port, user=server.user, password=server.password, database=estate.prefix + "a"
    )
    with closing(login) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW TABLES")
        for (name,) in cursor.fetchall():
            if name in ("small", "large", "last"):
                cursor.execute(f"SELECT COUNT(*) FROM `{name}`")
                seen[name] = cursor.fetchall()
        cursor.execute("SELECT id FROM small")
        seen["small"] = cursor.fetchall()
        cursor.execute("SELECT version, dirty FROM schema_migrations")
        seen["version"] = cursor.fetchall()
    return seen


@pytest.mark.timing
def test_a_full_disk_loses_and_doubles_nothing(disk: SmallDisk, tmp_path: Path) -> None:
    engine = disk.engine
    expected, struck = None, 0
    for leave in (None, 1, 9):
        root = tmp_path / f"{leave}"
        root.mkdir()
        estate = Estate(root, {engine: disk.up()})
        estate.add(engine, "a", FILL[engine])
        told = f"{leave} MiB left\n"
        if leave is not None:
            disk.fill(leave * MIB)
            first = estate.orch("apply", "--lock-timeout", "5", code=None, timeout=180)
            told += f"--- first:\n{first.text}\n"
            assert first.code in (0, 1, 7), told
            assert not first.code or "error: " in first.stderr, told
            struck += bool(first.code)
            disk.free()
            disk.up()
        second = estate.orch("apply", "--wait", "30", code=None, timeout=180)
        for _ in range(3):
            if second.code == 0:
                break
            estate.servers[engine] = disk.up()  # a full disk may end it also a while after there is space again
            told += f"--- second, which met the end of the server:\n{second.text}\n"
            second = estate.orch("apply", "--wait", "30", code=None, timeout=180)
        assert second.code == 0, f"{told}--- second:\n{second.text}"
        assert "Nothing to do" in estate.orch("apply").stderr
        found = _schema_snapshot(estate, engine)
        expected = expected or found
        assert not (text := difference(expected, found)), f"{told}--- second:\n{second.text}\n{text}"
    assert struck, "the disk was never full"
    print(f"{engine}: {struck} of 3 runs met a full disk")
