"""A file that gives the tables of the records another shape: refused in plain words, and nothing of it stays."""

from __future__ import annotations

import pytest
from house import House

RESHAPES = [
    "ALTER TABLE orch_history ALTER COLUMN version TYPE text",
    "ALTER TABLE orch_history ALTER COLUMN applied TYPE text",
    "ALTER TABLE orch_history DROP COLUMN checksum",
    "ALTER TABLE orch_history RENAME COLUMN error TO problem",
    "ALTER TABLE orch_history SET UNLOGGED",
    "ALTER TABLE orch_history DROP CONSTRAINT orch_history_pkey",
    "ALTER TABLE orch_history DROP CONSTRAINT orch_history_pkey, ADD PRIMARY KEY (version, attempt, name)",
    "ALTER TABLE orch_history RENAME TO history",
    "ALTER TABLE schema_migrations SET UNLOGGED",
    "ALTER TABLE schema_migrations DROP CONSTRAINT schema_migrations_pkey",
    "ALTER TABLE schema_migrations ALTER COLUMN version TYPE numeric",
    "ALTER TABLE schema_migrations RENAME COLUMN dirty TO broken",
    "CREATE SCHEMA old; ALTER TABLE schema_migrations SET SCHEMA old",
]


@pytest.mark.parametrize("head", ["", "-- orch: no-transaction\n"])
def test_a_file_that_changes_the_shape_of_the_records_is_refused(new_house: House, head: str) -> None:
    house = new_house
    house.orch("apply")
    for text in RESHAPES:
        house.estate.write(house.id, {"000002_t2.up.sql": f"{head}CREATE TABLE t2 ();\n  {text};\n"})
        told = house.orch("apply", code=1).output
        assert "orch and golang-migrate record in it what is applied" in told, (text, told)
        assert f"000002_t2.up.sql:{3 if head else 2}" in told, (text, told)
        house.estate.sql("db", "DROP TABLE IF EXISTS t2")
        if head:
            house.orch("repair", house.id, "--mark-not-applied", "2")
    assert house.tables() == [1]
    assert house.status()["applied"] == [1]
    house.estate.write(house.id, {"000002_t2.up.sql": "CREATE TABLE t2 (id int);"})
    house.orch("apply")
    assert house.tables() == [1, 2]


@pytest.mark.parametrize(
    "texts",
    [
        ("CREATE TABLE t1 (id int);\nALTER TABLE schema_migrations SET UNLOGGED;", "CREATE TABLE t2 (id int);"),
        ("CREATE TABLE t1 (id int);", "ALTER TABLE orch_history SET UNLOGGED;\nCREATE TABLE t2 (id int);"),
    ],
)
def test_in_the_run_that_makes_the_tables_too(new_house: House, texts: tuple[str, str]) -> None:
    house = new_house
    for number, text in enumerate(texts, 1):
        house.estate.write(house.id, {f"00000{number}_t{number}.up.sql": text})
    told = house.orch("apply", code=1).output
    assert "UNLOGGED" in told
    assert house.estate.sql("db", "SELECT relname FROM pg_class WHERE relpersistence = 'u'") == []


def test_a_shape_that_was_there_before_is_left_alone(new_house: House) -> None:
    house = new_house
    house.orch("apply")
    house.estate.sql("db", "ALTER TABLE schema_migrations SET UNLOGGED")
    house.estate.sql("db", "ALTER TABLE schema_migrations DROP CONSTRAINT schema_migrations_pkey")
    house.estate.sql("db", "ALTER TABLE orch_history ADD COLUMN note text, ALTER COLUMN error TYPE varchar")
    files = {
        "000002_t2.up.sql": "CREATE TABLE t2 (id int);\nALTER TABLE schema_migrations ADD COLUMN at timestamptz DEFAULT now();",
        "000003_t3.up.sql": "-- orch: no-transaction\nCREATE TABLE t3 (id int);\nCOMMENT ON TABLE orch_history IS 'seen';",
    }
    house.estate.write(house.id, files)
    house.orch("apply")
    assert house.tables() == [1, 2, 3]
