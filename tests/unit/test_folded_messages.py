"""One fault of many files is one message, with a count and three examples."""

from __future__ import annotations

from pathlib import Path

from project import orch, small_project


def test_forty_files_with_one_fault_are_one_error(tmp_path: Path) -> None:
    root = small_project(tmp_path)
    schema = root / "migrations" / "postgres-a" / "schema"
    for number in range(10, 50):
        (schema / f"202401010000{number}_a.sql").write_text("SELECT 1;")
    told = orch(root, "validate", code=4).stderr
    assert told.count("error:") == 1
    assert "20240101000010_a.sql" in told and "and 37 more files with the same fault" in told
    assert len(told.splitlines()) < 10


def test_forty_missing_down_files_are_four_lines(tmp_path: Path) -> None:
    root = small_project(tmp_path)
    for number in range(2, 42):
        (root / "migrations" / "postgres-a" / "schema" / f"{number}_a.up.sql").write_text("SELECT 1;")
    told = orch(root, "validate").stderr
    assert told.count("warning: postgres-a") == 4
    assert "and 38 more like these" in told


def test_many_warnings_of_one_kind_hide_none_of_another(tmp_path: Path) -> None:
    root = small_project(tmp_path)
    for number in range(2, 12):
        text = {10: "SET search_path = shop;", 11: "CREATE TABLE here (id int);"}.get(number, "SELECT 1;")
        (root / "migrations" / "postgres-a" / "schema" / f"{number}_a.up.sql").write_text(text)
    told = orch(root, "validate").stderr
    assert "and 8 more like these" in told
    assert "search_path is set to shop for this file alone" in told
