"""Create a database that is missing: empty, or as a copy of one that is migrated."""

from __future__ import annotations

from orchestrator.errors import CreationRefusedError, StatementError
from orchestrator.events import DatabaseCreated
from orchestrator.execution.run import Run


def create(run: Run, id: str) -> bool:
    """Create a database; return whether it is migrated already, as a copy. CreationRefusedError if it must not be created."""
    database, target = run.databases[id], run.targets[id]
    if not database.settings.create and not target.scratch:
        raise CreationRefusedError(
            f"the plan creates '{target.database}' on {target.endpoint}, and it must not be created",
            hint=f"nothing was run on {id}; make the plan again",
        )
    try:
        copied = run.bootstrap(id)
        created = copied or run.when_ready(id, lambda: run.engines[target.engine].create(target, database.create))
    except StatementError as error:
        raise error.completed(where=database.mark) from error
    run.sink(DatabaseCreated(id, by_other=not created))
    return copied
