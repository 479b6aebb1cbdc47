"""The manifest: what is read from it, and every way in which it can be wrong, with the exact place."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from manifests import HEAD, one, problems, read

from orchestrator.errors import InvalidError
from orchestrator.manifest import find_manifest, load
from orchestrator.manifest.schema import SCHEMA_FILE
from orchestrator.model import CreateOptions, Mark, Settings


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# ---------------------------------------------------------------- what is read


def test_the_customers_manifest_is_read() -> None:
    root = Path(__file__).parents[2]
    manifest = load(root / "databases.yaml", directories=False)
    assert [database.id for database in manifest.databases] == [
        "postgres-product",
        "postgres-user",
        "postgres-order",
        "postgres-inventory",
        "mongo-product",
        "mongo-analytics",
        "mongo-logs",
    ]
    order = manifest.database("postgres-order")
    assert order.depends_on == ("postgres-product", "postgres-user")
    assert order.directory == root / "migrations/postgres-order/schema"
    assert manifest.database("postgres-inventory").depends_on == ("postgres-order",)
    modeline = (root / "databases.yaml").read_text().splitlines()[0]
    assert (root / modeline.rpartition("$schema=")[2]).resolve() == SCHEMA_FILE


def test_everything_that_can_be_said_is_read(tmp_path: Path) -> None:
    manifest = read(
        """\
version: 1
defaults: {lock_timeout: 30s, out_of_order: apply}
history: {name: our_history}
servers:
  pg: {engine: postgres, dsn: "postgres://h/{database}", statement_timeout: 5m, maintenance_database: maint}
databases:
  - {name: a, server: pg, labels: [x, y, x], lock_timeout: none, out_of_order: refuse}
  - name: b
    engine: postgres
    dsn: "postgres://other/{database}"
    migrations: elsewhere
    depends_on: [a, postgres-a]
    create: {owner: o, encoding: UTF8, locale: C, template: template0, extensions: [pgcrypto], connection_limit: 5}
    statement_timeout: 500ms
render: {image: x, compose: {file: y.yml}, k8s: {wait_timeout: 5, keys: null}}
"""
    )
    a, b = manifest.databases
    assert (manifest.path, manifest.history_name) == (tmp_path / "databases.yaml", "our_history")
    assert manifest.render == {"image": "x", "compose": {"file": "y.yml"}, "k8s": {"wait_timeout": 5, "keys": None}}
    assert (a.id, a.engine, a.name, a.server, a.labels) == ("postgres-a", "postgres", "a", "pg", ("x", "y"))
    assert a.dsn == "postgres://h/{database}"
    assert a.directory == tmp_path / "migrations/postgres-a/schema"
    assert a.settings == Settings(lock_timeout=0.0, statement_timeout=300.0, out_of_order=False)
    assert a.create == CreateOptions(maintenance_database="maint")
    assert a.mark == Mark("databases.yaml", 7, 5)
    assert (b.server, b.dsn) == (None, "postgres://other/{database}")
    assert b.directory == tmp_path / "elsewhere"
    assert b.depends_on == ("postgres-a",)
    assert b.settings == Settings(lock_timeout=30.0, statement_timeout=0.5, out_of_order=True)
    assert b.create == CreateOptions("o", "UTF8", "C", "template0", ("pgcrypto",), 5, None)


def test_empty_sections_are_allowed() -> None:
    text = HEAD.replace("version: 1\n", "version: 1\ndefaults:\nhistory:\nrender:\n")
    manifest = read(text + "  - {name: a, server: pg, depends_on: , labels: , create: }\n")
    assert manifest.databases[0].create == CreateOptions()
    assert manifest.render == {}


def test_anchors_and_merge_keys_work() -> None:
    manifest = read(
        HEAD
        + """\
  - &first {name: a, server: pg, labels: [core], lock_timeout: 1}
  - {<<: *first, name: b}
  - {<<: [{lock_timeout: 2}, *first], name: c}
"""
    )
    assert [(d.name, d.labels, d.settings.lock_timeout) for d in manifest.databases] == [
        ("a", ("core",), 1.0),
        ("b", ("core",), 1.0),
        ("c", ("core",), 2.0),
    ]


@pytest.mark.parametrize("change", [lambda t: "\ufeff" + t, lambda t: t.replace("\n", "\r\n"), lambda t: t + "...\n"])
def test_bom_crlf_and_document_end_are_fine(change: Any) -> None:
    assert read(change(HEAD + "  - {name: a, server: pg}\n")).databases[0].mark == Mark("databases.yaml", 6, 5)


@pytest.mark.parametrize(
    "name", ['it"s', "o'clock", "a b", "user", "select", "ฐานข้อมูล", "ก" * 21, "x" * 63, "%", "{x}", "a.b"]
)
def test_postgresql_allows_any_name_that_can_be_shown(name: str) -> None:
    text = HEAD + "  - " + yaml.safe_dump({"name": name, "server": "pg"}, default_flow_style=True, width=1000)
    assert read(text).databases[0].id == f"postgres-{name}"


def test_a_date_as_a_name_is_text() -> None:
    assert read(HEAD + "  - {name: 2024-01-31, server: pg}\n").databases[0].name == "2024-01-31"


# ---------------------------------------------------------------- finding it


def test_find_manifest(tmp_path: Path) -> None:
    deep = tmp_path / "a/b"
    deep.mkdir(parents=True)
    with pytest.raises(InvalidError, match=r"no databases.yaml in .*/a/b or above") as caught:
        find_manifest(None, {}, deep)
    assert "orch init" in caught.value.hint
    for place in ("databases.yaml", "other.yaml"):
        (tmp_path / place).touch()
    assert find_manifest(None, {}, deep) == tmp_path / "databases.yaml"
    assert find_manifest(None, {"ORCH_FILE": ""}, deep) == tmp_path / "databases.yaml"
    assert find_manifest(None, {"ORCH_FILE": str(tmp_path / "other.yaml")}, deep) == tmp_path / "other.yaml"
    assert find_manifest("../../databases.yaml", {"ORCH_FILE": "x"}, deep).samefile(tmp_path / "databases.yaml")
    with pytest.raises(InvalidError, match=r"nope.yaml: there is no such file"):
        find_manifest("nope.yaml", {}, deep)
    with pytest.raises(InvalidError, match=r"b \(from ORCH_FILE\): is a directory"):
        find_manifest(None, {"ORCH_FILE": "b"}, deep.parent)


# ---------------------------------------------------------------- not YAML that we take


@pytest.mark.parametrize(
    ("text", "where", "what", "more"),
    [
        ("", "1:1", "databases.yaml is empty", "orch init"),
        ("# only a comment\n", "1:1", "databases.yaml is empty", "orch init"),
        ("---\n...\n", "1:1", "databases.yaml is empty", ""),
        ("null\n", "1:1", "databases.yaml is empty", ""),
        ("version: 1\n\tdatabases: []\n", "2:1", "a tab in the indentation", "spaces"),
        ("databases:\n  - name: a\n  \tserver: pg\n", "3:3", "a tab in the indentation", "spaces"),
        ("\tversion: 1\n", "1:1", "a tab in the indentation", "spaces"),
        ("version: 1\n---\nversion: 1\n", "2:1", "several YAML documents in one file", ""),
        ("version: 1\na: b: c\n", "2:5", "a ':' that cannot stand here", "indentation"),
        ("a: [1\nb: 2\n", "2:2", "did not find expected ',' or ']'", "flow sequence that begins at line 1"),
        ("a: 'x\n", "2:1", "found unexpected end of stream", "begins at line 1"),
        ("a: *nowhere\n", "1:4", "found undefined alias", ""),
        ("version: 1\nชื่อ: \x01\n", "2:7", "the character U+0001 is not allowed", ""),
        (b"version: 1\nx: \xff\n", "2:4", "the file is not UTF-8", ""),
        (b"\xef\xbb\xbfx: \xff\n", "1:4", "the file is not UTF-8", ""),
        ("a: " * 3 + "[" * 80, "1:5", "a ':' that cannot stand here", ""),
        ("a: " + "[" * 900, "1:66", "nested more than 64 levels deep", ""),
        ("- " * 200_000, "1:127", "nested more than 64 levels deep", ""),
        ("a: &a [*a]", "1:4", "nested more than 64 levels deep", ""),
    ],
)
def test_what_is_not_yaml(text: str | bytes, where: str, what: str, more: str) -> None:
    place, said, rest = one(text)
    assert place == f"databases.yaml:{where}"
    assert what in said
    assert more in rest


def test_no_depth_ends_the_process() -> None:
    """libyaml's parser is recursive; from 0.2.6 on it refuses such a text itself, and further on in it."""
    _, said, _ = one("a: " + "[" * 200_000)
    assert said == "nested more than 64 levels deep"


def test_a_billion_laughs_are_not_laughed() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "aliases (*name) multiply" in one("\n".join(lines))[1]  # 10^12 values would never be done


def test_a_file_that_is_too_large() -> None:
    assert one(b"#" * (8 * 1024 * 1024 + 1)) == ("databases.yaml", "the file is larger than 8 MiB", " ")


def test_too_many_values_are_refused_quickly() -> None:
    assert "too many values" in one("[" + "1," * 600_000 + "]")[1]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(InvalidError, match="cannot read"):
            load(path)


@pytest.mark.parametrize(
    ("entry", "where", "what", "more"),
    [
        (
            "{name: a, server: pg, name: b}",
            "6:27",
            "the key 'name' is given twice",
            "the first is at databases.yaml:6:6",
        ),
        (
            "{name: !!python/name:os.system x, server: pg}",
            "6:12",
            "the tag '!!python/name:os.system' is not allowed",
            "",
        ),
        ("{name: !mine x, server: pg}", "6:12", "the tag '!mine' is not allowed", ""),
        ('{name: "a\\0b", server: pg}', "6:12", "holds a NUL character", ""),
        ("{name: a, server: pg, lock_timeout: .nan}", "6:41", "not a number", ""),
        ("{name: a, server: pg, <<: 5}", "6:31", "'<<' takes a mapping", ""),
    ],
)
def test_yaml_that_we_do_not_take(entry: str, where: str, what: str, more: str) -> None:
    error = next(error for error in problems(HEAD + f"  - {entry}\n") if what in error.what)
    assert str(error.where) == f"databases.yaml:{where}"
    assert more in error.detail


def test_a_key_that_is_not_text() -> None:
    text = HEAD.replace("  pg:", '  8080: {engine: postgres, dsn: "postgres://h/{database}"}\n  pg:')
    place, what, hint = one(text + "  - {name: a, server: pg}\n")
    assert (place, "'8080'" in what, "quotes" in hint) == ("databases.yaml:3:3", True, True)


# ---------------------------------------------------------------- what the schema refuses


@pytest.mark.parametrize(
    ("text", "where", "what", "more"),
    [
        ("version: 1\n", "1:1", "no database is declared", "orch add-db"),
        ("version: 1\ndatabases:\n", "2:1", "no database is declared", "orch add-db"),
        ("version: 1\ndatabases: []\n", "2:1", "no database is declared", "orch add-db"),
        ("version: 1\ndatabases: {}\n", "2:12", "'databases' must be a list, not a mapping", ""),
        ("[1]\n", "1:1", "the manifest must be a mapping, not a list", ""),
        ("just text\n", "1:1", "the manifest must be a mapping, not text", ""),
        (HEAD[11:] + "  - {name: a, server: pg}\n", "1:1", "the manifest has no 'version'", "version: 1"),
        (HEAD.replace("1", "2", 1) + "  - {name: a, server: pg}\n", "1:10", "'version' must be 1", ""),
        (HEAD.replace("1", "true", 1) + "  - {name: a, server: pg}\n", "1:10", "'version' must be 1", ""),
        (HEAD + "  - {name: a, server: pg}\nfoo: 1\n", "7:1", "unknown key 'foo'", "render"),
        (HEAD + "  - {name: x, dns: y}\n", "6:15", "unknown key 'dns' in database 'x'", "did you mean 'dsn'?"),
        (HEAD + "  - {server: pg}\n", "6:5", "database number 1 has no 'name'", ""),
        (HEAD + "  - a\n", "6:5", "database number 1 must be a mapping, not text", ""),
        (HEAD + "  - {name: no, server: pg}\n", "6:12", "must be text, not the truth value false", "quotes"),
        (HEAD + "  - {name: 7, server: pg}\n", "6:12", "must be text, not a number", "quotes"),
        (HEAD + "  - {name: , server: pg}\n", "6:12", "must be text, not empty", ""),
        (HEAD + "  - {name: '', server: pg}\n", "6:12", "'name' of database number 1 is empty", ""),
        (HEAD + "  - {name: a, server: pg, labels: x}\n", "6:35", "'labels' of database 'a' must be a list", ""),
        (HEAD + "  - {name: a, server: pg, labels: [x, 5]}\n", "6:39", "an entry of labels of database 'a'", "quotes"),
        (HEAD + "  - {name: a, server: pg, create: {ownr: x}}\n", "6:36", "unknown key 'ownr' in 'create'", "'owner'"),
        (HEAD + "  - {name: a, server: pg, create: {connection_limit: -2}}\n", "6:54", "must be at least -1", ""),
        (HEAD + "  - {name: a, server: pg, out_of_order: maybe}\n", "6:41", "must be refuse or apply", ""),
        (HEAD + "  - {name: a, server: pg, lock_timeout: 5x}\n", "6:41", "must be seconds such as 10", ""),
        (HEAD + "  - {name: a, server: pg, lock_timeout: null}\n", "6:41", "must be a number or text", "none"),
        (HEAD + "  - {name: a, server: pg}\nhistory: {name: Bad}\n", "7:17", "'name' of 'history' must be", ""),
        (HEAD + '  - {name: a, server: pg}\nhistory: {name: "a\\n"}\n', "7:17", "'name' of 'history' must be", ""),
        (HEAD + "  - {name: a, server: pg}\ndefaults: {x: 1}\n", "7:12", "unknown key 'x' in 'defaults'", ""),
        (
            HEAD + "  - {name: a, engine: oracle, dsn: x}\n",
            "6:23",
            "no engine 'oracle'; those we have are postgres, mongo",
            "",
        ),
        (
            HEAD + "  - {name: a, engine: postgresql, dsn: x}\n",
            "6:23",
            "no engine 'postgresql'",
            "did you mean 'postgres'?",
        ),
        (HEAD + "  - {name: a, engine: mongodb, dsn: x}\n", "6:23", "no engine 'mongodb'", "did you mean 'mongo'?"),
        (
            HEAD + "  - {name: a, engine: 5, dsn: x}\n",
            "6:23",
            "'engine' of database 'a' must be postgres, mongo, mysql or sqlite",
            "",
        ),
        (
            HEAD.replace("dsn:", "dns:", 1).replace(
                "databases:", "  x: {engine: mongo, dsn: 'mongodb://h/d'}\ndatabases:"
            )
            + "  - {name: a, server: x}\n",
            "3:3",
            "server 'pg' has no 'dsn'",
            "",
        ),
    ],
)
def test_what_the_schema_refuses(text: str, where: str, what: str, more: str) -> None:
    error = next(error for error in problems(text) if what in error.what)
    assert str(error.where) == f"databases.yaml:{where}"
    assert more in error.hint


def test_a_misspelt_key_is_one_error_where_another_is_missing_too() -> None:
    assert [error.what for error in problems(HEAD + "  - {nmae: a}\n  - {name: b, server: pg, depends_on: [a]}\n")] == [
        "database number 1 has no 'name'",
        "unknown key 'nmae' in database number 1",
    ]


def test_all_errors_come_at_once_in_the_order_of_the_file() -> None:
    text = """\
version: 2
servers:
  pg: {engine: postgres, dsn: "postgres://h"}
databases:
  - {name: a, server: pg, dns: x}
  - {name: b, server: gp, depends_on: [a, q]}
  - {name: b, server: pg, name: c}
"""
    assert [(str(error.where).removeprefix("databases.yaml:"), error.what) for error in problems(text)] == [
        ("1:10", "'version' must be 1"),
        ("3:31", "server 'pg': the DSN names no database"),
        ("5:27", "unknown key 'dns' in database 'a'"),
        ("6:23", "database 'b': there is no server 'gp'"),
        ("7:27", "the key 'name' is given twice"),
    ]


# ---------------------------------------------------------------- what a schema cannot say


@pytest.mark.parametrize(
    ("entries", "where", "what", "more"),
    [
        (
            "{name: a, server: pg}\n  - {name: a, server: pg}",
            "7:5",
            "two databases are 'postgres-a'",
            "the first is at databases.yaml:6:5",
        ),
        ("{name: a, server: pg, depends_on: [a]}", "6:40", "database 'a' depends on itself", ""),
        ("{name: a, server: pg, depends_on: [postgres-a]}", "6:40", "database 'a' depends on itself", ""),
        (
            "{name: order, server: pg}\n  - {name: a, server: pg, depends_on: [oder]}",
            "7:40",
            "database 'a' depends on 'oder', which is not declared",
            "did you mean 'order'?",
        ),
        (
            "{name: p, server: pg}\n  - {name: p, server: mongo}\n  - {name: a, server: pg, depends_on: [p]}",
            "8:40",
            "depends on 'p', which is the name of 2 databases",
            "postgres-p or mongo-p",
        ),
        ("{name: a, server: pgg}", "6:23", "there is no server 'pgg'", "did you mean 'pg'?"),
        ("{name: a, engine: mongo, server: pg}", "6:23", "of engine mongo, and its server 'pg' of engine postgres", ""),
        ("{name: a}", "6:5", "database 'a' has no server and no dsn", "the servers are pg, mongo"),
        ("{name: a, engine: postgres}", "6:5", "database 'a' has no server and no dsn", ""),
        ("{name: a, dsn: 'postgres://h/d'}", "6:5", "database 'a' has no engine and no server", ""),
        ("{name: a, server: pg, dsn: 'postgres://h/d'}", "6:32", "a server and a dsn of its own", "one of them"),
        (
            "{name: a, engine: postgres, dsn: 'postgres://x/d'}\n  - {name: b, engine: postgres, dsn: 'postgres://x/d'}",
            "7:38",
            "postgres-b and postgres-a have the same DSN",
            "postgres-a is at databases.yaml:6:5",
        ),
        (
            "{name: a, server: pg}\n  - {name: b, engine: postgres, dsn: 'postgres://h/a'}",
            "7:38",
            "postgres-b and postgres-a have the same DSN",
            "",
        ),
        ('{name: "a\\eb", server: pg}', "6:12", "the name 'a\\x1bb' holds the control character U+001B", ""),
        ('{name: "a\\nb", server: mongo}', "6:12", "holds the control character U+000A", ""),
        ('{name: a, server: pg, labels: [x, "y\\u2028"]}', "6:39", "label 'y\\u2028' holds the control character", ""),
        ("{name: a, server: mongo, create: {owner: x}}", "6:30", "'create' does not apply to MongoDB", ""),
        ("{name: a/b, server: pg}", "6:5", "its name cannot be a directory's", "migrations"),
        (f"{{name: {'x' * 64}, server: pg}}", "6:12", "is 64 bytes long in UTF-8", "63"),
        (f"{{name: {'ก' * 22}, server: pg}}", "6:12", "is 66 bytes long in UTF-8", ""),
        (f"{{name: {'x' * 64}, server: mongo}}", "6:12", "is 64 bytes long in UTF-8", ""),
        *[
            (f"{{name: 'a{character}b', server: mongo, migrations: x}}", "6:12", "does not allow", "")
            for character in '/\\. "$*<>:|?'
        ],
        ("{name: a, server: pg, lock_timeout: 0}", "6:41", "'lock_timeout' must be from 1ms", "none"),
        ("{name: a, server: pg, statement_timeout: 0.5ms}", "6:46", "'statement_timeout' must be from 1ms", ""),
        ("{name: a, server: pg, statement_timeout: 900h}", "6:46", "'statement_timeout' must be from 1ms", ""),
        ("{name: a, server: pg}\nhistory: {name: schema_migrations}", "7:17", "golang-migrate uses that name", ""),
    ],
)
def test_what_a_schema_cannot_say(entries: str, where: str, what: str, more: str) -> None:
    place, said, rest = one(HEAD + f"  - {entries}\n")
    assert place == f"databases.yaml:{where}"
    assert what in said
    assert more in rest or more in said


def test_a_word_that_a_dsn_does_not_know_is_told_once_and_not_of_each_database() -> None:
    text = HEAD.replace("{database}", "{name}", 1) + "  - {name: a, server: pg}\n  - {name: b, server: pg}\n"
    assert "{name}, which is not understood" in one(text)[1]


@pytest.mark.parametrize(
    ("engine", "dsn", "what"),
    [
        ("postgres", "postgres://h", "names no database"),
        ("postgres", "postgres://h/?sslmode=disable", "names no database"),
        ("postgres", "host=h user=u", "names no database"),
        ("mongo", "mongodb://h:27017", "names no database"),
        ("postgres", "postgres://${USER@h/d", "has a '${' without its '}'"),
        ("postgres", "postgres://${A-b}@h/d", "a '${…}' that is not understood"),
        ("postgres", "postgres://${A:-${B}}@h/d", "a '${…}' that is not understood"),
        ("postgres", "postgres://$(whoami)@h/d", "a single '$'"),
        ("postgres", "postgres://$USER@h/d", "a single '$'"),
        ("postgres", "postgres://h/{databse}", "{databse}, which is not understood"),
        ("postgres", "postgres://h/{database", "a curly bracket, which is not understood"),
        ("postgres", "postgres://h/database}", "a '}' too many"),
        ("postgres", "postgresql+asyncpg://u:sekret@h/d", "'postgresql+…://', which only a Python library"),
        ("postgres", "mongodb://u:sekret@h/d", "begins with 'mongodb://', and the engine is postgres"),
        ("mongo", "postgres://u:sekret@h/d", "begins with 'postgres://', and the engine is mongo"),
        ("mongo", "mssql://u:sekret@h/d", "is not one of mongo"),
        ("mongo", "localhost/d", "is neither a URL"),
        ("mongo", "host=h dbname=d", "has no scheme"),
        ("postgres", "postgres://u:p@sekret@h/d", "is ambiguous"),
        ("postgres", "postgres://u:sekret/x@h/d", "is ambiguous"),
        ("postgres", "postgres://u:sekret?x@h/d", "is ambiguous"),
        ("postgres", "postgres://u:sekret#x@h/d", "is ambiguous"),
        ("postgres", "postgres://u:sekret%@h/d", "a '%' that encodes nothing"),
        ("postgres", "postgres://u:sekret x@h/d", "a space or a control character"),
        ("postgres", "postgres://h:sekret/d", "is not host:port"),
        ("postgres", "postgres://h:99999/d", "is not host:port"),
        ("postgres", "postgres://::1:5432/d", "is not host:port"),
        ("mongo", "mongodb:///d", "names no host"),
        ("postgres", "postgres://h/d?x-migration-table=t", "unknown parameter 'x-migration-table'"),
        ("mongo", "mongodb://h/d?x-migrations-table=t", "unknown parameter 'x-migrations-table'"),
        ("postgres", "postgres://h/d?sslmode", "a query parameter without '='"),
        ("postgres", "dbname=d password='sekret", "key=value DSN is malformed"),
        ("mongo", "mongodb://h/a.b", "does not allow"),
    ],
)
def test_a_dsn_template_that_leads_nowhere(engine: str, dsn: str, what: str) -> None:
    quoted = "'" + dsn.replace("'", "''") + "'"
    entry = f"  - {{name: x, engine: {engine}, dsn: {quoted}}}"
    place, said, rest = one(f"{HEAD}{entry}\n")
    assert place == f"databases.yaml:6:{entry.index('dsn: ') + len('dsn: ') + 1}"
    assert said.startswith("database 'x': ")
    assert what in said
    assert "sekret" not in said + rest


def test_a_server_name_is_shown_as_it_is() -> None:
    text = HEAD.replace("  pg: ", '  "p\\eg": ') + "  - {name: a, server: mongo}\n"
    assert one(text)[:2] == ("databases.yaml:3:3", "the name 'p\\x1bg' of a server holds the control character U+001B")


def test_a_server_template_is_checked_once_for_all_its_databases() -> None:
    text = HEAD.replace("postgres://h/{database}", "postgres://h/")
    place, what, _ = one(text + "  - {name: a, server: pg}\n")
    assert (place, what) == ("databases.yaml:3:31", "server 'pg': the DSN names no database")


def test_a_template_that_begins_with_a_variable_can_be_anything() -> None:
    assert read(HEAD + "  - {name: a, engine: postgres, dsn: '${DSN}'}\n").databases[0].dsn == "${DSN}"


def test_a_missing_directory(tmp_path: Path) -> None:
    text = HEAD + "  - {name: a, server: pg}\n  - {name: b, server: pg, migrations: odd dir}\n"
    (tmp_path / "odd dir").touch()
    first, second = problems(text, directories=True)
    assert str(first.where) == "databases.yaml:6:5"
    assert first.what == "database 'a': its migrations directory migrations/postgres-a/schema is missing"
    assert first.hint == "mkdir -p migrations/postgres-a/schema, or: orch new postgres-a NAME"
    assert str(second.where) == "databases.yaml:7:39"
    assert "odd dir is not a directory" in second.what
    assert second.hint == "name the directory that holds the files", "mkdir would fail"
    (tmp_path / "odd dir").unlink()
    for path in ("odd dir", "migrations/postgres-a/schema"):
        (tmp_path / path).mkdir(parents=True)
    assert read(text, directories=True)


def test_a_cycle_is_named_as_a_path() -> None:
    entries = [("a", "c"), ("b", "a"), ("c", "b"), ("d", "e"), ("e", "d"), ("f", "a")]
    text = HEAD + "".join(f"  - {{name: {name}, server: pg, depends_on: [{need}]}}\n" for name, need in entries)
    first, second = problems(text)
    assert str(first.where) == "databases.yaml:6:40"
    assert first.what == "the dependencies form a cycle: postgres-a → postgres-c → postgres-b → postgres-a"
    assert str(second.where) == "databases.yaml:9:40"
    assert second.what == "the dependencies form a cycle: postgres-d → postgres-e → postgres-d"


def test_a_dependency_declared_later_is_no_cycle() -> None:
    manifest = read(HEAD + "  - {name: a, server: pg, depends_on: [b]}\n  - {name: b, server: pg}\n")
    assert manifest.databases[0].depends_on == ("postgres-b",)


# ---------------------------------------------------------------- quick, and light


def test_a_thousand_databases_are_read_quickly() -> None:
    entries = "".join(
        f"  - {{name: shop_{n:04}, server: pg, labels: [core], depends_on: [shop_{max(n - 1, 0):04}]}}\n"
        for n in range(1, 1001)
    )
    text = HEAD + "  - {name: shop_0000, server: pg}\n" + entries
    read(text)
    best = min(_seconds(lambda: read(text)) for _ in range(3))
    assert best < 0.5, f"{best:.3f} s"  # 0.1 s on an idle machine; the margin is for a busy one


def _seconds(action: Any) -> float:
    begin = time.process_time()
    action()
    return time.process_time() - begin


def test_a_sound_manifest_imports_no_jsonschema_no_networkx_no_driver(tmp_path: Path) -> None:
    (tmp_path / "databases.yaml").write_text(HEAD + "  - {name: a, server: pg, migrations: .}\n")
    program = (
        "import sys, pathlib, orchestrator.manifest as m\n"
        "assert 'yaml' not in sys.modules\n"
        "d = m.load(pathlib.Path('databases.yaml')).databases[0]\n"
        "m.resolve(d, {}, m.Redactor(), 'h')\n"
        "print([x for x in ('jsonschema', 'networkx', 'psycopg', 'pymongo', 'difflib') if x in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


NO_NUMBERS = ["1" + "0" * 400, "-1" + "0" * 5000, "0x" + "f" * 400, ".inf", "-.Inf", ".nan", "9" * 19, "1_0" * 200]


@pytest.mark.parametrize("number", NO_NUMBERS, ids=lambda number: number[:8])
@pytest.mark.parametrize(
    "text",
    [
        HEAD + "  - {name: x, server: pg, create: {connection_limit: NUMBER}}\n",
        "defaults: {lock_timeout: NUMBER}\n" + HEAD + "  - {name: x, server: pg}\n",
        "render: {k8s: {generation: NUMBER}}\n" + HEAD + "  - {name: x, server: pg}\n",
        HEAD + "  - {name: NUMBER, server: pg}\n",
    ],
    ids=["limit", "seconds", "generation", "name"],
)
def test_a_number_that_nothing_can_hold_is_one_error_with_its_place(text: str, number: str) -> None:
    where, what, _ = one(text.replace("NUMBER", number))
    line = next(place for place, content in enumerate(text.splitlines(), 1) if "NUMBER" in content)
    assert where.endswith(f":{line}:{text.splitlines()[line - 1].index('NUMBER') + 1}")
    assert "not a number that can be used" in what
