"""Where a statement of SQLite ends: exactly where SQLite's own `sqlite3_complete` says so."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.engines.sqlite.reader import read_script, split
from orchestrator.model import File

FILE = File("1_x.up.sql", Path("1_x.up.sql"), "sha256:0")
TRIGGER = "CREATE TEMP TRIGGER t AFTER INSERT ON a BEGIN UPDATE a SET x = CASE WHEN 1 THEN 2 END; SELECT 1; END"
WORDS = st.sampled_from(
    [
        *(
            ";",
            " ",
            "\n",
            "create",
            "TRIGGER",
            "temp",
            "end",
            "begin",
            "explain",
            "case",
            "x",
            "'a;b'",
            "'it''s'",
            '"q;"',
        ),
        *("[a;]", "`b;`", "-- c;\n", "/* d; */", "/*", "'", "(", "1", "ä"),
    ]
)
LONG = ("'" * 40_001, "/*" * 40_000, "[" * 40_000, "a;" * 20_000, "CREATE TRIGGER t " + "x;" * 20_000)


def by_sqlite(text: str) -> int:
    """How many statements SQLite's own test finds, one character after the other."""
    found = begin = 0
    for at, character in enumerate(text):
        if character == ";" and sqlite3.complete_statement(text[begin : at + 1]):
            found += any(True for _ in split(text[begin : at + 1]))
            begin = at + 1
    return found + any(True for _ in split(text[begin:]))


@settings(deadline=None, max_examples=400)
@given(st.lists(WORDS, max_size=25).map(" ".join))
@example(f"{TRIGGER};select 1;")
@example("select ';';-- ;\nselect 2;/* ; */;;")
def test_statements_end_where_sqlite_says(text: str) -> None:
    assert len(list(split(text))) == by_sqlite(text)


def test_a_trigger_is_one_statement() -> None:
    script = read_script(FILE, f"-- ;\nCREATE TABLE a (x);\n{TRIGGER};\nSELECT 1")
    assert [(one.source, one.line) for one in script.statements] == [
        ("CREATE TABLE a (x)", 2),
        (TRIGGER, 3),
        ("SELECT 1", 4),
    ]
    assert script.atomic


def test_empty_files_hold_nothing() -> None:
    for text in ("", ";", "-- only a comment", "/* one */", " ;; \n"):
        assert read_script(FILE, text).statements == ()


def test_settings_above_are_kept_for_a_later_run() -> None:
    script = read_script(FILE, "PRAGMA page_size = 8192;\nVACUUM;\nCREATE TABLE a (x);")
    assert [one.atomic for one in script.statements] == [False, False, True]
    assert [one.settings for one in script.statements] == ["", "PRAGMA page_size = 8192", "PRAGMA page_size = 8192"]
    assert not script.atomic


@pytest.mark.parametrize(
    "text", ["'" * 40_001, "/*" * 40_000, "[" * 40_000, "a;" * 20_000, "CREATE TRIGGER t " + "x;" * 20_000]
)
def test_the_time_is_linear(text: str) -> None:
    began = time.process_time()
    list(split(text))
    assert time.process_time() - began < 5


def test_a_permission_of_orch_lint_is_no_unknown_directive() -> None:
    text = "-- orch: allow PG101 nobody has read it for a year\nDROP TABLE t;\n"
    assert len(read_script(File("1_a.up.sql", Path("1_a.up.sql"), ""), text).statements) == 1
