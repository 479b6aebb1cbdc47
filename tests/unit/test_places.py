"""Directories: those that hold migrations only further down, hold none, or are named by no entry."""

from __future__ import annotations

from pathlib import Path

import pytest
from project import orch, small_project

PLACE = "migrations/postgres-a/schema"


def project(tmp_path: Path, files: list[str]) -> Path:
    root = small_project(tmp_path)
    for old in (root / PLACE).iterdir():
        old.unlink()
    for name in files:
        path = root / PLACE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("SELECT 1;")
    return root


@pytest.mark.parametrize("command", ["validate", "plan", "apply"])
@pytest.mark.parametrize(
    ("files", "best"),
    [
        (["postgres/1_a.up.sql", "mysql/1_a.up.sql"], "postgres"),
        (["01/1_a.up.sql", "02/2_b.up.sql"], "01"),
        (["deep/er/1_a.up.sql"], "deep/er"),
    ],
)
def test_migrations_in_subdirectories(tmp_path: Path, files: list[str], best: str, command: str) -> None:
    told = orch(project(tmp_path, files), command, code=4)
    assert f"{PLACE} holds no migration itself" in told.stderr
    assert f"migrations: {PLACE}/{best}\n" in told.stderr or f"migrations: {PLACE}/{best} (" in told.stderr
    assert f"{best}/ (1)" in told.stderr
    assert "Valid" not in told.stdout


@pytest.mark.parametrize(
    ("files", "there"), [([], "it is empty"), (["README.md", "notes.txt"], "README.md, notes.txt")]
)
def test_a_directory_without_any_migration(tmp_path: Path, files: list[str], there: str) -> None:
    told = orch(project(tmp_path, files), "validate").stderr
    assert f"warning: postgres-a: no migration in {PLACE}" in told
    assert there in told
    assert "orch new postgres-a" in told


def test_directories_that_no_entry_names(tmp_path: Path) -> None:
    root = project(tmp_path, ["1_a.up.sql", "1_a.down.sql", "seeds/2_s.up.sql", "docs/picture.svg"])
    for name in ("migrations/postgres-z/schema/1_b.up.sql", "migrations/postgres-a/old/1_o.up.sql"):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text("SELECT 1;")
    (root / "migrations/empty").mkdir()
    told = orch(root, "validate").stderr.splitlines()
    assert [line.split("names ")[1].split(":")[0] for line in told if "no entry" in line] == [
        f"{PLACE}/seeds",
        "migrations/postgres-a/old",
        "migrations/postgres-z",
    ]
