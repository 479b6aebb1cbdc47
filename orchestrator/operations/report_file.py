"""Read a JSON document that orch wrote, and return it as the document of a report: what is not in it stays empty."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.errors import InvalidError
from orchestrator.hints import Command, Hint
from orchestrator.planning.plan import PLAN_FORMAT
from orchestrator.planning.status import MISSING, PENDING, RUNNING, UP_TO_DATE
from orchestrator.secret import bounded

FORMAT = 1
MAX_WRONG = 500
_MAX_BYTES = 256 * 1024 * 1024
_HINT = Hint("write one with --output json: ", Command("report", "--output", "json"))
Document = dict[str, Any]


def read_report(path: str) -> Document:
    """Return a report document of a document that report, status, plan, apply or rollback wrote with --output json.

    InvalidError if the file is none of these, or one of a later format.
    """
    place = Path(path)
    try:
        if place.stat().st_size > _MAX_BYTES:
            raise InvalidError(f"{path} is larger than {_MAX_BYTES // 2**20} MiB")
        document = json.loads(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"{path} is not a JSON document: {error}", hint=_HINT) from None
    kind = _kind(document)
    if not kind:
        errors = isinstance(document, dict) and "errors" in document
        what = "holds errors and no databases" if errors else "is not a document of report, status, plan or apply"
        raise InvalidError(f"{path} {what}", hint=_HINT)
    reads = PLAN_FORMAT if kind == "plan" else FORMAT
    if document.get("format", reads) != reads:
        given = bounded(str(document["format"]), 20)
        raise InvalidError(f"{path} has format {given}, and this version of orch reads format {reads}", hint=_HINT)
    if wrong := _wrong(document, kind):
        raise InvalidError(f"{path} is not what orch {kind} writes: {wrong}", hint=_HINT)
    if kind == "report":
        return dict(document)
    entry = {"status": _of_status, "plan": _of_plan, "apply": _of_apply}[kind]
    return {
        "format": FORMAT,
        "tool": document.get("tool", ""),
        "made_at": None,
        "name": place.stem,
        "databases": [entry(one) for one in document["databases"]],
        "schemas": {},
    }


def _kind(document: Any) -> str:
    """Return which command wrote a document; '' if none of those that tell of databases."""
    if not isinstance(document, dict) or not isinstance(document.get("databases"), list):
        return ""
    for key, kind in (("schemas", "report"), ("direction", "plan"), ("run_id", "apply")):
        if key in document:
            return kind
    return "status"


def _wrong(document: Document, kind: str) -> str:
    """Hold a document against its published schema; return what is wrong and where, or ''."""
    from importlib.resources import files

    from orchestrator.manifest.conforms import conforms

    schema = json.loads(files("orchestrator.schemas").joinpath(f"{kind}.schema.json").read_text(encoding="utf-8"))
    alone = {"$defs": schema["$defs"], "$ref": schema["oneOf"][0]["$ref"]}
    if conforms(alone, document):
        return ""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    found = best_match(Draft202012Validator(alone).iter_errors(document))
    return bounded(f"{found.json_path}: {found.message}", MAX_WRONG) if found else ""


def _blank(id: str) -> Document:
    return {
        "id": id,
        "engine": "",
        "name": "",
        "endpoint": "",
        "database": "",
        "running": None,
        "exists": None,
        "version": None,
        "dirty": None,
        "applied": [],
        "pending": [],
        "problems": [],
        "notes": [],
        "state": UP_TO_DATE,
        "depends_on": [],
        "labels": [],
        "migrations": [],
        "attempts": [],
        "schema": None,
        "no_schema": "the document holds no schema",
    }


def _of_status(one: Mapping[str, Any]) -> Document:
    applied, pending = set(one["applied"]), set(one["pending"])
    if "state" in one:  # older releases did not write it
        state = one["state"]
    elif one["problems"]:
        state = str(one["problems"][0]["kind"]).replace("_", " ")
    elif one["running"]:
        state = RUNNING
    elif one["exists"] is False and pending:
        state = MISSING
    else:
        state = PENDING if pending else UP_TO_DATE
    migrations = [
        {"version": version, "name": "", "state": "applied" if version in applied else "pending"}
        for version in sorted(applied | pending)
    ]
    listed = [{key: each[key] for key in ("version", "name", "state")} for each in one.get("migrations", ())]
    return {**_blank(one["id"]), **one, "state": state, "migrations": listed or migrations}


def _of_plan(one: Mapping[str, Any]) -> Document:
    steps = one["steps"]
    failure = one["failure"]
    states = {"up": "pending", "down": "applied"}
    migrations = [
        {
            "version": step["version"],
            "name": step["name"],
            "state": states[step["direction"]],
            "statements": step["statements"],
            "atomic": step["atomic"],
        }
        for step in sorted(steps, key=lambda step: step["version"])
    ]
    state = failure["kind"].replace("_", " ") if failure else MISSING if one["create"] else PENDING
    return {
        **_blank(one["id"]),
        **{key: one[key] for key in ("engine", "endpoint", "depends_on", "version", "notes")},
        "name": one["name"],
        "database": one["name"],
        "exists": None if failure else not one["create"],
        "state": state if steps or failure or one["create"] else UP_TO_DATE,
        "pending": [step["version"] for step in steps if step["direction"] == "up"],
        "problems": [_problem(failure)] if failure else [],
        "migrations": migrations,
    }


def _of_apply(one: Mapping[str, Any]) -> Document:
    steps = one["steps"]
    error = one.get("error")
    by = one.get("blocked_by", [])
    problems = [_problem(error)] if error else []
    if by:
        what = f"blocked by {', '.join(by)}"
        problems = [{"kind": "blocked", "version": None, "what": what, "hint": "", "blocks": []}]
    migrations = {
        step["version"]: {
            "version": step["version"],
            "name": step["name"],
            "state": "applied" if step["direction"] == "up" else "not applied",
        }
        for step in steps
    }
    return {
        **_blank(one["id"]),
        "exists": None if error else True,
        "version": one.get("version"),
        "applied": sorted(version for version, step in migrations.items() if step["state"] == "applied"),
        "state": UP_TO_DATE if one["result"] == "done" else one["result"],
        "problems": problems,
        "migrations": [migrations[version] for version in sorted(migrations)],
        "attempts": [_attempt(number, step) for number, step in enumerate(steps, 1)],
    }


def _attempt(number: int, step: Mapping[str, Any]) -> Document:
    return {
        "version": step["version"],
        "attempt": number,
        "direction": step["direction"],
        "done": True,
        "result": "applied" if step["direction"] == "up" else "applied (rolled back)",
        "started_at": None,
        "seconds": step["seconds"],
        "name": step["name"],
    }


def _problem(failure: Mapping[str, Any]) -> Document:
    detail = f"\n{failure['detail']}" if failure["detail"] else ""
    place = f"{failure['where']}: " if failure["where"] else ""
    return {
        "kind": failure["kind"],
        "version": None,
        "what": f"{place}{failure['what']}{detail}",
        "hint": failure["hint"],
        "blocks": ["up", "down"],
    }
