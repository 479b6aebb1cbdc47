"""The history of a whole estate, and who the history says did it."""

from __future__ import annotations

import csv
import io
import socket
from datetime import datetime, timedelta

import pytest
from estate import Estate

from orchestrator.operations.actor import actor


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"ORCH_ACTOR": "alice", "GITHUB_ACTIONS": "true"}, "alice"),
        (
            {
                "GITHUB_ACTIONS": "true",
                "GITHUB_ACTOR": "octocat",
                "GITHUB_SERVER_URL": "https://github.com",
                "GITHUB_REPOSITORY": "acme/shop",
                "GITHUB_RUN_ID": "7",
            },
            "octocat (https://github.com/acme/shop/actions/runs/7)",
        ),
        (
            {"GITLAB_CI": "true", "GITLAB_USER_LOGIN": "bob", "CI_JOB_URL": "https://gitlab.com/acme/-/jobs/7"},
            "bob (https://gitlab.com/acme/-/jobs/7)",
        ),
        ({"JENKINS_URL": "https://ci/", "BUILD_URL": "https://ci/job/7/"}, "jenkins (https://ci/job/7/)"),
        (
            {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "POD_NAME": "orch-x7", "POD_NAMESPACE": "shop"},
            "pod shop/orch-x7",
        ),
    ],
)
def test_the_actor(env: dict[str, str], told: str) -> None:
    assert actor(env) == told


def test_the_history_of_the_whole_estate(estate: Estate) -> None:
    estate.add("mongo", "b", {"1_x.up.json": '[{"create": "c"}]'})
    estate.orch("apply", env={"ORCH_ACTOR": "=alice"})
    estate.add("postgres", "a", {"1_x.up.sql": "CREATE TABLE t ();", "2_x.up.sql": "nonsense;"})
    estate.orch("apply", code=1)
    estate.sql("a", "UPDATE orch_history SET started_at = started_at - interval '9 days' WHERE version = 1")
    whole = estate.orch("history", "--output", "json").json
    assert [(a["id"], a["version"], a["result"]) for a in whole["attempts"]] == [
        ("postgres-a", 1, "applied"),
        ("mongo-b", 1, "applied"),
        ("postgres-a", 2, "failed"),
    ]
    assert all(datetime.fromisoformat(a["started_at"]).utcoffset() == timedelta() for a in whole["attempts"])
    lately = estate.orch("history", "--since", "7d").stdout
    assert "postgres-a" in lately
    assert "mongo-b" in lately
    assert lately.count(" UTC ") == 2
    failed = estate.orch("history", "--failed", "--output", "csv").stdout
    (row,) = csv.DictReader(io.StringIO(failed))
    assert (row["id"], row["version"], row["result"]) == ("postgres-a", "2", "failed")
    assert "nonsense" in row["error"]
    everything = estate.orch("history", "--output", "csv").stdout
    assert "'=alice" in everything, "no spreadsheet runs what somebody is called"
    assert "No attempt matches." in estate.orch("history", "b", "--failed").stdout
    assert "neither an age nor a date" in estate.orch("history", "--since", "soon", code=2).stderr


def test_the_history_keeps_the_role_and_the_host(estate: Estate) -> None:
    estate.add("mongo", "b", {"1_x.up.json": '[{"create": "c"}]'})
    estate.add("postgres", "a", {"1_x.up.sql": "CREATE TABLE t ();"})
    estate.orch("apply", env={"ORCH_ACTOR": "alice"})
    users = {f"{engine}-{name}": estate.servers[engine].user for engine, name in (("mongo", "b"), ("postgres", "a"))}
    for attempt in estate.orch("history", "--output", "json").json["attempts"]:
        assert (attempt["role"], attempt["host"]) == (users[attempt["id"]], socket.gethostname())
    rows = csv.DictReader(io.StringIO(estate.orch("history", "--output", "csv").stdout))
    assert {row["id"]: row["role"] for row in rows} == users
    assert f"alice on {socket.gethostname()} as {users['postgres-a']}" in estate.orch("history").stdout


def test_a_history_of_an_earlier_release_gets_the_columns_from_its_owner(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_x.up.sql": "CREATE TABLE t ();"})
    pg_estate.orch("apply")
    pg_estate.sql("a", "ALTER TABLE orch_history DROP COLUMN role, DROP COLUMN host")
    assert "applied" in pg_estate.orch("history").stdout
    pg_estate.write("postgres-a", {"2_x.up.sql": "CREATE TABLE u ();"})
    pg_estate.orch("apply")
    rows = pg_estate.sql("a", "SELECT version, role <> '', host <> '' FROM orch_history ORDER BY version")
    assert rows == [(1, False, False), (2, True, True)]
