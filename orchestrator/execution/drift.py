"""Keep a schema snapshot beside the history, and compare the database with it later: did somebody change it since?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from orchestrator.analysis.drift import (
    MAX_SHOWN,
    Drift,
    KeptSnapshot,
    carried,
    compare,
    details,
    named,
    read_kept,
    write_kept,
)
from orchestrator.engines.base import Session
from orchestrator.errors import DriftError, NotPermittedError, OrchError, SchemaTooLargeError
from orchestrator.hints import Command, Hint
from orchestrator.model import History, SchemaSnapshot, Settings, VersionRow
from orchestrator.planning.attempts import digest

NOTHING_KEPT = Hint(
    "no schema snapshot was kept: the next apply keeps one where drift is warn or refuse, or: ",
    Command("drift", "NAME", "--accept"),
)


class Verdict(NamedTuple):
    """What came of a comparison with the kept schema snapshot. With an `unknown` reason nothing was compared.

    `kept` and `found` are the two snapshots.
    """

    drift: Drift = Drift()
    unknown: str = ""
    kept: SchemaSnapshot | None = None
    found: SchemaSnapshot | None = None


def against_kept(session: Session, ignore: Sequence[str], *, strict: bool = True) -> Verdict:
    """Compare the database with the schema snapshot that was kept of it. Changes nothing.

    If the login lacks a right to read the schema, it is unknown whether it changed; `strict`: NotPermittedError.
    """
    for _ in range(2):
        history = session.read_history()
        text = session.kept_snapshot()
        if not text:
            return Verdict(unknown=NOTHING_KEPT)
        try:
            kept = read_kept(text)
        except ValueError as error:
            return Verdict(unknown=str(error))
        if kept.server != (server := session.server()):
            return Verdict(unknown=f"the kept schema snapshot is of {kept.server}, and the server is {server} now")
        if not _belongs(kept, history):
            return Verdict(unknown="migrations ran since, without a schema snapshot being kept")
        try:
            found = session.schema_snapshot()
        except SchemaTooLargeError as error:
            return Verdict(unknown=error.what)
        except NotPermittedError as error:
            if strict:
                raise
            return Verdict(unknown=error.what)
        if _belongs(kept, session.read_history()):  # else a run came between
            return Verdict(compare(kept.snapshot, found, ignore), kept=kept.snapshot, found=found)
    return Verdict(unknown="it is being migrated")


def _belongs(kept: KeptSnapshot, history: History) -> bool:
    """Whether a snapshot was taken at this state of the history. One that only lost its version table is the same state."""
    if history.version_row is None and history.attempts:
        history = history._replace(version_row=VersionRow(kept.version))
    return digest(history) == kept.base


def before_steps(session: Session, id: str, settings: Settings) -> Verdict:
    """Compare once more under the lock, before anything runs; DriftError where somebody changed what must not be changed."""
    verdict = against_kept(session, settings.drift_ignore, strict=settings.drift == "refuse")
    if verdict.drift.differences and settings.drift == "refuse":
        raise refusal(id, verdict.drift)
    return verdict


def refusal(id: str, drift: Drift) -> DriftError:
    """Return the error for what somebody changed since the last apply."""
    return DriftError(
        f"somebody changed the schema of {id} since the last apply: {named(drift)}",
        detail=details(drift, MAX_SHOWN),
        hint=Hint(
            "undo the change or write it as a migration; or take it as it is: ", Command("drift", id, "--accept")
        ),
    )


def keep(session: Session, version: int | None, verdict: Verdict | None = None) -> str:
    """Keep how the database looks now, in place of what was kept before. Returns why that was not possible, or ''."""
    try:
        keep_or_raise(session, version, verdict)
    except OrchError as error:
        return error.what
    return ""


def keep_or_raise(session: Session, version: int | None, verdict: Verdict | None = None) -> None:
    """Keep how the database looks now, in place of what was kept before.

    Changes that `verdict` found before the run are still reported afterwards: for an object that changed before the run, and
    that the run did not touch, the earlier snapshot stays.
    Raises the error of the server, or OrchError for a schema that cannot be kept.
    """
    base = digest(session.read_history())
    snapshot = session.schema_snapshot()
    if verdict is not None and verdict.kept is not None and verdict.found is not None:
        snapshot = carried(verdict.kept, verdict.found, snapshot)
    try:
        text = write_kept(KeptSnapshot(session.server(), version, base, snapshot))
    except ValueError as error:
        raise OrchError(str(error)) from None
    session.keep_snapshot(text)
