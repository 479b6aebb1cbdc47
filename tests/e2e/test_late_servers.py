"""`orch apply --wait` on servers that come up late: waited for, visibly; a wrong password never."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from estate import SERVERS, Estate
from processes import end, until
from pymongo import MongoClient

from orchestrator import embedded
from orchestrator.embedded import Server
from orchestrator.embedded import mongo as embedded_mongo
from orchestrator.embedded.process import free_port


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The root of servers that belong to one test, which may stop them."""
    for variables in (SERVERS["postgres-wheel"][1], SERVERS["mongod"][1]):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
    root = tmp_path / "own"
    yield root
    embedded.remove(root)


def project(tmp_path: Path, server: Server) -> Estate:
    estate = Estate(tmp_path, {server.engine: server})
    estate.manifest(f"  - {{name: a, server: {server.engine}}}\n")
    estate.write("postgres-a", {"000001_t.up.sql": "CREATE TABLE t ();", "000001_t.down.sql": "DROP TABLE t;"})
    estate.write("mongo-a", {"000001_t.up.js": '[{"create": "t"}]', "000001_t.down.js": '[{"drop": "t"}]'})
    return estate


def applied_once(act: Callable[[], object], estate: Estate, id: str) -> str:
    """Apply on a server that is late: `act` brings it up once the run says that it waits. Return what was said."""
    with estate.start("apply", "--wait", "60") as process:
        assert process.stderr
        said = ""
        while "waiting for the server: " not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        act()
        code, _, more = end(process, 90)
    said += more
    assert code == 0, said
    assert said.count(f"{id}: waiting for the server: ") == 1, said
    assert estate.status(id)["version"] == 1
    return said


@pytest.mark.timing
@pytest.mark.parametrize("engine", ["postgres", "mongo"])
def test_connections_are_refused_at_first(tmp_path: Path, own: Path, engine: str) -> None:
    server = embedded.up(own, [engine])[engine]
    estate = project(tmp_path, server)
    embedded.down(own)
    assert "refused" in applied_once(lambda: embedded.up(own, [engine]), estate, f"{engine}-a")


@pytest.mark.timing
def test_postgres_is_still_starting_up(tmp_path: Path, own: Path) -> None:
    """A standby that is not hot answers as any server in recovery does, for as long as the test wants."""
    server = embedded.up(own, ["postgres"])["postgres"]
    estate = project(tmp_path, server)
    embedded.down(own)
    with (server.data / "postgresql.conf").open("a") as file:
        file.write("\nhot_standby = off\n")
    signal_file = server.data / "standby.signal"
    signal_file.touch()
    os.chown(signal_file, server.data.stat().st_uid, server.data.stat().st_gid)
    starting = threading.Thread(target=lambda: embedded.up(own, ["postgres"]))  # waits until it takes connections
    starting.start()
    until(lambda: "the database system is" in _answer(server))

    def promote() -> None:
        promotion = server.data / "promote"
        promotion.touch()
        os.chown(promotion, server.data.stat().st_uid, server.data.stat().st_gid)
        os.kill(int((server.data / "postmaster.pid").read_text().split()[0]), signal.SIGUSR1)

    assert "the database system is" in applied_once(promote, estate, "postgres-a")
    starting.join()


def _answer(server: Server) -> str:
    try:
        psycopg.connect(server.dsn("postgres"), connect_timeout=2).close()
    except psycopg.Error as error:
        return str(error)
    return ""


@pytest.mark.timing
@pytest.mark.parametrize("engine", ["postgres", "mongo"])
def test_connections_are_closed_at_once_at_first(tmp_path: Path, postgres: Server, mongo: Server, engine: str) -> None:
    """As a port that is published before the server behind it listens."""
    server = {"postgres": postgres, "mongo": mongo}[engine]
    with Door(server.port) as door:
        shut = Server(
            server.engine, server.product, server.host, door.port, server.user, server.password, 0, server.data
        )
        estate = project(tmp_path, shut)
        applied_once(door.open, estate, f"{engine}-a")
        estate.drop()


class Door:
    """A port that closes every connection until it is opened; then it leads to the server."""

    def __init__(self, behind: int) -> None:
        self._behind = behind
        self._opened = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Door:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def open(self) -> None:
        self._opened = True

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if not self._opened:
                    client.close()
                    continue
                server = socket.create_connection(("127.0.0.1", self._behind))
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def connected(port: int) -> MongoClient[Any]:
    return MongoClient(port=port, directConnection=True)


@pytest.mark.timing
def test_a_replica_set_has_no_primary_yet(tmp_path: Path) -> None:
    binary = embedded_mongo._mongod()
    if binary is None:
        pytest.skip("no mongod on this machine")
    port = free_port()
    data = tmp_path / "data"
    data.mkdir()
    command = [str(binary), "--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1", "--replSet", "late"]
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    with subprocess.Popen([*command, "--nounixsocket"], stdout=subprocess.DEVNULL, env=environment) as process:
        try:
            estate = Estate(tmp_path, {})
            dsn = f"mongodb://127.0.0.1:{port}/{{database}}?directConnection=true"
            estate.manifest(f"  - {{name: a, engine: mongo, dsn: '{dsn}'}}\n")
            text = (tmp_path / "databases.yaml").read_text().replace("servers:\n", "")
            (tmp_path / "databases.yaml").write_text(text)
            estate.write("mongo-a", {"000001_t.up.js": '[{"create": "t"}]', "000001_t.down.js": '[{"drop": "t"}]'})

            def initiate() -> None:
                with connected(port) as client:
                    members = [{"_id": 0, "host": f"127.0.0.1:{port}"}]
                    client.admin.command("replSetInitiate", {"_id": "late", "members": members})

            with connected(port) as client:
                until(lambda: client.admin.command("ping")["ok"])
            refused = estate.orch("apply", code=7)
            assert "is not ready" in refused.stderr
            applied_once(initiate, estate, "mongo-a")
        finally:
            process.kill()
    shutil.rmtree(data)


@pytest.mark.timing
@pytest.mark.parametrize("engine", ["postgres", "mongo"])
def test_a_wrong_password_is_not_waited_for(tmp_path: Path, postgres: Server, mongo: Server, engine: str) -> None:
    estate = project(tmp_path, {"postgres": postgres, "mongo": mongo}[engine])
    estate.env[f"{engine.upper()}_PASSWORD"] = "wrong-password"
    estate.orch("validate")  # what the first command of a test run starts is not measured
    started = time.monotonic()
    refused = estate.orch("apply", "--wait", "60", code=7)
    assert time.monotonic() - started < 45
    assert "refuses the login" in refused.stderr and "waiting" not in refused.stderr
    assert "wrong-password" not in refused.text


@pytest.mark.timing
def test_waiting_ends(tmp_path: Path, own: Path) -> None:
    server = embedded.up(own, ["postgres"])["postgres"]
    estate = project(tmp_path, server)
    embedded.down(own)
    estate.orch("validate")
    started = time.monotonic()
    refused = estate.orch("apply", "--wait", "2", code=7)
    assert 2 <= time.monotonic() - started < 45
    assert "waiting for the server" in refused.stderr and "refused" in refused.stderr


@pytest.mark.timing
@pytest.mark.parametrize("seconds", [3, 12])
def test_waiting_for_mongo_is_told_and_ends_in_time(tmp_path: Path, mongo: Server, seconds: int) -> None:
    """Whoever connects waits by itself, five seconds long, and for each of several databases in turn."""
    estate = project(tmp_path, mongo)
    names = "abcdefgh"
    estate.manifest("".join(f"  - {{name: {name}, server: mongo}}\n" for name in names))
    for name in names:
        estate.write(f"mongo-{name}", {"000001_t.up.js": '[{"create": "t"}]'})
    manifest = tmp_path / "databases.yaml"
    manifest.write_text(manifest.read_text().replace(f":{mongo.port}/", ":1/"))
    estate.orch("validate")
    started = time.monotonic()
    said = estate.orch("apply", "--wait", str(seconds), code=7).stderr
    assert seconds - 0.1 <= time.monotonic() - started < seconds + 25, "40 s longer if they wait in turn"
    assert said.count("mongo-a: waiting for the server: ") == 1
