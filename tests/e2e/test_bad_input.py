"""Bad input, as a user meets it: the exit code, the place, a hint; no traceback, no secret, and nothing touched."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from estate import ORCH, Estate, Result

ONE = {"000001_one.up.sql": "CREATE TABLE one (id int);", "000001_one.down.sql": "DROP TABLE one;"}


def refused(estate: Estate, code: int, *said: str, commands: tuple[str, ...] = ("validate", "apply")) -> Result:
    """Run the commands; each ends with this code, says all of this and a hint, and nothing is on the servers."""
    for command in commands:
        result = estate.orch(command, code=code)
        assert result.stdout == ""
        for text in said:
            assert text in result.stderr, result.stderr
        assert "hint: " in result.stderr, result.stderr
        assert "unexpected" not in result.stderr
        assert estate.snapshot() == {}
    return result


# ---------------------------------------------------------------- the manifest


ENTRY = "databases:\n  - {name: a, engine: postgres, dsn: 'postgres://u@127.0.0.1:1/{database}'"
MANIFESTS = {
    "empty": ("", "databases.yaml:1:1: ", "is empty"),
    "only comments": ("# nothing\n", "databases.yaml:1:1: ", "is empty"),
    "tab": ("version: 1\ndatabases:\n\t- name: a\n", "databases.yaml:3:1: ", "tab"),
    "unknown key": (f"version: 1\n{ENTRY}, depend_on: [b]}}\n", "databases.yaml:3:77: ", "did you mean 'depends_on'?"),
    "unknown engine": (
        f"version: 1\n{ENTRY.replace('postgres,', 'oracle,')}}}\n",
        "databases.yaml:3:23: ",
        "those we have are postgres, mongo",
    ),
    "two of one id": (f"version: 1\n{ENTRY}}}\n{ENTRY.split(chr(10))[1]}}}\n", "databases.yaml:4:", "postgres-a"),
    "two of one key": (f"version: 1\nversion: 1\n{ENTRY}}}\n", "databases.yaml:2:1: ", "version"),
    "cycle": (
        f"version: 1\n{ENTRY}, depends_on: [b]}}\n{ENTRY.split(chr(10))[1].replace('name: a', 'name: b')}, depends_on: [a]}}\n",
        "databases.yaml:",
        "postgres-a → postgres-b → postgres-a",
    ),
    "dependency on itself": (f"version: 1\n{ENTRY}, depends_on: [a]}}\n", "databases.yaml:3:90: ", "itself"),
    "unknown dependency": (f"version: 1\n{ENTRY}, depends_on: [aa]}}\n", "databases.yaml:3:90: ", "did you mean 'a'?"),
    "missing directory": (f"version: 1\n{ENTRY}, migrations: nowhere}}\n", "databases.yaml:3:", "nowhere"),
    "a DSN without a database": (
        f"version: 1\n{ENTRY.replace('{database}', '')}}}\n",
        "databases.yaml:3:",
        "database",
    ),
    "a name of 64 bytes": (
        f"version: 1\n{ENTRY.replace('name: a', 'name: ' + 'ก' * 21 + 'x')}}}\n",
        ":3:12: ",
        "64 bytes",
    ),
    "a tag": ("version: 1\ndatabases: !!python/object/apply:os.system [id]\n", "databases.yaml:2:12: ", "!!python"),
}

SAY_ALL = ("unknown engine", "two of one key", "a tag")  # whose first sentence leaves no question


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest(pg_estate: Estate, name: str) -> None:
    text, place, said = MANIFESTS[name]
    (pg_estate.root / "databases.yaml").write_text(text)
    for database in "ab":
        pg_estate.write(f"postgres-{database}", ONE)
    for command in ("validate", "apply", "status"):
        result = pg_estate.orch(command, code=4)
        assert place in result.stderr
        assert said in result.stderr
        assert "hint: " in result.stderr or name in SAY_ALL, result.stderr
        assert result.stdout == ""


def test_no_manifest_at_all(tmp_path: Path) -> None:
    result = Estate(tmp_path, {}).orch("apply", code=4)
    assert "there is no databases.yaml" in result.stderr
    assert "-f FILE" in result.stderr


def test_everything_wrong_is_said_at_once(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_x.up.sql": "SELECT 'open", "2_x.up.sql": "COPY t FROM stdin;\n1\n\\.\n"})
    pg_estate.add("postgres", "b", {"1_x.up.sql": "SELECT (1;"})
    result = refused(
        pg_estate, 4, "postgres-a/schema/1_x.up.sql:1:8: ", "postgres-a/schema/2_x.up.sql:1:1: ", "b/schema/1_x"
    )
    assert result.stderr.count("error:") == 3


# ---------------------------------------------------------------- files


NAMES = {
    "two of one version": ({"1_a.up.sql": "", "000001_b.up.sql": ""}, "two up files for version 1"),
    "hyphen": ({"0001-x.up.sql": ""}, "000001_x.up.sql"),
    "upper case": ({"000001_x.UP.sql": ""}, "000001_x.up.sql"),
    "no direction": ({"000001_x.sql": ""}, "almost a migration"),
    "no version": ({"create_x.up.sql": ""}, "almost a migration"),
    "wrong extension": ({"000001_x.up.js": ""}, "000001_x.up.sql"),
    "a version without end": ({f"{2**63}_x.up.sql": ""}, "too large"),
}


@pytest.mark.parametrize("name", NAMES)
def test_file_names(pg_estate: Estate, name: str) -> None:
    files, said = NAMES[name]
    pg_estate.add("postgres", "a", dict(files))
    refused(pg_estate, 4, "migrations/postgres-a/schema/", said)


CONTENTS: dict[str, tuple[str, str | bytes, str, str]] = {
    "not UTF-8": ("sql", "SELECT 1;\nSELECT 'ชื่อ caf".encode() + b"\xe9';", ":2:17: ", "save the file as UTF-8"),
    "copy": ("sql", "CREATE TABLE t (id int);\nCOPY t FROM stdin;\n1\n\\.\n", ":2:1: ", "INSERT"),
    "psql": ("sql", "\\set x 1\n", ":1:1: ", "psql"),
    "an open transaction": ("sql", "BEGIN;\nSELECT 1;\n", ":1:1: ", "COMMIT"),
    "a NUL": ("sql", "SELECT 1;\n\0", ":2:1: ", "NUL"),
    "JavaScript": ("js", "db.things.insertOne({a: 1})\n", ":1:1: ", "JavaScript"),
    "an object": ("js", '\n{"create": "x"}\n', ":2:1: ", "put [ and ] around it"),
    "both directions": (
        "js",
        '{"Up": [{"create": "x"}], "Down": [{"drop": "x"}]}',
        ":1:1: ",
        "into one .down.json beside it",
    ),
    "a trailing comma": ("js", '[\n  {"create": "x"},\n]\n', ":3:1: ", "trailing comma"),
    "a trailing comma inside": ("js", '[\n  {"create": "x",}\n]\n', ":2:18: ", "trailing comma"),
    "a key twice": ("js", '[\n  {"create": "x", "capped": true,\n   "create": "y"}\n]\n', ":3:4: ", "stands twice"),
    "a key twice deep inside": (
        "js",
        '[{"insert": "x", "documents": [{"a": {"b": 1}}, {"a": {"b": 1,\n "b": 2}}]}]',
        ":2:2: ",
        "stands twice",
    ),
    "two arrays": ("js", '[{"create": "x"}]\n[{"create": "y"}]', ":2:1: ", "something follows"),
    "a comment": ("js", '[\n  // first\n  {"create": "x"}\n]', ":2:3: ", "no comments"),
    "single quotes": ("js", "[{'create': 'x'}]", ":1:3: ", "double quotes"),
    "unquoted key": ("js", "[{create: 'x'}]", ":1:3: ", "double quotes"),
    "a date of JavaScript": ("js", '[{"insert": "x", "documents": [{"a": ISODate("2024")}]}]', ":1:38: ", "$date"),
    "not closed": ("js", '[{"create": "x"}', ":1:17: ", "not closed"),
    "not a command": ("js", '["create"]', ":1:2: ", "object"),
    "a bad value": ("js", '[\n {"insert": "x", "documents": [{"_id": {"$oid": "12"}}]}]', ":2:40: ", "Extended JSON"),
    "a bad value among many": (
        "js",
        '[{"create": "}{"},\n {"insert": "x", "documents": [\n{"a": {}, "b": "}\\"{", "c": {"$date": "2024-12-01T00:00:00Z"}},\n'
        '{"a": [{"at": {"$date": "2024-13-01"}}]},\n{"a": 2}]}]',
        ":4:15: ",
        "Extended JSON",
    ),
    "a bad value in a bad value": (
        "js",
        '[{"insert": "x", "documents": [\n{"at": {"$date":\n {"$numberLong": "soon"}}}]}]',
        ":3:2: ",
        "Extended JSON",
    ),
    "a value with too much": (
        "js",
        '[{"insert": "x", "documents": [\n{"at": {"$date":\n {"$numberLong": "1"}, "zone": {}}}]}]',
        ":2:8: ",
        "Extended JSON",
    ),
    "a number of very many digits": ("js", f'[{{"a": {"9" * 5000}}}}}}}]', ":1:8: ", "Extended JSON"),
    "a number too large": (
        "js",
        '[\n {"insert": "x", "documents": [{"n": 99999999999999999999}]}]',
        ":2:38: ",
        "8-byte",
    ),
    "a NUL in a key": ("js", '[\n {"insert": "x", "documents": [{"a\\u0000b": 1}]}]', ":2:33: ", "BSON"),
    "half a letter": ("js", '[\n {"insert": "x", "documents": [{"a": "\\ud800"}]}]', ":2:38: ", "BSON"),
    "a number for a document": (
        "js",
        '[\n {"insert": "x",\n  "documents": [{"a": 1}, 5]}]',
        ":3:27: ",
        "must be objects",
    ),
    "a document without its array": ("js", '[\n {"insert": "x", "documents": {"a": 1}}]', ":2:2: ", "must be an array"),
    "empty": ("js", "", ":1:1: ", "[]"),
    "the database dropped": ("js", '[\n {"dropDatabase": 1}]', ":2:2: ", "drop its collections one by one"),
    "the version table dropped": ("js", '[\n {"drop": "schema_migrations"}]', ":2:2: ", "changes schema_migrations"),
    "the lock deleted": (
        "js",
        '[{"create": "x"},\n {"delete": "migrate_advisory_lock", "deletes": [{"q": {}, "limit": 0}]}]',
        ":2:2: ",
        "orch unlock NAME removes a lock",
    ),
    "the history renamed": (
        "js",
        '[{"renameCollection": "db.orch_history", "to": "db.old"}]',
        ":1:2: ",
        "'renameCollection' changes orch_history",
    ),
    "the history written over": (
        "js",
        '[{"aggregate": "x", "cursor": {}, "pipeline": [{"$merge": {"into": "orch_history"}}]}]',
        ":1:2: ",
        "'aggregate' changes orch_history",
    ),
    "a session": (
        "js",
        '[{"insert": "x", "documents": [{"a": 1}],\n "lsid": {"id": 1}}]',
        ":1:2: ",
        "leave out lsid",
    ),
    "a database": ("js", '[{"drop": "x", "$db": "other"}]', ":1:2: ", "leave out $db"),
    "too deep": ("js", "[" + '{"a":' * 100_000, ":1:2: ", "100 levels"),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_file_contents(estate: Estate, name: str) -> None:
    extension, content, place, said = CONTENTS[name]
    engine = "postgres" if extension == "sql" else "mongo"
    estate.add(engine, "a", {f"1_x.up.{extension}": content})
    refused(estate, 4, f"migrations/{engine}-a/schema/1_x.up.{extension}{place}", said)


def test_a_file_of_a_hundred_megabytes(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    with (pg_estate.root / "migrations/postgres-a/schema/2_big.up.sql").open("wb") as big:
        big.truncate(100 * 1024 * 1024)
    refused(pg_estate, 4, "2_big.up.sql: ", "larger than 64 MiB")


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a directory", "a socket"])
def test_a_migration_that_is_no_file_is_never_begun(pg_estate: Estate, kind: str) -> None:
    pg_estate.add("postgres", "a", ONE)
    odd = pg_estate.root / "migrations" / "postgres-a" / "schema" / "000002_odd.up.sql"
    if kind == "a pipe":
        os.mkfifo(odd)
    elif kind == "a device":
        odd.symlink_to("/dev/zero")
    elif kind == "a socket":
        os.mknod(odd, stat.S_IFSOCK | 0o600)
    else:
        odd.mkdir()
    refused(pg_estate, 4, "schema/000002_odd.up.sql: this is not a regular file")


def test_variables_and_plans_come_from_pipes(pg_estate: Estate) -> None:
    for name in "ab":
        pg_estate.add("postgres", name, ONE)
    password = pg_estate.env.pop("POSTGRES_PASSWORD")
    env_file = "--env-file <(sleep 0.3; echo POSTGRES_PASSWORD=$SECRET)"
    for script in (
        f"{ORCH} plan -o plan.json {env_file}; cat plan.json | {ORCH} apply /dev/stdin {env_file}",
        f"POSTGRES_PASSWORD_FILE=/dev/fd/9 {ORCH} status 9< <(echo $SECRET)",  # read once, used for both
        f"{ORCH} rollback a b --steps 1 --yes {env_file}",
        f"{ORCH} apply {env_file}",
    ):
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=pg_estate.root,
            env=pg_estate.env | {"SECRET": password},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert password not in done.stdout + done.stderr
    assert pg_estate.tables("a") == pg_estate.tables("b") == {"one"}


@pytest.mark.parametrize("option", ["file", "env file", "variable", "plan"])
def test_what_never_ends_is_refused(pg_estate: Estate, option: str) -> None:
    pg_estate.add("postgres", "a", ONE)
    env = {"ORCH_DSN_POSTGRES_A_FILE": "/dev/zero"} if option == "variable" else {}
    arguments = {"file": ["-f", "/dev/zero"], "env file": ["--env-file", "/dev/zero"], "plan": ["/dev/zero"]}
    said = pg_estate.orch("apply", *arguments.get(option, []), env=env, code=4, timeout=60).stderr
    assert "/dev/zero: is not a regular file" in said if option == "file" else "is larger than" in said


def test_a_file_that_cannot_be_read(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    (pg_estate.root / "migrations/postgres-a/schema/2_x.up.sql").symlink_to("nowhere.sql")
    result = pg_estate.orch("apply", code=4)
    assert "2_x.up.sql: " in result.stderr


def test_what_is_allowed(estate: Estate) -> None:
    """A gap in the versions, no down file, a byte order mark, CRLF, other files beside the migrations."""
    bom = b"\xef\xbb\xbf"
    estate.add(
        "postgres", "a", {"1_a.up.sql": bom + b"CREATE TABLE a (\r\n id int\r\n);\r\n", "7_b.up.sql": "SELECT 1"}
    )
    estate.write("postgres-a", {"README.md": "about", ".gitkeep": "", "notes.txt": "x"})
    estate.add("mongo", "m", {"1_a.up.js": bom + b'[\r\n{"create": "c"}\r\n]\r\n'})
    result = estate.orch("validate")
    assert "version 7 has no down file" in result.stderr
    estate.orch("apply")
    assert estate.tables("a") == {"a"}
    estate.write("postgres-a", {"1_a.up.sql": "CREATE TABLE a (\n id int\n);\n"})
    assert "Nothing to do" in estate.orch("apply").stderr, "the same file saved by another editor is not edited"


# ---------------------------------------------------------------- servers


def redirect(estate: Estate, engine: str, place: str) -> None:
    server = estate.servers[engine]
    path = estate.root / "databases.yaml"
    text = path.read_text().replace(f"{server.host}:{server.port}", place)
    path.write_text(text.replace("directConnection=true", "directConnection=true&serverSelectionTimeoutMS=1000"))


FILES: dict[str, dict[str, str | bytes]] = {"postgres": dict(ONE), "mongo": {"1_c.up.js": '[{"create": "c"}]'}}


@pytest.mark.parametrize("engine", FILES)
def test_a_host_that_does_not_resolve(estate: Estate, engine: str) -> None:
    estate.add(engine, "a", FILES[engine])
    redirect(estate, engine, "no-such-host.invalid:5432")
    result = refused(estate, 7, "does not resolve: no-such-host.invalid:5432", commands=("apply",))
    assert "check the host name" in result.stderr


@pytest.mark.parametrize("engine", FILES)
def test_a_closed_port(estate: Estate, engine: str) -> None:
    estate.add(engine, "a", FILES[engine])
    redirect(estate, engine, "127.0.0.1:1")
    refused(estate, 7, f"{engine}-a", "127.0.0.1:1", "--wait SECONDS", commands=("apply",))


@contextmanager
def silent_server() -> Iterator[int]:
    """Listen on a port, accept whatever comes, and never say a word."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        held: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    held.append(silent.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield silent.getsockname()[1]
        for connection in held:
            connection.close()


@pytest.mark.parametrize("engine", FILES)
def test_a_server_that_accepts_and_never_answers(estate: Estate, engine: str) -> None:
    estate.add(engine, "a", FILES[engine])
    with silent_server() as port:
        redirect(estate, engine, f"127.0.0.1:{port}")
        path = estate.root / "databases.yaml"
        path.write_text(path.read_text().replace("sslmode=disable", "sslmode=disable&connect_timeout=2"))
        result = estate.orch("apply", code=7, timeout=30)
    assert f"{engine}-a" in result.stderr
    assert "127.0.0.1:" in result.stderr
    assert "hint: " in result.stderr
    assert estate.snapshot() == {}


@pytest.mark.timing
@pytest.mark.parametrize(
    ("engine", "parameter"),
    [("postgres", ""), ("postgres", "&connect_timeout=60"), ("postgres", "&connect_timeout=-1"), ("mongo", "")],
)
def test_waiting_for_a_silent_server_ends_when_it_is_to_end(estate: Estate, engine: str, parameter: str) -> None:
    estate.add(engine, "a", FILES[engine])
    with silent_server() as port:
        redirect(estate, engine, f"127.0.0.1:{port}")
        path = estate.root / "databases.yaml"
        path.write_text(path.read_text().replace("sslmode=disable", f"sslmode=disable{parameter}"))
        estate.orch("validate")
        began = time.monotonic()
        estate.orch("apply", "--wait", "2", code=7, timeout=60)
        assert time.monotonic() - began < 30, "it waited as long as connect_timeout says"


# ---------------------------------------------------------------- names


def test_any_name_that_postgresql_allows(pg_estate: Estate) -> None:
    names = ["user", "order", "with \"quotes\" and 'more'", "two  spaces", "คลังสินค้า", "50%", "a/b?c#d@e:f", "x" * 50]
    for number, name in enumerate(names):
        directory = f"migrations/n{number}"
        pg_estate.add("postgres", name, {}, migrations=directory)
        (pg_estate.root / directory).mkdir(parents=True)
        (pg_estate.root / directory / "1_x.up.sql").write_text(f"CREATE TABLE t{number} (id int);")
    pg_estate.orch("apply")
    with psycopg.connect(pg_estate.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
        rows = connection.execute("SELECT datname FROM pg_database").fetchall()
    assert {row[0] for row in rows if row[0].startswith(pg_estate.prefix)} == {
        pg_estate.prefix + name for name in names
    }
    assert "Nothing to do" in pg_estate.orch("apply").stderr
    assert len(pg_estate.orch("status", "--output", "json").json["databases"]) == len(names)


def test_a_name_of_63_bytes_is_the_longest(pg_estate: Estate) -> None:
    longest = "y" * (63 - len(pg_estate.prefix))
    pg_estate.add("postgres", longest, ONE)
    pg_estate.orch("apply")
    assert f"postgres-{longest}" in pg_estate.snapshot()
    too_long = "z" + longest
    pg_estate.add("postgres", too_long, ONE)
    result = pg_estate.orch("apply", code=4)
    assert "64 bytes" in result.stderr


@pytest.mark.parametrize("name", ["with space", 'a"b', "a.b", "a$b"])
def test_a_name_that_mongodb_refuses(mongo_estate: Estate, name: str) -> None:
    mongo_estate.add("mongo", name, {"1_c.up.js": '[{"create": "c"}]'})
    result = mongo_estate.orch("apply", code=4)
    assert "databases.yaml:" in result.stderr
    assert "MongoDB does not allow" in result.stderr


def test_a_thai_name_in_mongodb(mongo_estate: Estate) -> None:
    mongo_estate.add("mongo", "สินค้า", {"1_c.up.js": '[{"create": "คลัง"}]'})
    mongo_estate.orch("apply")
    assert "mongo-สินค้า" in mongo_estate.snapshot()


# ---------------------------------------------------------------- options of a MongoDB DSN


OPTIONS = {
    "foo=bar-secret": ("option 'foo' of the DSN is not known", 4),
    "serverSelectionTimeoutMs=bar-secret": (
        "option 'serverSelectionTimeoutMs' of the DSN does not have a valid value",
        4,
    ),
    "authMechanism=bar-secret": ("option 'authMechanism' of the DSN does not have a valid value", 4),
    "retryWrites=bar-secret": ("option 'retryWrites' of the DSN does not have a valid value", 4),
    "zlibCompressionLevel=9876543": ("option 'zlibCompressionLevel' of the DSN does not have a valid value", 4),
    "tls=true&tlsCAFile=/bar-secret": ("option 'tlsCAFile' of the DSN names a file that cannot be read", 4),
    "tls=true&tlsCertificateKeyFile=/": (
        "option 'tlsCertificateKeyFile' of the DSN names a file that cannot be read",
        4,
    ),
    "tls=true&tlsCAFile=/dev/null": ("a TLS file", 7),
    "tlsInsecure=true&tlsAllowInvalidCertificates=true": ("tlsInsecure and tlsAllowInvalidCertificates", 4),
    "compressors=zstd": ("", 0),
}


@pytest.mark.parametrize("options", OPTIONS)
def test_options_of_a_mongodb_dsn(mongo_estate: Estate, options: str) -> None:
    """Python's own warnings would bypass all that guards secrets."""
    mongo_estate.add("mongo", "m", {"1_c.up.js": '[{"create": "c"}]'})
    path = mongo_estate.root / "databases.yaml"
    path.write_text(path.read_text().replace('"}', f'&{options}"}}', 1))
    said, code = OPTIONS[options]
    for command in ("plan", "apply"):
        result = mongo_estate.orch(command, code=code or None)
        assert said in result.text
        assert "Warning" not in result.text
        assert "bar-secret" not in result.text
        assert "9876543" not in result.text
        assert "fault in orch" not in result.text
        assert ("databases.yaml:" in result.stderr) is (code == 4)
    assert bool(mongo_estate.snapshot()) is not bool(code)


def test_a_seed_list_that_does_not_resolve(mongo_estate: Estate) -> None:
    mongo_estate.add("mongo", "m", {"1_c.up.js": '[{"create": "c"}]'})
    path = mongo_estate.root / "databases.yaml"
    path.write_text(re.sub(r"mongodb://(.*)@[^/]*/", r"mongodb+srv://\1@cluster.nowhere.invalid/", path.read_text()))
    path.write_text(path.read_text().replace("&directConnection=true", "").replace("directConnection=true", ""))
    result = mongo_estate.orch("apply", code=7)
    assert "the host name does not resolve: cluster.nowhere.invalid" in result.stderr
    assert "waiting for the server" in mongo_estate.orch("apply", "--wait", "1", code=7).stderr


def test_a_mongodb_dsn_without_login(mongo_estate: Estate) -> None:
    mongo_estate.add("mongo", "m", {"1_c.up.js": '[{"create": "c"}]'})
    path = mongo_estate.root / "databases.yaml"
    path.write_text(re.sub(r'mongodb://.*@([^?"]*)[^"]*', r"mongodb://\1", path.read_text()))  # and no options
    result = mongo_estate.orch("apply", code=7)
    assert "requires authentication" in result.stderr
    assert "give user and password in the DSN" in result.stderr
    assert "grantRoles" not in result.stderr
