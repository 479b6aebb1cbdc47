"""The history of a whole estate, and who the history says did it."""

from __future__ import annotations

import csv
import io
import socket
from datetime import datetime, timedelta

import pytest
from estate import Estate

from orchestrator.operations.actor import MAX_LENGTH, actor


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
        ({"ORCH_ACTOR": "  ali\x1b[31mce\n bob\t\u202eX "}, "ali [31mce bob X"),
        ({"ORCH_ACTOR": "bad\udcff\udcfe"}, "bad??"),
        ({"ORCH_ACTOR": "ann (https://u:s3cret@ci/7)"}, "ann (https://u:***@ci/7)"),
        ({"ORCH_ACTOR": "\x1b", "GITLAB_CI": "true", "CI_JOB_URL": "not an address"}, "gitlab (not an address)"),
        ({"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "7"}, "github"),
        (
            {
                "GITHUB_ACTIONS": "true",
                "GITHUB_ACTOR": "octo\ncat",
                "GITHUB_SERVER_URL": "https://x:s3cret@ghe.corp:8443",
                "GITHUB_REPOSITORY": "acme/shop",
                "GITHUB_RUN_ID": "7",
            },
            "octo cat (https://ghe.corp:8443/acme/shop/actions/runs/7)",
        ),
        (
            {
                "JENKINS_URL": "x",
                "BUILD_USER_ID": "bob",
                "BUILD_URL": "https://s3cret@ci/job/a@b/7/?token=s3cret#s3cret",
            },
            "bob (https://ci/job/a@b/7/)",
        ),
        (
            {"GITLAB_CI": "true", "CI_JOB_URL": "https://gitlab-ci-token:s3cret@gitlab.com/-/jobs/7"},
            "gitlab (https://gitlab.com/-/jobs/7)",
        ),
        ({"KUBERNETES_SERVICE_HOST": "x", "POD_NAME": "a\x00b\x9b", "POD_NAMESPACE": "s\u2028t"}, "pod s t/a b"),
    ],
)
def test_the_actor(env: dict[str, str], told: str) -> None:
    assert actor(env) == told


def test_an_actor_that_is_not_empty_and_not_endless() -> None:
    assert "@" in actor({"ORCH_ACTOR": " \n", "JENKINS_URL": "", "KUBERNETES_SERVICE_HOST": ""})
    for env in ({"ORCH_ACTOR": "x" * 200_000}, {"GITLAB_CI": "true", "CI_JOB_URL": "https://h/" + "x" * 200_000}):
        assert len(actor(env)) < MAX_LENGTH + 50
        assert "characters" in actor(env)


def test_whatever_an_actor_is_called_it_is_recorded_without_secrets(estate: Estate) -> None:
    estate.add("mongo", "b", {"1_x.up.json": '[{"create": "c"}]'})
    estate.add("postgres", "a", {"1_x.up.sql": "CREATE TABLE t ();"})
    odd = "bad\udcff\n\x1b " + estate.servers["postgres"].password
    estate.orch("apply", env={"ORCH_ACTOR": odd})
    for attempt in estate.orch("history", "--output", "json").json["attempts"]:
        assert attempt["actor"] == "bad? ***"
    assert estate.sql("a", "SELECT actor FROM orch_history") == [("bad? ***",)]
    # So is the reason that somebody gives.
    for one in (estate.root / "migrations").glob("*/schema/1_x.*"):
        one.unlink()
    reason = f"moved\udcff\n{estate.servers['postgres'].password} {'x' * 90_000}"
    estate.orch("repair", "*", "--acknowledge", "1", "--reason", reason)
    for attempt in estate.orch("history", "--output", "json").json["attempts"][2:]:
        assert attempt["reason"].startswith("moved? *** xxx")
        assert len(attempt["reason"]) < 5_000


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
