"""What one run knows of a database's history while it adds to it."""

from __future__ import annotations

from orchestrator.execution.run import Run
from orchestrator.model import Direction, History, Migration, Origin, Pointer, Revision, Script
from orchestrator.planning.history import State, latest_effective, next_attempt, pointer_during


class Book:
    """What this run knows of the history, kept in step with what it writes."""

    def __init__(self, run: Run, history: History, state: State) -> None:
        self._run = run
        self._revisions = {(r.version, r.attempt): r for r in history.revisions}
        self._partial = state.partial
        self._written: set[tuple[int, int]] = set()

    @property
    def applied(self) -> set[int]:
        """The versions that are applied now; one that is half way down counts until it is down."""
        latest = latest_effective(self._revisions.values()).values()
        return {
            r.version
            for r in latest
            if (r.done and r.direction is Direction.UP) or (not r.done and r.direction is Direction.DOWN)
        }

    @property
    def version(self) -> int | None:
        """Where the database stands: the highest version that is applied."""
        return max(self.applied, default=None)

    def pointer(self, state: State) -> Pointer:
        """Return what the pointer should say before any step."""
        if state.partial is None:
            return Pointer(self.version)
        return pointer_during(self.applied, state.partial.version, state.partial.direction)

    def begin(self, migration: Migration, direction: Direction, script: Script | None) -> Revision:
        """Return the revision to go on with: the one that was cut off half way, or a new attempt.

        A try that failed half way stays as it is, with its error, and a new attempt goes on from where it stopped.
        """
        attempt = next_attempt(self._revisions.values(), migration.version)
        partial = self._partial
        if partial is None or (partial.version, partial.direction) != (migration.version, direction):
            revision = Revision(migration.version, attempt, migration.name, direction, "")
        else:
            revision = partial._replace(attempt=attempt, error="", reason="") if partial.error else partial
        file = migration.file(direction)
        return revision._replace(
            checksum=file.checksum if file else "",
            total=len(script.statements) if script else 0,
            actor=self._run.actor,
            run_id=self._run.run_id,
            tool=self._run.tool,
        )

    def adopted(self, migration: Migration, direction: Direction) -> Revision:
        """Return the record that golang-migrate applied a migration."""
        return self.begin(migration, direction, None)._replace(done=True, origin=Origin.ADOPTED)

    def forgotten(self, version: int) -> Revision:
        """Return the record that golang-migrate took a migration back."""
        last = latest_effective(self._revisions.values())[version]
        return last._replace(
            attempt=next_attempt(self._revisions.values(), version),
            direction=Direction.DOWN,
            applied=0,  # by us
            total=0,
            prefix="",
            origin=Origin.ADOPTED,
            done=True,
            actor=self._run.actor,
            run_id=self._run.run_id,
            tool=self._run.tool,
            error="",
            reason="",
        )

    def note(self, revision: Revision) -> None:
        """Remember what was written, or what is now known to be true."""
        self._revisions[revision.version, revision.attempt] = revision
        self._written.add((revision.version, revision.attempt))

    def latest(self, revision: Revision) -> Revision:
        """Return what is known of this attempt by now."""
        return self._revisions.get((revision.version, revision.attempt), revision)

    def began(self, revision: Revision) -> bool:
        """Whether this run wrote anything of the attempt, and so moved the pointer."""
        return (revision.version, revision.attempt) in self._written
