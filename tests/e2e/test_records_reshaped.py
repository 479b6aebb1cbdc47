"""A file that gives the tables of the records another shape: refused in plain words, and nothing of it stays."""

from __future__ import annotations

import pytest
from house import House


@pytest.mark.parametrize(
    "sql", ["ALTER TABLE orch_history ALTER COLUMN version TYPE text", "ALTER TABLE orch_history DROP COLUMN checksum"]
)
def test_a_file_that_changes_the_columns_of_the_history_is_refused(new_house: House, sql: str) -> None:
    house = new_house
    house.orch("apply")
    house.estate.write(house.id, {"000002_t2.up.sql": f"{sql};\nCREATE TABLE t2 ();\n"})
    told = house.orch("apply", code=1).output
    assert "a table of its records has other columns now" in told
    assert house.tables() == [1]
    assert house.status()["applied"] == [1]
