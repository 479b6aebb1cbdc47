"""The record of MongoDB, without its driver."""

from __future__ import annotations

from orchestrator.engines.dialect import Dialect, EmbeddedServers, Scaffold, ShellCall
from orchestrator.engines.mongo.container import CONTAINER
from orchestrator.engines.mongo.dsn import DSN
from orchestrator.engines.names import too_long

# JSON has no comments. A JSON schema has a title and a description, and they carry the explanation.
_UP = """\
[
  {{
    "create": "items",
    "validator": {{
      "$jsonSchema": {{
        "title": "An item",
        "description": "The first migration: replace this example with your own collections.",
        "bsonType": "object",
        "required": ["name", "createdAt"],
        "properties": {{
          "name": {{ "bsonType": "string", "description": "must be text" }},
          "createdAt": {{ "bsonType": "date", "description": "must be a date" }}
        }}
      }}
    }}
  }},
  {{
    "createIndexes": "items",
    "indexes": [
      {{ "key": {{ "name": 1 }}, "name": "name_1", "unique": true }},
      {{ "key": {{ "createdAt": 1 }}, "name": "createdAt_1" }}
    ]
  }}
]
"""

_DOWN = """\
[
  {{
    "drop": "items"
  }}
]
"""

_SERVER = """\
  mongo:
    engine: mongo
    # A server without logins: remove ${MONGO_USER}:${MONGO_PASSWORD}@ and authSource=admin&
    # A replica set of several hosts: set MONGO_DIRECT=false. With true, orch talks to this one host only, whatever
    # name the replica set gives it.
    dsn: "mongodb://${MONGO_USER}:${MONGO_PASSWORD}@${MONGO_HOST:-localhost}:${MONGO_PORT:-27017}/{database}?authSource=admin&directConnection=${MONGO_DIRECT:-true}"
"""

_FORBIDDEN = '/\\. "$*<>:|?'


def _name_problem(name: str) -> str:
    for character in name:
        if character in _FORBIDDEN:
            return f"holds {character!r}, which MongoDB does not allow in the name of a database"
    return too_long(name, 63)


def _shell(url: str) -> ShellCall:
    from orchestrator.engines.mongo.shell import shell

    return shell(url)


DIALECT = Dialect(
    name="mongo",
    title="MongoDB",
    aliases=("mongodb",),
    engine="orchestrator.engines.mongo.engine:Mongo",
    dsn=DSN,
    extensions=("js", "json"),
    name_problem=_name_problem,
    server_databases=("admin", "config", "local"),
    one_case=True,
    creates=False,
    create_options=(),
    maintenance_database=False,
    scaffold=Scaffold(
        first="create_{word}_collections",
        first_up=_UP,
        first_down=_DOWN,
        next_up="[\n]\n",
        next_down="[\n]\n",
        server=_SERVER,
    ),
    dsn_variable="MONGO_URI",
    squash="orchestrator.engines.mongo.squash",
    container=CONTAINER,
    embedded=EmbeddedServers(
        programs=("orchestrator.embedded.mongo:Mongod", "orchestrator.embedded.mongo:Secantus"),
        # Both programs call themselves a replica set of one member: talk to this member, and look for no others.
        query="authSource=admin&directConnection=true",
    ),
    client="orchestrator.engines.mongo.client",
    lint_rules=("MG",),
    sizes="orchestrator.engines.mongo.sizes",
    lint_versions=(4, 8),
    slow_drop=True,  # 100 ms
    shell=_shell,
)
