"""The checks of a MongoDB file: the `comment` of a command that asks something before or after the file.

`{"ping": 1, "comment": {"orch": {"require": {"count": "orders", "query": {"total": null}}, "is": 0}}}`: golang-migrate
sends the ping and knows nothing of the rest. What is counted can be asked inside of a transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bson.raw_bson import RawBSONDocument

from orchestrator.engines.base import Rows
from orchestrator.engines.checks import ENSURE, REQUIRE, refused, text_of
from orchestrator.errors import StatementError
from orchestrator.model import Statement

EXAMPLE = {"orch": {REQUIRE: {"count": "orders", "query": {"total": None}}, "is": 0}}
_COMMANDS = {
    "count": {"query", "limit", "skip", "hint", "collation"},
    "find": {"filter", "limit", "skip", "hint", "collation"},
    "aggregate": {"pipeline", "cursor", "hint", "collation"},
}
_WRITING = frozenset({"$out", "$merge"})
_ONLY = "a check is a count, a find or an aggregate"


def kind_of(comment: Any) -> str:
    """Return `require` or `ensure` if a comment is meant to be a check, else ''."""
    inner = comment.get("orch") if isinstance(comment, dict) else None
    if not isinstance(inner, dict):
        return ""
    return next((kind for kind in (REQUIRE, ENSURE) if kind in inner), "")


def read_check(comment: dict[str, Any]) -> dict[str, Any]:
    """Return what is asked: an aggregate command that counts, and under `is` the number that it must give.

    ValueError with what is wrong.
    """
    inner, kind = comment["orch"], kind_of(comment)
    if comment.keys() != {"orch"} or inner.keys() - {kind, "is"}:
        raise ValueError(f"beside '{kind}' there is only 'is'")
    command, wanted = inner[kind], inner.get("is")
    if not isinstance(command, dict) or not command:
        raise ValueError(f"'{kind}' must be a command that reads")
    if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 0:
        raise ValueError("'is' must say how many documents there must be: a whole number from 0")
    name, collection = next(iter(command.items()))
    if name not in _COMMANDS or not isinstance(collection, str):
        raise ValueError(f"{_ONLY} of a collection")
    if more := sorted(command.keys() - _COMMANDS[name] - {name}):
        raise ValueError(f"a check with '{name}' takes no '{more[0]}'")
    stages = command.get("pipeline", []) if name == "aggregate" else _stages(command)
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise ValueError("'pipeline' must be an array of stages")
    if any(_WRITING & stage.keys() for stage in stages):
        raise ValueError("a check must not write: $out and $merge do")
    extras = {key: command[key] for key in ("hint", "collation") if key in command}
    pipeline = [*stages, {"$count": "n"}]
    return {"aggregate": collection, "pipeline": pipeline, "cursor": {}, **extras, "is": int(wanted)}


_OF_FIND = ("filter", "sort", "skip", "limit", "projection")
_OF_AGGREGATE = ("pipeline",)
_PASSED_ON = ("collation", "hint", "let", "comment", "allowDiskUse")
_NO_EFFECT = ("cursor", "batchSize", "noCursorTimeout", "maxTimeMS")
"""How the documents are brought is orch's own business."""


def read_query(query: Statement) -> dict[str, Any]:
    """Return the aggregate command of a find or an aggregate that only reads; StatementError if it is none."""
    command = query.body
    name, collection = next(iter(command.items()))
    stages = command.get("pipeline") if name == "aggregate" else _read_stages(command)
    writes = isinstance(stages, list) and any(_WRITING & stage.keys() for stage in stages if isinstance(stage, dict))
    if name not in ("find", "aggregate") or not isinstance(collection, str) or not isinstance(stages, list) or writes:
        raise StatementError("the query of a fleet is a find or an aggregate that only reads", statement=query)
    own = _OF_FIND if name == "find" else _OF_AGGREGATE
    if odd := next((key for key in command if key not in {name, *own, *_PASSED_ON, *_NO_EFFECT}), ""):
        raise StatementError(f"the query of a fleet cannot have {odd!r}", statement=query)
    return {"aggregate": collection, "pipeline": stages, **{key: command[key] for key in _PASSED_ON if key in command}}


def _read_stages(command: dict[str, Any]) -> list[dict[str, Any]]:
    stages = [{"$match": command.get("filter", {})}]
    for key in ("sort", "skip", "limit"):
        if command.get(key):
            stages.append({f"${key}": command[key]})
    return [*stages, {"$project": command["projection"]}] if command.get("projection") else stages


def rows_of(documents: Sequence[Mapping[str, Any]]) -> Rows:
    """Return documents as rows: their keys are the columns, without `_id` where there is another."""
    keys = dict.fromkeys(key for document in documents for key in document)
    columns = tuple(key for key in keys if key != "_id") or tuple(keys)
    rows = (
        tuple(None if document.get(key) is None else text_of(document[key]) for key in columns)
        for document in documents
    )
    return Rows(columns, tuple(rows))


def _stages(command: dict[str, Any]) -> list[dict[str, Any]]:
    condition = command.get("query", command.get("filter", {}))
    if not isinstance(condition, dict):
        raise ValueError("the condition must be an object")  # noqa: TRY004 - the file's fault
    limits = [{f"${key}": command[key]} for key in ("skip", "limit") if command.get(key)]
    return [{"$match": condition}, *limits]


def command_of(check: Statement) -> dict[str, Any]:
    """Return the command that the server gets."""
    return {key: value for key, value in check.body.items() if key != "is"}


def judge_reply(check: Statement, reply: RawBSONDocument) -> None:
    """Raise CheckError unless the server counted as many documents as the check wants."""
    batch = list(reply["cursor"]["firstBatch"])
    found, wanted = int(batch[0]["n"]) if batch else 0, check.body["is"]
    if found != wanted:
        raise refused(check, f"there are {found:,} such documents, not {wanted:,}")
