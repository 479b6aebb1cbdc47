"""orch new and orch init: the next pair of files, and the first manifest."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from estate import Estate
from project import PROJECT, orch, small_project, snapshot

from orchestrator.files.scaffold import next_pair, snake
from orchestrator.manifest import load


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return small_project(tmp_path)


# ---------------------------------------------------------------- new


def test_new_counts_on(small: Path) -> None:
    done = orch(small, "new", "a", "Add reserved-until!")
    names = sorted(path.name for path in (small / "migrations/postgres-a/schema").iterdir())
    assert "Next: write the two files, then: orch apply --only a" in done.stderr
    assert names == ["000001_a.up.sql", "000002_add_reserved_until.down.sql", "000002_add_reserved_until.up.sql"]
    orch(small, "add-db", "m", "--engine", "mongo")
    orch(small, "new", "m", "more")
    assert json.loads((small / "migrations/mongo-m/schema/000002_more.up.js").read_text()) == []
    orch(small, "validate")
    before = snapshot(small)
    for bad in ("../x", "a/b", "", "!!", "x" * 200):
        orch(small, "new", "a", bad, code=2)
    assert snapshot(small) == before


def test_numbers_keep_their_width_and_timestamps_go_on() -> None:
    assert next(iter(next_pair("postgres", [], "x"))) == "000001_x.up.sql"
    assert next(iter(next_pair("postgres", ["0007", "0008"], "x"))) == "0009_x.up.sql"
    assert next(iter(next_pair("postgres", ["999999"], "x"))) == "1000000_x.up.sql"
    stamp = next(iter(next_pair("mongo", ["20240101120000"], "x")))
    assert stamp.endswith("_x.up.js") and len(stamp.split("_")[0]) == 14 and stamp > "2024"
    assert next(iter(next_pair("mongo", ["29990101120000"], "x"))) == "29990101120001_x.up.js"
    assert snake("Add  Ünïcode, please") == "add_n_code_please"


@pytest.mark.parametrize(
    ("versions", "wanted"),
    [
        (["1577836800", "1577836900"], "1783024587"),
        (["1577836800000"], "1783024587000"),
        (["0000000001", "1783024587"], "1783024588"),
        (["20200101", "20200102"], "20260702"),
        (["2020010112"], "2026070220"),
        (["202001011230"], "202607022036"),
        (["20200101123000"], "20260702203627"),
        (["20269999999999"], "20270000000000"),
        (["00000041"], "00000042"),
        (["99999999"], "100000000"),
        (["2000000001"], "2000000002"),
        (["001", "1577836800"], "1783024587"),
    ],
)
def test_versions_that_are_moments_go_on_as_they_are_written(versions: list[str], wanted: str) -> None:
    now = datetime.fromtimestamp(1783024587, UTC)
    assert next(iter(next_pair("postgres", versions, "x", now))).split("_")[0] == wanted


def test_new_goes_on_with_the_extension_of_the_directory(mongo_estate: Estate) -> None:
    mongo_estate.add("mongo", "m", {"1_c.up.json": '[{"create": "c"}]', "1_c.down.json": '[{"drop": "c"}]'})
    schema = mongo_estate.root / "migrations/mongo-m/schema"
    mongo_estate.orch("new", "m", "more")
    assert sorted(path.name for path in schema.glob("2_*")) == ["2_more.down.json", "2_more.up.json"]
    (schema / "2_more.up.json").write_text('[{"create": "d"}]')
    mongo_estate.orch("apply")
    assert {"c", "d"} <= set(mongo_estate.mongo("m").list_collection_names())
    mongo_estate.write("mongo-m", {"3_x.up.js": "[]"})
    mongo_estate.orch("new", "m", "mixed")
    assert sorted(path.name for path in schema.glob("4_*")) == ["4_mixed.down.js", "4_mixed.up.js"]
    mongo_estate.orch("apply")


def test_nothing_comes_after_the_largest_version(small: Path) -> None:
    (small / f"migrations/postgres-a/schema/{2**63 - 1}_last.up.sql").write_text("SELECT 1;\n")
    orch(small, "validate")
    before = snapshot(small)
    assert "the largest there can be" in orch(small, "new", "a", "more", code=2).stderr
    assert snapshot(small) == before


def test_new_makes_a_missing_directory(small: Path) -> None:
    shutil.rmtree(small / "migrations/postgres-b")
    orch(small, "new", "b", "first")
    orch(small, "validate")


# ---------------------------------------------------------------- init


def test_init_from_nothing(tmp_path: Path) -> None:
    orch(tmp_path, "init")
    assert "orch add-db NAME" in orch(tmp_path, "validate", code=4).stderr
    orch(tmp_path, "add-db", "first")
    orch(tmp_path, "validate")
    assert "is there already" in orch(tmp_path, "init", code=2).stderr
    assert "not a directory" in orch(tmp_path, "init", "nowhere", code=2).stderr


def test_init_takes_over_the_customers_tree(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "migrations", tmp_path / "migrations")
    (tmp_path / "migrations/mongo-broken").mkdir()
    service: dict[str, Any] = {
        "build": ".",
        "command": ["-db=postgres"],
        "environment": {"POSTGRES_DSN": "postgres://…"},
    }
    when_done = {"condition": "service_completed_successfully"}
    mongo = {**service, "environment": {"MONGO_URI": "mongodb://…"}}
    services = {
        "postgres": {"image": "postgres:15"},
        "migrate-inventory": {
            **service,
            "depends_on": {"postgres": {"condition": "service_healthy"}, "migrate-order": when_done},
        },
        "migrate-product": {**service, "depends_on": ["postgres"]},
        "migrate-user": service,
        "migrate-order": {**service, "depends_on": ["migrate-product", "migrate-user", "migrate-nothing"]},
        "migrate-analytics": {**mongo, "depends_on": ["migrate-logs"]},
        "migrate-logs": mongo,
    }
    (tmp_path / "docker-compose.multi-db.yml").write_text(yaml.safe_dump({"services": services}))
    done = orch(tmp_path, "init")
    assert "migrations/mongo-broken was skipped" in done.stderr and done.stderr.count("was skipped") == 1
    assert "docker-compose.multi-db.yml is not made by orch: move it away before `orch render compose`" in done.stderr
    databases = {d.id: d for d in load(tmp_path / "databases.yaml").databases}
    assert len(databases) == 7
    assert set(databases["postgres-order"].depends_on) == {"postgres-product", "postgres-user"}
    assert databases["postgres-inventory"].depends_on == ("postgres-order",)
    assert databases["mongo-analytics"].depends_on == ("mongo-logs",)
    orch(tmp_path, "validate")


def test_init_with_a_compose_file_that_helps_nothing(tmp_path: Path) -> None:
    (tmp_path / "migrations/postgres-a/schema").mkdir(parents=True)
    for text, code in (
        ("services: {migrate-a: {depends_on: [migrate-a]}}", 0),
        ("[", 4),
        ("services: 3", 0),
        ("- x", 0),
    ):
        (tmp_path / "compose.yml").write_text(text)
        (tmp_path / "databases.yaml").unlink(missing_ok=True)
        orch(tmp_path, "init", code=code)
    (tmp_path / "migrations/postgres-b/schema").mkdir(parents=True)
    (tmp_path / "compose.yml").write_text(
        "services: {migrate-a: {depends_on: [migrate-b]}, migrate-b: {depends_on: [migrate-a]}}"
    )
    (tmp_path / "databases.yaml").unlink()
    told = orch(tmp_path, "init", code=4).stderr
    assert "compose.yml: the services that migrate form a cycle: postgres-a → postgres-b → postgres-a" in told
    assert "databases.yaml" not in told
    assert orch(tmp_path, "init", "--compose", "nope.yml", code=2).stderr.count("nope.yml") == 1
    assert not (tmp_path / "databases.yaml").exists()
