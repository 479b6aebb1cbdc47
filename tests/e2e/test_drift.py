"""`orch drift`, and `drift:` in the manifest: what was changed in databases behind their migrations, on real servers."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from estate import Estate, start
from jsonschema import Draft202012Validator

SCHEMA = json.loads(files("orchestrator.schemas").joinpath("drift.schema.json").read_text())
UP = (
    "CREATE TABLE orders (id int PRIMARY KEY, note text);\n"
    "CREATE TABLE parts (x int) PARTITION BY LIST (x);\n"
    "CREATE VIEW v AS SELECT id FROM orders;\n"
    "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$\nBEGIN\n  RETURN 1;\nEND $$;\n"
)
BY_HAND = (
    "CREATE TABLE extra (x int); ALTER TABLE orders ADD total int; CREATE INDEX i ON orders (note); "
    "GRANT SELECT ON orders TO pg_monitor; DROP VIEW v; "
    "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$\nBEGIN\n  RETURN 2;\nEND $$;"
)


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    estate = Estate(tmp_path_factory.mktemp("drift"), {"postgres": start("postgres-wheel"), "mongo": start("mongod")})
    yield estate
    estate.drop()


def found(estate: Estate, *arguments: str, code: int = 3) -> list[dict[str, Any]]:
    document = estate.orch("drift", *arguments, "--output", "json", code=code).json
    Draft202012Validator(SCHEMA).validate(document)
    entries: list[dict[str, Any]] = document["databases"]
    return entries


def test_a_change_by_hand_is_told_refused_before_anything_runs_and_ended_by_accept(estate: Estate) -> None:
    estate.add("postgres", "shop", {"000001_a.up.sql": UP}, drift="refuse")
    estate.orch("apply", "--only", "shop")
    assert "0 with drift, 1 without" in estate.orch("drift", "shop").stdout
    estate.sql("shop", BY_HAND)
    by_files, kept = found(estate, "shop")[0], found(estate, "shop", "--kept")[0]
    assert (by_files["against"], kept["against"]) == ("files", "kept")
    assert by_files["differences"] == kept["differences"]
    told = {(one["how"], one["object"]) for one in by_files["differences"]}
    assert told == {
        ("extra", "table extra"),
        ("extra", "column orders.total"),
        ("extra", "index i"),
        ("missing", "view v"),
        ("different", "function f()"),
        ("different", "privileges on orders"),
    }
    text = estate.orch("drift", "shop", code=3).stdout
    assert "    -  RETURN 1;\n    +  RETURN 2;" in text
    painted = estate.orch("drift", "shop", "--color", "always", code=3).stdout
    assert "\x1b[31m    -  RETURN 1;\x1b[0m\n\x1b[32m    +  RETURN 2;\x1b[0m" in painted
    assert re.sub(r"\x1b\[\d*m", "", painted) == text
    secret = estate.servers["postgres"].password
    estate.sql("shop", f"CREATE FUNCTION s() RETURNS text LANGUAGE sql AS $$SELECT '{secret}'$$")
    for form in ("json", "text", "github"):  # the estate looks for the password in every output
        assert "function s()" in estate.orch("drift", "shop", "--output", form, code=3).text
    estate.sql("shop", "DROP FUNCTION s()")
    assert "6 differences from what the files yield (a scratch database)" in text
    estate.write("postgres-shop", {"000002_b.up.sql": "CREATE TABLE later (x int);"})
    estate.orch("plan", "--only", "shop", "-o", "plan.json", code=5)
    for arguments in (("--only", "shop"), ("plan.json",)):
        refused = estate.orch("apply", *arguments, code=5)
        assert "somebody changed the schema of postgres-shop since the last apply" in refused.text
        assert "+  RETURN 2;" in refused.text
        assert "orch drift postgres-shop --accept" in refused.text
    assert "later" not in estate.tables("shop")
    assert estate.version_row("shop") == [(1, False)]
    estate.orch("drift", "shop", "--accept")
    assert found(estate, "shop", "--kept", code=0)[0]["state"] == "same"
    estate.orch("apply", "--only", "shop")
    assert "later" in estate.tables("shop")


def test_warn_goes_on_and_tells_again_until_it_is_accepted_or_undone(estate: Estate) -> None:
    estate.add(
        "postgres", "warned", {"000001_a.up.sql": UP}, drift="warn", drift_ignore=["privileges on *", "index i*"]
    )
    estate.orch("apply", "--only", "warned")
    estate.sql("warned", BY_HAND)
    estate.write("postgres-warned", {"000002_b.up.sql": "CREATE TABLE later (x int);"})
    assert "somebody changed the schema of postgres-warned" in estate.orch("apply", "--only", "warned").text
    entry = found(estate, "warned", "--kept")[0]
    assert entry["ignored"] == 2
    assert len(entry["differences"]) == 4
    estate.sql("warned", "DROP TABLE extra; ALTER TABLE orders DROP total; CREATE VIEW v AS SELECT id FROM orders")
    assert [one["object"] for one in found(estate, "warned", "--kept")[0]["differences"]] == ["function f()"]
    # Where the history moved on without a snapshot, nothing is known.
    estate.sql(
        "warned",
        "DROP TABLE later; DELETE FROM orch_history WHERE version = 2; UPDATE schema_migrations SET version = 1",
    )
    assert found(estate, "warned", "--kept", code=0)[0]["state"] == "unknown"


def test_a_simulated_month_is_no_drift(estate: Estate) -> None:
    month = UP + "CREATE EXTENSION citext; CREATE TABLE c (v varchar(9) CHECK (v IN ('x', 'y')), w citext);\n"
    estate.add("postgres", "month", {"000001_a.up.sql": month}, drift="warn")
    estate.orch("apply", "--only", "month")
    for statement in (
        "VACUUM FULL orders",
        "REINDEX TABLE orders",
        "ANALYZE",
        "INSERT INTO orders SELECT g, 'x' FROM generate_series(1, 100) g",
        "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1); CREATE INDEX ON parts_1 (x)",
        "GRANT SELECT ON orders TO pg_monitor; REVOKE SELECT ON orders FROM pg_monitor",
        "UPDATE pg_extension SET extversion = '1.4' WHERE extname = 'citext'",
        f"ALTER DATABASE \"{estate.prefix}month\" SET timezone TO 'Asia/Tokyo'",
        f'ALTER DATABASE "{estate.prefix}month" RESET timezone',
        # After a dump and restore the server spells a list of varchars in another way.
        "DO $$ DECLARE d text := (SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'c_v_check'); "
        "BEGIN ALTER TABLE c DROP CONSTRAINT c_v_check; EXECUTE 'ALTER TABLE c ADD CONSTRAINT c_v_check ' || d; END $$",
    ):
        estate.sql("month", statement)
    for arguments in (["--kept"], []):
        entry = found(estate, "month", *arguments, code=0)[0]
        assert entry["differences"] == []
        assert any("1 partition of parts came or went" in note for note in entry["notes"])
        assert any("extension citext is at 1.4" in note for note in entry["notes"])


def test_what_cannot_be_compared_is_unknown_and_never_drift(estate: Estate) -> None:
    estate.add("postgres", "doubt", {"000001_a.up.sql": UP}, drift="warn")
    estate.orch("apply", "--only", "doubt")
    (text,) = estate.sql("doubt", "SELECT snapshot FROM orch_history_snapshot")[0]
    estate.sql("doubt", "CREATE TABLE by_hand (x int)")
    stored = json.loads(text)
    for change, why in (
        ({"format": 2}, "the format of another release of orch"),
        ({"server": "postgres 9"}, "is of postgres 9"),
        ({"base": "other"}, "migrations ran since"),
        ({"sha256": "other"}, "was changed since it was kept"),
        ({"data": "AAAA"}, "was changed since it was kept"),
        ({"data": "A" * 9_000_000}, "is too large"),
    ):
        estate.sql("doubt", "UPDATE orch_history_snapshot SET snapshot = %s", json.dumps(stored | change))
        entry = found(estate, "doubt", "--kept", code=0)[0]
        assert entry["state"] == "unknown", change.keys()
        assert why in entry["unknown"]
    estate.sql("doubt", "UPDATE orch_history_snapshot SET snapshot = 'rubbish'")
    assert "unknown" in estate.orch("drift", "doubt", "--kept").stdout
    # Adopted from golang-migrate: its files may not be what ran.
    estate.add("postgres", "adopted", {"000001_a.up.sql": UP, "000002_b.up.sql": "SELECT 1"})
    estate.orch("apply", "--only", "adopted", "--to", "1")
    estate.sql("adopted", "UPDATE schema_migrations SET version = 2")
    assert found(estate, "adopted", code=0)[0]["state"] == "unknown"
    estate.orch("drift", "--accept", code=2)
    estate.add("postgres", "hidden", {"000001_a.up.sql": UP}, drift="warn", drift_ignore=["*"])
    estate.orch("apply", "--only", "hidden")
    assert "drift_ignore hides all" in estate.orch("drift", "hidden").stdout


def test_members_of_a_fleet_that_were_never_snapshotted_are_held_against_most(estate: Estate, tmp_path: Path) -> None:
    entries = ""
    for number in range(5):
        keys = f"server: postgres, migrations: fleet, drift: {'warn' if number < 2 else 'off'}"
        entries += f"  - {{name: m{number}, {keys}}}\n"
    estate.manifest(entries)
    folder = estate.root / "fleet"
    folder.mkdir()
    (folder / "000001_a.up.sql").write_text(UP)
    estate.orch("apply")
    for number in (3, 4):
        estate.sql(f"m{number}", "CREATE INDEX slow ON orders (note)")
    told = {one["id"]: (one["state"], one["against"]) for one in found(estate, "--kept")}
    assert told == {
        "postgres-m0": ("same", "kept"),
        "postgres-m1": ("same", "kept"),
        "postgres-m2": ("same", "fleet"),
        "postgres-m3": ("drift", "fleet"),
        "postgres-m4": ("drift", "fleet"),
    }
    text = estate.orch("drift", code=3, env={"COLUMNS": "200"}).stdout
    assert "postgres-m3, postgres-m4: 1 difference from what the files yield" in text
    report = tmp_path / "drift.xml"
    github = estate.orch("drift", "--output", "github", "--junit", str(report), code=3).stdout
    assert github.startswith("::error title=drift%3A postgres-m3%2C postgres-m4::extra: index slow")
    suite = ET.fromstring(report.read_text())[0]
    assert (suite.get("tests"), suite.get("failures")) == ("5", "2")
    estate.manifest(getattr(estate, "_entries", ""))


def test_mongodb_tells_validators_indexes_options_and_views(estate: Estate) -> None:
    commands = [
        {"create": "orders", "validator": {"n": {"$gt": 1}}},
        {"create": "v", "viewOn": "orders", "pipeline": []},
    ]
    estate.add("mongo", "logs", {"000001_a.up.json": json.dumps(commands)}, drift="refuse")
    estate.orch("apply", "--only", "mongo-logs")
    database = estate.mongo("logs")
    database.orders.insert_one({"n": 5})
    assert found(estate, "mongo-logs", code=0)[0]["state"] == "same"
    database.command("collMod", "orders", validator={"n": {"$gt": 1.0}})  # as some clients write every number
    assert found(estate, "mongo-logs", code=0)[0]["state"] == "same"
    database.command("collMod", "orders", validator={"n": {"$gt": 2}})
    database.orders.create_index("n", name="by_n")
    database.drop_collection("v")
    for arguments in ([], ["--kept"]):
        told = {(one["how"], one["object"]) for one in found(estate, "mongo-logs", *arguments)[0]["differences"]}
        assert told == {("different", "option orders.validator"), ("extra", "index orders.by_n"), ("missing", "view v")}
    estate.write("mongo-logs", {"000002_b.up.json": '[{"create": "later"}]'})
    assert "option orders.validator different" in estate.orch("apply", "--only", "mongo-logs", code=5).text
    assert "later" not in database.list_collection_names()
    estate.orch("drift", "mongo-logs", "--accept")
    estate.orch("apply", "--only", "mongo-logs")
