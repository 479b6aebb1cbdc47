"""Whole MongoDB databases as templates and copies of them.

A template is read once: its collections with all their options, its views, its indexes, and its documents as the bytes
they are. A copy is these written again, with nothing decoded on the way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from uuid import UUID

from bson.binary import Binary
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient, WriteConcern
from pymongo.collection import Collection
from pymongo.database import Database as MongoDatabase
from pymongo.errors import DuplicateKeyError, ExecutionTimeout, OperationFailure, PyMongoError

from orchestrator.engines.mongo import errors
from orchestrator.engines.mongo.lease import Lease
from orchestrator.engines.mongo.reach import readdressed
from orchestrator.errors import DatabaseMissingError, UsageError
from orchestrator.model import Target

MARK = "orch_clone"
"""The collection that says what a database was made for. It is not copied."""
_BUILD_LOCK = "orch_clone_lock"
"""The collection with the lease of whoever builds a template. It is not copied."""
KEPT_BYTES = 64 * 1024 * 1024
"""Documents up to this size in all are kept in memory between two copies; larger templates are read each time."""
_BATCH = 1_000
_RAW: CodecOptions[Any] = CodecOptions(document_class=RawBSONDocument)
_PASSING = WriteConcern(1)  # a copy is for one test: nobody asks for it after a power cut
_NOT_COPIED = ("system.views", "system.profile", MARK, _BUILD_LOCK)
_TEMPLATES = "orch_template_"
_DIFFERENT_CASE = 13297  # DatabaseDifferCase
_PATIENCE = 2_000  # milliseconds in which a database is dropped, unless somebody holds a lock of it
_SESSION = re.compile(r'lsid: \{ id: UUID\("([0-9a-f-]{36})"\), uid: BinData\(0, ([0-9A-F]{64})\)')


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

    def __init__(self, client: MongoClient[Any], target: Target, actor: str, run_id: str) -> None:
        self._client = client
        self._target = target
        self._actor = actor
        self._run_id = run_id
        self._leases: dict[str, Lease] = {}
        self._read: dict[str, list[_Part]] = {}

    def names(self, prefix: str) -> list[str]:
        """Return the names of the databases that begin so; of templates, the oldest first."""
        with self._mapped():
            found = [name for name in self._client.list_database_names() if name.startswith(prefix)]
            return sorted(found, key=lambda name: (self._age(name) if name.startswith(_TEMPLATES) else "", name))

    @contextmanager
    def building(self, template: str, wait: float) -> Iterator[None]:
        """Be the only one who builds or drops this template; LockError after `wait` seconds."""
        with self._mapped(), self._client.start_session() as session:
            locks = self._client[template][_BUILD_LOCK]
            lease = Lease(locks, session, self._target.database_id, self._actor, self._run_id)
            with lease.held(wait, lambda _holder: None):
                self._leases[template] = lease
                try:
                    yield
                finally:
                    del self._leases[template]

    def is_finished(self, template: str) -> bool:
        """Whether the template is there and whole."""
        return self._finished_at(template) is not None

    def origins(self, prefix: str) -> dict[str, str]:
        """Return the origins of the whole templates whose names begin so; '' where none was kept."""
        found = {}
        with self._mapped():
            for name in self._client.list_database_names():
                if name.startswith(prefix) and (mark := self._client[name][MARK].find_one({"_id": "template"})):
                    found[name] = str(mark.get("origin", ""))
        return found

    def finish(self, template: str, origin: str) -> None:
        """Say that a template is whole; LockError if it was taken over, or dropped, while it was being built."""
        mark = {"$setOnInsert": {"finished_at": datetime.now(UTC), "origin": origin}}
        with self._mapped():
            self._leases[template].renew()
            self._client[template][MARK].update_one({"_id": "template"}, mark, upsert=True)

    def copy(self, template: str, name: str, wanted: str = "") -> None:
        """Make a database of the template, called `wanted` if that is given.

        DatabaseMissingError if the template is gone, UsageError if the wanted name is taken. A database of the first
        name says who is making the wanted one, so that one half made is dropped with it.
        """
        with self._mapped():
            if wanted:
                self._claim(name, wanted)
            try:
                self._fill(template, wanted or name)
                if wanted:
                    self._client[wanted][MARK].update_one({"_id": "clone"}, {"$unset": {"maker": True}})
                    self._client.drop_database(name)
            except BaseException:
                with suppress(PyMongoError):  # else whoever comes next does it
                    self._drop(name)
                raise

    def is_marked(self, name: str) -> bool:
        """Whether a database of any name was made as a clone."""
        with self._mapped():
            return self._client[name][MARK].find_one({"_id": "clone"}) is not None

    def drop(self, name: str) -> None:
        """Drop a clone or a template. None of that name: nothing to do."""
        with self._mapped():
            self._drop(name)

    # ------------------------------------------------------------ what stands behind the verbs

    @contextmanager
    def _mapped(self) -> Iterator[None]:
        with errors.mapped(self._target):
            yield

    def _age(self, template: str) -> str:
        return str(self._finished_at(template) or "")

    def _finished_at(self, template: str) -> datetime | None:
        with self._mapped():
            mark = self._client[template][MARK].find_one({"_id": "template"})
        return mark["finished_at"] if mark else None

    def _claim(self, name: str, wanted: str) -> None:
        """Begin a database under a wanted name that nobody has."""
        taken = UsageError(f"there is a database called '{wanted}' already")
        if wanted in self._client.list_database_names():
            raise taken
        self._client[name][MARK].insert_one({"_id": "making", "wanted": wanted})
        try:
            self._client[wanted][MARK].insert_one({"_id": "clone", "maker": name})
        except OperationFailure as error:
            self._client.drop_database(name)
            if isinstance(error, DuplicateKeyError) or error.code == _DIFFERENT_CASE:  # somebody was a moment quicker
                raise taken from None
            raise

    def _drop(self, name: str) -> None:
        """Drop a database, and the one that it says is being made."""
        self._read.pop(name, None)
        making = self._client[name][MARK].find_one({"_id": "making"})
        if making and self._client[making["wanted"]][MARK].find_one({"_id": "clone", "maker": name}):
            self._end(making["wanted"])
        if name.startswith(_TEMPLATES):  # users and roles that its files made there are not dropped with it
            for command in ("dropAllUsersFromDatabase", "dropAllRolesFromDatabase"):
                with suppress(OperationFailure):  # the right to is not needed where there are none
                    self._client[name].command(command)
        self._end(name)

    def _end(self, name: str) -> None:
        """Drop a database; a transaction that a test left open in it is ended, or the drop would wait until it expires."""
        try:
            self._client[name].command("dropDatabase", maxTimeMS=_PATIENCE)
        except ExecutionTimeout:
            with suppress(OperationFailure):  # without the right to, the drop waits
                if sessions := self._holders(name):
                    self._client.admin.command("killAllSessionsByPattern", [{"lsid": one} for one in sessions])
            self._client.drop_database(name)

    def _holders(self, name: str) -> list[dict[str, Any]]:
        """Return the sessions whose transactions hold locks of a database or of its collections."""
        found = set()
        for resource in self._client.admin.command("lockInfo")["lockInfo"]:
            if re.search(rf", {re.escape(name)}[.}}]", resource["resourceId"]):
                told = " ".join(str(one.get("debugInfo", "")) for one in resource["granted"])
                found |= set(_SESSION.findall(told))
        return [{"id": Binary.from_uuid(UUID(id)), "uid": Binary(bytes.fromhex(uid), 0)} for id, uid in found]

    def _fill(self, template: str, name: str) -> None:
        """Write a template into a new database; DatabaseMissingError if it went, or changed, while it was read."""
        source = self._client.get_database(template, codec_options=_RAW)
        clone = self._client.get_database(name, codec_options=_RAW, write_concern=_PASSING)
        parts = self._read.get(template)
        reads = parts is None or any(part.documents is None for part in parts)
        before = self._finished_at(template) if reads else None
        gone = DatabaseMissingError(f"the template {template} is gone")
        if reads and before is None:
            self._read.pop(template, None)
            raise gone
        failed: PyMongoError | None = None
        try:
            parts = self._parts(source) if parts is None else parts
            for part in parts:
                self._write(clone, part, source)
        except PyMongoError as error:  # perhaps because what it read was dropped
            failed = error
        if reads and self._finished_at(template) != before:
            self._read.pop(template, None)
            raise gone
        if failed is not None:
            raise failed
        if parts is not None:
            self._read[template] = parts

    def _parts(self, template: MongoDatabase[Any]) -> list[_Part]:
        """Read a template: collections first, views last, so that each finds what it is made of."""
        plain = self._client[template.name]
        lock = self._target.parameters.get("x-advisory-lock-collection") or "migrate_advisory_lock"
        listed = [
            _Part(info["name"], info["type"], info.get("options", {}), [], None)
            for info in plain.list_collections()
            if info["name"] not in (*_NOT_COPIED, lock) and not info["name"].startswith("system.buckets.")
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
            # A view may name the template's database.
            clone.command(readdressed({"create": part.name, **part.options}, source.name, clone.name))
        if part.indexes:
            clone.command({"createIndexes": part.name, "indexes": part.indexes})
        documents = _documents(part, source) if part.documents is None else iter(part.documents)
        while batch := list(islice(documents, _BATCH)):
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
