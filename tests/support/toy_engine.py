"""An engine that only the tests know: the memory engine, kept in a file between two runs of the command.

`python toy_engine.py ARGUMENTS…` is `orch` with one more line in the table of engines, and nothing else.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memory_engine import Memory, MemorySession, Store

from orchestrator.engines import DIALECTS
from orchestrator.engines.dialect import Container, ContainerLogin, Dialect, EmbeddedServers, Scaffold
from orchestrator.engines.url import UrlForm
from orchestrator.errors import DatabaseMissingError
from orchestrator.model import CreateOptions, Target


class Toy(Memory):
    """The memory engine with databases of names, each a pickle in the directory TOY_HOME."""

    name = "toy"

    def __init__(self, actor: str, run_id: str) -> None:
        super().__init__(Store())
        del actor, run_id

    def create(self, target: Target, options: CreateOptions) -> bool:
        if _path(target).exists():
            return False
        _path(target).write_bytes(pickle.dumps(Store(exists=True)))
        return True

    @contextmanager
    def connect(self, target: Target, until: float | None = None) -> Iterator[MemorySession]:
        if not _path(target).exists():
            raise DatabaseMissingError(f"there is no database {target.database!r}")
        store: Store = pickle.loads(_path(target).read_bytes())
        before = pickle.dumps(store)
        yield MemorySession(store)
        if pickle.dumps(store) != before:
            _path(target).write_bytes(pickle.dumps(store))


def _path(target: Target) -> Path:
    return Path(os.environ["TOY_HOME"]) / target.database


def _service(login: ContainerLogin) -> dict[str, Any]:
    return {"command": ["toyd"], "healthcheck": {"test": ["CMD", "toy-ping", login.host]}}


DIALECT = Dialect(
    name="toy",
    title="Toy",
    aliases=("toydb",),
    engine="toy_engine:Toy",
    dsn=UrlForm(engine="toy", schemes=("toy",), port="7777", parameters=("x-migrations-table",)),
    extensions=("toy",),
    name_problem=lambda name: "is too long for a toy" if len(name) > 20 else "",
    server_databases=("toybox",),
    creates=True,
    create_options=(),
    maintenance_database=False,
    scaffold=Scaffold(
        first="create_{word}_toys",
        first_up="add items\n",
        first_down="remove items\n",
        next_up="add {description}\n",
        next_down="remove {description}\n",
        server='  toy:\n    engine: toy\n    dsn: "toy://${TOY_HOST:-localhost}:${TOY_PORT:-7777}/{database}"\n',
    ),
    dsn_variable="TOY_DSN",
    container=Container(
        image="toy:1",
        user="toy",
        volume="/toys",
        accepts={},
        user_required=False,
        password_required=False,
        login_parameter="",
        logins={},
        service=_service,
    ),
    embedded=EmbeddedServers(programs=()),
    client="toy_engine",
)

if __name__ == "__main__":
    DIALECTS["toy"] = "toy_engine:DIALECT"
    from orchestrator.cli import main

    main()
