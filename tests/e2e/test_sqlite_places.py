"""SQLite where the place of a file is the trouble: no permission, no locks, no space, links and things that are no file."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from estate import ORCH, Estate, Result

# Root may write everything, unless these are taken from it; then it is a user like any other.
PLAIN_USER = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
ROWS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {}) SELECT hex(randomblob(200)) FROM n"
DYING = (
    "import os, sqlite3; c = sqlite3.connect('shop.db', isolation_level=None); c.execute('PRAGMA cache_size = 5'); "
    f"c.execute('BEGIN'); c.execute('CREATE TABLE half (a)'); c.execute('INSERT INTO half {ROWS.format(9000)}'); "
    "os.kill(os.getpid(), 9)"
)
# A file system without locks: what such a one answers, between SQLite and the kernel.
NO_LOCKS = """
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>
static int call(int fd, int command, void *argument) {
    if (command == F_SETLK || command == F_GETLK || command == F_SETLKW) { errno = EOPNOTSUPP; return -1; }
    return syscall(SYS_fcntl, fd, command, argument);
}
#define CALL(name) int name(int fd, int command, ...) { va_list list; va_start(list, command); \\
    void *argument = va_arg(list, void *); va_end(list); return call(fd, command, argument); }
CALL(fcntl)
CALL(fcntl64)
int flock(int fd, int operation) {
    if (NO_FLOCK) { errno = EOPNOTSUPP; return -1; }
    return syscall(SYS_flock, fd, operation);
}
"""


class Place:
    """A project whose one database is `data/shop.db`."""

    def __init__(self, root: Path) -> None:
        self.estate = Estate(root, {})
        self.data = root / "data"
        self.path = self.data / "shop.db"
        self.data.mkdir()
        (root / "databases.yaml").write_text(
            'version: 1\ndatabases:\n  - {name: shop, engine: sqlite, dsn: "sqlite3://data/{database}.db"}\n'
        )
        self.write("CREATE TABLE a (n int);")

    def write(self, text: str, version: int = 1) -> None:
        self.estate.write("sqlite-shop", {f"{version}_x.up.sql": text})

    def applied(self) -> None:
        """Apply what there is, and leave one more to do."""
        self.estate.orch("apply")
        self.write("CREATE TABLE b (n int);", 2)

    def told(self, *arguments: str, code: int, **env: str) -> str:
        """Run the command as a user who may not do everything, and return what it says."""
        done = subprocess.run(
            [*PLAIN_USER, ORCH, *arguments],
            cwd=self.estate.root,
            env={**self.estate.env, **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        said = Result(done.returncode, done.stdout, done.stderr, 0)
        assert said.code == code and "Traceback" not in said.text, f"exit {said.code}\n{said.text}"
        return said.text

    def version(self) -> int:
        with closing(sqlite3.connect(self.path)) as connection:
            (version,) = connection.execute("SELECT version FROM schema_migrations").fetchone()
        return int(version)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    if PLAIN_USER and not shutil.which("setpriv"):
        pytest.skip("a user who may not do everything needs setpriv here")
    made = Place(tmp_path)
    yield made
    if made.data.is_dir():
        made.data.chmod(0o700)


def test_what_this_user_may_not_write_or_read_is_named_before_anything_runs(place: Place) -> None:
    place.data.chmod(0o500)
    assert f"{place.path} cannot be created: this user cannot write its directory" in place.told("apply", code=7)
    place.data.chmod(0o700)
    place.applied()

    place.path.chmod(0o400)
    assert f"{place.path} cannot be written by this user" in place.told("apply", code=7)
    assert "1" in place.told("history", "shop", code=0)  # who only reads may
    place.path.chmod(0o000)
    assert f"{place.path} cannot be opened" in place.told("apply", code=7)
    place.path.chmod(0o600)

    place.data.chmod(0o500)
    assert f"{place.data} cannot be written by this user" in place.told("apply", code=7)
    place.data.chmod(0o600)
    assert f"the directory {place.data} cannot be entered by this user" in place.told("apply", code=7)
    place.data.chmod(0o700)

    lock = Path(f"{place.path}-orch-lock")
    lock.touch(0o400)
    assert f"{lock} cannot be written by this user" in place.told("apply", code=7)
    lock.unlink()
    assert place.version() == 1
    place.told("apply", code=0)


def test_a_log_or_journal_of_another_user_is_named(place: Place) -> None:
    place.applied()
    wal = Path(f"{place.path}-wal")
    with closing(sqlite3.connect(place.path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = wal")
        other.execute("CREATE TABLE w (n int)")
        wal.chmod(0o400)
        assert f"{wal} cannot be written by this user" in place.told("apply", code=7)
        wal.chmod(0o000)
        assert f"{wal} cannot be opened" in place.told("apply", code=7)
        wal.chmod(0o600)
        other.execute("PRAGMA journal_mode = delete")
    subprocess.run([sys.executable, "-c", DYING], cwd=place.data, check=False)
    journal = Path(f"{place.path}-journal")
    assert journal.stat().st_size
    journal.chmod(0o400)
    assert f"{journal} cannot be opened" in place.told("apply", code=7)
    journal.chmod(0o600)
    place.told("apply", code=0)
    assert place.version() == 2


def test_links_pipes_and_a_file_in_place_of_the_directory(place: Place) -> None:
    os.mkfifo(place.path)
    assert f"{place.path} is no ordinary file" in place.told("apply", code=7)
    place.path.unlink()
    for to in ("nowhere/else.db", "shop.db"):
        place.path.symlink_to(to)
        assert f"{place.path} is a link to a file that does not exist" in place.told("apply", code=7)
        place.path.unlink()
    place.path.symlink_to("real.db")
    (place.data / "real.db").touch()
    place.told("apply", code=0)
    assert place.path.is_symlink() and place.version() == 1
    shutil.rmtree(place.data)
    place.data.write_text("")
    told = place.told("apply", code=7)
    assert f"the directory {place.data} is not a directory" in told and "mkdir" not in told


@pytest.mark.parametrize("which", ["fcntl", "flock"])
def test_a_file_system_without_locks_is_refused(place: Place, tmp_path: Path, which: str) -> None:
    if not shutil.which("cc"):
        pytest.skip("no compiler makes a file system without locks here")
    place.applied()
    library = tmp_path / "no_locks.so"
    code = NO_LOCKS.replace("NO_FLOCK", "1" if which == "flock" else "0")
    if which == "flock":
        code = code.replace("CALL(fcntl)", "").replace("CALL(fcntl64)", "").replace("static int call", "int call")
    built = ["cc", "-shared", "-fPIC", "-Wno-unused-function", "-x", "c", "-", "-o", str(library)]
    subprocess.run(built, input=code, text=True, check=True, capture_output=True)
    told = place.told("apply", code=7, LD_PRELOAD=str(library))
    assert "takes no locks" in told and "a disk of this machine" in told
    assert place.version() == 1
    place.told("apply", code=0)


@pytest.mark.skipif(os.geteuid() != 0, reason="a file system of its own needs root")
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_full_disk_leaves_nothing_of_the_file(place: Place, mode: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(place.data)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a file system of its own cannot be mounted here")
    try:
        place.applied()
        with closing(sqlite3.connect(place.path)) as connection:
            connection.execute(f"PRAGMA journal_mode = {mode}")
        place.write(f"CREATE TABLE big (a);\nINSERT INTO big {ROWS.format(9000)};\n", 2)
        assert "the disk is full" in place.told("apply", code=1)
        assert place.version() == 1
        with closing(sqlite3.connect(place.path)) as connection:
            assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'big'").fetchall()
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        place.write(f"CREATE TABLE big (a);\nINSERT INTO big {ROWS.format(90)};\n", 2)
        place.told("apply", code=0)
        ballast = place.data / "ballast"
        with ballast.open("wb") as file:
            state = os.statvfs(place.data)
            os.posix_fallocate(file.fileno(), 0, state.f_bavail * state.f_frsize)
        place.write("CREATE TABLE c (a);", 3)
        assert "the disk is full" in place.told("apply", code=1), "not a byte is free"
        ballast.unlink()
        place.told("apply", code=0)
        assert place.version() == 3
    finally:
        subprocess.run(["umount", "--lazy", str(place.data)], check=True)


def test_a_damaged_page_is_told_as_that_and_nothing_runs(place: Place) -> None:
    """One that is only read once the lock is taken, too: no login has to do with it."""
    place.applied()
    with closing(sqlite3.connect(place.path)) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'version_unique'").fetchone()
    with place.path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(size))
    told = place.told("apply", code=7)
    assert "is damaged" in told and "login" not in told
    with closing(sqlite3.connect(place.path)) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'b'").fetchone() == (0,)


def test_a_file_of_somebody_else_with_the_name_of_the_lock_is_left_alone(place: Place) -> None:
    """It could be a database: orch would empty it, and remove it."""
    place.applied()
    other = Path(f"{place.path}-orch-lock")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE t (i)")
    before = other.read_bytes()
    assert f"{other} is a file of another program" in place.told("apply", code=7)
    assert other.read_bytes() == before and place.version() == 1
    manifest = place.estate.root / "databases.yaml"
    manifest.write_text(manifest.read_text().replace("{database}.db", "{database}.db-orch-lock"))
    assert "what orch calls a file beside a database" in place.told("apply", code=4)
