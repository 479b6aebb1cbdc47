"""`orch plan --out` and `orch apply plan.json`: exactly what was planned is done, and nothing else."""

from __future__ import annotations

import json

import pytest
from estate import Estate

ONE = {"000001_one.up.sql": "CREATE TABLE one (id int);", "000001_one.down.sql": "DROP TABLE one;"}
TWO = {"000002_two.up.sql": "CREATE TABLE two (id int);", "000002_two.down.sql": "DROP TABLE two;"}


# ---------------------------------------------------------------- plans


def test_plan_exit_code(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    assert "1 to create, 1 migration to run" in pg_estate.orch("plan").stdout
    pg_estate.orch("plan", "--exit-code", code=3)
    pg_estate.orch("apply")
    pg_estate.orch("plan", "--exit-code", code=0)


def test_a_saved_plan_does_what_it_says(estate: Estate) -> None:
    estate.add("postgres", "a", ONE | TWO)
    estate.add("mongo", "m", {"1_c.up.js": '[{"create": "c"}]', "1_c.down.js": '[{"drop": "c"}]'})
    estate.orch("plan", "-o", "plan.json")
    saved = (estate.root / "plan.json").read_text()
    for server in estate.servers.values():
        assert server.password not in saved
    estate.write("postgres-a", {"000003_three.up.sql": "CREATE TABLE three (id int)"})
    estate.orch("apply", "plan.json")
    assert estate.tables("a") == {"one", "two"}
    assert estate.orch("apply", "plan.json").code == 0, "what is done as planned is done"
    estate.orch("apply", "plan.json", "--only", "a", code=2)


def test_a_stale_plan_stops_its_database_only(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE | TWO)
    pg_estate.add("postgres", "b", ONE)
    pg_estate.orch("apply", "--only", "a", "--to", "1")
    pg_estate.orch("plan", "-o", "plan.json")
    pg_estate.orch("rollback", "a", "--steps", "1", "--yes")
    result = pg_estate.orch("apply", "plan.json", code=5)
    assert "postgres-a changed after the plan was made" in result.stderr
    assert pg_estate.tables("a") == set()
    assert pg_estate.tables("b") == {"one"}


def test_a_file_that_changed_after_the_plan(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    pg_estate.orch("plan", "-o", "plan.json")
    pg_estate.write("postgres-a", {"000001_one.up.sql": "CREATE TABLE other (id int);"})
    result = pg_estate.orch("apply", "plan.json", code=5)
    assert "000001_one.up.sql changed after the plan was made" in result.stderr
    assert pg_estate.snapshot() == {}


@pytest.mark.parametrize("moved", ["HOST", "PREFIX"])
def test_a_plan_for_another_server_or_database_is_refused(pg_estate: Estate, moved: str) -> None:
    """The environment alone tells them apart: neither files nor manifest changed."""
    pg_estate.add("postgres", "a", ONE)
    pg_estate.add("postgres", "b", ONE, depends_on=["a"])
    manifest, prefix = pg_estate.root / "databases.yaml", pg_estate.prefix
    manifest.write_text(manifest.read_text().replace("127.0.0.1", "${HOST}").replace(f"/{prefix}", "/${PREFIX}"))
    there = {"HOST": "127.0.0.1", "PREFIX": prefix}
    here = there | {moved: {"HOST": "localhost", "PREFIX": f"{prefix}other_"}[moved]}
    pg_estate.orch("plan", "-o", "plan.json", env=there)
    refused = pg_estate.orch("apply", "plan.json", code=5, env=here)
    assert "the plan of postgres-a is for postgres" in refused.stderr
    assert here[moved] in refused.stderr and there[moved] in refused.stderr
    assert "make the plan where it is applied" in refused.stderr
    assert "create the database" not in refused.stderr, "what is shown is what happens"
    assert pg_estate.snapshot() == {}


def test_a_plan_for_other_databases_leaves_the_rest(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    pg_estate.add("postgres", "b", ONE)
    pg_estate.orch("plan", "-o", "plan.json")
    plan = json.loads((pg_estate.root / "plan.json").read_text())
    plan["databases"][0]["endpoint"] = "elsewhere:5432"
    (pg_estate.root / "plan.json").write_text(json.dumps(plan))
    (failed, done) = pg_estate.orch("apply", "plan.json", "--output", "json", code=5).json["databases"]
    assert (failed["result"], failed["error"]["kind"], done["result"]) == ("failed", "stale_plan", "done")
    assert set(pg_estate.snapshot()) == {"postgres-b"}


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (["databases", 1, "id"], "postgres-a", "twice"),
        (["databases", 0, "depends_on"], ["postgres-b"], "depends on postgres-b, which comes later"),
        (["databases", 1, "depends_on"], ["postgres-x"], "depends on postgres-x, which is not in it"),
        (["databases", 0, "steps", 0, "direction"], "down", "does not go up"),
        (["databases", 0, "steps", 0, "version"], 1.0, "is not of type 'integer'"),
        (["databases", 0, "steps", 0, "version"], "1", "is not of type 'integer'"),
        (["databases", 0, "steps"], {}, "is not of type 'array'"),
        (["databases", 0, "force"], True, "'force' was unexpected"),
        (["databases", 0, "failure"], {}, "failure"),
        (["databases", 0, "failure"], {"kind": "x", "exit_code": 0, "what": "x"}, "failure"),
        (["databases"], "x" * 100_000, "is not of type 'array'"),
        (["direction"], "sideways", "is not one of"),
    ],
)
def test_a_plan_that_contradicts_itself(pg_estate: Estate, path: list[str | int], value: object, said: str) -> None:
    pg_estate.add("postgres", "a", ONE)
    pg_estate.add("postgres", "b", ONE, depends_on=["a"])
    pg_estate.orch("plan", "-o", "plan.json")
    plan = json.loads((pg_estate.root / "plan.json").read_text())
    place = plan
    for key in path[:-1]:
        place = place[key]
    if path[-1] == "failure" and isinstance(value, dict) and value:
        value = {"where": "", "detail": "", "hint": "", "code": "", **value}
        said = "exit code 0"
    place[path[-1]] = value
    (pg_estate.root / "plan.json").write_text(json.dumps(plan))
    refused = pg_estate.orch("apply", "plan.json", code=4)
    assert "plan.json is not a plan" in refused.stderr and said in refused.stderr
    assert len(refused.stderr) < 2_000 and "fault in orch" not in refused.stderr
    assert pg_estate.snapshot() == {}


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"format": 99}', '{"format": 2, "databases": [1]}', "[" * 100_000, "\u00ff".encode("latin-1")],
)
def test_a_plan_that_is_none(pg_estate: Estate, text: str | bytes) -> None:
    pg_estate.add("postgres", "a", ONE)
    (pg_estate.root / "plan.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    refused = pg_estate.orch("apply", "plan.json", code=4)
    assert "plan.json" in refused.stderr and "fault in orch" not in refused.stderr


def test_a_plan_of_an_older_format_is_refused_with_what_to_do(pg_estate: Estate) -> None:
    """Format 1 called the field `version_row_stale` by another name."""
    pg_estate.add("postgres", "a", ONE)
    pg_estate.orch("plan", "-o", "plan.json")
    plan = json.loads((pg_estate.root / "plan.json").read_text())
    assert plan["format"] == 2 and "version_row_stale" in plan["databases"][0]
    (pg_estate.root / "plan.json").write_text(json.dumps({**plan, "format": 1}))
    refused = pg_estate.orch("apply", "plan.json", code=4)
    assert "plan.json has format 1, and this version of orch reads plans of format 2" in refused.stderr
    assert "make the plan again: orch plan -o FILE" in refused.stderr
    assert pg_estate.snapshot() == {}


def test_a_plan_for_a_database_that_is_no_longer_declared(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    pg_estate.orch("plan", "-o", "plan.json")
    (pg_estate.root / "databases.yaml").write_text(
        (pg_estate.root / "databases.yaml").read_text().replace('"a"', '"b"')
    )
    pg_estate.write("postgres-b", ONE)
    pg_estate.orch("apply", "plan.json", code=2)
    assert pg_estate.snapshot() == {}
