"""The floor: the same work through the raw drivers, eight at a time, with no bookkeeping at all.

`floor.py WORK PREFIX COUNT [FILE …]`, where the databases are PREFIX0, PREFIX1, … and the server is in the variables
that `orch dev env` prints. Prints the seconds that the work took, without the start of Python and the imports.

On MySQL the floor keeps books, because a change of the schema commits by itself there, and only records before and after it
tell a later run what was done. It creates the database, takes golang-migrate's lock, reads which tables there are, creates
the version table and a history, and for each such statement commits an intent before it and a record after it, each with the
version row. A file of rows commits with its record. Everything that needs no answer before it goes on is one message.
It works on as many databases at a time as orch does by default; ORCH_FLOOR_WIDTH sets another number, for all servers.
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

WIDTHS = {"new-mysql": 4}
"""How many databases at a time; 8 unless it says so."""


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
    """Create a database under golang-migrate's lock, and record before and after each statement, as safety asks for."""
    import zlib

    import pymysql
    from pymysql.constants import CLIENT

    host, user, password, port = (os.environ[f"MYSQL_{key}"] for key in ("HOST", "USER", "PASSWORD", "PORT"))
    tables = (
        "CREATE TABLE schema_migrations (version bigint not null primary key, dirty boolean not null) ENGINE=InnoDB",
        "CREATE TABLE history (version bigint, applied int, in_flight boolean, done boolean, checksum varchar(128), "
        "seen_before text, at datetime(6), PRIMARY KEY (version)) ENGINE=InnoDB",
    )
    texts = [Path(file).read_text() for file in files]
    migrations = [[one.strip() for one in text.split(";") if one.strip()] for text in texts]

    def record(version: int, applied: int, flight: int, done: int) -> str:
        """Return a row of the history, and the version row that goes with it."""
        row = f"{version}, {applied}, {flight}, {done}, 'sha256:{'0' * 64}', 'absent', UTC_TIMESTAMP(6)"
        dirty = f"DELETE FROM schema_migrations; INSERT INTO schema_migrations VALUES ({version}, {1 - done})"
        return f"REPLACE INTO history VALUES ({row}); {dirty}"

    def run(name: str) -> object:
        connection = pymysql.connect(
            host=host,
            user=user,
            password=password,
            port=int(port),
            autocommit=True,
            ssl_disabled=True,
            client_flag=CLIENT.MULTI_STATEMENTS,
        )

        def send(*queries: str) -> None:
            """Send statements as one message, and read all answers."""
            connection.query("; ".join(queries))
            while connection._result is not None and connection._result.has_next:
                connection.next_result()

        lock = zlib.crc32(f"{name}:schema_migrations".encode()) * 1486364155 % 2**32
        find = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"
        send(f"CREATE DATABASE `{name}`", f"USE `{name}`", f"SELECT GET_LOCK('{lock}', 0)")
        send(find)
        send(*tables)
        for version, statements in enumerate(migrations, 1):
            if all(statement.startswith("INSERT") for statement in statements):
                send("START TRANSACTION", *statements, record(version, len(statements), 0, 1), "COMMIT")
                continue
            for at, statement in enumerate(statements):
                send("START TRANSACTION", record(version, at, 1, 0), "COMMIT")
                send(statement)
                send("START TRANSACTION", record(version, at + 1, 0, int(at + 1 == len(statements))), "COMMIT")
        send(f"SELECT RELEASE_LOCK('{lock}')")
        connection.close()
        return files

    return run


def main() -> None:
    work, prefix, count, *files = sys.argv[1:]
    new = {"new-mongo": new_mongo, "new-sqlite": new_sqlite, "new-mysql": new_mysql}
    do = mongo() if work == "mongo" else new[work](files) if work in new else postgres(work, files)
    imported = time.perf_counter()
    with ThreadPoolExecutor(int(os.environ.get("ORCH_FLOOR_WIDTH") or WIDTHS.get(work, 8))) as pool:
        done = list(pool.map(do, [f"{prefix}{number}" for number in range(int(count))]))
    ended = time.perf_counter()
    print(ended - imported if all(done) else "not every database answered", flush=True)
    os._exit(0)  # pymongo's exit handler would wait for half a second


main()
