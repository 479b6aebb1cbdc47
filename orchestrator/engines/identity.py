"""The identity of a database: every row of a history says in which database it was written."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.records import NamedTuple


class Identity(NamedTuple):
    """One physical database.

    `store` is what no other database has and no copy keeps: system identifier and oid in PostgreSQL, the UUID of the
    history's collection in MongoDB. `server` are names of its server, of which one stays the same when others change;
    none: it cannot be told. `name` is the database's.
    """

    server: tuple[str, ...]
    store: str
    name: str

    def is_same(self, other: Identity) -> bool:
        """Whether both are one database. One restored in place has its server and its name, and nothing else."""
        if self.store and self.store == other.store:
            return True
        on_one_server = not (self.server and other.server) or bool({*self.server} & {*other.server})
        return self.name == other.name and on_one_server

    def __str__(self) -> str:
        return f"database '{self.name}'" + (f" on server {self.server[0]}" if self.server else "")


def written_elsewhere(stored: Iterable[str], current: Identity) -> tuple[Identity, ...]:
    """Return the other databases in which rows were written, as their `identity` says.

    Rows of earlier releases, and of templates and clones, have none. What a person has declared to be of this database
    (`orch repair --here`) is left out.
    """
    found: list[Identity] = []
    declared: set[Identity] = set()
    for read in map(_read, dict.fromkeys(stored)):
        if read is None or (identity := _read_identity(read)) is None:
            continue
        if identity.is_same(current):
            declared.update(other for one in read.get("took_over") or () if (other := _read_identity(one)))
        else:
            found.append(identity)
    return tuple(identity for identity in dict.fromkeys(found) if identity not in declared)


def document(identity: Identity) -> dict[str, Any]:
    """Return an identity as it is stored."""
    return {"server": list(identity.server), "store": identity.store, "name": identity.name}


def told(others: Iterable[Identity], current: Identity) -> str:
    """Return a sentence of where the rows were written, '' if that is here."""
    names = list(map(str, others))
    return f"its records were written in {' and '.join(names)}, and this is {current}" if names else ""


def _read(stored: str) -> dict[str, Any] | None:
    try:
        value = json.loads(stored) if stored else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _read_identity(value: Any) -> Identity | None:
    """Return what `document` stored; None for anything else, which a later release may write."""
    try:
        return Identity(tuple(map(str, value["server"])), str(value["store"]), str(value["name"]))
    except (KeyError, TypeError):
        return None


def stored_identities(records: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the identities in rows of a history, each once; rows without one are left out."""
    return tuple(dict.fromkeys(stored for row in records if (stored := row.get("identity"))))


def whose(stored: Sequence[str], found: Sequence[Mapping[str, Any]], table: str) -> tuple[str, str]:
    """Return where the rows were written, if not here, and which place this table is; both are '' where that is unknown."""
    current = next(filter(None, map(_read_identity, found)), None)
    if current is None:
        return "", ""
    place = f"{current.store} {table}" if current.server else ""
    return told(written_elsewhere(stored, current), current), place


def took_over_document(stored: Sequence[str]) -> str:
    """Return JSON of all identities in the rows, which a row that takes them over stores."""
    nowhere = Identity((), "", "")
    taken = written_elsewhere(stored, nowhere)
    return json.dumps(list(map(document, taken))) if taken else ""
