"""Which statements of MySQL reach beyond their database: also those in bodies, and never because of a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.engines.mysql.reach import confine
from orchestrator.engines.mysql.reader import read_script
from orchestrator.errors import InvalidError
from orchestrator.model import File

BEYOND = (
    "CREATE OR REPLACE DATABASE shop",
    "CREATE OR REPLACE SCHEMA shop",
    "CREATE /* x */ OR REPLACE /*! DATABASE */ shop",
    "CREATE OR REPLACE USER joe",
    "CREATE OR REPLACE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (DATABASE 'shop')",
    "CREATE UNDO TABLESPACE u ADD DATAFILE 'u.ibu'",
    "CREATE RESOURCE GROUP r TYPE = USER",
    "CREATE SPATIAL REFERENCE SYSTEM 4120 NAME 'x' DEFINITION 'y'",
    "CREATE TABLE a (x int) ENGINE = `CONNECT` TABLE_TYPE = ODBC",
    "CREATE TABLE a (x int) ENGINE 'FEDERATED'",
    "SELECT sys_exec('rm x')",
    "CREATE PROCEDURE p() DROP DATABASE shop",
    "CREATE PROCEDURE p(x int) SQL SECURITY INVOKER COMMENT 'x' DROP DATABASE shop",
    "CREATE PROCEDURE p() BEGIN SELECT 1; DROP DATABASE shop; END",
    "CREATE PROCEDURE p() BEGIN IF 1 THEN CREATE OR REPLACE DATABASE shop; END IF; END",
    "CREATE PROCEDURE p() BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION DROP DATABASE shop; SELECT 1; END",
    "CREATE PROCEDURE p() BEGIN ALTER USER joe ACCOUNT LOCK; GRANT ALL ON *.* TO x; END",
    "CREATE PROCEDURE p() BEGIN SET @x = 1; SET @@global.y = 2; END",
    "CREATE PROCEDURE p() BEGIN KILL 5; END",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DROP DATABASE shop",
    "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET GLOBAL max_connections = 1",
    "BEGIN NOT ATOMIC DROP DATABASE shop; END",
    "IF 1 THEN DROP DATABASE shop; END IF",
    'INSERT INTO "other"."a" VALUES (1)',
    'UPDATE a "x", other."a" "y" SET "x".b = "y".b',
    "SELECT \"other\".f('other')",
    'CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW DELETE FROM "other".a',
)
WITHIN = (
    "ALTER TABLE user ADD x int",
    "DROP TABLE user",
    "CREATE TABLE user (id int)",
    "CREATE INDEX user ON a (x)",
    "CREATE SPATIAL INDEX server ON a (x)",
    "RENAME TABLE user TO role",
    "CREATE OR REPLACE VIEW user AS SELECT 1",
    "CREATE TABLE instance (x int)",
    "ALTER TABLE server DROP role",
    "CREATE PROCEDURE p() BEGIN DECLARE x int; SET x = 5; DELETE FROM user; ALTER TABLE user DROP role; END",
    "CREATE PROCEDURE p() UPDATE a SET password = 'x'",
    "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.x = 1",
    'UPDATE a "x" JOIN "b" ON "b"."i" = "x"."i" SET "x"."n" = 1',
    'UPDATE a SET n = "other" WHERE b = "other.c"',
)


def test_a_name_in_double_quotes_becomes_the_copys() -> None:
    text = 'SET sql_mode = \'ANSI_QUOTES\';\nDELETE FROM "shop"."a";\nINSERT INTO shop."a" SELECT "shop".a.* FROM b;\n'
    confined = confine(read_script(File("a.up.sql", Path("a.up.sql"), ""), text), "shop", "copy")
    assert not confined.findings
    assert [statement.body for statement in confined.script.statements[-2:]] == [
        'DELETE FROM `copy`."a"',
        'INSERT INTO `copy`."a" SELECT `copy`.a.* FROM b',
    ]


def reaches(sql: str) -> set[str]:
    script = read_script(File("a.up.sql", Path("a.up.sql"), ""), f"DELIMITER //\n{sql}//\n")
    return {finding.reach.value for finding in confine(script, "shop", "copy").findings}


@pytest.mark.parametrize("sql", BEYOND)
def test_a_statement_that_reaches_beyond_its_database(sql: str) -> None:
    assert "other" in reaches(sql)


@pytest.mark.parametrize("sql", WITHIN)
def test_a_statement_that_stays_in_its_database(sql: str) -> None:
    assert reaches(sql) == set()


def test_a_restart_of_the_server_is_no_migration() -> None:
    with pytest.raises(InvalidError, match="RESTART"):
        reaches("RESTART")


def test_the_checks_of_a_file_are_confined_too() -> None:
    text = "-- orch: require SELECT COUNT(*) = 0 FROM shop.a\n-- orch: ensure SELECT other.f()\nSELECT 1;\n"
    confined = confine(read_script(File("a.up.sql", Path("a.up.sql"), ""), text), "shop", "copy")
    assert confined.script.checks.before[0].body == "SELECT COUNT(*) = 0 FROM `copy`.a"
    assert [(str(one.where), one.what) for one in confined.findings] == [
        ("a.up.sql:2:24", "it names the database 'other'")
    ]
