"""Statements of MySQL and MariaDB that run others, or whose text misleads: each runs once, whoever is killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kill import Forge
from mysql_shop import Shop

SETUP = {
    "1_a.up.sql": (
        "CREATE TABLE a (x int, y int);\nINSERT INTO a VALUES (1, 2);\nCREATE TABLE a_new (x int);\n"
        "CREATE PROCEDURE p() BEGIN INSERT INTO a VALUES (7, 7); INSERT INTO missing VALUES (1); END;\n"
    )
}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.estate.drop()


def test_what_ran_before_a_statement_failed_is_not_run_again(shop: Shop) -> None:
    shop.declare(SETUP)
    shop.orch("apply")
    texts = ["CALL p();\n"]
    if shop.is_maria():
        inner = "INSERT INTO a VALUES (7, 7); INSERT INTO missing VALUES (1);"
        texts += [f"BEGIN NOT ATOMIC {inner} END;\n", f"EXECUTE IMMEDIATE 'BEGIN NOT ATOMIC {inner} END';\n"]
        texts += [f"FOR i IN 1..1 DO {inner} END FOR;\n"]
    for text in texts:
        shop.write({"2_b.up.sql": text})
        assert "may be done in part" in shop.orch("apply", code=1).text, text
        shop.sql("CREATE TABLE missing (i int)")
        assert "in doubt at statement 1" in shop.orch("apply", code=5).text, text
        assert shop.sql("SELECT count(*) FROM a WHERE x = 7") == [(1,)], text
        shop.sql("DROP TABLE missing")
        shop.sql("DELETE FROM a WHERE x = 7")
        shop.orch("repair", "shop", "--statement-not-done", "--reason", "cleared")


def test_what_cannot_have_begun_needs_nobody_to_look(shop: Shop) -> None:
    shop.declare({**SETUP, "2_b.up.sql": "CALL nosuch();\n"})
    texts = ["CALL `nosuch`(1);\n", "CALL nosuch();\n"]
    texts += ["BEGIN NOT ATOMIC SELEC 1; END;\n", "IF 1 THEN SELEC 1; END IF;\n"] if shop.is_maria() else []
    for text in texts:
        shop.write({"2_b.up.sql": text})
        assert "correct what is wrong, and run again" in shop.orch("apply", code=1).text, text


KILLED = [
    # where the run is killed, the statement, what ends it, what is then there
    ("before", "RENAME TABLE a TO a_old, a_new TO a", 0, "SELECT count(*) FROM a_old"),
    ("before", "ALTER TABLE a CHANGE x y int, CHANGE y x int FIRST", 5, "SELECT x = 1 FROM a"),
    ("after", "ALTER TABLE a CHANGE x y int, CHANGE y x int FIRST", 5, "SELECT x = 2 FROM a"),
    ("after", "SET STATEMENT lock_wait_timeout = 5 FOR ALTER TABLE a ADD COLUMN z int", 0, "SELECT z IS NULL FROM a"),
    ("before", "IF 1 THEN ALTER TABLE a ADD COLUMN z int; END IF", 5, "SELECT 1"),
    ("after", "DROP SEQUENCE s1, s2", 0, "SELECT 1"),
]


def test_a_statement_of_which_a_run_was_cut_off(shop: Shop, forge: Forge) -> None:
    """A column or table that has changed places looks as before: then a person looks. All else is found out."""
    if not shop.is_maria():
        pytest.skip("statements of MariaDB")
    shop.declare(SETUP)
    for when, text, code, query in KILLED:
        (shop.directory / "3_c.up.sql").unlink(missing_ok=True)
        shop.write({"2_b.up.sql": "CREATE SEQUENCE s1;\nCREATE SEQUENCE s2;\n"})
        shop.orch("apply")
        shop.write({"3_c.up.sql": f"CREATE TABLE first_of_all (i int);\n{text};\nCREATE TABLE last_of_all (i int);\n"})
        point = {"label": f"{when} MysqlSession.execute", "kill_at": 2}
        ended = forge.run(["apply"], shop.root, shop.estate.env, **point)  # type: ignore[arg-type]
        assert ended.code is None, ended.output
        shop.orch("apply", code=code)
        assert shop.sql(query) in ([(1,)],), (when, text)
        shop.estate.drop()


def test_a_drop_of_sequences_that_was_done_in_part(shop: Shop) -> None:
    if not shop.is_maria():
        pytest.skip("statements of MariaDB")
    shop.declare({"1_a.up.sql": "CREATE SEQUENCE s1;\nCREATE SEQUENCE s2;\nDROP SEQUENCE s1, miss, s2;\n"})
    assert "may be done in part" in shop.orch("apply", code=1).text
    shop.sql("CREATE SEQUENCE miss")
    shop.orch("apply")
    assert shop.sql("SHOW TABLES LIKE '%s%s_'") == []


def test_statements_whose_words_mislead(shop: Shop) -> None:
    """Names that are keywords, what runs behind SET STATEMENT and ANALYZE, and settings beside autocommit."""
    shop.declare(
        {
            "1_a.up.sql": (
                "SET autocommit = 0, sql_mode = 'ANSI_QUOTES', @old = @@autocommit;\n"
                'CREATE TABLE "temporary" (i int);\nINSERT INTO "temporary" VALUES (@old);\nDROP TABLE IF EXISTS nothing;\n'
            ),
            "2_b.up.sql": (
                "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;\n"
                "INSERT INTO `temporary` SELECT i + 1 FROM `temporary`;\nINSERT INTO `temporary` VALUES (10);\n"
            ),
        }
    )
    shop.orch("apply")
    assert shop.sql("SELECT i FROM `temporary` ORDER BY i") == [(1,), (2,), (10,)]
    if shop.is_maria():
        shop.write(
            {
                "3_c.up.sql": (
                    "SET STATEMENT max_statement_time = 5 FOR INSERT INTO `temporary` VALUES (20);\n"
                    "ANALYZE UPDATE `temporary` SET i = i + 1 WHERE i = 10;\n"
                )
            }
        )
        shop.orch("apply")
        assert shop.sql("SELECT i FROM `temporary` ORDER BY i") == [(1,), (2,), (11,), (20,)]


def test_packages_of_oracle(shop: Shop) -> None:
    """With DELIMITER lines they are cut, found out after a kill, and told where these are missing."""
    if not shop.is_maria():
        pytest.skip("packages of MariaDB")
    package = "CREATE PACKAGE pk AS FUNCTION f RETURN INT; END"
    body = (
        "CREATE PACKAGE BODY pk AS FUNCTION f RETURN INT AS x INT := 0; "
        "BEGIN FOR i IN 1..3 LOOP x := x + i; END LOOP; RETURN x; END; END"
    )
    shop.declare({"1_a.up.sql": f"CREATE TABLE a (i int);\nSET sql_mode = ORACLE;\n{package};\n"})
    told = shop.orch("apply", code=4).text
    assert "1_a.up.sql:3:1" in told
    assert "DELIMITER //" in told
    shop.write({"1_a.up.sql": f"SET sql_mode = ORACLE;\nDELIMITER //\n{package}//\n{body}//\nDELIMITER ;\n"})
    shop.orch("apply")
    made = "SELECT ROUTINE_TYPE FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE() ORDER BY 1"
    assert shop.sql(made) == [("PACKAGE",), ("PACKAGE BODY",)]


def test_a_lost_temporary_table_is_not_taken_for_a_real_one(shop: Shop) -> None:
    """It hides a table of the same name, which the rest of the file must not reach when the session is gone."""
    shop.declare({"1_a.up.sql": "CREATE TABLE a (i int);\nINSERT INTO a VALUES (1);\n"})
    shop.orch("apply")
    made = "CREATE TEMPORARY TABLE a (i int);\nINSERT INTO a VALUES (5);\nCREATE TABLE b AS SELECT i FROM a;\n"
    shop.write({"2_b.up.sql": made + "INSERT INTO nosuch VALUES (1);\nDROP TABLE a;\n"})
    shop.orch("apply", code=1)
    shop.sql("CREATE TABLE nosuch (i int)")
    told = shop.orch("apply", code=5).text
    assert "the temporary table a went with the session" in told
    assert "line 5 needs it" in told
    assert (shop.sql("SELECT i FROM a"), shop.sql("SELECT i FROM b")) == ([(1,)], [(5,)])
    again = "CREATE TEMPORARY TABLE IF NOT EXISTS a (i int);\nDROP TEMPORARY TABLE a;\n"
    shop.write({"2_b.up.sql": made + again})
    shop.orch("apply")
    assert shop.sql("SELECT i FROM a") == [(1,)]
