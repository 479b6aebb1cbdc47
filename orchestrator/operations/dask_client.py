"""The connection to a Dask scheduler, and what its workers run and answer, as calls and errors of ours."""

from __future__ import annotations

import logging
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar, cast

from orchestrator import __version__
from orchestrator.errors import ConnectError, UsageError, WorkerError
from orchestrator.events import Failure
from orchestrator.manifest.redact import redactor
from orchestrator.phrases import some
from orchestrator.secret import hidden

T = TypeVar("T")
CONNECT_TIMEOUT = 5.0  # seconds
SAME_RELEASE = "install the same release on the client and on all workers"
_OWN_FILES = "a worker reads its own files and variables: they must be those of the client"
_TLS = "set distributed.comm.tls in the configuration of Dask: ca-file, and cert and key of the client"


def require_dask() -> None:
    """Raise UsageError if Dask is not installed."""
    from importlib.util import find_spec

    if find_spec("distributed") is None:
        raise UsageError("Dask is not installed (distributed)", hint="pip install 'dborch[dask]'")


@contextmanager
def connected(scheduler: str, wait: float) -> Iterator[Any]:
    """Give a client of the scheduler at this address. Its TLS is that of Dask's own configuration.

    `wait` is how many seconds to wait for a scheduler that starts. UsageError for an address that is none, ConnectError if
    nobody answers.
    """
    require_dask()
    from distributed import Client

    # Closed where connecting fails too: closed by the garbage collector, a client can wait for a lock of its own thread.
    client = Client.__new__(Client)
    try:
        _connect(client, scheduler, max(CONNECT_TIMEOUT, wait))
        yield client
    finally:
        with suppress(Exception):
            client.close(timeout=2)


def _connect(client: Any, scheduler: str, seconds: float) -> None:
    for name in ("distributed", "distributed.client", "distributed.comm", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what went wrong is told by us

    def connect() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of releases that differ; `examine` compares what matters
            type(client).__init__(client, scheduler, timeout=seconds, set_as_default=False, name="orch")

    try:
        # Dask has no limit for a scheduler that takes the connection and then says nothing.
        within(2 * seconds, connect, f"the Dask scheduler at {hidden(scheduler, 200, redactor)}")
    except ValueError as error:
        what = hidden("" if "@" in scheduler else f": {error}", 200, str)
        raise UsageError(
            f"--scheduler is not a valid address{what}", hint="for example --scheduler tcp://host:8786"
        ) from None
    except (OSError, TypeError, RuntimeError, ImportError) as error:
        encrypted = scheduler.startswith("tls://")
        raise ConnectError(
            f"the Dask scheduler at {hidden(scheduler, 200, redactor)} cannot be reached",
            detail=hidden(_reason(error), 500, redactor),
            hint=_TLS
            if encrypted
            else "is it running, and is this its address? --wait SECONDS waits for one that starts",
        ) from None


def _reason(error: BaseException) -> str:
    """Return what Dask says, and what it says is the cause of that."""
    cause = error.__cause__
    return f"{error}\n{type(cause).__name__}: {cause}" if cause else str(error)


def call(name: str, tool: str = __version__) -> Callable[[bytes], Any]:
    """Return a function that a worker understands; a scheduler without orch passes it on.

    On a worker with another release than `tool` it raises ImportError: only equal releases understand each other's data.
    """

    def orch(payload: bytes) -> Any:
        import pickle
        from importlib import import_module

        there = import_module("orchestrator").__version__
        if there != tool:
            raise ImportError(f"it has dborch {there}, and the client has dborch {tool}")
        worker = import_module("orchestrator.operations.dask_worker")
        arguments, named = pickle.loads(payload)  # noqa: S301 - Dask itself runs what a client sends
        return pickle.dumps(getattr(worker, name)(*arguments, **named))

    return orch


def within(seconds: float, ask: Callable[[], T], who: str) -> T:
    """Return what a question to a cluster is answered; `who` answers it. Raises what is wrong.

    ConnectError if there is no answer after so many seconds: its process hangs, and Dask would wait for ever.
    """
    answers: SimpleQueue[tuple[T | None, Exception | None]] = SimpleQueue()

    def asked() -> None:
        try:
            answers.put((ask(), None))
        except Exception as error:  # noqa: BLE001 - raised by whoever waits
            answers.put((None, error))

    threading.Thread(target=asked, daemon=True).start()
    try:
        answer, error = answers.get(timeout=seconds)
    except Empty:
        raise ConnectError(
            f"{who} does not answer within {seconds:g} s",
            hint="look at the processes of the cluster; one may hang",
        ) from None
    if error:
        raise error
    return cast("T", answer)


def ask_all(
    client: Any, name: str, payload: bytes, seconds: float, silent: Callable[[], Sequence[str]]
) -> dict[str, Any]:
    """Have every worker call a function, and return the answers, or exceptions, by the addresses of the workers.

    ConnectError if one of them has not answered after so many seconds; `silent` then tells which ones hang.
    """

    def ask() -> dict[str, Any] | Exception:
        try:
            return dict(client.run(call(name), payload, on_error="return"))
        except Exception as error:  # noqa: BLE001 - the scheduler is gone, or the client closed
            return error

    try:
        answers = within(seconds, ask, "a Dask worker")
    except ConnectError as error:
        found = silent()
        detail = f"the scheduler has not heard from: {some(found)}" if found else ""
        raise error.completed(detail=detail) from None
    if isinstance(answers, Exception):
        raise ConnectError("the Dask scheduler was lost", detail=hidden(str(answers), 500, redactor))
    return answers


def unable(worker: str, answer: bytes | BaseException) -> WorkerError | None:
    """Return why a worker cannot execute a plan, of its answer to `examine`; None if it can."""
    who = f"the Dask worker {worker}"
    if isinstance(answer, ModuleNotFoundError):
        return WorkerError(f"{who} cannot import {answer.name}", hint=SAME_RELEASE)
    if isinstance(answer, ImportError):
        return WorkerError(f"{who}: {hidden(str(answer), 500, redactor)}", hint=SAME_RELEASE)
    if isinstance(answer, OSError):
        what = f"{who} does not answer: {hidden(str(answer), 500, redactor)}"
        return WorkerError(what, hint="look in its log, and start it again")
    if isinstance(answer, BaseException):
        return WorkerError(
            f"{who} cannot run orch: {hidden(f'{type(answer).__name__}: {answer}', 500, redactor)}",
            hint="client, scheduler and workers need the same releases of Python, Dask and dborch",
        )
    failure: Failure | None = pickle.loads(answer)  # noqa: S301 - of our own worker
    if failure is None:
        return None
    hint = failure.hint or _OWN_FILES
    return WorkerError(f"{who}: {failure.what}", where=failure.where, detail=failure.detail, hint=hint)
