"""Clones: fresh migrated databases, faithful, cheap, safe when several want them, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clone_files import MONGO, PG
from estate import Estate

from orchestrator import testing
from orchestrator.embedded import Server
from orchestrator.errors import OrchError
from orchestrator.model import Migration
from orchestrator.scratch.clone_names import clone_name, is_clone, is_left_behind
from orchestrator.scratch.clones import KEPT_TEMPLATES, TemplateError, is_seed


@pytest.fixture
def shop(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> Iterator[Estate]:
    """A PostgreSQL and a MongoDB database, and this process's environment as their users have it."""
    yield from _shop(estate, monkeypatch)


def _shop(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> Iterator[Estate]:
    estate.manifest("  - {name: a, server: postgres}\n  - {name: m, server: mongo}\n")
    estate.write("postgres-a", dict(PG))
    estate.write("mongo-m", dict(MONGO))
    for engine in ("POSTGRES", "MONGO"):
        monkeypatch.setenv(f"{engine}_PASSWORD", estate.env[f"{engine}_PASSWORD"])
    yield estate
    testing.estate(manifest(estate)).close()


def manifest(estate: Estate) -> Path:
    return estate.root / "databases.yaml"


def databases(estate: Estate, prefix: str) -> set[str]:
    names = {row[0] for row in _maintenance(estate, "SELECT datname FROM pg_database")}
    return {name for name in names | set(estate.client().list_database_names()) if name.startswith(prefix)}


def _maintenance(estate: Estate, query: str) -> list[tuple[Any, ...]]:
    import psycopg

    with psycopg.connect(estate.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
        cursor = connection.execute(query)
        return cursor.fetchall() if cursor.description else []


# ---------------------------------------------------------------- what a clone is


def test_a_postgres_clone_is_what_migrating_gives(shop: Estate) -> None:
    shop.orch("apply", "--only", "postgres-a")
    query = (
        "SELECT (SELECT jsonb_agg(t ORDER BY id) FROM one t)::text, (SELECT count(*) FROM glad), "
        "(SELECT version FROM schema_migrations), (SELECT array_agg(checksum ORDER BY version) FROM orch_history), "
        "current_setting('work_mem'), current_setting('search_path'), nextval('one_id_seq')"
    )
    with testing.database("postgres-a", file=manifest(shop)) as db:
        with db.connect() as connection:
            copied = connection.execute(query).fetchone()
        assert copied == shop.sql("a", query)[0]
        assert copied[4:] == ("7MB", "public, pg_catalog", 11)


BESIDES = """
DO $$ DECLARE d text := quote_ident(current_database()); BEGIN
    EXECUTE 'ALTER DATABASE ' || d || ' SET search_path TO ''''';
    EXECUTE 'ALTER DATABASE ' || d || ' SET temp_tablespaces TO ''pg_default'', ''a"b, C''';
    EXECUTE 'ALTER DATABASE ' || d || ' SET DateStyle TO ''German, DMY''';
    EXECUTE 'ALTER ROLE ROLE_NAME IN DATABASE ' || d || ' SET search_path TO "$user", "Mixed Case", public';
    EXECUTE 'REVOKE ALL ON DATABASE ' || d || ' FROM PUBLIC';
    EXECUTE 'GRANT CONNECT ON DATABASE ' || d || ' TO ROLE_NAME WITH GRANT OPTION';
    EXECUTE 'GRANT TEMPORARY ON DATABASE ' || d || ' TO PUBLIC';
END $$;
"""


def test_a_postgres_clone_has_the_settings_and_rights_of_the_database(shop: Estate) -> None:
    role = f"{shop.prefix}reader"
    _maintenance(shop, f"CREATE ROLE {role}")
    shop.write("postgres-a", {"000004_besides.up.sql": BESIDES.replace("ROLE_NAME", role)})
    shop.orch("apply", "--only", "postgres-a")
    query = (
        "SELECT d.datacl::text, (SELECT array_agg(array[setrole::text, setconfig::text] ORDER BY setrole) "
        "FROM pg_db_role_setting s WHERE s.setdatabase = d.oid) FROM pg_database d WHERE datname = current_database()"
    )
    try:
        with testing.database("a", file=manifest(shop)) as db, db.connect() as connection:
            assert connection.execute(query).fetchone() == shop.sql("a", query)[0]
            assert connection.execute("SHOW search_path").fetchone() == ('""',)
        with testing.database("a", file=manifest(shop)) as db, db.connect() as connection:
            assert connection.execute(query).fetchone() == shop.sql("a", query)[0]
    finally:
        for (name,) in _maintenance(shop, f"SELECT datname FROM pg_database WHERE datacl::text LIKE '%{role}%'"):
            _maintenance(shop, f'REVOKE ALL ON DATABASE "{name}" FROM {role}')
        _maintenance(shop, f"DROP ROLE {role}")


@pytest.mark.parametrize("kept", [0, 1 << 30])
def test_a_mongo_clone_is_whole_though_its_template_goes_while_it_is_read(
    shop: Estate, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    from orchestrator.engines.mongo import copies as mongo_copies

    monkeypatch.setattr(mongo_copies, "KEPT_BYTES", kept)  # read for every copy, or once
    gone: list[str] = []
    original = mongo_copies._documents

    def documents(part: Any, source: Any) -> Any:
        if len(gone) < 2:
            gone.append(source.name)
            shop.client().drop_database(source.name)
        return original(part, source)

    monkeypatch.setattr(mongo_copies, "_documents", documents)
    one = testing.Estate(manifest(shop), None)
    for _ in range(2):
        with one.database("m") as db, db.connect() as client:
            database = client.get_default_database()
            assert database["things"].count_documents({}) == 2
            assert database["orch_history"].count_documents({}) == 2
            names = set(database.list_collection_names())
            assert {"things", "log", "cheap", "empty", "orch_clones_log", "schema_migrations"} <= names
    one.close()
    assert len(gone) == 2


@pytest.mark.parametrize("server", ["mongod", "secantus"])
def test_a_mongo_clone_is_what_migrating_gives(
    tmp_path: Path, postgres: Server, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from estate import start

    estate = Estate(tmp_path, {"postgres": postgres, "mongo": start(server)})
    if server == "secantus":  # it has no text index, nor collations
        for old, new in (
            ('"text"', "1"),
            (', "default_language": "none", "collation": {"locale": "simple"}', ""),
            (', "collation": {"locale": "th"}', ""),
        ):
            monkeypatch.setitem(MONGO, "000001_things.up.js", MONGO["000001_things.up.js"].replace(old, new))
    for _ in (shops := _shop(estate, monkeypatch)):
        estate.orch("apply", "--only", "mongo-m")
        with testing.database("mongo-m", file=manifest(estate)) as db, db.connect() as client:
            copied = _content(client.get_default_database())
            assert copied == _content(estate.mongo("m"))
            assert {"things", "log", "cheap", "empty", "orch_clones_log", "orch_history", "schema_migrations"} <= set(
                copied
            )
            with pytest.raises(Exception, match=r"(?i)validation"):
                client.get_default_database()["things"].insert_one({"price": 1})
    del shops
    estate.drop()


def _content(database: Any) -> dict[str, Any]:
    """Everything in a database as raw bytes and options, but for what tells the time and run of its making."""
    from bson import json_util
    from bson.codec_options import CodecOptions
    from bson.raw_bson import RawBSONDocument

    content = {}
    raw: CodecOptions[Any] = CodecOptions(document_class=RawBSONDocument)
    for info in database.list_collections():
        name = info["name"]
        if name.startswith("system.") or name == "migrate_advisory_lock":
            continue
        documents: list[Any] = [d.raw for d in database.get_collection(name, codec_options=raw).find()]
        if name in ("orch_history", "schema_migrations"):
            passing = ("_id", "started_at", "finished_at", "seconds", "run_id", "actor", "role", "host", "identity")
            documents = [{k: v for k, v in d.items() if k not in passing} for d in database[name].find()]
        elif name in ("things", "log", "cheap"):
            documents = [{k: v for k, v in d.items() if k != "_id"} for d in database[name].find()]
        indexes = [] if info["type"] == "view" else [dict(i) for i in database[name].list_indexes()]
        content[name] = json_util.dumps([info["type"], info["options"], indexes, documents])
    return content


def test_seeds_can_be_left_out(shop: Estate) -> None:
    with testing.database("a", file=manifest(shop), seeds=False) as db, db.connect() as connection:
        assert connection.execute("SELECT count(*) FROM one").fetchone() == (0,)
        assert connection.execute("SELECT array_agg(version) FROM orch_history").fetchone() == ([1, 3],)
    names = {
        "seed_users": True,
        "add_seeds": True,
        "reseeded": False,
        "linseed_oil": False,
        "create": False,
        "seed": True,
    }
    assert {name: is_seed(Migration(1, name)) for name in names} == names


def test_each_clone_is_fresh_and_gone_afterwards(shop: Estate) -> None:
    seen = set()
    for _ in range(3):
        for name in ("a", "m"):
            with testing.database(name, file=manifest(shop)) as db:
                seen.add(db.name)
                client = db.connect()
                if db.engine == "postgres":
                    assert client.execute("SELECT count(*) FROM one").fetchone() == (10,)
                    client.execute("DELETE FROM one")
                    client.commit()  # and stays open: it is closed for us
                else:
                    assert client.get_default_database()["things"].count_documents({}) == 2
                    client.get_default_database()["things"].delete_many({})
                assert db.dsn not in repr(db)
    assert len(seen) == 6 and all(is_clone(name) for name in seen)
    assert not databases(shop, "orch_clone_") & seen


# ---------------------------------------------------------------- templates


def test_a_template_is_built_anew_only_when_migrations_change(shop: Estate) -> None:
    def template() -> str:
        one = testing.Estate(manifest(shop), None)
        with one.database("a"):
            name = one._cloner(one.manifest.databases[0], True)._templates["postgres-a"]
        one.close()
        return name

    first = template()
    (oid,) = _maintenance(shop, f"SELECT oid FROM pg_database WHERE datname = '{first}'")
    assert template() == first
    assert _maintenance(
        shop, f"SELECT oid, datallowconn, datistemplate FROM pg_database WHERE datname = '{first}'"
    ) == [(*oid, False, True)]
    built = [first]
    for number in range(KEPT_TEMPLATES + 2):
        shop.write("postgres-a", {"000004_more.up.sql": f"CREATE TABLE more{number} ();"})
        built.append(template())
    assert len(set(built)) == len(built)
    kept = databases(shop, built[0].rpartition("_")[0])
    assert kept == set(built[-KEPT_TEMPLATES:])


@pytest.mark.timing
def test_a_failing_migration_is_told_with_its_place_and_not_tried_again(shop: Estate) -> None:
    shop.write("postgres-a", {"000004_broken.up.sql": "CREATE TABLE good (); SELECT pg_sleep(3);\nSELECT nonsense;\n"})
    texts, took = [], 0.0
    for _ in range(3):
        started = time.monotonic()
        with pytest.raises(TemplateError) as caught, testing.database("a", file=manifest(shop)):
            pass
        took = time.monotonic() - started
        texts.append(f"{caught.value.where}: {caught.value.what} {caught.value.detail}")
    assert "000004_broken.up.sql:2:8" in texts[0] and "nonsense" in texts[0]
    assert texts[0] == texts[1] == texts[2]
    assert took < 3, "it was tried again: the file alone takes three seconds"
    shop.write("postgres-a", {"000004_broken.up.sql": "CREATE TABLE good ();\n"})
    assert "orch_clone" in shop.orch("clone", "a").stdout


@pytest.mark.parametrize("server", ["mongod", "secantus"])
def test_a_file_that_failed_half_way_is_not_continued(
    tmp_path: Path, postgres: Server, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from estate import start

    estate = Estate(tmp_path, {"postgres": postgres, "mongo": start(server)})
    for _ in (shops := _shop(estate, monkeypatch)):
        estate.write("mongo-m", {"000001_things.up.js": '[{"create": "things"}]'})
        commands = [{"create": "half"}, {"insert": "half", "documents": [{"_id": 1}, {"_id": 2}, {"_id": 2}]}]
        estate.write("mongo-m", {"000003_broken.up.js": json.dumps(commands)})
        first, second = (estate.orch("clone", "m", code=1).stderr for _ in range(2))
        assert "_id: 2" in first and "000003_broken.up.js" in first
        assert "continues" not in second
        errors = [text[text.index("error:") :] for text in (first, second)]
        assert errors[0] == errors[1]
    del shops
    estate.drop()


@pytest.mark.parametrize("name", ["a", "m"])
def test_a_template_that_somebody_builds_is_not_cleaned_up(shop: Estate, name: str) -> None:
    def clone(number: int) -> None:
        files = {"a": ("postgres-a", "000004_more.up.sql", f"CREATE TABLE more{number} ();")}
        files["m"] = ("mongo-m", "000003_more.up.js", json.dumps([{"create": f"more{number}"}]))
        shop.write(files[name][0], {files[name][1]: files[name][2]})
        one = testing.Estate(manifest(shop), None)
        with one.database(name):
            pass
        one.close()

    one = testing.Estate(manifest(shop), None)
    found = next(database for database in one.manifest.databases if database.name == name)
    cloner = one._cloner(found, True)
    template = cloner._template(found.id)
    building = template[:-4] + "0000"
    copies = cloner._of(found.id)
    with copies.building(building, 0):
        if name == "a":
            _maintenance(shop, f'CREATE DATABASE "{building}"')
        for number in range(KEPT_TEMPLATES + 1):
            clone(number)
        assert building in databases(shop, building)
        assert template not in databases(shop, template), "one that is whole and old is cleaned up"
    clone(KEPT_TEMPLATES + 1)
    assert building not in databases(shop, building)
    one.close()


def test_a_template_that_was_dropped_is_built_again(shop: Estate) -> None:
    one = testing.estate(manifest(shop))
    for found in one.manifest.databases:
        cloner = one._cloner(found, True)
        with one.database(found.id):
            pass
        one._cloner(found, True)._of(found.id).drop(cloner._templates[found.id])
        with one.database(found.id) as db, db.connect():
            assert is_clone(db.name)


RACER = """
import sys, time
from orchestrator import testing
for _ in range(5):
    for name in ("a", "m"):
        with testing.database(name) as db, db.connect() as c:
            if db.engine == "postgres":
                assert c.execute("SELECT count(*) FROM one").fetchone() == (10,)
            else:
                assert c.get_default_database()["things"].count_documents({}) == 2
print("good", flush=True)
import os; os._exit(0)
"""


def test_processes_that_race_for_a_template_all_get_their_clones(shop: Estate) -> None:
    racers = [
        subprocess.Popen([sys.executable, "-c", RACER], cwd=shop.root, env=shop.env, stdout=-1, stderr=-1, text=True)
        for _ in range(4)
    ]
    for racer in racers:
        out, error = racer.communicate(timeout=60)
        assert out == "good\n", error


KILLED = """
import sys, time
from orchestrator import testing
with testing.database("a"), testing.database("m"):
    print("here", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_left_is_removed_by_the_next(shop: Estate) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED], cwd=shop.root, env=shop.env, stdout=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        made = {name for name in databases(shop, "orch_clone_") if f"_{process.pid}_" in name}
        assert len(made) == 2
        assert not any(is_left_behind(name) for name in made)
        process.kill()
        process.wait()
    assert all(is_left_behind(name) for name in made)
    one = testing.Estate(manifest(shop), None)
    with one.database("a"), one.database("m"):
        assert not databases(shop, "orch_clone_") & made
    one.close()


DYING = """
import os, signal, sys
from orchestrator.engines.mongo import copies as mongo_copies
from orchestrator.engines.postgres import copies as postgres_copies
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
postgres_copies.PostgresCopies._rename = die
write = mongo_copies.MongoCopies._write
def half(self, clone, part, source):
    write(self, clone, part, source)
    die()
mongo_copies.MongoCopies._write = half
from orchestrator.cli import main
main()
"""


@pytest.mark.parametrize("name", ["a", "m"])
@pytest.mark.parametrize("wanted", [["--as", "WANTED"], []])
def test_a_clone_half_made_under_a_lasting_name_is_removed_by_the_next(
    shop: Estate, name: str, wanted: list[str]
) -> None:
    arguments = [name, *(f"{shop.prefix}wanted" if a == "WANTED" else a for a in wanted)]
    half: set[str] = set()
    for _ in range(5):  # a clone that another test makes on this server may remove it at once
        process = subprocess.Popen(
            [sys.executable, "-c", DYING, "clone", *arguments], cwd=shop.root, env=shop.env, stdout=-1, stderr=-1
        )
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        if half := {name for name in databases(shop, "orch_clone_") if f"_{process.pid}_" in name}:
            break
    assert half, "it says whose it is"
    made = shop.orch("clone", *arguments).stdout.strip()  # the same name is free again
    assert not databases(shop, "orch_clone_") & half
    if name == "m":
        assert shop.client()[made]["things"].count_documents({}) == 2
    shop.orch("drop-clone", made)
    assert not databases(shop, made)


@pytest.mark.parametrize("name", ["a", "m"])
def test_a_clone_that_fails_half_way_leaves_nothing(shop: Estate, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from psycopg import sql
    from pymongo.errors import OperationFailure

    from orchestrator.engines.mongo import copies as mongo_copies
    from orchestrator.engines.postgres import copies as postgres_copies

    def fail(*_: Any) -> Any:
        raise OperationFailure("no more")

    broken = [(sql.SQL("ALTER"), sql.SQL(" SET nonsense TO 1"))]
    monkeypatch.setattr(postgres_copies.PostgresCopies, "_left_out", lambda *_: broken)
    monkeypatch.setattr(mongo_copies.MongoCopies, "_write", fail)
    with pytest.raises(OrchError, match=r"nonsense|no more"), testing.database(name, file=manifest(shop)):
        pass
    assert not [made for made in databases(shop, "orch_clone_") if f"_{os.getpid()}_" in made]


@pytest.mark.timing
def test_a_builder_killed_half_way_is_continued(shop: Estate) -> None:
    shop.write("postgres-a", {"000004_slow.up.sql": "CREATE TABLE slow ();\nSELECT pg_sleep(2);\n"})
    process = shop.start("clone", "a")
    deadline = time.monotonic() + 60
    while not _maintenance(
        shop, "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(2)%' AND pid <> pg_backend_pid()"
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with testing.database("a", file=manifest(shop)) as db, db.connect() as connection:
        assert connection.execute("SELECT count(*), max(version) FROM orch_history WHERE done").fetchone() == (4, 4)


def test_names_say_whose_a_clone_is() -> None:
    mine = clone_name(os.getpid())
    assert is_clone(mine) and not is_left_behind(mine) and len(mine) < 63
    kept = clone_name(None)
    assert is_clone(kept) and not is_left_behind(kept)
    machine = mine.split("_")[2]
    elsewhere = mine.replace(machine, "0" * 8)
    assert not is_left_behind(elsewhere)
    made = elsewhere.split("_")[5]
    assert is_left_behind(elsewhere.replace(made, f"{int(time.time()) - 90_000:08x}abcdef01"))
    start = mine.split("_")[4]
    assert is_left_behind(mine.replace(start, "1"))  # another process has got the pid since


# ---------------------------------------------------------------- the commands


def test_the_command_prints_a_name_and_never_a_password(shop: Estate) -> None:
    for name, query in (("a", "postgres"), ("m", "mongo")):
        done = shop.orch("clone", name, "--as", f"{shop.prefix}mine", "--output", "json")
        assert done.json["name"] == f"{shop.prefix}mine" and done.json["engine"] == query
        assert done.json["dsn"].split("://")[1].split("@")[0] == shop.servers[query].user
        assert f"{shop.prefix}mine" in databases(shop, shop.prefix)
        again = shop.orch("clone", name, "--as", f"{shop.prefix}mine", code=2)
        assert "already" in again.stderr
        shop.orch("drop-clone", f"{shop.prefix}mine")
        assert f"{shop.prefix}mine" not in databases(shop, shop.prefix)
        shop.orch("drop-clone", f"{shop.prefix}mine", code=2)
    made = shop.orch("clone", "a", "--no-seeds").stdout.strip()
    assert made in databases(shop, "orch_clone_")
    assert shop.orch("drop-clone", made).stdout.strip() == made


def test_a_name_of_the_manifest_is_refused(shop: Estate) -> None:
    for name in ("a", "m"):
        for wanted in ("a", "m"):
            done = shop.orch("clone", name, "--as", shop.prefix + wanted, code=None)
            assert done.code == (2 if name == wanted else 0), "each engine has names of its own"
            assert name != wanted or "itself" in done.stderr
            if done.code == 0:
                shop.orch("drop-clone", shop.prefix + wanted)
    assert not databases(shop, shop.prefix)


def test_one_of_several_gets_a_wanted_name(shop: Estate) -> None:
    for name in ("a", "m"):
        shop.orch("drop-clone", shop.orch("clone", name).stdout.strip())  # the template is there
        for number in range(2 if name == "m" else 1):  # PostgreSQL's names are unique by themselves
            racers = [shop.start("clone", name, "--as", f"{shop.prefix}race{number}") for _ in range(3)]
            texts = [racer.communicate(timeout=60)[1] for racer in racers]
            assert sorted(racer.returncode for racer in racers) == [0, 2, 2], texts
            assert sum("there is a database called" in text for text in texts) == 2
            shop.orch("drop-clone", f"{shop.prefix}race{number}")
    shop.orch("clone", "m", "--as", f"{shop.prefix}case")
    assert "already" in shop.orch("clone", "m", "--as", f"{shop.prefix}CASE", code=2).stderr


def test_a_login_that_may_only_create_databases_can_clone(shop: Estate) -> None:
    server, role = shop.servers["postgres"], f"{shop.prefix}creator"
    _maintenance(shop, f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD 'of-the-creator'")
    shop.orch("drop-clone", shop.orch("clone", "a").stdout.strip())  # a template of somebody else, who owns its tables
    dsn = f"postgres://{role}:of-the-creator@{server.host}:{server.port}/{{database}}?sslmode=disable"
    env = {"ORCH_DSN_POSTGRES_A": dsn}
    made = shop.orch("clone", "a", env=env).stdout.strip()
    import psycopg

    with psycopg.connect(dsn.format(database=made)) as connection:
        assert connection.execute("SELECT count(*) FROM one").fetchone() == (10,)
    shop.orch("clone", "a", "--as", f"{shop.prefix}mine", env=env)
    for name in (made, f"{shop.prefix}mine"):
        shop.orch("drop-clone", name, env=env)
        assert name not in databases(shop, name)


def test_only_clones_are_dropped(shop: Estate) -> None:
    shop.orch("apply")
    for name in (f"{shop.prefix}a", f"{shop.prefix}m", "postgres", "admin"):
        assert "no clone called" in shop.orch("drop-clone", name, code=2).stderr
    assert {f"{shop.prefix}a", f"{shop.prefix}m"} <= databases(shop, shop.prefix)
    assert "no clone given" in shop.orch("drop-clone", code=2).stderr


def test_a_clone_goes_with_its_process(shop: Estate) -> None:
    with subprocess.Popen(["sleep", "60"]) as owner:
        made = shop.orch("clone", "a", "--pid", str(owner.pid)).stdout.strip()
        shop.orch("drop-clone", "--left-behind")
        assert made in databases(shop, "orch_clone_")
        owner.kill()
    shop.orch("drop-clone", "--left-behind")
    assert made not in databases(shop, "orch_clone_"), "dropped, by this one or by whoever was quicker"


# ---------------------------------------------------------------- what it costs


@pytest.mark.parametrize("name", ["a", "m"])
def test_a_clone_asks_the_server_no_more_where_there_are_many_migrations(
    estate: Estate, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import psycopg
    from pymongo import monitoring

    def few_then_many(count: int) -> int:
        estate.manifest(f"  - {{name: {name}{count}, server: {engine}}}\n")
        files = {f"{n + 1:06d}_change.up.{extension}": change for n in range(count)}
        estate.write(f"{engine}-{name}{count}", {**files})
        one = testing.Estate(manifest(estate), None)
        with one.database(f"{name}{count}"):
            pass  # the template
        with one.database(f"{name}{count}"):
            pass  # MongoDB: it is read
        asked.clear()
        with one.database(f"{name}{count}") as db, db.connect() as connection:
            if name == "a":
                assert connection.execute("SELECT count(*) FROM orch_history").fetchone() == (count,)
            else:
                assert connection.get_default_database()["orch_history"].count_documents({}) == count
        one.close()
        return len(asked)

    engine, extension, change = {"a": ("postgres", "sql", "SELECT 1;"), "m": ("mongo", "js", '[{"ping": 1}]')}[name]
    asked: list[str] = []
    execute = psycopg.Connection.execute

    def counted(self: Any, query: Any, *rest: Any, **options: Any) -> Any:
        asked.append(str(query))
        return execute(self, query, *rest, **options)

    class Listener(monitoring.CommandListener):
        def started(self, event: Any) -> None:
            asked.append(event.command_name)

        def succeeded(self, event: Any) -> None: ...
        def failed(self, event: Any) -> None: ...

    monkeypatch.setattr(psycopg.Connection, "execute", counted)
    monkeypatch.setattr("pymongo.monitoring._LISTENERS", monitoring._Listeners([Listener()], [], [], [], []))
    monkeypatch.setenv(f"{engine.upper()}_PASSWORD", estate.env[f"{engine.upper()}_PASSWORD"])
    few, many = few_then_many(5), few_then_many(300)
    assert few > 3 and abs(many - few) <= 1, (few, many)  # one question more where a connection had to be opened again
