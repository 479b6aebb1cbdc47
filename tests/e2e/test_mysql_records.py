"""No file of MySQL changes what its own set of migrations, or another one in the same database, remembers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mysql_shop import Shop

TABLE = {"000001_a.up.sql": "CREATE TABLE a (x int);\nCREATE TABLE parent (x int);\n"}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.estate.drop()


def second_set(shop: Shop, files: dict[str, str], table: str = "b_versions") -> None:
    """Declare another set of migrations in the same database."""
    server = shop.estate.server("mysql").split('"')[1].replace("{database}", "shop")
    entries = (
        "  - {name: shop, server: mysql}\n"
        f'  - {{name: b, engine: mysql, dsn: "{server}?x-migrations-table={table}"}}\n'
    )
    shop.estate.manifest(entries)
    shop.estate.write("mysql-b", files)


REFUSED = [
    "DELETE FROM schema_migrations;",
    "UPDATE `schema_migrations` SET version = 9;",
    "REPLACE INTO schema_migrations VALUES (7, 0);",
    "DELETE s FROM a JOIN schema_migrations s;",
    "TRUNCATE orch_history;",
    "DROP TABLE IF EXISTS gone, orch_history;",
    "RENAME TABLE schema_migrations TO versions;",
    "ALTER TABLE orch_history DROP COLUMN checksum;",
    "CREATE INDEX i ON schema_migrations (dirty);",
    "CREATE TRIGGER k BEFORE INSERT ON schema_migrations FOR EACH ROW SET NEW.version = 1;",
    "CREATE PROCEDURE p() BEGIN DELETE FROM orch_history; END;",
    "CREATE TRIGGER k AFTER INSERT ON a FOR EACH ROW DELETE FROM schema_migrations;",
    "BEGIN NOT ATOMIC DELETE FROM schema_migrations; END;",
    "EXECUTE IMMEDIATE 'DELETE FROM schema_migrations';",
    "CREATE OR REPLACE TABLE schema_migrations (version int);",
]


def test_a_file_may_not_change_what_another_set_remembers(shop: Shop) -> None:
    """By its text it is refused with the place before it runs."""
    shop.declare(TABLE)
    second_set(shop, {"000001_b.up.sql": "CREATE TABLE b (x int);\n"})
    shop.orch("apply")
    before = shop.estate.snapshot()
    for text in REFUSED:
        shop.estate.write("mysql-b", {"000002_bad.up.sql": f"INSERT INTO b VALUES (1);\n{text}\n"})
        told = shop.orch("apply", code=1).text
        assert "000002_bad.up.sql:2:" in told, (text, told)
        assert "another set of migrations" in told, (text, told)
        assert shop.sql("SELECT * FROM b") == [], text
    # The first attempt that failed is in the history of its own set; the other set is as it was.
    now = shop.estate.snapshot()
    for table in ("schema_migrations", "orch_history", "a"):
        assert now["mysql-shop"][table] == before["mysql-shop"][table]
    shop.estate.write(
        "mysql-b",
        {
            "000002_bad.up.sql": (
                "CREATE TABLE looks AS SELECT * FROM schema_migrations;\nINSERT INTO b SELECT version FROM schema_migrations;\n"
                "CREATE VIEW v AS SELECT version FROM orch_history;\nUPDATE b SET x = (SELECT version FROM schema_migrations);\n"
            )
        },
    )
    shop.orch("apply")
    assert shop.sql("SELECT x FROM b") == [(1,)]


def test_a_trigger_or_a_function_that_changes_records_lets_nothing_commit(shop: Shop) -> None:
    """Its text is not in the file: it was made before, by a hand that orch does not see."""
    shop.declare(TABLE)
    second_set(shop, {"000001_b.up.sql": "CREATE TABLE b (x int);\n"})
    shop.orch("apply")
    shop.sql("CREATE TRIGGER k AFTER INSERT ON b FOR EACH ROW DELETE FROM schema_migrations WHERE version = NEW.x")
    shop.sql(
        "CREATE FUNCTION wipe() RETURNS int MODIFIES SQL DATA BEGIN DELETE FROM orch_history_b_versions; RETURN 1; END"
    )
    shop.sql("CREATE PROCEDURE inner_one() BEGIN UPDATE orch_history SET checksum = 'x'; END")
    shop.sql("CREATE PROCEDURE outer_one() BEGIN CALL inner_one(); END")
    for text, said in (
        ("INSERT INTO b VALUES (1);", "another set of migrations"),
        ("INSERT INTO b VALUES (5), (wipe());", "the records of orch or of golang-migrate"),
        ("CALL outer_one();", "another set of migrations"),
        (
            "CREATE TABLE made AS SELECT wipe() AS w;",
            "the records of orch or of golang-migrate" if shop.is_maria() else "",
        ),
    ):
        before = shop.sql("SELECT * FROM schema_migrations"), shop.sql("SELECT checksum FROM orch_history")
        shop.estate.write("mysql-b", {"000002_bad.up.sql": text})
        told = shop.orch("apply", code=1).text
        assert said in told, (text, told)
        assert (shop.sql("SELECT * FROM schema_migrations"), shop.sql("SELECT checksum FROM orch_history")) == before
        assert shop.sql("SELECT * FROM b") == [], text


def test_tables_whose_names_differ_by_case_are_records_of_different_sets(shop: Shop) -> None:
    """Where the server has both: what a trigger does to those of the other set is seen."""
    shop.declare(TABLE)
    if shop.estate.mysql("", "SELECT @@lower_case_table_names") != [(0,)]:
        pytest.skip("this server has one table for both names")
    second_set(shop, {"000001_b.up.sql": "CREATE TABLE b (x int);\nCREATE TABLE C (x int);\n"}, "Schema_Migrations")
    shop.orch("apply")
    shop.sql("CREATE TRIGGER k AFTER INSERT ON a FOR EACH ROW DELETE FROM Schema_Migrations")
    shop.write({"000002_bad.up.sql": "INSERT INTO a VALUES (1);\n"})
    told = shop.orch("apply", "--only", "mysql-shop", code=1).text
    assert "Schema_Migrations, in which another set of migrations records what is applied" in told
    assert shop.sql("SELECT version FROM Schema_Migrations") == [(1,)]
    assert shop.sql("SELECT x FROM a") == []


@pytest.mark.parametrize(
    ("table", "trigger"),
    [
        ("schema_migrations", "BEFORE INSERT ON schema_migrations FOR EACH ROW SET NEW.version = 1"),
        ("orch_history", "BEFORE INSERT ON orch_history FOR EACH ROW SET NEW.done = 0"),
        ("orch_history", "BEFORE UPDATE ON orch_history FOR EACH ROW SET NEW.applied = OLD.applied"),
    ],
    ids=["version", "done", "progress"],
)
def test_a_trigger_that_changes_what_orch_writes_lets_nothing_commit(shop: Shop, table: str, trigger: str) -> None:
    shop.declare(TABLE)
    shop.orch("apply")
    shop.sql(f"CREATE TRIGGER k {trigger}")
    shop.write({"000002_b.up.sql": "INSERT INTO a VALUES (2);\n", "000003_c.up.sql": "CREATE TABLE c (x int);\n"})
    told = shop.orch("apply", code=1).text
    assert f"{table} does not hold what orch has just written" in told
    shop.sql("DROP TRIGGER k")
    again = shop.orch("apply", code=None)
    assert again.code == 0, again.text
    assert shop.sql("SELECT x FROM a") == [(2,)]
    assert shop.sql("SELECT version, dirty FROM schema_migrations") == [(3, 0)]


def test_what_another_set_commits_meanwhile_is_not_taken_for_the_files_doing(shop: Shop) -> None:
    """Two sets at work in one database at the same time, several times."""
    shop.declare({"000001_a.up.sql": "CREATE TABLE log (x int);\n"})
    shop.orch("apply")
    shop.write({f"{n:06d}_a.up.sql": f"INSERT INTO log VALUES ({n});\n" for n in range(2, 12)})
    server = shop.estate.server("mysql").split('"')[1].replace("{database}", "shop")
    isolation = "tx_isolation" if shop.is_maria() else "transaction_isolation"
    shop.estate.manifest(
        f'  - {{name: shop, engine: mysql, dsn: "{server}?{isolation}=%27READ-COMMITTED%27"}}\n'
        f'  - {{name: b, engine: mysql, dsn: "{server}?x-migrations-table=b_versions&{isolation}=%27READ-COMMITTED%27"}}\n'
    )
    shop.estate.write("mysql-b", {f"{n:06d}_b.up.sql": f"INSERT INTO log VALUES ({n});\n" for n in range(1, 11)})
    shop.orch("apply")
    assert shop.sql("SELECT count(*) FROM log") == [(20,)]


def test_a_file_that_drops_its_own_database_is_refused(shop: Shop) -> None:
    shop.declare(TABLE)
    shop.orch("apply")
    shop.write({"000002_b.up.sql": f"DROP DATABASE IF EXISTS `{shop.estate.prefix}shop`;\n"})
    assert "drops the database that it migrates" in shop.orch("apply", code=1).text
    assert shop.sql("SELECT version FROM schema_migrations") == [(1,)]


def test_records_that_a_block_or_a_procedure_has_emptied_are_put_back(shop: Shop) -> None:
    """What they execute commits while they run: without the rows, the next run would run migration 1 again."""
    empties = "SET @q = CONCAT('DELETE FROM orch_', 'history'); PREPARE p FROM @q; EXECUTE p; "
    empties += "SET @q = CONCAT('TRUNCATE schema_', 'migrations'); PREPARE p FROM @q; EXECUTE p;"
    query = "SELECT version, attempt, done, checksum, started_at, seconds FROM orch_history WHERE version = 1"
    shop.declare({"000001_a.up.sql": "CREATE TABLE a (i int);\nINSERT INTO a VALUES (1);\n"})
    shop.orch("apply")
    before = shop.sql(query)
    for text in (
        f"BEGIN NOT ATOMIC {empties} END;",
        f"CREATE PROCEDURE empties() BEGIN {empties} END;\nCALL empties();",
    ):
        if not shop.is_maria() and text.startswith("BEGIN"):
            continue
        shop.write({"000002_b.up.sql": text})
        refused = shop.orch("apply", code=None)
        assert refused.code in (1, 5)
        assert shop.sql(query) == before
        assert shop.sql("SELECT * FROM schema_migrations") == [(2, 1)]
        shop.orch("apply", code=5)  # in doubt: nobody knows what else it did
        assert shop.sql("SELECT * FROM a") == [(1,)]
        shop.sql("DELETE FROM orch_history WHERE version = 2")
        shop.sql("UPDATE schema_migrations SET version = 1, dirty = 0")


def test_records_are_not_put_back_without_the_lock(shop: Shop) -> None:
    """A procedure that gives the lock away lets other runs write: theirs must stay."""
    gives = "SET @q = CONCAT('DO RELEASE_ALL_', 'LOCKS()'); PREPARE p FROM @q; EXECUTE p; "
    gives += "SET @q = CONCAT('DELETE FROM orch_', 'history WHERE version = 1'); PREPARE p FROM @q; EXECUTE p;"
    shop.declare({"000001_a.up.sql": "CREATE TABLE a (i int);\nINSERT INTO a VALUES (1);\n"})
    shop.orch("apply")
    shop.write({"000002_b.up.sql": f"CREATE PROCEDURE gives() BEGIN {gives} END;\nCALL gives();"})
    refused = shop.orch("apply", code=None)
    assert refused.code in (1, 5, 6, 7)
    assert shop.sql("SELECT version FROM orch_history WHERE version = 1") == []
    told = shop.orch("apply", code=5)  # version 2 began after version 1: its record is lost
    assert "pending below version 2, which has run in part: 1 ('a')" in told.stderr
    assert "first decide about version 2: orch repair mysql-shop" in told.stderr
    assert "if the record of one is lost: orch repair mysql-shop --mark-applied 1" in told.stderr
    for version in ("2", "1"):
        shop.orch("repair", "mysql-shop", "--mark-applied", version, "--reason", "its record was lost")
    assert "Nothing to do" in shop.orch("apply").stderr
    assert shop.sql("SELECT * FROM a") == [(1,)]
