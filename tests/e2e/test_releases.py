"""Releases go back as well as forward, and no database is created by surprise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from estate import Estate
from house import House

# ---------------------------------------------------------------- an older image


@pytest.mark.parametrize("wanted", [[], ["--for", "db"], ["--for", "db@2"], ["--for", "db@4"]])
def test_wait_is_done_where_the_database_is_ahead_of_the_files(house: House, wanted: list[str]) -> None:
    house.orch("apply")
    for path in house.directory.glob("00000[34]*"):
        path.unlink()
    for command in (["status"], ["plan"], ["apply"], ["wait", *wanted, "--timeout", "20"]):
        house.orch(*command, code=0)


def test_wait_still_waits_for_what_is_not_applied(house: House) -> None:
    house.orch("apply", "--only", house.id, "--to", "3")
    (house.directory / next(path.name for path in house.directory.glob("000002*.up.*"))).unlink()
    for path in house.directory.glob("000002*"):
        path.unlink()
    assert "1 pending" in house.orch("wait", "--timeout", "1", code=8).output
    house.orch("wait", "--for", "db@3", "--timeout", "1")
    house.orch("wait", "--for", "db@9", "--timeout", "1", code=2)


# ---------------------------------------------------------------- create: never


@pytest.mark.parametrize("place", ["defaults", "server", "database", "option"])
def test_a_missing_database_is_an_error_where_none_is_created(estate: Estate, place: str) -> None:
    entry = ", create: never" if place == "database" else ""
    estate.manifest(
        "".join(f"  - {{name: new, server: {engine}{entry}}}\n" for engine in estate.servers),
        "defaults: {create: never}\n" if place == "defaults" else "",
    )
    if place == "server":
        path = estate.root / "databases.yaml"
        path.write_text(path.read_text().replace('"}\n', '", create: never}\n'))
    estate.write("postgres-new", {"1_a.up.sql": "CREATE TABLE a (id int);"})
    estate.write("mongo-new", {"1_a.up.json": '[{"create": "a"}]'})
    before = estate.snapshot()
    options = ["--no-create"] if place == "option" else []
    for command in ("apply", "plan"):
        told = estate.orch(command, *options, code=7).text
        for engine in estate.servers:
            assert f"{engine}-new: database '{estate.prefix}new' does not exist" in told
    assert estate.snapshot() == before
    if place != "option":
        status = estate.orch("status", "--output", "json", code=7).json["databases"]
        assert [(one["exists"], one["problems"][0]["kind"]) for one in status] == [(False, "database_missing")] * 2
        try:
            estate.orch("apply", "--embedded", "--only", "postgres-new", code=None)
        finally:
            estate.orch("dev", "down", "--delete")


def test_a_database_can_lift_what_its_server_says_of_creation(pg_estate: Estate) -> None:
    pg_estate.manifest("  - {name: new, server: postgres, create: if_missing}\n", "defaults: {create: never}\n")
    pg_estate.write("postgres-new", {"1_a.up.sql": "CREATE TABLE a (id int);"})
    pg_estate.orch("apply")
    assert pg_estate.tables("new") == {"a"}


def test_a_saved_plan_creates_nothing_where_the_manifest_forbids_it(pg_estate: Estate) -> None:
    pg_estate.manifest("  - {name: new, server: postgres}\n")
    pg_estate.write("postgres-new", {"1_a.up.sql": "CREATE TABLE a (id int);"})
    pg_estate.orch("plan", "-o", "plan.json")
    pg_estate.manifest("  - {name: new, server: postgres, create: never}\n")
    before = pg_estate.snapshot()
    assert "must not be created" in pg_estate.orch("apply", "plan.json", code=7).text
    assert "must not be created" in pg_estate.orch("apply", "plan.json", "--no-create", code=7).text
    told = pg_estate.orch("repair", "--here", code=7).stderr
    assert "must not be created" in told
    assert "creates it" not in told
    assert "postgres-new: postgres-new" not in pg_estate.orch("status", code=7).text
    assert pg_estate.snapshot() == before


def test_an_existing_database_is_migrated_where_none_is_created(house: House) -> None:
    if house.engine == "mongo":
        house.estate.mongo("db")["there"].insert_one({})
    house.orch("apply", "--no-create")
    assert house.version_row() == (4, False)


@pytest.mark.parametrize("value", ["always", "[never]", "3"])
def test_a_wrong_value_of_create_is_told(pg_estate: Estate, value: str) -> None:
    pg_estate.manifest(f"  - {{name: new, server: postgres, create: {value}}}\n")
    pg_estate.write("postgres-new", {})
    told = pg_estate.orch("validate", code=4).text
    assert "databases.yaml:" in told
    assert "'create' of database 'new'" in told


def test_a_scratch_database_is_created_all_the_same(pg_estate: Estate) -> None:
    files = {"1_a.up.sql": "CREATE TABLE a (id int);", "1_a.down.sql": "DROP TABLE a;"}
    pg_estate.add("postgres", "new", files, create="never")
    pg_estate.orch("verify")


# ---------------------------------------------------------------- server and database are shown


def test_status_and_plan_show_server_and_database(estate: Estate) -> None:
    for engine, file in (("postgres", {"1_a.up.sql": "SELECT 1;"}), ("mongo", {"1_a.up.json": '[{"create": "a"}]'})):
        estate.add(engine, "shown", file)
    places = [f"127.0.0.1:{server.port}/{estate.prefix}shown" for server in estate.servers.values()]
    for command in ("status", "plan"):
        told = estate.orch(command).stdout
        assert all(place in told for place in places)
    for one in estate.orch("status", "--output", "json").json["databases"]:
        assert f"{one['endpoint']}/{one['database']}" in places
    for one in estate.orch("plan", "--output", "json").json["databases"]:
        assert f"{one['endpoint']}/{one['name']}" in places


# ---------------------------------------------------------------- late versions, once


def late(house: House) -> None:
    second = {path: path.read_bytes() for path in house.directory.glob("000002*")}
    for path in second:
        path.unlink()
    house.orch("apply")
    for path, text in second.items():
        path.write_bytes(text)


def test_late_versions_are_permitted_once(house: House) -> None:
    late(house)
    assert "--allow-out-of-order" in house.orch("apply", code=5).output
    told = house.orch("plan", "--allow-out-of-order").output
    assert "[out of order: later versions are already applied]" in told
    house.orch("plan", code=5)
    house.orch("apply", "--allow-out-of-order")
    assert house.tables() == [1, 2, 3, 4]
    assert house.version_row() == (4, False)
    house.orch("status")


def test_a_saved_plan_keeps_the_permission(house: House) -> None:
    late(house)
    house.orch("plan", "--allow-out-of-order", "-o", "plan.json")
    plan = json.loads(Path(house.estate.root / "plan.json").read_text())
    assert [step["late"] for step in plan["databases"][0]["steps"]] == [True]
    assert "orch plan --allow-out-of-order" in house.orch("apply", "plan.json", "--allow-out-of-order", code=2).output
    house.orch("apply", "plan.json")
    assert house.tables() == [1, 2, 3, 4]
