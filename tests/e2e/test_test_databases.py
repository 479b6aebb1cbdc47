"""Databases for tests: whose templates are whose, what a program gets to connect with, servers that come late or go."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from estate import Estate

from orchestrator import embedded, testing
from orchestrator.embedded.process import alive, free_port
from orchestrator.engines.postgres.sqlalchemy_url import sqlalchemy_url
from orchestrator.errors import UsageError
from orchestrator.model import Database
from orchestrator.scratch import clone_names
from orchestrator.scratch.clone_names import ORPHAN_AFTER, is_orphan, origin
from orchestrator.scratch.clones import KEPT_TEMPLATES


@pytest.fixture
def shop(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> Estate:
    estate.add("postgres", "a", {"000001_a.up.sql": "CREATE TABLE a (b int); INSERT INTO a VALUES (7);"})
    estate.add("mongo", "m", {"000001_a.up.js": '[{"insert": "a", "documents": [{"_id": 7}]}]'})
    for name, value in estate.env.items():
        monkeypatch.setenv(name, value)
    return estate


def templates(estate: Estate, directory: Path) -> dict[str, set[str]]:
    """Return the templates on the servers that were made for a project in this directory, by engine."""
    maintenance = estate.servers["postgres"].dsn("postgres")
    with psycopg.connect(maintenance, autocommit=True) as connection:
        query = (
            "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database WHERE datname ~ '^orch_template_'"
        )
        ours = {name for name, text in connection.execute(query).fetchall() if str(directory) in (text or "")}
    client = estate.client()
    names = [name for name in client.list_database_names() if name.startswith("orch_template_")]
    marks = {name: client[name]["orch_clone"].find_one({"_id": "template"}) or {} for name in names}
    return {"postgres": ours, "mongo": {name for name in names if str(directory) in marks[name].get("origin", "")}}


# ---------------------------------------------------------------- whose templates


def test_two_checkouts_keep_their_templates(shop: Estate, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(shop.root, other, ignore=shutil.ignore_patterns("other"))
    shop.orch("clone", "a", "--pid", str(os.getpid()))
    shop.orch("clone", "m", "--pid", str(os.getpid()))
    mine = templates(shop, shop.root / "migrations")
    assert {engine: len(names) for engine, names in mine.items()} == {"postgres": 1, "mongo": 1}
    shop.root = other
    for number in range(KEPT_TEMPLATES + 1):
        shop.write("postgres-a", {f"00000{number + 2}_b.up.sql": "SELECT 1;"})
        shop.write("mongo-m", {f"00000{number + 2}_b.up.js": "[]"})
        shop.orch("clone", "a", "--pid", str(os.getpid()))
        shop.orch("clone", "m", "--pid", str(os.getpid()))
    theirs = templates(shop, other)
    assert {engine: len(names) for engine, names in theirs.items()} == dict.fromkeys(mine, KEPT_TEMPLATES)
    assert templates(shop, tmp_path / "migrations") == mine  # none of which was thrown away

    dropped = set(shop.orch("drop-clone", "--templates").stdout.split())
    assert dropped >= theirs["postgres"] | theirs["mongo"]
    assert not dropped & (mine["postgres"] | mine["mongo"])
    assert templates(shop, other) == {"postgres": set(), "mongo": set()}

    shop.orch("clone", "a", "--pid", str(os.getpid()))
    shop.orch("clone", "m", "--pid", str(os.getpid()))
    assert all(templates(shop, other).values())
    shutil.rmtree(other)  # the project is gone: whoever builds a template next removes what it had
    shop.root = tmp_path
    shop.write("postgres-a", {"000002_b.up.sql": "SELECT 1;"})
    shop.write("mongo-m", {"000002_b.up.js": "[]"})
    shop.orch("clone", "a", "--pid", str(os.getpid()))
    shop.orch("clone", "m", "--pid", str(os.getpid()))
    assert templates(shop, other) == {"postgres": set(), "mongo": set()}
    shop.orch("drop-clone", "--templates")


def test_a_template_of_another_machine_is_nobodys_when_it_is_old(tmp_path: Path) -> None:
    here = json.loads(origin(Database("postgres-a", "postgres", "a", "", tmp_path)))
    assert not is_orphan(json.dumps(here))
    assert is_orphan(json.dumps(here | {"directory": str(tmp_path / "gone")}))
    there = here | {"machine": "another", "directory": str(tmp_path / "gone")}
    assert not is_orphan(json.dumps(there))
    assert is_orphan(json.dumps(there | {"at": here["at"] - ORPHAN_AFTER - 60}))
    assert not any(
        map(
            is_orphan,
            ("", "orch clone", "[]", "{}", '{"directory": 7}', '{"directory": "x", "machine": 1, "at": null}'),
        )
    )


def test_containers_of_one_image_are_different_machines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They share /etc/machine-id. The directory of one is not in the other, and its template is not nobody's for that."""
    made: list[str] = []
    for host in ("5f1c2a", "77ab01", "5f1c2a"):
        system = os.uname_result(("Linux", host, "6", "1", "x86_64"))
        monkeypatch.setattr(os, "uname", lambda found=system: found)
        clone_names._lasting_machine.cache_clear()
        made.append(origin(Database("postgres-a", "postgres", "a", "", tmp_path / "gone")))
        machines = [is_orphan(text) for text in made]
    assert machines == [True, False, True]
    monkeypatch.undo()
    clone_names._lasting_machine.cache_clear()


def test_users_that_a_file_makes_go_with_the_template(shop: Estate) -> None:
    user = [{"createUser": "app", "pwd": "of-the-app", "roles": [{"role": "readWrite", "db": f"{shop.prefix}m"}]}]
    shop.write("mongo-m", {"000002_b.up.js": json.dumps(user)})
    assert "createUser acts on what the server keeps" in shop.orch("clone", "m", "--pid", str(os.getpid())).stderr
    made = templates(shop, shop.root)["mongo"]

    def users() -> list[Any]:
        found = shop.client()["admin"].command("usersInfo", {"forAllDBs": True})["users"]
        return [one["roles"] for one in found if one["db"] in made]

    assert users() == [[{"role": "readWrite", "db": name} for name in made]]  # not on the real database
    shop.orch("drop-clone", "--templates")
    assert users() == []


# ---------------------------------------------------------------- what a program connects with


@pytest.mark.parametrize(
    ("dsn", "driver", "url"),
    [
        ("postgres://u:p%40@h:5/d?sslmode=disable", "", "postgresql://u:p%40@h:5/d?sslmode=disable"),
        ("postgres://u@h/d?application_name=x", "psycopg", "postgresql+psycopg://u@h/d?application_name=x"),
        ("postgres://u@h/d?sslmode=require&application_name=x", "asyncpg", "postgresql+asyncpg://u@h/d?ssl=require"),
        ("postgres://u@h/d?sslmode=disable", "pg8000", "postgresql+pg8000://u@h/d"),
        ("host=h user=u password='p @' dbname=d", "psycopg2", "postgresql+psycopg2://u:p%20%40@h/d"),
        ("host=::1 port=5 dbname=d", "", "postgresql://[::1]:5/d"),
        ("host=/run/pg user=u dbname=d", "psycopg", "postgresql+psycopg://u@/d?host=%2Frun%2Fpg"),
        ("postgres://u@a:1,b:2/d", "psycopg2", "postgresql+psycopg2://u@/d?host=a%3A1&host=b%3A2"),
    ],
)
def test_urls_for_sqlalchemy(dsn: str, driver: str, url: str) -> None:
    assert sqlalchemy_url(dsn, driver) == url


def test_a_setting_that_a_driver_cannot_take_is_refused() -> None:
    with pytest.raises(UsageError, match="no driver 'sqlite'"):
        sqlalchemy_url("postgres://h/d", "sqlite")
    with pytest.raises(UsageError, match=r"'options'.*asyncpg"):
        sqlalchemy_url("postgres://u@h/d?options=-csearch_path%3Dx", "asyncpg")
    with pytest.raises(UsageError, match=r"'sslmode'.*pg8000"):
        sqlalchemy_url("postgres://u@h/d?sslmode=require", "pg8000")


def test_connections_of_asyncio_and_urls(shop: Estate) -> None:
    file = shop.root / "databases.yaml"

    async def of_postgres(db: testing.FreshDatabase) -> Any:
        connection = await db.aconnect(autocommit=True)
        row = await (await connection.execute("SELECT b FROM a")).fetchone()
        return connection, row

    with testing.database("a", file=file) as db:
        connection, row = asyncio.run(of_postgres(db))
        assert row == (7,)
        with psycopg.connect(db.url()) as other:
            assert other.execute("SELECT b FROM a").fetchone() == (7,)
        assert db.url("asyncpg").startswith("postgresql+asyncpg://")
        left = psycopg.connect(db.dsn)  # nobody closes it
    assert connection.closed
    with pytest.raises(psycopg.OperationalError):
        left.execute("SELECT 1")
    with psycopg.connect(shop.servers["postgres"].dsn("postgres")) as maintenance:
        assert not maintenance.execute("SELECT FROM pg_database WHERE datname = %s", (db.name,)).fetchall()

    async def of_mongo(db: testing.FreshDatabase) -> Any:
        async with await db.aconnect() as client:
            return await client.get_default_database()["a"].find_one()

    with testing.database("m", file=file) as db:
        assert asyncio.run(of_mongo(db)) == {"_id": 7}
        assert db.url() == db.dsn
        with pytest.raises(UsageError, match="no PostgreSQL database"):
            db.url("asyncpg")


def test_sqlalchemy_itself_takes_the_urls(shop: Estate) -> None:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    asynchronous = pytest.importorskip("sqlalchemy.ext.asyncio")
    query = sqlalchemy.text("SELECT b, current_database() FROM a")

    async def rows(url: str) -> Any:
        engine = asynchronous.create_async_engine(url)
        async with engine.connect() as connection:
            found = (await connection.execute(query)).all()
        await engine.dispose()
        return found

    with testing.database("a", file=shop.root / "databases.yaml") as db:
        engine = sqlalchemy.create_engine(db.url("psycopg"))
        with engine.connect() as connection:
            assert connection.execute(query).all() == [(7, db.name)]
        engine.dispose()
        assert sqlalchemy.make_url(db.url()).database == db.name
        for driver in ("psycopg", "psycopg_async", "asyncpg"):
            assert asyncio.run(rows(db.url(driver))) == [(7, db.name)]


# ---------------------------------------------------------------- in pytest


def run_pytest(estate: Estate, text: str, *options: str) -> tuple[int, str]:
    (estate.root / "test_it.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *options, "test_it.py"],
        cwd=estate.root,
        env={name: value for name, value in estate.env.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stdout + done.stderr


SCOPES = """
import pytest

@pytest.fixture(scope="module")
def of_module(orch_module_database):
    return orch_module_database("a").name

class TestOne:
    def test_first(self, orch_class_database, of_module, request):
        request.cls.db = orch_class_database("m")
        with self.db.connect() as client:
            client.get_default_database()["a"].insert_one({"_id": 8})
        print("NAMES", of_module, self.db.name)

    def test_second(self, of_module):
        with self.db.connect() as client:
            assert client.get_default_database()["a"].count_documents({}) == 2
        print("NAMES", of_module, self.db.name)

class TestTwo:
    def test_third(self, orch_class_database, of_module):
        db = orch_class_database("m")
        with db.connect() as client:
            assert client.get_default_database()["a"].count_documents({}) == 1
        print("NAMES", of_module, db.name)

def test_calls_in_one_scope_give_the_same_database(orch_module_database, orch_database, of_module):
    assert orch_module_database("a").name == orch_module_database("postgres-a", seeds=True).name == of_module
    assert orch_module_database("a", seeds=False).name != of_module
    assert orch_database("a").name != orch_database("a").name
"""


def test_scopes_and_nothing_is_left_when_the_session_ends(shop: Estate) -> None:
    code, text = run_pytest(shop, SCOPES, "-s")
    assert code == 0, text
    names = re.findall(r"NAMES (\S+) (\S+)", text)
    assert len({module for module, _ in names}) == 1
    assert names[0] == names[1] != names[2]
    databases = set(shop.client().list_database_names())
    assert not databases & {name for pair in names for name in pair}  # dropped in the background, and finished


def test_a_server_that_is_down_is_told_at_once_and_waited_for_as_long_as_said(shop: Estate) -> None:
    dsn = f"postgres://postgres@127.0.0.1:{free_port()}/{{database}}"
    shop.manifest(f"  - {{name: a, engine: postgres, dsn: '{dsn}'}}\n")
    test = 'def test_it(orch_database):\n    orch_database("a")\n'
    code, text = run_pytest(shop, test, "-o", "orch_wait=1.5", "-o", "orch_servers=environment")
    assert code == 1
    assert "orch: waiting up to 1.5 s for the server of postgres-a: " in text
    assert "the setting `orch_wait` waits for one that is starting" in text and "--wait" not in text
    code, text = run_pytest(shop, test, "-o", "orch_wait=soon")
    assert code == 4
    assert "orch_wait is 'soon'; it is a number of seconds" in text


@pytest.mark.timing
def test_an_embedded_server_that_is_killed_is_started_again(tmp_path: Path) -> None:
    directory = tmp_path / "migrations/postgres-a/schema"
    directory.mkdir(parents=True)
    (directory / "000001_a.up.sql").write_text("CREATE TABLE a ();")
    dsn = "postgres://${POSTGRES_USER}@127.0.0.1/{database}"
    (tmp_path / "databases.yaml").write_text(
        f"version: 1\ndatabases:\n  - {{name: a, engine: postgres, dsn: '{dsn}'}}\n"
    )
    try:
        estate = testing.estate(tmp_path / "databases.yaml", embedded=True)
        with estate.database("a") as db, db.connect() as connection:
            connection.execute("SELECT FROM a")
        server = estate.server("postgres")
        assert server is not None
        os.kill(server.pid, signal.SIGKILL)
        while alive(server.pid):
            time.sleep(0.01)
        with estate.database("a") as db, db.connect() as connection:
            connection.execute("SELECT FROM a")
        again = estate.server("postgres")
        assert again is not None
        assert again.pid != server.pid
        estate.close()
    finally:
        embedded.remove(tmp_path / ".orch")


INTERRUPTED = """
import os, signal, time

def test_it(orch_database):
    names = [orch_database(name).name for name in ("a", *["m"] * 6)]
    print("NAMES", *names)

def test_that_is_interrupted(orch_database, orch_class_database):
    print("NAMES", orch_database("m").name, orch_database("a").name, orch_class_database("m").name)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
"""


def test_nothing_is_left_after_ctrl_c(shop: Estate) -> None:
    code, text = run_pytest(shop, INTERRUPTED, "-s")
    assert code == 2, text
    names = {name for line in re.findall(r"NAMES (.+)", text) for name in line.split()}
    assert len(names) == 10
    with psycopg.connect(shop.servers["postgres"].dsn("postgres")) as maintenance:
        there = {name for (name,) in maintenance.execute("SELECT datname FROM pg_database").fetchall()}
    assert not names & (there | set(shop.client().list_database_names()))
