"""Point a target at a scratch database on the same server with the same login."""

from __future__ import annotations

from orchestrator.engines import dialect
from orchestrator.errors import UsageError
from orchestrator.manifest.names import name_problem
from orchestrator.model import Target
from orchestrator.records import replace
from orchestrator.secret import Secret


def retarget(target: Target, name: str) -> Target:
    """Return the target of a scratch database on the server of this one; UsageError if it cannot be called so."""
    if problem := name_problem(target.engine, name):
        raise UsageError(f"the name '{name}' {problem}")
    return replace(
        target, database=name, scratch=True, url=Secret(dialect(target.engine).dsn.retarget(target.url.reveal(), name))
    )


def login(target: Target) -> str:
    """Return the user of a target, who owns what is made there; '' where the DSN names none."""
    return dialect(target.engine).dsn.login(target.url.reveal())


def without_password(target: Target) -> str:
    """Return the DSN of a target for people and logs: without its password."""
    return dialect(target.engine).dsn.without_password(target.url.reveal())
