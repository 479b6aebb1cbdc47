"""PostgreSQL's own client programs, a streaming standby, and clusters that publish."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from processes import until

from orchestrator.embedded import Server
from orchestrator.embedded.process import free_port


def program(server: Server, name: str, *arguments: object, database: str = "postgres", check: bool = True) -> bytes:
    """Run a client program of this server's release (pg_dump, pg_restore, psql …) and return its stdout."""
    binary = Path(f"/proc/{server.pid}/exe").resolve().with_name(name)
    login = {"PGHOST": "127.0.0.1", "PGPORT": str(server.port), "PGUSER": server.user, "PGPASSWORD": server.password}
    done = subprocess.run(
        [binary, *map(str, arguments)], env={**os.environ, **login, "PGDATABASE": database}, capture_output=True
    )
    assert done.returncode == 0 or not check, done.stderr.decode()
    return done.stdout


def execute(dsn: str, *statements: str) -> None:
    """Execute statements one by one, each in a transaction of its own."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@contextmanager
def standby_of(primary: Server, data: Path) -> Iterator[int]:
    """Run a hot standby on a copy of the primary's data, made while that was down; yield its port."""
    port = free_port()
    with (data / "postgresql.conf").open("a") as file:
        file.write(
            f"\nport = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\nhot_standby = on\n"
            "max_connections = 500\n"
            f"primary_conninfo = 'host=127.0.0.1 port={primary.port} user={primary.user} "
            f"password={primary.password}'\n"
        )
    (data / "standby.signal").touch()
    (data / "postmaster.pid").unlink(missing_ok=True)
    with serving(primary, data, port, "SELECT count(*) = 1 FROM pg_stat_wal_receiver"):
        yield port


@contextmanager
def serving(like: Server, data: Path, port: int, ready: str) -> Iterator[None]:
    """Run the program of a server on another directory, with the same logins, from when the query `ready` is true."""
    owner = data.stat()
    command = [str(Path(f"/proc/{like.pid}/exe").resolve()), "-D", str(data)]
    process = subprocess.Popen(command, user=owner.st_uid, group=owner.st_gid, stderr=subprocess.DEVNULL)
    dsn = like.dsn("postgres").replace(str(like.port), str(port))

    def is_ready() -> bool:
        assert process.poll() is None, "it did not start"
        with suppress(psycopg.OperationalError), psycopg.connect(dsn, autocommit=True) as connection:
            return connection.execute(ready.encode()).fetchone() == (True,)
        return False

    try:
        until(is_ready)
        yield
    finally:
        process.terminate()
        process.wait(30)
