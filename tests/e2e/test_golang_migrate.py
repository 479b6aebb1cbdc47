"""A database that golang-migrate left is taken over as it is, followed when it runs again, and never forced by guess."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from estate import Estate
from gate import closed_gate
from golang import NIL, Crash, Crashed, GolangError
from house import House
from kill import Ended, Forge
from processes import sleepers, until
from schema_snapshot import difference

# ---------------------------------------------------------------- taking over


def test_clean_at_two_of_four_is_adopted_and_finished(house: House) -> None:
    house.golang.up(2)
    before = house.schema_snapshot()
    shown = house.status()
    assert (shown["version"], shown["pending"]) == (2, [3, 4])
    assert house.schema_snapshot() == before, "status changed something"
    house.orch("plan")
    assert house.schema_snapshot() == before, "plan changed something"
    house.orch("apply", "--only", house.id, "--to", "3")
    after = house.schema_snapshot()
    for key in before:
        if "t1" in key or "t2" in key:
            assert after[key] == before[key], "what was there is as it was"
    told = house.orch("apply").output
    assert "adopted" not in told, "it is told once"
    assert house.version_row() == (4, False)
    assert house.tables() == [1, 2, 3, 4]
    assert [(r["version"], r["origin"]) for r in house.attempts()] == [
        (1, "adopted"), (2, "adopted"), (3, "applied"), (4, "applied")
    ]  # fmt: skip
    assert "Nothing to do" in house.orch("apply").output


def test_adopting_changes_nothing_but_our_history(house: House) -> None:
    house.golang.up()
    before = house.schema_snapshot()
    told = house.orch("apply").output
    assert "adopted what golang-migrate applied: 1, 2, 3, 4" in told
    assert not (text := difference(before, house.schema_snapshot())), text


def test_the_end_is_that_of_golang_migrate_alone(house: House) -> None:
    house.golang.up()
    alone = house.schema_snapshot()
    house.golang.down()
    house.golang.up(1)
    house.orch("apply")
    assert not (text := difference(alone, house.schema_snapshot())), text


def test_golang_migrate_goes_on_after_orch_and_orch_follows(house: House) -> None:
    house.orch("apply", "--only", house.id, "--to", "2")
    assert house.version_row() == (2, False)
    house.golang.up(1)
    assert any("golang-migrate applied 3" in note for note in house.status()["notes"])
    assert "adopted what golang-migrate applied: 3" in house.orch("apply").output
    assert house.version_row() == (4, False)
    house.golang.down(2)
    assert any("rolled back 3, 4" in note for note in house.status()["notes"])
    told = house.orch("apply").output
    assert "adopted what golang-migrate rolled back: 3, 4" in told
    assert house.tables() == [1, 2, 3, 4]
    house.golang.down()
    assert house.tables() == []
    assert house.status()["applied"] == []
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]
    assert house.version_row() == (4, False)


def test_golang_migrate_in_the_middle_of_a_file_is_waited_for(house: House) -> None:
    """Its version table is dirty then: that is no accident while it holds its lock."""
    house.orch("apply", "--only", house.id, "--to", "2")
    with house.golang._locked(None):
        house.golang._set_version(3, True)
        told = house.orch("apply", "--lock-timeout", "0.5", code=6).output
        assert "in the middle of a migration" in told
        status = house.status()
        assert status["running"]
        assert status["problems"] == []
        process = house.estate.start("apply")
        assert any("waiting for the lock" in line for line in iter(process.stderr or ()))
        house.golang._migrate(3, 3, "up", None)
    assert "adopted what golang-migrate applied: 3" in process.communicate(timeout=60)[1]
    assert process.returncode == 0
    assert house.tables() == [1, 2, 3, 4]
    house.golang._set_version(4, True)  # without the lock it is an accident, told at once
    assert "orch repair" in house.orch("apply", "--lock-timeout", "600", code=5).output


def test_the_version_table_after_every_command_is_golang_migrates(house: House) -> None:
    """The same steps by both: after each the version table is equal, and golang-migrate can go on from it."""
    steps: list[tuple[Callable[[], object], list[str]]] = [
        (lambda: house.golang.up(1), ["apply", "--only", house.id, "--to", "1"]),
        (lambda: house.golang.up(2), ["apply", "--only", house.id, "--to", "3"]),
        (lambda: house.golang.down(1), ["rollback", house.id, "--steps", "1", "--yes"]),
        (lambda: house.golang.up(), ["apply"]),
        (lambda: house.golang.down(3), ["rollback", house.id, "--to", "1", "--yes"]),
        (lambda: house.golang.down(), ["rollback", house.id, "--to", "0", "--yes"]),
    ]
    expected = []
    for golang, _ in steps:
        golang()
        expected.append((house.version_row(), house.schema_snapshot()))
    if house.engine == "mongo":
        house.estate.client().drop_database(house.estate.prefix + "db")
    for (version_row, schema_snapshot), (_, command) in zip(expected, steps, strict=True):
        house.orch(*command)
        assert house.version_row() == version_row, command
        assert not (text := difference(schema_snapshot, house.schema_snapshot())), f"{command}: {text}"


def test_the_version_table_after_a_failure_is_as_before(house: House) -> None:
    double = '[{"insert": "t1", "documents": [{"_id": 1}]}]'
    bad = "CREATE TABLE t3 (id int); SELECT 1/0;" if house.engine == "postgres" else double
    extension = "sql" if house.engine == "postgres" else "json"
    house.estate.write(house.id, {f"000003_t3.up.{extension}": bad})
    house.orch("apply", code=1)
    assert house.version_row() == (2, False)
    assert house.tables() == [1, 2]
    house.estate.write(house.id, {name: text for name, text in house.files.items() if "000003" in name})
    house.golang.up(1)
    house.orch("apply")
    assert house.version_row() == (4, False)


def test_a_version_table_that_a_user_dropped_is_given_back(house: House) -> None:
    house.orch("apply")
    if house.engine == "postgres":
        house.estate.sql("db", "DROP TABLE schema_migrations")
    else:
        house.estate.mongo("db").drop_collection("schema_migrations")
    before = house.tables()
    assert house.status()["applied"] == [1, 2, 3, 4]
    house.orch("apply")
    assert house.version_row() == (4, False)
    assert house.tables() == before
    assert len(house.attempts()) == 4, "nothing ran"


def test_golang_migrate_comes_down_to_a_file_that_never_ran(house: House) -> None:
    """Left at 1 and 3 by `out_of_order`, then golang-migrate goes down from 3 to a 2 that never ran."""
    third = {name: text for name, text in house.files.items() if name.startswith(("000001", "000003"))}
    for name in house.files:
        if name not in third:
            (house.directory / name).unlink()
    house.orch("apply")
    house.estate.write(house.id, house.files)
    house.golang.down(1)
    assert house.version_row() == (2, False)
    assert house.tables() == [1]
    told = house.orch("apply", code=5).output
    assert "went back to version 2, which our history never saw applied" in told
    assert house.tables() == [1], "it is asked, not guessed"
    house.orch("repair", house.id, "--mark-not-applied", "2", "--reason", "there is no t2")
    assert house.version_row() == (1, False)
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]
    assert house.version_row() == (4, False)


def test_golang_migrate_ran_other_files_below_what_we_know(house: House) -> None:
    """The same version table as above; this time the file did run, and so did the one before it."""
    others = {name: text for name, text in house.files.items() if name.startswith(("000002", "000003"))}
    for name in others:
        (house.directory / name).unlink()
    house.orch("apply")
    house.golang.down(1)
    house.estate.write(house.id, others)
    house.golang.up(2)
    assert house.version_row() == (3, False)
    assert house.tables() == [1, 2, 3]
    house.orch("apply", code=5)
    house.orch("repair", house.id, "--mark-applied", "3", "--reason", "t2 and t3 are there")
    assert house.status()["applied"] == [1, 2, 3]
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]


# ---------------------------------------------------------------- dirty

SAMPLE: list[tuple[str, int, Crash]] = [
    ("up", 1, "ran"),
    ("up", 3, "dirty"),
    ("up", 3, "middle"),
    ("down", 4, "dirty"),
    ("down", 3, "middle"),
    ("down", 1, "ran"),
]
CRASHES: tuple[Crash, ...] = ("dirty", "middle", "ran")
OTHERS = [(w, v, c) for w in ("up", "down") for v in range(1, 5) for c in CRASHES if (w, v, c) not in SAMPLE]


def _leave_dirty(house: House, way: str, version: int, crash_at: Crash) -> None:
    house.golang.up(version - 1 if way == "up" else version)
    with suppress(Crashed):
        (house.golang.up if way == "up" else house.golang.down)(1, crash_at)
    if house.engine == "mongo":  # that is another chapter
        house.estate.mongo("db")["migrate_advisory_lock"].delete_many({})


@pytest.mark.parametrize(
    ("way", "version", "crash_at"), [*SAMPLE, *(pytest.param(*other, marks=pytest.mark.soak) for other in OTHERS)]
)
def test_dirty_is_explained_and_repaired_and_nothing_dropped(
    house: House, way: str, version: int, crash_at: Crash
) -> None:
    """Whoever looked at the schema says which it is; then all goes on."""
    _leave_dirty(house, way, version, crash_at)
    target = version if way == "up" else version - 1
    assert house.version_row() == (target or NIL, True)
    problem = house.status()["problems"][0]
    assert problem["kind"] == "dirty"
    assert f"version {version} {way}" in problem["what"]
    assert f"orch repair {house.id}" in problem["hint"]
    before = house.schema_snapshot()
    refused = house.orch("apply", code=5)
    assert "dirty" in refused.output
    assert f"orch repair {house.id}" in refused.output
    house.orch("rollback", house.id, "--steps", "1", "--yes", code=5)
    shown = house.orch("repair", house.id).output
    assert f"--mark-applied {version}" in shown
    assert f"--mark-not-applied {version}" in shown
    assert house.schema_snapshot() == before, "looking changed something"

    # What a person does after the look: finish or remove by hand what is half there, and say which.
    complete = version in house.tables() if way == "up" else version in house.tables() and crash_at == "dirty"
    if crash_at == "middle" and house.engine == "mongo":
        collection = house.estate.mongo("db")[f"t{version}"]
        collection.insert_one({"_id": version})
        complete = True
    flag = "--mark-applied" if complete else "--mark-not-applied"
    house.orch("repair", house.id, flag, str(version), "--reason", "I looked")
    applied = [v for v in range(1, version + 1) if v < version or complete]
    assert house.status()["applied"] == applied
    assert house.version_row() == (applied[-1] if applied else NIL, False)
    assert house.tables() == applied, "nothing was dropped, nothing was made"
    assert any(r["reason"] == "I looked" for r in house.attempts())
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]
    house.golang.down()
    assert house.tables() == []


@pytest.mark.parametrize("applied", [True, False])
def test_each_way_out_of_dirty_is_taken_as_said(house: House, applied: bool) -> None:
    _leave_dirty(house, "up", 3, "dirty")
    house.orch("repair", house.id, "--mark-applied" if applied else "--mark-not-applied", "3")
    assert house.status()["applied"] == ([1, 2, 3] if applied else [1, 2])
    assert house.version_row() == (3 if applied else 2, False)


def test_a_failed_file_of_golang_migrate(house: House) -> None:
    extension = "sql" if house.engine == "postgres" else "json"
    good = house.files[f"000002_t2.up.{extension}"]
    house.estate.write(
        house.id, {f"000002_t2.up.{extension}": "nonsense;" if extension == "sql" else '[{"nonsense": 1}]'}
    )
    with pytest.raises(GolangError):
        house.golang.up()
    house.estate.write(house.id, {f"000002_t2.up.{extension}": good})
    house.orch("apply", code=5)
    house.orch("repair", house.id, "--mark-not-applied", "2")
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]


def test_a_version_table_at_a_version_without_file(house: House) -> None:
    house.golang.up()
    for path in list(house.directory.glob("000004*")):
        path.unlink()
    assert house.status()["problems"][0]["kind"] == "missing"
    house.orch("apply", code=5)
    assert "--mark-applied 3" in house.orch("repair", house.id).output
    house.orch("repair", house.id, "--mark-applied", "3", "--reason", "4 was squashed into 3")
    assert house.status()["problems"] == []
    assert house.version_row() == (3, False)
    assert house.tables() == [1, 2, 3, 4]


@pytest.mark.parametrize("version", ["four", None, True, 4.5, float("nan"), {"$numberLong": 4}])
def test_a_version_that_is_no_number(mongo_house: House, version: object) -> None:
    house = mongo_house
    house.golang.up(2)
    version_row = house.estate.mongo("db")["schema_migrations"]
    version_row.update_one({}, {"$set": {"version": version}})
    for command in ("apply", "status"):
        told = house.orch(command, code=5).output
        assert "the version in schema_migrations is no whole number" in told
    assert "Long(1)" in house.orch("repair", house.id, code=5).output
    version_row.update_one({}, {"$set": {"version": 2.0}})  # as a shell writes it
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]


def test_a_history_that_somebody_wrote_to(mongo_house: House) -> None:
    house = mongo_house
    house.orch("apply", "--only", house.id, "--to", "1")
    house.estate.mongo("db")["orch_history"].insert_one({"_id": "mine", "version": "x"})
    assert "the document 'mine' in orch_history is no record of orch" in house.orch("apply", code=5).output


# ---------------------------------------------------------------- locks


def test_the_lock_document_of_a_killed_golang_migrate(mongo_house: House) -> None:
    house = mongo_house
    house.golang.up(2)
    with suppress(Crashed):
        house.golang.up(1, "locked")
    locks = house.estate.mongo("db")["migrate_advisory_lock"]
    locks.update_one(
        {}, {"$set": {"created_at": datetime.now(UTC) - timedelta(hours=50), "hostname": "pod-7", "pid": 17}}
    )
    refused = house.orch("apply", "--lock-timeout", "1", code=6).output
    for fact in ("golang-migrate", "pid 17", "pod-7", "2 days", f"orch unlock {house.id}"):
        assert fact in refused, refused
    assert house.status()["version"] == 2, "a read needs no lock"
    house.orch("unlock", house.id, code=2)
    assert locks.count_documents({}) == 1, "not without --yes"
    shown = house.orch("unlock", house.id, "--yes").output
    assert "pid 17 on pod-7" in shown
    assert locks.count_documents({}) == 0
    assert "is not locked" in house.orch("unlock", house.id).output
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]


def test_a_living_run_of_ours_is_not_unlocked_unawares(mongo_house: House) -> None:
    """Who looked at one holder does not remove the next one."""
    house = mongo_house
    house.golang.up(1)
    with suppress(Crashed):
        house.golang.up(1, "locked")
    with pytest.raises(GolangError), mongo_house.golang._locked(None):
        pass
    house.orch("apply", "--lock-timeout", "0", code=6)


@pytest.mark.timing
def test_golang_migrate_is_shut_out_while_we_run_and_we_while_it_runs(house: House, forge: Forge) -> None:
    sleeping = '[{"aggregate": 1, "pipeline": [{"$documents": [{}]}, {"$project": {"x": {"$function": {"body": "function() {sleep(1500); return 1}", "args": [], "lang": "js"}}}}], "cursor": {}}]'  # fmt: skip  # noqa: E501
    ours = threading.Thread(target=house.orch, args=("apply",))
    if house.engine == "postgres":
        server = house.estate.servers["postgres"]
        with ThreadPoolExecutor(1) as pool, closed_gate(server) as gate:
            house.estate.write(house.id, {"000002_t2.up.sql": gate.sql})
            ours.start()
            until(lambda: sleepers(server, gate.name), 60)
            theirs = pool.submit(house.golang.up)  # waits for us, and then finds nothing to do
            until(
                lambda: house.estate.sql("db", "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"), 60
            )
            assert not theirs.done()
            gate.open()
            theirs.result()
    else:
        house.estate.write(house.id, {"000002_t2.up.json": sleeping})
        ours.start()
        until(lambda: house.tables() == [1], 60)  # then version 2 runs, and sleeps
        with pytest.raises(GolangError, match="lock"):
            house.golang.up()
    ours.join()
    assert house.version_row() == (4, False)
    with house.golang._locked(None):
        told = house.orch("rollback", house.id, "--steps", "1", "--yes", "--lock-timeout", "0.5", code=6).output
        assert "waiting for the lock, held by" in told
    house.orch("rollback", house.id, "--steps", "1", "--yes")


@pytest.mark.timing
def test_a_golang_migrate_that_waits_inside_a_statement_does_not_kill_our_concurrently(pg_house: House) -> None:
    """It holds a snapshot that our CREATE INDEX CONCURRENTLY waits for, while it waits for our lock."""
    house = pg_house
    house.estate.write(
        house.id,
        {
            "000002_t2.up.sql": "-- orch: no-transaction\nCREATE TABLE t2 (id int);\n"
            "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database())) LOOP PERFORM pg_sleep(0.02); END LOOP; "
            "PERFORM pg_sleep(1.5); END $$;\n"  # by now it has looked for a deadlock, and will not do so again
            "CREATE INDEX CONCURRENTLY t2_id ON t2 (id);\nINSERT INTO t2 VALUES (2);"
        },
    )
    outcome: list[object] = []

    def wait_inside_a_statement() -> None:
        try:
            house.golang.up()
            outcome.append("done")
        except (GolangError, psycopg.Error) as error:
            outcome.append(error)

    waiter = threading.Thread(target=wait_inside_a_statement)
    ours = threading.Thread(target=lambda: outcome.append(house.orch("apply")))
    ours.start()
    until(lambda: 2 in house.tables(), 60)
    waiter.start()
    ours.join(60)
    waiter.join(60)
    told = next(ended.output for ended in outcome if isinstance(ended, Ended))
    assert "tried again" in told, told
    assert house.tables() == [1, 2, 3, 4]
    rows = house.estate.sql("db", "SELECT indisvalid FROM pg_index WHERE indexrelid = 't2_id'::regclass")
    assert rows == [(True,)]
    assert house.estate.sql("db", "SELECT * FROM t2") == [(2,)]
    assert house.version_row() == (4, False)


def test_reading_takes_no_lock(house: House) -> None:
    house.golang.up(2)
    with house.golang._locked(None):
        house.orch("status")
        house.orch("plan")
        house.orch("history", house.id)


# ---------------------------------------------------------------- a table of that name that is another tool's


@pytest.mark.parametrize(
    "made",
    [
        (
            "CREATE TABLE schema_migrations (version varchar PRIMARY KEY)",
            "INSERT INTO schema_migrations VALUES ('2024')",
        ),
        ("CREATE TABLE schema_migrations (version bigint PRIMARY KEY, inserted_at timestamp)",),
    ],
    ids=["Rails", "Ecto, empty"],
)
def test_a_table_of_another_tool_is_left_alone(pg_estate: Estate, made: tuple[str, ...]) -> None:
    pg_estate.add("postgres", "a", {"1_t.up.sql": "CREATE TABLE t (id int);"})
    other_tool(pg_estate, made)
    before = pg_estate.snapshot()
    for command in ("status", "plan", "apply"):
        told = pg_estate.orch(command, code=5).text
        assert "schema_migrations is not golang-migrate's table but another tool's" in told
        assert "x-migrations-table=orch_migrations" in told
    assert pg_estate.snapshot() == before
    path = pg_estate.root / "databases.yaml"
    path.write_text(path.read_text().replace("sslmode=disable", "sslmode=disable&x-migrations-table=orch_migrations"))
    pg_estate.orch("apply")
    assert pg_estate.status("postgres-a")["applied"] == [1]


def other_tool(estate: Estate, statements: tuple[str, ...]) -> None:
    with psycopg.connect(estate.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{estate.prefix}a"'.encode())
    with psycopg.connect(estate.servers["postgres"].dsn(f"{estate.prefix}a"), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_a_collection_of_another_tool_is_left_alone(mongo_estate: Estate) -> None:
    mongo_estate.add("mongo", "a", {"1_c.up.js": '[{"create": "c"}]'})
    mongo_estate.mongo("a")["schema_migrations"].insert_one({"name": "0001-first", "ran": True})
    before = mongo_estate.snapshot()
    told = mongo_estate.orch("apply", code=5).text
    assert "schema_migrations is not golang-migrate's collection but another tool's" in told
    assert "x-migrations-collection=orch_migrations" in told
    assert mongo_estate.snapshot() == before


# ---------------------------------------------------------------- things that are there, and no history


def test_tables_without_a_history_are_told_of_and_can_be_taken_over(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_t.up.sql": "CREATE TABLE IF NOT EXISTS t (id int); INSERT INTO t VALUES (1);"})
    pg_estate.add("postgres", "b", {"1_t.up.sql": "CREATE TABLE t (id int);"})
    other_tool(pg_estate, ("CREATE TABLE t (id int)", "INSERT INTO t VALUES (1)"))
    hint = "orch baseline postgres-a --version"
    for command in ("status", "plan"):
        told = pg_estate.orch(command).stdout
        assert told.count("1 table or collection is there, and no history") == 1
        assert hint in told
    pg_estate.orch("baseline", "postgres-a", "--version", "1")
    assert "are there" not in pg_estate.orch("apply").text
    assert pg_estate.sql("a", "SELECT count(*) FROM t") == [(1,)]
    assert "are there" not in pg_estate.orch("status").text


def test_collections_without_a_history_are_told_of(mongo_estate: Estate) -> None:
    mongo_estate.add("mongo", "a", {"1_c.up.js": '[{"create": "c"}]'})
    assert "are there" not in mongo_estate.orch("plan").text
    mongo_estate.mongo("a")["c"].insert_one({})
    assert "1 table or collection is there, and no history" in mongo_estate.orch("plan").stdout
