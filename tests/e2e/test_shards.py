"""Several runs at the same time, each with a part of the databases, on a real server."""

from __future__ import annotations

import json
import re
import signal
import subprocess

import pytest
from estate import Estate

from orchestrator.errors import UsageError
from orchestrator.planning.shards import Shard, read_shard, shard_of, split

FILES = {
    "000001_a.up.sql": "CREATE TABLE a (id int); INSERT INTO a VALUES (1); SELECT pg_sleep(0.2);",
    "000001_a.down.sql": "DROP TABLE a;",
    "000002_b.up.sql": "INSERT INTO a VALUES (2);",
    "000002_b.down.sql": "DELETE FROM a WHERE id = 2;",
}


def test_a_database_belongs_to_one_shard_for_ever() -> None:
    assert [shard_of(f"postgres-tenant_{n}", 4) for n in range(8)] == [2, 1, 1, 0, 2, 1, 2, 2]
    needs: dict[str, tuple[str, ...]] = {"core": (), **{f"t{n}": ("core",) for n in range(40)}}
    needs |= {f"log{n}": (f"t{n}",) for n in range(40)}
    parts = [split(needs, Shard(index, 4)) for index in range(4)]
    assert sorted(id for mine, _ in parts for id in mine) == sorted(needs)
    for mine, awaited in parts:
        assert not set(mine) & set(awaited)
        for id in mine:  # every ancestor is here or is waited for
            assert {*needs[id], *(over for need in needs[id] for over in needs[need])} <= {*mine, *awaited}
    assert [Shard(index, 3).share(8) for index in range(3)] == [3, 3, 2]
    assert Shard(5, 8).share(4) == 1


def test_which_shard_this_is() -> None:
    assert read_shard("2/4", {}) == Shard(1, 4)
    assert read_shard("auto", {"JOB_COMPLETION_INDEX": "0", "ORCH_SHARDS": "4"}) == Shard(0, 4)
    assert read_shard("auto", {"CI_NODE_INDEX": "4", "CI_NODE_TOTAL": "4"}) == Shard(3, 4)
    gitlab = {"CI_NODE_INDEX": "2", "CI_NODE_TOTAL": "4"}
    assert read_shard("auto", {"JOB_COMPLETION_INDEX": "1", "ORCH_SHARDS": "4", **gitlab}) == Shard(1, 4)
    for text, env, told in (
        ("0/4", {}, "--shard 0/4: there is no shard 0 of 4"),
        ("5/4", {}, "shards count from 1 to 4"),
        ("x", {}, "is not I/N"),
        ("-1/4", {}, "is not I/N"),
        ("٢/٤", {}, "is not I/N"),
        ("1/0", {}, "from 1 to 10,000 shards"),
        ("auto", {}, "nothing says which shard this is"),
        ("auto", {"CI_NODE_INDEX": "1"}, "nothing says which shard this is"),
        ("auto", {"JOB_COMPLETION_INDEX": "1"}, "ORCH_SHARDS is not"),
        ("auto", {"JOB_COMPLETION_INDEX": "4", "ORCH_SHARDS": "4"}, "shards count from 0 to 3"),
        ("auto", {"CI_NODE_INDEX": "0", "CI_NODE_TOTAL": "4"}, "shards count from 1 to 4"),
        ("auto", {"CI_NODE_INDEX": "x", "CI_NODE_TOTAL": "4"}, "must be whole numbers"),
        ("auto", {"CI_NODE_INDEX": "1", "CI_NODE_TOTAL": ""}, "must be whole numbers"),
        (
            "auto",
            {"JOB_COMPLETION_INDEX": "0", "ORCH_SHARDS": "4", **gitlab},
            "this is shard 1/4 by JOB_COMPLETION_INDEX and ORCH_SHARDS, and 2/4 by CI_NODE_INDEX and CI_NODE_TOTAL",
        ),
    ):
        with pytest.raises(UsageError) as error:
            read_shard(text, env)
        assert told in f"{error.value.what} {error.value.hint}"


def estate_of(estate: Estate) -> list[str]:
    """Declare a core, ten tenants that need it, and a log for each of them; return their names."""
    estate.write("t", FILES)
    entry = (
        '  - {{name: "{0}_{{n}}", server: postgres, migrations: migrations/t/schema, for_each: {{range: 1..6}},'
        ' depends_on: ["{1}"]}}\n'
    )
    core = "  - {name: core, server: postgres, migrations: migrations/t/schema}\n"
    estate.manifest(core + entry.format("t", "core") + entry.format("log", "t_{n}"))
    return ["core", *(f"{kind}_{n}" for kind in ("t", "log") for n in range(1, 7))]


def test_four_shards_in_any_order_one_of_them_killed(pg_estate: Estate) -> None:
    estate = pg_estate
    names = estate_of(estate)
    first = shard_of("postgres-core", 4)  # the others wait for this one: it begins last, and is killed in the middle
    others = [index for index in range(4) if index != first]
    running = {index: estate.start("apply", "--shard", f"{index + 1}/4", "--output", "jsonl") for index in others}
    doomed = estate.start("apply", "--shard", f"{first + 1}/4", "--output", "jsonl")
    assert doomed.stdout is not None
    for line in doomed.stdout:
        if json.loads(line)["event"] == "StepStarted":
            break
    doomed.send_signal(signal.SIGKILL)
    doomed.communicate()
    running[first] = estate.start("apply", "--shard", f"{first + 1}/4", "--output", "jsonl")
    texts = {index: finished(process) for index, process in running.items()}
    assert {index: code for index, (code, _) in texts.items()} == dict.fromkeys(range(4), 0), texts
    for name in names:
        assert estate.sql(name, "SELECT id FROM a ORDER BY 1") == [(1,), (2,)]  # exactly once
        assert estate.sql(name, "SELECT count(*) FROM orch_history WHERE done") == [(2,)]
    done = [
        json.loads(line)["database"]
        for _, text in texts.values()
        for line in text.splitlines()
        if '"DatabaseFinished"' in line
    ]
    assert len(done) == len(set(done))
    assert "13 databases up to date" in estate.orch("apply").stderr


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=100)
    assert "Traceback" not in err
    return process.returncode, out


def test_what_another_shard_does_not_do(pg_estate: Estate) -> None:
    estate = pg_estate
    estate_of(estate)
    first = shard_of("postgres-core", 2)
    other = f"{2 - first}/2"
    with estate.start("apply", "--shard", other, "--output", "jsonl") as waiting:
        assert waiting.stdout is not None
        for line in waiting.stdout:
            if "waiting for another shard" in line:
                break
        estate.write("t", {"000001_a.up.sql": "SELECT 1/0;"})
        failed = estate.orch("apply", "--shard", f"{first + 1}/2", code=1)
        out, _ = waiting.communicate(timeout=60)
    assert "division by zero" in failed.stderr
    assert waiting.returncode == 8
    assert "is not migrated by its shard: version 1 failed in another shard" in out
    assert "DatabaseBlocked" in out


def test_a_saved_plan_is_divided_too(pg_estate: Estate) -> None:
    estate = pg_estate
    names = estate_of(estate)
    estate.orch("plan", "-o", "plan.json")
    runs = [estate.start("apply", "plan.json", "--shard", f"{index}/2") for index in (1, 2)]
    assert [finished(run)[0] for run in runs] == [0, 0]
    assert all(estate.sql(name, "SELECT count(*) FROM a") == [(2,)] for name in names)
    again = estate.orch("apply", "--shard", "1/2")
    assert "up to date" in again.stderr


def test_what_two_shards_left_behind_is_migrated_together(pg_estate: Estate) -> None:
    """Each has its own files, and the shards run one after the other: no run knows what the other one tried."""
    estate = pg_estate
    names = {shard_of(f"postgres-{name}", 2): name for name in ("a", "b", "c", "d", "e")}
    first, second = names[0], names[1]
    for name in (first, second):
        estate.add("postgres", name, {**FILES, "000002_b.up.sql": "SELECT 1/0"})
    estate.add("postgres", "after", FILES, depends_on=[first])  # it is blocked
    estate.add("postgres", "idle", FILES)
    estate.orch("apply", "--only", "idle")
    for shard in ("1/2", "2/2"):
        estate.orch("apply", "--shard", shard, "--exclude", "idle", code=None)
    estate.write("postgres-idle", {"000003_c.up.sql": "SELECT 1", "000003_c.down.sql": "SELECT 1"})
    for name in (first, second):
        estate.write(f"postgres-{name}", FILES)
    again = estate.orch("apply", "--failed")
    assert re.search(r"the last run \(\w{8}-1of2, \w{8}-2of2, .* UTC\) left 3 databases behind", again.stderr)
    assert {name: estate.version_row(name) for name in (first, second, "after", "idle")} == {
        name: [(2, False)] for name in (first, second, "after", "idle")
    }
    assert "left 0 databases behind" in estate.orch("apply", "--failed").stderr
