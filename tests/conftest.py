"""Fixtures: real servers, shared by all tests and all xdist workers, and databases on them to run `orch` on."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import in_memory
import pytest
from bench import KINDS, Bench, MemoryBench, opened
from estate import ROOT_VARIABLE, SERVERS, Estate, Figure, start
from hint_commands import RECORD, record, refusals
from house import House
from kill import Forge
from pymongo import MongoClient
from rendered import ODD
from replication import standby_of

from orchestrator import embedded
from orchestrator.embedded import Server
from orchestrator.embedded.process import free_port
from orchestrator.manifest import load
from orchestrator.model import Manifest

_memory_key = pytest.StashKey[Path | None]()
_failed_key = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.stash[_memory_key] = in_memory.begin()
        os.environ[ROOT_VARIABLE] = tempfile.mkdtemp(prefix="orch-tests-")
    os.environ[RECORD] = str(Path(os.environ[ROOT_VARIABLE]) / f"hints-{os.getpid()}.jsonl")
    record(os.environ[RECORD])


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and (root := os.environ.get(ROOT_VARIABLE)):
        for name in SERVERS:
            if (Path(root) / name).exists():
                embedded.remove(Path(root) / name)
        shutil.rmtree(root, ignore_errors=True)
        if memory := config.stash.get(_memory_key, None):
            in_memory.end(memory, keep=config.stash.get(_failed_key, False))


def pytest_sessionfinish(session: pytest.Session) -> None:
    session.config.stash[_failed_key] = session.testsfailed > 0


@pytest.fixture(autouse=True)
def hints_can_be_pasted() -> Iterator[None]:
    """Whatever a test does: the command line takes every command of every hint that it meets."""
    yield
    recorded = Path(os.environ[RECORD])
    wrong = refusals(recorded)
    recorded.unlink(missing_ok=True)
    assert not wrong, "a hint shows commands that cannot be run:\n" + "\n".join(wrong)


@pytest.fixture(scope="session")
def postgres() -> Server:
    return start("postgres-wheel")


@pytest.fixture(scope="session")
def mongo() -> Server:
    return start("mongod")


@pytest.fixture(scope="session")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A mongod that is no replica set, and so knows no transactions."""
    from orchestrator.embedded.mongo import _mongod

    binary = _mongod()
    if binary is None:
        pytest.skip("no mongod on this machine")
    data = tmp_path_factory.mktemp("standalone")
    port = free_port()
    options = ["--dbpath", str(data), "--port", str(port), "--bind_ip", "127.0.0.1", "--journalCommitInterval", "4"]
    process = subprocess.Popen([str(binary), *options, "--wiredTigerCacheSizeGB", "0.25"], stdout=subprocess.DEVNULL)
    try:
        password = secrets.token_hex(12)
        client: MongoClient[Any] = MongoClient(
            "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=30_000
        )
        client.admin.command("createUser", "orch", pwd=password, roles=["root"])
        client.close()
        yield Server("mongo", "mongod standalone", "127.0.0.1", port, "orch", password, process.pid, data)
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="session")
def forge() -> Iterator[Forge]:
    """Runs of `orch` that can be killed at a chosen point."""
    forge = Forge()
    yield forge
    forge.close()


@pytest.fixture(scope="session")
def figure() -> Figure:
    """Write down what a soak test did, a JSON document a line; `make soak` gathers them in docs/soak-figures.jsonl."""

    def write(what: str, **facts: object) -> None:
        with Path(os.environ.get("ORCH_FIGURES", "docs/soak-figures.jsonl")).open("a") as file:
            file.write(json.dumps({"what": what, **facts}) + "\n")

    return write


@pytest.fixture
def pg_estate(tmp_path: Path, postgres: Server) -> Iterator[Estate]:
    estate = Estate(tmp_path, {"postgres": postgres})
    yield estate
    estate.drop()


@pytest.fixture
def mongo_estate(tmp_path: Path, mongo: Server) -> Iterator[Estate]:
    estate = Estate(tmp_path, {"mongo": mongo})
    yield estate
    estate.drop()


@pytest.fixture
def estate(tmp_path: Path, postgres: Server, mongo: Server) -> Iterator[Estate]:
    """Both engines."""
    estate = Estate(tmp_path, {"postgres": postgres, "mongo": mongo})
    yield estate
    estate.drop()


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """One database on every kind of server, with the engine under test."""
    yield from opened(request.param, tmp_path)


@pytest.fixture(params=[*KINDS, "memory"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench | MemoryBench]:
    """Every engine: what the executor's decisions rest on must hold for the one in memory too."""
    if request.param == "memory":
        yield MemoryBench()
    else:
        yield from opened(request.param, tmp_path)


@pytest.fixture
def chain(pg_estate: Estate) -> Estate:
    """a ← b ← c, and d alone; one migration each."""
    files = {"000001_one.up.sql": "CREATE TABLE one (id int);", "000001_one.down.sql": "DROP TABLE one;"}
    pg_estate.add("postgres", "a", files, labels=["core"])
    pg_estate.add("postgres", "b", files, depends_on=["a"], labels=["core"])
    pg_estate.add("postgres", "c", files, depends_on=["b"])
    pg_estate.add("postgres", "d", files)
    return pg_estate


@pytest.fixture
def odd(tmp_path: Path) -> Manifest:
    """A manifest with one of everything that is awkward."""
    (tmp_path / "databases.yaml").write_text(ODD)
    return load(tmp_path / "databases.yaml", directories=False)


@pytest.fixture(params=["postgres", "mongo"])
def house(request: pytest.FixtureRequest, estate: Estate, forge: Forge) -> House:
    return House(estate, forge, request.param)


@pytest.fixture
def pg_house(pg_estate: Estate, forge: Forge) -> House:
    return House(pg_estate, forge, "postgres")


@pytest.fixture
def mongo_house(mongo_estate: Estate, forge: Forge) -> House:
    return House(mongo_estate, forge, "mongo")


@pytest.fixture
def lone(tmp_path: Path, standalone: Server, forge: Forge) -> Iterator[House]:
    """A house on a standalone mongod: no command can commit with its record, and one goes on when its client is gone."""
    estate = Estate(tmp_path, {"mongo": standalone})
    yield House(estate, forge, "mongo")
    estate.drop()


@pytest.fixture
def new_house(pg_house: House) -> House:
    """A PostgreSQL house whose files are those of version 1 alone; the test writes what comes after."""
    for name in pg_house.files:
        if not name.startswith("000001"):
            (pg_house.directory / name).unlink()
    return pg_house


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, int]]:
    """A primary, and the port of its hot standby."""
    for name, value in SERVERS["postgres-wheel"][1].items():
        monkeypatch.setenv(name, value)
    root = tmp_path / "primary"
    primary = embedded.up(root, ["postgres"])["postgres"]
    embedded.down(root)
    copy = primary.data.with_name("standby")
    subprocess.run(["cp", "-a", primary.data, copy], check=True)
    primary = embedded.up(root, ["postgres"])["postgres"]
    with standby_of(primary, copy) as port:
        yield primary, port
    subprocess.run(["rm", "-rf", copy], check=True)
    embedded.remove(root)
