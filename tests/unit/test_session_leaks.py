"""Settings that golang-migrate would keep for the next file are told where that file's effect depends on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.analysis.sessions import leaks
from orchestrator.engines.postgres.sql import parse_sql
from orchestrator.model import File


def told(*texts: str) -> list[str]:
    files = [File(f"{number}.up.sql", Path("a"), "") for number in range(1, len(texts) + 1)]
    return [one.what.partition(" is set to ")[0] for one in leaks(map(parse_sql, files, texts))]


@pytest.mark.parametrize(
    ("first", "later", "what"),
    [
        ("SET session_replication_role = replica;", "UPDATE t SET a = 1;", ["session_replication_role"]),
        ("SET TIME ZONE 'Asia/Tokyo';", "INSERT INTO t VALUES ('2026-01-01');", ["timezone"]),
        ("SET SESSION timezone TO 'Asia/Tokyo';", "ALTER TABLE t ADD a date DEFAULT '2026-01-01';", ["timezone"]),
        ("SELECT set_config('DateStyle', 'German', false);", "INSERT INTO t VALUES ('1.2.2026');", ["datestyle"]),
        ("SET default_tablespace = fast;", "CREATE TABLE t (a int);", ["default_tablespace"]),
        ("SET search_path = s;", "CREATE TABLE t (a int);", ["search_path"]),
        ("SET LOCAL timezone = 'Asia/Tokyo';", "INSERT INTO t VALUES ('2026-01-01');", []),
        ("SET timezone = 'Asia/Tokyo'; RESET timezone;", "INSERT INTO t VALUES ('2026-01-01');", []),
        ("SET timezone = 'Asia/Tokyo'; RESET ALL;", "INSERT INTO t VALUES ('2026-01-01');", []),
        ("SET timezone = 'Asia/Tokyo';", "INSERT INTO t VALUES (1);", []),
        ("SET timezone = 'Asia/Tokyo';", "SET timezone = 'UTC'; INSERT INTO t VALUES ('2026-01-01');", []),
        ("SET default_tablespace = ''; SET default_table_access_method = heap;", "CREATE TABLE t (a int);", []),
        ("SET session_replication_role = origin; SET datestyle = 'ISO, MDY';", "INSERT INTO t VALUES ('1');", []),
        ("SELECT set_config('timezone', 'UTC', true);", "INSERT INTO t VALUES ('2026-01-01');", []),
    ],
)
def test_a_setting_on_which_a_later_file_depends(first: str, later: str, what: list[str]) -> None:
    assert told(first, "SELECT 1;", later) == what
    assert told(later, first) == []
