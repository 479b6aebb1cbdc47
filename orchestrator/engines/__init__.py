"""The engines, found through one literal table; a driver is imported only when its engine is used."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from orchestrator.engines.base import Engine

ENGINES = {
    "postgres": "orchestrator.engines.postgres.engine:Postgres",
    "mongo": "orchestrator.engines.mongo.engine:Mongo",
}


def load_engine(name: str, actor: str, run_id: str) -> Engine:
    """Return a new engine. `actor` (user@host) and `run_id` are what servers show as the holder of locks."""
    module, _, cls = ENGINES[name].partition(":")
    return cast(Engine, getattr(import_module(module), cls)(actor, run_id))
