"""Map SQLite's errors to ours."""

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path
from types import TracebackType

from orchestrator.engines.sqlite.dsn import path_of
from orchestrator.errors import (
    ConnectError,
    DatabaseMissingError,
    LockError,
    NotPermittedError,
    OrchError,
    StatementError,
)
from orchestrator.hints import Command, Hint
from orchestrator.model import Statement, Target
from orchestrator.patterns import regex

_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
# The journal of a writer that was killed has to be played back first, and a connection that only reads cannot.
NEEDS_REPAIR = ("SQLITE_READONLY_ROLLBACK", "SQLITE_READONLY_RECOVERY", "SQLITE_READONLY_CANTINIT")
_NEAR = regex(r'near "(?P<token>.*)": ', re.DOTALL)
_NAMED = regex(
    r"^(?:(?:no such (?:table|column|function|index|view|trigger|collation sequence)|unknown database)[:\s]+(?P<name>\S+)"
    r"|(?:(?:table|index|view|trigger) )?(?P<there>\S+) already exists"
    r"|there is already (?:a|an) (?:table|index|view) named (?P<named>\S+))"
)
_PRIMARY = (
    *("SQLITE_BUSY", "SQLITE_CANTOPEN", "SQLITE_CONSTRAINT", "SQLITE_CORRUPT", "SQLITE_FULL", "SQLITE_INTERRUPT"),
    *("SQLITE_IOERR", "SQLITE_LOCKED", "SQLITE_NOTADB", "SQLITE_PERM", "SQLITE_READONLY"),
)
# The file system of a network, or one of a container, often has no locks, or none of the memory that WAL shares.
_FULL = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE")  # the second: no room for the file beside a database in WAL mode
_NO_LOCKS = ("LOCK", "UNLOCK", "RDLOCK", "CHECKRESERVEDLOCK", "SHMLOCK", "SHMMAP")
_BESIDE = ("", "-journal", "-wal", "-shm")
_MANY = 50  # places of one token that are tried


def code_of(error: sqlite3.Error) -> str:
    """Return SQLite's name of an error, such as SQLITE_BUSY."""
    name: str = getattr(error, "sqlite_errorname", None) or "SQLITE_MISUSE"
    if name != "unknown":
        return name
    primary = error.sqlite_errorcode & 0xFF  # the driver is older than the library: then the kind of error serves
    return next((one for one in _PRIMARY if getattr(sqlite3, one, None) == primary), "SQLITE_ERROR")


class mapped:  # noqa: N801 - used like a function; a generator would take longer than many statements
    """Turn every error of the driver into one of ours."""

    __slots__ = ("_statement", "_target")

    def __init__(self, target: Target, statement: Statement | None = None) -> None:
        self._target, self._statement = target, statement

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, (sqlite3.Error, sqlite3.Warning)):
            raise translated(error, self._target, self._statement) from None
        if isinstance(error, OSError):
            raise ConnectError(
                f"{path_of(self._target.url.reveal())}: {error.strerror or error}",
                hint="look at the file and its directory",
            ) from None


class reading(mapped):  # noqa: N801 - as above
    """Turn errors of reading the records into ours: LockError for a file that nobody may read now."""

    __slots__ = ()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, sqlite3.Error):
            code, path = code_of(error), path_of(self._target.url.reveal())
            if code.startswith(_BUSY):
                raise LockError(f"{path} is locked by another program", hint="let it finish, and run again") from None
            known = code in _FULL or code.removeprefix("SQLITE_IOERR_") in _NO_LOCKS
            if code.startswith("SQLITE_IOERR") and not known:
                hint = "look at the disk, and at what is beside the file: -journal, -wal, -shm"
                raise ConnectError(f"{path} cannot be read: {error}", hint=hint, code=code) from None
        super().__exit__(kind, error, trace)


def translated(error: sqlite3.Error | sqlite3.Warning, target: Target, statement: Statement | None) -> OrchError:
    """Return our error for one of the driver."""
    code = code_of(error) if isinstance(error, sqlite3.Error) else "SQLITE_MISUSE"
    text, path = str(error), path_of(target.url.reveal())
    if code == "SQLITE_NOTADB":
        return ConnectError(
            f"{path} is not an SQLite database", hint="look at the path in the DSN; it may be encrypted", code=code
        )
    if code.startswith("SQLITE_CORRUPT"):
        return ConnectError(
            f"{path} is damaged: {text}",
            hint="stop who uses it, and restore a backup, or: sqlite3 FILE .recover",
            code=code,
        )
    if code.startswith("SQLITE_CANTOPEN"):
        return cannot_open(target)
    if code.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")):
        if is_mounted_read_only(path):
            return _mounted_read_only(
                path, "a program that was killed left a journal there, and it has to be played back"
            )
        return NotPermittedError(
            f"{path} cannot be written",
            detail=text,
            hint="its user needs the right to write the file and its directory",
        )
    if code.startswith(_BUSY):
        return StatementError(
            f"{path} is locked by another writer",
            code=code,
            statement=statement,
            transient=True,
            hint="let it finish, or raise lock_timeout",
        )
    if code.removeprefix("SQLITE_IOERR_") in _NO_LOCKS:
        return no_locks(path, code)
    if code in _FULL:
        return StatementError(
            "the disk is full", code=code, statement=statement, hint="make room; nothing of this transaction is left"
        )
    return StatementError(
        text,
        code=code,
        statement=statement,
        offset=_place(text, statement),
        transient=code.startswith("SQLITE_IOERR"),
        hint=_hint(code, text, statement),
    )


def _hint(code: str, text: str, statement: Statement | None) -> str:
    if code == "SQLITE_CONSTRAINT_FOREIGNKEY" and statement is None:
        return (
            "at its end the file leaves rows that refer to rows that are not there: PRAGMA foreign_key_check lists them"
        )
    if text.startswith("object name reserved for internal use"):
        return "remove that statement: SQLite creates this table itself; in the sqlite3 shell, .schema --nosys leaves it out"
    return ""


def no_locks(path: str, code: str) -> OrchError:
    """Return that the file system of a file takes no locks, on which everything rests that orch promises."""
    return ConnectError(
        f"the file system of {path} takes no locks",
        hint="keep the file on a disk of this machine: two writers would destroy it, and that of a network often "
        "has no locks, or none for WAL",
        code=code,
    )


def refuse_no_file(target: Target) -> None:
    """Raise what `cannot_open` returns if there is no database file, also none that another run has created meanwhile."""
    path = path_of(target.url.reveal())
    if not os.path.isfile(path):  # noqa: PTH113 - the method of a path raises where it may not look
        error = cannot_open(target)
        if not os.path.isfile(path):  # noqa: PTH113 - as above
            raise error


def cannot_open(target: Target) -> OrchError:
    """Return why a file cannot be opened."""
    path = Path(path_of(target.url.reveal()))
    directory = path.parent
    missing = DatabaseMissingError(f"there is no database {path}", hint=Hint(Command("apply"), " creates it"))
    if os.access(directory, os.X_OK) and _is_dir(directory) and not os.path.lexists(path):
        return missing
    if _is_dir(path):
        return ConnectError(f"{path} is a directory, not a database", hint="name a file in the DSN")
    if closed := next((one for one in reversed(path.parents) if _is_dir(one) and not os.access(one, os.X_OK)), None):
        return NotPermittedError(
            f"the directory {closed} cannot be entered by this user", hint="give this user the right to enter it"
        )
    if not _is_dir(directory):
        if os.path.lexists(directory):
            return ConnectError(f"the directory {directory} is not a directory", hint="correct the DSN")
        return ConnectError(
            f"the directory {directory} does not exist", hint=f"make it: mkdir -p {directory}; or correct the DSN"
        )
    if not os.path.lexists(path):
        return missing
    if not path.exists():
        return ConnectError(f"{path} is a link to a file that does not exist", hint="correct or remove the link")
    if not path.is_file():
        return ConnectError(f"{path} is no ordinary file", hint="name a file in the DSN")
    if _is_wal(path) and is_mounted_read_only(str(path)):
        return _mounted_read_only(str(path), "SQLite needs a file beside a database in WAL mode, even to read it")
    beside = [f"{path}{suffix}" for suffix in _BESIDE if os.path.lexists(f"{path}{suffix}")]
    shut = next((one for one in beside if not os.access(one, os.R_OK | os.W_OK)), "")
    if not shut and _is_wal(path) and not os.access(directory, os.W_OK):
        return NotPermittedError(
            f"{path} cannot be opened: this user cannot write its directory",
            detail="SQLite needs a file beside a database in WAL mode, even to read it",
            hint=f"give this user the right to write {directory}",
        )
    return NotPermittedError(f"{shut or path} cannot be opened", hint="give this user the right to read and write it")


def is_mounted_read_only(path: str) -> bool:
    """Whether nobody can write to the file system of a file."""
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _mounted_read_only(path: str, why: str) -> OrchError:
    return NotPermittedError(
        f"{path} is on a file system that is mounted read-only", detail=why, hint="mount it so that it can be written"
    )


def _is_wal(path: Path) -> bool:
    """Whether the header of a file says that it is in WAL mode."""
    try:
        with path.open("rb") as file:
            return file.read(20)[18:] == b"\2\2"
    except OSError:
        return False


def _is_dir(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - the method of a path raises where it may not look


def _place(text: str, statement: Statement | None) -> int | None:
    """Return where in a statement SQLite stopped; it tells no place, only the token."""
    if statement is None:
        return None
    if near := _NEAR.search(text):
        return _unreadable(statement.source, near["token"])
    if named := _NAMED.search(text):
        name = (named["name"] or named["there"] or named["named"]).rpartition(".")[2]
        places = [found.start() for found in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", statement.source)]
        return places[0] if len(places) == 1 else None
    return None


def _unreadable(source: str, token: str) -> int | None:
    """Return the place of the token at which SQLite's parser stops: the first at which the text before it still goes on."""
    places = [found.start() for found in re.finditer(re.escape(token), source)]
    if len(places) == 1:
        return places[0]
    connection = sqlite3.connect(":memory:")
    try:
        for place in places[:_MANY]:
            try:
                connection.execute(f"EXPLAIN {source[: place + len(token)]}")
            except sqlite3.Error as error:
                if (near := _NEAR.search(str(error))) and near["token"] == token:
                    return place
    finally:
        connection.close()
    return None
