"""What `orch doctor` asks MongoDB: its clock, whether it is a replica set, and the rights of this login."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any

from pymongo.database import Database as MongoDatabase

from orchestrator.model import Vitals

# What apply and rollback do: with the records and the lock, and with what most files are about.
_WRITES = ("find", "insert", "update", "remove", "createCollection", "createIndex", "dropCollection", "dropIndex")
_CHANGES_VALIDATORS = "collMod"
_SEES_OPERATIONS = "inprog"
_ANY_DATABASE = ("insert", "dropDatabase", "listDatabases")


def vitals(database: MongoDatabase[Any]) -> Vitals:
    """Return what the server says of itself and of this login. May raise PyMongoError."""
    admin = database.client.admin
    hello = admin.command("hello")
    now = hello.get("localTime")
    clock = now.replace(tzinfo=UTC) if now and now.tzinfo is None else now
    auth = admin.command({"connectionStatus": 1, "showPrivileges": True}).get("authInfo", {})
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    if users := auth.get("authenticatedUsers"):
        problems, notes = _rights(auth.get("authenticatedUserPrivileges", ()), database.name, users[0])
    role = _role(hello)
    if role == _STANDALONE:
        notes = (*notes, "it is no replica set: a file of several commands commits one by one")
    return Vitals(clock, problems, notes, role)


_STANDALONE = "standalone"


def _role(hello: Mapping[str, Any]) -> str:
    if hello.get("msg") == "isdbgrid":
        return "mongos"
    if not (name := hello.get("setName")):
        return _STANDALONE
    return f"{'primary' if hello.get('isWritablePrimary') else 'secondary'} of {name}"


def _rights(
    given: Iterable[Mapping[str, Any]], database: str, login: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what this login lacks for migrations of a database, and for what else; each with the command that grants it."""
    here, everywhere, cluster = set[str](), set[str](), set[str]()
    for privilege in given:
        resource, actions = privilege["resource"], set(privilege["actions"])
        every = resource.get("anyResource") or (resource.get("db") == "" and resource.get("collection") == "")
        if every:
            everywhere |= actions
        if every or (resource.get("db") in ("", database) and resource.get("collection") == ""):
            here |= actions
        if resource.get("cluster") or resource.get("anyResource"):
            cluster |= actions
    user, home = login["user"], login["db"]
    grant = f'db.getSiblingDB("{home}").grantRolesToUser("{user}", [{{role: "%s", db: "{database}"}}])'
    problems, notes = [], []
    if lacking := [action for action in _WRITES if action not in here]:
        what = f"{user} may not {', '.join(lacking)} in {database}, which apply and rollback do"
        problems.append(f"{what}: {grant % 'readWrite'}")
    if _CHANGES_VALIDATORS not in here:
        notes.append(f"{user} may not collMod in {database}; files that change validators need {grant % 'dbAdmin'}")
    if not everywhere.union(cluster).issuperset(_ANY_DATABASE):
        what = f"{user} may not create and drop databases of any name, which verify and clone do"
        roles = '{role: "readWriteAnyDatabase", db: "admin"}, {role: "dbAdminAnyDatabase", db: "admin"}'
        notes.append(f'{what}: db.getSiblingDB("{home}").grantRolesToUser("{user}", [{roles}])')
    if _SEES_OPERATIONS not in cluster:
        what = f"{user} may not see operations of others, so that nobody can tell what blocks a migration"
        notes.append(
            f'{what}: db.getSiblingDB("{home}").grantRolesToUser("{user}", [{{role: "clusterMonitor", db: "admin"}}])'
        )
    return tuple(problems), tuple(notes)
