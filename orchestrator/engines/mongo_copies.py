"""Whole MongoDB databases as templates and copies of them.

A template is read once: its collections with all their options, its views, its indexes, and its documents as the bytes
they are. A copy is these written again, with nothing decoded on the way.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient, WriteConcern
from pymongo.collection import Collection
from pymongo.database import Database as MongoDatabase

from orchestrator.engines import mongo_errors as errors
from orchestrator.errors import DatabaseMissingError, UsageError
from orchestrator.model import Target

MARK = "orch_clone"
"""The collection that says what a database was made for. It is not copied."""
KEPT_BYTES = 64 * 1024 * 1024
"""Documents up to this size in all are kept in memory between two copies; larger templates are read each time."""
BATCH = 1_000
_RAW: CodecOptions[Any] = CodecOptions(document_class=RawBSONDocument)
_PASSING = WriteConcern(1)  # a copy is for one test: nobody asks for it after a power cut
_NOT_COPIED = ("system.views", "system.profile", "system.buckets.", MARK)


@dataclass(frozen=True, slots=True)
class _Part:
    """A collection or view of a template. `documents` is None where they are read anew for every copy."""

    name: str
    kind: str
    options: dict[str, Any]
    indexes: list[dict[str, Any]]
    documents: list[Any] | None


class MongoCopies:
    """The templates and clones of one server."""

    def __init__(self, client: MongoClient[Any], target: Target) -> None:
        self._client = client
        self._target = target
        self._read: dict[str, list[_Part]] = {}

    def names(self, prefix: str) -> list[str]:
        """Return the names of the databases that begin so; of templates, the oldest first."""
        with self._mapped():
            found = [name for name in self._client.list_database_names() if name.startswith(prefix)]
            return sorted(found, key=self._age)

    @contextmanager
    def building(self, template: str) -> Iterator[None]:  # noqa: ARG002 - PostgreSQL needs it
        """Do nothing: the migration lock of the template keeps its builders apart, and what one has done the next skips."""
        yield

    def is_finished(self, template: str) -> bool:
        """Whether the template is there and whole."""
        with self._mapped():
            return self._client[template][MARK].find_one({"_id": "template"}) is not None

    def finish(self, template: str) -> None:
        """Say that a template is whole."""
        mark = {"$setOnInsert": {"finished_at": datetime.now(UTC)}}
        with self._mapped():
            self._client[template][MARK].update_one({"_id": "template"}, mark, upsert=True)

    def copy(self, template: str, name: str, wanted: str = "") -> None:
        """Make a database of the template, called `wanted` if that is given.

        DatabaseMissingError if the template is gone, UsageError if the wanted name is taken.
        """
        with self._mapped():
            if wanted and wanted in self._client.list_database_names():
                raise UsageError(f"there is a database called '{wanted}' already")
            source = self._client.get_database(template, codec_options=_RAW)
            if template not in self._read:
                if not self.is_finished(template):
                    raise DatabaseMissingError(f"the template {template} is gone")
                self._read[template] = self._parts(source)
            clone = self._client.get_database(wanted or name, codec_options=_RAW, write_concern=_PASSING)
            if wanted:
                clone[MARK].insert_one({"_id": "clone"})
            for part in self._read[template]:
                self._write(clone, part, source)

    def is_marked(self, name: str) -> bool:
        """Whether a database of any name was made as a clone."""
        with self._mapped():
            return self._client[name][MARK].find_one({"_id": "clone"}) is not None

    def drop(self, name: str) -> None:
        """Drop a clone or a template. None of that name: nothing to do."""
        with self._mapped():
            self._read.pop(name, None)
            self._client.drop_database(name)

    # ------------------------------------------------------------ what stands behind the verbs

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        with errors.mapped(self._target):
            yield

    def _age(self, template: str) -> str:
        mark = self._client[template][MARK].find_one({"_id": "template"})
        return mark["finished_at"].isoformat() if mark else ""

    def _parts(self, template: MongoDatabase[Any]) -> list[_Part]:
        """Read a template: collections first, views last, so that each finds what it is made of."""
        plain = self._client[template.name]
        lock = self._target.parameters.get("x-advisory-lock-collection") or "migrate_advisory_lock"
        listed = [
            _Part(info["name"], info["type"], info.get("options", {}), [], None)
            for info in plain.list_collections()
            if not info["name"].startswith(_NOT_COPIED) and info["name"] != lock
        ]
        parts = []
        room = KEPT_BYTES
        for part in sorted(listed, key=lambda part: (part.kind == "view", part.name)):
            if part.kind == "view":
                parts.append(replace(part, documents=[]))
                continue
            documents: list[Any] = []
            for document in _documents(part, template):
                room -= len(document.raw)
                if room < 0:
                    break
                documents.append(document)
            indexes = _indexes(plain[part.name], part.options)
            parts.append(replace(part, indexes=indexes, documents=documents if room >= 0 else None))
        return parts

    def _write(self, clone: MongoDatabase[Any], part: _Part, source: MongoDatabase[Any]) -> None:
        if part.options or not (part.indexes or part.documents):
            clone.command({"create": part.name, **part.options})
        if part.indexes:
            clone.command({"createIndexes": part.name, "indexes": part.indexes})
        documents = _documents(part, source) if part.documents is None else iter(part.documents)
        while batch := list(islice(documents, BATCH)):
            clone[part.name].insert_many(batch, bypass_document_validation=True)


def _documents(part: _Part, source: MongoDatabase[Any]) -> Iterator[Any]:
    """Read a collection in the order in which it was written; a time series keeps its own."""
    return iter(source[part.name].find(sort=[("$natural", 1)] if part.kind == "collection" else None))


def _indexes(collection: Collection[Any], options: dict[str, Any]) -> list[dict[str, Any]]:
    found = [dict(index) for index in collection.list_indexes()]
    wanted = [index for index in found if index["name"] != "_id_" and not index.get("clustered")]
    # An index without a collation would take that of its collection.
    simple = {"collation": {"locale": "simple"}} if "collation" in options else {}
    return [simple | {key: value for key, value in index.items() if key != "ns"} for index in wanted]
