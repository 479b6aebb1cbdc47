"""A directive counts where it is a comment above the first statement, and nowhere else, whatever surrounds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.analysis.findings import Story
from orchestrator.analysis.permissions import allowed, permissions
from orchestrator.analysis.risks import risks
from orchestrator.engines import load_engine
from orchestrator.errors import InvalidError
from orchestrator.model import File, Script

SQL = ("postgres", "mysql", "sqlite")
CODES = {"postgres": "PG101", "mysql": "MY101", "sqlite": "PG101"}
LINES = "\n-- orch: allow CODE nobody reads it\n-- orch: lock_timeout=7s\n-- orch: require SELECT 1 = 1\n"

HIDDEN = {
    "a text": "INSERT INTO a VALUES ('LINES'); DROP TABLE t;",
    "a text with a quote": "INSERT INTO a VALUES ('it''s LINES'); DROP TABLE t;",
    "a quoted name": 'CREATE TABLE "x LINES" (i int); DROP TABLE t;',
    "a block comment": "/* LINES */ DROP TABLE t;",
    "a block comment below": "SELECT 1; /* LINES */ DROP TABLE t;",
    "a block comment within": "DROP /* LINES */ TABLE t;",
    "the middle of a comment": "-- as in -- orch: allow CODE why\n-- - orch: lock_timeout=7s\nDROP TABLE t;",
    "a block comment on one line": "/* -- orch: allow CODE why */ DROP TABLE t;",
}
OF_ONE = {
    "postgres": {
        "nested comments": "/* /* */ LINES */ DROP TABLE t;",
        "dollar quotes": "SELECT $$LINES$$; DROP TABLE t;",
        "dollar quotes with a tag": "DO $a$ BEGIN PERFORM $$x$$; LINES END $a$; DROP TABLE t;",
        "an escape text": r"SELECT E'\' LINES'; DROP TABLE t;",
        "another name": 'SET "x LINES" = 1; DROP TABLE t;',
        "BEGIN ATOMIC": "CREATE FUNCTION f() RETURNS text BEGIN ATOMIC SELECT 'LINES'; END; DROP TABLE t;",
    },
    "mysql": {
        "backticks": "LOCK TABLES `x LINES` WRITE; DROP TABLE t;",
        "a setting that is left out": "SET autocommit = 0, @a = 'LINES'; DROP TABLE t;",
        "double quotes": 'SELECT "a""LINES"; DROP TABLE t;',
        "an escape": r"SELECT '\' LINES'; DROP TABLE t;",
        "a comment for no server": "/*!999999 LINES */ DROP TABLE t;",
        "two dashes that are no comment": "SELECT 1\n--orch: allow CODE why\n; DROP TABLE t;",
    },
    "sqlite": {
        "brackets": "CREATE TABLE [x LINES] (i int); DROP TABLE t;",
        "backticks": "CREATE TABLE `x LINES` (i int); DROP TABLE t;",
        "comments do not nest": "/* /* LINES */ DROP TABLE t;",
    },
}


def parsed(engine: str, text: str) -> Script:
    text = text.replace("LINES", LINES).replace("CODE", CODES[engine])
    return load_engine(engine, "", "").parse(File("1_a.up.sql", Path("1_a.up.sql"), ""), text)


@pytest.mark.parametrize("engine", SQL)
def test_what_looks_like_a_directive_does_not_count(engine: str) -> None:
    for where, text in {**HIDDEN, **OF_ONE[engine]}.items():
        try:
            script = parsed(engine, text)
        except InvalidError as error:  # the server's own syntax, never a directive
            pytest.fail(f"{where}: {error.what}")
        assert permissions(script) == [], where
        assert (script.lock_timeout, script.checks.before, script.directives) == (None, (), ()), where
        assert any("drops table t" in one.what for one in risks([script], engine=engine)), where


@pytest.mark.parametrize("engine", SQL)
@pytest.mark.parametrize(
    "above",
    [
        "LINES",
        "LINES".replace("LINES", LINES.replace("\n", "\r\n")),
        "/* a licence */ LINES",
        "/* -- orch: allow CODE why */ LINES",
        "/**/\n\n-- a comment\nLINES -- another\n",
        "  \t/* 'an odd quote */LINES",
        "-- it's here LINES",
    ],
)
def test_a_directive_above_the_first_statement_counts(engine: str, above: str) -> None:
    script = parsed(engine, above + "DROP TABLE t;")
    (granted,) = permissions(script)
    assert (granted.code, granted.reason) == (CODES[engine], "nobody reads it")
    assert script.text.splitlines()[granted.where.line - 1].startswith("-- orch: allow")
    assert script.lock_timeout == 7
    assert [check.source for check in script.checks.before] == ["SELECT 1 = 1"]
    assert risks([script], engine=engine) == []


def test_each_engine_has_the_comments_of_its_server() -> None:
    (granted,) = permissions(parsed("mysql", "# orch: allow CODE nobody reads it\nDROP TABLE t;"))
    assert granted.code == "MY101"
    (granted,) = permissions(parsed("mysql", "DELIMITER //\n-- orch: allow CODE nobody reads it\nDROP TABLE t//\n"))
    assert granted.reason == "nobody reads it"
    (granted,) = permissions(parsed("postgres", "\ufeff--orch:allow=CODE why\nDROP TABLE t;"))
    assert granted.code == "PG101"
    for engine in ("mysql", "sqlite"):
        assert permissions(parsed(engine, "-- orch: allow CODE why")) != []  # a file without a statement


@pytest.mark.parametrize("engine", SQL)
@pytest.mark.parametrize("below", ["SELECT 1;\n-- orch: allow CODE why\n", "DROP TABLE\n-- orch: lock_timeout=7s\nt;"])
def test_a_directive_below_or_within_a_statement_is_refused(engine: str, below: str) -> None:
    with pytest.raises(InvalidError, match="an orch directive below the first statement has no effect") as caught:
        parsed(engine, below)
    assert caught.value.where is not None and caught.value.where.line == 2


def test_no_transaction_of_a_comment_is_no_choice() -> None:
    """VALIDATE in the transaction of NOT VALID is told unless the file itself chose to run piece by piece."""
    two = (
        "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID;\nALTER TABLE t VALIDATE CONSTRAINT c;\n"
        "CREATE INDEX CONCURRENTLY i ON t (a);"
    )
    for above, mixed in (("-- orch: no-transaction\n", False), ("/* -- orch: no-transaction */\n", True)):
        found = Story().judge(parsed("postgres", above + two))
        assert ("PG405" in {one.code for one in found}) is mixed
    assert "PG206" not in {one.code for one in Story().judge(parsed("postgres", "--orch:no-transaction\n" + two))}


@pytest.mark.parametrize("reason", ["", " ", "-", "...", "\u00a0"])
def test_signs_are_no_reason(reason: str) -> None:
    for engine in SQL:
        script = parsed(engine, f"-- orch: allow CODE {reason}\nDROP TABLE t;")
        assert [one.reason for one in permissions(script)] == [""]
        assert risks([script], engine=engine) != []
    thai = parsed("postgres", "-- orch: allow CODE ไม่มีใครใช้\nDROP TABLE t;")
    assert permissions(thai)[0].reason == "ไม่มีใครใช้" and risks([thai]) == []


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ('[{"drop": "a", "comment": {"orch": {"allow": {"MG101": "why"}}}}]', True),
        ('[{"drop": "a", "comment": {"\\u006frch": {"allow": {"mg101": "why"}}}}]', True),
        ('[{"drop": "a", "comment": "{orch: {allow: {MG101: why}}}"}]', False),
        ('[{"drop": "a", "comment": "x\\n-- orch: allow MG101 why\\n"}]', False),
        ('[{"insert": "b", "documents": [{"comment": {"orch": {"allow": {"MG101": "why"}}}}]}, {"drop": "a"}]', False),
        ('[{"ping": 1, "comment": {"orch": {"allow": {"MG101": "why"}}}}, {"drop": "a"}]', False),
        ('[{"drop": "a", "writeConcern": {"comment": {"orch": {"allow": {"MG101": "why"}}}}}]', False),
        ('[{"drop": "a", "comment": {"orch": {"allow": {"MG101": ["why"]}}}}]', False),
        ('[{"drop": "a", "comment": {"orch": {"allow": {"MG101": " "}}}}]', False),
    ],
)
def test_a_permission_in_mongodb_stands_in_its_own_command(text: str, right: bool) -> None:
    script = load_engine("mongo", "", "").parse(File("1_a.up.json", Path("a"), ""), text)
    (drop,) = [one for one in Story().judge(script) if one.code == "MG101"]
    assert allowed(drop, permissions(script)) is right
    assert (risks([script], engine="mongo") == []) is right


@pytest.mark.parametrize(
    "comment",
    [
        '"orch: allow MG101 why"',
        '{"orch": {"allow": "MG101 why"}}',
        '{"orch": {"allow": {"MG101": "why"}, "x": 1}}',
        '{"orch": {"allow": {"MG101": "a"}}, "more": 1}',
    ],
)
def test_a_permission_of_mongodb_that_is_written_wrong_is_refused(comment: str) -> None:
    with pytest.raises(InvalidError, match="is not a directive of orch"):
        load_engine("mongo", "", "").parse(
            File("1_a.up.json", Path("a"), ""), f'[{{"drop": "a", "comment": {comment}}}]'
        )
