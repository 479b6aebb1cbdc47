"""The options that use cases share: which databases of which manifest, and how their servers are used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError
from orchestrator.events import Sink
from orchestrator.execution.run import Run
from orchestrator.execution.scheduler import JOBS
from orchestrator.execution.timings import Timings
from orchestrator.operations.assembly import Assembly
from orchestrator.operations.load import assemble
from orchestrator.records import dataclass, field, replace

if TYPE_CHECKING:
    from orchestrator.planning.shards import Shard


@dataclass(frozen=True, slots=True)
class Scope:
    """What a use case works on. `wait` and `lock_timeout` are seconds.

    `file` is the manifest (default: ORCH_FILE, or the nearest databases.yaml). `only` and `exclude` are names, globs and
    labels, as --only takes them; nothing in `only` means all. `embedded` uses the servers of `orch dev` instead of the DSNs.
    `shard`: only the databases of this one, while others run at the same time; the limit for a server is divided among them.
    """

    file: str | None = None
    env_file: str | None = None
    only: Sequence[str] | None = None
    exclude: Sequence[str] | None = None
    no_deps: bool = False
    embedded: bool = False
    jobs: int = JOBS
    jobs_per_server: int | None = None
    wait: float = 0.0
    lock_timeout: float | None = None
    shard: Shard | None = None
    timings: Timings = field(default_factory=Timings)

    def just(self, names: Sequence[str] | None) -> Scope:
        """Return this scope for these databases without what they depend on; without names, as it is."""
        return replace(self, only=names, no_deps=True) if names else self

    def assemble(self, *, offline: bool = False, saved: bool = False) -> Assembly:
        """Load the manifest and choose databases; InvalidError and UsageError say what is wrong.

        `saved`: they are those of a saved plan, and the manifest may lack some of them.

        Without servers (`offline`) one database stands for the members of a fleet that a query tells.
        """
        with self.timings.stage("manifest"):
            assembly = assemble(
                self.file,
                self.env_file,
                self.only,
                self.exclude,
                no_deps=self.no_deps,
                offline=offline,
                embedded=self.embedded,
                wait=self.wait,
                saved=saved,
            )
        if self.shard:
            assembly.run_id = self.shard.label(assembly.run_id)
        return assembly

    def run(self, assembly: Assembly, sink: Sink, *, fail_fast: bool = False) -> Run:
        """Return a run over these databases. InvalidError for files and DSNs that are wrong; no server is asked."""
        return assembly.run(
            sink,
            embedded=self.embedded,
            jobs=self.jobs,
            jobs_per_server=self.jobs_per_server,
            shard=self.shard,
            wait=self.wait,
            lock_timeout=self.lock_timeout,
            fail_fast=fail_fast,
            timings=self.timings,
        )


def the_one(assembly: Assembly, name: str) -> str:
    """Return the id of the one database that was chosen; UsageError if the name means several."""
    if len(assembly.databases) != 1:
        raise UsageError(f"'{name}' names {len(assembly.databases)} databases", hint="name one")
    return assembly.databases[0].id
