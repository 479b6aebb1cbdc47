"""Read a plan that another job has saved. Refuse it unless it is complete and consistent."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.errors import ExitCode, InvalidError
from orchestrator.events import Failure
from orchestrator.hints import Blank, Command, Hint
from orchestrator.model import Direction
from orchestrator.planning.plan import PLAN_FORMAT, DatabasePlan, Plan, Step
from orchestrator.secret import bounded

MAX_WRONG = 500
"""Characters of what is wrong with a saved plan: the schema's complaint repeats the value."""
_FAILURES = frozenset(ExitCode) - {ExitCode.DONE, ExitCode.CHANGES, ExitCode.NOT_YET}


def parse_plan(text: str, path: str) -> Plan:
    """Read a plan; InvalidError if it is not one, as the published schema has it, or one of another format."""
    try:
        document = json.loads(text, parse_float=str)  # a plan has no fractions: the schema refuses the text
        if isinstance(document, dict) and document.get("format", PLAN_FORMAT) != PLAN_FORMAT:
            raise InvalidError(
                f"{path} has format {bounded(str(document['format']), 20)}, and this version of orch reads plans of format "
                f"{PLAN_FORMAT}",
                hint=Hint("make the plan again: ", Command("plan", "-o", Blank("FILE"))),
            )
        _refuse_other_shapes(document)
        databases = tuple(_database_plan(entry) for entry in document["databases"])
        plan = Plan(Direction(document["direction"]), databases, document["tool"])
        _refuse_contradictions(plan)
    except (ValueError, RecursionError) as error:
        raise InvalidError(
            f"{path} is not a plan: {error}", hint=Hint("make one: ", Command("plan", "-o", Blank("FILE")))
        ) from None
    return plan


def _refuse_other_shapes(document: Any) -> None:
    """Hold a document against the published schema; ValueError says what is wrong, and where."""
    from importlib.resources import files

    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    schema = json.loads(files("orchestrator.schemas").joinpath("plan.schema.json").read_text(encoding="utf-8"))
    validator = Draft202012Validator({"$ref": "#/$defs/plan", "$defs": schema["$defs"]})
    if validator.is_valid(_with_each_step_once(document)):
        return
    if wrong := best_match(validator.iter_errors(document)):
        raise ValueError(bounded(f"{wrong.json_path}: {wrong.message}", MAX_WRONG))


def _with_each_step_once(document: Any) -> Any:
    """Return a document with equal steps of databases left out but one: the members of a fleet have the same ones.

    It fits the schema if and only if the whole document does. Checking each of 200,000 steps would take 20 seconds.
    """
    entries = document.get("databases") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        return document
    seen: set[str] = set()
    databases = []
    for entry in entries:
        if not isinstance(entry.get("steps"), list):
            return document
        new = {str(step): step for step in entry["steps"]}
        databases.append({**entry, "steps": [step for key, step in new.items() if key not in seen]})
        seen |= new.keys()
    return {**document, "databases": databases}


def _refuse_contradictions(plan: Plan) -> None:
    """Refuse what no schema can say; ValueError."""
    ids = [planned.id for planned in plan.databases]
    seen: set[str] = set()
    # The databases of a plan stand in an order that respects their dependencies; so there can be no cycle.
    for planned in plan.databases if plan.direction is Direction.UP else reversed(plan.databases):
        if planned.id in seen:
            raise ValueError(f"{planned.id} is in it twice")
        for need in planned.depends_on:
            if need not in seen:
                fault = "comes later" if need in ids else "is not in it"
                raise ValueError(f"{planned.id} depends on {need}, which {fault}")
        seen.add(planned.id)
        if any(step.direction is not plan.direction for step in planned.steps):
            raise ValueError(f"{planned.id} has a step that does not go {plan.direction.value}")
        if planned.failure and planned.failure.exit_code not in _FAILURES:
            raise ValueError(f"{planned.id} has a failure with exit code {planned.failure.exit_code}")


def _database_plan(entry: dict[str, Any]) -> DatabasePlan:
    values = dict(entry)
    values["steps"] = tuple(Step(**{**step, "direction": Direction(step["direction"])}) for step in entry["steps"])
    values["failure"] = Failure.read(entry["failure"]) if entry["failure"] else None
    for name in ("depends_on", "extensions", "adopt", "forget", "notes"):
        values[name] = tuple(entry[name])
    return DatabasePlan(**values)
