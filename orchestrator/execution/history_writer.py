"""Write attempts of one database, and keep the history in memory up to date."""

from __future__ import annotations

from contextlib import suppress

from orchestrator.engines.base import Limits, Session
from orchestrator.errors import OrchError
from orchestrator.execution.run import Run
from orchestrator.model import Attempt, Direction, History, Migration, Origin, Script, VersionRow
from orchestrator.planning.attempts import latest_effective, next_attempt, version_row_during
from orchestrator.planning.catalog import read_text
from orchestrator.planning.history import State
from orchestrator.planning.kept import Kept, pack
from orchestrator.secret import hidden

_MAX_ERROR_CHARACTERS = 2_000


class HistoryWriter:
    """What this run knows of the history, kept in step with what it writes."""

    def __init__(self, run: Run, id: str, history: History, state: State) -> None:
        self._run = run
        self._id = id
        self._attempts = {(r.version, r.number): r for r in history.attempts}
        self._partial = state.partial
        self._written: set[tuple[int, int]] = set()

    @property
    def applied(self) -> set[int]:
        """The versions that are applied now; one that is half way down counts until it is down."""
        latest = latest_effective(self._attempts.values()).values()
        return {
            r.version
            for r in latest
            if (r.done and r.direction is Direction.UP) or (not r.done and r.direction is Direction.DOWN)
        }

    @property
    def version(self) -> int | None:
        """Where the database stands: the highest version that is applied."""
        return max(self.applied, default=None)

    def version_row(self, state: State) -> VersionRow:
        """Return what the version table should say before any step."""
        if state.partial is None:
            return VersionRow(self.version)
        return version_row_during(self.applied, state.partial.version, state.partial.direction)

    def begin(self, migration: Migration, direction: Direction, script: Script | None) -> Attempt:
        """Return the attempt to go on with: the one that was cut off half way, or a new attempt.

        A try that failed half way stays as it is, with its error, and a new attempt goes on from where it stopped.
        """
        number = next_attempt(self._attempts.values(), migration.version)
        partial = self._partial
        if partial is None or (partial.version, partial.direction) != (migration.version, direction):
            attempt = Attempt(migration.version, number, migration.name, direction, "")
        else:
            attempt = partial._replace(number=number, error="", reason="") if partial.error else partial
        file = migration.file(direction)
        if self._run.cloned:
            attempt = attempt._replace(origin=Origin.CLONED, reason=self._run.cloned)
        return attempt._replace(
            checksum=file.checksum if file else "",
            total=len(script.statements) if script else 0,
            actor=self._run.actor,
            run_id=self._run.run_id,
            tool=self._run.tool,
            texts=self._texts(migration, script) if direction is Direction.UP and script is not None else "",
        )

    def _texts(self, migration: Migration, script: Script) -> str:
        """Return what the history keeps of both files: the down file may be gone when it is wanted."""
        if not self._run.databases[self._id].settings.keep_text:
            return ""
        down = None
        if migration.down is not None:
            with suppress(OrchError):  # a file that cannot be read is told when it is to run
                down = read_text(migration.down)
        return pack(Kept(script.template or script.text, down))

    def adopted(self, migration: Migration, direction: Direction) -> Attempt:
        """Return the record that golang-migrate applied a migration."""
        return self.begin(migration, direction, None)._replace(done=True, origin=Origin.ADOPTED)

    def forgotten(self, version: int) -> Attempt:
        """Return the record that golang-migrate took a migration back."""
        last = latest_effective(self._attempts.values())[version]
        return last._replace(
            number=next_attempt(self._attempts.values(), version),
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

    def note(self, attempt: Attempt) -> None:
        """Remember what was written, or what is now known to be true."""
        self._attempts[attempt.version, attempt.number] = attempt
        self._written.add((attempt.version, attempt.number))

    def latest(self, attempt: Attempt) -> Attempt:
        """Return what is known of this attempt by now."""
        return self._attempts.get((attempt.version, attempt.number), attempt)

    def began(self, attempt: Attempt) -> bool:
        """Whether this run wrote anything of the attempt, and so changed the version table."""
        return (attempt.version, attempt.number) in self._written

    def record_failure(self, session: Session, attempt: Attempt, error: OrchError) -> None:
        """Write the error of an attempt. If the attempt had no effect, the version table gets back what it said before.

        A server that refuses this too is ignored: the first error is the one that a person must read.
        """
        what = f"{error.where}: {error.what}" if error.where else error.what
        text = hidden(what, _MAX_ERROR_CHARACTERS, self._run.redact)[:_MAX_ERROR_CHARACTERS]
        failed = attempt._replace(error=text)
        effect = failed.applied or failed.in_flight
        version_row = None if effect or not self.began(failed) else VersionRow(self.version)
        with suppress(OrchError):  # the disk may be full
            session.commit((), [failed], version_row, Limits())
