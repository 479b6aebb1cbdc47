"""An option never becomes the value of the option before it: nothing is made or recorded by a name that nobody meant."""

from __future__ import annotations

import re
import subprocess

import psycopg
from estate import Estate

from orchestrator.scratch.clone_names import clone_name


def test_an_option_in_the_place_of_a_value_is_refused(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_t.up.sql": "CREATE TABLE t ();", "1_t.down.sql": "DROP TABLE t;"})
    pg_estate.orch("apply")
    before = pg_estate.snapshot()
    for call, option, follows in (
        (("clone", "a", "--as", "--no-seeds"), "--as", "--no-seeds"),
        (("clone", "a", "--as", "--no-sedes"), "--as", "--no-sedes"),
        (("repair", "a", "--mark-applied", "--reason", "x"), "--mark-applied", "--reason"),
        (("rollback", "a", "--to", "--yes"), "--to", "--yes"),
        (("apply", "--only", "--no-deps"), "--only", "--no-deps"),
        (("status", "-f", "--output=json"), "-f", "--output"),
    ):
        refused = pg_estate.orch(*call, code=2)
        assert f"{option} needs a value, and the option {follows} follows" in refused.text, call
    document = pg_estate.orch("repair", "a", "--mark-applied", "--output", "json", code=2)
    assert "--mark-applied needs a value" in document.text
    assert pg_estate.snapshot() == before
    names = pg_estate.orch("clones").text
    assert "--no-" not in names


def test_a_value_may_begin_with_a_dash(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_t.up.sql": "CREATE TABLE t ();", "1_t.down.sql": "DROP TABLE t;"})
    pg_estate.orch("apply")
    for version, reason in enumerate(["--because", "-1", "-- it is there --"], 2):
        pg_estate.write("postgres-a", {f"{version}_t.up.sql": "SELECT 1;"})
        pg_estate.orch("repair", "a", "--mark-applied", str(version), f"--reason={reason}")
        assert reason in pg_estate.orch("history", "a", "--output", "json").stdout


def test_a_copy_has_a_name_and_an_owner_that_somebody_meant(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_t.up.sql": "CREATE TABLE t ();", "1_t.down.sql": "DROP TABLE t;"})
    gone = subprocess.Popen(["true"])
    gone.wait()
    for wanted, what in {
        "--as=": "--as has an empty name",
        "--as=orch_template_x": "a copy cannot be called 'orch_template_x'",
        "--as=orch_clone_x": "a copy cannot be called 'orch_clone_x'",
        f"--pid={gone.pid}": f"there is no process {gone.pid}, to which the clone could belong",
    }.items():
        assert what in pg_estate.orch("clone", "a", wanted, code=2).stderr
    with psycopg.connect(pg_estate.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
        query = "SELECT datname FROM pg_database WHERE datname IN ('orch_template_x', 'orch_clone_x') OR datname ~ %s"
        assert not connection.execute(query, (f"_{gone.pid}_-1_",)).fetchall()
        name = pg_estate.orch("clone", "a", "--as", f"{pg_estate.prefix}copy").stdout.strip()
        left = re.sub("_0_0_", f"_{gone.pid}_-1_", clone_name(None))  # as an earlier release called it
        connection.execute(f'ALTER DATABASE "{name}" RENAME TO "{left}"'.encode())
        assert left in pg_estate.orch("drop-clone", "--left-behind").stdout
