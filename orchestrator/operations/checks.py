"""Ask the `require` checks of the files of a plan before anything runs. Nothing is changed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.engines.base import Limits, Session
from orchestrator.errors import CheckError, OrchError, StatementError
from orchestrator.execution.run import Run
from orchestrator.model import Direction, Mark, Script, Statement
from orchestrator.planning.plan import DatabasePlan, Plan, Step

MET, NOT_MET, UNKNOWN = "met", "not met", "unknown"


@dataclass(frozen=True, slots=True)
class Asked:
    """The answer to one check of a plan: `met`, `not met` or `unknown`, and why.

    `certain`: no file of the plan runs before this one on its database, so apply would get the same answer.
    """

    database: str
    version: int
    where: Mark
    answer: str
    why: str = ""
    certain: bool = True

    @property
    def stops(self) -> bool:
        """Whether apply would stop here."""
        return self.certain and self.answer == NOT_MET

    def document(self) -> dict[str, Any]:
        """Return the answer as plain data."""
        return {**asdict(self), "where": str(self.where), "stops": self.stops}

    def __str__(self) -> str:
        why = f": {self.why}" if self.why else ""
        later = "" if self.certain or self.answer == MET else " (files that run before it may change that)"
        return f"{self.database}: {self.where}: require {self.answer}{why}{later}"


def ask_checks(run: Run, plan: Plan) -> list[Asked]:
    """Return the answers to the `require` checks of all steps that begin at their first statement."""
    found: list[Asked] = []
    for planned in plan.databases:
        scripts = [(step, script) for step in planned.steps if (script := _script(run, plan.direction, planned, step))]
        scripts = [(step, script) for step, script in scripts if script.checks.before and not step.first]
        if not scripts or planned.failure:
            continue
        if planned.create:
            found += _unknown(planned, scripts, "the database does not exist yet")
            continue
        try:
            with run.engines[run.targets[planned.id].engine].connect(run.targets[planned.id]) as session:
                for step, script in scripts:
                    certain = step.version == planned.steps[0].version
                    limits = Limits(statement_timeout=_timeout(run, planned.id, script))
                    found += [
                        _ask(run, session, planned.id, step, script, check, limits, certain=certain)
                        for check in script.checks.before
                    ]
        except OrchError as error:
            found += _unknown(planned, scripts, run.redact(error.what))
    return found


def _script(run: Run, direction: Direction, planned: DatabasePlan, step: Step) -> Script | None:
    files = {migration.version: migration.file(direction) for migration in run.catalogs[planned.id]}
    file = files.get(step.version)
    return run.read_script(run.databases[planned.id], file) if file else None


def _timeout(run: Run, id: str, script: Script) -> float | None:
    own = script.statement_timeout
    return run.databases[id].settings.statement_timeout if own is None else own


def _ask(
    run: Run,
    session: Session,
    id: str,
    step: Step,
    script: Script,
    check: Statement,
    limits: Limits,
    *,
    certain: bool,
) -> Asked:
    where = Mark.at(script.file.path, script.text, check.offset)
    try:
        session.ask(check, limits)
    except CheckError as error:
        return Asked(id, step.version, where, NOT_MET, run.redact(error.what.partition(": ")[2]), certain)
    except StatementError as error:
        answer = NOT_MET if certain else UNKNOWN
        return Asked(id, step.version, where, answer, run.redact(error.what), certain)
    return Asked(id, step.version, where, MET, certain=certain)


def _unknown(planned: DatabasePlan, scripts: list[tuple[Step, Script]], why: str) -> list[Asked]:
    return [
        Asked(
            planned.id, step.version, Mark.at(script.file.path, script.text, check.offset), UNKNOWN, why, certain=False
        )
        for step, script in scripts
        for check in script.checks.before
    ]
