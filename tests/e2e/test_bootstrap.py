"""Members of a fleet that are copied from one template: `bootstrap: template`."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import psycopg
from estate import Estate
from golang import GolangPostgres
from proxy import Rule, proxied

from orchestrator.scratch.clone_names import is_clone

FILES = {
    "000001_a.up.sql": "CREATE TABLE a (id serial PRIMARY KEY, at timestamptz DEFAULT now());",
    "000001_a.down.sql": "DROP TABLE a;",
    "000002_seed.up.sql": "INSERT INTO a SELECT FROM generate_series(1, 3);",
    "000002_seed.down.sql": "DELETE FROM a;",
}
THIRD = {"000003_b.up.sql": "CREATE TABLE b (id int);", "000003_b.down.sql": "DROP TABLE b;"}


def fleet(estate: Estate, members: int = 3, more: str = "", bootstrap: str = "template") -> None:
    estate.manifest(
        '  - {name: "t_{n}", server: postgres, migrations: migrations/t/schema, '
        f"for_each: {{range: 1..{members}}}, bootstrap: {bootstrap}{more}}}\n"
    )


def server(estate: Estate, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(estate.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
        cursor = connection.execute(query)
        return cursor.fetchall() if cursor.description else []


def rows(estate: Estate, name: str) -> list[tuple[Any, ...]]:
    return estate.sql(name, "SELECT version, origin, done, reason, identity FROM orch_history ORDER BY 1, attempt")


def copies(estate: Estate) -> set[str]:
    """Return the templates of this project and the half made copies on the server. Other tests make such things too.

    Theirs have the directory of another project, or a process that still runs: all of ours have ended. A template that is
    being built has no directory yet, so it is waited for: one that nobody builds any more stays as it is.
    """
    query = (
        "SELECT datname, coalesce(shobj_description(oid, 'pg_database'), '') "
        "FROM pg_database WHERE datname ~ '^orch_(template|clone)_'"
    )
    deadline = time.monotonic() + 20
    while True:
        found = dict(server(estate, query))
        if time.monotonic() > deadline or all(origin or is_clone(name) for name, origin in found.items()):
            break
        time.sleep(0.2)
    return {
        name
        for name, origin in found.items()
        if (is_left(name) if is_clone(name) else str(estate.root) in origin or not origin)
    }


def is_left(clone: str) -> bool:
    """Whether the process that a clone belongs to has ended."""
    pid = clone.split("_")[3]
    return pid != "0" and not Path("/proc", pid).exists()


def test_members_are_copied_and_then_like_any_other(pg_estate: Estate) -> None:
    estate = pg_estate
    estate.write("t", FILES)
    fleet(estate)
    before = copies(estate)
    estate.orch("plan", "-o", "plan.json")
    applied = estate.orch("apply", "plan.json")
    assert "copied from one template" in applied.stderr
    (template,) = copies(estate) - before
    digest = template.rpartition("_")[2]
    for member in (1, 2, 3):
        name = f"t_{member}"
        assert rows(estate, name) == [(v, "cloned", True, f"from template {digest}", "") for v in (1, 2)]
        assert estate.version_row(name) == [(2, False)]
    assert estate.sql("t_1", "SELECT * FROM a") == estate.sql("t_3", "SELECT * FROM a")  # now() is that of the template
    marks = server(
        estate, f"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{estate.prefix}t_1'"
    )
    assert marks == [(None,)]  # it is no clone, and nobody drops it as one
    assert "Nothing to do: 3 databases up to date" in estate.orch("apply").stderr
    assert f"from template {digest}" in estate.orch("history", "t_1", "--output", "json").stdout
    estate.orch("drop-clone", f"{estate.prefix}t_1", code=2)

    estate.write("t", THIRD)  # the template is stale
    fleet(estate, 4)
    estate.orch("apply")
    assert [row[1] for row in rows(estate, "t_1")] == ["cloned", "cloned", "applied"]
    assert rows(estate, "t_1")[2][4] != ""
    assert [row[1] for row in rows(estate, "t_4")] == ["cloned"] * 3
    assert len(copies(estate) - before) == 2
    assert "Nothing to do" in estate.orch("apply").stderr

    estate.orch("rollback", "t_4", "--steps", "3", "--yes")
    assert "a" not in estate.tables("t_4")
    estate.orch("apply")
    assert estate.orch("status", "--output", "json").json["databases"][3]["version"] == 3
    estate.orch("verify", "t_2")
    migrate = GolangPostgres(
        estate.servers["postgres"].dsn(f"{estate.prefix}t_3"),
        f"{estate.prefix}t_3",
        estate.root / "migrations/t/schema",
    )
    assert migrate.version() == (3, False)
    migrate.down(1)
    assert estate.orch("status", "--output", "json", code=None).json["databases"][2]["version"] == 2
    estate.orch("apply")
    estate.orch("drop-clone", "--templates")
    assert copies(estate) <= before


def test_a_member_that_is_there_and_a_part_of_the_files_are_migrated(pg_estate: Estate) -> None:
    estate = pg_estate
    estate.write("t", FILES)
    fleet(estate)
    before = copies(estate)
    server(estate, f'CREATE DATABASE "{estate.prefix}t_2"')
    estate.orch("apply", "--only", "t_3", "--to", "1")
    assert [row[1] for row in rows(estate, "t_3")] == ["applied"]
    assert copies(estate) == before
    estate.orch("apply")
    assert [row[1] for row in rows(estate, "t_2")] == ["applied"] * 2
    assert [row[1] for row in rows(estate, "t_1")] == ["cloned"] * 2
    estate.orch("drop-clone", "--templates")


def test_what_would_differ_from_member_to_member_is_refused(pg_estate: Estate) -> None:
    estate = pg_estate
    before = copies(estate)

    def refused(files: dict[str, str], more: str = "") -> str:
        estate.write("t", {**FILES, "000002_seed.up.sql": "SELECT 1;", **files})
        fleet(estate, more=more)
        told = [estate.orch(command, code=4).stderr for command in ("plan", "apply")]
        assert copies(estate) == before
        assert not server(estate, f"SELECT 1 FROM pg_database WHERE datname LIKE '{estate.prefix}%'")
        return told[1]

    told = refused({"000002_seed.up.sql": "\nCREATE ROLE x_of_all;"})
    assert "000002_seed.up.sql:2" in told
    assert "leave out 'bootstrap'" in told
    assert "000002_seed.up.sql:1:8" in refused({"000002_seed.up.sql": "SELECT current_database();"})
    assert "differ in more than the names" in refused({}, ', create: {owner: "o_{n}"}')
    fleet(estate, bootstrap="copy")
    assert "bootstrap" in estate.orch("validate", code=4).stderr
    estate.manifest("  - {name: t, server: postgres, migrations: migrations/t/schema, bootstrap: template}\n")
    assert "'bootstrap' is for a fleet" in estate.orch("validate", code=4).stderr


def test_a_failing_template_leaves_nothing_and_the_next_run_goes_on(pg_estate: Estate) -> None:
    estate = pg_estate
    estate.write("t", {**FILES, "000002_seed.up.sql": "INSERT INTO nowhere VALUES (1);"})
    fleet(estate)
    before = copies(estate)
    failed = estate.orch("apply", code=1)
    assert "000002_seed.up.sql:1" in failed.stderr
    assert copies(estate) == before
    assert not server(estate, f"SELECT 1 FROM pg_database WHERE datname LIKE '{estate.prefix}%'")
    estate.write("t", FILES)
    estate.orch("apply")
    assert [len(rows(estate, f"t_{n}")) for n in (1, 2, 3)] == [2, 2, 2]
    estate.orch("drop-clone", "--templates")


def test_a_run_killed_anywhere_is_continued(pg_estate: Estate) -> None:
    estate = pg_estate
    estate.write("t", {**FILES, "000003_slow.up.sql": "SELECT pg_sleep(1.5);", "000003_slow.down.sql": "SELECT 1;"})
    fleet(estate, 12, ", drift: refuse")
    before = copies(estate)

    def killed(ready: str, timeout: float = 30) -> None:
        with estate.start("apply", "--jobs-per-server", "1") as process:
            until = time.monotonic() + timeout
            while not server(estate, ready):
                assert time.monotonic() < until
                assert process.poll() is None
                time.sleep(0.01)
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()

    # The server shows only the beginning of what was sent, and the statement of the file comes late in it.
    killed("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname LIKE 'orch%'")
    assert not server(estate, f"SELECT 1 FROM pg_database WHERE datname LIKE '{estate.prefix}%'")
    killed(f"SELECT 1 FROM pg_database WHERE datname = '{estate.prefix}t_3'")
    made = server(estate, f"SELECT datname FROM pg_database WHERE datname LIKE '{estate.prefix}%'")
    assert 3 <= len(made) < 12
    estate.orch("apply")
    assert len(copies(estate) - before) == 1  # the template: what was half copied is gone
    assert {len(rows(estate, f"t_{n}")) for n in range(1, 13)} == {3}
    assert "Nothing to do: 12 databases up to date" in estate.orch("apply").stderr
    drift = estate.orch("drift", "t_7", "--kept", "--output", "json")
    assert "unknown" not in json.dumps(drift.json).lower() or drift.code == 0
    estate.orch("drop-clone", "--templates")


def test_who_may_not_create_is_told_by_the_server(pg_estate: Estate) -> None:
    estate = pg_estate
    role = f"{estate.prefix}poor"
    estate.write("t", FILES)
    server(estate, f"CREATE ROLE {role} LOGIN PASSWORD '{estate.servers['postgres'].password}'")
    fleet(estate)
    text = (estate.root / "databases.yaml").read_text()
    (estate.root / "databases.yaml").write_text(text.replace(f"{estate.servers['postgres'].user}:", f"{role}:"))
    before = copies(estate)
    try:
        refused = estate.orch("apply", code=None)
        assert refused.code not in (0, None)
        assert "permission denied to create database" in refused.stderr
        assert copies(estate) == before
    finally:
        server(estate, f"DROP ROLE {role}")


def test_a_member_is_created_in_one_step(pg_estate: Estate) -> None:
    """Where nothing is to be set on a member, it has its name from the beginning: nobody renames it."""
    estate = pg_estate
    estate.write("t", FILES)
    postgres, manifest = estate.servers["postgres"], estate.root / "databases.yaml"
    seen = []
    with proxied(postgres.host, postgres.port) as proxy:
        for members, mark in ((2, f'CREATE DATABASE "{estate.prefix}t_'), (4, "RENAME TO")):
            fleet(estate, members)
            manifest.write_text(manifest.read_text().replace(f":{postgres.port}/", f":{proxy.port}/"))
            rule = Rule(mark.encode(), 1000, "delay")  # which counts, and never strikes
            proxy.spoil(rule)
            estate.orch("apply")
            seen.append(rule.seen)
    assert seen == [2, 0]
    assert [row[1] for row in rows(estate, "t_4")] == ["cloned"] * 2
    fleet(estate)
    estate.orch("drop-clone", "--templates")
