"""Read history, version table and lock of a database with one command: a fleet asks thousands of databases."""

from __future__ import annotations

from typing import Any

from pymongo.client_session import ClientSession
from pymongo.collection import Collection
from pymongo.errors import OperationFailure

from orchestrator.records import NamedTuple

MAX_ROWS = 10  # of golang-migrate's collection, which has one
_BATCH = 1_000  # documents that come with the first answer
_NO_SUCH_STAGE = (40324, 40415)  # what servers say that do not know a stage, or its form
_NO_RIGHT, _NOT_FIRST = 13, 40602

SERVER_NOW = "server_now"
"""Stands in a lock document that was read, never in what is stored: the time of the server."""
LOCK: list[dict[str, Any]] = [{"$match": {"locking_key": 0}}, {"$limit": 1}, {"$addFields": {SERVER_NOW: "$$NOW"}}]
"""Reads the lock document."""


class Found(NamedTuple):
    """The documents as they were read, in this order: version table, history, version table again, lock.

    `views`: in the place of a collection is something else.
    """

    before: list[dict[str, Any]]
    history: list[dict[str, Any]]
    after: list[dict[str, Any]]
    lock: dict[str, Any] | None
    views: bool = False


NOTHING = Found([], [], [], None)
"""Where none of the collections is there."""


def read_together(
    versions: Collection[Any], history: Collection[Any], locks: Collection[Any], session: ClientSession
) -> Found:
    """Return what the three collections hold; those that are not there are empty. The texts of files are left out.

    The server reads one collection after the other: `before` and `after` are the same unless a run wrote between them.
    """
    pipeline = _pipeline(versions, history, locks)
    try:
        return _read(versions, [*pipeline, *map(_kind, (versions, history, locks))], session)
    except OperationFailure as error:
        if error.code == _NOT_FIRST:
            return Found([], [], [], None, views=True)
        if error.code not in (*_NO_SUCH_STAGE, _NO_RIGHT):
            raise
    try:
        return _read(versions, pipeline, session)
    except OperationFailure as error:
        if error.code not in _NO_SUCH_STAGE:
            raise
    return _one_by_one(versions, history, locks, session)


def _read(versions: Collection[Any], pipeline: list[dict[str, Any]], session: ClientSession) -> Found:
    parts: dict[str, list[Any]] = {"before": [], "history": [], "after": [], "lock": [], "view": []}
    for document in versions.aggregate(pipeline, batchSize=_BATCH, session=session):
        ((part, found),) = document.items()
        parts[part].append(found)
    lock = next(iter(parts["lock"]), None)
    return Found(parts["before"], parts["history"], parts["after"], lock, views=bool(parts["view"]))


def _kind(collection: Collection[Any]) -> dict[str, Any]:
    """Return a stage that yields something only for a view, which the server takes for the collection behind it.

    With most views, and with time series, it fails instead: they put a stage before that of this pipeline.
    """
    other = {"$match": {"ns": {"$ne": collection.full_name}}}
    return _union(collection, {"$collStats": {}}, other, {"$replaceWith": {"view": "$ns"}})


def _pipeline(versions: Collection[Any], history: Collection[Any], locks: Collection[Any]) -> list[dict[str, Any]]:
    def named(part: str) -> dict[str, Any]:
        return {"$replaceWith": {part: "$$ROOT"}}

    limit: dict[str, Any] = {"$limit": MAX_ROWS}
    return [
        limit,
        named("before"),
        _union(history, {"$project": {"texts": 0}}, named("history")),
        _union(versions, limit, named("after")),
        _union(locks, *LOCK, named("lock")),
    ]


def _union(collection: Collection[Any], *stages: dict[str, Any]) -> dict[str, Any]:
    return {"$unionWith": {"coll": collection.name, "pipeline": list(stages)}}


def _one_by_one(
    versions: Collection[Any], history: Collection[Any], locks: Collection[Any], session: ClientSession
) -> Found:
    before = list(versions.find(session=session, limit=MAX_ROWS))
    rows = list(history.find({}, {"texts": 0}, session=session))
    after = list(versions.find(session=session, limit=MAX_ROWS)) if rows else before
    return Found(before, rows, after, next(locks.aggregate(LOCK, session=session), None))
