"""Schema snapshots beside a history that changed in other ways than by a migration of orch: what was changed stays told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from estate import Estate, start


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    servers = {"postgres": start("postgres-wheel"), "mongo": start("mongod")}
    estate = Estate(tmp_path_factory.mktemp("beside"), servers)
    yield estate
    estate.drop()


@pytest.mark.parametrize("engine", ["postgres", "mongo"])
def test_a_run_that_restores_a_lost_version_table_forgets_no_change_by_hand(estate: Estate, engine: str) -> None:
    sql = engine == "postgres"
    first, second = ("CREATE TABLE a ();", "CREATE TABLE b ();") if sql else ('[{"create": "a"}]', '[{"create": "b"}]')
    end = "sql" if sql else "json"
    name = f"lost_{engine}"
    id = f"{engine}-{name}"
    estate.add(engine, name, {f"1_a.up.{end}": first}, drift="refuse")
    estate.orch("apply", "--only", id)

    def lose() -> None:
        if sql:
            estate.sql(name, "DROP TABLE schema_migrations")
        else:
            estate.mongo(name).schema_migrations.drop()

    if sql:
        estate.sql(name, "CREATE TABLE by_hand ()")
    else:
        estate.mongo(name).create_collection("by_hand")
    told = f"extra: {'table' if sql else 'collection'} by_hand"
    lose()
    assert told in estate.orch("drift", id, "--kept", code=3).stdout, "a lost version table is no other history"
    estate.orch("apply", "--only", id)
    assert estate.status(id)["problems"] == []
    assert told in estate.orch("drift", id, "--kept", code=3).stdout
    # Lost again, and with a migration to run: it is refused all the same.
    lose()
    estate.write(id, {f"2_b.up.{end}": second})
    assert "somebody changed the schema" in estate.orch("apply", "--only", id, code=5).text
    estate.orch("drift", id, "--accept")
    estate.orch("apply", "--only", id)
    assert estate.status(id)["applied"] == [1, 2]


def test_what_golang_migrate_ran_is_unknown_and_said_where_nothing_else_is_to_do(estate: Estate) -> None:
    estate.add(
        "postgres", "golang", {"1_a.up.sql": "CREATE TABLE a ();", "2_b.up.sql": "CREATE TABLE b ();"}, drift="warn"
    )
    estate.orch("apply", "--only", "golang", "--to", "1")
    estate.sql("golang", "CREATE TABLE b (); CREATE TABLE by_hand (); UPDATE schema_migrations SET version = 2")
    told = estate.orch("apply", "--only", "golang").text
    assert "drift is unknown: migrations ran since, without a schema snapshot being kept; from here on" in told
    assert "1 without" in estate.orch("drift", "golang", "--kept").stdout
