"""Files that say they are templates get the variables of their database; all others run as they are."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from estate import Estate
from pymongo import MongoClient

from orchestrator.errors import InvalidError
from orchestrator.planning.fill import filled

HEAD = "-- a comment\n-- orch: template\n"
UP = (
    HEAD
    + "CREATE TABLE {prefix}_t (n int, v text);\nINSERT INTO ${prefix}_t VALUES (1, '{{literal}} {{ .greeting }}');\n"
)


@pytest.fixture
def two(tmp_path: Path) -> Estate:
    """Two databases with the same migrations and different variables."""
    estate = Estate(tmp_path, {})
    entry = "  - {{name: {0}, server: files, migrations: m, variables: {{prefix: {0}, greeting: \"it''s {0}\"}}}}\n"
    head = "version: 1\nservers:\n  files: {engine: sqlite, dsn: 'sqlite3://{database}.db'}\ndatabases:\n"
    (tmp_path / "databases.yaml").write_text(head + entry.format("aa") + entry.format("bb"))
    (tmp_path / "m").mkdir()
    (tmp_path / "m/1_t.up.sql").write_text(UP)
    (tmp_path / "m/1_t.down.sql").write_text(HEAD + "DROP TABLE {prefix}_t;\n")
    (tmp_path / "m/2_plain.up.sql").write_text("CREATE TABLE plain (v text DEFAULT '{prefix} ${greeting}');\n")
    (tmp_path / "m/2_plain.down.sql").write_text("DROP TABLE plain;\n")
    return estate


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def test_each_database_gets_its_own_values_and_the_history_the_file_as_it_is(two: Estate) -> None:
    two.orch("validate")
    two.orch("apply")
    for name in ("aa", "bb"):
        path = two.root / f"{name}.db"
        assert rows(path, f"SELECT * FROM {name}_t") == [(1, f"{{literal}} it's {name}")]
        assert "'{prefix} ${greeting}'" in rows(path, "SELECT sql FROM sqlite_master WHERE name = 'plain'")[0][0]
    assert two.orch("history", "aa", "--text", "1").stdout.strip().startswith("-- version 1")
    assert "CREATE TABLE {prefix}_t" in two.orch("history", "aa", "--text", "1").stdout

    # Another value changes nothing of what is applied, and no file was edited.
    manifest = two.root / "databases.yaml"
    manifest.write_text(manifest.read_text().replace("it''s aa", "hello"))
    assert "2 up to date." in two.orch("status").stdout
    two.orch("verify")

    # Nor does the history need the file to roll back by its text.
    for file in ("1_t.up.sql", "1_t.down.sql", "2_plain.up.sql", "2_plain.down.sql"):
        (two.root / "m" / file).unlink()
    two.orch("rollback", "bb", "--to", "0", "--yes")
    assert rows(two.root / "bb.db", "SELECT name FROM sqlite_master WHERE name LIKE '%_t' OR name = 'plain'") == []


def test_what_is_wrong_is_told_before_anything_runs(two: Estate) -> None:
    file = two.root / "m/3_x.up.sql"
    file.write_text(HEAD + "SELECT 1;\nSELECT '{greting}';\n")
    refused = two.orch("apply", code=4).stderr
    assert "m/3_x.up.sql:4:9: " in refused
    assert "no value for {greting}" in refused
    assert "did you mean 'greeting'?" in refused
    assert not (two.root / "aa.db").exists()
    file.unlink()
    refused = two.orch("squash", "aa", "--to", "2", code=2).stderr
    assert "m/1_t.up.sql is a template" in refused
    manifest = two.root / "databases.yaml"
    manifest.write_text(
        manifest.read_text().replace("prefix: aa", 'prefix: "a\\nb"').replace("greeting: \"it''s b", '9x: "b')
    )
    refused = two.orch("validate", code=4).stderr
    assert "the value of prefix has a line break" in refused
    assert "the name '9x' of a variable is invalid" in refused


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("SELECT '{a}';\n-- orch: template\n", None),
        ("SELECT '-- orch: template {a}';", None),
        ("-- about templates: {a}\nSELECT '{a}';", None),
        ("/* x */\n-- orch: template\nSELECT '{a}';", "/* x */\n--               \nSELECT '7';"),
        ("/* x\n-- orch: template\n*/ SELECT '{a}';", None),
        ("/* /* x */\n-- orch: template\n*/ SELECT '{a}';", None),
        ("/*!40101 SET NAMES utf8mb4 */;\n-- orch: template\nSELECT '{a}';", None),
        ("-- orch: template\r\nSELECT '{a}';", "--               \r\nSELECT '7';"),
        (
            "\n-- x\n  --orch:template\nSELECT '{a}{0}[x]{3} {{a}} {{ .a}} ${a}';",
            "\n-- x\n  --             \nSELECT '7{0}[x]{3} {a} 7 7';",
        ),
        (
            "-- orch: template\nSELECT '{4}' ~ '[0-9]{4}' || '{a}';",
            "--               \nSELECT '{4}' ~ '[0-9]{4}' || '7';",
        ),
    ],
)
def test_a_file_is_a_template_only_if_its_head_says_so(text: str, right: str | None) -> None:
    made = filled("x.sql", text, {"a": "7"})
    assert made == right
    if made is not None:
        assert made.count("\n") == text.count("\n")
        with pytest.raises(InvalidError, match="no value for"):
            filled("x.sql", text, {})


def test_templates_on_postgresql(pg_estate: Estate) -> None:
    """Statement by statement too: a run that failed goes on where it stopped, with other values from then on."""
    function = "CREATE FUNCTION {schema}.f(int[] DEFAULT '{1,2}') RETURNS int LANGUAGE sql AS $$ SELECT $1[2] $$;\n"
    files = {
        "1_make.up.sql": HEAD + "CREATE SCHEMA {{ .schema }};\nCREATE TABLE {schema}.t (n int);\n" + function,
        "1_make.down.sql": HEAD + "DROP SCHEMA {schema} CASCADE;\n",
        "2_index.up.sql": "-- orch: template\n-- orch: no-transaction\nCREATE INDEX CONCURRENTLY {schema}_n ON ${schema}.t (n);\n"
        "SELECT 1 / {divisor};\n",
        "2_index.down.sql": HEAD + "DROP INDEX {schema}.{schema}_n;\n",
    }
    for name in ("one", "two"):
        pg_estate.add("postgres", name, files, variables={"schema": f"s_{name}", "divisor": "0"})
    failed = pg_estate.orch("apply", code=1)
    assert "2_index.up.sql:4" in failed.stderr and "division by zero" in failed.stderr
    assert pg_estate.sql("one", "SELECT s_one.f()") == [(2,)]

    manifest = pg_estate.root / "databases.yaml"
    manifest.write_text(manifest.read_text().replace('"divisor": "0"', '"divisor": "1"'))
    pg_estate.orch("apply")
    assert "2 up to date." in pg_estate.orch("status").stdout
    assert pg_estate.sql("two", "SELECT indexname FROM pg_indexes WHERE schemaname = 's_two'") == [("s_two_n",)]
    pg_estate.orch("verify", "one")
    pg_estate.orch("rollback", "two", "--to", "0", "--yes")
    assert pg_estate.sql("two", "SELECT 1 FROM pg_namespace WHERE nspname = 's_two'") == []


JSON_HEAD = '[{"ping": 1, "comment": {"orch": "template"}},'


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (JSON_HEAD + '\n {"create": "{a}_x"}]', '\n {"create": "7\\"]_x"}]'),
        (
            JSON_HEAD + ' {"create": "${a}"}, {"create": "{{ .a }} {{a}} \\" {a}"}]',
            ' {"create": "7\\"]"}, {"create": "7\\"] {a} \\" 7\\"]"}]',
        ),
        (
            JSON_HEAD + '{"create": "x", "size": {n}, "capped": {yes}}]',
            '{"create": "x", "size": -4.5e3, "capped": true}]',
        ),
        ('[{"create": "{a}", "comment": {"orch": "template"}}]', None),
        ('[{"create": "{a}"}, {"ping": 1, "comment": {"orch": "template"}}]', None),
        ('[{"ping": 1, "comment": "template {a}"}]', None),
    ],
)
def test_a_file_of_commands_says_so_in_its_first_command(text: str, right: str | None) -> None:
    nothing = filled("x.json", JSON_HEAD.rstrip(",") + "]", {})
    assert nothing is not None and nothing.replace(" ", "") == "[]"
    made = filled("x.json", text, {"a": '7"]', "n": "-4.5e3", "yes": "true"})
    assert made == (None if right is None else "[" + " " * (len(JSON_HEAD) - 1) + right)
    if right is not None and "{a}" in text:
        with pytest.raises(InvalidError, match="no value for"):
            filled("x.json", text, {})


@pytest.mark.parametrize("value", ["x", "", "1, 2", "[1]", '"x"', "01", "nan", "{}"])
def test_outside_of_quotes_only_a_number_or_a_word_of_json_stands(value: str) -> None:
    with pytest.raises(InvalidError, match="outside of quotes") as caught:
        filled("x.json", JSON_HEAD + '\n{"create": "x", "size": {n}}]', {"n": value})
    assert str(caught.value.where) == "x.json:2:25"


def test_templates_on_mongodb(estate: Estate) -> None:
    evil = 'quote \' " } ] { "dropDatabase'
    up = (
        JSON_HEAD
        + """
 {"create": "{prefix}_logs"},
 {"insert": "{prefix}_logs", "documents": [{"_id": {n}, "who": "${who}", "kept": "{{who}}"}]},
 {"createIndexes": "{prefix}_logs", "indexes": [{"key": {"who": 1}, "name": "{prefix}_who", "expireAfterSeconds": {n}}]}]"""
    )
    down = JSON_HEAD + '{"drop": "{{ .prefix }}_logs"}]'
    files = {
        "1_logs.up.json": up,
        "1_logs.down.json": down,
        "2_plain.up.js": '[{"create": "{prefix}"}]',
        "2_plain.down.js": '[{"drop": "{prefix}"}]',
    }
    estate.add("mongo", "logs", files, variables={"prefix": "shop", "who": evil, "n": "3600"})
    estate.orch("validate")
    estate.orch("verify")
    estate.orch("apply")
    with MongoClient[Any](estate.servers["mongo"].dsn("admin")) as client:
        database = client[estate.prefix + "logs"]
        assert database.shop_logs.find_one() == {"_id": 3600, "who": evil, "kept": "{who}"}
        assert database.shop_logs.index_information()["shop_who"]["expireAfterSeconds"] == 3600
        assert "{prefix}" in database.list_collection_names(), "no template, so as it is"
        assert "{prefix}_logs" in estate.orch("history", "logs", "--text", "1").stdout
        estate.orch("rollback", "logs", "--to", "0", "--yes")
        assert not {"shop_logs", "{prefix}"} & set(database.list_collection_names())

    estate.write("mongo-logs", {"3_x.up.json": '[{"create": "{prefix}_x", "comment": {"orch": "template"}}]'})
    refused = estate.orch("apply", code=4).stderr
    assert "3_x.up.json:1:2: " in refused and "only the first command can say that the file is a template" in refused
    estate.write("mongo-logs", {"3_x.up.json": JSON_HEAD + '\n {"create": "{prefx}_x"}]'})
    refused = estate.orch("apply", code=4).stderr
    assert "3_x.up.json:2:14: " in refused and "did you mean 'prefix'?" in refused
