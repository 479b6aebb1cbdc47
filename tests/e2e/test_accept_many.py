"""`orch repair --accept` takes many files of many databases at once; hints can be pasted whatever the names are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from estate import Estate

from orchestrator.hints import NAME, Command, Hint
from orchestrator.planning.problems import Kind, Problem

FILES = {f"00000{n}_a.{way}.sql": "SELECT 1;\n" for n in (1, 2, 3) for way in ("up", "down")}


@pytest.fixture
def edited(pg_estate: Estate) -> Estate:
    """Two databases of which every applied file got a licence header."""
    for name in ("a", "b"):
        pg_estate.add("postgres", name, FILES)
    pg_estate.orch("apply")
    for path in (pg_estate.root / "migrations").rglob("*.sql"):
        path.write_text("-- SPDX-License-Identifier: Apache-2.0\n" + path.read_text())
    pg_estate.orch("status", code=5)
    return pg_estate


def edits(estate: Estate, name: str) -> int:
    return len(estate.orch("repair", name, "--output", "json").json["problems"])


def test_a_licence_header_above_all_files_is_one_command(edited: Estate) -> None:
    told = edited.orch("repair", "*", "--accept", "*", "--reason", "licence").stdout
    assert "postgres-a: recorded that the edits of 3 files" in told and "postgres-b: recorded" in told
    edited.orch("status")
    assert "Nothing to do" in edited.orch("apply").stderr
    assert edited.sql("a", "SELECT count(*) FROM orch_history WHERE reason = 'licence'") == [(3,)]


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["000001_a.up.sql"], 2),
        (["000001_a.up.sql", "000003_a.up.sql"], 1),
        (["2"], 2),
        (["1", "*3_a*"], 1),
        (["migrations/postgres-a/schema/*.up.sql"], 0),
        (["./migrations/postgres-a/schema/000001_a.up.sql"], 2),
    ],
)
def test_what_names_the_files(edited: Estate, words: list[str], left: int) -> None:
    edited.orch("repair", "a", *(part for word in words for part in ("--accept", word)))
    assert (edits(edited, "a"), edits(edited, "b")) == (left, 3)


def test_a_word_that_means_no_file_records_nothing(edited: Estate) -> None:
    told = edited.orch("repair", "*", "--accept", "1", "--accept", "nothing", code=2).stderr
    assert "--accept nothing matches no edited file of any of 2 databases" in told
    assert "--accept migrations/postgres-a/schema/000001_a.up.sql" in told
    assert (edits(edited, "a"), edits(edited, "b")) == (3, 3)
    assert "2 databases are named" in edited.orch("repair", "a", "b", "--mark-applied", "1", code=2).stderr


def test_what_was_recorded_as_json(edited: Estate) -> None:
    document = edited.orch("repair", "a", "--accept", "1", "--output", "json").json
    assert document["format"] == 1
    assert document["recorded"] == [
        {
            "id": "postgres-a",
            "flag": "--accept migrations/postgres-a/schema/000001_a.up.sql",
            "what": "the current content of migrations/postgres-a/schema/000001_a.up.sql counts as applied",
        }
    ]
    edited.write("postgres-b", {"000004_b.up.sql": "SELECT 1;"})
    edited.orch("repair", "b", "--accept", "*")
    marked = edited.orch("repair", "b", "--mark-applied", "4", "--output", "json").json
    assert marked["recorded"][0]["flag"] == "--mark-applied 4"


def test_a_path_with_the_placeholder_in_it(pg_estate: Estate, tmp_path: Path) -> None:
    folder = tmp_path / "NAME of it"
    folder.mkdir()
    pg_estate.manifest(f"  - {{name: a, server: postgres, migrations: {json.dumps(folder.name)}}}\n")
    (folder / "1_NAME.up.sql").write_text("SELECT 1;")
    pg_estate.orch("apply")
    (folder / "1_NAME.up.sql").write_text("SELECT 2;")
    told = pg_estate.orch("plan", code=5).stderr
    assert "orch repair postgres-a --accept 'NAME of it/1_NAME.up.sql'" in told
    told = pg_estate.orch("repair", "a").stdout
    assert "orch repair postgres-a --accept 'NAME of it/1_NAME.up.sql'" in told
    pg_estate.orch("repair", "a", "--accept", "NAME of it/1_NAME.up.sql")
    pg_estate.orch("status")


def test_the_database_of_a_hint_is_quoted() -> None:
    problem = Problem(Kind.EDITED, "x", Hint(Command("repair", NAME, "--accept", "NAME")))
    assert problem.hint_for("postgres-a b") == "orch repair 'postgres-a b' --accept NAME"
