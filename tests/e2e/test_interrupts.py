"""Ctrl-C and SIGTERM: the first lets running migrations finish, the second cancels them."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import Any

import pytest
from estate import ORCH, Estate
from gate import closed_gate, interrupted
from processes import end, sleepers, until

pytestmark = pytest.mark.timing

ONE = {"000001_one.up.sql": "CREATE TABLE one (id int);", "000001_one.down.sql": "DROP TABLE one;"}
TWO = {"000002_two.up.sql": "CREATE TABLE two (id int);", "000002_two.down.sql": "DROP TABLE two;"}


# ---------------------------------------------------------------- signals


def test_the_first_interrupt_lets_what_runs_finish_and_starts_nothing_new(pg_estate: Estate) -> None:
    with closed_gate(pg_estate.servers["postgres"]) as gate:
        slow = "CREATE TABLE slow (id int);\n" + gate.sql
        pg_estate.add("postgres", "a", {"1_slow.up.sql": slow, **TWO})
        pg_estate.add("postgres", "b", ONE, depends_on=["a"])
        with pg_estate.start("apply") as process:
            until(lambda: sleepers(pg_estate.servers["postgres"], gate.name))
            said = interrupted(process)
            gate.open()
            code, _, err = end(process)
        err = said + err
        assert code == 130, err
        assert "Stopping after the running migrations." in err
        assert pg_estate.tables("a") == {"slow"}
        assert pg_estate.version_row("a") == [(1, False)]
        assert "postgres-b" not in pg_estate.snapshot()
        pg_estate.orch("apply")
        assert pg_estate.tables("a") == {"slow", "two"}


def test_what_waits_for_one_that_was_stopped_is_not_done_and_not_blocked(pg_estate: Estate) -> None:
    with closed_gate(pg_estate.servers["postgres"]) as gate:
        pg_estate.add("postgres", "a", {"1_slow.up.sql": gate.sql, **TWO})
        pg_estate.add("postgres", "b", ONE, depends_on=["a"])
        pg_estate.add("postgres", "c", ONE, depends_on=["b"])
        with pg_estate.start("apply", "--output", "json") as process:
            until(lambda: sleepers(pg_estate.servers["postgres"], gate.name))
            said = interrupted(process)
            gate.open()
            code, out, err = end(process)
        err = said + err
        assert code == 130, err
        assert {entry["id"]: entry["result"] for entry in json.loads(out)["databases"]} == dict.fromkeys(
            ["postgres-a", "postgres-b", "postgres-c"], "skipped"
        )
        assert "3 not done" in err


@pytest.mark.parametrize("whole", [True, False], ids=["all is done", "one is cut"])
def test_what_had_nothing_to_do_is_not_left_undone_by_an_interrupt(pg_estate: Estate, whole: bool) -> None:
    """Neither behind the one that runs, nor elsewhere in the queue: they count as in a run that nobody disturbs."""
    with closed_gate(pg_estate.servers["postgres"]) as gate:
        pg_estate.add("postgres", "a", ONE)
        for name, needs in {"b": ["a"], "c": ["b"], "d": []}.items():
            pg_estate.add("postgres", name, ONE, depends_on=needs)
        pg_estate.orch("apply")
        slow = {"000002_slow.up.sql": gate.sql}
        pg_estate.write("postgres-a", slow if whole else {**slow, "000003_x.up.sql": "SELECT 1;"})
        with pg_estate.start("apply", "--jobs", "1", "--output", "jsonl", "--junit", "junit.xml") as process:
            until(lambda: sleepers(pg_estate.servers["postgres"], gate.name))
            said = interrupted(process, "Stopping")
            gate.open()
            code, out, err = end(process)
        out = said + out
        told = [json.loads(line) for line in out.splitlines()]
        assert "Stopping" in [event["event"] for event in told]
        assert [event["database"] for event in told if event["event"] == "DatabaseSkipped"] == ["postgres-a"] * (
            not whole
        )
        idle = {"postgres-b", "postgres-c", "postgres-d"}
        assert set(told[-1]["succeeded"]) == (idle | {"postgres-a"} if whole else idle)
        assert (code, told[-1]["exit_code"]) == ((0, 0) if whole else (130, 130))
        done = "1 database done" if whole else "1 not done"
        assert f"{done}, 3 unchanged" in err
        assert (pg_estate.root / "junit.xml").read_text().count('name="up to date"') == 3
        pg_estate.orch("apply")


def test_an_interrupt_tells_what_had_work_behind_what_had_none(pg_estate: Estate) -> None:
    with closed_gate(pg_estate.servers["postgres"]) as gate:
        pg_estate.add("postgres", "a", ONE)
        pg_estate.add("postgres", "b", ONE, depends_on=["a"])
        pg_estate.orch("apply")
        pg_estate.write("postgres-a", {"000002_slow.up.sql": gate.sql})
        pg_estate.add("postgres", "c", ONE, depends_on=["b"])
        with pg_estate.start("apply", "--output", "json") as process:
            until(lambda: sleepers(pg_estate.servers["postgres"], gate.name))
            said = interrupted(process)
            gate.open()
            code, out, err = end(process)
        err = said + err
        assert code == 130, err
        results = {entry["id"]: entry["result"] for entry in json.loads(out)["databases"]}
        assert results == {"postgres-a": "done", "postgres-c": "skipped"}
        assert "1 database done, 1 not done, 1 unchanged" in err


def test_the_second_interrupt_ends_a_file_of_many_quick_statements(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_first.up.sql": "SELECT 1;"})
    pg_estate.orch("apply")
    many = "".join(f"CREATE TABLE t{number} ();\n" for number in range(1000))
    pg_estate.write("postgres-a", {"2_many.up.sql": f"-- orch: no-transaction\n{many}"})
    with pg_estate.start("apply") as process:
        until(lambda: len(pg_estate.tables("a")) > 20)
        process.send_signal(signal.SIGINT)
        assert any("Stopping" in line for line in iter(process.stderr or ()))
        process.send_signal(signal.SIGINT)
        code, _, _ = end(process, 20)
    assert code == 130
    made = len(pg_estate.tables("a"))
    assert made < 1000
    (problem,) = pg_estate.status("postgres-a")["problems"]
    assert problem["kind"] in ("partial", "in_flight")
    pg_estate.orch("apply")
    assert len(pg_estate.tables("a")) == 1000


def test_a_run_goes_on_when_nobody_reads_what_it_says(pg_estate: Estate) -> None:
    for name in "abcd":
        pg_estate.add("postgres", name, {**ONE, **TWO})
    for output in ("text", "jsonl"):
        done = subprocess.run(
            f"{ORCH} apply --output {output} 2>&1 | head -n 1",
            shell=True,
            cwd=pg_estate.root,
            env=pg_estate.env,
            capture_output=True,
            text=True,
        )
        assert "Traceback" not in done.stdout + done.stderr
        assert {pg_estate.version_row(name)[0] for name in "abcd"} == {(2, False)}
        pg_estate.orch("rollback", *"abcd", "--to", "0", "--yes")


def test_an_interrupt_that_stops_nothing_is_no_failure(pg_estate: Estate) -> None:
    with closed_gate(pg_estate.servers["postgres"]) as gate:
        pg_estate.add("postgres", "a", {"1_slow.up.sql": gate.sql})
        with pg_estate.start("apply") as process:
            until(lambda: sleepers(pg_estate.servers["postgres"], gate.name))
            interrupted(process)
            gate.open()
            assert end(process)[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_second_interrupt_cancels_on_the_server(pg_estate: Estate, number: int) -> None:
    mark = f"pg_sleep(60.{int(number)})"
    pg_estate.add("postgres", "a", {"1_slow.up.sql": f"CREATE TABLE slow (id int);\nSELECT {mark};"})
    with pg_estate.start("apply") as process:
        until(lambda: sleepers(pg_estate.servers["postgres"], mark))
        process.send_signal(number)
        stderr = iter(process.stderr or ())
        assert any("Stopping" in line for line in stderr)
        process.send_signal(number)
        code, _, _ = end(process, 10)
    assert code == 130
    assert sleepers(pg_estate.servers["postgres"], mark) == []
    assert pg_estate.tables("a") == set()
    assert pg_estate.status("postgres-a")["problems"] == []


def test_the_second_interrupt_cancels_on_mongodb(mongo_estate: Estate) -> None:
    text = (
        '[{"insert": "c", "documents": [{"_id": 1}]},'
        ' {"aggregate": "c", "cursor": {}, "pipeline": ['
        '{"$project": {"a": {"$range": [0, 1000000]}}}, {"$unwind": "$a"}, '
        '{"$project": {"b": {"$range": [0, 1000000]}}}, {"$unwind": "$b"}, {"$group": {"_id": null}}]}]'
    )
    mongo_estate.add("mongo", "m", {"1_slow.up.js": text})

    def running() -> bool:
        pipeline: list[dict[str, Any]] = [
            {"$currentOp": {"allUsers": True}},
            {"$match": {"ns": mongo_estate.prefix + "m.c", "active": True}},
        ]
        return any("aggregate" in op["command"] for op in mongo_estate.client().admin.aggregate(pipeline))

    with mongo_estate.start("apply") as process:
        until(running)
        process.send_signal(signal.SIGINT)
        assert any("Stopping" in line for line in iter(process.stderr or ()))
        process.send_signal(signal.SIGINT)
        code, _, _ = end(process, 20)
    assert code == 130
    assert not running()
