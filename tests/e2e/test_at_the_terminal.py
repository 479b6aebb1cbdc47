"""What people see on a terminal: the list of migrations, what cannot be reached, colours, and quiet."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from estate import Estate
from jsonschema import validate
from transcript import received_on_a_terminal, screen

import orchestrator

SCHEMA = Path(orchestrator.__file__).parent / "schemas" / "status.schema.json"


@pytest.fixture
def shop(pg_estate: Estate) -> Estate:
    """A database with one migration applied, one that fails and one that would lose data; another that is up to date."""
    create = {"000001_create_orders.up.sql": "CREATE TABLE orders (id int, legacy int);"}
    pg_estate.add("postgres", "order", create)
    pg_estate.add("postgres", "product", {"1_x.up.sql": "SELECT 1;"})
    pg_estate.orch("apply")
    pg_estate.write("postgres-order", {"000002_bad.up.sql": "SELECT * FROM nowhere;"})
    pg_estate.write("postgres-order", {"000003_drop_legacy.up.sql": "ALTER TABLE orders DROP COLUMN legacy;"})
    pg_estate.orch("apply", code=1)
    return pg_estate


def test_status_of_a_name_lists_its_migrations(shop: Estate) -> None:
    lines = shop.orch("status", "order").stdout.splitlines()
    assert lines[0].startswith("postgres-order  127.0.0.1:")
    assert lines[0].endswith("version 1, failed")
    done, bad, drop = (next(line for line in lines if name in line) for name in ("create_orders", "bad", "drop_legacy"))
    assert done.startswith("[x]")
    assert " UTC  " in done
    assert " s  by " in done
    assert bad.startswith("[!]")
    assert "the last try failed" in bad
    assert drop.startswith("[ ]")
    assert "drops column orders.legacy" in drop
    assert "product" not in "".join(lines)

    pending = shop.orch("status", "order", "--pending").stdout
    assert "create_orders" not in pending
    assert "drop_legacy" in pending
    shown = shop.orch("status", "order", "product", "--output", "json").json
    validate(shown, json.loads(SCHEMA.read_text()))
    assert [each["state"] for each in shown["databases"][0]["migrations"]] == ["applied", "failed", "pending"]
    assert shown["databases"][0]["migrations"][2]["risks"]
    assert "migrations" not in shop.orch("status", "--output", "json").json["databases"][0]


def test_status_shows_what_is_pending_or_wrong_alone_and_a_question_mark_for_what_nobody_knows(shop: Estate) -> None:
    assert "product" not in shop.orch("status", "--pending").stdout
    assert "product" not in (failed := shop.orch("status", "--problems").stdout)
    assert "order" in failed
    none = shop.orch("status", "--problems", "--only", "product")
    assert (none.stdout, none.stderr) == ("", "No database has problems.\n")
    manifest = shop.root / "databases.yaml"
    text = manifest.read_text()
    manifest.write_text(text + "  - {name: away, engine: postgres, dsn: 'postgres://a@127.0.0.1:1/{database}'}\n")
    (shop.root / "migrations/postgres-away/schema").mkdir(parents=True)
    shown = shop.orch("status", "--problems", code=7)
    (row,) = (line for line in shown.stdout.splitlines() if line.startswith("postgres-away"))
    assert row.split()[2:] == ["?", "?", "unreachable"]
    assert "1 failed, 1 with problems." in shown.stdout


def test_several_names_may_stand_between_commas(shop: Estate) -> None:
    shown = shop.orch("status", "--only", "order,product", "--output", "json").json
    assert len(shown["databases"]) == 2
    refused = shop.orch("status", "--only", "order,prodct", code=2).stderr
    assert "did you mean" in refused


def test_colours_are_where_they_are_wanted(shop: Estate) -> None:
    env = {key: value for key, value in shop.env.items() if key not in ("CI", "NO_COLOR")}

    def received(*words: str, **more: str) -> str:
        return received_on_a_terminal(words, shop.root, env | more, columns=100)[1]

    shown = received("status")
    assert "\x1b[1mDATABASE\x1b[0m" in shown
    assert "\x1b[31mfailed\x1b[0m" in shown
    assert "\x1b[2mup to date\x1b[0m" in shown
    assert "\x1b[32m" in received("plan"), "a + is green"
    assert re.search(r"\x1b\[33m +! .*drops column", received("plan"))
    assert "\x1b[" not in received("status", NO_COLOR="1")
    assert "\x1b[" not in received("status", "--color", "never")
    assert "\x1b[1mDATABASE" in received("status", "--color", "always", NO_COLOR="1")
    assert "\x1b[" not in shop.orch("status").text
    assert "\x1b[1mDATABASE" in shop.orch("status", "--color", "always").stdout
    assert json.loads(shop.orch("status", "--color", "always", "--output", "json").stdout)
    assert "not auto, always or never" in shop.orch("status", "--color", "red", code=2).stderr


def test_diffs_have_colours(shop: Estate) -> None:
    added = shop.orch("add-db", "extra", "--dry-run", "--color", "always")
    assert "\x1b[1m--- a/databases.yaml\x1b[0m\n\x1b[1m+++ b/databases.yaml\x1b[0m\n\x1b[34m@@ " in added.stdout
    assert re.search(r"\x1b\[32m\+  - .*extra.*\x1b\[0m\n", added.stdout)
    assert shop.orch("add-db", "extra", "--dry-run").stdout == re.sub(r"\x1b\[\d*m", "", added.stdout)
    shop.write("postgres-order", {"000001_create_orders.up.sql": "CREATE TABLE orders (id bigint);"})
    edited = shop.orch("repair", "order", "--color", "always").stdout
    assert "\x1b[31m-CREATE TABLE orders (id int, legacy int);\x1b[0m" in edited
    assert "\x1b[32m+CREATE TABLE orders (id bigint);\x1b[0m" in edited


def test_a_narrow_terminal_wraps_at_words_and_keeps_commands_whole(shop: Estate) -> None:
    env = {key: value for key, value in shop.env.items() if key != "CI"}
    for columns in (50, 80):
        _, received = received_on_a_terminal(["history"], shop.root, env, columns=columns)
        assert max(map(len, screen(received).splitlines())) <= columns
        assert "nowhere" in screen(received)


def test_quiet_leaves_data_and_errors_and_verbose_adds_where_from(shop: Estate) -> None:
    done = shop.orch("apply", "--only", "product", "--quiet")
    assert done.text == ""
    failed = shop.orch("apply", "-q", code=1)
    assert failed.stderr.startswith("error:")
    assert "Plan:" not in failed.stderr
    told = shop.orch("validate", "-v").stderr
    assert str(shop.root / "databases.yaml") in told
    assert " s." in told


def test_history_shows_the_newest_of_all(shop: Estate) -> None:
    shown = shop.orch("history", "-n", "1").stdout
    assert "bad" in shown
    assert "create_orders" not in shown
    assert "orch history --limit 0" in shown
    assert "create_orders" in shop.orch("history", "--limit", "0").stdout
    assert len(shop.orch("history", "--output", "csv").stdout.splitlines()) == 4
