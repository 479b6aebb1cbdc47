"""SQLite through the installed command, on real files: kills, golang-migrate beside it, bad paths, bad files."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from estate import SOON, Estate, Result
from golang import Crashed, GolangError, GolangSqlite
from kill import Forge

from orchestrator.engines.sqlite.engine import Sqlite
from orchestrator.model import Target
from orchestrator.secret import Secret

TABLES = {
    f"{n:06d}_t{n}.{way}.sql": text
    for n in range(1, 4)
    for way, text in (
        (
            "up",
            f"CREATE TABLE t{n} (id INTEGER PRIMARY KEY);\nINSERT INTO t{n} VALUES (1);\nINSERT INTO log VALUES ({n});\n",
        ),
        ("down", f"DROP TABLE t{n};\nDELETE FROM log WHERE n = {n};\n"),
    )
}
TABLES["000001_t1.up.sql"] = "CREATE TABLE log (n int);\n" + TABLES["000001_t1.up.sql"]
TABLES["000001_t1.down.sql"] = "DROP TABLE t1;\nDROP TABLE log;\n"


class Files:
    """A project with one SQLite database, `shop.db`."""

    def __init__(self, root: Path) -> None:
        self.estate = Estate(root, {})
        self.root = root
        self.path = root / "shop.db"
        self.directory = root / "migrations" / "sqlite-shop" / "schema"
        self.dsn("sqlite3://{database}.db")
        self.directory.mkdir(parents=True)
        self.golang = GolangSqlite(self.path, self.directory)

    def dsn(self, dsn: str) -> None:
        entry = f'version: 1\ndatabases:\n  - {{name: shop, engine: sqlite, dsn: "{dsn}"}}\n'
        (self.root / "databases.yaml").write_text(entry)

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            (self.directory / name).write_text(text)

    def orch(self, *arguments: str, code: int | None = 0) -> Result:
        return self.estate.orch(*arguments, code=code)

    def sql(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            return connection.execute(query, parameters).fetchall()

    def tables(self) -> set[str]:
        names = {row[0] for row in self.sql("SELECT name FROM sqlite_master WHERE type = 'table'")}
        return names - {"schema_migrations", "orch_history"}

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.orch("status", "--output", "json", code=None).json["databases"][0]
        return found

    def beside(self) -> dict[str, bytes]:
        """Every file beside the database, with its content."""
        return {one.name: one.read_bytes() for one in self.root.iterdir() if one.is_file() and "shop" in one.name}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = Files(tmp_path)
    made.write(TABLES)
    return made


def test_a_first_success_in_three_commands(tmp_path: Path) -> None:
    estate = Estate(tmp_path, {})
    estate.orch("init", "--engine", "sqlite")
    estate.orch("add-db", "shop", "--engine", "sqlite")
    estate.orch("apply")
    assert (tmp_path / "shop.db").is_file()
    estate.orch("verify")
    assert estate.status("sqlite-shop")["version"] == 1


def test_up_and_down(files: Files) -> None:
    files.orch("plan", "--exit-code", code=None)
    assert not files.path.exists(), "a plan creates nothing"
    files.orch("apply")
    assert files.tables() == {"log", "t1", "t2", "t3"}
    assert files.sql("SELECT version, dirty FROM schema_migrations") == [(3, 0)]
    assert "up to date" in files.orch("apply").text or files.status()["version"] == 3
    files.orch("rollback", "shop", "--to", "0", "--yes")
    assert files.tables() == set()
    assert files.sql("SELECT version, dirty FROM schema_migrations") == []


def test_a_relative_path_begins_at_the_manifest(files: Files) -> None:
    (files.root / "below").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "apply"], cwd=files.root / "below", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert files.path.is_file() and not list((files.root / "below").iterdir())


# ---------------------------------------------------------------- what is read leaves everything as it is


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_status_writes_nothing(files: Files, mode: str) -> None:
    files.orch("apply")
    files.sql(f"PRAGMA journal_mode = {mode}")
    before = files.beside()
    for command in (["status"], ["plan"], ["history", "shop"]):
        files.orch(*command)
        assert files.beside() == before, command


def test_a_hot_journal_of_a_killed_writer_is_played_back(files: Files) -> None:
    files.orch("apply")
    dying = (
        "import os, sqlite3; c = sqlite3.connect('shop.db', isolation_level=None); c.execute('PRAGMA cache_size = 5'); "
        "c.execute('BEGIN'); c.execute('CREATE TABLE half (a)'); "
        'c.execute("INSERT INTO half WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000) '
        'SELECT hex(randomblob(50)) FROM n"); os.kill(os.getpid(), 9)'
    )
    subprocess.run([sys.executable, "-c", dying], cwd=files.root, check=False)
    assert (files.root / "shop.db-journal").stat().st_size
    assert files.status()["version"] == 3
    assert "half" not in files.tables()


# ---------------------------------------------------------------- golang-migrate


def test_taking_over_from_golang_migrate_and_being_followed_by_it(files: Files) -> None:
    files.golang.up(1)
    files.orch("apply")
    assert files.golang.version() == (3, False)
    files.golang.down(1)
    assert files.tables() == {"log", "t1", "t2"}
    assert files.status()["version"] == 2
    files.orch("apply")
    files.golang.down()
    assert files.status()["version"] is None
    files.orch("apply")
    assert sorted(row[0] for row in files.sql("SELECT n FROM log")) == [1, 2, 3]


@pytest.mark.parametrize("where", ["dirty", "middle", "ran"])
def test_a_dirty_database_of_golang_migrate_waits_for_a_person(files: Files, where: Any) -> None:
    with pytest.raises(Crashed):
        files.golang.up(1, crash_at=where)
    before = files.tables()
    refused = files.orch("apply", code=5)
    assert "repair" in refused.text
    assert files.tables() == before


def test_golang_migrate_refuses_what_orch_has_not_finished(files: Files) -> None:
    files.write({"000002_t2.up.sql": "CREATE TABLE t2 (a);\nVACUUM;\nCREATE TABLE t2 (a);\n"})
    failed = files.orch("apply", code=1)
    assert "000002_t2.up.sql:3:14" in failed.text
    with pytest.raises(GolangError, match="Dirty"):
        files.golang.up()
    files.write({"000002_t2.up.sql": "CREATE TABLE t2 (a);\nVACUUM;\nCREATE TABLE more (a);\n"})
    files.orch("apply", code=None)
    assert {"t2", "more"} <= files.tables()


def test_golang_migrate_in_between_is_noticed_inside_of_the_transaction(files: Files, forge: Forge) -> None:
    """It takes no lock: while orch stands between its look and its file, it migrates the same files."""
    forge.run(["apply"], files.root, files.estate.env, kill_at=1, label="before SqliteSession.commit")
    files.golang.up(1)
    files.orch("apply")
    assert sorted(row[0] for row in files.sql("SELECT n FROM log")) == [1, 2, 3]


def test_many_runs_at_once_run_each_file_once(files: Files) -> None:
    running = [files.estate.start("apply", "--lock-timeout", "60") for _ in range(5)]
    ends = [(one.communicate(timeout=120), one.returncode) for one in running]
    assert {code for _, code in ends} <= {0}, ends
    assert sorted(row[0] for row in files.sql("SELECT n FROM log")) == [1, 2, 3]


def test_a_file_that_another_run_creates_at_this_moment_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "shop.db"
    target = Target("sqlite-shop", "sqlite", Secret(f"sqlite3://{path}"), "shop", str(path), "s")
    is_file = os.path.isfile

    def created_after(asked: Any) -> bool:
        found = is_file(asked)
        path.touch()
        return found

    monkeypatch.setattr(os.path, "isfile", created_after)
    with Sqlite("tester", "run").connect(target) as session:
        assert not session.read_history().store


# ---------------------------------------------------------------- kills


@pytest.mark.parametrize("command", [["apply"], ["rollback", "shop", "--to", "0", "--yes"]], ids=["apply", "rollback"])
def test_a_killed_run_is_finished_by_the_next(files: Files, forge: Forge, command: list[str]) -> None:
    files.write(
        {
            "000004_wal.up.sql": "PRAGMA journal_mode = wal;\nCREATE TABLE t4 (a);\nVACUUM;\nINSERT INTO log VALUES (4);\n"
        }
    )
    files.write(
        {"000004_wal.down.sql": "PRAGMA journal_mode = delete;\nDROP TABLE t4;\nDELETE FROM log WHERE n = 4;\n"}
    )

    def begin() -> None:
        for one in files.root.glob("shop.db*"):
            one.unlink()
        if command[0] == "rollback":
            assert forge.run(["apply"], files.root, files.estate.env, kill_at=-1).code == 0

    begin()
    whole = forge.run(command, files.root, files.estate.env, kill_at=0)
    assert whole.code == 0, whole.output
    expected = files.sql("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2")
    log = [4, 3, 2, 1] if command[0] == "apply" else None
    step = 1 if os.environ.get("ORCH_SOAK_EVERY") == "1" else max(1, len(whole.points) // 8)
    for at in range(1, len(whole.points) + 1, step):
        begin()
        killed = forge.run(command, files.root, files.estate.env, kill_at=at)
        second = forge.run(command, files.root, files.estate.env, kill_at=-1)
        told = f"killed at {at} ({whole.points[at - 1]})\n{killed.output}\n---\n{second.output}"
        assert killed.code is None and second.code == 0, told
        assert files.sql("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2") == expected, told
        if log:
            assert sorted((row[0] for row in files.sql("SELECT n FROM log")), reverse=True) == log, told


# ---------------------------------------------------------------- bad places


def test_a_directory_a_missing_directory_and_what_is_no_database(files: Files) -> None:
    files.path.mkdir()
    assert "is a directory, not a database" in files.orch("plan", code=7).text
    files.path.rmdir()
    files.path.write_bytes(b"no database " * 1000)
    assert "is not an SQLite database" in files.orch("apply", code=7).text
    assert files.path.read_bytes() == b"no database " * 1000
    files.dsn("sqlite3://nowhere/{database}.db")
    missing = files.orch("apply", code=7)
    assert f"{files.root}/nowhere does not exist" in missing.text and "mkdir -p" in missing.text
    assert not (files.root / "nowhere").exists()


def test_a_full_disk_leaves_nothing_of_the_file(files: Files) -> None:
    files.orch("apply")
    rows = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 9000) SELECT hex(randomblob(200)) FROM n"
    )
    grow = f"INSERT INTO big {rows};"
    files.write({"000004_big.up.sql": f"CREATE TABLE big (a);\nPRAGMA max_page_count = 50;\n{grow}\n"})
    failed = files.orch("apply", code=1)
    assert "the disk is full" in failed.text and "000004_big.up.sql:3" in failed.text
    assert "big" not in files.tables() and files.status()["version"] == 3
    files.write({"000004_big.up.sql": f"CREATE TABLE big (a);\n{grow}\n"})
    files.orch("apply")


@pytest.mark.parametrize(
    ("dsn", "what"),
    [
        ("sqlite3://:memory:", "a database in memory is gone"),
        ("sqlite3://", "names no file"),
        ("sqlite3:///tmp/a b.db", "golang-migrate would look for as %XX"),
        ("sqlite3:///tmp/x.db?mode=ro", "has the parameter 'mode'"),
        ("sqlite3:///tmp/x.db?x-migration-table=a", "unknown parameter"),
        ("postgres://h/d", "and the engine is sqlite"),
        ("shop.db", "neither a URL"),
    ],
)
def test_dsns_that_cannot_be_meant(files: Files, dsn: str, what: str) -> None:
    files.dsn(dsn)
    refused = files.orch("validate", code=4)
    assert what in refused.text and "databases.yaml:3" in refused.text


def test_a_file_that_somebody_else_writes_to_is_waited_for(files: Files) -> None:
    files.orch("apply")
    files.write({"000004_x.up.sql": "-- orch: lock_timeout=200ms\nCREATE TABLE x (a);\n"})
    with closing(sqlite3.connect(files.path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        failed = files.estate.orch("apply", code=1, patches=SOON)
        assert "is locked by another writer" in failed.text
        writer.execute("ROLLBACK")
        writer.execute("BEGIN EXCLUSIVE")  # nobody may read either
        dsn = {"ORCH_DSN_SQLITE_SHOP": f"sqlite3://{files.path}?_busy_timeout=20"}
        for command in ("status", "apply"):
            assert "is locked by another program" in files.estate.orch(command, code=6, env=dsn).text
    files.orch("apply")
    assert "x" in files.tables()


# ---------------------------------------------------------------- what a file may hold


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("CREATE TABLE a (x);\nATTACH 'b.db' AS b;", "2:1", "ATTACH reaches another database file"),
        ("VACUUM INTO 'b.db';", "1:1", "VACUUM INTO writes another file"),
        ("SELECT 1;\n  PRAGMA synchronous = OFF;", "2:3", "PRAGMA synchronous does not belong"),
        ("PRAGMA journal_mode = MEMORY;", "1:1", "PRAGMA journal_mode = memory does not belong"),
        ("CREATE TABLE a (x);\nPRAGMA foreign_keys = ON;\nCREATE TABLE b (x);", "2:1", "in the middle of a file"),
        ("BEGIN;\nCREATE TABLE a (x);", "1:1", "BEGIN without COMMIT"),
        ("BEGIN; CREATE TABLE a (x); COMMIT;\nVACUUM;", "2:1", "cannot be part of a transaction"),
        ("CREATE TABLE a (x);\nROLLBACK;", "2:1", "ROLLBACK would undo"),
        (".tables\n", "1:1", "a command of the sqlite3 shell"),
        ("-- orch: no-transaction\nVACUUM;", "1:10", "no-transaction does not apply"),
        ("PRAGMA page_size = 8192;", "1:1", "has no effect without a VACUUM"),
        ("CREATE TABLE a (x);\n/* TODO\nCREATE TABLE b (x);\n", "2:1", "the comment that begins here has no end"),
        ("PRAGMA hard_heap_limit = 9;", "1:1", "PRAGMA hard_heap_limit does not belong"),
        ("EXPLAIN PRAGMA query_only = 1;", "1:1", "PRAGMA query_only does not belong"),
    ],
)
def test_what_no_file_may_do_is_told_before_anything_runs(files: Files, text: str, place: str, what: str) -> None:
    files.write({"000004_x.up.sql": text})
    refused = files.orch("validate", code=4)
    assert f"000004_x.up.sql:{place}" in refused.text and what in refused.text
    files.orch("apply", code=None)
    assert not files.path.exists()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("CREATE TABLE a (x);\nSELEC 1;\n", "2:1"),
        ("CREATE TABLE a (x);\nCREATE TABLE b (a, b, c,);\n", "2:25"),
        ("CREATE TABLE a (x);\n\n  INSERT INTO nowhere VALUES (1);\n", "3:15"),
        ("INSERT INTO log VALUES (?);\n", "1:1"),
    ],
)
def test_an_error_has_its_place(files: Files, text: str, place: str) -> None:
    files.write({"000004_x.up.sql": text})
    failed = files.orch("apply", code=1)
    assert f"000004_x.up.sql:{place}" in failed.text
    assert "a" not in files.tables() and files.status()["version"] == 3


def test_a_dump_and_the_rebuild_of_a_table_are_one_transaction(files: Files) -> None:
    files.orch("apply")
    with closing(sqlite3.connect(":memory:")) as source:
        source.executescript(
            "CREATE TABLE d (a, b); INSERT INTO d VALUES (1, 'x;y'); CREATE VIEW v AS SELECT a FROM d;"
        )
        dump = "\n".join(source.iterdump())
    files.write({"000004_dump.up.sql": f"PRAGMA foreign_keys=OFF;\n{dump}\n"})
    files.orch("apply")
    assert files.sql("SELECT * FROM d") == [(1, "x;y")]
    files.dsn("sqlite3://{database}.db?_foreign_keys=1")
    files.sql("CREATE TABLE child (a REFERENCES t1 (id))")
    files.sql("INSERT INTO child VALUES (1)")
    rebuild = "CREATE TABLE n (id INTEGER PRIMARY KEY, x);\nINSERT INTO n (id) SELECT id FROM t1;\n"
    rebuild += "DROP TABLE t1;\nALTER TABLE n RENAME TO t1;\n"
    files.write({"000005_rebuild.up.sql": rebuild})
    assert "FOREIGN KEY constraint failed" in files.orch("apply", code=1).text
    files.write({"000005_rebuild.up.sql": f"PRAGMA foreign_keys = OFF;\n{rebuild}PRAGMA foreign_keys = ON;\n"})
    files.orch("apply")
    assert files.sql("SELECT count(*) FROM t1") == [(1,)]


def test_a_file_must_leave_the_records_alone(files: Files) -> None:
    files.orch("apply")
    for text in ("DELETE FROM schema_migrations;", "UPDATE orch_history SET done = 0;", "DROP TABLE orch_history;"):
        files.write({"000004_x.up.sql": text})
        assert "changes the records" in files.orch("apply", code=1).text
        assert files.status()["version"] == 3


def test_a_lost_temporary_table_is_not_taken_for_a_real_one(files: Files) -> None:
    files.orch("apply")
    text = "CREATE TEMP TABLE IF NOT EXISTS t1 (x);\nVACUUM;\nINSERT INTO nosuch VALUES (1);\nDROP TABLE T1;\n"
    files.write({"000004_x.up.sql": text})
    files.orch("apply", code=1)
    files.sql("CREATE TABLE nosuch (x)")
    told = files.orch("apply", code=5).text
    assert "the temporary table t1 went with the session" in told and "line 4 needs it" in told
    assert files.sql("SELECT * FROM t1") == [(1,)]
    files.write({"000004_x.up.sql": text.replace("DROP TABLE T1", "SELECT 1")})
    files.orch("apply")


def test_a_checkpoint_is_a_step_of_its_own(files: Files) -> None:
    """Inside of a transaction it would wait for itself."""
    files.orch("apply")
    files.write(
        {"000004_x.up.sql": "PRAGMA journal_mode = WAL;\nPRAGMA wal_checkpoint(TRUNCATE);\nCREATE TABLE x (i);\n"}
    )
    files.orch("apply")
    assert "x" in files.tables()


def test_what_a_file_sets_lasts_until_its_end_where_it_runs_statement_by_statement(files: Files) -> None:
    text = "PRAGMA page_size = 8192;\nCREATE TEMP TABLE hold (n int);\nINSERT INTO hold VALUES (7);\nVACUUM;\n"
    files.write({"000004_x.up.sql": f"{text}INSERT INTO log SELECT n FROM hold;\n"})
    files.write({"000005_y.up.sql": "CREATE TABLE hold (m int);\n"})
    files.orch("apply")
    assert files.sql("PRAGMA page_size") == [(8192,)]
    assert files.sql("SELECT max(n) FROM log") == [(7,)]
    assert "hold" in files.tables(), "and no longer"


def test_a_project_in_a_directory_of_any_name(tmp_path: Path) -> None:
    root = tmp_path / "mine & yours? 100% ä"
    root.mkdir()
    files = Files(root)
    files.write(TABLES)
    for more in ([], ["--embedded"]):
        files.orch("apply", *more)
    assert files.tables() == {"log", "t1", "t2", "t3"}
    files.orch("clone", "shop", "--as", "copy.db")
    assert (root / "copy.db").is_file() and (root / ".orch" / "sqlite" / "shop.db").is_file()


def test_a_python_test_gets_a_database_of_its_own(files: Files) -> None:
    from orchestrator import testing

    with testing.database("shop", file=files.root / "databases.yaml") as db:
        assert db.connect().execute("SELECT count(*) FROM log").fetchone() == (3,)
        assert db.url() == f"sqlite:///{files.root}/{db.name}"
        assert (files.root / db.name).is_file()
    assert not (files.root / db.name).exists() and not files.path.exists()


def test_the_linter_tells_of_lost_data_and_not_of_locks_that_sqlite_has_not(files: Files) -> None:
    files.orch("apply")
    files.write(
        {"000004_x.up.sql": "CREATE INDEX i ON t1 (id);\nALTER TABLE t2 ADD COLUMN x int NOT NULL DEFAULT 1;\n"}
    )
    assert "!" not in files.orch("plan", code=None).stdout
    assert "PG" not in files.orch("lint", code=None).text
    files.write({"000004_x.up.sql": "DROP TABLE t2;\n"})
    assert "! drops table t2" in files.orch("plan", code=None).stdout
    told = files.orch("lint", code=1).text
    assert "drops table t2 and what is in it (write lock on the whole file: one writer at a time)" in told
    assert "000004_x.up.sql:1" in told and "EXCLUSIVE" not in told


# ---------------------------------------------------------------- copies, verify, rendering


def test_clones_and_verify_leave_the_database_alone(files: Files) -> None:
    files.orch("apply")
    before = files.path.read_bytes()
    files.orch("verify")
    files.orch("clone", "shop", "--as", "copy.db")
    with closing(sqlite3.connect(files.root / "copy.db")) as copy:
        assert copy.execute("SELECT count(*) FROM log").fetchone() == (3,)
    assert files.path.read_bytes() == before
    files.orch("drop-clone", "copy.db")
    files.orch("drop-clone", "--templates")
    assert {one.name for one in files.root.iterdir()} == {"databases.yaml", "migrations", "shop.db"}


def test_embedded_needs_no_server_and_leaves_the_database_alone(files: Files) -> None:
    files.orch("apply", "--embedded")
    assert not files.path.exists()
    assert (files.root / ".orch" / "sqlite" / "shop.db").is_file()
    files.orch("dev", "up")


def test_containers_that_would_lose_the_file_are_refused(files: Files) -> None:
    refused = files.orch("render", "compose", code=4)  # its directory is that of the manifest
    assert "sqlite-shop is a file" in refused.text and "hide the manifest" in refused.text
    assert "volumeMounts" in files.orch("render", "k8s", code=4).text
    mounted = "render: {k8s: {pod: {volumes: [{name: d, emptyDir: {}}], volumeMounts: [{name: d, mountPath: /d}]}}}\n"
    with (files.root / "databases.yaml").open("a") as manifest:
        manifest.write(mounted)
    files.orch("render", "k8s")
    (job,) = (one.read_text() for one in (files.root / "k8s").glob("job-*.yaml"))
    assert "mountPath: /d" in job and "fsGroup: 65532" in job, "the user of the image can write to the volume"


def test_two_sets_of_migrations_in_one_file(files: Files) -> None:
    other = files.root / "migrations" / "sqlite-other" / "schema"
    other.mkdir(parents=True)
    (other / "000001_o.up.sql").write_text("CREATE TABLE o (a);")
    entry = '  - {name: other, engine: sqlite, dsn: "sqlite3://shop.db?x-migrations-table=other_migrations"}\n'
    with (files.root / "databases.yaml").open("a") as manifest:
        manifest.write(entry)
    files.orch("apply")
    assert files.sql("SELECT version FROM other_migrations") == [(1,)]
    assert files.sql("SELECT version FROM schema_migrations") == [(3,)]
    assert json.loads(files.orch("history", "sqlite-other", "--output", "json").stdout)


@pytest.fixture(scope="module")
def forge() -> Iterator[Forge]:
    forge = Forge()
    yield forge
    forge.close()


def test_a_file_may_not_change_what_another_set_remembers(tmp_path: Path) -> None:
    shop = Files(tmp_path)
    shop.write({"000001_a.up.sql": "CREATE TABLE a (x int);"})
    shop.orch("apply")
    shop.dsn("sqlite3://{database}.db?x-migrations-table=of_b")
    (shop.directory / "000001_a.up.sql").unlink()
    for text in (
        "DELETE FROM schema_migrations;",
        "DROP TABLE orch_history;",
        "UPDATE schema_migrations SET version = 2;",
    ):
        shop.write({"000001_b.up.sql": f"CREATE TABLE b (x int);\n{text}\n"})
        assert "another set of migrations" in shop.orch("apply", code=1).text
        assert shop.sql("SELECT name FROM sqlite_master WHERE name = 'b'") == []
    shop.write({"000001_b.up.sql": "CREATE TABLE b AS SELECT * FROM schema_migrations;"})
    shop.orch("apply")
    assert shop.sql("SELECT version FROM b") == [(1,)]


def test_a_trigger_that_keeps_our_records_back_lets_nothing_commit(files: Files) -> None:
    files.orch("apply", "--to", "1", "--only", "shop")
    for table in ("schema_migrations", "orch_history"):
        trigger = f"CREATE TRIGGER k BEFORE INSERT ON {table} BEGIN SELECT RAISE(IGNORE); END;"
        files.write({"000002_t2.up.sql": "CREATE TABLE t2 (id int);\n"})
        files.sql(trigger)
        assert f"{table} does not hold what orch has just written" in files.orch("apply", code=1).text
        assert files.sql("SELECT name FROM sqlite_master WHERE name = 't2'") == []
        files.sql("DROP TRIGGER k")


def test_a_file_that_changes_the_tables_of_the_records_is_told_with_its_place(files: Files) -> None:
    """Also where the rows stay as they are: by a column, an index, a trigger, or a table of the same name that hides them."""
    files.orch("apply", "--to", "1", "--only", "shop")
    for text in (
        "ALTER TABLE schema_migrations ADD COLUMN z;",
        "CREATE INDEX zz ON Schema_Migrations (dirty);",
        "CREATE TEMP TRIGGER tt AFTER INSERT ON main.orch_history BEGIN DELETE FROM t1; END;",
        "CREATE TRIGGER tt AFTER INSERT ON schema_migrations BEGIN DELETE FROM t1; END;",
        "CREATE TEMP TABLE orch_history (x int);",
        "DROP TABLE schema_migrations;",
        "ALTER TABLE orch_history RENAME TO other;",
    ):
        files.write({"000002_t2.up.sql": f"CREATE TABLE t2 (id int);\n{text}\n"})
        told = files.orch("apply", code=1).text
        assert "000002_t2.up.sql:2:1" in told, text
        assert "the file changes the records" in told, text
        assert files.sql("SELECT name FROM sqlite_master WHERE name IN ('t2', 'tt', 'zz')") == [], text
        assert files.sql("SELECT * FROM t1") == [(1,)], text
    files.write({"000002_t2.up.sql": "CREATE VIEW w AS SELECT version FROM schema_migrations;\n"})
    files.orch("apply", "--to", "2", "--only", "shop")
