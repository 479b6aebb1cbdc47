"""Clocks that jump: of a server, and of the machine that orch runs on. What is stored is shifted, as a jump leaves it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from estate import SERVERS, Estate, start
from house import House

from orchestrator.engines import load_engine
from orchestrator.engines.mongo import lease as mongo_lease
from orchestrator.errors import LockError
from orchestrator.manifest.dsn import Redactor, resolve
from orchestrator.model import Database, Target

HOUR = timedelta(hours=1)


def shift_history(house: House, hours: int) -> None:
    """Move all times of the history, as if it had been written while the server's clock was wrong by so much."""
    if house.engine == "postgres":
        by = f"interval '{hours} hours'"
        house.estate.sql(
            "db", f"UPDATE orch_history SET started_at = started_at + {by}, finished_at = finished_at + {by}"
        )
        return
    by_milliseconds = hours * 3_600_000
    for key in ("started_at", "finished_at"):
        shifted = {"$dateAdd": {"startDate": f"${key}", "unit": "millisecond", "amount": by_milliseconds}}
        house.estate.mongo("db")["orch_history"].update_many({}, [{"$set": {key: shifted}}])


@pytest.mark.parametrize("hours", [24, -24])
def test_what_is_applied_does_not_depend_on_times(house: House, hours: int) -> None:
    house.orch("apply", "--only", house.id, "--to", "2")
    house.orch("rollback", house.id, "--steps", "1", "--yes")
    shift_history(house, hours)
    house.orch("apply", "--only", house.id, "--to", "3")
    assert (house.status()["applied"], house.status()["problems"]) == ([1, 2, 3], [])
    house.orch("rollback", house.id, "--to", "1", "--yes")
    assert house.tables() == [1]
    house.orch("apply")
    assert (house.tables(), house.version_row()) == ([1, 2, 3, 4], (4, False))
    told = re.findall(
        r"^\S+ \S+ UTC +(\d) t\d +(applied(?: \(rolled back\))?)", house.orch("history", house.id).output, re.MULTILINE
    )
    up, down = "applied", "applied (rolled back)"
    assert [way for version, way in told if version == "2"] == [up, down, up, down, up]
    assert [way for version, way in told if version == "3"] == [up, down, up]
    assert all(row["seconds"] >= 0 for row in house.attempts())


def test_a_clock_set_back_while_a_file_runs_gives_no_negative_time(new_house: House) -> None:
    house = new_house
    house.estate.write(
        house.id,
        {"000002_t2.up.sql": "-- orch: no-transaction\nCREATE TABLE t2 ();\nUPDATE nothing SET n = 1;\n"},
    )
    house.orch("apply", code=1)
    shift_history(house, 24)
    house.estate.sql("db", "CREATE TABLE nothing (n int)")
    house.orch("apply")
    assert all(row["seconds"] is None or row["seconds"] >= 0 for row in house.attempts())


# ---------------------------------------------------------------- MongoDB's lease


@pytest.fixture(params=[name for name, (engine, _) in SERVERS.items() if engine == "mongo"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    server = start(request.param)
    estate = Estate(tmp_path, {"mongo": server})
    yield resolve(
        Database("mongo-x", "mongo", estate.prefix + "x", server.dsn(), Path()), {}, Redactor(), "orch_history"
    )
    estate.drop()


def test_a_lease_of_before_the_clock_was_set_back_does_not_last_longer_than_a_lease(target: Target) -> None:
    """Its holder was killed on another machine; without this everybody would wait for the hour."""
    engine = load_engine("mongo", "tester@here", "run1")
    with engine.connect(target) as session:
        killed: Any = session._new_lease()  # type: ignore[attr-defined]
        locks = killed._collection
        with killed.held(0, lambda _: None):
            ahead = datetime.now(UTC) + HOUR
            locks.update_one({}, {"$set": {"machine": "another", "owner": "gone", "expires_at": ahead}})
            heir: Any = session._new_lease()  # type: ignore[attr-defined]
            with pytest.raises(LockError, match="is locked by"), heir.held(0, lambda _: None):
                pass
            left = locks.find_one()["expires_at"].replace(tzinfo=UTC) - datetime.now(UTC)
            assert timedelta(0) < left <= timedelta(seconds=mongo_lease.LEASE_SECONDS + 5)
    engine.close()


def test_golang_migrates_lock_gets_no_end(target: Target) -> None:
    engine = load_engine("mongo", "tester@here", "run1")
    with engine.connect(target) as session:
        lease: Any = session._new_lease()  # type: ignore[attr-defined]
        document = {"locking_key": 0, "pid": 1, "hostname": "another", "created_at": datetime.now(UTC) + HOUR}
        lease._collection.insert_one(dict(document))
        with pytest.raises(LockError, match="golang-migrate"), lease.held(0, lambda _: None):
            pass
        assert lease._collection.find_one({}, {"_id": 0}).keys() == document.keys()
    engine.close()


@pytest.mark.parametrize("off", [HOUR, -HOUR])
def test_whether_a_lease_is_over_is_asked_of_the_server(
    target: Target, monkeypatch: pytest.MonkeyPatch, off: timedelta
) -> None:
    """The clock of this machine is wrong: a holder at work stays one, and a lease that is over is not one."""

    class Times(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, datetime)

    class Wrong(datetime, metaclass=Times):
        @classmethod
        def now(cls, tz: Any = None) -> Wrong:
            return super().now(tz) + off

    engine = load_engine("mongo", "tester@here", "run1")
    monkeypatch.setattr(mongo_lease, "datetime", Wrong)
    with engine.connect(target) as session:
        lease: Any = session._new_lease()  # type: ignore[attr-defined]
        with lease.held(0, lambda _: None):
            lease._collection.update_one({}, {"$set": {"machine": "another"}})
            holder = lease.holder()
            assert holder.running and re.search(r"for \d s\)", holder.description), holder
            lease._collection.update_one({}, [{"$set": {"expires_at": {"$subtract": ["$$NOW", 1000]}}}])
            assert not lease.holder().leased
    engine.close()


def test_a_holder_that_was_overtaken_knows_it_after_a_heartbeat(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's clock went forward, and another run took the lease that still seems fresh here."""
    monkeypatch.setattr(mongo_lease, "HEARTBEAT_EVERY", 0.02)
    engine = load_engine("mongo", "tester@here", "run1")
    with engine.connect(target) as session, session.lock(0, lambda _: None):
        lease: Any = session._lease  # type: ignore[attr-defined]
        lease.renew()
        lease._collection.update_one({}, {"$set": {"owner": "another"}})
        for _ in range(1000):
            if not lease._fresh_until:
                break
            lease._over.wait(0.01)
        with pytest.raises(LockError, match="taken over"):
            lease.check()
    engine.close()
