"""The engines. `DIALECTS` is the only table of them: an engine is a package and one line here."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from orchestrator.engines.dialect import Dialect
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.engines.base import Engine

__all__ = ["DIALECTS", "Dialect", "dialect", "dialects", "load", "load_engine"]

DIALECTS = {
    "postgres": "orchestrator.engines.postgres.dialect:DIALECT",
    "mongo": "orchestrator.engines.mongo.dialect:DIALECT",
    "mysql": "orchestrator.engines.mysql.dialect:DIALECT",
    "sqlite": "orchestrator.engines.sqlite.dialect:DIALECT",
}
"""The record of each engine by its name, in the order in which people see them."""


def dialect(name: str) -> Dialect:
    """Return the record of an engine, without loading its driver. KeyError for an unknown name."""
    return cast(Dialect, load(DIALECTS[name]))


def dialects() -> tuple[Dialect, ...]:
    """Return the records of all engines."""
    return tuple(map(dialect, DIALECTS))


def load_engine(name: str, actor: str, run_id: str) -> Engine:
    """Return a new engine; this imports its driver. UsageError if that is not installed.

    Args:
        name: the name of the engine.
        actor: who runs orch (user@host), as servers show it with a lock.
        run_id: the id of this run, shown in the same place.
    """
    known = dialect(name)
    try:
        engine = load(known.engine)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("orchestrator"):
            raise
        raise UsageError(
            f"the driver for {known.title} is not installed ({error.name})",
            hint=f"pip install 'dborch[{known.extra or name}]'",
        ) from None
    return cast("Engine", engine(actor, run_id))


@cache
def load(place: str) -> Any:
    """Return what `module:name` names."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
