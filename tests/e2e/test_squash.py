"""One migration in place of many, versions without files, and hotfixes by hand: what an estate forgets on purpose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from estate import Estate
from house import House

from orchestrator.planning.squash import parse_ranges, squash_of, written


def gone(house: House, *versions: int) -> dict[Path, bytes]:
    """Remove the files of these versions; return them."""
    files = {path: path.read_bytes() for v in versions for path in house.directory.glob(f"{v:06d}_*")}
    for path in files:
        path.unlink()
    return files


def put_back(files: dict[Path, bytes]) -> None:
    for path, text in files.items():
        path.write_bytes(text)


def squash(house: House, to: int = 3) -> None:
    house.orch("squash", house.id, "--to", str(to))


# ---------------------------------------------------------------- the file


def test_a_squash_is_one_pair_that_replaces_all_up_to_its_version(house: House) -> None:
    before = {path.name: path.read_bytes() for path in house.directory.iterdir()}
    house.orch("squash", house.id, "--to", "3", "--dry-run")
    assert {path.name: path.read_bytes() for path in house.directory.iterdir()} == before
    squash(house)
    names = sorted(path.name for path in house.directory.iterdir())
    extension = "sql" if house.engine == "postgres" else "json"
    assert names == [f"{stem}.{way}.{extension}" for stem in ("000003_squashed", "000004_t4") for way in ("down", "up")]
    text = (house.directory / f"000003_squashed.up.{extension}").read_text()
    assert ("-- orch: replaces 1-3\n" if extension == "sql" else '"comment": {"orch": {"replaces": "1-3"}}') in text
    house.orch("validate")
    house.orch("verify")


def test_a_new_database_runs_a_squash_and_takes_it_back(house: House) -> None:
    squash(house)
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]
    assert house.version_row() == (4, False)
    assert house.status()["applied"] == [3, 4]
    house.orch("rollback", house.id, "--to", "0", "--yes")
    assert house.tables() == []


def test_golang_migrate_runs_a_squash(house: House) -> None:
    squash(house)
    house.golang.up()
    assert house.tables() == [1, 2, 3, 4]
    house.orch("apply")
    assert house.status()["problems"] == []


def test_a_squash_of_a_squash(house: House) -> None:
    house.orch("apply", "--only", house.id, "--to", "3")
    squash(house)
    house.orch("apply")
    house.orch("squash", house.id, "--to", "4")
    (up,) = house.directory.glob("000004_squashed.up.*")
    assert "1-4" in up.read_text()
    house.orch("status")
    assert "Nothing to do" in house.orch("apply").output


def test_a_database_that_began_with_a_squash_takes_the_next_one_as_applied(house: House) -> None:
    squash(house)
    house.orch("apply")
    house.orch("squash", house.id, "--to", "4")
    house.orch("status")
    assert "Nothing to do" in house.orch("apply").output
    assert house.tables() == [1, 2, 3, 4]


@pytest.mark.parametrize("arguments", [["--to", "9"], ["--to", "1"], ["--to", "3", "--name", "../x"]])
def test_a_squash_that_cannot_be_changes_no_file(house: House, arguments: list[str]) -> None:
    before = sorted(house.directory.iterdir())
    house.orch("squash", house.id, *arguments, code=2)
    assert sorted(house.directory.iterdir()) == before


def test_files_keep_their_settings_and_their_ends(pg_estate: Estate) -> None:
    files = {
        "1_a.up.sql": "SET search_path = pg_catalog;\nCREATE SCHEMA one",
        "2_b.up.sql": "SET LOCAL search_path TO one; CREATE TABLE t (id int) -- the end",
        "3_c.up.sql": "SELECT set_config('search_path', 'one', false);\nCREATE TABLE u (id int);",
        "4_d.up.sql": "-- orch: no-transaction\n-- orch: lock_timeout=3s\nCREATE TABLE v (id int);\n"
        "CREATE INDEX CONCURRENTLY i ON v (id);",
        "5_e.up.sql": "BEGIN;\nCREATE TABLE w (id int);\nCOMMIT",
        "6_f.up.sql": "-- nothing",
    }
    pg_estate.add("postgres", "a", files)
    pg_estate.add("postgres", "b", files)
    pg_estate.orch("apply", "--only", "a")
    pg_estate.orch("squash", "b", "--to", "6")
    pg_estate.orch("apply", "--only", "b")
    where = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'one') ORDER BY 2, 1"
    assert pg_estate.sql("b", where) == pg_estate.sql("a", where)


@pytest.mark.parametrize(
    ("directive", "said"),
    [
        ("-- orch: replaces 1-2", "it is version 3, and the last version that it replaces is 2"),
        ("-- orch: replaces 1-4", "the last version that it replaces is 4"),
        ("-- orch: replaces", "is no list of versions"),
        ("-- orch: replaces one", "is no list of versions"),
        ("-- orch: replaces 3-1", "the range 3-1 is empty"),
        ("-- orch: replaces 2-3", "it replaces version 2, and there still is a file"),
    ],
)
def test_what_a_file_cannot_replace_is_told_with_its_place(pg_estate: Estate, directive: str, said: str) -> None:
    files = {"2_b.up.sql": "SELECT 1;", "3_c.up.sql": f"{directive}\nSELECT 1;"}
    pg_estate.add("postgres", "a", files)
    told = pg_estate.orch("validate", code=4).text
    assert said in told
    assert "3_c.up.sql" in told


def test_what_a_mongodb_file_cannot_replace_is_told(mongo_estate: Estate) -> None:
    command = {"create": "a", "comment": {"orch": {"replaces": "x"}}}
    mongo_estate.add("mongo", "a", {"3_c.up.json": json.dumps([command])})
    assert "is no list of versions" in mongo_estate.orch("validate", code=4).text


# ---------------------------------------------------------------- databases at it, and in between


def test_a_database_at_the_squash_takes_it_as_applied(house: House) -> None:
    house.orch("apply", "--only", house.id, "--to", "3")
    before = house.attempts()
    squash(house)
    found = house.status()
    assert (found["problems"], found["notes"], found["pending"]) == ([], [], [4])
    house.orch("wait", "--for", "db@2", "--timeout", "1")
    house.orch("wait", "--for", "db@3", "--timeout", "1")
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]
    assert [one["version"] for one in house.attempts()] == [*(one["version"] for one in before), 4]
    house.orch("rollback", house.id, "--steps", "1", "--yes")
    told = house.orch("rollback", house.id, "--steps", "1", "--yes", "--allow-missing-down", code=5).output
    assert "its file replaces others" in told
    assert house.tables() == [1, 2, 3]


def test_a_database_in_between_is_refused_with_what_it_lacks(house: House) -> None:
    house.orch("apply", "--only", house.id, "--to", "1")
    squash(house)
    for command in (["plan"], ["apply"], ["wait", "--timeout", "30"], ["wait", "--for", "db@3", "--timeout", "30"]):
        assert "it lacks versions 2-3" in house.orch(*command, code=5).output
    house.orch("wait", "--for", "db@1", "--timeout", "1")
    assert "--mark-applied" not in house.orch("repair", house.id).output
    refused = house.orch("repair", house.id, "--mark-applied", "3", code=2).output
    assert f"orch repair {house.id} --mark-applied" not in refused
    assert house.status()["problems"][0]["kind"] == "squashed"
    assert house.tables() == [1]
    assert len(house.attempts()) == 1


def test_golang_migrate_in_between_is_refused_too(house: House) -> None:
    house.golang.up(2)
    squash(house)
    assert "the database lacks version 3" in house.orch("apply", code=5).output
    assert "--mark-applied" not in house.orch("repair", house.id).output
    assert house.tables() == [1, 2]


@pytest.mark.parametrize("who", ["golang-migrate", "orch"])
def test_a_version_that_never_existed_is_not_said_to_be_missing(house: House, who: str) -> None:
    gone(house, 3)
    house.golang.up(1) if who == "golang-migrate" else house.orch("apply", "--only", house.id, "--to", "1")
    squash(house, 4)
    (up,) = house.directory.glob("000004_squashed.up.*")
    assert "1-2, 4" in up.read_text()
    assert "lacks versions 2, 4" in house.orch("apply", code=5).output
    assert house.tables() == [1]


def test_golang_migrate_at_the_squash_takes_it_as_applied(house: House) -> None:
    house.golang.up(3)
    squash(house)
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]
    assert house.status()["problems"] == []


def test_a_late_version_that_was_squashed_is_missed(house: House) -> None:
    late = gone(house, 2)
    house.orch("apply", "--only", house.id, "--to", "3")
    put_back(late)
    squash(house)
    assert "it lacks version 2" in house.orch("apply", code=5).output


def test_a_squash_that_a_database_ran_and_that_is_edited(house: House) -> None:
    squash(house)
    house.orch("apply")
    (up,) = house.directory.glob("000003_squashed.up.*")
    up.write_text(up.read_text() + "\n")
    assert house.status()["problems"][0]["kind"] == "edited"


@pytest.mark.parametrize(
    ("ranges", "applied", "itself", "lacking"),
    [
        ("1-60", range(1, 61), False, ""),
        ("1-60", (), False, ""),
        ("1-60", range(1, 31), False, "versions 31-60"),
        ("1-60", [*range(1, 31), *range(32, 61)], False, "version 31"),
        ("1-60", [60], True, ""),
        ("1-60", [60, 61], False, ""),
        ("1-60", [*range(1, 31), 60], True, ""),
        ("1-60", range(20, 61), False, ""),
        ("1-57, 59-60", [*range(1, 58), 59, 60], False, ""),
        ("20240101000000-20240301000000", [20240101000000, 20240301000000], False, ""),
        ("20240101000000-20240301000000", [20240101000000], False, "what comes after version 20240101000000, up to"),
    ],
)
def test_what_a_squash_means(ranges: str, applied: list[int], itself: bool, lacking: str) -> None:
    parsed = parse_ranges(ranges)
    found = squash_of(parsed[-1][1], parsed, list(applied), itself=itself)
    assert found.lacking.startswith(lacking)
    assert bool(found.lacking) == bool(lacking)
    assert written(parsed) == ranges


# ---------------------------------------------------------------- versions without files


def test_missing_files_of_many_versions_are_one_message_and_can_be_acknowledged(house: House) -> None:
    house.orch("apply")
    files = gone(house, 1, 2, 3, 4)
    house.estate.write(
        house.id,
        {
            "000009_x.up." + ("sql" if house.engine == "postgres" else "json"): "[]"[
                : 0 if house.engine == "postgres" else 2
            ]
        },
    )
    (problem,) = house.status()["problems"]
    assert "versions 1-4 were applied" in problem["what"]
    assert f"orch repair {house.id} --acknowledge 1-4" in problem["hint"]
    assert "--mark-applied" not in house.orch("repair", house.id).output, "there may be a gap"
    house.orch("repair", "*", "--acknowledge", "1-4", "--reason", "squashed")
    found = house.status()
    assert (found["problems"], found["applied"], found["pending"]) == ([], [1, 2, 3, 4], [9])
    assert "gone" not in house.orch("plan").output
    assert "nothing to record" in house.orch("repair", house.id, "--acknowledge", "1-60").output
    assert [(r["origin"], r["reason"]) for r in house.attempts()].count(("acknowledged", "squashed")) == 4
    put_back(files)
    assert house.status()["problems"] == []


@pytest.mark.parametrize("text", ["", "x", "4-1"])
def test_what_cannot_be_acknowledged_is_told(house: House, text: str) -> None:
    house.orch("apply")
    house.orch("repair", house.id, "--acknowledge", text, code=2)
    assert len(house.attempts()) == 4


def test_both_files_of_the_newest_version_are_gone(house: House) -> None:
    house.estate.manifest(f"  - {{name: db, server: {house.engine}, keep_text: false}}\n")
    house.orch("apply")
    gone(house, 4)
    told = house.orch("rollback", house.id, "--steps", "1", "--yes", code=5).output
    assert f"orch repair {house.id} --mark-not-applied 4" in told
    assert house.orch("rollback", house.id, "--steps", "1", "--yes", "--allow-missing-down", code=5)
    shown = house.orch("repair", house.id).output
    assert "--acknowledge 4" in shown
    assert "--mark-not-applied 4" in shown
    house.orch("repair", house.id, "--mark-not-applied", "4", "--reason", "undone by hand")
    assert house.version_row() == (3, False)
    assert house.status()["applied"] == [1, 2, 3]
    house.orch("status")


# ---------------------------------------------------------------- by hand, and migrate force


def test_a_range_of_pending_versions_is_taken_as_applied(house: House) -> None:
    house.orch("apply", "--only", house.id, "--to", "1")
    for text in ("3-4", "2,4", "5-9", "x"):  # with a gap, or none of them
        house.orch("repair", house.id, "--mark-applied", text, code=2)
    house.orch("repair", house.id, "--mark-applied", "2-3", "--reason", "hotfix")
    assert house.version_row() == (3, False)
    assert [(r["version"], r["origin"]) for r in house.attempts()] == [(1, "applied"), (2, "marked"), (3, "marked")]
    house.orch("apply")
    assert house.tables() == [1, 4]


def test_what_was_made_by_hand_leads_to_the_right_command(pg_house: House) -> None:
    house = pg_house
    house.orch("apply", "--only", house.id, "--to", "1")
    house.estate.sql("db", house.files["000002_t2.up.sql"])
    told = house.orch("apply", code=1).output
    assert f"orch repair {house.id} --mark-applied 2" in told
    house.orch("repair", house.id, "--mark-applied", "2")
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]


def test_migrate_force_to_a_version_without_file(house: House) -> None:
    house.orch("apply", "--only", house.id, "--to", "2")
    house.golang.force(9)
    told = house.orch("apply", code=5).output
    assert f"orch repair {house.id}" in told
    shown = house.orch("repair", house.id).output
    assert "--mark-applied 4" not in shown, "3 and 4 were never seen"
    house.orch("repair", house.id, "--keep-version", "2")
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]
