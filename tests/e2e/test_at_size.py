"""What people read of an estate of many databases: what is the same for many is said once, problems are seen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from estate import Estate
from test_bad_input import redirect

from orchestrator.events import Failure
from orchestrator.model import Direction
from orchestrator.planning.plan import DatabasePlan, Plan, Step
from orchestrator.views.graph_text import text as graph_text
from orchestrator.views.markdown import plan_markdown
from orchestrator.views.text import plan_text

NAMES = [f"db{number:02}" for number in range(12)]


def many(estate: Estate) -> Estate:
    """Twelve databases with the same work, each file with the name of its database in its own; all after the first."""
    lines = [f"  - {{name: {name}, server: postgres, depends_on: [db00]}}\n" for name in NAMES[1:]]
    estate.manifest(f"  - {{name: {NAMES[0]}, server: postgres}}\n" + "".join(lines))
    for name in NAMES:
        files: dict[str, str | bytes] = {
            f"000001_create_{name}_tables.up.sql": "CREATE TABLE items (id int);",
            f"000001_create_{name}_tables.down.sql": "DROP TABLE items;",
        }
        estate.write(f"postgres-{name}", files)
    return estate


def test_the_plan_folds_what_is_alike_and_shows_what_is_dangerous(pg_estate: Estate) -> None:
    many(pg_estate)
    pg_estate.orch("apply", "--only", "db07", "--no-deps")  # a database that the plan creates has nothing to lose
    pg_estate.write("postgres-db07", {"000002_drop.up.sql": "SELECT 1;\nDROP TABLE items;", "000002_drop.down.sql": ""})
    plan = pg_estate.orch("plan").stdout
    assert len(plan.splitlines()) < 12
    assert "11 databases: postgres-db00, postgres-db01, postgres-db02, postgres-db03, postgres-db04 and 6 more" in plan
    assert "    + 1 create_{database}_tables\n" in plan
    danger = (
        "      ! drops table items and what is in it: migrations/postgres-db07/schema/000002_drop.up.sql:2\n"
        "          DROP TABLE items\n"
    )
    assert "    + 2 drop\n" + danger in plan
    assert "1 risky statement (!)" in plan
    applied = pg_estate.orch("apply")
    assert danger in applied.stderr
    assert re.search(r"^postgres-db00 and 10 more +done +1 +1 +up to", applied.stdout, re.MULTILINE)
    assert "postgres-db03: done, 1 migration, at version 1\n" in applied.stderr
    lines = [line for line in applied.stderr.splitlines() if " took " not in line]
    assert len(lines) == len(plan.splitlines()) + 1 + len(NAMES) + 1, "a line a database"


def test_one_mistake_is_one_message(pg_estate: Estate) -> None:
    many(pg_estate)
    wrong = {"POSTGRES_PASSWORD": "wrong-one-1234"}
    user = pg_estate.servers["postgres"].user
    named = "12 databases: postgres-db00, postgres-db01, postgres-db02, postgres-db03, postgres-db04 and 7 more"
    for command in ("plan", "apply", "status"):
        result = pg_estate.orch(command, env=wrong, code=7)
        assert result.stderr.count("error:") == 1
        others = "" if command == "apply" else f"\n  {named}\n"  # there they are blocked by the first
        assert f"refuses the login of user '{user}'{others}" in result.stderr
        assert result.text.count("refuses the login") == 1
        if command != "status":
            assert len(result.text.splitlines()) < 12, result.text
    redirect(pg_estate, "postgres", "127.0.0.1:1")
    result = pg_estate.orch("apply", code=7)
    assert result.text.count("cannot connect to 127.0.0.1:1") == result.text.count("hint:") == 1
    assert "cannot be planned: postgres-db00, postgres-db01" in result.stderr
    assert len(result.text.splitlines()) < 12, result.text


def test_what_one_failure_blocks_is_one_line(pg_estate: Estate) -> None:
    many(pg_estate).write("postgres-db00", {"000001_create_db00_tables.up.sql": "SELECT * FROM nowhere;"})
    result = pg_estate.orch("apply", code=1)
    assert [line.split("  ")[0] for line in result.stdout.splitlines()] == [
        "DATABASE",
        "postgres-db01 and 10 more",
        "postgres-db00",
    ]
    assert "blocked by postgres-db00" in result.stdout
    assert result.stderr.endswith("s.\n") and "1 failed, 11 blocked in" in result.stderr


def estate_plan(count: int, changing: set[int]) -> Plan:
    step = Step(1, "one", Direction.UP, "1_one.up.sql", "", 1, atomic=True)
    return Plan(
        Direction.UP,
        tuple(
            DatabasePlan(
                f"postgres-{number}",
                "postgres",
                str(number),
                "h:1",
                (f"postgres-{number - 1}",) if number else (),
                steps=(step,) if number in changing else (),
            )
            for number in range(count)
        ),
    )


def test_a_large_graph_is_drawn_where_it_changes() -> None:
    drawn = plan_markdown(estate_plan(300, {7}), {})
    assert [f'"postgres-{number}"' in drawn for number in range(5, 10)] == [False, True, True, True, False]
    assert drawn.count("-->") == 2
    assert plan_markdown(estate_plan(30, {7}), {}).count("-->") == 29


def test_a_comment_tells_a_shared_failure_once() -> None:
    failure = Failure("unreachable", 7, "cannot connect", detail="refused", hint="is it up?")
    failing = [DatabasePlan(f"d{number}", "postgres", "d", "h:1", failure=failure) for number in range(9)]
    drawn = plan_markdown(Plan(Direction.UP, tuple(failing)), {})
    assert drawn.count("cannot connect") == 1
    assert "d0, d1, d2, d3, d4 and 4 more" in drawn


def test_a_note_says_whose_it_is() -> None:
    planned = DatabasePlan("postgres-a", "postgres", "a", "h:1", notes=("version 1 is now called x",))
    assert "postgres-a  (h:1/a)\n    note: version 1" in plan_text(Plan(Direction.UP, (planned,)), {})


def test_a_wave_is_counted_and_fits_a_terminal() -> None:
    names = [f"postgres-database-{number}" for number in range(300)]
    lines = graph_text(dict.fromkeys(names, ()), [names]).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].split()[:2] == ["1", "300"]


@pytest.mark.parametrize("failing", [False, True])
def test_status_ends_with_a_sentence_and_tells_the_last_try(pg_estate: Estate, failing: bool) -> None:
    pg_estate.add("postgres", "a", {"1_x.up.sql": "SELECT 1;"})
    pg_estate.add("postgres", "b", {"1_x.up.sql": "SELECT * FROM nowhere;" if failing else "SELECT 1;"})
    pg_estate.orch("apply", code=1 if failing else 0)
    status = pg_estate.orch("status").stdout
    assert status.splitlines()[-1] == ("1 up to date, 1 failed." if failing else "2 up to date.")
    assert ("postgres-b: the last try of version 1 failed" in status) is failing
    assert ('b/schema/1_x.up.sql:1:15: relation "nowhere" does not exist' in status) is failing


def test_status_counts_problems(pg_estate: Estate) -> None:
    many(pg_estate).orch("apply")
    file = "migrations/postgres-db05/schema/000001_create_db05_tables.up.sql"
    Path(pg_estate.root / file).write_text("CREATE TABLE other (id int);")
    status = pg_estate.orch("status", code=None).stdout.splitlines()
    assert status[-1] == "11 up to date, 1 with problems."
