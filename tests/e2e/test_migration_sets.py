"""Several sets of migrations in one database, each with its own version table and its own history."""

from __future__ import annotations

import json

import pytest
from estate import Estate
from house import House

QUOTED = "x-migrations-table=%22app%22.%22zz%22&x-migrations-table-quoted=1"


def dsn(house: House, query: str) -> str:
    """Return the DSN of the house's database with these parameters, its password as a variable."""
    text = house.estate.server(house.engine).split('"')[1].replace("{database}", "db")
    return text + ("&" if "?" in text else "?") + query


def parameter(house: House, table: str) -> str:
    return f"x-migrations-{'table' if house.engine == 'postgres' else 'collection'}={table}"


def set_of(house: House, name: str, number: int) -> None:
    """Write a set of one migration, which makes t<number>."""
    suffix = "sql" if house.engine == "postgres" else "json"
    files = {
        f"{number:06d}_{name}.{way}.{suffix}": house.files[f"000001_t1.{way}.{suffix}"].replace("t1", f"t{number}")
        for way in ("up", "down")
    }
    house.estate.write(f"{house.engine}-{name}", dict(files))


def entry(house: House, name: str, table: str) -> str:
    return f'  - {{name: {name}, engine: {house.engine}, dsn: "{dsn(house, parameter(house, table))}"}}\n'


@pytest.fixture
def sets(house: House) -> House:
    """Two sets in one database; that of the house itself is written with the default names."""
    set_of(house, "a", 1)
    set_of(house, "b", 2)
    return house


def applied(house: House) -> dict[str, list[int]]:
    found = json.loads(house.orch("status", "--output", "json").output)
    return {database["name"]: database["applied"] for database in found["databases"]}


def test_two_sets_in_one_manifest(sets: House) -> None:
    house = sets
    house.estate.manifest(entry(house, "a", "a_versions") + entry(house, "b", "b_versions"))
    house.orch("apply")
    assert house.tables() == [1, 2]
    assert applied(house) == {"a": [1], "b": [2]}
    assert "Nothing to do" in house.orch("apply").output
    house.orch("rollback", f"{house.engine}-b", "--steps", "1", "--yes")
    assert applied(house) == {"a": [1], "b": []}
    assert house.tables() == [1]


def test_two_sets_in_two_manifests_and_a_third_with_the_default_name(sets: House) -> None:
    """The same entry, name and all, of two manifests: only the version table differs."""
    house = sets
    for name in ("a", "b"):
        house.estate.manifest(entry(house, name, f"{name}_versions"))
        house.orch("apply")
    house.estate.manifest(f"  - {{name: db, server: {house.engine}}}\n")
    house.orch("apply", code=1 if house.engine == "postgres" else None)  # its t1 is there already
    for name, number in (("a", 1), ("b", 2)):
        house.estate.manifest(entry(house, name, f"{name}_versions"))
        assert applied(house) == {name: [number]}
        assert "Nothing to do" in house.orch("apply").output


def test_a_history_of_an_earlier_release_stays_where_it_is(house: House) -> None:
    """Earlier releases called every history orch_history, whatever the version table is called."""
    house.orch("apply", "--only", house.id, "--to", "3")
    if house.engine == "postgres":
        house.estate.sql("db", "ALTER TABLE schema_migrations RENAME TO our_versions")
    else:
        house.estate.mongo("db")["schema_migrations"].rename("our_versions")
    house.estate.manifest(
        f'  - {{name: db, engine: {house.engine}, dsn: "{dsn(house, parameter(house, "our_versions"))}"}}\n'
    )
    assert house.status()["applied"] == [1, 2, 3]
    house.orch("apply")
    assert [r["origin"] for r in house.attempts()] == ["applied"] * 4
    if house.engine == "postgres":
        assert house.estate.sql("db", "SELECT count(*) FROM orch_history") == [(4,)]
    else:
        assert house.estate.mongo("db")["orch_history"].count_documents({}) == 4


def test_a_version_table_that_golang_migrate_keeps_has_no_part_in_another_sets_history(sets: House) -> None:
    house = sets
    house.orch("apply")  # the default set
    if house.engine == "postgres":
        house.estate.sql("db", "CREATE TABLE b_versions AS SELECT 2::bigint AS version, false AS dirty")
        house.estate.sql("db", "ALTER TABLE b_versions ADD PRIMARY KEY (version)")
    else:
        house.estate.mongo("db")["b_versions"].insert_one({"version": 2, "dirty": False})
    house.estate.manifest(entry(house, "b", "b_versions"))
    house.orch("apply")
    found = json.loads(house.orch("history", f"{house.engine}-b", "--output", "json").output)["attempts"]
    assert [(r["version"], r["name"], r["origin"]) for r in found] == [(2, "b", "adopted")]


# ---------------------------------------------------------------- a version table in a schema of its own


def test_a_quoted_version_table_is_where_the_dsn_says(new_house: House) -> None:
    house = new_house
    house.estate.sql("db", "CREATE SCHEMA app")
    house.estate.manifest(f'  - {{name: db, engine: postgres, dsn: "{dsn(house, QUOTED)}"}}\n')
    house.orch("apply")
    assert house.estate.sql("db", "SELECT version, dirty FROM app.zz") == [(1, False)]
    assert house.estate.sql("db", "SELECT version FROM app.orch_history_zz") == [(1,)]
    assert house.estate.sql("db", "SELECT to_regclass('public.schema_migrations')") == [(None,)]
    assert house.tables() == [1]
    assert house.status()["applied"] == [1]
    assert "Nothing to do" in house.orch("apply").output
    house.estate.write(house.id, {"000002_b.up.sql": "CREATE TABLE t2 (id int);"})
    house.orch("apply")
    assert house.estate.sql("db", "SELECT version FROM app.zz") == [(2,)]


def test_a_quoted_version_table_whose_schema_the_first_file_makes(new_house: House) -> None:
    house = new_house
    house.estate.write(house.id, {"000001_t1.up.sql": "CREATE SCHEMA app; CREATE TABLE t1 (id int);"})
    house.estate.manifest(f'  - {{name: db, engine: postgres, dsn: "{dsn(house, QUOTED)}"}}\n')
    house.orch("apply")
    assert house.estate.sql("db", "SELECT version FROM app.zz") == [(1,)]
    assert house.status()["applied"] == [1]


def test_a_quoted_version_table_that_is_not_quoted_is_refused(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_t.up.sql": "CREATE TABLE t (id int);"})
    path = pg_estate.root / "databases.yaml"
    path.write_text(
        path.read_text()
        .replace("{database}", "{database}?x-migrations-table=app.zz&x-migrations-table-quoted=1")
        .replace("1?sslmode", "1&sslmode")
    )
    assert "must be quoted" in pg_estate.orch("plan", code=4).text


OF_ANOTHER_SET = {
    "postgres": [
        "TRUNCATE a_versions;",
        "DELETE FROM orch_history_a_versions;",
        "CREATE TABLE more (); UPDATE a_versions SET version = 9;",
        "INSERT INTO a_versions VALUES (7, false);",
        "DROP TABLE a_versions;",
        "ALTER TABLE a_versions RENAME TO versions;",
        "ALTER TABLE a_versions RENAME COLUMN dirty TO unclean;",
        "ALTER TABLE orch_history_a_versions DROP COLUMN checksum;",
        "CREATE SCHEMA away; ALTER TABLE a_versions SET SCHEMA away;",
        "ALTER TABLE orch_history_a_versions ENABLE ROW LEVEL SECURITY;",
        "DO $$ DECLARE t text; BEGIN FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' "
        "AND tablename !~ 'b_versions' LOOP EXECUTE 'TRUNCATE ' || t; END LOOP; END $$;",
        "DO $$ BEGIN BEGIN DELETE FROM a_versions; EXCEPTION WHEN others THEN NULL; END; END $$;",
        "-- orch: no-transaction\nDELETE FROM a_versions;\nCREATE TABLE more ();\n",
    ],
    "mongo": [
        '[{"delete": "a_versions", "deletes": [{"q": {}, "limit": 0}]}]',
        '[{"drop": "orch_history_a_versions"}]',
        '[{"create": "more"}, {"update": "a_versions", "updates": [{"q": {}, "u": {"$set": {"version": 9}}}]}]',
        '[{"aggregate": "t2", "pipeline": [{"$out": "a_versions"}], "cursor": {}}]',
        '[{"mapReduce": "t2", "map": "function() {}", "reduce": "function() {}", "out": {"merge": "a_versions"}}]',
        '[{"cloneCollectionAsCapped": "t2", "toCollection": "a_versions", "size": 4096}]',
        '[{"collMod": "a_versions", "validator": {}}]',
        '[{"applyOps": [{"op": "c", "ns": "x.$cmd", "o": {"drop": "a_versions"}}]}]',
    ],
}
HARMLESS = {
    "postgres": "GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC; DO $$ DECLARE t text; BEGIN FOR t IN SELECT tablename "
    "FROM pg_tables WHERE schemaname = 'public' LOOP EXECUTE format('ALTER TABLE %I OWNER TO CURRENT_USER', t); END LOOP; "
    "END $$; CREATE TABLE looks AS SELECT * FROM a_versions; COMMENT ON TABLE a_versions IS 'of a';",
    "mongo": '[{"aggregate": "a_versions", "pipeline": [{"$match": {}}, {"$out": "looks"}], "cursor": {}}]',
}


def test_a_file_may_not_change_what_another_set_remembers(sets: House) -> None:
    """Not in the version table, nor in the history, by whatever means; nothing of the file stays."""
    house = sets
    house.estate.manifest(entry(house, "a", "a_versions") + entry(house, "b", "b_versions"))
    house.orch("apply")
    suffix = "sql" if house.engine == "postgres" else "json"
    for text in OF_ANOTHER_SET[house.engine]:
        house.estate.write(f"{house.engine}-b", {f"000003_bad.up.{suffix}": text})
        told = house.orch("apply", code=1).output
        assert f"000003_bad.up.{suffix}" in told, (text, told)
        assert "a_versions" in told, (text, told)
        assert applied(house) == {"a": [1], "b": [2]}, text
    house.estate.write(f"{house.engine}-b", {f"000003_bad.up.{suffix}": HARMLESS[house.engine]})
    house.orch("apply")
    assert applied(house) == {"a": [1], "b": [2, 3]}
