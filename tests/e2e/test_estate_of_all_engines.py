"""examples/estate: a database of each engine in one graph, taken through the commands on the servers of the tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml
from estate import Estate, start

EXAMPLE = Path(__file__).parents[2] / "examples" / "estate"
IDS = ["postgres-accounts", "mysql-shop", "mongo-events", "sqlite-cache"]


def test_all_engines_in_one_graph(tmp_path: Path) -> None:
    servers = {"postgres": start("postgres-wheel"), "mysql": start("mariadb"), "mongo": start("mongod")}
    estate = Estate(tmp_path, servers)
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "databases.yaml"
    path.write_text(path.read_text().replace("/{database}", f"/{estate.prefix}{{database}}"))
    for engine, server in servers.items():
        name = engine.upper()
        estate.env |= {f"{name}_USER": server.user, f"{name}_HOST": server.host, f"{name}_PORT": str(server.port)}
    try:
        planned = estate.orch("plan", "--output", "json", code=None).json
        assert [one["id"] for one in planned["databases"]] == IDS
        applied = estate.orch("apply", "--output", "json").json
        assert {one["id"]: one["version"] for one in applied["databases"]} == dict(zip(IDS, [1, 2, 1, 1], strict=True))
        estate.mysql("shop", "INSERT INTO orders (account, total) VALUES (1, 2), (1, 3)")
        assert [str(total) for (total,) in estate.mysql("shop", "SELECT total FROM totals")] == ["5.00"]
        estate.orch("verify")
        refused = estate.orch("rollback", "shop", "--to", "0", "--yes", code=None)
        assert refused.code != 0
        assert "events" in refused.text
        estate.orch("rollback", *[one.partition("-")[2] for one in reversed(IDS)], "--to", "0", "--yes")
        assert estate.tables("accounts") == set()
        estate.orch("apply")
        estate.orch("render", "k8s", "compose", "dockerfile")
        services = yaml.safe_load((tmp_path / "docker-compose.multi-db.yml").read_text())["services"]
        assert {"postgres", "mysql", "mongo"} <= services.keys()
        assert services["migrate-sqlite-cache"]["volumes"] == ["sqlite-files:/var/lib/orch/sqlite"]
        assert "dborch[mysql]" in (tmp_path / "Dockerfile").read_text()
        assert len(list((tmp_path / "k8s").glob("job-*.yaml"))) == 4
    finally:
        estate.drop()
