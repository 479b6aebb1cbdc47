"""Have a plan executed on the workers of a Dask cluster, where the options of a command ask for that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orchestrator.cli import options
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.operations.plan import Planned
    from orchestrator.operations.scope import Scope


def refuse_half_a_cluster(engine: options.RunsOn, scheduler: str | None, scope: Scope) -> None:
    """Raise UsageError for options of a Dask cluster that do not make one, before a server is asked."""
    if engine is options.RunsOn.local:
        if scheduler:
            raise UsageError("--scheduler is for --engine dask", hint="give both, or none")
        return
    if not scheduler:
        raise UsageError(
            "--engine dask needs the address of a scheduler", hint="for example --scheduler tcp://host:8786"
        )
    if scope.embedded:
        raise UsageError(
            "the workers of a cluster do not reach embedded servers", hint="leave out --engine, or --embedded"
        )
    from orchestrator.operations.dask_client import require_dask

    require_dask()


@contextmanager
def on_workers(
    planned: Planned, scope: Scope, scheduler: str | None, *, create: bool = True, late: bool = False
) -> Iterator[Planned]:
    """Return the plan with its work on the cluster of a scheduler; as it is without one, or if workers have nothing to do."""
    if scheduler and planned.plan.has_changes:
        from orchestrator.operations.dask_cluster import needs_workers, on_cluster

        if needs_workers(planned.plan):
            with on_cluster(planned, scope, scheduler, create=create, late=late) as there:
                yield there
            return
    yield planned
