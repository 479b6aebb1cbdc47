"""A file of very many INSERTs is kept as bounds, and means what it means statement by statement."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.analysis.risks import risks
from orchestrator.engines.postgres import inserts
from orchestrator.engines.postgres.message import Message
from orchestrator.engines.postgres.sql import parse_sql
from orchestrator.model import File, Script, Statements, telling

FILE = File("migrations/000001_x.up.sql", Path("000001_x.up.sql"), "")
ROWS = [
    "INSERT INTO item VALUES (1, 'a');\n",
    "INSERT INTO item (id, name) VALUES (2, 'it''s; -- BEGIN; COMMIT /* '), (-3, NULL);\n",
    'insert  into "Odd;--Name" . item\n values(1.5e-3,TRUE,\nDEFAULT)\n;\r\n\r\n',
    "INSERT INTO übung VALUES ('ä\n;\n', +.5) ; ",
    "INSERT INTO item VALUES (now(), '{}'::jsonb, E'it\\'s; ', '1'::numeric(3, 2), '{a}'::text[]) on conflict (id) do nothing;\n",
    "INSERT INTO item VALUES (1, 'a') ON CONFLICT DO NOTHING;",
]
OTHERS = [
    "-- orch: not at the top\n",
    "/* a; comment */ ",
    "INSERT INTO item SELECT 1;\n",
    "INSERT INTO item VALUES (f());\n",
    "INSERT INTO item VALUES (1) ON CONFLICT (id) DO UPDATE SET id = 2;\n",
    "INSERT INTO item VALUES (1) RETURNING id;\n",
    "INSERT INTO item VALUES ((1));\n",
    "INSERT INTO item VALUES ($$;$$);\n",
    "UPDATE item SET id = 2;\n",
    ";;",
    "SET search_path = a;\n",
    "CREATE TABLE z (id int);",
    "VACUUM;\n",
    "CREATE TEMP TABLE item (id int);\n",
]


def parse(text: str, least: int) -> Script:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inserts, "_LEAST", least)
        return parse_sql(FILE, text)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(ROWS), st.sampled_from(ROWS), st.sampled_from(OTHERS[1:])), max_size=25),
    st.sampled_from(("{}", "BEGIN; {} COMMIT;", "BEGIN ISOLATION LEVEL SERIALIZABLE; {} END", "-- orch: no-transaction\n{}")),
)  # fmt: skip
def test_a_run_of_inserts_is_its_statements(parts: list[str], around: str) -> None:
    text = around.format("".join(parts))
    try:
        one_by_one = parse(text, 10**9)
    except Exception as error:  # noqa: BLE001 - whatever it says
        with pytest.raises(type(error)) as caught:
            parse(text, 2)
        assert str(caught.value) == str(error)
        return
    together = parse(text, 2)
    assert list(together.statements) == list(one_by_one.statements)
    assert replace(together, statements=()) == replace(one_by_one, statements=())
    count = len(one_by_one.statements)
    assert len(together.statements) == count
    assert [together.statements[number] for number in range(-count, count)] == 2 * list(one_by_one.statements)
    assert list(together.statements[1:3]) == list(one_by_one.statements[1:3])
    assert [one.what for one in risks([together])] == [one.what for one in risks([one_by_one])]
    told = dict(telling(together.statements))
    assert told.items() <= dict(enumerate(one_by_one.statements)).items()


def test_only_the_first_of_each_kind_is_judged() -> None:
    rows = "".join(f"INSERT INTO {'ab'[n % 2]} VALUES ({n});\n" for n in range(1000))
    script = parse_sql(FILE, "CREATE TABLE a (id int);\n" + rows + "DROP TABLE c;\n" + rows)
    assert isinstance(script.statements, Statements)
    assert [number for number, _ in telling(script.statements)] == [0, 1, 2, 1001, 1002, 1003]
    (risk,) = risks([script])
    assert risk.where.line == 1002
    assert script.statements[2001].line == 2002


def test_a_new_enum_value_is_seen_in_every_insert() -> None:
    rows = "".join(f"INSERT INTO a VALUES ({n}, 'old');\n" for n in range(1000))
    script = parse_sql(FILE, f"ALTER TYPE mood ADD VALUE 'new';\n{rows}INSERT INTO a VALUES (1, 'new');\n{rows}")
    assert [risk.where.line for risk in risks([script]) if "'new'" in risk.what] == [1002]


def test_a_directive_between_inserts_is_refused() -> None:
    rows = "INSERT INTO a VALUES (1);\n" * 100
    for text in (
        f"{rows}-- orch: no-transaction\n{rows}",
        f"{rows}SELECT 1;\n-- orch: allow PG101 x\n{rows}",
        f"{rows}-- orch: x",
    ):
        with pytest.raises(Exception, match="below the first statement"):
            parse_sql(FILE, text)


def test_what_is_wrong_behind_many_inserts_has_its_place() -> None:
    rows = "INSERT INTO a VALUES (1);\n" * 100
    for wrong, what in (("INSERT INTO a VALUES ('x", "unterminated"), ("INSERT INTO a VALUES (1;", "never closed")):
        with pytest.raises(Exception, match=what) as caught:
            parse_sql(FILE, rows + wrong)
        assert str(caught.value.where).startswith(f"{FILE.path}:101:")  # type: ignore[attr-defined]


def test_a_large_file_takes_little_more_memory_than_its_text() -> None:
    text = "".join(f"INSERT INTO item (id, name) VALUES ({n}, 'item number {n}');\n" for n in range(40_000))
    tracemalloc.start()
    try:
        script = parse_sql(FILE, text)
        risks([script])
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(script.statements) == 40_000
    assert kept < 0.5 * len(text)
    assert peak < 1.6 * len(text)


def test_every_place_in_a_message_is_found() -> None:
    rows = "".join(f"INSERT INTO a VALUES ({n}, 'ä');  \n" for n in range(100))
    script = parse_sql(FILE, rows)
    assert isinstance(script.statements, Statements)
    (run,) = script.statements.parts
    message = Message("BEGIN; ")
    assert message.add_inserts(run, 3) == 100  # type: ignore[arg-type]
    message.put("COMMIT")
    for statement in script.statements[3:]:
        for offset in (0, 7, len(statement.source) - 1):
            at = message.text.index(statement.source) + offset
            assert message.place([], str(at + 1)) == (statement, offset)
    assert message.place([], str(message.text.index("COMMIT") + 1)) is None
    results: list[object] = [Result()] * 11
    assert message.place(results, None) == (script.statements[13], None)  # type: ignore[arg-type]


class Result:
    """A result without columns, as of an INSERT."""

    nfields = 0
