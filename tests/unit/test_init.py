"""`orch init` in repositories that keep their migrations elsewhere: what it finds, takes over, skips and says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from project import orch

from orchestrator.manifest import load


def tree(root: Path, *files: str) -> None:
    """Make files with a migration that is valid for their extension."""
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("SELECT 1;\n" if name.endswith(".sql") else '[{"create": "t"}]\n')


def test_migrations_are_found_wherever_they_are(tmp_path: Path) -> None:
    tree(
        tmp_path,
        "db/product/000001_a.up.sql",
        "services/image/db/migrations/000001_a.up.json",
        "services/order/migrations/20240101000000_a.up.sql",
        "server/migrations/1_a.up.sql",
        "migrations/postgres-user/schema/000001_a.up.sql",
        "node_modules/other/migrations/1_a.up.sql",
        ".cache/migrations/1_a.up.sql",
    )
    orch(tmp_path, "init")
    orch(tmp_path, "validate")
    found = {d.id: d.directory for d in load(tmp_path / "databases.yaml").databases}
    assert {id: path.relative_to(tmp_path).as_posix() for id, path in found.items()} == {
        "postgres-product": "db/product",
        "postgres-order": "services/order/migrations",
        "postgres-server": "server/migrations",
        "postgres-user": "migrations/postgres-user/schema",
        "mongo-image": "services/image/db/migrations",
    }


def test_one_directory_is_called_after_the_project(tmp_path: Path) -> None:
    root = tmp_path / "shop"
    tree(root, "tools/migrate/migrations/1_a.up.sql")
    orch(root, "init")
    orch(root, "validate")
    (database,) = load(root / "databases.yaml").databases
    assert (database.id, database.directory) == ("postgres-shop", root / "tools/migrate/migrations")


def test_what_is_skipped_is_told_with_the_reason(tmp_path: Path) -> None:
    tree(
        tmp_path,
        "a/migrations/1_a.up.sql",
        "db/clickhouse/migrations/1_a.up.sql",
        "tests/data/1_a.up.sql",
        "mixed/1_a.up.sql",
        "mixed/2_b.up.json",
        "db/a/1_a.up.sql",
        "cql/1_a.up.cql",
    )
    told = orch(tmp_path, "init").stderr
    assert "db/clickhouse/migrations was skipped: its path names clickhouse" in told
    assert "tests/data was skipped: what lies under tests/" in told
    assert "mixed was skipped: it holds migrations of several kinds or of an unknown one: .json, .sql" in told
    assert "cql was skipped" in told and "unknown one: .cql" in told
    assert "db/a was skipped: postgres-a is already the database of a/migrations" in told
    orch(tmp_path, "validate")


def test_images_names_of_variables_and_order_come_from_compose(tmp_path: Path) -> None:
    tree(tmp_path, "db/product/1_a.up.sql", "db/order/1_a.up.sql", "db/logs/1_a.up.json")
    services = {
        "pg": {
            "image": "postgres:16.4",
            "environment": ["POSTGRES_USER=${DB_USER:-x}", "POSTGRES_PASSWORD=${DB_PASS:?}"],
        },
        "store": {"image": "mongo:8.0", "environment": {"MONGO_INITDB_ROOT_PASSWORD": "s3cr3t"}},
        "product-migrate": {"image": "migrate/migrate", "depends_on": ["pg"]},
        "order-migrate": {"image": "migrate/migrate", "depends_on": {"product-migrate": {"condition": "x"}}},
    }
    (tmp_path / "docker-compose.yml").write_text(yaml.safe_dump({"services": services}))
    orch(tmp_path, "init")
    orch(tmp_path, "validate")
    text = (tmp_path / "databases.yaml").read_text()
    assert "postgres://${DB_USER}:${DB_PASS}@" in text and "${MONGO_USER}:${MONGO_PASSWORD}@" in text
    assert "s3cr3t" not in text
    manifest = load(tmp_path / "databases.yaml")
    assert manifest.render == {"compose": {"postgres_image": "postgres:16.4", "mongo_image": "mongo:8.0"}}
    assert {d.id: d.depends_on for d in manifest.databases}["postgres-order"] == ("postgres-product",)
    orch(tmp_path, "render", "k8s", "argo")


def test_a_single_database_takes_its_dsn_from_the_variable_of_the_example(tmp_path: Path) -> None:
    tree(tmp_path, "migrations/000001_a.up.sql")
    (tmp_path / ".env.example").write_text(
        "# x\nexport DATABASE_URL='postgres://u:s3cr3t@localhost:5432/shop_dev?sslmode=disable'\n"
    )
    orch(tmp_path, "init")
    orch(tmp_path, "validate")
    (database,) = load(tmp_path / "databases.yaml").databases
    assert (database.id, database.dsn, database.directory) == (
        "postgres-shop_dev",
        "${DATABASE_URL}",
        tmp_path / "migrations",
    )
    assert "s3cr3t" not in (tmp_path / "databases.yaml").read_text()


def test_an_editor_finds_the_schema(tmp_path: Path) -> None:
    tree(tmp_path, "db/product/1_a.up.sql")
    orch(tmp_path, "init")
    printed = json.loads(orch(tmp_path, "schema").stdout)
    first = (tmp_path / "databases.yaml").read_text().splitlines()[0]
    assert first == f"# yaml-language-server: $schema={printed['$id']}"
    Draft202012Validator.check_schema(printed)
    Draft202012Validator(printed).validate(yaml.safe_load((tmp_path / "databases.yaml").read_text()))
    page = (Path(__file__).parents[2] / "docs/reference/manifest.md").read_text()
    assert first in page and f'"url": "{printed["$id"]}"' in page
    assert printed["$id"].endswith("/orchestrator/manifest/databases.schema.json")


@pytest.mark.parametrize(
    ("files", "options", "servers"),
    [
        (["db/product/1_a.up.sql"], (), ["postgres"]),
        (["db/product/1_a.up.sql", "db/logs/1_a.up.json"], (), ["postgres", "mongo"]),
        (["db/mysql/1_a.up.sql"], (), ["mysql"]),
        (["db/sqlite/1_a.up.sql"], (), ["sqlite"]),
        (["db/product/1_a.up.sql"], ("--engine", "mongo"), ["postgres", "mongo"]),
        ([], ("--engine", "sqlite"), ["sqlite"]),
        ([], (), ["postgres", "mongo", "mysql"]),
    ],
)
def test_only_servers_of_engines_that_were_found_are_declared(
    tmp_path: Path, files: list[str], options: tuple[str, ...], servers: list[str]
) -> None:
    tree(tmp_path, *files)
    orch(tmp_path, "init", *options)
    assert list(yaml.safe_load((tmp_path / "databases.yaml").read_text())["servers"]) == servers
    if files:
        orch(tmp_path, "validate")


def test_without_migrations_the_compose_file_tells_the_engines(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text(
        yaml.safe_dump({"services": {"db": {"image": "mongo:8.0"}, "x": {"image": "redis"}}})
    )
    orch(tmp_path, "init")
    assert list(yaml.safe_load((tmp_path / "databases.yaml").read_text())["servers"]) == ["mongo"]


def test_add_db_declares_the_server_of_an_engine_that_init_did_not_find(tmp_path: Path) -> None:
    tree(tmp_path, "db/product/1_a.up.sql")
    orch(tmp_path, "init")
    before = (tmp_path / "databases.yaml").read_text()
    assert "+  mongo:" in orch(tmp_path, "add-db", "logs", "--engine", "mongo", "--dry-run").stdout
    orch(tmp_path, "add-db", "logs", "--engine", "mongo")
    orch(tmp_path, "validate")
    after = (tmp_path / "databases.yaml").read_text()
    assert [d.id for d in load(tmp_path / "databases.yaml").databases] == ["postgres-product", "mongo-logs"]
    assert [line for line in before.splitlines() if line not in after.splitlines()] == [], "nothing else changed"
    flow = "version: 1\nservers: {postgres: {engine: postgres, dsn: 'postgres://x/{database}'}}\ndatabases:\n"
    (tmp_path / "databases.yaml").write_text(flow)
    assert "no server of engine mongo" in orch(tmp_path, "add-db", "more", "--engine", "mongo", code=2).stderr
