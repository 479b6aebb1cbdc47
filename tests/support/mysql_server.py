"""Servers of MariaDB or MySQL with options of their own, two that look the same, and a primary with its replica."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pymysql
import pytest

from orchestrator import embedded
from orchestrator.embedded import Server

_AT_FIRST = ("--lower-case-table-names",)
"""Options that MySQL takes when it makes its first files too."""


def program() -> tuple[Path, bool]:
    """Return the server that is installed, and whether it is MariaDB. Skip the test if there is none."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    found = (
        os.environ.get("ORCH_MYSQLD_BIN") or shutil.which("mariadbd", path=path) or shutil.which("mysqld", path=path)
    )
    if not found:
        pytest.skip("no MariaDB or MySQL on this machine")
    version = subprocess.run([found, "--no-defaults", "--version"], capture_output=True, text=True, check=True).stdout
    return Path(found), "mariadb" in version.lower()


@contextmanager
def server_with(root: Path, options: Sequence[str]) -> Iterator[Server]:
    """Run a server with these options beside those of embedded servers, which they override; its data goes with it."""
    found, is_maria = program()
    wrapper = root / "bin" / "mariadbd"
    wrapper.parent.mkdir(parents=True)
    basic = [] if is_maria else _basic(found)
    first = [] if is_maria else [*basic, *(one for one in options if one.startswith(_AT_FIRST))]
    wrapper.write_text(
        f'#!/bin/sh\ncase "$*" in *--bootstrap*|*--version*|*--initialize*) exec {found} "$@" {shlex.join(first)};; esac\n'
        f'exec {found} "$@" {shlex.join([*basic, *options])}\n'
    )
    wrapper.chmod(0o755)
    with mock.patch.dict(os.environ, {"ORCH_MYSQLD_BIN": str(wrapper)}):
        server = embedded.up(root / "server", ["mysql"])["mysql"]
    try:
        yield server
    finally:
        embedded.remove(root / "server")


@contextmanager
def twins(root: Path) -> Iterator[list[str]]:
    """Run two servers with one port and one data directory, as pods of two clusters have. Give the start of a DSN of each.

    The directory is a link, which leads elsewhere when the second server starts. Both listen on a socket alone.
    """
    found, is_maria = program()
    link = root / "data"
    options = [f"--datadir={link}", "--port=3306", "--skip-networking", "--pid-file=pid"]
    options += ["--user=root"] if os.geteuid() == 0 else []
    options += [] if is_maria else [*_basic(found), "--mysqlx=OFF"]
    running: list[subprocess.Popen[bytes]] = []
    dsns = []
    sockets = Path(tempfile.mkdtemp(prefix="orch-"))  # the path of a socket has 107 characters at most
    made = embedded.up(root / "made", ["mysql"])["mysql"].data
    embedded.down(root / "made")
    try:
        for name in ("a", "b"):
            time.sleep(1 - time.time() % 1)  # they do not start in the same second
            link.unlink(missing_ok=True)
            link.symlink_to(shutil.copytree(made, root / name), target_is_directory=True)
            logins = root / f"{name}.sql"
            logins.write_text(
                "CREATE USER t@localhost IDENTIFIED BY 'sesame';\nGRANT ALL ON *.* TO t@localhost WITH GRANT OPTION;\n"
            )
            at = sockets / name
            own = [f"--socket={at}", f"--init-file={logins}"]
            running.append(subprocess.Popen([found, "--no-defaults", *options, *own], stderr=subprocess.DEVNULL))
            _until(partial(_listens, at), "a server does not start")
            dsns.append(f"mysql://t:sesame@unix({at})/")
        yield dsns
    finally:
        for one in running:
            one.kill()
            one.wait()
        shutil.rmtree(sockets)


def _basic(found: Path) -> list[str]:
    """Return where MySQL finds its own files, if another program stands in its place."""
    base = found.absolute().parent.parent
    return [f"--basedir={base}", f"--lc-messages-dir={base}/share/mysql"]


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as one, suppress(OSError):
        one.connect(str(path))
        return True
    return False


def _until(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)


class Pair(NamedTuple):
    """A primary, and a replica that follows it by GTID."""

    primary: Server
    replica: Server
    is_maria: bool

    def ask(self, server: Server, *queries: str) -> list[tuple[Any, ...]]:
        """Run statements on one of both, and return the rows of the last."""
        return _ask(server, *queries)

    def wait(self) -> None:
        """Wait until the replica has all that the primary has."""
        if self.is_maria:
            ((place,),) = self.ask(self.primary, "SELECT @@gtid_binlog_pos")
            query = f"SELECT MASTER_GTID_WAIT('{place}', 30)"
        else:
            ((place,),) = self.ask(self.primary, "SELECT @@GLOBAL.gtid_executed")
            query = f"SELECT WAIT_FOR_EXECUTED_GTID_SET('{place}', 30)"
        ((late,),) = self.ask(self.replica, query)
        assert late == 0, self.ask(self.replica, "SHOW SLAVE STATUS" if self.is_maria else "SHOW REPLICA STATUS")


@contextmanager
def pair(root: Path) -> Iterator[Pair]:
    """Run two servers, of which one follows the other. Both can be written to until somebody sets read_only."""
    _, is_maria = program()
    gtid = [] if is_maria else ["--gtid-mode=ON", "--enforce-gtid-consistency=ON"]
    options = ["--log-bin=log", *gtid, *(["--gtid-strict-mode=ON", "--log-slave-updates"] if is_maria else [])]
    with (
        server_with(root / "primary", [*options, "--server-id=1"]) as primary,
        server_with(root / "replica", [*options, "--server-id=2"]) as replica,
    ):
        for server in (primary, replica):  # each has made its login by itself
            _ask(server, "RESET MASTER" if is_maria else "RESET BINARY LOGS AND GTIDS")
        of = f"HOST='{primary.host}', {{0}}_PORT={primary.port}, {{0}}_USER='{primary.user}', {{0}}_PASSWORD='{primary.password}'"
        if is_maria:
            follow = f"CHANGE MASTER TO MASTER_{of.format('MASTER')}, MASTER_USE_GTID=slave_pos"
            _ask(replica, follow, "START SLAVE")
        else:
            more = "SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1"
            _ask(replica, f"CHANGE REPLICATION SOURCE TO SOURCE_{of.format('SOURCE')}, {more}", "START REPLICA")
        made = Pair(primary, replica, is_maria)
        _until(partial(_follows, made), "the replica does not follow")
        yield made


def _follows(made: Pair) -> bool:
    query = "SHOW SLAVE STATUS" if made.is_maria else "SHOW REPLICA STATUS"
    return [str(value) for row in made.ask(made.replica, query) for value in row].count("Yes") >= 2


def _ask(server: Server, *queries: str) -> list[tuple[Any, ...]]:
    connection = pymysql.connect(
        host=server.host, port=server.port, user=server.user, password=server.password, autocommit=True
    )
    try:
        with connection.cursor() as cursor:
            for query in queries:
                cursor.execute(query)
            return [*cursor.fetchall()]
    finally:
        connection.close()
