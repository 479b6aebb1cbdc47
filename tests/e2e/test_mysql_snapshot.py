"""Every single change of a MariaDB schema is seen in the schema snapshot, or stands in docs/drift.md as not covered."""

# ruff: noqa: E501 - a table
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest
from mysql_shop import Shop

from orchestrator.engines.mysql.connection import OurConnection
from orchestrator.engines.mysql.schema_snapshot import read_schema
from orchestrator.model import SchemaSnapshot

READY = [
    "CREATE TABLE a (id int NOT NULL PRIMARY KEY, note varchar(40) DEFAULT 'x', n decimal(10,2), e enum('a','b'), w int, j text, c int CHECK (c > 0), UNIQUE KEY u (w))",
    "CREATE TABLE b (id int AUTO_INCREMENT PRIMARY KEY, a_id int, g int AS (a_id + 1) STORED, t timestamp NULL, KEY k (a_id), CONSTRAINT fk FOREIGN KEY (a_id) REFERENCES a (id))",
    "CREATE TABLE p (x int, y int) PARTITION BY RANGE (x) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20))",
    "CREATE TABLE q (x int)",
    "CREATE VIEW v AS SELECT id, note FROM a",
    "CREATE FUNCTION f(i int) RETURNS int DETERMINISTIC RETURN i",
    "CREATE PROCEDURE pr() SELECT 1",
    "CREATE TRIGGER tr BEFORE UPDATE ON a FOR EACH ROW SET NEW.w = OLD.w",
    "CREATE EVENT ev ON SCHEDULE EVERY 1 DAY DO DELETE FROM q",
    "CREATE SEQUENCE s",
]
# What is done, and the object that tells it; None: not covered, as the docs say. Each after those above it.
CHANGES: list[tuple[str, str | None]] = [
    ("CREATE TABLE t (x int)", "table t"),
    ("DROP TABLE t", "table t"),
    ("ALTER TABLE q RENAME TO q2", "table q2"),
    ("ALTER TABLE q2 RENAME TO q", "table q"),
    ("ALTER TABLE q ENGINE=MyISAM", "table q"),
    ("ALTER TABLE q ENGINE=InnoDB", "table q"),
    ("ALTER TABLE q COMMENT = 'of q'", "table q"),
    ("ALTER TABLE q ROW_FORMAT=COMPRESSED", "table q"),
    ("ALTER TABLE q DEFAULT CHARACTER SET latin1", "table q"),
    ("ALTER TABLE q DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "table q"),
    ("ALTER TABLE q WITH SYSTEM VERSIONING", "table q"),
    ("ALTER TABLE q DROP SYSTEM VERSIONING", "table q"),
    ("ALTER TABLE q STATS_PERSISTENT=0", "table q"),
    ("ALTER TABLE b AUTO_INCREMENT=500", None),
    ("ALTER TABLE q ADD COLUMN y int", "column q.y"),
    ("ALTER TABLE q MODIFY y int FIRST", None),
    ("ALTER TABLE q MODIFY y bigint", "column q.y"),
    ("ALTER TABLE q MODIFY y bigint unsigned", "column q.y"),
    ("ALTER TABLE q MODIFY y bigint unsigned NOT NULL", "column q.y"),
    ("ALTER TABLE q ALTER y SET DEFAULT 5", "column q.y"),
    ("ALTER TABLE q ALTER y DROP DEFAULT", "column q.y"),
    ("ALTER TABLE q MODIFY y bigint INVISIBLE", "column q.y"),
    ("ALTER TABLE q MODIFY y bigint COMMENT 'of y'", "column q.y"),
    ("ALTER TABLE q CHANGE y z bigint COMMENT 'of y'", "column q.z"),
    ("ALTER TABLE q DROP COLUMN z", "column q.z"),
    ("ALTER TABLE a MODIFY note varchar(41) DEFAULT 'x'", "column a.note"),
    ("ALTER TABLE a MODIFY note varchar(41) CHARACTER SET latin1 DEFAULT 'x'", "column a.note"),
    ("ALTER TABLE a MODIFY note varchar(41) CHARACTER SET latin1 COLLATE latin1_bin DEFAULT 'x'", "column a.note"),
    ("ALTER TABLE a MODIFY note varchar(41) DEFAULT (concat('x', 'y'))", "column a.note"),
    ("ALTER TABLE a MODIFY n decimal(10,3)", "column a.n"),
    ("ALTER TABLE a MODIFY e enum('a','b','c')", "column a.e"),
    ("ALTER TABLE a MODIFY c int CHECK (c > 1)", "column a.c"),
    ("ALTER TABLE a ADD CONSTRAINT ck CHECK (w > 0)", "constraint a.ck"),
    ("ALTER TABLE a DROP CONSTRAINT ck", "constraint a.ck"),
    ("ALTER TABLE b MODIFY g int AS (a_id + 2) STORED", "column b.g"),
    ("ALTER TABLE b MODIFY t timestamp NULL ON UPDATE CURRENT_TIMESTAMP", "column b.t"),
    ("CREATE INDEX i ON a (note)", "index a.i"),
    ("ALTER TABLE a DROP INDEX i, ADD INDEX i (note(5))", "index a.i"),
    ("ALTER TABLE a DROP INDEX i, ADD UNIQUE INDEX i (note(5))", "index a.i"),
    ("ALTER TABLE a DROP INDEX i, ADD FULLTEXT INDEX i (j)", "index a.i"),
    ("ALTER TABLE a RENAME INDEX i TO i2", "index a.i2"),
    ("ALTER TABLE a DROP INDEX i2", "index a.i2"),
    ("ALTER TABLE a DROP INDEX u, ADD UNIQUE KEY u (w) USING BTREE", "index a.u"),
    ("ALTER TABLE a ALTER INDEX u IGNORED", "index a.u"),
    ("ALTER TABLE a DROP INDEX u, ADD UNIQUE KEY u (w) COMMENT 'of u'", "index a.u"),
    ("ALTER TABLE a DROP INDEX u, ADD KEY u (w)", "index a.u"),
    ("ALTER TABLE a ADD KEY u2 (w, note)", "index a.u2"),
    ("ALTER TABLE a DROP KEY u2, ADD KEY u2 (note, w)", "index a.u2"),
    ("ALTER TABLE a DROP KEY u2, ADD KEY u2 (note, w DESC)", "index a.u2"),
    ("ALTER TABLE p ADD PRIMARY KEY (x)", "index p.PRIMARY"),
    ("ALTER TABLE p DROP PRIMARY KEY", "index p.PRIMARY"),
    ("ALTER TABLE b DROP FOREIGN KEY fk", "constraint b.fk"),
    ("ALTER TABLE b ADD CONSTRAINT fk FOREIGN KEY (a_id) REFERENCES a (id)", "constraint b.fk"),
    ("ALTER TABLE b DROP FOREIGN KEY fk, ADD CONSTRAINT fk3 FOREIGN KEY (a_id) REFERENCES a (id) ON DELETE CASCADE", "constraint b.fk3"),
    ("ALTER TABLE b DROP FOREIGN KEY fk3, ADD CONSTRAINT fk4 FOREIGN KEY (a_id) REFERENCES a (id) ON DELETE CASCADE ON UPDATE RESTRICT", "constraint b.fk4"),
    ("ALTER TABLE p ADD PARTITION (PARTITION p2 VALUES LESS THAN (30))", "partition p.p2"),
    ("ALTER TABLE p DROP PARTITION p2", "partition p.p2"),
    ("ALTER TABLE p REORGANIZE PARTITION p1 INTO (PARTITION p1 VALUES LESS THAN (25))", "partition p.p1"),
    ("ALTER TABLE p REMOVE PARTITIONING", "table p"),
    ("CREATE OR REPLACE VIEW v AS SELECT id FROM a", "view v"),
    ("CREATE OR REPLACE SQL SECURITY INVOKER VIEW v AS SELECT id FROM a", "view v"),
    ("CREATE OR REPLACE DEFINER='nobody'@'%' SQL SECURITY INVOKER VIEW v AS SELECT id FROM a", "view v"),
    ("CREATE OR REPLACE ALGORITHM=MERGE DEFINER='nobody'@'%' SQL SECURITY INVOKER VIEW v AS SELECT id FROM a", "view v"),
    ("CREATE OR REPLACE ALGORITHM=MERGE DEFINER='nobody'@'%' SQL SECURITY INVOKER VIEW v AS SELECT id FROM a WITH CHECK OPTION", "view v"),
    ("DROP VIEW v", "view v"),
    ("CREATE OR REPLACE FUNCTION f(i int) RETURNS int DETERMINISTIC RETURN i + 1", "function f"),
    ("CREATE OR REPLACE FUNCTION f(i int) RETURNS int RETURN i + 1", "function f"),
    ("ALTER FUNCTION f READS SQL DATA", "function f"),
    ("ALTER FUNCTION f COMMENT 'of f'", "function f"),
    ("ALTER PROCEDURE pr SQL SECURITY INVOKER", "procedure pr"),
    ("CREATE OR REPLACE PROCEDURE pr(IN x int) SELECT 1", "procedure pr"),
    ("CREATE OR REPLACE DEFINER='nobody'@'%' PROCEDURE pr(IN x int) SELECT 1", "procedure pr"),
    ("SET sql_mode='ANSI'; CREATE OR REPLACE DEFINER='nobody'@'%' PROCEDURE pr(IN x int) SELECT 1", "procedure pr"),
    ("CREATE OR REPLACE TRIGGER tr BEFORE UPDATE ON a FOR EACH ROW SET NEW.w = 1", "trigger tr"),
    ("CREATE OR REPLACE TRIGGER tr BEFORE INSERT ON a FOR EACH ROW SET NEW.w = 1", "trigger tr"),
    ("CREATE TRIGGER tr2 BEFORE INSERT ON a FOR EACH ROW PRECEDES tr SET NEW.w = 2", "trigger tr"),
    ("DROP TRIGGER tr2", "trigger tr2"),
    ("CREATE OR REPLACE DEFINER='nobody'@'%' TRIGGER tr BEFORE INSERT ON a FOR EACH ROW SET NEW.w = 1", "trigger tr"),
    ("ALTER EVENT ev ON SCHEDULE EVERY 2 DAY", "event ev"),
    ("ALTER EVENT ev DISABLE", "event ev"),
    ("ALTER EVENT ev ON COMPLETION PRESERVE", "event ev"),
    ("ALTER EVENT ev COMMENT 'of ev'", "event ev"),
    ("ALTER EVENT ev DO DELETE FROM a", "event ev"),
    ("SET time_zone='+05:00'; ALTER EVENT ev ON SCHEDULE EVERY 3 DAY", "event ev"),
    ("ALTER EVENT ev ON SCHEDULE EVERY 3 DAY STARTS '2030-01-01 00:00:00'", "event ev"),
    ("ALTER SEQUENCE s INCREMENT 5", "sequence s"),
    ("ALTER SEQUENCE s CYCLE", "sequence s"),
    ("ALTER SEQUENCE s CACHE 7", "sequence s"),
    ("SELECT nextval(s)", None),
    ("ALTER DATABASE CHARACTER SET latin1", "default character set"),
    ("ALTER DATABASE CHARACTER SET latin1 COLLATE latin1_bin", "default character set"),
    ("INSERT INTO q VALUES (1)", None),
    ("ANALYZE TABLE q", None),
    ("GRANT SELECT ON q TO PUBLIC", None),
]  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.estate.drop()


def test_every_single_change_is_seen_or_documented(shop: Shop) -> None:
    if not shop.is_maria():
        pytest.skip("the statements are those of MariaDB")
    shop.create()
    server = shop.estate.servers["mysql"]
    connection = OurConnection(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        database=f"{shop.estate.prefix}shop",
        autocommit=True,
    )

    def read() -> SchemaSnapshot:
        return read_schema(connection, ())

    wrong = []
    try:
        for statement in READY:
            connection.query(statement)
        before = read()
        for change, told in CHANGES:
            try:
                for statement in change.split("; "):
                    connection.query(statement)
            except pymysql.Error as error:
                wrong.append(f"{change}: {error}")
                continue
            finally:
                connection.query("SET sql_mode = DEFAULT, time_zone = DEFAULT")
            after = read()
            different = {str(one) for one in before.keys() | after.keys() if before.get(one) != after.get(one)}
            if not told and different:
                wrong.append(f"{change}: seen as {different}")
            elif told and not any(one == told or one.startswith(f"{told} ") for one in different):
                wrong.append(f"{change}: {told} is not in {different}")
            before = after
        connection.query("REVOKE SELECT ON q FROM PUBLIC")
    finally:
        connection.close()
    assert not wrong, "\n".join(wrong)
