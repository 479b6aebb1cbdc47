"""Splitting and classifying PostgreSQL files, and the proof on real servers that they see the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sql_corpus import ALONE, CORPUS, TOGETHER

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
