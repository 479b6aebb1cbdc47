"""Rollouts of fleets on a real server: canaries, waves, pauses, an end after failures, and what is left over."""

from __future__ import annotations

import json
import signal
import time

from estate import Estate

FILES = {"000001_a.up.sql": "CREATE TABLE a (id int);", "000001_a.down.sql": "DROP TABLE a;"}
SECOND = {"000002_b.up.sql": "CREATE TABLE b (id int);", "000002_b.down.sql": "DROP TABLE b;"}


def fleet(estate: Estate, rollout: str, members: int = 8, more: str = "") -> None:
    estate.manifest(
        f'  - {{name: "t_{{n}}", server: postgres, migrations: migrations/t/schema, for_each: {{range: 1..{members}}},'
        f" rollout: {rollout}}}\n{more}"
    )


def events(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines() if line]


def finished(text: str) -> list[str]:
    return [
        str(one["database"]).removeprefix("postgres-t_") for one in events(text) if one["event"] == "DatabaseFinished"
    ]


def versions(estate: Estate) -> dict[str, int | None]:
    found = estate.orch("status", "--output", "json", code=None).json["databases"]
    return {one["id"].removeprefix("postgres-t_"): one["version"] for one in found}


def poison(estate: Estate, *members: int) -> None:
    for member in members:
        estate.sql(f"t_{member}", "CREATE TABLE b (poison int)")


def cure(estate: Estate, *members: int) -> None:
    for member in members:
        estate.sql(f"t_{member}", "DROP TABLE b")


def test_waves_come_in_order_and_failures_end_them(pg_estate: Estate) -> None:
    estate = pg_estate
    estate.write("t", FILES)
    fleet(estate, "{canary: [5], then: [2, 50%], max_failures: 1}")
    order = finished(estate.orch("apply", "--output", "jsonl").stdout)
    assert order[0] == "5"
    assert sorted(order[1:3]) == ["1", "2"]
    assert sorted(order[3:7]) == ["3", "4", "6", "7"]
    assert order[7:] == ["8"]
    estate.write("t", SECOND)

    poison(estate, 5)  # the canary
    ended = estate.orch("apply", code=1)
    assert "the rollout of group:t has ended: the canary postgres-t_5 failed" in ended.stderr
    assert "orch apply --failed" in ended.stderr
    assert versions(estate) == dict.fromkeys("12345678", 1)
    cure(estate, 5)

    poison(estate, 1, 2)  # two in the first wave, and one may fail
    ended = estate.orch("apply", code=1)
    assert "the rollout of group:t has ended: 2 failed, 1 may" in ended.stderr
    assert {m for m, v in versions(estate).items() if v == 2} == {"5"}
    cure(estate, 2)

    again = estate.orch("apply", "--failed", code=1)  # what is left over; one failure may be
    assert "left 7 databases behind" in again.stderr
    assert {m for m, v in versions(estate).items() if v != 2} == {"1"}
    cure(estate, 1)
    last = estate.orch("apply", "--failed")
    assert "left 1 database behind" in last.stderr
    assert versions(estate) == dict.fromkeys("12345678", 2)
    assert "left 0 databases behind" in estate.orch("apply", "--failed").stderr


def test_a_pause_until_resumed_is_known_by_the_databases_alone(pg_estate: Estate) -> None:
    estate = pg_estate
    estate.write("t", FILES)
    fleet(estate, "{canary: [1, 2], then: 3, pause: until resumed}")
    paused = estate.orch("apply", code=8)
    assert "the rollout of group:t is paused before wave 2 of 3; 6 left; next: orch rollout resume" in paused.stderr
    assert "not done: the rollout of group:t is paused" in paused.stdout
    still = estate.orch("apply", code=8)  # nobody has resumed it
    assert "paused before wave 2 of 3" in still.stderr
    assert {m for m, v in versions(estate).items() if v == 1} == {"1", "2"}
    assert "paused before wave 3 of 3; 3 left" in estate.orch("rollout", "resume", "t", code=8).stderr
    assert "paused before wave 3 of 3" in estate.orch("apply", code=8).stderr  # nor before this one
    assert {m for m, v in versions(estate).items() if v == 1} == set("12345")
    estate.orch("rollout", "resume")
    assert versions(estate) == dict.fromkeys("12345678", 1)
    fleet(estate, "{canary: [1, 2], then: 4, pause: until resumed}", members=9)  # 3 to 6, 7 to 9
    estate.orch("apply")  # a new member of a wave that was released long ago waits for nobody
    assert versions(estate)["9"] == 1
    assert "no fleet with a rollout" in estate.orch("rollout", "resume", "x", code=2).stderr


def test_a_member_of_a_later_wave_that_was_chosen_skips_no_pause_of_the_others(pg_estate: Estate) -> None:
    estate = pg_estate
    estate.write("t", FILES)
    fleet(estate, "{canary: [1], then: 2, pause: until resumed}", members=5)
    estate.orch("apply", code=8)
    told = estate.orch("apply", "--only", "t_4").stderr
    left = "postgres-t_1, postgres-t_2, postgres-t_3"
    assert (
        f"wave 3 of 3 of group:t does not wait for 3 members of earlier waves, which --only or --exclude left out: {left}"
        in told
    )
    assert "paused before wave 2 of 3; 3 left" in estate.orch("apply", code=8).stderr
    assert versions(estate) == {"1": 1, "2": None, "3": None, "4": 1, "5": None}
    estate.orch("rollout", "resume", code=8)
    estate.orch("rollout", "resume")
    assert versions(estate) == dict.fromkeys("12345", 1)


def test_a_member_that_fails_again_and_again_does_not_hold_up_the_waves(pg_estate: Estate) -> None:
    estate = pg_estate
    estate.write("t", FILES)
    fleet(estate, "{canary: [1], then: 1, max_failures: 1}", members=4)
    estate.orch("apply")
    fleet(estate, "{canary: [1], then: 1, max_failures: 1, pause: until resumed}", members=4)
    estate.write("t", SECOND)
    poison(estate, 2)
    estate.orch("apply", code=8)
    assert "paused before wave 3 of 4; 2 left" in estate.orch("rollout", "resume", code=1).stderr
    # All of wave 2 has failed. It was begun: trying it again needs nobody's leave, and wave 3 goes on after it.
    assert "paused before wave 3 of 4; 2 left" in estate.orch("apply", code=1).stderr
    assert "paused before wave 4 of 4; 1 left" in estate.orch("rollout", "resume", code=1).stderr
    assert versions(estate) == {"1": 2, "2": 1, "3": 2, "4": 1}
    # New files are no reason to go on: what resumes ends the pause after the files that the members before have.
    estate.write("t", {"000003_c.up.sql": "SELECT 1;", "000003_c.down.sql": "SELECT 1;"})
    cure(estate, 2)
    assert "paused before wave 2 of 4; 3 left" in estate.orch("rollout", "resume", code=8).stderr
    assert versions(estate) == {"1": 3, "2": 1, "3": 2, "4": 1}


def test_a_run_that_was_killed_in_a_wave_goes_on_where_it_was(pg_estate: Estate) -> None:
    estate = pg_estate
    slow = {"000001_a.up.sql": "SELECT pg_sleep(0.4); CREATE TABLE a (id int);", "000001_a.down.sql": "DROP TABLE a;"}
    estate.write("t", slow)
    fleet(estate, "{canary: [1], then: 4, pause: 1s}")
    with estate.start("apply", "--output", "jsonl", "--jobs", "2") as process:
        assert process.stdout is not None
        done = 0
        for line in process.stdout:
            done += '"DatabaseFinished"' in line
            if done == 2:
                break
        process.send_signal(signal.SIGKILL)
    before = versions(estate)
    assert before["1"] == 1
    assert before["8"] is None
    begun = time.monotonic()
    order = finished(estate.orch("apply", "--output", "jsonl").stdout)
    assert order[-1] in "678"
    assert set(order) <= {m for m, v in before.items() if v is None}  # the server may have finished one after that look
    assert time.monotonic() - begun > 1  # the pause before the third wave
    assert versions(estate) == dict.fromkeys("12345678", 1)
    rows = [estate.sql(f"t_{m}", "SELECT count(*) FROM orch_history WHERE done")[0][0] for m in "12345678"]
    assert rows == [1] * 8


def test_a_canary_that_is_blocked_ends_its_rollout(pg_estate: Estate) -> None:
    estate = pg_estate
    estate.write("t", FILES)
    estate.write("core", {"000001_x.up.sql": "SELECT nonsense;", "000001_x.down.sql": ""})
    source = "for_each: {values: [{n: a, needs: core}, {n: b, needs: good}], column: n}"
    estate.manifest(
        "  - {name: core, server: postgres, migrations: migrations/core/schema}\n"
        "  - {name: good, server: postgres, migrations: migrations/t/schema}\n"
        f'  - {{name: "t_{{n}}", server: postgres, migrations: migrations/t/schema, {source}, depends_on: ["{{needs}}"],'
        " rollout: {canary: [a]}}\n"
    )
    ended = estate.orch("apply", code=1)
    assert "the rollout of group:t has ended: the canary postgres-t_a could not be migrated" in ended.stderr
    assert "orch apply\n" in ended.stderr, "--failed would know of no member"
    assert versions(estate) == {"postgres-core": None, "postgres-good": 1, "a": None, "b": None}
    estate.write("core", {"000001_x.up.sql": "SELECT 1;"})
    estate.orch("apply")
    assert versions(estate) == {"postgres-core": 1, "postgres-good": 1, "a": 1, "b": 1}


def test_waves_respect_the_graph(pg_estate: Estate) -> None:
    estate = pg_estate
    estate.write("t", FILES)
    log = (
        '  - {name: "log_{n}", server: postgres, migrations: migrations/t/schema, for_each: {range: 1..3},'
        ' depends_on: ["t_{n}"], rollout: {canary: [3], then: 1}}\n'
    )
    fleet(estate, "{canary: [1], then: 1}", 3, log)
    order = finished(estate.orch("apply", "--output", "jsonl").stdout)
    assert order == ["1", "2", "3", "postgres-log_3", "postgres-log_1", "postgres-log_2"]
    entry = (
        '  - {{name: "{0}_{{n}}", server: postgres, migrations: migrations/t/schema, depends_on: ["{{need}}"],'
        " for_each: {{values: [{{n: 1, need: core}}, {{n: 2, need: {1}_1}}], column: n}}, rollout: {{canary: [2]}}}}\n"
    )
    core = "  - {name: core, server: postgres, migrations: migrations/t/schema}\n"
    estate.manifest(core + entry.format("a", "b") + entry.format("b", "a"))
    refused = estate.orch("plan", code=4)  # a_1 waits for a_2, for b_1, for b_2, for a_1
    assert "the rollouts of this plan wait for each other: " in refused.stderr
    assert "postgres-a_1" in refused.stderr
