"""Where a statement of MySQL and MariaDB ends, what each is for its record, and which files are refused with their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.engines.base import Reach
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
        "CREATE PROCEDURE q() FOR i IN 1..3 DO SELECT i; END FOR",
        "CREATE PROCEDURE q() x: FOR i IN REVERSE 1..3 DO SELECT i; ITERATE x; END FOR x",
        "CREATE PROCEDURE q() BEGIN FOR r IN (SELECT 1 AS n) DO SELECT r.n; END FOR; SELECT 1 FOR UPDATE; END",
        "CREATE PROCEDURE q() BEGIN DECLARE c CURSOR (p INT) FOR SELECT p; FOR r IN c(3) DO SELECT r.p; END FOR; END",
        "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW FOR i IN 1..2 DO SET @x = i; END FOR",
        "CREATE TRIGGER t BEFORE INSERT ON data FOR EACH ROW SET @x = 1",
        "CREATE PROCEDURE q() BEGIN DECLARE end INT; SET end = 1; SELECT end, a.end FROM a; END",
        "CREATE PROCEDURE q() BEGIN DECLARE begin INT; INSERT INTO a (begin, end) VALUES (1, 2); SELECT begin; END",
        "CREATE PROCEDURE q() BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN END; DO IF(1, 2, 3); END",
        "CREATE PROCEDURE q() BEGIN XA START 'x'; XA END 'x'; SELECT 1; END",
        "CREATE FUNCTION f(x int) RETURNS int IF x IN (1, 2) THEN RETURN 1; ELSE RETURN IF(x, 2, 3); END IF",
        "CREATE FUNCTION f() RETURNS int unsigned FOR i IN 1..10 DO RETURN i; END FOR",
        "CREATE FUNCTION f() RETURNS varchar(9) CHARSET utf8mb4 WHILE 1 DO RETURN REPEAT('a', 2); END WHILE",
        "CREATE PROCEDURE q() BEGIN SELECT 1; -- a // b\n/* c // d */ SELECT 2; # e // f\nEND",
        "CREATE PROCEDURE q() SELECT * FROM a PARTITION (p0) FOR SYSTEM_TIME ALL",
        "CREATE PROCEDURE q() SELECT * FROM a WHERE i IN (1) FOR UPDATE",
        "CREATE FUNCTION IF NOT EXISTS f() RETURNS int RETURN IF(1, 2, 3)",
        "CREATE FUNCTION f() RETURNS int REPEAT RETURN 1; UNTIL 1 END REPEAT",
        "BEGIN NOT ATOMIC IF (SELECT 2) THEN SELECT 4; END IF; END",
        "BEGIN NOT ATOMIC FOR i IN 1..3 DO SELECT i; END FOR; SELECT 1 FROM atomic FOR UPDATE; END",
        "IF 1 THEN SELECT 1; ELSE SELECT 2; END IF",
        "FOR i IN 1..2 DO SELECT i; END FOR",
        "FOR r IN (SELECT 1 AS q) DO IF r.q THEN SELECT 1; END IF; END FOR",
        "CASE 1 WHEN 1 THEN SELECT 1; END CASE",
        "WHILE 0 DO SELECT 1; END WHILE",
        "REPEAT SELECT 1; UNTIL 1 END REPEAT",
        "SET STATEMENT max_statement_time = 1 FOR CREATE PROCEDURE pp() BEGIN SELECT 1; END",
        "SET STATEMENT max_statement_time = 1 FOR IF 1 THEN SELECT 1; END IF",
        "SET STATEMENT max_statement_time = 1 FOR",
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
    assert read_script(FILE, "UPDATE a SET b = 1; SET @n = ROW_COUNT();").atomic  # nothing comes between these two
    read_script(FILE, "CREATE TABLE row_count (i int); CREATE PROCEDURE p() BEGIN SELECT 1; SET @n = ROW_COUNT(); END;")
    assert "LOCK TABLES" in mixed.notes[0]


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("SELECT 1;\n  USE other;", "2:3", "the DSN names the database"),
        ("SELECT RELEASE_ALL_LOCKS();", "1:8", "give away the migration lock"),
        ("LOAD DATA LOCAL INFILE 'x' INTO TABLE a;", "1:1", "the machine on which orch runs"),
        ("SELECT 1; DELIMITER //\nSELECT 2//\n", "1:11", "DELIMITER counts at the beginning of a line only"),
        ("XA START 'x';", "1:1", "XA does not belong"),
        ("INSERT INTO a VALUES (1); ROLLBACK;", "1:27", "undo the file's own work"),
        ("SET SESSION sql_log_bin = 0;", "1:5", "replicas would miss"),
        ("SET @@skip_replication = 1;", "1:5", "replicas could miss"),
        ("SET @x = 1, server_id = 7;", "1:13", "a replica with this id"),
        ("SET SESSION gtid_domain_id = 7;", "1:5", "before those of earlier files"),
        ("SET STATEMENT sql_log_bin = 0 FOR INSERT INTO a VALUES (1);", "1:15", "replicas would miss"),
        (
            "CREATE TABLE a (i int);\nSET foreign_key_checks = 0, @@session.sql_select_limit = 1;",
            "2:29",
            "all of its records",
        ),
        (
            "CREATE TABLE a (i int);\nINSERT INTO a SELECT ROW_COUNT();",
            "2:22",
            "ROW_COUNT() asks about the statement before",
        ),
        ("ALTER TABLE a ADD b int;\nSELECT 1;\nSELECT found_rows ( ) INTO @n;", "3:8", "FOUND_ROWS() asks about"),
        ("DROP TABLE a;\nGET DIAGNOSTICS @n = ROW_COUNT;", "2:1", "GET DIAGNOSTICS asks about"),
        ("SET completion_type = 2;", "1:5", "end the session"),
        ("SET wsrep_on = 0;", "1:5", "would miss"),
        ("CREATE TABLE a (i int);\n/* TODO\nCREATE TABLE b (i int);\n", "2:1", "comment that begins here has no end"),
        ("CREATE TABLE a (i int);\nINSERT INTO a VALUES ('it''s\\');\n", "2:23", "no closing quote"),
        ("CREATE TABLE a (i int);\nDROP TABLE `b``;\n", "2:12", "no closing quote"),
        ("CREATE TABLE a (i int);\nSELECT 1 \\G", "2:10", "command of the mysql client"),
        ("SELECT 1;\nSET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY;", "2:1", "could not write"),
        (
            "CREATE TABLE a (i int); FLUSH TABLES WITH READ LOCK;",
            "1:25",
            "FLUSH TABLES keeps every session from writing",
        ),
        ("FLUSH TABLES a FOR EXPORT;", "1:1", "could not write its records"),
        ("BACKUP STAGE START;", "1:1", "BACKUP STAGE keeps"),
        ("SET character_set_client = latin1;\nINSERT INTO a VALUES ('ä');", "1:1", "read it as latin1"),
        ("SET sql_mode = 'ORACLE';\nCREATE PROCEDURE p AS BEGIN NULL; END;", "2:1", "without DELIMITER lines"),
        ("SET sql_mode = ORACLE; DECLARE x INT; BEGIN NULL; END;", "1:24", "without DELIMITER lines"),
        ("SET STATEMENT sql_mode = 'ORACLE' FOR CREATE PACKAGE p AS FUNCTION f RETURN INT; END;", "1:1", "DELIMITER"),
        ("SET NAMES latin1; INSERT INTO a VALUES ('ä');", "1:1", "read it as latin1"),
        ("BEGIN; SELECT 1;", "1:1", "BEGIN without COMMIT"),
        ("CREATE TABLE a (i int); SAVEPOINT x;", "1:25", "not one transaction"),
        ("SELECT 1; SET @a = 1, GLOBAL read_only = 1;", "1:23", "no session could write"),
        ("SET @@GLOBAL.super_read_only=ON;", "1:5", "no session could write"),
        ("SET PERSIST offline_mode = 1;", "1:5", "no session could write"),
        ("SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ 'a-b:1-5';", "1:5", "that it never made"),
        ("/*!50003 SET GLOBAL gtid_slave_pos='0-1-5' */;", "1:14", "that it never made"),
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


def test_an_isolation_level_for_the_whole_session_or_file_is_taken() -> None:
    for text in (
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE; CREATE TABLE a (i int);",
        "SET transaction_isolation = 'SERIALIZABLE'; CREATE TABLE a (i int);",
        "SET @@SESSION.tx_isolation = 'SERIALIZABLE', @x = @@tx_isolation; CREATE TABLE a (i int);",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; INSERT INTO a VALUES (1);",
    ):
        assert len(read_script(FILE, text).statements) == 2


def test_an_isolation_level_for_the_next_transaction_alone_is_left_out_where_each_statement_commits() -> None:
    """Files of other tools that are applied have it: they are still valid."""
    for text in ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "set @@tx_isolation = 'SERIALIZABLE'"):
        script = read_script(FILE, f"CREATE TABLE a (i int);\n{text};\nINSERT INTO a VALUES (1);")
        assert [one.line for one in script.statements] == [1, 3]
        assert [note.split(": ")[0] for note in script.notes] == [f"{text!r} (line 2) is left out"]


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
        ("INSERT INTO a VALUES (1) ON DUPLICATE KEY UPDATE a.x = 1", None, 0),
        ("SELECT * FROM orders o JOIN rules r ON o.name LIKE r.pattern WHERE EXTRACT(YEAR FROM o.made) = 1", None, 0),
        ("SELECT TRIM(BOTH ' ' FROM o.name), SUBSTRING(o.name FROM 2) FROM orders o", None, 0),
        ("SELECT * FROM orders o WHERE o.id IN (SELECT x FROM other.b)", None, 1),
        ("CREATE TABLE a LIKE other.b", None, 1),
        ("SET SESSION x = 1, GLOBAL y = 2", None, 1),
        ("SET @@GLOBAL . x = 1", None, 1),
        ("SET @x = 'a, GLOBAL b', /* , GLOBAL z */ @@GLOBAL.y = 2", None, 1),
        ("SET NAMES utf8mb4, @@ persist . y = 2", None, 2),
        ("SET @x = 'a, GLOBAL @@GLOBAL.b', y = @@GLOBAL.y", None, 0),
        ("SET @@SESSION.sql_mode = CONCAT(@@GLOBAL.sql_mode, ',ANSI') -- , GLOBAL z", None, 0),
        ("SET DEFAULT ROLE r TO u", None, 1),
        ("CREATE TABLE a (x int) ENGINE=FEDERATED CONNECTION='mysql://u@h/shop/a'", None, 1),
        ("CREATE TABLE a (x int) ENGINE CONNECT TABLE_TYPE=MYSQL DBNAME='shop' TABNAME='a'", None, 1),
        ("CREATE TABLE a (engine text) ENGINE=InnoDB", None, 0),
        ("UPDATE performance_schema.setup_instruments SET enabled = 'NO'", None, 1),
        ("DELETE FROM sys.sys_config", None, 1),
        ("DELETE FROM a WHERE x IN (SELECT table_name FROM information_schema.tables)", None, 0),
        ("INSERT INTO a SELECT table_name FROM information_schema.tables", None, 0),
        ("CREATE FUNCTION f RETURNS STRING SONAME 'x.so'", None, 1),
        ("LOAD XML INFILE '/x' INTO TABLE a", None, 1),
    ],
)
def test_what_reaches_beyond_a_copy(text: str, body: str | None, found: int) -> None:
    confined = confine(read_script(FILE, text), "shop", "copy")
    assert len(confined.findings) == found
    if body:
        assert confined.script.statements[0].body == body


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("SET @s = 'DROP TABLE `shop`.t'; PREPARE x FROM @s; EXECUTE x", "it names the database 'shop'"),
        ("PREPARE x FROM 'DELETE FROM other.t'; EXECUTE x", "it names the database 'other'"),
        (
            "SET @s = CONCAT('DROP ', \"TABLE other\", '.t'); PREPARE x FROM @s; EXECUTE x",
            "it names the database 'other'",
        ),
        ("SELECT IF(1, 'DROP TABLE other.t', 'SELECT 1') INTO @s; PREPARE x FROM @s", "it names the database 'other'"),
        ("SET @s = 'GRANT ALL ON *.* TO x'; PREPARE x FROM @s", "GRANT changes what all databases share"),
        ("SET @s = 'DROP TABLE other.t'", ""),
        ("INSERT INTO d VALUES ('drop table other.t'); PREPARE x FROM 'SELECT 1'; EXECUTE x", ""),
        (
            "SET @s = IF((SELECT COUNT(*) FROM information_schema.columns) > 0, 'SELECT 1', 'ALTER TABLE t ADD c int'); "
            "PREPARE x FROM @s; EXECUTE x",
            "",
        ),
        ("SET @s = 'UPDATE t JOIN u ON t.id = u.id SET t.a = u.b'; PREPARE x FROM @s; EXECUTE x", ""),
    ],
)
def test_what_a_text_reaches_that_a_copy_would_execute(text: str, what: str) -> None:
    found = [one for one in confine(read_script(FILE, text), "shop", "copy").findings if one.reach is Reach.OTHER]
    assert [one.what for one in found] == ([f"{what}, in a text that is executed"] if what else [])


def test_what_a_dump_hides_from_every_server_is_a_comment() -> None:
    """The first line of each dump of MariaDB would keep its client from running commands of the shell."""
    text = "/*M!999999\\- enable the sandbox mode */ \nSELECT 1 /*!99999 ; it's */;\n/*!50001 SELECT 2 */;\n"
    script = read_script(File("1_x.up.sql", Path("1_x.up.sql"), "sha256:0"), text)
    assert [statement.source for statement in script.statements] == [
        "SELECT 1",
        "/*!50001 SELECT 2 */",
    ]


def test_what_swaps_and_is_not_told_by_definitions_alone() -> None:
    """Made twice, a swap is undone; a table put in the place of another leaves a name that tells."""
    for text, traceless in (
        ("ALTER TABLE a CHANGE x y int, CHANGE y x int FIRST", True),
        ("ALTER TABLE a RENAME COLUMN x TO y, RENAME COLUMN y TO x", True),
        ("ALTER TABLE a CHANGE COLUMN x x2 int, RENAME COLUMN y TO z, RENAME KEY k TO y", False),
        ("ALTER TABLE a CHANGE x x bigint", False),
        ("RENAME TABLE a TO a_old, a_new TO a", False),
        ("RENAME TABLE a TO t, b TO a, t TO b", True),
        ("RENAME TABLE a TO t, b TO a, t TO c", False),
        ("ALTER TABLE a DROP COLUMN IF EXISTS x, ADD x int", True),
        ("ALTER TABLE a DROP x, ADD COLUMN (`X` int)", True),
        ("ALTER TABLE a DROP KEY x, ADD KEY x (y), DROP FOREIGN KEY f, ADD CONSTRAINT f CHECK (1)", False),
        ("ALTER TABLE a DROP PRIMARY KEY, DROP `key`, ADD PRIMARY KEY (x), ADD y int", False),
        ("CREATE OR REPLACE SEQUENCE s", True),
        ("ALTER SEQUENCE s INCREMENT BY 5 RESTART", True),
        ("ALTER SEQUENCE s INCREMENT BY 5", False),
        ("CREATE OR REPLACE VIEW v AS SELECT 1", False),
        ("CREATE EVENT e ON SCHEDULE AT NOW() DO INSERT INTO a VALUES (1)", True),
        ("CREATE EVENT e ON SCHEDULE EVERY 1 HOUR ENDS '2030-01-01' DO INSERT INTO a VALUES (1)", True),
        ("CREATE EVENT e ON SCHEDULE EVERY 1 HOUR DO INSERT INTO a VALUES (1)", False),
        ("SET GLOBAL max_connections = @@GLOBAL.max_connections + 1", True),
        ("SET GLOBAL max_connections = 5, @x = @@GLOBAL.max_connections", False),
    ):
        change = change_of(text)
        assert change is not None
        assert change.traceless is traceless, text


def test_a_drop_of_sequences_is_finished_too() -> None:
    text = "DROP SEQUENCE /*!100300 IF EXISTS */ s, t"
    change = change_of(text)
    assert change is not None
    assert what_is_left(text, change.things[1:]) == "DROP SEQUENCE IF EXISTS `t`"


def test_what_stands_before_a_statement_is_no_statement() -> None:
    """SET STATEMENT … FOR and ANALYZE: what runs is what follows."""
    script = read_script(
        FILE,
        "SET STATEMENT max_statement_time = 5 FOR INSERT INTO a VALUES (1);\nANALYZE FORMAT=JSON UPDATE a SET n = n + 1;\n"
        "SET STATEMENT lock_wait_timeout = 1 FOR ALTER TABLE a ADD COLUMN b int;\nANALYZE TABLE a;\n",
    )
    assert [(one.atomic, one.repeatable) for one in script.statements] == [
        (True, False),
        (True, False),
        (False, False),
        (False, True),
    ]
    assert script.statements[-1].settings == ""
    change = change_of(script.statements[2].source)
    assert change is not None
    assert [thing.key for thing in change.things] == ["table a"]


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("SET foreign_key_checks = 0, autocommit = 0;", ["SET foreign_key_checks = 0"]),
        ("SET autocommit = 0, @@session.sql_mode = '';", ["SET @@session.sql_mode = ''"]),
        ("SET SESSION autocommit = 0, sql_mode = '';", ["SET SESSION sql_mode = ''"]),
        ("SET @old = @@autocommit, @@autocommit := 0;", ["SET @old = @@autocommit"]),
        ("SET autocommit = 0;", []),
        ("set @@session.autocommit = @old;", []),
        ("SET GLOBAL autocommit = 1;", ["SET GLOBAL autocommit = 1"]),
    ],
)
def test_autocommit_alone_is_left_out(text: str, sent: list[str]) -> None:
    assert [statement.body for statement in read_script(FILE, text).statements] == sent


def test_a_name_is_no_keyword() -> None:
    """A table called `temporary` is no temporary table."""
    for text, atomic in (
        ("CREATE TABLE temporary (i int)", False),
        ("DROP TABLE `temporary`", False),
        ("CREATE OR REPLACE TEMPORARY TABLE a (i int)", True),
        ("DROP TEMPORARY TABLE IF EXISTS a", True),
    ):
        assert read_script(FILE, text).statements[0].atomic is atomic, text


def test_bodies_of_oracle_with_delimiter_lines() -> None:
    script = read_script(
        FILE,
        "SET sql_mode = 'ORACLE';\nDELIMITER //\nCREATE PACKAGE BODY p AS PROCEDURE q AS x INT; BEGIN FOR i IN 1..2 LOOP "
        "NULL; END LOOP; END; END//\nBEGIN NULL; END//\nDELIMITER ;\nSET sql_mode = '';\n"
        "CREATE PROCEDURE r() BEGIN SELECT 1; END;\n",
    )
    assert [statement.source.split()[0] for statement in script.statements] == [
        "SET",
        "CREATE",
        "BEGIN",
        "SET",
        "CREATE",
    ]
    change = change_of(script.statements[1].source)
    assert change is not None
    assert [thing.key for thing in change.things] == ["package body p"]


def test_another_character_set_counts_for_what_follows_it() -> None:
    """As in dumps, in which it is put back before text that needs another one."""
    text = "SET character_set_client = latin1;\nCREATE TABLE a (i int);\n"
    text += "SET character_set_client = {};\nINSERT INTO a VALUES ('ä');"
    for back in ("utf8mb4", "@saved_cs_client"):
        assert len(read_script(FILE, text.format(back)).statements) == 4
    with pytest.raises(InvalidError):
        read_script(FILE, text.format("latin2"))
