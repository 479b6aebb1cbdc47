"""The modules that a dialect names offer what `engines.parts` says: mypy compares them, and each can be imported."""

import pytest

from orchestrator.engines import dialect, dialects
from orchestrator.engines.mongo import client as mongo_client
from orchestrator.engines.mongo import sizes as mongo_sizes
from orchestrator.engines.mongo import squash as mongo_squash
from orchestrator.engines.mysql import client as mysql_client
from orchestrator.engines.mysql import squash as mysql_squash
from orchestrator.engines.parts import Clients, Dumping, Sizing, Squashing, Tracing
from orchestrator.engines.postgres import client as postgres_client
from orchestrator.engines.postgres import dump, tracing
from orchestrator.engines.postgres import sizes as postgres_sizes
from orchestrator.engines.postgres import squash as postgres_squash
from orchestrator.engines.sqlite import client as sqlite_client
from orchestrator.engines.sqlite import squash as sqlite_squash

CLIENTS: dict[str, Clients] = {
    "postgres": postgres_client,
    "mongo": mongo_client,
    "mysql": mysql_client,
    "sqlite": sqlite_client,
}
SQUASHING: dict[str, Squashing] = {
    "postgres": postgres_squash,
    "mongo": mongo_squash,
    "mysql": mysql_squash,
    "sqlite": sqlite_squash,
}
SIZING: dict[str, Sizing] = {"postgres": postgres_sizes, "mongo": mongo_sizes}
TRACING: dict[str, Tracing] = {"postgres": tracing}
DUMPING: dict[str, Dumping] = {"postgres": dump}


@pytest.mark.parametrize("name", [one.name for one in dialects()])
def test_every_module_that_a_dialect_names_is_compared_with_its_protocol(name: str) -> None:
    known = dialect(name)
    assert known.clients is CLIENTS[name]
    assert known.squashing is SQUASHING.get(name)
    assert known.sizing is SIZING.get(name)
    assert known.tracing is TRACING.get(name)
    assert known.dumping is DUMPING.get(name)
