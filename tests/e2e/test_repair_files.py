"""Edited, missing and late files; baselines; versions that a person declares applied or not applied."""

from __future__ import annotations

import pytest
from house import House
from repairs import Kept, partial_file, ways

# ---------------------------------------------------------------- edited, missing, out of order, baseline


def _edit(house: House) -> str:
    extension = "sql" if house.engine == "postgres" else "json"
    name = f"000002_t2.up.{extension}"
    house.estate.write(house.id, {name: house.files[name] + "\n"})
    return name


def test_an_edited_file_is_refused_naming_file_when_and_who(house: House) -> None:
    kept = Kept(house)
    house.orch("apply", "--only", house.id, "--to", "3")
    name = _edit(house)
    before = kept.look()
    told = house.orch("apply", code=5).output
    who, when = before[1]["actor"], before[1]["finished_at"]
    for fact in (name, "was edited after it was applied", who, when[:10], "--accept"):
        assert fact in told, told
    house.orch("rollback", house.id, "--steps", "1", "--yes", code=5)
    path = f"migrations/{house.id}/schema/{name}"
    assert ways(house) == [f"--accept {path}"]
    house.orch("repair", house.id, "--accept", path, "--reason", "white space only")
    assert len(kept.look()) == 4
    assert any(r["reason"] == "white space only" for r in kept.look())
    house.orch("apply")
    assert house.status()["problems"] == []
    assert house.tables() == [1, 2, 3, 4]


def test_line_ends_are_no_edit(house: House) -> None:
    house.orch("apply")
    for path in house.directory.iterdir():
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert "Nothing to do" in house.orch("apply").output


def test_a_renamed_file_is_noted_and_nothing_more(house: House) -> None:
    house.orch("apply")
    for path in list(house.directory.glob("000002*")):
        path.rename(path.with_name(path.name.replace("t2", "second")))
    assert "was applied as 't2' and is now called 'second'" in str(house.status()["notes"])
    assert "Nothing to do" in house.orch("apply").output


def test_a_missing_file_stops_only_the_way_down_past_it(house: House) -> None:
    house.estate.manifest(f"  - {{name: db, server: {house.engine}, keep_text: false}}\n")
    house.orch("apply", "--only", house.id, "--to", "3")
    for path in list(house.directory.glob("000002*")):
        path.unlink()
    problem = house.status()["problems"][0]
    assert (problem["kind"], problem["version"], problem["blocks"]) == ("missing", 2, [])
    house.orch("status")
    assert "its file is gone" in house.orch("plan").output
    assert "its file is gone" in house.orch("apply").output
    assert "its file is gone" in house.orch("apply").output, "also where nothing is to do"
    assert house.tables() == [1, 2, 3, 4]
    house.orch("rollback", house.id, "--steps", "2", "--yes")
    assert house.tables() == [1, 2]
    told = house.orch("rollback", house.id, "--steps", "1", "--yes", code=5).output
    assert "cannot be rolled back past version 2" in told
    house.orch("rollback", house.id, "--to", "0", "--yes", "--allow-missing-down", code=5)
    assert house.tables() == [1, 2]


def test_a_missing_down_file_is_refused_when_planning(house: House) -> None:
    house.estate.manifest(f"  - {{name: db, server: {house.engine}, keep_text: false}}\n")
    house.orch("apply")
    for path in list(house.directory.glob("000003*.down.*")):
        path.unlink()
    told = house.orch("rollback", house.id, "--to", "1", "--yes", code=5).output
    assert "it has no down file" in told
    assert house.tables() == [1, 2, 3, 4], "nothing ran, not even 4"
    house.orch("rollback", house.id, "--to", "2", "--yes", "--allow-missing-down")
    assert house.tables() == [1, 2, 3]
    assert house.version_row() == (2, False)


def test_out_of_order_is_refused_unless_the_manifest_allows_it(house: House) -> None:
    late = {name: text for name, text in house.files.items() if name.startswith("000002")}
    for name in late:
        (house.directory / name).unlink()
    house.orch("apply")
    house.estate.write(house.id, late)
    told = house.orch("apply", code=5).output
    assert "pending below the current version 4: 2 ('t2')" in told
    assert "out_of_order: apply" in told
    assert house.tables() == [1, 3, 4]
    house.estate.manifest(f"  - {{name: db, server: {house.engine}, out_of_order: apply}}\n")
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]
    assert house.version_row() == (4, False)
    house.orch("rollback", house.id, "--steps", "3", "--yes")
    assert house.tables() == [1]


def test_a_baseline_declares_what_is_there(house: House) -> None:
    house.golang.up(2)
    if house.engine == "postgres":
        house.estate.sql("db", "DROP TABLE schema_migrations")
    else:
        house.estate.mongo("db").drop_collection("schema_migrations")
    house.orch("apply", code=1)  # the tables of 1 are there, and nothing says so
    house.orch("baseline", house.id, "--version", "9", code=2)
    house.orch("baseline", house.id, "--version", "2", "--reason", "restored from the dump of Monday")
    assert house.version_row() == (2, False)
    records = [r for r in house.attempts() if r["origin"] == "baseline"]
    assert [(r["version"], r["reason"]) for r in records] == [(v, "restored from the dump of Monday") for v in (1, 2)]
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]
    house.orch("baseline", house.id, "--version", "2", code=5)


def test_a_baseline_that_was_taken_back_can_be_made_again(house: House) -> None:
    kept = Kept(house)
    _by_hand(house, 1)
    house.orch("baseline", house.id, "--version", "1", "--reason", "first")
    kept.look()
    told = house.orch("baseline", house.id, "--version", "1", code=5).output
    assert "it is at version 1" in told
    house.orch("repair", house.id, "--mark-not-applied", "1")
    assert "None" not in house.orch("repair", house.id).output + house.orch("status").output
    house.orch("baseline", house.id, "--version", "1", "--reason", "second")
    assert [(r["attempt"], r["direction"], r["reason"]) for r in kept.look()] == [
        (1, "up", "first"),
        (2, "down", ""),
        (3, "up", "second"),
    ]
    assert house.version_row() == (1, False)
    house.golang.up(1)
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]


def test_a_baseline_where_golang_migrate_took_everything_back(house: House) -> None:
    house.orch("apply")
    house.golang.down()
    for version in (1, 2):
        _by_hand(house, version)
    house.orch("baseline", house.id, "--version", "2")
    assert house.status()["applied"] == [1, 2]
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]
    assert house.version_row() == (4, False)


def test_no_baseline_over_what_stopped_half_way(house: House) -> None:
    files = {name.replace("000002_t2", "000001_t1"): text for name, text in partial_file(house, wrong=True).items()}
    house.estate.write(house.id, files)
    house.orch("apply", code=1)
    assert "stopped at statement 2 of 3" in house.orch("baseline", house.id, "--version", "1", code=5).output
    house.golang.force(-1)
    told = house.orch("baseline", house.id, "--version", "1", code=5).output
    assert "None" not in told
    assert "set the version table to no version" in told


def _by_hand(house: House, version: int) -> None:
    """Make what a version makes, without telling anybody."""
    if house.engine == "postgres":
        house.estate.sql("db", house.files[f"{version:06d}_t{version}.up.sql"])
    else:
        house.estate.mongo("db")[f"t{version}"].insert_one({"_id": version})


def test_a_pending_version_made_by_hand_is_taken_as_applied(house: House) -> None:
    """A hotfix by hand, or a baseline at too low a version."""
    kept = Kept(house)
    for version in (1, 2, 3):
        _by_hand(house, version)
    house.orch("baseline", house.id, "--version", "1")
    told = house.orch("baseline", house.id, "--version", "3", code=5).output
    assert f"orch repair {house.id} --mark-applied 2" in told
    house.orch("apply", code=1)  # t2 is there already
    kept.look()
    assert ways(house) == ["--mark-not-applied 1"], "nobody is asked to"
    shown = house.orch("repair", house.id).output
    assert "nothing is wrong" in shown
    assert f"orch repair {house.id} --mark-applied 2" in shown
    for other in ("1", "3", "4", "9"):  # applied, with a gap below, with two, not there
        told = house.orch("repair", house.id, "--mark-applied", other, code=2).output
        assert f"the next: orch repair {house.id} --mark-applied 2" in told
    assert house.status()["applied"] == [1]
    for version in (2, 3):
        house.orch("repair", house.id, "--mark-applied", str(version), "--reason", "hotfix")
        assert house.version_row() == (version, False)
        record = [r for r in kept.look() if r["version"] == version][-1]
        assert (record["done"], record["origin"], record["reason"]) == (True, "marked", "hotfix")
        assert record["actor"]
    house.orch("repair", house.id, "--mark-not-applied", "3", "--reason", "by mistake")
    assert (house.version_row(), house.status()["pending"]) == ((2, False), [3, 4])
    house.orch("repair", house.id, "--mark-applied", "3")
    house.golang.up()
    assert house.tables() == [1, 2, 3, 4]
    house.orch("apply")
    kept.look()
    assert house.status()["applied"] == [1, 2, 3, 4]


def test_what_was_taken_as_applied_is_taken_back_also_below_others(house: House) -> None:
    house.golang.up(1)
    _by_hand(house, 2)
    house.orch("repair", house.id, "--mark-applied", "2")
    assert [r["origin"] for r in house.attempts()] == ["adopted", "marked"]
    house.orch("apply", "--only", house.id, "--to", "3")
    house.golang.up(1)
    house.orch("repair", house.id, "--mark-not-applied", "3", code=2)
    house.orch("repair", house.id, "--mark-not-applied", "2")
    assert house.version_row() == (4, False), "what golang-migrate did stays"
    found = house.status()
    assert (found["applied"], found["pending"]) == ([1, 3, 4], [2])
    assert [p["kind"] for p in found["problems"]] == ["out_of_order"]
    assert f"orch repair {house.id} --mark-applied 2" in house.orch("repair", house.id).output
    house.orch("repair", house.id, "--mark-applied", "2")
    assert house.version_row() == (4, False)
    house.orch("apply")
    assert house.status()["problems"] == []


@pytest.mark.parametrize("flag", ["--mark-applied", "--mark-not-applied"])
def test_other_trouble_is_mended_before_a_pending_version_is_taken_as_applied(house: House, flag: str) -> None:
    house.orch("apply", "--only", house.id, "--to", "2")
    name = _edit(house)
    told = house.orch("repair", house.id, flag, "3", code=2).output
    assert f"/{name}" in told
    assert "the next" not in told
    assert len(house.attempts()) == 2


@pytest.mark.parametrize("flag", ["--mark-applied", "--mark-not-applied"])
def test_a_version_that_stopped_half_way_and_whose_file_is_gone_has_a_way_on(house: House, flag: str) -> None:
    house.orch("apply", "--only", house.id, "--to", "1")
    for path in house.directory.glob("00000[234]_*"):
        path.unlink()
    house.estate.write(house.id, partial_file(house, wrong=True))
    house.orch("apply", code=1)
    (path,) = house.directory.glob("000002_*")
    text = path.read_bytes()
    path.unlink()
    assert house.status()["problems"]
    house.orch("repair", house.id, flag, "2", "--reason", "of a branch that was thrown away")
    assert house.attempts()[-1]["reason"] == "of a branch that was thrown away"
    if flag == "--mark-applied":
        assert [one["kind"] for one in house.status()["problems"]] == ["missing"]
        house.orch("repair", house.id, "--acknowledge", "2")
        assert house.status()["applied"] == [1, 2]
        assert house.version_row() == (2, False)
    else:
        assert house.status()["applied"] == [1]
        assert house.version_row() == (1, False)
        path.write_bytes(text)
        assert house.status()["pending"] == [2]
        path.unlink()
    assert house.status()["problems"] == []
    assert "Nothing to do" in house.orch("apply").output
