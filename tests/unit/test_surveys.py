"""The states of a fleet: databases that are alike are folded once, and nothing of one shows in another."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from test_history import catalogs, files, found, histories, up

from orchestrator.model import Attempt, Database, History, Migration, Settings, VersionRow
from orchestrator.planning.attempts import digest
from orchestrator.planning.history import reconcile
from orchestrator.planning.surveys import States

DATABASE = Database("postgres-a", "postgres", "a", "dsn", Path())
LATE = replace(DATABASE, settings=Settings(out_of_order=True))


def others(history: History) -> History:
    """Return the history of a database that is alike: another run made it, of another release, at another time."""

    def differently(one: Attempt) -> Attempt:
        when = datetime(2026, 1, one.version + 1, tzinfo=UTC)
        return one._replace(actor="ann", run_id="2", tool="9", started_at=when, seconds=2.0, host="ci", error="no")

    return history._replace(place="elsewhere", attempts=tuple(map(differently, history.attempts)))


@settings(max_examples=200, deadline=None)
@given(catalogs, st.lists(histories, min_size=1, max_size=12))
def test_a_shared_state_is_the_one_that_a_database_has_alone(migrations: list[Migration], read: list[History]) -> None:
    states, same = States(), tuple(migrations)
    for history in [one for pair in read for one in (pair, others(pair), pair)]:
        for database in (DATABASE, LATE):
            state = reconcile(same, history, out_of_order=database.settings.out_of_order)
            assert states.of(database, same, history) == (state, digest(history))


def test_databases_that_are_alike_share_one_state() -> None:
    states, same = States(), tuple(files(1, 2, 3))
    history = found(VersionRow(2), up(1), up(2))
    first, _ = states.of(DATABASE, same, history)
    assert first.pending == (3,)
    assert states.of(DATABASE, same, others(history))[0] is first
    assert states.of(DATABASE, tuple(files(1, 2)), history)[0] is not first, "other files, another state"
    edited = found(VersionRow(2), up(1), up(2, checksum="sha256:other", actor="bob"))
    told = [states.of(DATABASE, same, one)[0].problems[0].what for one in (edited, others(edited))]
    assert "bob" in told[0]
    assert "ann" in told[1], "who did it is told of each database"
