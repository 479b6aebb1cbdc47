"""Version 0, and versions that have a down file alone, as golang-migrate treats them, on real servers."""

from __future__ import annotations

from house import House


def without_up(house: House, version: int) -> str:
    """Remove the up file of a version and return its text."""
    path = next(house.directory.glob(f"{version:06d}_*.up.*"))
    text = path.read_text()
    path.unlink()
    return text


def renumber(house: House, old: int, new: int) -> None:
    for path in house.directory.glob(f"{old:06d}_*"):
        path.rename(house.directory / path.name.replace(f"{old:06d}", f"{new:06d}"))


def test_version_0_goes_up_and_down(house: House) -> None:
    renumber(house, 1, 0)
    house.orch("apply", "--to", "0", "--only", house.id)
    assert house.tables() == [1]
    assert house.version_row() == (0, False)
    house.golang.up()
    house.orch("apply")
    assert house.status()["applied"] == [0, 2, 3, 4]
    house.orch("rollback", house.id, "--steps", "4", "--yes")
    assert house.tables() == []
    assert house.version_row()[0] == -1
    house.golang.up()
    assert house.tables() == [1, 2, 3, 4]
    assert house.status()["applied"] == [0, 2, 3, 4]


def test_a_pending_version_with_only_a_down_file(house: House) -> None:
    without_up(house, 2)
    assert "version 2 has only a down file: nothing runs for it" in house.orch("plan").output
    house.orch("apply")
    assert house.tables() == [1, 3, 4]
    assert house.version_row() == (4, False)
    assert house.status()["applied"] == [1, 2, 3, 4]
    assert house.status()["problems"] == []
    house.orch("apply")
    house.golang.up()
    assert house.version_row() == (4, False)


def test_the_last_version_has_only_a_down_file(house: House) -> None:
    without_up(house, 4)
    house.orch("apply")
    assert house.version_row() == (4, False)
    house.golang.up()
    assert house.version_row() == (4, False)


def test_verify_tries_a_version_with_only_a_down_file(house: House) -> None:
    """Nothing runs for it on the way up; its down file runs in a rollback, and there is what it would take away."""
    without_up(house, 4)
    down = next(house.directory.glob("000004_*.down.*"))
    assert "4 t4 FAILED" in house.orch("verify", house.id, code=1).output
    down.write_text("[]" if house.engine == "mongo" else "")
    told = house.orch("verify", house.id).output
    assert "4 t4 verified" in told
    assert "it has no down file" not in told


def test_only_a_down_file_below_the_current_version(house: House) -> None:
    text = without_up(house, 2)
    down = next(house.directory.glob("000002_*.down.*"))
    kept = down.read_text()
    down.unlink()
    house.orch("apply")
    down.write_text(kept)
    told = house.orch("plan").output
    assert "version 2 has only a down file and is below the current version: nothing runs for it" in told
    house.orch("apply")
    assert house.status()["applied"] == [1, 3, 4]
    assert house.status()["problems"] == []
    down.with_name(down.name.replace(".down.", ".up.")).write_text(text)
    assert "pending below the current version" in house.orch("plan", code=None).output


def test_an_up_file_that_comes_later_is_told(house: House) -> None:
    text = without_up(house, 2)
    down = next(house.directory.glob("000002_*.down.*"))
    house.orch("apply")
    down.with_name(down.name.replace(".down.", ".up.")).write_text(text)
    assert "was added after version 2 was applied without an up file" in house.orch("apply", code=5).output
    house.orch("repair", house.id, "--accept", "2")
    house.orch("apply")


def test_an_up_file_that_is_gone_is_a_note(house: House) -> None:
    house.orch("apply")
    without_up(house, 2)
    assert "the up file of version 2 ('t2') is gone" in house.orch("plan").output
    assert house.status()["applied"] == [1, 2, 3, 4]
    house.orch("rollback", house.id, "--steps", "3", "--yes")
    assert house.tables() == [1]


def test_half_of_an_up_file_that_is_gone_is_no_version_without_one(mongo_house: House) -> None:
    """What its statements did is there, and the rest is not: it must not count as applied."""
    path = mongo_house.directory / "000003_t3.up.json"
    path.write_text(
        '[{"create": "t3"}, {"insert": "t1", "documents": [{"_id": 1}], "comment": {"orch": "no-transaction"}}]'
    )
    assert mongo_house.orch("apply", code=None).code != 0
    assert mongo_house.tables() == [1, 2, 3]
    path.unlink()
    assert "its file is gone" in mongo_house.orch("apply", code=5).output
    assert mongo_house.status()["applied"] == [1, 2]
