"""The daily loop: a file that nobody has written yet, plans of the way down, existing directories, clones that are listed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from estate import Estate
from golang import GolangSqlite

MANIFEST = "version: 1\nservers:\n  files: {engine: sqlite, dsn: 'sqlite3://{database}.db'}\ndatabases:\n"
SCHEMA = Path("migrations/sqlite-shop/schema")


@pytest.fixture
def shop(tmp_path: Path) -> Estate:
    """A database in a file, at version 1."""
    estate = Estate(tmp_path, {})
    (tmp_path / "databases.yaml").write_text(MANIFEST + "  - {name: shop, server: files}\n")
    estate.write("sqlite-shop", {"000001_a.up.sql": "CREATE TABLE a (n int);", "000001_a.down.sql": "DROP TABLE a;"})
    estate.orch("apply")
    return estate


def test_a_file_that_is_as_orch_new_wrote_it_is_not_applied(shop: Estate) -> None:
    shop.orch("new", "shop", "add note")
    shop.orch("new", "shop", "add more")
    told = "version 2 add_note is still as `orch new` wrote it"
    assert told in shop.orch("plan", "--exit-code").stdout, "nothing is pending"
    applied = shop.orch("apply").stderr
    assert told in applied
    assert "Nothing to do" in applied
    assert told in shop.orch("validate").stderr
    assert "[ ]" in shop.orch("status", "shop").stdout
    assert shop.status("sqlite-shop")["pending"] == []
    shop.orch("wait", "--timeout", "1")
    assert "skipped: as `orch new` wrote it" in shop.orch("verify").stderr

    (shop.root / SCHEMA / "000002_add_note.up.sql").write_text("ALTER TABLE a ADD COLUMN note text;")
    assert "version 3 add_more is still" in shop.orch("apply").stderr
    assert shop.status("sqlite-shop")["version"] == 2


def test_golang_migrate_may_apply_it_and_below_a_written_file_it_does_nothing(shop: Estate) -> None:
    shop.orch("new", "shop", "add note")
    GolangSqlite(shop.root / "shop.db", shop.root / SCHEMA).up()
    assert shop.status("sqlite-shop")["version"] == 2
    shop.orch("new", "shop", "later")
    shop.orch("new", "shop", "last")
    (shop.root / SCHEMA / "000004_last.up.sql").write_text("CREATE TABLE last (n int);")
    shop.orch("apply")
    assert shop.status("sqlite-shop")["version"] == 4


def test_what_a_rollback_would_do_is_shown_and_nothing_is_done(shop: Estate) -> None:
    shown = shop.orch("rollback", "shop", "--steps", "1", "--dry-run")
    assert "- 1 a" in shown.stdout
    assert "! drops table a" in shown.stdout
    assert "Nothing was changed" in shown.stderr
    document = shop.orch("rollback", "shop", "--to", "0", "--dry-run", "--output", "json").json
    assert document["direction"] == "down"
    assert "- 1 a" in shop.orch("plan", "--down", "--only", "shop", "--steps", "1").stdout
    assert shop.orch("plan", "--down", "--only", "shop", "--to", "0", "--exit-code", code=3)
    assert "--down needs --only" in shop.orch("plan", "--down", "--steps", "1", code=2).stderr
    assert "--steps needs --down" in shop.orch("plan", "--steps", "1", code=2).stderr
    refused = shop.orch("rollback", "shop", "--steps", "2", "--dry-run", code=2).stderr
    assert "has 1 applied migration" in refused
    assert shop.status("sqlite-shop")["version"] == 1


def test_add_db_says_which_files_to_edit_and_takes_over_what_is_there(shop: Estate) -> None:
    told = shop.orch("add-db", "stock").stderr
    assert "edit these two files: migrations/sqlite-stock/schema/000001_create_stock_tables.up.sql and" in told
    assert "orch apply --only stock" in told

    shop.write("sqlite-usual", {"1_x.up.sql": "SELECT 1;"})
    usual = shop.orch("add-db", "usual")
    assert "took over 1 migration of migrations/sqlite-usual/schema" in usual.stderr
    assert "orch baseline usual --version VERSION" in usual.stderr
    assert [one.name for one in (shop.root / "migrations/sqlite-usual/schema").iterdir()] == ["1_x.up.sql"]

    elsewhere = shop.root / "services/billing/migrations"
    elsewhere.mkdir(parents=True)
    text = (shop.root / "databases.yaml").read_text()
    refused = shop.orch("add-db", "billing", "--migrations", "services/billing/migrations", code=2).stderr
    assert "has no migrations" in refused
    (elsewhere / "1_x.up.sql").write_text("CREATE TABLE bills (n int);")
    (elsewhere / "2_wrong.sql").write_text("SELECT 1;")
    assert "2_wrong.sql" in shop.orch("add-db", "billing", "--migrations", "services/billing/migrations", code=4).stderr
    assert (shop.root / "databases.yaml").read_text() == text
    (elsewhere / "2_wrong.sql").unlink()
    shop.orch("add-db", "billing", "--migrations", "services/billing/migrations")
    shop.orch("apply", "--only", "billing")
    with closing(sqlite3.connect(shop.root / "billing.db")) as connection:
        assert connection.execute("SELECT count(*) FROM bills").fetchone() == (0,)


def test_clones_are_listed_and_dropped(shop: Estate) -> None:
    assert shop.orch("clones").stderr == "There are no clones, and no templates.\n"
    named = shop.orch("clone", "shop", "--as", "mine").stdout.strip()
    other = shop.orch("clone", "shop").stdout.strip()
    shown = shop.orch("clones").stdout
    for word in (named, other, "orch_template_"):
        assert word in shown
    assert "shop " not in shown
    kinds = {one["name"]: one["template"] for one in shop.orch("clones", "--output", "json").json["clones"]}
    assert kinds[named] is kinds[other] is False
    assert sorted(shop.orch("drop-clone", "--all").stdout.split()) == sorted([named, other])
    left = shop.orch("clones", "--output", "json").json["clones"]
    assert [one["template"] for one in left] == [True]
    shop.orch("drop-clone", "--templates")
    assert shop.orch("clones", "--output", "json").json["clones"] == []
    assert shop.status("sqlite-shop")["version"] == 1


def test_many_edited_files_are_told_as_a_few_and_a_number(shop: Estate) -> None:
    for version in range(2, 12):
        shop.write("sqlite-shop", {f"{version:06}_x.up.sql": f"CREATE TABLE t{version} (n int);"})
    shop.orch("apply")
    for file in (shop.root / SCHEMA).glob("*.up.sql"):
        file.write_text("-- SPDX-License-Identifier: Apache-2.0\n" + file.read_text())
    shown = shop.orch("status", code=5).stdout
    assert shown.count("was edited after") == 3
    assert "sqlite-shop: and 8 more that are edited; all of them: orch repair sqlite-shop" in shown
    shop.orch("repair", "shop", "--accept", str(SCHEMA / "*.up.sql"))
    assert "1 up to date." in shop.orch("status").stdout
