"""Complete the error of a migration file: its place, what it left in the database, and what to do next."""

from __future__ import annotations

from orchestrator.engines import dialect
from orchestrator.errors import StatementError
from orchestrator.execution.excerpt import excerpt
from orchestrator.hints import Command, Hint
from orchestrator.model import Attempt, Direction, Mark, Script
from orchestrator.secret import Redact


def made_by_hand(id: str, attempt: Attempt, error: StatementError) -> str:
    """Return what to do if the file creates something that exists already; '' for any other error."""
    if not error.exists or attempt.direction is Direction.DOWN or attempt.applied or attempt.in_flight:
        return ""
    return Hint(
        "if all of it was made by hand, as in a hotfix: ",
        Command("repair", id, "--mark-applied", attempt.version),
    )


def what_next(attempt: Attempt, script: Script | None) -> str:
    """Return what a failed file has left in the database, and which part of the file may therefore be corrected."""
    if attempt.in_flight:
        return f"statement {attempt.applied + 1} may be done in part: the next run looks; run again"
    if not attempt.applied or script is None:
        return "nothing of this file is in the database: correct what is wrong, and run again"
    done = f"{attempt.applied} of {attempt.total} statements are done and recorded"
    if attempt.applied >= len(script.statements):
        return f"{done}: run again"
    line = script.statements[attempt.applied].line
    return f"{done}: leave those as they are, correct the file from line {line} on, and run again"


def located(error: StatementError, script: Script | None, engine: str, redact: Redact) -> StatementError:
    """Return what the server said with file, line, column, the line itself with a caret, and the code of the error."""
    statement = error.statement
    code = dialect(engine).error_code.format(error.code) if error.code else ""
    if script is None or error.where is not None:
        return error
    if statement is None:  # at its end: a deferred constraint, or our own records
        detail = "\n".join(filter(None, (code, error.detail)))
        return error.completed(where=Mark(script.file.path), detail=detail)
    offset = statement.offset + (error.offset or 0)
    number = next((number for number, one in enumerate(script.statements, 1) if one.offset == statement.offset), 0)
    place = f"statement {number} of {len(script.statements)}" if number else "check"
    facts = [excerpt(script.text, offset, redact.spans), ", ".join(filter(None, (place, code)))]
    detail = "\n".join([*facts, error.detail] if error.detail else facts)
    return error.completed(where=Mark.at(script.file.path, script.text, offset), detail=detail)
