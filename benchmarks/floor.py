"""The floor: the same work through the raw drivers, eight at a time, with no bookkeeping at all.

`floor.py WORK PREFIX COUNT [FILE …]`, where the databases are PREFIX0, PREFIX1, … and the server is in the variables
that `orch dev env` prints. Prints the seconds that the work took, without the start of Python and the imports.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

WIDTH = 8


def postgres(work: str, files: list[str]) -> Callable[[str], object]:
    import psycopg

    login = "postgres://{POSTGRES_USER}:{POSTGRES_PASSWORD}@{POSTGRES_HOST}:{POSTGRES_PORT}".format_map(os.environ)
    idle: SimpleQueue[psycopg.Connection[Any]] = SimpleQueue()  # connections from which databases are created

    def connect(name: str) -> psycopg.Connection[Any]:
        return psycopg.connect(f"{login}/{name}?sslmode=disable&gssencmode=disable", autocommit=True)

    def nothing(name: str) -> object:
        with connect(name) as connection:
            return connection.execute("SELECT version, dirty FROM schema_migrations").fetchone()

    def pending(name: str) -> object:
        with connect(name) as connection:
            for file in files:
                connection.execute(Path(file).read_bytes())
        return files

    def bootstrap(name: str) -> object:
        maintenance = connect("postgres") if idle.empty() else idle.get()
        maintenance.execute(f'CREATE DATABASE "{name}" TEMPLATE template0'.encode())
        idle.put(maintenance)
        return pending(name)

    return {"nothing": nothing, "pending": pending, "bootstrap": bootstrap}[work]


def mongo() -> Callable[[str], object]:
    import pymongo

    login = "mongodb://{MONGO_USER}:{MONGO_PASSWORD}@{MONGO_HOST}:{MONGO_PORT}".format_map(os.environ)
    client: pymongo.MongoClient[Any] = pymongo.MongoClient(f"{login}/?authSource=admin&directConnection=true")
    return lambda name: client[name]["schema_migrations"].find_one()


def new_mongo(files: list[str]) -> Callable[[str], object]:
    import bson.json_util
    import pymongo

    login = "mongodb://{MONGO_USER}:{MONGO_PASSWORD}@{MONGO_HOST}:{MONGO_PORT}".format_map(os.environ)
    client: pymongo.MongoClient[Any] = pymongo.MongoClient(f"{login}/?authSource=admin&directConnection=true")
    majority = pymongo.WriteConcern("majority", j=True)
    commands = [bson.json_util.loads(Path(file).read_text()) for file in files]

    def run(name: str) -> object:
        with client.start_session() as session:
            for file in commands:  # each file as one transaction
                with session.start_transaction(write_concern=majority):
                    for command in file:
                        client[name].command(command, session=session)
        return files

    return run


def new_sqlite(files: list[str]) -> Callable[[str], object]:
    import sqlite3

    texts = [Path(file).read_text() for file in files]

    def run(name: str) -> object:
        connection = sqlite3.connect(f"{name}.db", isolation_level=None)
        for text in texts:
            connection.executescript(f"BEGIN IMMEDIATE; {text} COMMIT;")
        connection.close()
        return files

    return run


def new_mysql(files: list[str]) -> Callable[[str], object]:
    import pymysql

    host, user, password, port = (os.environ[f"MYSQL_{key}"] for key in ("HOST", "USER", "PASSWORD", "PORT"))
    statements = [one for file in files for one in Path(file).read_text().split(";") if one.strip()]

    def run(name: str) -> object:
        connection = pymysql.connect(
            host=host, user=user, password=password, port=int(port), autocommit=True, ssl_disabled=True
        )
        with connection.cursor() as cursor:
            for statement in (f"CREATE DATABASE `{name}`", f"USE `{name}`", *statements):
                cursor.execute(statement)
        connection.close()
        return files

    return run


def main() -> None:
    work, prefix, count, *files = sys.argv[1:]
    new = {"new-mongo": new_mongo, "new-sqlite": new_sqlite, "new-mysql": new_mysql}
    do = mongo() if work == "mongo" else new[work](files) if work in new else postgres(work, files)
    imported = time.perf_counter()
    with ThreadPoolExecutor(WIDTH) as pool:
        done = list(pool.map(do, [f"{prefix}{number}" for number in range(int(count))]))
    ended = time.perf_counter()
    print(ended - imported if all(done) else "not every database answered", flush=True)
    os._exit(0)  # pymongo's exit handler would wait for half a second


main()
