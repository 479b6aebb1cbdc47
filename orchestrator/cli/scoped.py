"""The options that make a `Scope`. A command declares which of them it takes, and gets a finished `Scope`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from orchestrator.cli import options
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
    taken = [name for name in _OPTIONS if name in {"file", "env_file", *names}]

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        command.__annotations__.pop("scope")  # typer never sees it
        own = inspect.signature(command, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for parameter in own.parameters.values():
            if parameter.name != "scope":
                parameters.append(parameter)
                continue
            for name in taken:
                kind, default = _OPTIONS[name]
                parameters.append(inspect.Parameter(name, parameter.kind, default=default, annotation=kind))

        @wraps(command, assigned=("__module__", "__name__", "__doc__"))
        def run(**given: Any) -> int:
            from orchestrator.operations.scope import Scope

            scope = Scope(**{name: given.pop(name) for name in taken})
            return command(scope=scope, **given)

        run.__annotations__ = {}  # all that typer reads is in the signature, evaluated once
        run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        return run

    return decorate
