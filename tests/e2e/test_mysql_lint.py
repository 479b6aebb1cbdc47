"""What the lint rules say of MySQL's changes of tables is what a server says: it refuses to do in place what needs a copy."""

# ruff: noqa: E501 - a table
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest
from mysql_shop import Shop

from orchestrator.analysis.findings import Story
from orchestrator.engines import load_engine
from orchestrator.model import File

READY = """CREATE TABLE parent (id int PRIMARY KEY) ENGINE=InnoDB;
CREATE TABLE t (id int NOT NULL PRIMARY KEY, v varchar(40), w varchar(100) NOT NULL, n int, nn int NOT NULL, e enum('a','b'), d text, s geometry NOT NULL, m decimal(8,2), KEY kn (n)) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
CREATE TABLE nopk (a int NOT NULL, b int) ENGINE=InnoDB;
CREATE TABLE pt (x int NOT NULL, y int) PARTITION BY RANGE (x) (PARTITION p0 VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20));
"""
OF_MARIADB = [("ALTER TABLE t ADD SYSTEM VERSIONING", "*")]
# A change, and the rules that it breaks; * where the server needs more than LOCK=NONE for it.
CHANGES = [
    ("ALTER TABLE t ADD COLUMN x int", ""),
    ("ALTER TABLE t ADD COLUMN x int NOT NULL DEFAULT 5", ""),
    ("ALTER TABLE t ADD COLUMN x int NOT NULL", "MY503"),
    ("ALTER TABLE t ADD COLUMN x int AS (n) VIRTUAL", ""),
    ("ALTER TABLE t ADD COLUMN x int AS (n) STORED", "MY206*"),
    ("ALTER TABLE nopk ADD COLUMN x int AUTO_INCREMENT UNIQUE", "MY204*"),
    ("ALTER TABLE t DROP COLUMN d", "MY102"),
    ("ALTER TABLE t RENAME COLUMN n TO n2", "MY501"),
    ("ALTER TABLE t CHANGE nn n3 int NOT NULL", "MY501"),
    ("ALTER TABLE t MODIFY n int COMMENT 'x'", ""),
    ("ALTER TABLE t ALTER n SET DEFAULT 5", ""),
    ("ALTER TABLE t MODIFY n bigint", "MY201*"),
    ("ALTER TABLE t MODIFY n int unsigned", "MY201*"),
    ("ALTER TABLE t MODIFY n int NOT NULL", "MY402 MY602"),
    ("ALTER TABLE t MODIFY nn int", "MY602"),
    ("ALTER TABLE t MODIFY v varchar(50)", ""),
    ("ALTER TABLE t MODIFY v varchar(63)", ""),
    ("ALTER TABLE t MODIFY v varchar(64)", "MY201*"),
    ("ALTER TABLE t MODIFY v varchar(20)", "MY201*"),
    ("ALTER TABLE t MODIFY w varchar(120) NOT NULL", ""),
    ("ALTER TABLE t MODIFY v text", "MY201*"),
    ("ALTER TABLE t MODIFY m decimal(9,2)", "MY201*"),
    ("ALTER TABLE t MODIFY e enum('a','b','c')", ""),
    ("ALTER TABLE t MODIFY e enum('b','a')", "MY201*"),
    ("ALTER TABLE t MODIFY v varchar(40) CHARACTER SET latin1", "MY201*"),
    ("ALTER TABLE t ADD INDEX i (n)", ""),
    ("ALTER TABLE t ADD UNIQUE INDEX i (nn)", "MY401"),
    ("ALTER TABLE t ADD FULLTEXT INDEX i (d)", "MY204*"),
    ("ALTER TABLE t ADD SPATIAL INDEX i (s)", "MY204*"),
    ("ALTER TABLE t DROP INDEX kn", ""),
    ("ALTER TABLE t RENAME INDEX kn TO kn2", ""),
    ("ALTER TABLE t DROP PRIMARY KEY", "MY202*"),
    ("ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (nn)", "MY602"),
    ("ALTER TABLE nopk ADD PRIMARY KEY (a)", "MY602"),
    ("ALTER TABLE t ADD CONSTRAINT c2 CHECK (nn > 0)", "MY206*"),
    ("ALTER TABLE t ADD CONSTRAINT f2 FOREIGN KEY (n) REFERENCES parent (id)", "MY205*"),
    ("ALTER TABLE t CONVERT TO CHARACTER SET latin1", "MY203*"),
    ("ALTER TABLE t DEFAULT CHARACTER SET latin1", ""),
    ("ALTER TABLE t FORCE", "MY602"),
    ("ALTER TABLE t ENGINE=InnoDB", "MY602"),
    ("ALTER TABLE t ENGINE=MyISAM", "MY206*"),
    ("ALTER TABLE t COMMENT='x'", ""),
    ("ALTER TABLE t AUTO_INCREMENT=50", ""),
]  # fmt: skip
INSTANT = [
    ("ALTER TABLE t ADD COLUMN x int, ALGORITHM=INSTANT", True),
    ("ALTER TABLE t DROP COLUMN d, ALGORITHM=INSTANT", True),
    ("ALTER TABLE t MODIFY e enum('a','b','c'), ALGORITHM=INSTANT", True),
    ("ALTER TABLE t MODIFY n bigint, ALGORITHM=INSTANT", False),
    ("ALTER TABLE t MODIFY n int NOT NULL, ALGORITHM=INSTANT", False),
    ("ALTER TABLE t ADD INDEX i (n), ALGORITHM=INSTANT", False),
    ("ALTER TABLE t FORCE, ALGORITHM=INSTANT", False),
    ("ALTER TABLE t DROP PRIMARY KEY, ALGORITHM=INPLACE", False),
    ("CREATE FULLTEXT INDEX i ON t (d) LOCK=NONE", False),
    ("CREATE INDEX i ON t (n) LOCK=NONE", True),
]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.estate.drop()


def codes(change: str) -> set[str]:
    parse = load_engine("mysql", "", "").parse
    story = Story(engine="mysql")
    story.past(parse(File("1", Path("1"), ""), READY))
    return {one.code for one in story.judge(parse(File("2", Path("2"), ""), change))}


def refusal(shop: Shop, statement: str) -> int:
    """Run a statement in a new database; return the number of its error, or 0."""
    shop.estate.drop()
    shop.create()
    for one in READY.split(";\n"):
        if one:
            shop.sql(one)
    try:
        shop.sql(statement)
    except pymysql.Error as error:
        return int(error.args[0])
    return 0


def test_the_server_refuses_to_do_beside_writers_what_the_rules_say_blocks_them(shop: Shop) -> None:
    wrong = []
    for change, expected in [*CHANGES, *(OF_MARIADB if shop.is_maria() else [])]:
        found = codes(change)
        if found != {*expected.replace("*", "").split()}:
            wrong.append(f"{change}: {sorted(found)}")
        error = refusal(shop, f"{change}, ALGORITHM=INPLACE, LOCK=NONE")
        if (error in (1845, 1846)) is not expected.endswith("*") or (error and error not in (1845, 1846)):
            wrong.append(f"{change}: the server says {error}")
    assert not wrong, "\n".join(wrong)
    assert codes("ALTER TABLE t DROP SYSTEM VERSIONING") == {"MY102"}


def test_what_asks_for_less_than_it_needs_fails_on_the_server_too(shop: Shop) -> None:
    for change, works in INSTANT:
        assert ("MY403" in codes(change)) is not works, change
        assert (refusal(shop, change) == 0) is works, change


def test_orch_lint_tells_it_with_its_place_and_permits_it(shop: Shop) -> None:
    shop.declare({"1_a.up.sql": READY, "2_b.up.sql": "-- a comment\nALTER TABLE t\n  MODIFY n bigint;\n"})
    told = shop.orch("lint", code=1).text
    assert "2_b.up.sql:3:3" in told
    assert "MY201" in told
    assert "gh-ost" in shop.orch("lint", "--explain", "MY201").text
    shop.write({"2_b.up.sql": "-- orch: allow MY201 twenty rows\nALTER TABLE t MODIFY n bigint;\n"})
    assert "MY201" not in shop.orch("lint").text
