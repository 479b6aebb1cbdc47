"""The pytest plugin: a fresh migrated database for a test. It loads nothing of orch until one of its fixtures is used.

    def test_order(orch_database):
        db = orch_database("postgres-order")        # this test's own; dropped afterwards
        with db.connect() as connection: ...

`orch_estate["postgres-order"]` is shared by the tests of one worker, and `orch_servers` tells where the servers are. In
pytest's settings: `orch_file` (a manifest), `orch_seeds = false`, `orch_servers = embedded` or `environment`.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from orchestrator.testing import Estate, FreshDatabase

_SERVERS = {"auto": None, "embedded": True, "environment": False}
_run_key = pytest.StashKey[str]()
_told_key = pytest.StashKey[set[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the settings."""
    parser.addini("orch_file", "orch: the manifest; default: databases.yaml, found upward")
    parser.addini("orch_seeds", "orch: whether databases have their seed migrations", type="bool", default=True)
    parser.addini("orch_servers", "orch: auto, embedded, or environment (the DSNs of the manifest)", default="auto")


class SharedDatabases(Mapping[str, "FreshDatabase"]):
    """The databases of the manifest for one worker's whole session, each made when it is first asked for."""

    def __init__(self, make: Callable[[str], FreshDatabase], ids: list[str]) -> None:
        self._make = make
        self._ids = ids
        self._made: dict[str, FreshDatabase] = {}

    def __getitem__(self, name: str) -> FreshDatabase:
        """Return the database of this id, or bare name where that is clear."""
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def environment(self) -> dict[str, str]:
        """Return `ORCH_DSN_…` for every database: what a service under test, or `orch`, can be started with."""
        from orchestrator.manifest.dsn import override_variable

        return {override_variable(id): self[id].dsn for id in self}


@pytest.fixture(scope="session")
def orch_servers(pytestconfig: pytest.Config) -> dict[str, str]:
    """Where the servers are, by engine: embedded ones, started if need be, or `environment` where the DSNs tell."""
    estate = _estate(pytestconfig)
    engines = sorted({database.engine for database in estate.manifest.databases})
    found = {engine: estate.server(engine) for engine in engines}
    return {engine: f"{server.host}:{server.port}" if server else "environment" for engine, server in found.items()}


@pytest.fixture(scope="session")
def orch_estate(pytestconfig: pytest.Config) -> Iterator[SharedDatabases]:
    """The databases of the manifest, migrated, shared by the tests of this worker."""
    with ExitStack() as stack:
        estate = _estate(pytestconfig)
        yield SharedDatabases(lambda name: _enter(stack, pytestconfig, name, {}), estate.select())


@pytest.fixture
def orch_database(pytestconfig: pytest.Config) -> Iterator[Callable[..., FreshDatabase]]:
    """Call it with the name of a database, and `seeds=False` to leave them out: a fresh one of this test's own."""
    with ExitStack() as stack:
        yield lambda name, **options: _enter(stack, pytestconfig, name, options)


def _enter(stack: ExitStack, config: pytest.Config, name: str, options: dict[str, Any]) -> FreshDatabase:
    with _told_once(config):
        options.setdefault("seeds", bool(config.getini("orch_seeds")))
        return stack.enter_context(_estate(config).database(name, **options))


def _estate(config: pytest.Config) -> Estate:
    from orchestrator import testing

    mode = config.getini("orch_servers")
    if mode not in _SERVERS:
        raise pytest.UsageError(f"orch_servers is {mode!r}; it may be {', '.join(_SERVERS)}")
    file = config.getini("orch_file")
    path = Path(config.rootpath, file) if file else None
    if directory := _shared(config):
        directory.mkdir(exist_ok=True, mode=0o700)
        (directory / "used").touch()
    return testing.estate(path, embedded=_SERVERS[mode])


@contextmanager
def _told_once(config: pytest.Config) -> Iterator[None]:
    """Fail the first test that meets an error of orch, with all that is known; skip the others that meet the same."""
    from orchestrator.errors import OrchError

    try:
        yield
    except OrchError as error:
        where = f"{error.where}: " if error.where else ""
        text = f"{where}{error.what}"
        if _is_first(config, text):
            facts = [f"  {line}" for line in error.detail.splitlines()]
            hint = [f"  hint: {error.hint}"] if error.hint else []
            pytest.fail("\n".join(["orch: " + text, *facts, *hint]), pytrace=False)
        pytest.skip(f"orch, as told once already: {text.splitlines()[0][:200]}")


def _is_first(config: pytest.Config, text: str) -> bool:
    """Whether no test of this run, in any worker, has told this yet."""
    import hashlib

    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    told = config.stash.setdefault(_told_key, set())
    first = digest not in told
    told.add(digest)
    if first and (directory := _shared(config)):
        try:
            os.close(os.open(directory / f"told-{digest}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
    return first


# ---------------------------------------------------------------- under xdist


def _shared(config: pytest.Config) -> Path | None:
    """Return the directory that the workers of one run share, made by the first that uses orch; None without xdist."""
    run = getattr(config, "workerinput", {}).get("testrunuid") or config.stash.get(_run_key, None)
    return Path(tempfile.gettempdir()) / f"orch-pytest-{run}" if run else None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Learn, in the process that starts the workers, what their directory is called."""
    node.config.stash[_run_key] = node.workerinput["testrunuid"]


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    """Close what is kept; then, when all workers are gone, drop the clones of those that were killed."""
    try:
        return (yield)
    finally:
        directory = _shared(session.config)
        is_worker = hasattr(session.config, "workerinput")
        if directory and not is_worker and (directory / "used").exists():
            with suppress(Exception):  # the tests are over; whoever runs next removes what is left
                _estate(session.config).sweep()
            shutil.rmtree(directory, ignore_errors=True)
        if testing := sys.modules.get("orchestrator.testing"):
            testing.close_all()
