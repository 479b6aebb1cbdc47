"""The pytest plugin: a fresh migrated database for a test. It loads nothing of orch until one of its fixtures is used.

    def test_order(orch_database):
        db = orch_database("postgres-order")        # this test's own; dropped afterwards
        with db.connect() as connection: ...

`orch_class_database` and `orch_module_database` do the same for the tests of a class or module.
`orch_estate["postgres-order"]` is shared by the tests of one worker, and `orch_servers` tells where the servers are. In
pytest's settings: `orch_file` (a manifest), `orch_seeds = false`, `orch_servers = embedded` or `environment`, `orch_wait` (in
seconds), and `orch_only`, which chooses what `orch_estate` has. `MakeDatabase` and `SharedDatabases` are the types of these
fixtures.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from orchestrator.model import Database
    from orchestrator.testing import Estate, FreshDatabase

_SERVERS = {"auto": None, "embedded": True, "environment": False}
_WITHOUT = "without a database"
_REASON = "orch_reason"  # an attribute of failures, and of reports that leave the rest to another test
_run_key = pytest.StashKey[str]()
_told_key = pytest.StashKey[dict[str, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the settings."""
    parser.addini("orch_file", "orch: the manifest; default: the nearest databases.yaml in this or a parent directory")
    parser.addini(
        "orch_only", "orch: what orch_estate has, chosen as --only does (label:x too); default: all", type="args"
    )
    parser.addini("orch_seeds", "orch: whether databases have their seed migrations", type="bool", default=True)
    parser.addini("orch_wait", "orch: seconds to wait for servers that are still starting", default="60")
    parser.addini("orch_servers", "orch: auto, embedded, or environment (the DSNs of the manifest)", default="auto")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a setting that makes no sense, once and before any test."""
    if (mode := config.getini("orch_servers")) not in _SERVERS:
        raise pytest.UsageError(f"orch_servers is {mode!r}; it may be {', '.join(_SERVERS)}")
    if not re.fullmatch(r"\d{1,6}(\.\d{1,3})?", wait := config.getini("orch_wait")):
        raise pytest.UsageError(f"orch_wait is {wait!r}; it is a number of seconds")


class MakeDatabase(Protocol):
    """What `orch_database` is."""

    def __call__(self, name: str, *, seeds: bool = ...) -> FreshDatabase:
        """Return a fresh database, named as `orch --only` takes it; `seeds` by default as `orch_seeds` says."""


class SharedDatabases(Mapping[str, "FreshDatabase"]):
    """The databases of the manifest for one worker's whole session, each made when it is first asked for.

    A name is a full id, or a bare name where that is clear.
    """

    def __init__(self, make: Callable[[str], FreshDatabase], databases: Sequence[Database]) -> None:
        self._make = make
        self._databases = databases
        self._made: dict[str, FreshDatabase] = {}

    def __getitem__(self, name: str) -> FreshDatabase:
        """Return the database of this name."""
        from orchestrator.manifest.names import resolve_name

        with _told():
            id = resolve_name(self._databases, name).id
        if id not in self._made:
            self._made[id] = self._make(id)
        return self._made[id]

    def __contains__(self, name: object) -> bool:
        """Whether there is a database of this name. Makes none."""
        return any(name in (database.id, database.name) for database in self._databases)

    def __iter__(self) -> Iterator[str]:
        return iter([database.id for database in self._databases])

    def __len__(self) -> int:
        return len(self._databases)

    def environment(self) -> dict[str, str]:
        """Return `ORCH_DSN_…` for every database: what a service under test, or `orch`, can be started with."""
        from orchestrator.manifest.dsn import override_variable

        return {override_variable(id): self[id].dsn for id in self}


@pytest.fixture(scope="session")
def orch_servers(pytestconfig: pytest.Config) -> dict[str, str]:
    """Where the servers are, by engine: embedded ones, started if need be, or `environment` where the DSNs tell."""
    with _told():
        estate = _estate(pytestconfig)
        engines = sorted({database.engine for database in estate.manifest.databases})
        found = {engine: estate.server(engine) for engine in engines}
    return {engine: f"{server.host}:{server.port}" if server else "environment" for engine, server in found.items()}


@pytest.fixture(scope="session")
def orch_estate(pytestconfig: pytest.Config) -> Iterator[SharedDatabases]:
    """The databases of the manifest, migrated, shared by the tests of this worker."""
    with _told(), ExitStack() as stack:
        databases = _estate(pytestconfig).select(pytestconfig.getini("orch_only"))
        yield SharedDatabases(lambda id: _enter(stack, pytestconfig, id, {}), databases)


@pytest.fixture
def orch_database(pytestconfig: pytest.Config) -> Iterator[MakeDatabase]:
    """Call it with the name of a database, and `seeds=False` to leave them out: a fresh one of this test's own."""
    with _told(), ExitStack() as stack:
        yield lambda name, **options: _enter(stack, pytestconfig, name, options)


@pytest.fixture(scope="class")
def orch_class_database(pytestconfig: pytest.Config) -> Iterator[MakeDatabase]:
    """Call it as `orch_database`: a fresh database that the tests of a class share."""
    with _told(), ExitStack() as stack:
        yield _sharing(stack, pytestconfig)


@pytest.fixture(scope="module")
def orch_module_database(pytestconfig: pytest.Config) -> Iterator[MakeDatabase]:
    """Call it as `orch_database`: a fresh database that the tests of a module share."""
    with _told(), ExitStack() as stack:
        yield _sharing(stack, pytestconfig)


def _sharing(stack: ExitStack, config: pytest.Config) -> MakeDatabase:
    """Return what makes a database at the first call that asks for it, and gives the same one to all others."""
    made: dict[tuple[str, bool], FreshDatabase] = {}

    def make(name: str, **options: Any) -> FreshDatabase:
        from orchestrator.manifest.names import resolve_name

        with _told():
            id = resolve_name(_estate(config).manifest.databases, name).id
        key = id, bool(options.get("seeds", config.getini("orch_seeds")))
        if key not in made:
            made[key] = _enter(stack, config, id, options)
        return made[key]

    return make


def _enter(stack: ExitStack, config: pytest.Config, name: str, options: dict[str, Any]) -> FreshDatabase:
    with _told():
        options.setdefault("seeds", bool(config.getini("orch_seeds")))
        return stack.enter_context(_estate(config).database(name, drop_later=True, **options))


def _estate(config: pytest.Config) -> Estate:
    from orchestrator import testing

    file = config.getini("orch_file")
    path = Path(config.rootpath, file) if file else None
    if directory := _shared(config):
        directory.mkdir(exist_ok=True, mode=0o700)
        (directory / "used").touch()
    return testing.estate(
        path,
        embedded=_SERVERS[config.getini("orch_servers")],
        wait=float(config.getini("orch_wait")),
        tell=lambda line: _tell(config, line),
    )


def _tell(config: pytest.Config, line: str) -> None:
    """Write a line that people see at once, though pytest catches what is written; from a worker of xdist too."""
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else nullcontext():
        sys.stderr.write(f"\n{line}\n")
        sys.stderr.flush()


# ---------------------------------------------------------------- an error is told once


@contextmanager
def _told() -> Iterator[None]:
    """Turn an error of orch into the failure of the test that meets it, with all that is known and no traceback."""
    from orchestrator.errors import OrchError
    from orchestrator.events import Failure
    from orchestrator.manifest.redact import redactor
    from orchestrator.testing.names_in_hints import EMBEDDED_HERE, WAIT_HERE

    try:
        yield
    except OrchError as error:
        lines = []
        for failure in Failure.all_of(error, redactor):
            lines.append(f"{failure.where}: {failure.what}" if failure.where else failure.what)
            lines += [f"  {line}" for line in failure.detail.splitlines()]
            hint = failure.hint.replace(WAIT_HERE, "the setting `orch_wait`")
            hint = hint.replace(EMBEDDED_HERE, "`orch_servers = embedded`")
            lines += [f"  hint: {hint}"] if hint else []
        failed = pytest.fail.Exception("orch: " + "\n".join(lines), pytrace=False)
        failed.__dict__[_REASON] = lines[0].partition("\n")[0][:200]
        raise failed from None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the first test that an error of orch fails tell it whole, also when it is run again; the others fail briefly."""
    report = yield
    error = call.excinfo.value if call.excinfo else None
    reason = getattr(error, _REASON, "")
    if reason and report.failed and call.when != "teardown" and not _is_first(item.config, item.nodeid, str(error)):
        report.longrepr = f"orch, as told by another test: {reason}"
        report.__dict__[_REASON] = reason  # travels from a worker of xdist too
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Count those that fail briefly by themselves: what they have to say stands once in the summary."""
    return (_WITHOUT, "D", "NO DATABASE") if report.failed and hasattr(report, _REASON) else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests had no database, and why."""
    reasons = Counter(getattr(report, _REASON) for report in terminalreporter.stats.get(_WITHOUT, ()))
    if reasons:
        terminalreporter.section("orch")
    for reason, count in reasons.items():
        terminalreporter.line(f"{count} more {_WITHOUT}: {reason}")


def _is_first(config: pytest.Config, test: str, text: str) -> bool:
    """Whether no other test of this run, in any worker, has told this yet."""
    import hashlib

    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    told = config.stash.setdefault(_told_key, {})
    if digest not in told:
        told[digest] = test
        if directory := _shared(config):
            try:
                os.close(os.open(directory / f"told-{digest}", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                told[digest] = ""  # by a test of another worker
    return told[digest] == test


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
