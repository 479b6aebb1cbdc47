"""Where a statement of MySQL and MariaDB ends, what each is for its record, and which files are refused with their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.engines.mysql.lexer import split
from orchestrator.engines.mysql.named import change_of, what_is_left
from orchestrator.engines.mysql.reach import confine
from orchestrator.engines.mysql.reader import read_script
from orchestrator.errors import InvalidError
from orchestrator.model import File

FILE = File("1_x.up.sql", Path("1_x.up.sql"), "sha256:0")
PROCEDURE = (
    "CREATE PROCEDURE p(IN a INT) BEGIN DECLARE x INT; IF a THEN SET x=1; ELSE SET x=IF(a,1,2); END IF; "
    "CASE x WHEN 1 THEN SELECT 1; END CASE; SELECT CASE WHEN 1 THEN 2 END; WHILE x DO SET x=0; END WHILE; END"
)


def texts(text: str) -> list[str]:
    return [text[piece.start : piece.end] for piece in split(text)]


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO a VALUES ('a;b\\'c', \"x;y\", `z;`)",
        "INSERT INTO a VALUES ('it''s; fine')",
        "SELECT 1--2",
        "SELECT 2*/* a; comment */3",
        "SELECT REPEAT('a', 3), IF(1, 2, 3)",
        "/*!40101 SET NAMES utf8 */",
        "CREATE TABLE x (a int) /* c; */ ENGINE=InnoDB /*!50100 PARTITION BY HASH(a) ; */",
        "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.x = 1",
        "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW IF NEW.x THEN SET NEW.x = 1; END IF",
        "CREATE PROCEDURE q() l: LOOP LEAVE l; END LOOP",
        "CREATE PROCEDURE q() SELECT 1",
        "CREATE PROCEDURE q(x int) REPEAT INSERT INTO t VALUES (REPEAT('b', 3)); SET x = x - 1; UNTIL x = 0 END REPEAT",
        "CREATE PROCEDURE q(x int) REPEAT(SELECT 1); SET x = REPEAT('b2', 3); UNTIL x = 0 END REPEAT",
        "CREATE PROCEDURE q(x int) l: WHILE x > 0 DO SET x = 1; ITERATE l; END WHILE l",
        "CREATE PROCEDURE q(x int) DETERMINISTIC REPEAT SET x = 1; UNTIL x END REPEAT",
        "CREATE PROCEDURE q(x int) COMMENT 'a' WHILE x DO SET x = 1; END WHILE",
        "CREATE FUNCTION f() RETURNS text RETURN REPEAT('a', 2)",
        "CREATE TRIGGER t AFTER INSERT ON a FOR EACH ROW PRECEDES b IF NEW.x THEN SET @x = 1; END IF",
        "ALTER EVENT e DO BEGIN SELECT 1; SELECT 2; END",
        "ALTER TABLE event ADD COLUMN begin INT",
        "BEGIN NOT ATOMIC SELECT 1; END",
        "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO BEGIN DELETE FROM a; END",
        "CREATE DEFINER=`root`@`localhost` FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1",
        PROCEDURE,
    ],
)
def test_a_statement_is_one(statement: str) -> None:
    assert texts(f"-- a; b\n{statement};\n# c; d\nSELECT 1;\n;;") == [statement, "SELECT 1"]
    assert texts(f"DELIMITER //\n{statement}//\nSELECT 1 //\nDELIMITER ;\nSELECT 2;") == [
        statement,
        "SELECT 1",
        "SELECT 2",
    ]


def test_a_trigger_as_mysqldump_writes_it() -> None:
    text = (
        "DELIMITER ;;\n/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER t BEFORE INSERT ON a "
        "FOR EACH ROW BEGIN SET NEW.x = 1; END */;;\nDELIMITER ;\nSELECT 1;\n"
    )
    first, second = texts(text)
    assert first.startswith("/*!50003 CREATE*/")
    assert first.endswith("END */")
    assert second == "SELECT 1"


def test_what_commits_with_its_record() -> None:
    script = read_script(FILE, "BEGIN; INSERT INTO a VALUES (1); SET @x = 1; UPDATE a SET b = 2; COMMIT;")
    assert script.atomic
    assert [statement.source for statement in script.statements] == [
        "INSERT INTO a VALUES (1)",
        "SET @x = 1",
        "UPDATE a SET b = 2",
    ]
    mixed = read_script(
        FILE, "SET sql_mode = ''; CREATE TABLE a (i int); LOCK TABLES a WRITE; INSERT INTO a VALUES (1);"
    )
    assert [statement.atomic for statement in mixed.statements] == [True, False, True]
    assert mixed.statements[2].settings == "SET sql_mode = ''"
    assert "LOCK TABLES" in mixed.notes[0]


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("SELECT 1;\n  USE other;", "2:3", "the DSN names the database"),
        ("SELECT RELEASE_ALL_LOCKS();", "1:8", "give away the migration lock"),
        ("LOAD DATA LOCAL INFILE 'x' INTO TABLE a;", "1:1", "the machine on which orch runs"),
        ("XA START 'x';", "1:1", "XA does not belong"),
        ("INSERT INTO a VALUES (1); ROLLBACK;", "1:27", "undo the file's own work"),
        ("SET SESSION sql_log_bin = 0;", "1:1", "replicas would miss"),
        ("SET NAMES latin1; INSERT INTO a VALUES ('ä');", "1:1", "read it as latin1"),
        ("BEGIN; SELECT 1;", "1:1", "BEGIN without COMMIT"),
        ("CREATE TABLE a (i int); SAVEPOINT x;", "1:25", "not one transaction"),
        ("SET sql_mode = 'NO_BACKSLASH_ESCAPES'; SELECT 'a\\'b';", "1:40", "would end elsewhere"),
        ("-- orch: lock_timout=3s\nSELECT 1", "1:10", "unknown directive"),
        ("SELECT 'a\0b'", "1:10", "NUL"),
    ],
)
def test_what_is_refused_with_its_place(text: str, where: str, what: str) -> None:
    with pytest.raises(InvalidError) as caught:
        read_script(FILE, text)
    assert what in caught.value.what
    assert str(caught.value.where) == f"1_x.up.sql:{where}"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("statement", "things"),
    [
        ("CREATE TABLE IF NOT EXISTS a (i int)", "table a"),
        ("create or replace algorithm=merge definer=`r`@`h` sql security invoker view v as select 1", "view v"),
        ("DROP TABLE a, `b c`, x.d", "table a, table b c, table x.d"),
        ("ALTER TABLE a ADD COLUMN b int, RENAME TO c", "table a, table c"),
        ("ALTER TABLE a RENAME COLUMN b TO c", "table a"),
        ("ALTER TABLE a RENAME INDEX b TO c", "table a"),
        ("RENAME TABLE a TO b, c TO d", "table a, table b, table c, table d"),
        ("CREATE UNIQUE INDEX i ON a (b)", "table a"),
        ("DROP INDEX i ON a", "table a"),
        ("TRUNCATE TABLE a", "table a"),
        ("CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET @x = 1", "trigger t"),
        ("DROP PROCEDURE IF EXISTS p", "procedure p"),
        ("GRANT SELECT ON a.* TO 'u'@'h', v", "user 'u'@'h', user v"),
        ("OPTIMIZE TABLE a", ""),
    ],
)
def test_what_a_statement_names(statement: str, things: str) -> None:
    change = change_of(statement)
    assert change is not None
    assert ", ".join(thing.key for thing in change.things) == things


def test_what_cannot_be_told_from_definitions() -> None:
    assert change_of("CALL p()") is None
    assert change_of("LOAD DATA INFILE 'x' INTO TABLE a") is None
    for text in ("RENAME TABLE a TO t, b TO a, t TO b", "ALTER TABLE a EXCHANGE PARTITION p WITH TABLE b"):
        change = change_of(text)
        assert change is not None
        assert change.traceless


def test_the_rest_of_a_drop() -> None:
    change = change_of("DROP TABLE IF EXISTS a, b, c")
    assert change is not None
    assert change.drops
    assert what_is_left("DROP TABLE IF EXISTS a, b, c", change.things[1:]) == "DROP TABLE IF EXISTS `b`, `c`"


@pytest.mark.parametrize(
    ("text", "body", "found"),
    [
        ("SELECT o.id FROM orders o", "SELECT o.id FROM orders o", 0),
        ("INSERT INTO shop.a VALUES (1)", "INSERT INTO `copy`.a VALUES (1)", 0),
        ("INSERT INTO other.a VALUES (1)", None, 1),
        ("INSERT INTO other.a SELECT 1 AS other", None, 1),
        ("DELETE other.a FROM other.a", None, 2),
        ("CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.x = OLD.y", None, 0),
        ("DROP DATABASE shop", None, 1),
        ("GRANT ALL ON *.* TO u", None, 1),
        ("SET GLOBAL max_connections = 5", None, 1),
        ("SELECT 1 INTO OUTFILE '/tmp/x'", None, 1),
    ],
)
def test_what_reaches_beyond_a_copy(text: str, body: str | None, found: int) -> None:
    confined = confine(read_script(FILE, text), "shop", "copy")
    assert len(confined.findings) == found
    if body:
        assert confined.script.statements[0].body == body


def test_what_a_dump_hides_from_every_server_is_a_comment() -> None:
    """The first line of each dump of MariaDB would keep its client from running commands of the shell."""
    text = "/*M!999999\\- enable the sandbox mode */ \nSELECT 1 /*!99999 ; it's */;\n/*!50001 SELECT 2 */;\n"
    script = read_script(File("1_x.up.sql", Path("1_x.up.sql"), "sha256:0"), text)
    assert [statement.source for statement in script.statements] == [
        "SELECT 1",
        "/*!50001 SELECT 2 */",
    ]


def test_one_file_in_place_of_many_is_refused_with_the_reason() -> None:
    with pytest.raises(InvalidError, match="replaces does not apply to MySQL") as refused:
        read_script(FILE, "-- orch: replaces 1-3\nCREATE TABLE a (b int);\n")
    assert "stop half-way" in refused.value.hint
