"""Texts that MySQL files execute: in a copy they reach neither the real database nor the server, whoever puts them together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mysql_shop import Shop

EXECUTES = "PREPARE p FROM @s;\nEXECUTE p;\n"
# Texts that no reader of the file can know, with the line of the statement that is refused. {real} stands in a table.
AT_RUN_TIME = {
    "SELECT w INTO @s FROM words;\n" + EXECUTES: 2,
    "SET @s = (SELECT REVERSE(REVERSE(w)) FROM words);\n/* now */ prepare P from @S;\nEXECUTE p;\n": 2,
    "SELECT w INTO @`the text` FROM words;\nPREPARE p FROM @`the text`;\nEXECUTE p;\n": 2,
    "SET @s = UNHEX((SELECT HEX(w) FROM words));\nEXECUTE IMMEDIATE @s;\n": 2,
    "SET @d = (SELECT SUBSTRING_INDEX(SUBSTRING_INDEX(w, '.', 1), ' ', -1) FROM words);\n"
    "EXECUTE IMMEDIATE CONCAT('DELETE FROM ', @d, '.a');\n": 2,
    "SET @s = (SELECT w FROM words);\nCALL run(@s);\n": 2,
}
RUN = "CREATE PROCEDURE run(q text)\nBEGIN\n  SET @q = q;\n  PREPARE p FROM @q;\n  EXECUTE p;\nEND;\n"
FROM_WORDS = (
    "CREATE PROCEDURE sweep()\nBEGIN\n  SELECT w INTO @q FROM words;\n  PREPARE p FROM @q;\n  EXECUTE p;\nEND;\n"
    "CREATE PROCEDURE Outer_Sweep()\nBEGIN\n  CALL sweep();\nEND;\n"
)
BEFORE_IT_RUNS = {
    FROM_WORDS + "CALL `outer_sweep`();\n": "outer_sweep() executes a text that nobody can read before it runs",
    "BEGIN NOT ATOMIC\n  SELECT w INTO @q FROM words;\n  EXECUTE IMMEDIATE @q;\nEND;\n": "it executes a text that is in a table",
    "CALL run('DELETE FROM {real}.a');\n": "it names the database '{real}', in a text that is executed",
    "CREATE PROCEDURE empties(db text)\nBEGIN\n  EXECUTE IMMEDIATE CONCAT('DELETE FROM ', db, '.a');\nEND;\n"
    "CALL empties(LEFT('{real}!', LENGTH('{real}')));\n": "empties() executes a text that nobody can read before it runs",
    "CALL run('{real}');\n": "it gives the name '{real}' to a procedure that executes texts",
}
INSIDE = (
    "SET @s = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND column_name = 'c') = 0, "
    "'ALTER TABLE a ADD c int', 'SELECT 1');\n"
    + EXECUTES
    + "SET @s = CONCAT('INSERT INTO ', DATABASE(), '.a VALUES (7, 7)');\n"
    f"{EXECUTES}CALL run('INSERT INTO a VALUES (8, 8)');\nSET @s = 'INSERT INTO a VALUES (9, 9)';\nCALL run(@s);\n"
    "CREATE PROCEDURE keys_of()\nBEGIN\n  SELECT CONCAT('INSERT INTO ', table_name, ' VALUES (10, 10)') INTO @q\n"
    "    FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'a';\n"
    "  PREPARE p FROM @q;\n  EXECUTE p;\nEND;\nCALL keys_of();\n"
)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    made.declare({"1_a.up.sql": "CREATE TABLE a (i int);\nCREATE TABLE words (w text);\n" + RUN})
    yield made
    made.estate.drop()


def test_texts_that_reach_the_real_database_are_refused_in_copies(shop: Shop) -> None:
    real = f"{shop.estate.prefix}shop"
    shop.orch("apply")
    shop.sql("INSERT INTO a VALUES (1)")
    for text, line in AT_RUN_TIME.items():
        shop.write({"2_b.up.sql": f"INSERT INTO words VALUES ('DELETE FROM {real}.a');\n{text}"})
        refused = shop.orch("clone", "shop", "--as", f"{shop.estate.prefix}copy", code=1).stderr
        assert f"2_b.up.sql:{line + 1}" in refused, (text, refused)
        assert f"no copy can run this: it names the database '{real}', in a text that is executed" in refused
        assert shop.sql("SELECT * FROM a") == [(1,)], text
    for number, text in enumerate(BEFORE_IT_RUNS, 2):
        shop.write({f"{number}_b.up.sql": text.format(real=real)})
    refused = shop.orch("clone", "shop", "--as", f"{shop.estate.prefix}copy", code=4).stderr
    for number, what in enumerate(BEFORE_IT_RUNS.values(), 2):
        told = [line for line in refused.splitlines() if f"/{number}_b.up.sql:" in line]
        assert any(what.format(real=real) in line for line in told), (what, refused)
    assert shop.sql("SELECT * FROM a") == [(1,)]


def test_texts_that_stay_in_their_database_run_in_copies(shop: Shop) -> None:
    shop.write({"2_b.up.sql": INSIDE})
    shop.orch("clone", "shop", "--as", f"{shop.estate.prefix}copy")
    assert shop.estate.mysql("copy", "SELECT i, c FROM a ORDER BY i") == [(7, 7), (8, 8), (9, 9), (10, 10)]
    shop.orch("apply")
    assert shop.sql("SELECT i, c FROM a ORDER BY i") == [(7, 7), (8, 8), (9, 9), (10, 10)]
