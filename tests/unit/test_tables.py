"""Tables at every width: what does not fit wraps at words, an empty column goes, and letters keep their marks."""

from __future__ import annotations

import copy
import pickle

import pytest

from orchestrator.phrases import width
from orchestrator.views.table import Painted, Table, diff_text, table, wrapped

THAI = "เชื่อมต่อเซิร์ฟเวอร์ไม่ได้เพราะเครื่องปิดอยู่ในขณะนี้"
HEADER = ("DATABASE", "VERSION", "EMPTY", "STATE", "NOTE")
ROWS = [
    (
        "postgres-order",
        "3",
        "",
        "pending",
        'migrations/order/000002_bad.up.sql:2:13: relation "nowhere" does not exist',
    ),
    ("ฐานข้อมูลผู้ใช้งานระบบที่มีชื่อยาวมาก", "12", "", "unreachable", THAI),
]


def plain(text: str, colour: str) -> str:
    assert colour
    return text


@pytest.mark.parametrize("columns", [30, 50, 80, 140, 200])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_lost(columns: int) -> None:
    lines = table(HEADER, ROWS).fitted(columns, plain).splitlines()
    assert max(map(width, lines)) <= columns
    assert "EMPTY" not in "".join(lines)
    shown = "".join("".join(lines).split())
    for line in lines:
        assert not line.startswith("\u0e31"), "a mark has lost its letter"
    letters = sorted("".join(cell for row in ROWS for cell in row).replace(" ", ""))
    assert not [letter for letter in set(letters) if shown.count(letter) < letters.count(letter)]


def test_where_there_is_room_a_table_is_as_in_a_pipe() -> None:
    made = table(HEADER, ROWS)
    assert made.fitted(200, plain) == made.fitted(None, plain) == str(made)
    assert made.splitlines()[0].split() == ["DATABASE", "VERSION", "STATE", "NOTE"]
    assert made.splitlines()[1].index("3") > made.splitlines()[0].index("VERSION"), "numbers stand at the right"


def test_a_terminal_too_narrow_for_columns_gets_a_block_for_each_row() -> None:
    many = Table([f"COLUMN{n}" for n in range(8)], [[f"cell{n}" for n in range(8)]] * 2)
    lines = many.fitted(40, plain).splitlines()
    assert lines[0] == "COLUMN0  cell0"
    assert lines[8] == ""
    assert len(lines) == 17


def test_cells_are_painted_after_they_are_measured() -> None:
    made = table(("A", "STATE", "B"), [("x", Painted("failed badly", "red"), "y" * 30)])
    shown = made.fitted(48, lambda text, colour: f"<{colour}>{text}</>")
    assert "<bold>STATE</>" in shown
    assert "<red>failed badly</>  yyy" in shown


@pytest.mark.parametrize("wide", [4, 9, 12, 16, 40])
def test_thai_is_not_broken_between_a_letter_and_what_belongs_to_it(wide: int) -> None:
    lines = [line.strip() for line in wrapped(THAI, wide)]
    assert "".join(lines) == THAI
    assert not [line for line in lines[1:] if line[0] in "ะาำ่้๊๋์ิีึืุูั็"]
    assert not [line for line in lines[:-1] if line[-1] in "เแโใไ"]


def test_a_table_can_be_handed_to_another_process() -> None:
    made = table(("A",), [(Painted("x", "red"),)])
    for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert (other.header, other.rows, str(other)) == (made.header, made.rows, str(made))
        assert getattr(other.rows[0][0], "colour", "") == "red"


def test_a_diff_has_the_colours_of_its_signs_and_a_removed_comment_is_no_name_of_a_file() -> None:
    text = "--- a/1.sql\n+++ b/1.sql\n@@ -1,3 +1,2 @@\n SELECT 1;\n--- a comment of SQL\n++ x\n-DROP TABLE a;\n"
    shown = diff_text(text)
    assert shown == text
    colours = {str(part): part.colour for part in shown.parts if isinstance(part, Painted)}
    assert colours == {
        "--- a/1.sql": "bold",
        "+++ b/1.sql": "bold",
        "@@ -1,3 +1,2 @@": "blue",
        "--- a comment of SQL": "red",
        "++ x": "green",
        "-DROP TABLE a;": "red",
    }


def test_a_long_text_in_a_narrow_column_makes_blocks_of_the_rows() -> None:
    error = 'migrations/tenant/000006_add_z.up.sql:1:39: could not create unique index "z_ix"'
    row = ("2026-11-28 00:38:04 UTC", "postgres-tenant_t042", "6 add_z", "failed", "root@vm as orch", error)
    shown = table(("WHEN", "DATABASE", "MIGRATION", "RESULT", "BY", "NOTE"), [row]).fitted(80, plain)
    assert "NOTE       migrations/tenant/000006_add_z.up.sql:1:39:" in shown
    assert len(shown.splitlines()) == 7
