"""A dump that mariadb-dump wrote (--hex-blob --routines --events --triggers) as a migration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mysql_shop import Shop

DUMP = Path(__file__).parent / "data" / "dump_of_mariadb.sql"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.estate.drop()


def test_everything_of_a_dump_is_there(shop: Shop) -> None:
    if not shop.is_maria():
        pytest.skip("it has a sequence, which MySQL has not")
    shop.declare(
        {"000001_dump.up.sql": DUMP.read_text(), "000002_more.up.sql": "INSERT INTO a (note) VALUES (NULL);\n"}
    )
    shop.orch("apply")
    notes = [str(note) for (note,) in shop.sql("SELECT note FROM a ORDER BY id")]
    assert notes == ["it's; \\ \" -- no", "ä€😀 /* x */ # y", "l1\nDELIMITER ;;\nx", "n;n"], "the trigger is there too"
    assert shop.sql("SELECT HEX(b) FROM a WHERE id = 1") == [("00FF275C0A0D1A",)]
    assert shop.sql("SELECT f(1), (SELECT count(*) FROM v0), NEXTVAL(sq)") == [(2, 4, 5)]
    assert shop.sql("CALL pr(2)") == [(1,)]
    names = "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE()"
    assert shop.sql(names) == [("ev",)]
    assert [row[0] for row in shop.sql("SHOW TRIGGERS")] == ["t1", "t2"]
    # What the head of a dump sets for its session is gone in the next file.
    assert shop.sql("SELECT version, dirty FROM schema_migrations") == [(2, 0)]


def test_a_dump_with_binary_values_as_they_are_says_how_to_make_it(shop: Shop) -> None:
    shop.declare({"1_a.up.sql": "SELECT 1;\n"})
    (shop.directory / "1_a.up.sql").write_bytes(b"-- MariaDB dump 10.19\nINSERT INTO a VALUES ('\xff');\n")
    refused = shop.orch("validate", code=4).text
    assert "1_a.up.sql:2:24: not UTF-8" in refused
    assert "--hex-blob" in refused


def test_a_session_that_gets_bytes_in_place_of_texts(shop: Shop) -> None:
    """As after the SET NAMES binary of a dump: records and fingerprints are read all the same."""
    shop.declare(
        {
            "1_a.up.sql": (
                "SET NAMES binary;\nCREATE TABLE a (t text);\nINSERT INTO a VALUES ('ä');\n"
                "ALTER TABLE a ADD COLUMN b int;\nDROP TABLE a, missing;\n"
            )
        }
    )
    assert "Unknown table" in shop.orch("apply", code=1).text
    shop.sql("CREATE TABLE missing (i int)")
    shop.orch("apply")
    assert shop.state()[0] == ()
