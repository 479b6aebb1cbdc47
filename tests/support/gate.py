"""A migration that runs until the test lets it go on: no clock decides what happens first."""

from __future__ import annotations

import secrets
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from orchestrator.embedded import Server


class Gate:
    """A session on a PostgreSQL server for whose end `sql` waits, in whatever database it runs."""

    def __init__(self, server: Server) -> None:
        self.name = f"gate_{secrets.token_hex(4)}"
        self._connection = psycopg.connect(server.dsn("postgres"), autocommit=True, application_name=self.name)

    @property
    def sql(self) -> str:
        """The statement that waits. Its text holds the gate's name."""
        return (
            f"DO $gate$ BEGIN WHILE EXISTS (SELECT FROM pg_stat_activity WHERE application_name = '{self.name}') "
            "LOOP PERFORM pg_sleep(0.02); PERFORM pg_stat_clear_snapshot(); END LOOP; END $gate$;"
        )

    def open(self) -> None:
        """Let everything go on that waits."""
        self._connection.close()


@contextmanager
def closed_gate(server: Server) -> Iterator[Gate]:
    """Yield a gate, and open it at the end whatever happens."""
    gate = Gate(server)
    try:
        yield gate
    finally:
        gate.open()


def interrupted(process: subprocess.Popen[str], word: str = "stopping") -> str:
    """Send SIGINT and return what the process says until it tells that it stops: a line on stderr, an event on stdout."""
    process.send_signal(signal.SIGINT)
    said = ""
    for line in iter((process.stderr if word == "stopping" else process.stdout) or ()):
        said += line
        if word.lower() in line.lower():
            return said
    raise AssertionError(f"it never said {word}: {said}")
