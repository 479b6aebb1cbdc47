"""Embedded servers as a program sees them: read and write over a connection, and start them from another process."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pymongo

from orchestrator import embedded
from orchestrator.embedded import Server, postgres

_PROJECT = Path(embedded.__file__).parents[2]


def write(server: Server) -> int:
    """Leave a number that `written` finds again, acknowledged as durable."""
    n = random.randrange(1 << 30)
    if server.engine == "postgres":
        with psycopg.connect(server.dsn("postgres")) as connection:
            connection.execute(f"DROP TABLE IF EXISTS kept; CREATE TABLE kept AS SELECT {n} AS n")
    else:
        with client(server) as mongo:
            kept = mongo.get_database("shop", write_concern=pymongo.WriteConcern("majority", j=True)).kept
            kept.replace_one({"_id": 1}, {"n": n}, upsert=True)
    return n


def written(server: Server) -> int:
    if server.engine == "postgres":
        with psycopg.connect(server.dsn("postgres")) as connection:
            row = connection.execute("SELECT n FROM kept").fetchone()
            return int(row[0]) if row else 0
    with client(server) as mongo:
        return int((mongo.shop.kept.find_one() or {"n": 0})["n"])


def client(server: Server, **other: Any) -> pymongo.MongoClient[dict[str, Any]]:
    return pymongo.MongoClient(server.dsn("shop"), serverSelectionTimeoutMS=5000, **other)


def connects(server: Server) -> bool:
    if server.engine == "postgres":
        with psycopg.connect(server.dsn("postgres")) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    with client(server) as mongo:
        return bool(mongo.shop.command("ping")["ok"])


@contextmanager
def client_of(server: Server) -> Iterator[Callable[[], object]]:
    """A connection that stays open; the function asks the server something over it."""
    if server.engine == "postgres":
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
            yield lambda: connection.execute("SELECT 1").fetchone()
    else:
        with client(server) as mongo:
            yield lambda: mongo.shop.command("ping")


_PRELUDE = """
import sys, time, json
from pathlib import Path
from orchestrator import embedded
from orchestrator.embedded import postgres
root, postgres.SHELTERS = Path(sys.argv[1]), (Path(sys.argv[2]),)
def up(engine):
    server = embedded.up(root, [engine])[engine]
    print(json.dumps([server.pid, server.port, server.password]), flush=True)
"""


def child(code: str, root: Path, *, python: str = sys.executable, **options: Any) -> subprocess.Popen[str]:
    """Another process of the same user, or of the one in `options`, which runs code with `up(engine)`."""
    path = os.pathsep.join([str(_PROJECT), *(part for part in sys.path if part.endswith("site-packages"))])
    return subprocess.Popen(
        [python, "-c", _PRELUDE + code, str(root), str(postgres.SHELTERS[0])],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )
