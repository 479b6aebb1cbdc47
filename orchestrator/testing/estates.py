"""The databases of one manifest as templates, and the copies of them that tests get."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from orchestrator.engines import dialect
from orchestrator.errors import ConnectError, ConnectionLostError, OrchError
from orchestrator.events import Event, ServerWaiting
from orchestrator.manifest.dsn import override_variable, variables_of
from orchestrator.manifest.names import resolve_name, select
from orchestrator.model import Database, Manifest, Target
from orchestrator.operations.clone import Cloner, cloner
from orchestrator.operations.load import assemble
from orchestrator.testing.fresh_database import FreshDatabase
from orchestrator.testing.names_in_hints import named_here

if TYPE_CHECKING:
    from orchestrator.embedded import Server

Done = TypeVar("Done")

_PATIENCE = 60.0
"""Seconds to wait for servers that are still starting, unless something else is said."""
_LOOK_AGAIN = 5.0  # seconds after which a server that was waited for in vain is looked for again


class Estate:
    """The databases of one manifest, as templates to copy. `wait` and `tell` are those of `estate`."""

    def __init__(self, path: Path, embedded: bool | None) -> None:
        self._assembly = assemble(str(path), offline=True)
        self._embedded = embedded
        self.wait = _PATIENCE
        self.tell: Callable[[str], None] = _to_stderr
        self._told: set[str] = set()
        self._dropping: ThreadPoolExecutor | None = None
        self._mutex = threading.RLock()
        self._servers: dict[str, Server] = {}
        self._cloners: dict[tuple[str, bool], Cloner] = {}
        self._swept: set[str] = set()
        self._down: dict[str, tuple[ConnectError, float]] = {}  # servers waited for in vain, and when that was

    @property
    def manifest(self) -> Manifest:
        """What the manifest says."""
        return self._assembly.manifest

    @contextmanager
    def database(self, name: str, *, seeds: bool = True, drop_later: bool = False) -> Iterator[FreshDatabase]:
        """Lend a fresh migrated database.

        With `drop_later` one that takes long is dropped in the background; `close` waits for that.
        """
        with named_here():
            found = resolve_name(self.manifest.databases, name)
            cloner, target = self._clone(found, seeds)
        fresh = FreshDatabase(found.id, found.engine, target.database, target.url.reveal())
        try:
            yield fresh
        finally:
            fresh.close()
            if drop_later and dialect(found.engine).slow_drop:
                self._drop_later(cloner, found.id, fresh.name)
            else:
                with named_here():
                    self._drop(cloner, found, fresh.name)

    def select(self, only: Sequence[str] = ()) -> tuple[Database, ...]:
        """Return databases of the manifest, chosen as `orch --only` does (`label:x` too); all by default."""
        return select(self.manifest.databases, list(only))

    def server(self, engine: str) -> Server | None:
        """Return the embedded server that this engine's databases use, started if need be; None: the DSNs tell."""
        with self._mutex, named_here():
            if engine in self._servers and not _lives(self._servers[engine]):
                self._forget(engine)
            if engine not in self._servers:
                if dialect(engine).embedded.files:
                    return None
                databases = [d for d in self.manifest.databases if d.engine == engine]
                if not (self._embedded or (self._embedded is None and not _reachable(databases, os.environ))):
                    return None
                from orchestrator.embedded import up

                self._servers |= up(self.manifest.path.parent / ".orch", [engine])
            return self._servers[engine]

    def sweep(self) -> list[str]:
        """Drop the clones that killed processes left on the servers in use; return their names."""
        dropped = []
        for found in {d.engine: d for d in self.manifest.databases}.values():
            dropped += self._cloner(found, True).drop_left_behind([found.id])
        return dropped

    def close(self) -> None:
        """Finish what is being dropped, and close the connections that are kept between two clones."""
        with self._mutex:
            dropping, self._dropping = self._dropping, None
        if dropping:
            dropping.shutdown()
        with self._mutex:
            for engine in self._assembly.engines.values():
                engine.close()
            self._assembly.engines.clear()
            self._cloners.clear()

    # ------------------------------------------------------------ what stands behind

    def _clone(self, found: Database, seeds: bool) -> tuple[Cloner, Target]:
        """Make a clone; once more if its embedded server was killed meanwhile, on the one that is started in its place."""
        try:
            return self._clone_once(found, seeds)
        except (ConnectError, ConnectionLostError):
            if self._stands(found.engine):
                raise
        return self._clone_once(found, seeds)

    def _clone_once(self, found: Database, seeds: bool) -> tuple[Cloner, Target]:
        cloner = self._cloner(found, seeds)

        def clone() -> Target:
            self._sweep_once(found.id, cloner)
            return cloner.clone(found.id, pid=os.getpid())

        return cloner, self._waiting(cloner, found.id, clone)

    def _drop(self, cloner: Cloner, found: Database, name: str) -> None:
        """Drop a clone; once more if its server was restarted, and not at all if it is an embedded one that was killed."""
        try:
            cloner.drop(found.id, name)
        except (ConnectError, ConnectionLostError):
            if self._stands(found.engine):
                again = partial(cloner.drop, found.id, name)
                self._waiting(cloner, found.id, lambda: cloner.run.when_ready(found.id, again))

    def _waiting(self, cloner: Cloner, id: str, work: Callable[[], Done]) -> Done:
        """Call `work`, which waits for the server. Each outage is waited for; after one in vain it is only looked at."""
        server = cloner.run.targets[id].server_key
        error, when = self._down.get(server, (None, 0.0))
        if error is None:
            cloner.run = replace(cloner.run, sink=self._listen, wait=self.wait, started=time.monotonic())
        elif time.monotonic() - when < _LOOK_AGAIN:
            raise error
        try:
            done = work()
        except ConnectError as error:
            if error.transient:
                self._down[server] = (error, time.monotonic())
            raise
        self._down.pop(server, None)
        self._told.discard(id)
        return done

    def _stands(self, engine: str) -> bool:
        """Whether the server of an engine is no embedded one that was killed."""
        with self._mutex:
            return engine not in self._servers or _lives(self._servers[engine])

    def _drop_later(self, cloner: Cloner, id: str, name: str) -> None:
        def drop() -> None:
            with suppress(OrchError):  # whoever comes next drops it: its process will be gone
                cloner.drop(id, name)

        with self._mutex:
            if self._dropping is None:
                self._dropping = ThreadPoolExecutor(max_workers=1, thread_name_prefix="orch-drop")
            self._dropping.submit(drop)

    def _forget(self, engine: str) -> None:
        """Let go of an embedded server that was killed, with all that was connected to it."""
        del self._servers[engine]
        for id, seeds in list(self._cloners):
            if self.manifest.database(id).engine == engine:
                del self._cloners[id, seeds]
        if connected := self._assembly.engines.pop(engine, None):
            with suppress(Exception):  # there is nobody at the other end
                connected.close()

    def _listen(self, event: Event) -> None:
        if isinstance(event, ServerWaiting) and event.database not in self._told:
            self._told.add(event.database)
            self.tell(f"orch: waiting up to {self.wait:g} s for the server of {event.database}: {event.reason}")

    def _sweep_once(self, id: str, cloner: Cloner) -> None:
        key = cloner.run.targets[id].server_key
        with self._mutex:
            if key not in self._swept:
                self._swept.add(key)
                cloner.drop_left_behind([id])

    def _cloner(self, found: Database, seeds: bool) -> Cloner:
        with self._mutex:
            if found.engine in self._servers:  # it may have been killed: then all that was connected to it is let go
                self.server(found.engine)
            if (found.id, seeds) not in self._cloners:
                embedded = self.server(found.engine) is not None
                self._cloners[found.id, seeds] = cloner(
                    self._assembly, found, self._listen, seeds=seeds, embedded=embedded, wait=self.wait
                )
            return self._cloners[found.id, seeds]


def _reachable(databases: Sequence[Database], env: Mapping[str, str]) -> bool:
    """Whether the environment was meant to tell where these are: it has a DSN, or a variable that one needs."""
    for database in databases:
        needed = [v.name for v in variables_of(database) if v.operator != ":-"]
        names = [override_variable(database.id), *needed]
        if not needed or any(env.get(name) or env.get(f"{name}_FILE") for name in names):
            return True
    return False


def _lives(server: Server) -> bool:
    """Whether the process of an embedded server is there."""
    from orchestrator.embedded.process import alive

    return alive(server.pid)


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
