"""What a run cannot decide alone waits for a person: the facts are told, the sensible ways are few, history only grows."""

from __future__ import annotations

import contextlib
import time

import pytest
from golang import Crashed
from house import House
from pymongo.errors import PyMongoError
from repairs import Kept, partial_file, ways

# ---------------------------------------------------------------- in doubt


DOUBTFUL = """[
  {"create": "things"},
  {"insert": "things", "documents": [{"name": "a"}, {"name": "b"}]},
  {"insert": "things", "documents": [{"_id": "c", "name": "c"}]}
]"""


@pytest.mark.parametrize("done", [True, False])
def test_an_insert_on_a_standalone_is_in_doubt_and_never_guessed(lone: House, done: bool) -> None:
    """Killed after (or before) the insert, and before that was recorded: nothing can tell, so a person must."""
    house, kept = lone, Kept(lone)
    house.estate.write(house.id, {"000002_t2.up.json": DOUBTFUL})
    # Commands of version 1: create, insert; of version 2: create, insert.
    house.kill("after Commands.run" if done else "before Commands.run", 4, "apply")
    schema_objects = house.estate.mongo("db")["things"]
    there = 2 if done else 0
    assert schema_objects.count_documents({}) == there
    assert house.status()["problems"][0]["kind"] == "in_flight"
    told = house.orch("apply", code=5).output
    for fact in (
        "in doubt at statement 2 of version 2",
        "000002_t2.up.json:3",
        "no _id of their own",
        f"orch repair {house.id}",
    ):
        assert fact in told, told
    assert schema_objects.count_documents({}) == there, "it was run again, or taken back"
    assert "cannot be told" in house.status()["problems"][0]["what"]
    kept.look()
    assert ways(house) == ["--statement-done", "--statement-not-done", "--mark-applied 2", "--mark-not-applied 2"]
    house.orch("repair", house.id, "--statement-done" if done else "--statement-not-done", "--reason", "I counted them")
    assert [r["reason"] for r in kept.look() if r["version"] == 2] == ["", "I counted them"]
    house.orch("apply")
    assert sorted(d["name"] for d in schema_objects.find()) == ["a", "b", "c"]
    kept.look()
    assert house.tables() == [1, 3, 4]
    assert house.version_row() == (4, False)


def test_an_insert_with_ids_is_found_out(lone: House) -> None:
    house = lone
    house.kill("after Commands.run", 2, "apply")
    house.orch("apply")
    assert [d["_id"] for d in house.estate.mongo("db")["t1"].find()] == [1]


def test_a_first_statement_that_was_not_done_leaves_nothing_half(lone: House) -> None:
    house = lone
    house.estate.write(house.id, {"000001_t1.up.json": '[{"insert": "t1", "documents": [{"x": 1}]}]'})
    house.kill("before Commands.run", 1, "apply")
    house.orch("apply", code=5)
    house.orch("repair", house.id, "--statement-not-done")
    assert house.version_row() == (-1, False)
    assert house.status()["pending"] == [1, 2, 3, 4]
    house.golang.up(1)
    house.orch("apply")
    assert house.estate.mongo("db")["t1"].count_documents({}) == 1


def test_the_doubtful_statement_must_not_be_edited_unseen(lone: House) -> None:
    """What may have run is not exchanged for something else and then taken for done."""
    house = lone
    house.estate.write(house.id, {"000002_t2.up.json": DOUBTFUL})
    house.kill("after Commands.run", 4, "apply")
    house.estate.write(house.id, {"000002_t2.up.json": DOUBTFUL.replace('{"name": "b"}', '{"_id": 7, "name": "B"}')})
    assert "was changed" in house.orch("apply", code=5).output
    house.orch("repair", house.id, "--statement-not-done")
    house.estate.mongo("db")["things"].delete_many({})
    house.orch("apply")
    assert sorted(d["name"] for d in house.estate.mongo("db")["things"].find()) == ["B", "a", "c"]


@pytest.mark.parametrize(("flag", "applied"), [("--mark-applied", [1, 2]), ("--mark-not-applied", [1])])
def test_a_doubtful_version_is_marked_as_a_whole(lone: House, flag: str, applied: list[int]) -> None:
    house, kept = lone, Kept(lone)
    house.estate.write(house.id, {"000002_t2.up.json": DOUBTFUL})
    house.kill("after Commands.run", 4, "apply")
    kept.look()
    house.orch("repair", house.id, flag, "2", "--reason", "mended by hand")
    assert house.status()["applied"] == applied
    assert house.version_row() == (applied[-1], False)
    assert any(r["origin"] == "marked" and r["reason"] == "mended by hand" for r in kept.look())


def test_a_partly_failed_insert_is_in_doubt(lone: House) -> None:
    """Two of three documents went in before the third was refused: that is neither done nor not done."""
    house = lone
    text = '[{"create": "n"}, {"insert": "n", "documents": [{"x": 1}, {"_id": 5}, {"_id": 5}, {"x": 2}]}]'
    house.estate.write(house.id, {"000002_t2.up.json": text})
    house.orch("apply", code=1)
    collection = house.estate.mongo("db")["n"]
    assert collection.count_documents({}) == 2
    house.orch("apply", code=5)
    assert collection.count_documents({}) == 2
    house.orch("repair", house.id, "--mark-applied", "2")
    house.orch("apply")
    assert house.tables() == [1, 3, 4]


def test_a_leftover_of_concurrently_is_found_out(pg_house: House) -> None:
    """Killed after the index was built; and killed leaving an INVALID one."""
    house = pg_house
    house.estate.write(
        house.id,
        {
            "000002_t2.up.sql": "CREATE INDEX CONCURRENTLY i2 ON t1 (id);",
            "000003_t3.up.sql": "CREATE UNIQUE INDEX CONCURRENTLY i3 ON t1 (id);",
        },
    )
    house.kill("after PostgresSession.execute", 1, "apply")
    assert house.status()["problems"][0]["kind"] == "in_flight"
    assert "is there and valid" in house.orch("apply", "--only", house.id, "--to", "2").output
    house.kill("before PostgresSession.execute", 1, "apply")
    house.estate.sql("db", "INSERT INTO t1 VALUES (2)")
    house.estate.sql("db", "ALTER TABLE t1 DROP CONSTRAINT t1_pkey")
    house.estate.sql("db", "INSERT INTO t1 VALUES (2)")
    with contextlib.suppress(Exception):
        house.estate.sql("db", "CREATE UNIQUE INDEX CONCURRENTLY i3 ON t1 (id)")
    assert house.estate.sql("db", "SELECT indisvalid FROM pg_index WHERE indexrelid = 'i3'::regclass") == [(False,)]
    told = house.orch("apply", code=1).output
    assert "INVALID" in told
    assert house.estate.sql("db", "SELECT to_regclass('i3')") == [(None,)], "a failed try leaves no INVALID index"
    assert house.version_row() == (2, False)
    house.estate.sql("db", "DELETE FROM t1 WHERE ctid = (SELECT max(ctid) FROM t1)")
    house.orch("apply")
    assert house.estate.sql("db", "SELECT indisvalid FROM pg_index WHERE indexrelid = 'i3'::regclass") == [(True,)]


def test_what_a_file_set_holds_for_all_its_statements_also_after_a_kill(pg_house: House) -> None:
    """A file that runs statement by statement keeps its search_path, though each begins in a fresh session."""
    house = pg_house
    house.estate.write(
        house.id,
        {
            "000002_t2.up.sql": "CREATE SCHEMA app; CREATE TABLE app.t2 (id int);",
            "000003_t3.up.sql": "SET search_path TO app;\nCREATE INDEX CONCURRENTLY i2 ON t2 (id);\nINSERT INTO t2 VALUES (1);\n"
            "RESET search_path;\nCREATE TABLE t3 (id int);",
        },
    )
    house.kill("after PostgresSession.execute", 1, "apply")
    house.orch("apply")
    assert house.estate.sql("db", "SELECT to_regclass('app.i2')::text, to_regclass('public.t3')::text") == [
        ("app.i2", "t3")
    ]
    assert house.estate.sql("db", "SELECT id FROM app.t2") == [(1,)]


# ---------------------------------------------------------------- partial


def test_a_partial_migration_continues_once_the_rest_is_mended(house: House) -> None:
    kept = Kept(house)
    house.estate.write(house.id, partial_file(house, wrong=True))
    house.orch("apply", code=1)
    problem = house.status()["problems"][0]
    assert problem["kind"] == "partial"
    assert "stopped at statement 2 of 3" in problem["what"]
    assert house.version_row() == (2, True), "golang-migrate must not touch it"
    failed = kept.look()
    assert failed[-1]["error"]
    house.orch("rollback", house.id, "--steps", "1", "--yes", code=5)
    assert ways(house) == ["--mark-applied 2", "--mark-not-applied 2"]
    house.estate.write(house.id, partial_file(house, wrong=False))
    told = house.orch("apply").output
    assert "continues at statement 2 of 3" in told
    kept.look()
    assert house.tables() == [1, 2, 3, 4]
    assert house.version_row() == (4, False)


def test_a_partial_migration_whose_done_part_was_changed_is_refused(house: House) -> None:
    house.estate.write(house.id, partial_file(house, wrong=True))
    house.orch("apply", code=1)
    other = [("t2 (id int)", "t2 (id bigint)"), ('"create": "t2"', '"create": "t2", "capped": true, "size": 4096')]
    changed = partial_file(house, wrong=False)
    for name, text in changed.items():
        for old, new in other:
            text = text.replace(old, new)
        changed[name] = text
    house.estate.write(house.id, changed)
    told = house.orch("apply", code=5).output
    assert "the part that already ran was changed" in told
    assert "1 of 3 statements" in told
    problems = house.status()["problems"]
    assert [(p["kind"], p["version"], p["blocks"]) for p in problems] == [
        ("edited", 2, ["up", "down"]),
        ("partial", 2, ["up", "down"]),
    ]
    shown = house.orch("status", code=5).output
    repair = [house.orch("repair", house.id, *words).output for words in ([], ["--output", "json"])]
    for text in (shown, *repair):
        assert problems[0]["what"] in text
        assert "continue: orch apply" not in text
    for fact in (problems[0]["what"], problems[0]["hint"]):
        assert fact in told
        assert fact in shown
    house.orch("repair", house.id, "--mark-applied", "2")
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]


def test_a_half_done_file_that_no_longer_parses_is_told_by_status(house: House) -> None:
    house.estate.write(house.id, partial_file(house, wrong=True))
    house.orch("apply", code=1)
    name = next(iter(partial_file(house, wrong=True)))
    house.estate.write(house.id, {name: "SELECT 'open;" if house.engine == "postgres" else "["})
    house.orch("apply", code=4)
    found = house.status()["problems"]
    assert [p["kind"] for p in found] == ["edited", "partial"]
    assert f"{name}:1" in found[0]["what"]
    assert f"{name}:1" in house.orch("repair", house.id).output


def test_a_half_done_version_whose_version_was_forced(house: House) -> None:
    """People used to force a version by guess; that is noticed, and asked about."""
    house.estate.write(house.id, partial_file(house, wrong=True))
    house.orch("apply", code=1)
    house.golang.force(1)
    assert house.status()["problems"][0]["kind"] == "forced"
    house.orch("apply", code=5)
    assert ways(house) == ["--continue", "--mark-applied 2", "--mark-not-applied 2"]
    house.orch("repair", house.id, "--continue", "--reason", "nobody touched it")
    house.estate.write(house.id, partial_file(house, wrong=False))
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]


def test_a_failed_try_stays_in_the_history(house: House) -> None:
    kept = Kept(house)
    extension = "sql" if house.engine == "postgres" else "json"
    name = f"000001_t1.up.{extension}"
    house.estate.write(house.id, {name: "SELECT nonsense;" if extension == "sql" else '[{"nonsense": 1}]'})
    house.orch("apply", code=1)
    house.orch("apply", code=1)
    assert len(kept.look()) == 2
    house.estate.write(house.id, {name: house.files[name]})
    house.orch("apply")
    results = [(r["attempt"], r["result"], bool(r["error"])) for r in kept.look() if r["version"] == 1]
    assert results == [(1, "failed", True), (2, "failed", True), (3, "applied", False)]


def test_a_try_that_failed_half_way_stays_in_the_history_too(house: House) -> None:
    kept = Kept(house)
    house.estate.write(house.id, partial_file(house, wrong=True))
    house.orch("apply", code=1)
    house.orch("apply", code=1)
    house.estate.write(house.id, partial_file(house, wrong=False))
    house.orch("apply")
    tries = [r for r in kept.look() if r["version"] == 2]
    assert [(r["result"], bool(r["error"])) for r in tries] == [
        ("stopped at 1 of 3", True),
        ("stopped at 1 of 3", True),
        ("applied", False),
    ]
    assert len({r["run_id"] for r in tries}) == 3
    assert house.version_row() == (4, False)
    house.orch("rollback", house.id, "--to", "1", "--yes")
    assert house.tables() == [1]


def test_a_first_statement_that_fails_again_after_a_kill_leaves_nothing_half(house: House) -> None:
    """Cut off in it, found not done, tried again in vain: then nothing of the version is there, and golang-migrate may go on."""
    if house.engine == "postgres":
        files = {"000002_t2.up.sql": "CREATE INDEX CONCURRENTLY t1_id ON t1 (id);"}
        wrong = {"000002_t2.up.sql": "CREATE INDEX CONCURRENTLY t1_id ON t1 (nothing);"}
        label = "before PostgresSession.execute"
    else:
        files = {"000002_t2.up.json": '[{"createIndexes": "t1", "indexes": [{"key": {"x": 1}, "name": "x"}]}]'}
        wrong = {"000002_t2.up.json": '[{"createIndexes": "t1", "indexes": [{"key": {"x": "odd"}, "name": "x"}]}]'}
        label = "before MongoSession.execute"
    house.estate.write(house.id, wrong)
    house.orch("apply", "--only", house.id, "--to", "1")
    house.kill(label, 1, "apply")
    assert house.version_row() == (2, True)
    house.orch("apply", code=1)
    assert house.version_row() == (1, False)
    assert [p["kind"] for p in house.status()["problems"]] == []
    house.estate.write(house.id, files)
    house.orch("apply")
    assert house.version_row() == (4, False)


def test_a_word_given_by_mistake_can_be_taken_back(house: House) -> None:
    house.orch("apply", "--only", house.id, "--to", "1")
    with contextlib.suppress(Crashed):
        house.golang.up(1, crash_at="dirty")
    if house.engine == "mongo":
        house.orch("unlock", house.id, "--yes", "--terminate")  # the stand-in is this process: it lives
    assert "with --reason TEXT, the reason is kept" in house.orch("repair", house.id).output
    house.orch("repair", house.id, "--mark-applied", "2", "--reason", "by mistake")
    assert ways(house) == ["--mark-not-applied 2"]
    house.orch("repair", house.id, "--mark-not-applied", "2")
    assert house.version_row() == (1, False)
    assert [r["reason"] for r in house.attempts() if r["version"] == 2] == ["by mistake", ""], "it may be left out"
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]


def _wipe(house: House) -> None:
    if house.engine == "postgres":
        house.estate.sql("db", "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    else:
        house.estate.client().drop_database(house.estate.prefix + "db")


EVERY = pytest.mark.parametrize("every", [6, pytest.param(1, marks=pytest.mark.soak)], ids=["some", "every"])


@EVERY
@pytest.mark.parametrize("kind", ["pg_house", "mongo_house", "lone"])
@pytest.mark.parametrize("flag", ["--mark-applied", "--mark-not-applied"])
def test_a_killed_repair_is_given_again(request: pytest.FixtureRequest, kind: str, flag: str, every: int) -> None:
    house: House = request.getfixturevalue(kind)
    for at in range(1, 60, every):
        house.golang.up(1)
        with contextlib.suppress(Crashed):
            house.golang.up(1, crash_at="dirty")
        if house.engine == "mongo":
            house.orch("unlock", house.id, "--yes", "--terminate")  # the stand-in is this process: it lives
        command = ["repair", house.id, flag, "2", "--reason", "looked"]
        ended = house.forge.run(command, house.estate.root, house.estate.env, kill_at=at)
        if ended.code is None and house.status()["problems"]:
            house.orch(*command)
        applied = [1, 2] if flag == "--mark-applied" else [1]
        found = house.status()
        assert (found["applied"], found["problems"]) == (applied, []), f"killed at {at}: {ended.points[at - 1 : at]}"
        assert house.version_row() == (applied[-1], False)
        assert any(r["reason"] == "looked" for r in house.attempts())
        _wipe(house)
        if ended.code is not None:
            return
    pytest.fail("it came past more points than were tried")


@EVERY
def test_a_killed_adoption_is_made_by_the_next_run(house: House, every: int) -> None:
    house.orch("apply")
    expected = house.schema_snapshot()
    _wipe(house)
    for at in range(1, 200, every):
        house.golang.up(2)
        ended = house.forge.run(["apply"], house.estate.root, house.estate.env, kill_at=at)
        house.orch("apply")
        assert house.schema_snapshot() == expected, f"killed at {at}: {ended.points[at - 1 : at]}"
        origins = {r["version"]: r["origin"] for r in house.attempts() if r["done"]}
        assert origins == {1: "adopted", 2: "adopted", 3: "applied", 4: "applied"}
        _wipe(house)
        if ended.code is not None:
            return
    pytest.fail("it came past more points than were tried")


def test_the_newest_file_edited_can_be_declared_not_applied(house: House) -> None:
    """As for a file that was still empty when it ran."""
    extension = "sql" if house.engine == "postgres" else "json"
    name = f"000004_t4.up.{extension}"
    house.estate.write(house.id, {name: "-- to be written\n" if extension == "sql" else "[]"})
    assert f"{name} is empty" in house.orch("apply").output
    house.estate.write(house.id, {name: house.files[name]})
    house.orch("apply", code=5)
    assert "--mark-not-applied 4" in ways(house)
    house.orch("repair", house.id, "--mark-not-applied", "4", "--reason", "it was empty")
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]


def test_where_nothing_is_wrong_there_is_nothing_to_repair(house: House) -> None:
    house.orch("apply")
    assert ways(house) == []
    assert "nothing is wrong" in house.orch("repair", house.id).output
    for flags in (
        ["--mark-applied", "4"],
        ["--mark-not-applied", "4"],
        ["--statement-done"],
        ["--continue"],
        ["--accept", "x"],
    ):
        told = house.orch("repair", house.id, *flags, code=2).output
        assert "nothing needs repair: it is at version 4, nothing is pending" in told
        assert f"orch repair {house.id}" not in told, "that would lead in a circle"
    house.orch("repair", house.id, "--mark-applied", "4", "--continue", code=2)
    assert len(house.attempts()) == 4


def test_history_of_a_newer_tool_is_read_and_not_written(house: House) -> None:
    house.orch("apply", "--only", house.id, "--to", "2")
    if house.engine == "postgres":
        house.estate.sql("db", "ALTER TABLE orch_history ADD COLUMN colour text NOT NULL DEFAULT 'blue'")
        house.estate.sql("db", "UPDATE orch_history SET format = 99 WHERE version = 2")
    else:
        house.estate.mongo("db")["orch_history"].update_one({"version": 2}, {"$set": {"format": 99, "colour": "blue"}})
    assert house.status()["applied"] == [1, 2]
    assert "newer orch" in house.orch("apply", code=5).output
    assert house.tables() == [1, 2]
    first = next(iter(house.files))
    house.estate.write(house.id, {first: house.files[first] + "\n"})
    assert ways(house) == []
    told = house.orch("repair", house.id, "--accept", str(house.directory / first), code=2).output
    assert "no resolution of repair fits: its history was written by a newer orch" in told
    assert len(house.attempts()) == 2


def test_a_word_that_only_a_newer_tool_knows_is_no_fault(house: House) -> None:
    house.orch("apply", "--only", house.id, "--to", "2")
    if house.engine == "postgres":
        house.estate.sql("db", "UPDATE orch_history SET direction = 'sideways', origin = 'dreamt' WHERE version = 2")
    else:
        change = {"$set": {"direction": "sideways", "origin": "dreamt"}}
        house.estate.mongo("db")["orch_history"].update_one({"version": 2}, change)
    assert house.status()["problems"][0]["kind"] == "newer_tool"
    assert "newer orch" in house.orch("apply", code=5).output
    assert len(house.attempts()) == 2


def test_the_server_is_a_standalone(lone: House) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(PyMongoError):
            assert "setName" not in lone.estate.client().admin.command("hello")
            return
    pytest.fail("it does not answer")
