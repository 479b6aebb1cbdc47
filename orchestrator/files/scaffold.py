"""The first lines of things: migrations that work as they are, and a manifest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from orchestrator.errors import UsageError

_UP = """\
-- The first migration of {name}: replace the example by your own tables.
-- The whole file is one transaction, with the record that it was applied. Once applied it is never edited:
-- `orch new {name} add_something` makes the next one.

CREATE TABLE items (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE INDEX idx_items_created_at ON items (created_at);
"""
_DOWN = """\
-- Takes back 000001_create_{word}_tables.up.sql; its index goes with the table.

DROP TABLE IF EXISTS items;
"""
# JSON has no comments; a schema has a title and descriptions.
_COLLECTION = """\
[
  {
    "create": "items",
    "validator": {
      "$jsonSchema": {
        "title": "An item",
        "description": "The first migration: replace this example by your own collections.",
        "bsonType": "object",
        "required": ["name", "createdAt"],
        "properties": {
          "name": { "bsonType": "string", "description": "must be text" },
          "createdAt": { "bsonType": "date", "description": "must be a date" }
        }
      }
    }
  },
  {
    "createIndexes": "items",
    "indexes": [
      { "key": { "name": 1 }, "name": "name_1", "unique": true },
      { "key": { "createdAt": 1 }, "name": "createdAt_1" }
    ]
  }
]
"""
_NO_COLLECTION = """\
[
  {
    "drop": "items"
  }
]
"""
_TIMESTAMP = "%Y%m%d%H%M%S"
_FIRST_TIMESTAMP = 19_700_101_000_000

EXTENSIONS = {"postgres": "sql", "mongo": "js"}


def first_pair(engine: str, name: str) -> dict[str, str]:
    """Return file name → text of the first migration of a database."""
    word = snake(name)
    if engine == "mongo":
        return {
            f"000001_create_{word}_collections.up.js": _COLLECTION,
            f"000001_create_{word}_collections.down.js": _NO_COLLECTION,
        }
    return {
        f"000001_create_{word}_tables.up.sql": _UP.format(name=name),
        f"000001_create_{word}_tables.down.sql": _DOWN.format(word=word),
    }


def next_pair(
    engine: str, versions: list[str], description: str, now: datetime | None = None, *, extension: str = ""
) -> dict[str, str]:
    """Return the next pair, after `versions` as they are written in the file names: numbers, or timestamps.

    Without an `extension` it is the engine's usual one.
    """
    highest = max(map(int, versions), default=0)
    if highest >= _FIRST_TIMESTAMP:
        stamp = int((now or datetime.now(UTC)).strftime(_TIMESTAMP))
        version = str(max(stamp, highest + 1))
    else:
        version = f"{highest + 1:0{max(map(len, versions), default=6)}d}"
    stem, extension = f"{version}_{snake(description)}", extension or EXTENSIONS[engine]
    if engine == "mongo":
        return {f"{stem}.{direction}.{extension}": "[\n]\n" for direction in ("up", "down")}
    return {
        f"{stem}.up.{extension}": f"-- {description}\n\n",
        f"{stem}.down.{extension}": f"-- Takes back: {description}\n\n",
    }


def snake(text: str) -> str:
    """Return the text as it stands in a file name; UsageError if nothing is left of it."""
    if re.search(r"[/\\\0]|\.\.", text):
        raise UsageError(f"{text!r} cannot be part of a file name", hint="use letters, digits and _")
    word = re.sub(r"[^0-9a-z]+", "_", text.lower()).strip("_")
    if not word or len(word) > 100:
        raise UsageError(f"{text!r} cannot be part of a file name", hint="use up to 100 letters, digits and _")
    return word


_MANIFEST = """\
# Every database of this project. `orch apply` creates what is missing and migrates it, each after what it depends on.
# The migrations of a database are in migrations/{engine}-{name}/schema. Secrets come from the environment, or from the
# file that POSTGRES_PASSWORD_FILE names.
version: 1

servers:
  postgres:
    engine: postgres
    dsn: "postgres://${POSTGRES_USER}:${POSTGRES_PASSWORD}@${POSTGRES_HOST:-localhost}:${POSTGRES_PORT:-5432}/{database}?sslmode=${POSTGRES_SSLMODE:-prefer}"
  mongo:
    engine: mongo
    # A server without logins: leave out ${MONGO_USER}:${MONGO_PASSWORD}@ and authSource=admin&
    # Several hosts of a replica set: MONGO_DIRECT=false. Directly, this one host serves, whatever name its set gives it.
    dsn: "mongodb://${MONGO_USER}:${MONGO_PASSWORD}@${MONGO_HOST:-localhost}:${MONGO_PORT:-27017}/{database}?authSource=admin&directConnection=${MONGO_DIRECT:-true}"

"""


def first_manifest(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return a manifest with these databases."""
    from orchestrator.render.text import Flow, to_yaml

    if not entries:
        return _MANIFEST + "databases: # add one: orch add-db NAME\n"
    listed = [{key: Flow(value) if key == "depends_on" else value for key, value in entry.items()} for entry in entries]
    return _MANIFEST + to_yaml({"databases": listed})
