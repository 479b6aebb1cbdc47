"""A database whose last try failed and left nothing behind: every view calls it failed and says what to do next."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from estate import ORCH, Estate

from orchestrator import api

MANIFEST = "version: 1\nservers:\n  files: {engine: sqlite, dsn: 'sqlite3://{database}.db'}\ndatabases:\n"
BAD = {"000001_a.up.sql": "CREATE TABLE a (n int);", "000002_bad.up.sql": "INSERT INTO nowhere VALUES (1);"}
NEXT = "orch apply --only sqlite-shop"


@pytest.fixture
def shop(tmp_path: Path) -> Estate:
    """One database that is well, one whose last try failed, one that waits for that."""
    estate = Estate(tmp_path, {})
    entries = (
        "{name: well, server: files}",
        "{name: shop, server: files}",
        "{name: late, server: files, depends_on: [shop]}",
    )
    (tmp_path / "databases.yaml").write_text(MANIFEST + "".join(f"  - {entry}\n" for entry in entries))
    for name in ("well", "late"):
        estate.write(f"sqlite-{name}", {"000001_a.up.sql": "CREATE TABLE a (n int);"})
    estate.write("sqlite-shop", BAD)
    estate.orch("apply", code=1)
    return estate


def test_every_view_says_failed_and_what_to_do_next(shop: Estate) -> None:
    text = shop.orch("status").stdout
    row = next(line.split() for line in text.splitlines() if line.startswith("sqlite-shop"))
    assert row[-3:] == ["1", "1", "failed"]
    assert "sqlite-shop: the last try of version 2 failed on" in text
    assert "no such table: nowhere" in text
    assert text.index("fix the cause, then run: " + NEXT) > text.index("nowhere")
    assert text.splitlines()[-1] == "1 up to date, 1 pending, 1 failed."

    assert "sqlite-well" not in (narrowed := shop.orch("status", "--problems").stdout)
    assert "sqlite-late" not in narrowed and "sqlite-shop" in narrowed
    assert "sqlite-shop" in shop.orch("status", "--pending").stdout

    one = next(line for line in shop.orch("status", "shop").stdout.splitlines() if "bad" in line)
    assert one.split()[:3] == ["[!]", "2", "bad"] and one.endswith("the last try failed")

    states = {"sqlite-well": "up to date", "sqlite-shop": "failed", "sqlite-late": "to be created"}
    for command in ("status", "report"):
        shop.orch(command, "--output", "json", "-o", f"{command}.json") if command == "report" else (
            shop.root / "status.json"
        ).write_text(shop.orch("status", "--output", "json").stdout)
        document = json.loads((shop.root / f"{command}.json").read_text())
        assert {one["id"]: one["state"] for one in document["databases"]} == states
        failed = next(one for one in document["databases"] if one["id"] == "sqlite-shop")["failed"]
        assert [(each["version"], NEXT in each["hint"]) for each in failed] == [(2, True)]
        shop.orch("report", "--from", f"{command}.json", "--output", "json", "-o", "again.json")
        again = json.loads((shop.root / "again.json").read_text())
        assert {one["id"]: one["state"] for one in again["databases"]} == states
    listed = json.loads(shop.orch("status", "shop", "--output", "json").stdout)["databases"]
    assert [each["state"] for one in listed if one["id"] == "sqlite-shop" for each in one["migrations"]] == [
        "applied",
        "failed",
    ]
    assert {one.id: one.state for one in api.status(api.load(shop.root / "databases.yaml")).databases} == states


def test_the_command_that_is_told_ends_it(shop: Estate) -> None:
    shop.write("sqlite-shop", BAD | {"000002_bad.up.sql": "INSERT INTO a VALUES (1);"})
    assert "failed" in shop.orch("status").stdout, "until it is tried again"
    shop.orch(*NEXT.split()[1:])
    text = shop.orch("status").stdout
    assert "failed" not in text and "last try" not in text


def test_where_both_streams_go_to_one_place_the_sentence_comes_last(tmp_path: Path) -> None:
    shown = subprocess.run(
        [ORCH, "init"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ).stdout
    assert shown.index("databases.yaml") < shown.index("Next: ")
