"""Texts that a file of MySQL executes are read before they run: none empties the records, or drops the database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from estate import Estate, start

TEXTS = {
    "prepared": "SET @q = 'TRUNCATE orch_history';\nPREPARE s FROM @q;\nEXECUTE s;",
    "at_once": "EXECUTE IMMEDIATE CONCAT('DELETE FROM orch_', 'history');",
    "dropped": "EXECUTE IMMEDIATE CONCAT('DROP DATABASE ', DATABASE());",
    "replaced": "CREATE OR REPLACE DATABASE {own};",
    "harmless": "SET @q = 'INSERT INTO a VALUES (5)';\nPREPARE s FROM @q;\nEXECUTE s;\n{more}",
}


@pytest.fixture
def estate(tmp_path: Path) -> Iterator[Estate]:
    made = Estate(tmp_path, {"mysql": start("mariadb")})
    yield made
    made.drop()


def test_a_text_is_read_before_it_runs(estate: Estate) -> None:
    more = "EXECUTE IMMEDIATE 'SELECT 1';" if is_maria(estate) else ""
    for name, text in TEXTS.items():
        given = text.replace("{own}", estate.prefix + name).replace("{more}", more)
        files = {"1_a.up.sql": "CREATE TABLE a (i int);", "2_b.up.sql": given}
        estate.add("mysql", name, files)
    told = estate.orch("apply", code=1)
    for name in TEXTS:
        rows = estate.mysql(name, "SELECT version, done FROM orch_history WHERE version = 1")
        assert rows == [(1, 1)], (name, told.text)
        done = name == "harmless"
        assert f"mysql-{name}: {'done' if done else 'FAILED'}" in told.text
    assert estate.mysql("harmless", "SELECT i FROM a") == [(5,)]
    assert told.text.count("the file drops the database that it migrates") == 2
    assert told.text.count("the file changes the records of orch") == 2


def is_maria(estate: Estate) -> bool:
    """Whether the server has EXECUTE IMMEDIATE."""
    return "MariaDB" in str(estate.mysql("", "SELECT VERSION()"))


def test_an_expression_that_changes_a_variable_is_evaluated_once(estate: Estate) -> None:
    if not is_maria(estate):
        pytest.skip("MySQL has no EXECUTE IMMEDIATE")
    counts = "SET @n = 0;\nEXECUTE IMMEDIATE CONCAT('INSERT INTO a VALUES (', @n := @n + 1, ')');\n"
    estate.add("mysql", "once", {"1_a.up.sql": "CREATE TABLE a (i int);", "2_b.up.sql": counts})
    estate.orch("apply")
    assert estate.mysql("once", "SELECT i FROM a") == [(1,)]
    told = estate.orch("clone", "once", "--as", f"{estate.prefix}copy", code=1).text
    assert "2_b.up.sql:2" in told
    assert "may be another one each time" in told
