"""How many databases of one server are worked on at the same time, where nobody says."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from orchestrator.cli import options
from orchestrator.engines import dialects
from orchestrator.operations.scope import Scope
from orchestrator.planning.shards import Shard

MANIFEST = """
version: 1
databases:
  - {name: a, engine: mysql, dsn: "mysql://u@tcp(h:3306)/a", migrations: migrations}
  - {name: b, engine: postgres, dsn: "postgres://u@h/b", migrations: migrations}
"""


@pytest.mark.parametrize(
    ("wanted", "shard", "limits"),
    [(None, None, (4, 8)), (2, None, (2, 2)), (None, Shard(0, 2), (2, 4)), (1, Shard(1, 2), (1, 1))],
)
def test_the_engine_decides_unless_a_person_does(
    tmp_path: Path, wanted: int | None, shard: Shard | None, limits: tuple[int, int]
) -> None:
    (tmp_path / "databases.yaml").write_text(MANIFEST)
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations/1_a.up.sql").write_text("CREATE TABLE a (id int);")
    scope = Scope(str(tmp_path / "databases.yaml"), jobs_per_server=wanted, shard=shard)
    run = scope.run(scope.assemble(), lambda _event: None)
    assert isinstance(run.jobs_per_server, dict)
    assert tuple(run.jobs_per_server[run.targets[id].server_key] for id in ("mysql-a", "postgres-b")) == limits


def test_the_help_tells_the_limits_of_the_engines() -> None:
    limits = {one.name: one.jobs_per_server for one in dialects()}
    assert limits == {"postgres": 8, "mongo": 8, "mysql": 4, "sqlite": 16}
    assert "Default: 8; MySQL: 4; SQLite: 16." in get_args(options.JobsPerServer)[1].settings["help"]
