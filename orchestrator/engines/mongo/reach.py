"""Find commands that reach beyond their own database, and rewrite commands for a copy of it.

A command may name a database: in a full name (`shop.orders`), as `db` beside `coll` in a stage, as the database of a role.
Its own becomes the copy's. Any other, and whatever acts on the whole server, is a finding. Commands that are not known to
stay in their database are findings too: a later release of MongoDB may bring some.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator.engines.base import Confined, Finding, Reach
from orchestrator.model import Checks, Mark, Script, Statement

_HINT = "do this outside of migrations"
_VIEWS = "writes to system.views, which has the database's name in it"
# Commands, in lower case, that act on their own database alone, apart from what their pipelines say.
_LOCAL_COMMANDS = """
    aggregate buildinfo bulkwrite clonecollectionascapped collmod collstats compact connectionstatus converttocapped count
    create createindexes createsearchindexes dbhash dbstats delete deleteindexes distinct drop dropindexes dropsearchindex
    explain filemd5 find findandmodify getmore hello insert ismaster killcursors listcollections listcommands listindexes
    listsearchindexes mapreduce ping plancacheclear plancacheclearfilters plancachelistfilters plancachesetfilter profile
    reindex setindexcommitquorum update updatesearchindex validate
"""
# Commands whose first value is the full name of a collection, or of a database: exact for the copy.
_NAMED_COMMANDS = """
    datasize enablesharding refinecollectionshardkey renamecollection reshardcollection shardcollection unshardcollection
"""
_USER_COMMANDS = """
    createrole createuser dropallrolesfromdatabase dropallusersfromdatabase droprole dropuser grantprivilegestorole
    grantrolestorole grantrolestouser revokeprivilegesfromrole revokerolesfromrole revokerolesfromuser updaterole updateuser
"""
_LOCAL, _NAMED, _USERS = (frozenset(names.split()) for names in (_LOCAL_COMMANDS, _NAMED_COMMANDS, _USER_COMMANDS))
_WRITERS = frozenset(("insert", "update", "delete", "findandmodify"))
# Stages that name a collection, and where in them: `{"db": …, "coll": …}`, of which `$out` itself is one.
_PLACES = {"$out": "", "$merge": "into", "$lookup": "from", "$graphLookup": "from", "$unionWith": "coll"}
_OUTPUTS = frozenset({"$out", "$merge"})
_STORES = frozenset({"atlas", "azure", "gcs", "s3"})  # to which Atlas can write
# Stages that show, or follow, the whole server.
_WHOLE_SERVER = frozenset(
    {
        "$currentOp",
        "$listClusterCatalog",
        "$listLocalSessions",
        "$listSessions",
        "$querySettings",
        "$queryStats",
        "$shardedDataDistribution",
    }
)


def confine(script: Script, database: str, scratch: str) -> Confined:
    """Return the file with the copy's name for its own database's, and what in it reaches beyond the copy."""
    found: list[Finding] = []

    def own(statement: Statement) -> Statement:
        reader = _Reader(database, scratch)
        body = reader.command(statement.body)
        where = Mark.at(script.file.path, script.text, statement.offset)
        found.extend(Finding(where, what, reach, _HINT) for what, reach in reader.found.items())
        return statement if body == statement.body else replace(statement, body=body)

    checks = Checks(*(tuple(map(own, asked)) for asked in script.checks))
    return Confined(replace(script, statements=tuple(map(own, script.statements)), checks=checks), tuple(found))


def readdressed(command: dict[str, Any], database: str, scratch: str) -> dict[str, Any]:
    """Return a command with another name for one database."""
    return _Reader(database, scratch).command(command)


@dataclass
class _Reader:
    """Reads one command. `found`: what reaches beyond the database, and how far."""

    own: str
    scratch: str
    found: dict[str, Reach] = field(default_factory=dict)

    def command(self, command: dict[str, Any]) -> dict[str, Any]:
        """Return the command with the copy's name in it."""
        name = next(iter(command))
        low = name.lower()
        result = dict(command)
        if low in _USERS:
            return self._users(name, result)
        if low not in _LOCAL | _NAMED:
            self._add(f"{name} acts on the whole server, or is not known to stay in its database")
            return result
        if low in _NAMED and isinstance(result[name], str):
            result[name] = self._full_name(name, result[name])
        if low == "renamecollection" and isinstance(result.get("to"), str):
            result["to"] = self._full_name(name, result["to"])
        if low == "explain" and isinstance(result[name], dict) and result[name]:
            result[name] = self.command(result[name])
        if low in _WRITERS and result[name] == "system.views":
            self._add(f"{name} {_VIEWS}")
        self._parts(name, result)
        return result

    def _parts(self, name: str, command: dict[str, Any]) -> None:
        """Exchange the names in what a command holds, in place."""
        if isinstance(pipeline := command.get("pipeline"), list):
            command["pipeline"] = self._pipeline(pipeline)
        if isinstance(changes := command.get("update"), list):  # of findAndModify
            command["update"] = self._pipeline(changes)
        if isinstance(updates := command.get("updates"), list):
            command["updates"] = [
                one | {"u": self._pipeline(one["u"])}
                if isinstance(one, dict) and isinstance(one.get("u"), list)
                else one
                for one in updates
            ]
        if isinstance(out := command.get("out"), dict):  # of mapReduce
            command["out"] = self._place(name, out)
        if isinstance(spaces := command.get("nsInfo"), list):  # of bulkWrite
            if any(isinstance(one, dict) and str(one.get("ns")).endswith(".system.views") for one in spaces):
                self._add(f"{name} {_VIEWS}")
            command["nsInfo"] = [
                one | {"ns": self._full_name(name, one["ns"])}
                if isinstance(one, dict) and isinstance(one.get("ns"), str)
                else one
                for one in spaces
            ]
        if name.lower() == "profile" and command.keys() - {"profile", "filter", "comment"}:
            self._add(f"{name} changes what the whole server logs")

    def _pipeline(self, stages: list[Any]) -> list[Any]:
        return [
            {operator: self._stage(operator, value) for operator, value in stage.items()}
            if isinstance(stage, dict)
            else stage
            for stage in stages
        ]

    def _stage(self, operator: str, value: Any) -> Any:
        if operator in _WHOLE_SERVER:
            self._add(f"{operator} reads the whole server")
        if not isinstance(value, dict):
            return value
        if operator == "$changeStream" and value.get("allChangesForCluster"):
            self._add(f"{operator} reads the whole server")
        if operator in _PLACES:
            value = self._place(operator, value)
            inner = value.get(_PLACES[operator])
            value = value | {_PLACES[operator]: self._place(operator, inner)} if isinstance(inner, dict) else value
        if operator == "$facet":
            return {key: self._pipeline(part) if isinstance(part, list) else part for key, part in value.items()}
        return self._nested(value)

    def _nested(self, value: dict[str, Any]) -> dict[str, Any]:
        """Read the pipelines within a stage: `pipeline` of a join, `input.pipelines` of a fusion of ranks."""
        result = dict(value)
        if isinstance(inner := result.get("pipeline"), list):
            result["pipeline"] = self._pipeline(inner)
        source = result.get("input")
        if isinstance(source, dict) and isinstance(pipelines := source.get("pipelines"), dict):
            read = {key: self._pipeline(part) if isinstance(part, list) else part for key, part in pipelines.items()}
            result["input"] = source | {"pipelines": read}
        return result

    def _place(self, what: str, place: dict[str, Any]) -> dict[str, Any]:
        """Exchange the `db` of a place."""
        if what in _OUTPUTS and (store := _STORES & place.keys()):
            self._add(f"{what} writes to {min(store)}, outside of the database")
        return place | {"db": self._database(what, place["db"])} if "db" in place else place

    def _full_name(self, what: str, name: str) -> str:
        database, dot, rest = name.partition(".")
        return f"{self._database(what, database)}{dot}{rest}"

    def _database(self, what: str, name: Any) -> Any:
        if name == self.own:
            return self.scratch
        if name != self.scratch:
            self._add(f"{what} names the database {name!r}")
        return name

    def _users(self, name: str, command: dict[str, Any]) -> dict[str, Any]:
        """Read a command about users or roles: these belong to a database, and are kept by the server."""
        for key in ("roles", "privileges"):
            if isinstance(entries := command.get(key), list):
                command[key] = [self._right(name, entry) if isinstance(entry, dict) else entry for entry in entries]
        self._add(f"{name} acts on what the server keeps for all databases", Reach.SERVER)
        return command

    def _right(self, name: str, right: dict[str, Any]) -> dict[str, Any]:
        right = self._place(name, right)
        resource = right.get("resource")
        if not isinstance(resource, dict):
            return right
        if resource.get("cluster") or resource.get("anyResource") or resource.get("db") == "":
            self._add(f"{name} gives a right on every database")
            return right
        return right | {"resource": self._place(name, resource)}

    def _add(self, what: str, reach: Reach = Reach.OTHER) -> None:
        self.found.setdefault(what, reach)
