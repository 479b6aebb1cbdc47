"""PgBouncer before a server."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.embedded import Server
from orchestrator.embedded.process import free_port


@contextmanager
def pgbouncer(server: Server, mode: str, size: int) -> Iterator[int]:
    """Run pgbouncer before this server, and yield its port."""
    binary = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if binary is None:
        pytest.skip("no pgbouncer on this machine")
    port = free_port()
    home = Path("/tmp") / f"orch-pgbouncer-{secrets.token_hex(4)}"  # where the user that it runs as may read
    home.mkdir(mode=0o755)
    try:
        (home / "users").write_text(f'"{server.user}" "{server.password}"\n')
        (home / "ini").write_text(
            f"[databases]\n* = host={server.host} port={server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nunix_socket_dir =\nauth_type = plain\nauth_file = {home}/users\npool_mode = {mode}\n"
            f"default_pool_size = {size}\nquery_wait_timeout = 4\nlog_connections = 0\nlog_disconnections = 0\n"
        )
        as_user = ["-u", "nobody"] if os.geteuid() == 0 else []
        process = subprocess.Popen([binary, *as_user, "-q", str(home / "ini")], stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    assert process.poll() is None, "pgbouncer ended"
                    assert time.monotonic() < deadline, "pgbouncer does not listen"
                    time.sleep(0.05)
            yield port
        finally:
            process.terminate()
            process.wait(20)
    finally:
        shutil.rmtree(home)
