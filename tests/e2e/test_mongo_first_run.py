"""The first run on a MongoDB database that has other collections, killed at each command: the next run goes on by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from estate import Estate, Figure, start
from house import House
from kill import Forge
from schema_snapshot import mongo_picture


@pytest.fixture(params=["mongod", "standalone", "secantus"])
def lived_in(request: pytest.FixtureRequest, tmp_path: Path, forge: Forge) -> Iterator[House]:
    """A database with a collection that is not of orch. One of the files cannot be one transaction."""
    name = request.param
    server = request.getfixturevalue(name) if name == "standalone" else start(name)
    house = House(Estate(tmp_path, {"mongo": server}), forge, "mongo")
    piecewise = '[{"create": "old", "capped": true, "size": 4096}, {"insert": "t1", "documents": [{"_id": 1}]}]'
    house.estate.write(house.id, {"000001_t1.up.json": piecewise})
    yield house
    house.estate.drop()


def begin(house: House) -> None:
    house.estate.client().drop_database(house.estate.prefix + "db")
    house.estate.mongo("db")["theirs"].insert_one({"_id": 1})


def picture(house: House) -> dict[str, Any]:
    found = mongo_picture(house.estate.client(), house.estate.prefix + "db")
    found.pop("migrate_advisory_lock")  # the document of a killed run stays until another run needs it
    return dict(found)


def undisturbed(house: House) -> dict[str, Any]:
    begin(house)
    house.orch("apply")
    return picture(house)


def kill_and_go_on(house: House, label: str, number: int, expected: dict[str, Any]) -> bool:
    """Kill the first run at this point and run once more. Return whether it came past the point at all."""
    begin(house)
    run = house.forge.run(["apply"], house.estate.root, house.estate.env, kill_at=number, label=label)
    told = f"killed at point {number} {label}\n{run.output}"
    assert run.code is None or run.code == 0, told
    assert "emptied" not in [problem["kind"] for problem in house.status()["problems"]], told
    house.orch("apply")
    assert picture(house) == expected, told
    return run.code is None


def test_a_killed_first_run_is_never_taken_for_an_emptied_history(lived_in: House) -> None:
    house = lived_in
    expected = undisturbed(house)
    assert kill_and_go_on(house, "after Records.create_store", 1, expected)
    for name in ("schema_migrations", "orch_history"):
        house.estate.mongo("db")[name].delete_many({})
    assert house.status()["problems"][0]["kind"] == "emptied"
    house.orch("apply", code=5)


def test_a_history_that_was_only_begun_is_no_attempt(mongo_house: House) -> None:
    """Other files may come before the next run, or golang-migrate: what was begun says nothing about either."""
    house = mongo_house
    begin(house)
    house.kill("after Records.create_store", 1, "apply")
    assert house.attempts() == []
    assert "no history" in house.orch("plan").output, "as in a database that no run has seen"
    house.orch("unlock", house.id, "--yes")
    for file in house.directory.glob("00000[12]_*"):
        file.unlink()
    house.golang.up()
    house.orch("apply")
    assert [(one["version"], one["attempt"], one["origin"]) for one in house.attempts()] == [
        (3, 1, "adopted"), (4, 1, "adopted")
    ]  # fmt: skip


@pytest.mark.soak
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_first_run_that_is_killed_at_any_command(lived_in: House, moment: str, figure: Figure) -> None:
    house = lived_in
    expected = undisturbed(house)
    number, tried, lost = 1, 0, []
    while True:
        try:
            if not kill_and_go_on(house, f"{moment} Connection.command", number, expected):
                break
        except AssertionError as error:
            lost.append(str(error))
        tried += 1
        number += int(os.environ.get("ORCH_SOAK_EVERY", "1"))
    server = house.estate.servers["mongo"].product
    figure(f"kills {moment} each command of a first run on {server}", tried=tried, lost=len(lost))
    assert not lost, lost[0]
