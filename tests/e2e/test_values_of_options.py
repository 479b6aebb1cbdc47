"""An option never becomes the value of the option before it: nothing is made or recorded by a name that nobody meant."""

from __future__ import annotations

from estate import Estate


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
