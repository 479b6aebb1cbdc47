"""The options that make a `Scope`. A command declares which of them it takes, and gets a finished `Scope`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from orchestrator.cli import options
from orchestrator.cli.parameters import Taken, taken
from orchestrator.execution.scheduler import JOBS

_OPTIONS: dict[str, tuple[Any, Any]] = {
    "file": (options.File, None),
    "env_file": (options.EnvFile, None),
    "only": (options.Only, None),
    "exclude": (options.Exclude, None),
    "no_deps": (options.NoDeps, False),
    "jobs": (options.Jobs, JOBS),
    "jobs_per_server": (options.JobsPerServer, None),
    "wait": (options.Wait, 0.0),
    "lock_timeout": (options.LockTimeout, None),
    "embedded": (options.Embedded, False),
}
"""The fields of a `Scope` that are options: the type and the default of each, in the order of the help."""

SELECTION = ("only", "exclude", "no_deps")
"""The options that choose databases, for `scoped`."""

JOBS_AND_WAIT = ("jobs", "jobs_per_server", "wait")
"""The options that say how many databases are asked at the same time, and how long servers are waited for."""


def scoped(*names: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Return a decorator for a command with a parameter `scope`, which must be passed by its name.

    On the command line, --file, --env-file and the options with these names stand in the place of `scope`.
    """
    of_scope = {name: option for name, option in _OPTIONS.items() if name in {"file", "env_file", *names}}

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        parameters: dict[str, Taken] = {}
        for name, one in taken(command).items():
            if name == "scope":  # nothing else sees it
                parameters |= {chosen: Taken(default, kind, {}) for chosen, (kind, default) in of_scope.items()}
            else:
                parameters[name] = one

        @wraps(command, assigned=("__module__", "__name__", "__doc__"))
        def run(**given: Any) -> int:
            from orchestrator.operations.scope import Scope

            scope = Scope(**{name: given.pop(name) for name in of_scope})
            return command(scope=scope, **given)

        run.taken = parameters  # type: ignore[attr-defined]
        return run

    return decorate
