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
    "SELECT 1;\nCALL run(UNHEX('{hex}'));\n": 2,
    "SET @s = '{hex}';\nCALL run(UNHEX(@s));\n": 2,
    "SET @d = (SELECT SUBSTRING_INDEX(SUBSTRING_INDEX(w, '.', 1), ' ', -1) FROM words);\nCALL empties(@d);\n": 2,
}
EMPTIES = (
    "CREATE PROCEDURE empties(IN db varchar(64))\nBEGIN\n  EXECUTE IMMEDIATE CONCAT('DELETE FROM ', db, '.a');\nEND;\n"
)
RUN = "CREATE PROCEDURE run(q text)\nBEGIN\n  SET @q = q;\n  PREPARE p FROM @q;\n  EXECUTE p;\nEND;\n"
FROM_WORDS = (
    "CREATE PROCEDURE sweep()\nBEGIN\n  SELECT w INTO @q FROM words;\n  PREPARE p FROM @q;\n  EXECUTE p;\nEND;\n"
    "CREATE PROCEDURE Outer_Sweep()\nBEGIN\n  CALL sweep();\nEND;\n"
)
BEFORE_IT_RUNS = {
    FROM_WORDS + "CALL `outer_sweep`();\n": "outer_sweep() executes a text that nobody can read before it runs",
    "BEGIN NOT ATOMIC\n  SELECT w INTO @q FROM words;\n  EXECUTE IMMEDIATE @q;\nEND;\n": "it executes a text that is in a table",
    "CALL run('DELETE FROM {real}.a');\n": "it names the database '{real}', in a text that is executed",
    "CALL empties(LEFT('{real}!', LENGTH('{real}')));\n": "it gives the name of a database to a procedure that executes texts",
    "CREATE PROCEDURE by(db text)\nBEGIN\n  CALL empties(LOWER(db));\nEND;\nCALL by('{real}');\n": "by() executes a text",
    "CREATE PROCEDURE dot(db text)\nBEGIN\n  SET @t = CONCAT(LOWER(db), '.a');\n  SET @q = CONCAT('DELETE FROM ', @t);\n"
    "  PREPARE p FROM @q;\n  EXECUTE p;\nEND;\nCALL dot(LEFT('{real}!', 9));\n": "dot() executes a text",
    "CREATE PROCEDURE other(db text)\nBEGIN\n  SET db = LEFT(db, 9);\n  EXECUTE IMMEDIATE CONCAT('DELETE FROM ', db, '.a');\n"
    "END;\nCALL other(DATABASE());\n": "other() executes a text",
    "CALL run((SELECT w FROM words));\n": "it gives a procedure that executes texts a value that only the server knows",
    "CREATE PROCEDURE hidden()\nBEGIN\n  SET @q = UNHEX('44');\n  PREPARE p FROM @q;\n  EXECUTE p;\nEND;\n"
    "CALL hidden();\n": "hidden() executes a text that nobody can read before it runs",
    "CREATE PROCEDURE ws(db text)\nBEGIN\n  EXECUTE IMMEDIATE CONCAT('DELETE FROM ', CONCAT_WS('.', db, 'a'));\nEND;\n"
    "CALL ws(DATABASE());\n": "ws() executes a text",
    "CALL run('{real}');\n": "it gives the name '{real}' to a procedure that executes texts",
}
# What people copy from each other for "add a column if it is not there", and other texts that stay in the database.
INSIDE = (
    "SET @s = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND column_name = 'c') = 0, "
    "'ALTER TABLE a ADD c int', 'SELECT 1');\n"
    + EXECUTES
    + "SET @s = CONCAT('INSERT INTO ', DATABASE(), '.a VALUES (7, 7)');\n"
    f"{EXECUTES}CALL run('INSERT INTO a VALUES (8, 8)');\nSET @s = 'INSERT INTO a VALUES (9, 9)';\nCALL run(@s);\n"
    "CREATE PROCEDURE keys_of()\nBEGIN\n  SELECT CONCAT('INSERT INTO ', table_schema, '.', table_name, ' VALUES (10, 10)') "
    "INTO @q\n    FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'a';\n"
    "  PREPARE p FROM @q;\n  EXECUTE p;\nEND;\nCALL keys_of();\n"
    "SET @dbname = DATABASE();\nSET @tablename = 'a';\nSET @columnname = 'd';\n"
    "SET @prepared = (SELECT IF((SELECT COUNT(*) FROM INFORMATION_SCHEMA.COLUMNS WHERE (table_name = @tablename) AND "
    "(table_schema = @dbname) AND (column_name = @columnname)) > 0, 'SELECT 1', "
    "CONCAT('ALTER TABLE ', @tablename, ' ADD ', @columnname, ' INT DEFAULT 5;')));\n"
    "PREPARE addIt FROM @prepared;\nEXECUTE addIt;\nDEALLOCATE PREPARE addIt;\n"
    "CREATE PROCEDURE AddColumnUnlessExists(IN dbName tinytext, IN tableName tinytext, IN field tinytext, IN def text)\n"
    "BEGIN\n  IF NOT EXISTS (SELECT * FROM information_schema.COLUMNS WHERE column_name = field AND table_name = tableName "
    "AND table_schema = dbName) THEN\n    SET @ddl = CONCAT('ALTER TABLE ', dbName, '.', tableName, ' ADD COLUMN ', field, ' ', "
    "def);\n    PREPARE stmt FROM @ddl;\n    EXECUTE stmt;\n  END IF;\nEND;\n"
    "CALL AddColumnUnlessExists(Database(), 'a', 'e', 'int DEFAULT 6');\nCALL addcolumnunlessexists(@dbname, 'a', 'e', 'int');\n"
    "CREATE PROCEDURE add_f()\nBEGIN\n  DECLARE db varchar(64) DEFAULT SCHEMA();\n"
    "  SET @q = CONCAT('ALTER TABLE `', db, '`.a ADD f int DEFAULT 7');\n"
    "  PREPARE p FROM @q;\n  EXECUTE p;\nEND;\nCALL add_f();\n"
    "SET @s = IF((SELECT COUNT(*) FROM information_schema.columns c WHERE c.table_schema = '{real}' AND column_name = 'g') = 0, "
    "'ALTER TABLE a ADD g int DEFAULT 8', 'SELECT 1');\n" + EXECUTES
)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    made.declare({"1_a.up.sql": "CREATE TABLE a (i int);\nCREATE TABLE words (w text);\n" + RUN})
    yield made
    made.estate.drop()


def test_texts_that_reach_the_real_database_are_refused_in_copies(shop: Shop) -> None:
    real = f"{shop.estate.prefix}shop"
    if shop.is_maria():
        shop.write({"1_a.up.sql": shop.directory.joinpath("1_a.up.sql").read_text() + EMPTIES})
    shop.orch("apply")
    shop.sql("INSERT INTO a VALUES (1)")
    maria = shop.is_maria()  # MySQL has no EXECUTE IMMEDIATE and no BEGIN NOT ATOMIC
    for text, line in AT_RUN_TIME.items():
        if not maria and ("IMMEDIATE" in text or "empties" in text):
            continue
        text = text.replace("{hex}", f"DELETE FROM {real}.a".encode().hex())
        shop.write({"2_b.up.sql": f"INSERT INTO words VALUES ('DELETE FROM {real}.a');\n{text}"})
        refused = shop.orch("clone", "shop", "--as", f"{shop.estate.prefix}copy", code=1).stderr
        assert f"2_b.up.sql:{line + 1}" in refused, (text, refused)
        assert f"no copy can run this: it names the database '{real}', in a text that is executed" in refused
        assert shop.sql("SELECT * FROM a") == [(1,)], text
    before = {text: what for text, what in BEFORE_IT_RUNS.items() if maria or "empties" not in text}
    for number, text in enumerate(before, 2):
        shop.write({f"{number}_b.up.sql": text.format(real=real)})
    refused = shop.orch("clone", "shop", "--as", f"{shop.estate.prefix}copy", code=4).stderr
    for number, what in enumerate(before.values(), 2):
        told = [line for line in refused.splitlines() if f"/{number}_b.up.sql:" in line]
        assert any(what.format(real=real) in line for line in told), (what, refused)
    assert shop.sql("SELECT * FROM a") == [(1,)]


def test_texts_that_stay_in_their_database_run_in_copies(shop: Shop) -> None:
    shop.write({"2_b.up.sql": INSIDE.replace("{real}", f"{shop.estate.prefix}shop")})
    rows = [(number, number, 5, 6, 7, 8) for number in (7, 8, 9, 10)]
    for database, command in (("shop", "apply"), ("copy", f"clone shop --as {shop.estate.prefix}copy")):
        shop.orch(*command.split())  # what is there in the real one is not taken for what the copy has
        assert shop.estate.mysql(database, "SELECT i, c, d, e, f, g FROM a ORDER BY i") == rows
