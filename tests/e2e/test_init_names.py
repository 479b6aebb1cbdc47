"""`orch init` calls a database on its server as the compose file of the project does: apply must not make another one."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from project import orch

from orchestrator.manifest import load


def a_project(root: Path, directories: tuple[str, ...], services: dict[str, object]) -> None:
    for directory in directories:
        (root / directory).mkdir(parents=True)
        (root / directory / "1_a.up.sql").write_text("CREATE TABLE a (id int);\n")
    (root / "compose.yaml").write_text(yaml.safe_dump({"services": services}))


def server(image: str, **environment: str) -> dict[str, object]:
    return {"image": image, "environment": environment}


@pytest.mark.parametrize(
    ("directories", "services", "expected"),
    [
        (("db/migrations",), {"db": server("postgres:15", POSTGRES_DB="shop_db")}, {"database": "shop_db"}),
        (("db/migrations",), {"db": server("postgres:15", POSTGRES_DB="${DB_NAME:-shop}")}, {"database": "${DB_NAME:-shop}"}),
        (("db/mysql/migrations",), {"db": server("mysql:8", MYSQL_DATABASE="shop_db")}, {"database": "shop_db"}),
        # one that every server has, the same name, two of them, two databases, what is no name
        (("db/migrations",), {"db": server("postgres:15", POSTGRES_DB="postgres")}, {}),
        (("shop/migrations",), {"db": server("postgres:15", POSTGRES_DB="shop")}, {}),
        (("db/migrations",), {"a": server("postgres", POSTGRES_DB="a"), "b": server("postgres", POSTGRES_DB="b")}, {}),
        (("a/migrations", "b/migrations"), {"db": server("postgres:15", POSTGRES_DB="shop_db")}, {}),
        (("db/migrations",), {"db": server("postgres:15", POSTGRES_DB="$DB; DROP")}, {}),
    ],
)  # fmt: skip
def test_the_name_on_the_server(
    tmp_path: Path, directories: tuple[str, ...], services: dict[str, object], expected: dict[str, str]
) -> None:
    a_project(tmp_path, directories, services)
    done = orch(tmp_path, "init")
    entries = yaml.safe_load((tmp_path / "databases.yaml").read_text())["databases"]
    assert [{key: one[key] for key in one if key == "database"} for one in entries] == [expected] * len(entries)
    assert ("as compose.yaml says" in done.stderr) is bool(expected)
    load(tmp_path / "databases.yaml")
    orch(tmp_path, "validate")
