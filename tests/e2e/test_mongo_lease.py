"""A MongoDB lease that was taken over: nothing of the run before goes on beside the new one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from estate import SERVERS, Estate, start
from house import House
from kill import Forge

from orchestrator.engines import load_engine
from orchestrator.engines.base import Limits
from orchestrator.engines.mongo import lease as mongo_lease
from orchestrator.engines.mongo import records as mongo_records
from orchestrator.engines.mongo.read_together import read_together
from orchestrator.errors import ConnectionLostError, LockError
from orchestrator.manifest.dsn import Redactor, resolve
from orchestrator.model import Attempt, Database, Direction, Target, VersionRow

MANY = 2_000
# Five milliseconds a document: the server is at it for ten seconds.
SLOW = """[{"update": "many", "updates": [
  {"q": {"$where": "sleep(5) || true"}, "u": {"$inc": {"n": 1}}, "multi": true}
]}]"""


@pytest.fixture(params=[name for name, (engine, _) in SERVERS.items() if engine == "mongo"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    server = start(request.param)
    estate = Estate(tmp_path, {"mongo": server})
    yield resolve(
        Database("mongo-x", "mongo", estate.prefix + "x", server.dsn(), Path()), {}, Redactor(), "orch_history"
    )
    estate.drop()


@pytest.mark.timing
@pytest.mark.parametrize(
    "where", ["another host", "this host", "another host, and its heir was killed too", "unlocked"]
)
def test_what_a_killed_run_left_running_is_ended_before_the_next_goes_on(lone: House, where: str) -> None:
    house = lone
    many: Any = house.estate.mongo("db")["many"]
    many.insert_many([{"n": 0} for _ in range(MANY)])
    house.estate.write(house.id, {"000002_t2.up.json": SLOW})
    house.forge.run(["apply"], house.estate.root, house.estate.env, kill_at=3, label="before Commands.run", delay=1.0)
    locks = house.estate.mongo("db")["migrate_advisory_lock"]
    if where != "this host":  # whose processes nobody here can look up: the lease must run out
        locks.update_one({}, [{"$set": {"machine": "other", "expires_at": {"$subtract": ["$$NOW", 1000]}}}])
    if "heir" in where:
        house.kill("after Lease._try", 1, "apply")
        locks.update_one({}, [{"$set": {"machine": "other", "expires_at": {"$subtract": ["$$NOW", 1000]}}}])
    if where == "unlocked":
        house.orch("unlock", house.id, "--yes")
    house.orch("apply", code=5)  # in doubt: nothing can tell how far it came
    changed = many.count_documents({"n": 1})
    assert 0 < changed < MANY
    time.sleep(0.5)
    assert many.count_documents({"n": 1}) == changed, "it goes on"
    assert "former" not in (locks.find_one() or {})


def test_a_holder_whose_machine_slept_finds_out_before_it_writes(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a machine is suspended its monotonic clock may stand still, and its leases run out all the same."""
    engine = load_engine("mongo", "tester@here", "run1")
    with engine.connect(target) as session, session.lock(0, lambda _: None):
        lease: Any = session._lease  # type: ignore[attr-defined]
        lease.renew()
        lease._collection.update_one({}, {"$set": {"owner": "another"}})
        lease.check()  # that was a moment ago
        woken = time.clock_gettime(time.CLOCK_BOOTTIME) + 3600
        monkeypatch.setattr("time.clock_gettime", lambda _: woken)
        with pytest.raises(LockError, match="taken over"):
            lease.check()
    engine.close()


def test_a_lock_that_is_lost_with_its_server_keeps_everything_from_being_written(target: Target) -> None:
    """Nobody waits for the majority when the lock is taken, so a server that stops may lose it: until the first record.

    If the server is still the same, somebody removed the lock: the run does not take it again.
    """
    engine = load_engine("mongo", "tester@here", "run1")
    one = Attempt(1, 1, "one", Direction.UP, "sha256:1", done=True)
    with engine.connect(target) as session:
        with session.lock(0, lambda _: None):
            lease: Any = session._lease  # type: ignore[attr-defined]
            lease._collection.delete_many({})
            if lease._granted_by:  # SecantusDB does not name its process
                with pytest.raises(LockError, match="was removed while"):
                    session.commit((), [one], VersionRow(1), Limits())
            lease._granted_by = "another process"
            with pytest.raises(ConnectionLostError, match="does not have the lock"):
                session.commit((), [one], VersionRow(1), Limits())
        history = session.read_history()
        assert (history.exists, history.version_row, history.attempts) == (True, None, ())
        with session.lock(0, lambda _: None):
            session.commit((), [one], VersionRow(1), Limits())
            session._lease._collection.delete_many({})  # type: ignore[attr-defined]
            with pytest.raises(LockError, match="taken over"):  # the majority had it: somebody took it away
                session.commit((), [one._replace(version=2)], VersionRow(2), Limits())
        assert [attempt.version for attempt in session.read_history().attempts] == [1]
    engine.close()


def test_a_reader_does_not_take_the_work_of_another_run_for_emptied_records(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents and names of collections are read one after the other: a run may come between."""
    engine = load_engine("mongo", "tester@here", "run1")

    one = Attempt(1, 1, "one", Direction.UP, "sha256:1", done=True)
    with engine.connect(target) as session, engine.connect(target) as other:
        with other.lock(0, lambda _: None):
            other._database.create_collection("orch_history")  # type: ignore[attr-defined]  # as earlier releases
            other._database["theirs"].insert_one({})  # type: ignore[attr-defined]
            assert not session.read_history().emptied, "a run is at work on its first file"

            def read_before(*collections: Any) -> Any:
                found = read_together(*collections)
                monkeypatch.setattr(mongo_records, "read_together", read_together)
                other.commit((), [one], VersionRow(1), Limits())
                other._lease._collection.delete_many({})  # type: ignore[attr-defined]
                return found

            monkeypatch.setattr(mongo_records, "read_together", read_before)
            history = session.read_history()
            assert (history.emptied, history.version_row, len(history.attempts)) == (False, VersionRow(1), 1)
        for collection in (other._records.versions, other._records.history):  # type: ignore[attr-defined]
            collection.delete_many({})
        assert session.read_history().emptied
    engine.close()


def test_a_run_whose_lock_is_removed_before_its_first_record_ends(mongo_house: House, forge: Forge) -> None:
    house = mongo_house
    locks = house.estate.mongo("db")["migrate_advisory_lock"]
    apply = ["apply"], house.estate.root, house.estate.env
    with forge.stopped(*apply, "before MongoSession.commit", lambda: (locks.find_one({}) or {}).get("pid", 0)) as ended:
        house.estate.orch("unlock", house.id, "--yes", "--terminate")
    assert ended[0].code == 6, ended[0].output
    assert "was removed while this run held it" in ended[0].output
    assert house.tables() == []
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]
    assert locks.count_documents({}) == 0


def test_what_could_not_be_ended_is_left_to_whoever_comes_next(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = load_engine("mongo", "tester@here", "run1")
    with engine.connect(target) as session:
        lease: Any = session._new_lease()  # type: ignore[attr-defined]
        with lease.held(0, lambda _: None):
            lease._collection.update_one({}, mongo_lease._EXPIRE)

            def in_vain(_lease: object, _sessions: object) -> None:
                raise LockError("the server still runs it")

            with monkeypatch.context() as patched:
                patched.setattr(mongo_lease.Lease, "_end", in_vain)
                heir: Any = session._new_lease()  # type: ignore[attr-defined]
                with pytest.raises(LockError, match="still runs"), heir.held(1, lambda _: None):
                    pass
            ended: list[object] = []
            monkeypatch.setattr(mongo_lease.Lease, "_end", lambda _lease, sessions: ended.extend(sessions))
            with session._new_lease().held(1, lambda _: None):  # type: ignore[attr-defined]
                assert len(ended) == 2, "the first holder's, and its heir's"
    engine.close()


def test_a_run_that_made_the_collection_of_the_lock_sees_what_a_quicker_one_wrote(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs meet in a new database: the first makes the lock's collection, and the second one takes the lock."""
    slow, quick = load_engine("mongo", "tester@here", "run1"), load_engine("mongo", "tester@here", "run2")
    one = Attempt(1, 1, "one", Direction.UP, "sha256:1", done=True)
    made = mongo_lease.Lease._make_collection

    def and_another_run_comes(lease: mongo_lease.Lease) -> None:
        made(lease)
        monkeypatch.setattr(mongo_lease.Lease, "_make_collection", made)
        with quick.connect(target) as other, other.lock(0, lambda _: None):
            other.commit((), [one], VersionRow(1), Limits())

    monkeypatch.setattr(mongo_lease.Lease, "_make_collection", and_another_run_comes)
    with slow.connect(target) as session, session.lock(0, lambda _: None):
        history = session.read_history()
    assert (history.version_row, [attempt.version for attempt in history.attempts]) == (VersionRow(1), [1])
    slow.close()
    quick.close()
