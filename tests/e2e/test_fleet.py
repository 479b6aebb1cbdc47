"""Fleets on real servers: one entry of the manifest, many databases."""

from __future__ import annotations

import json

from estate import Estate

TENANT = {
    "000001_a.up.sql": "CREATE TABLE a (id int);",
    "000001_a.down.sql": "DROP TABLE a;",
}
CORE = {
    "000001_tenants.up.sql": "CREATE TABLE tenants (slug text, region text);"
    "INSERT INTO tenants VALUES ('acme', 'eu'), ('glo\"bex', 'us');",
    "000001_tenants.down.sql": "DROP TABLE tenants;",
}
ODD = ["a'b", 'a"; DROP TABLE x; --', "a/../b", "a@h?x", "ลูกค้า"]


def fleet(estate: Estate, for_each: str, more: str = "", engine: str = "postgres") -> None:
    """Declare a fleet `t_{tenant}` whose files are those of `postgres-t`."""
    estate.manifest(
        f'  - {{name: "t_{{tenant}}", server: {engine}, migrations: migrations/t/schema, for_each: {for_each}}}\n{more}'
    )


def ids(plan: str) -> list[str]:
    return [one["id"] for one in json.loads(plan)["databases"]]


def test_a_fleet_from_values_goes_through_all_commands(pg_estate: Estate) -> None:
    estate = pg_estate
    estate.write("t", TENANT)
    (estate.root / "t.json").write_text(json.dumps(["acme", *ODD]))
    fleet(estate, "{file: t.json}")
    assert "6 databases, 2 migration files" in estate.orch("validate").stdout
    assert "1 file of 6 databases" in estate.orch("lint").stdout
    made = estate.orch("plan", "-o", "plan.json")
    assert "6 to create" in made.stdout
    estate.orch("apply", "plan.json")
    for name in ("acme", *ODD):
        assert "a" in estate.tables(f"t_{name}")
    assert estate.orch("apply").stderr.strip().endswith("Nothing to do: 6 databases up to date.")
    estate.orch("rollback", "t_acme", "--steps", "1", "--yes")
    status = {one["id"]: one["version"] for one in estate.orch("status", "--output", "json").json["databases"]}
    assert status == {"postgres-t_acme": None, **{f"postgres-t_{name}": 1 for name in ODD}}


def test_what_vanished_from_the_source_is_told_and_left_alone(pg_estate: Estate) -> None:
    estate = pg_estate
    estate.write("t", TENANT)
    (estate.root / "t.txt").write_text("acme\nglobex\n")
    fleet(estate, "{file: t.txt}")
    estate.orch("plan", "-o", "plan.json")
    estate.orch("apply")
    (estate.root / "t.txt").write_text("acme\n")
    vanished = f"'{estate.prefix}t_globex'"
    for command in (["plan"], ["apply"], ["status"]):
        assert vanished in estate.orch(*command).stderr
    assert "a" in estate.tables("t_globex")
    refused = estate.orch("apply", "plan.json", code=5)
    assert "postgres-t_globex is in the plan, and is no database of the manifest" in refused.stderr
    (estate.root / "t.txt").write_text("# nobody\n")
    empty = estate.orch("apply")
    assert "t.txt has no rows, so this fleet has no members" in empty.stderr
    assert "0 databases up to date" in empty.stderr


def test_members_that_a_query_tells(pg_estate: Estate) -> None:
    estate = pg_estate
    estate.write("t", TENANT)
    estate.write("core", CORE)
    estate.write("report", TENANT)
    query = (
        '{query: "SELECT slug, region FROM tenants ORDER BY 1", database: core, column: slug}, labels: ["in-{region}"]'
    )
    core = "  - {name: core, server: postgres, migrations: migrations/core/schema}\n"
    report = "  - {name: report, server: postgres, migrations: migrations/report/schema, depends_on: [t_acme]}\n"
    fleet(estate, query, core + report)
    assert (
        "3 databases, 6 migration files" in estate.orch("validate").stdout
    )  # the fleet counts as one: nobody was asked
    assert "t_{tenant}" in estate.orch("graph").stdout
    planned = estate.orch("plan", "--output", "json")
    assert ids(planned.stdout) == ["postgres-core"]  # not the report either: it needs a member
    (unknown, _) = planned.json["not_known"]
    assert "t_{tenant}: its members are not known yet" in unknown
    assert "its members are not known yet: postgres-core, which tells them, does not exist" in planned.stderr
    assert "postgres-report depends on members that are not known yet" in planned.stderr
    first = estate.orch("apply", code=8)
    assert "next: orch apply" in first.stderr
    assert ids(estate.orch("plan", "--output", "json").stdout) == [
        "postgres-core",
        "postgres-t_acme",
        'postgres-t_glo"bex',
        "postgres-report",
    ]
    estate.orch("plan", "-o", "plan.json")
    estate.sql("core", "INSERT INTO tenants VALUES ('new', 'eu')")
    estate.orch("apply", "plan.json")  # frozen: the new one is no part of it
    assert "1 to create" in estate.orch("plan").stdout
    estate.orch("apply", "--only", "label:in-eu")
    assert "a" in estate.tables("t_new")
    before = estate.snapshot()
    estate.sql("core", "INSERT INTO tenants VALUES ('new', 'us')")
    assert "select distinct" in estate.orch("plan", code=4).stderr
    fleet(estate, '{query: "DELETE FROM tenants RETURNING slug", database: core}', core)
    refused = estate.orch("apply", code=4)
    assert "the query of the fleet t_{tenant} failed on postgres-core" in refused.stderr
    assert "databases.yaml:5:" in refused.stderr
    fleet(estate, '{query: "SELECT slug FROM tenants; DROP TABLE tenants", database: core}', core)
    assert "must be one statement" in estate.orch("plan", code=4).stderr
    fleet(estate, "{query: \"SELECT nextval('s')::text AS slug\", database: core}", core)
    estate.sql("core", "CREATE SEQUENCE s")
    assert "read-only transaction" in estate.orch("plan", code=4).stderr
    estate.orch("status", "--only", "core")  # nobody needs the members
    estate.sql("core", "DROP SEQUENCE s")
    estate.sql("core", "DELETE FROM tenants WHERE slug = 'new' AND region = 'us'")
    assert estate.snapshot() == before


def test_members_in_mongodb(mongo_estate: Estate) -> None:
    estate = mongo_estate
    estate.write("t", {"000001_a.up.json": '[{"create": "a"}]', "000001_a.down.json": '[{"drop": "a"}]'})
    estate.write(
        "core",
        {
            "000001_t.up.json": '[{"insert": "tenants", "documents": [{"slug": "acme"}, {"slug": "globex"}]}]',
            "000001_t.down.json": '[{"drop": "tenants"}]',
        },
    )
    core = "  - {name: core, server: mongo, migrations: migrations/core/schema}\n"
    query = json.dumps('{"find": "tenants", "filter": {}, "sort": {"slug": 1}}')
    fleet(estate, f"{{query: {query}, database: core}}", core, "mongo")
    estate.orch("apply", code=8)
    estate.orch("apply")
    assert set(estate.mongo("t_acme").list_collection_names()) >= {"a"}
    assert set(estate.mongo("t_globex").list_collection_names()) >= {"a"}
    odd = json.dumps('{"find": "tenants", "min": {"slug": "b"}}')  # an option that would change which members there are
    fleet(estate, f"{{query: {odd}, database: core}}", core, "mongo")
    assert "the query of a fleet cannot have 'min'" in estate.orch("plan", code=4).stderr
    same = '{"find": "tenants", "filter": {"slug": "ACME"}, "collation": {"locale": "en", "strength": 2}}'
    fleet(estate, f"{{query: {json.dumps(same)}, database: core, column: slug}}", core, "mongo")
    assert ids(estate.orch("plan", "--output", "json").stdout) == ["mongo-core", "mongo-t_acme"]
    writing = json.dumps('{"aggregate": "tenants", "pipeline": [{"$out": "gone"}]}')
    fleet(estate, f"{{query: {writing}, database: core}}", core, "mongo")
    assert "only reads" in estate.orch("plan", code=4).stderr


def test_the_files_of_a_fleet_are_written_and_verified_once(pg_estate: Estate) -> None:
    """A fleet is named as a whole by `new`, `verify`, `wait`; of its members, which share their files, one is verified."""
    estate = pg_estate
    estate.write("t", TENANT)
    fleet(estate, "{range: 1..12}")
    made = estate.orch("new", "t_{tenant}", "add_b")
    assert "orch apply --only group:t" in made.stderr
    for direction in ("up", "down"):
        (estate.root / f"migrations/t/schema/000002_add_b.{direction}.sql").write_text("SELECT 1;")
    verified = estate.orch("verify", "--output", "json")
    assert [one["id"] for one in verified.json["databases"]] == ["postgres-t_1"]
    assert "t_{tenant}: postgres-t_1 is verified; 11 other members have the same files" in verified.stderr
    assert "postgres-t_7  verified" in estate.orch("verify", "t_7").stdout
    waited = estate.orch("wait", "--for", "group:t", "--timeout", "0", code=8)
    members = ", ".join(f"postgres-t_{number}" for number in range(1, 6))
    assert f"{members} and 7 more: does not exist yet" in waited.stderr
    estate.orch("apply", "--only", "t_{tenant}")
    assert estate.orch("wait", "--for", "group:t@2", "--for", "t_1@1").stdout.count("is migrated") == 12
    estate.orch("rollback", "t_1", "--to", "1", "--yes")
    estate.orch("wait", "--for", "group:t@2", "--for", "t_1@1", "--timeout", "0", code=8)
    assert "orch verify group:t" in estate.orch("squash", "t_{tenant}", "--to", "2").stderr
    asked = estate.orch("add-db", "u_{tenant}", code=2)
    assert "write an entry with for_each" in asked.stderr


def test_what_failed_in_a_fleet_is_one_command_away(pg_estate: Estate) -> None:
    estate = pg_estate
    estate.write("t", TENANT)
    fleet(estate, "{range: 1..3}")
    estate.orch("apply")
    estate.sql("t_2", "INSERT INTO a VALUES (1), (1)")
    (estate.root / "migrations/t/schema/000002_b.up.sql").write_text("CREATE UNIQUE INDEX i ON a (id);")
    assert "When the cause is corrected: orch apply --failed" in estate.orch("apply", code=1).stderr
    assert "apply --failed" not in estate.orch("apply", code=1).stderr, "it would not do less"
