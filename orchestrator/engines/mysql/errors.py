"""From the errors of PyMySQL to ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from orchestrator.engines.mysql.driver import pymysql
from orchestrator.engines.mysql.dsn import split
from orchestrator.errors import (
    ConnectError,
    ConnectionLostError,
    DatabaseMissingError,
    LockError,
    NotPermittedError,
    OrchError,
    StatementError,
    StatementNotPermittedError,
)
from orchestrator.hints import WAIT, Command, Hint
from orchestrator.model import Statement, Target

MISSING = {1146: "table", 1049: "database", 1305: "routine", 1360: "trigger", 1539: "event", 4091: "sequence"}
KILLED = 1317
OUT_OF_RANGE = 1690
_UNKNOWN_DATABASE = 1049
_NO_RIGHT_ON_DATABASE = 1044
_THERE = frozenset({1007, 1050, 1060, 1061, 1068, 1125, 1304, 1359, 1396, 1537, 1826})
"""What a statement makes is there already."""
TRANSIENT = frozenset({1205, 1213, 1020, 1412, 3572, 1040, 1203, 3101})
_WAITED = frozenset({1205, 3572})
_LOST = frozenset({2006, 2013, 2014, 2055, 1053, 1927, 1158, 1159, 1160, 1161, 4031})
_LOGIN = frozenset({1045, 1698, 1820, 1862, 3118, 4151, 1251, 2059, 2061, 1275})
_NO_TLS = 2026
_LIMIT_OF_ACCOUNT = 1226
_TOO_MANY = frozenset({1040, 1203})
_EXPIRED_LATER = 1820
"""The login succeeds, and the first query is told that the password has expired."""
_RIGHTS = frozenset({1044, 1045, 1142, 1143, 1227, 1370, 1410, 1419, 1382})
_OF_THE_SERVER = frozenset({1227, 1419})
"""Rights on the server, which no right on a database includes. The server names them."""
_IN_READ_ONLY_TRANSACTION = 1792
_READ_ONLY = frozenset({1290, _IN_READ_ONLY_TRANSACTION, 1836})
_READ_ONLY_SESSIONS = "transaction_read_only is on for all sessions: look at the server's settings and its init_connect"
_NEAR = re.compile(r"near '(?P<near>.*)' at line (?P<line>[0-9]+)\Z", re.DOTALL)
_NAMED = re.compile(r"'(?P<name>[^']+)'")
TOO_LARGE = "raise max_allowed_packet on the server, or split the statement into smaller ones"
_LIMITED = "the account has a limit: wait, or let an administrator raise it: ALTER USER … WITH MAX_…"
_NO_TEMPORARY = (
    "this server takes no temporary tables in a transaction (enforce_gtid_consistency with binlog_format=STATEMENT): "
    "use an ordinary table, or binlog_format=ROW"
)
_HINTS = {
    1030: "look in the log of the server; the disk may be full",
    1114: "the disk, or the memory of a temporary table, is full: make room",
    1021: "the disk is full: make room",
    1118: "make some columns TEXT or BLOB: a row holds 65,535 bytes at most",
    1071: "index a prefix of the column: KEY (name(191))",
    1175: "sql_safe_updates is on: add a WHERE on a key, or SET sql_safe_updates = 0 at the top of the file",
    1213: "two sessions waited for each other; nothing of the transaction is left",
    1205: "another session holds a lock on the table; let it finish, or raise lock_timeout",
    1153: TOO_LARGE,
    _LIMIT_OF_ACCOUNT: _LIMITED,
    1227: "let an administrator give that right; DEFINER = … can be left out",
    3024: "SET max_execution_time = 0 at the top of the file, or in the DSN",
    1969: "SET max_statement_time = 0 at the top of the file, or in the DSN",
    1451: "other rows refer to it: remove or change those first",
    1452: "the row that it refers to is not there",
    1419: "the server has log_bin_trust_function_creators off: an administrator can switch it on",
    1665: "set transaction_isolation to REPEATABLE-READ or binlog_format to ROW: on the server, or in the DSN",
    1785: "a transaction cannot hold tables of InnoDB and of other engines on this server: give them files of their own",
    1786: "write CREATE TABLE and INSERT … SELECT as two statements, in two files",
    1787: _NO_TEMPORARY,
    3748: _NO_TEMPORARY,
    1418: "say DETERMINISTIC, NO SQL or READS SQL DATA; or an administrator sets log_bin_trust_function_creators",
    3100: "a plugin of the server refused the COMMIT, and nothing of the transaction is left: the log of the server says why",
    3101: "another member of the group changed the same rows, or the group is not complete; nothing of the transaction is left",
    3750: "give the table a primary key: the server has sql_require_primary_key on",
    3098: "this server only takes tables of InnoDB with a primary key",
    3948: "write the rows as INSERT statements",
}


_OF_THE_DRIVER = (pymysql.Error, pymysql.Warning, OSError, UnicodeError)
_LOGIN_HINT = "look at user and password in the DSN, and at the host from which that user may connect"
_TLS_HINT = "; an account with REQUIRE SSL needs tls=true or tls=skip-verify in the DSN"
_CERTIFICATE_HINT = "; an account with REQUIRE X509 or SUBJECT needs x-tls-cert and x-tls-key in the DSN"
_EXPIRED = "its password has expired: let an administrator run ALTER USER … IDENTIFIED BY …, and change the DSN"
_LOCKED = "let an administrator run: ALTER USER … ACCOUNT UNLOCK"
_LOGIN_HINTS = {
    1184: "its init_connect fails: the log of the server says why",
    1129: "this host had too many broken connections: let an administrator run FLUSH HOSTS, and look for what broke them",
    1820: _EXPIRED,
    1862: _EXPIRED,
    3118: _LOCKED,
    4151: _LOCKED,
}


def stop_unless(conditions: Iterable[str]) -> str:
    """Return SQL that fails with OUT_OF_RANGE where one of these does not hold, so that the message stops there.

    It adds to the largest number. SET is answered by one packet, where SELECT takes five; DO would hide the error. The
    variable has a name that no file uses: messages of ours come between its statements.
    """
    return f"SET @__orch_stops_here = ~0 + IF({' AND '.join(conditions) or '1'}, 0, 1)"


class mapped:  # noqa: N801 - read as a function; as a generator it would cost more than what it wraps
    """Turn every error of the driver into one of ours."""

    __slots__ = ("_statement", "_target")

    def __init__(self, target: Target, statement: Statement | None = None) -> None:
        self._target = target
        self._statement = statement

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _OF_THE_DRIVER):
            raise translated(error, self._target, self._statement) from None


@contextmanager
def connecting(target: Target) -> Iterator[None]:
    """Turn every error of the driver while it connects into one of ours."""
    try:
        yield
    except _OF_THE_DRIVER as error:
        raise refused(error, target) from None


def code_of(error: BaseException) -> int:
    """Return the number of an error, 0 where there is none."""
    number = error.args[0] if error.args else 0
    return number if isinstance(number, int) else 0


def text_of(error: BaseException) -> str:
    """Return the words of an error."""
    return str(error.args[1] if len(error.args) > 1 else error.args[0] if error.args else error)


def refused(error: BaseException, target: Target) -> OrchError:
    """Return why a connection fails."""
    code, text = code_of(error), text_of(error)
    if code == _UNKNOWN_DATABASE:
        return missing(target)
    if code == _NO_RIGHT_ON_DATABASE:
        user = _user(target)
        return NotPermittedError(
            f"the user '{user}' has no right on the database '{target.database}' at {target.endpoint}",
            detail="the server says the same of a database that is not there, to who may not create it",
            hint=f"{'' if target.scratch else 'correct the name in the DSN, or '}let an administrator run: {_grant(target)}",
        )
    if code == _LIMIT_OF_ACCOUNT:
        return _used_up(text, target, transient=True)  # of its connections at one time, perhaps
    if code in _TOO_MANY:
        return ConnectError(
            f"{target.endpoint} takes no more connections",
            detail=text,
            hint="let others finish, or lower --jobs-per-server",
            transient=True,
            code=str(code),
        )
    if code in _LOGIN or (isinstance(error, pymysql.err.OperationalError) and 1000 <= code < 2000 and code != 1053):
        return ConnectError(
            f"{target.endpoint} refuses the login of '{_user(target)}'",
            detail=f"{text} (error {code})" if code else text,
            hint=_LOGIN_HINTS.get(code) or _LOGIN_HINT + _tls_hint(target),
            server_down=True,
            code=str(code),
        )
    if code == _NO_TLS:
        return ConnectError(
            f"{target.endpoint} makes no TLS connection",
            detail=text,
            hint="does the server have TLS on? If so, check tls and x-tls-… in the DSN",
            server_down=True,
            code=str(code),
        )
    if isinstance(error, RuntimeError | pymysql.err.NotSupportedError):
        return ConnectError(f"{target.endpoint} cannot be used", detail=text, server_down=True)
    return ConnectError(
        f"{target.endpoint} cannot be reached",
        detail=text,
        hint=f"is the server up? {WAIT} waits for one that is starting",
        transient=True,
        server_down=True,
        code=str(code or ""),
    )


def _used_up(text: str, target: Target, *, transient: bool) -> ConnectError:
    return ConnectError(
        f"the account of '{_user(target)}' has reached one of its limits at {target.endpoint}",
        detail=text,
        hint=_LIMITED,
        transient=transient,
        code=str(_LIMIT_OF_ACCOUNT),
    )


def missing(target: Target) -> DatabaseMissingError:
    """Return the error for a database that is not there."""
    return DatabaseMissingError(
        f"there is no database '{target.database}' at {target.endpoint}", hint=Hint(Command("apply"), " creates it")
    )


def translated(error: BaseException, target: Target, statement: Statement | None) -> OrchError:
    """Return our error for one of the driver, while a session is open."""
    code, text = code_of(error), text_of(error)
    lost = isinstance(error, OSError) or code in _LOST or isinstance(error, pymysql.err.InterfaceError)
    if lost or (isinstance(error, pymysql.err.OperationalError) and not code):
        return ConnectionLostError(
            f"the connection to {target.endpoint} broke",
            detail=f"{text} (error {code})" if code else text,
            hint="look in the log of the server; orch asks what became of the statement when it runs again",
        )
    if code == _UNKNOWN_DATABASE and statement is None:
        return missing(target)
    if code == _EXPIRED_LATER and statement is None:
        return refused(error, target)
    if code == _LIMIT_OF_ACCOUNT and statement is None:
        return _used_up(text, target, transient=False)
    if code in _READ_ONLY and statement is None:
        return NotPermittedError(
            f"{target.database_id} takes no writes",
            detail=text,
            hint=_READ_ONLY_SESSIONS if code == _IN_READ_ONLY_TRANSACTION else "give orch the DSN of the primary",
        )
    kind: type[StatementError] = StatementNotPermittedError if code in _RIGHTS else StatementError
    if code in _RIGHTS and statement is None:
        return NotPermittedError(
            f"the user '{_user(target)}' lacks a right on '{target.database}'",
            detail=f"{text} (error {code})",
            hint="" if code in _OF_THE_SERVER else f"let an administrator run: {_grant(target)}",
        )
    return kind(
        text,
        code=str(code or "unknown"),
        statement=statement,
        offset=place(code, text, statement.source) if statement else None,
        transient=code in TRANSIENT,
        exists=code in _THERE,
        hint=_HINTS.get(code, ""),
    )


def place(code: int, text: str, source: str) -> int | None:
    """Return the position in a statement at which the server reports the error; None if it reports none."""
    near = _NEAR.search(text)
    if code == 1064 and near:
        start = 0
        for _ in range(int(near["line"]) - 1):
            start = source.find("\n", start) + 1
        if not near["near"]:
            return len(source.rstrip()) - 1
        found = source.find(near["near"], start)
        return found if found >= 0 else start
    for name in _NAMED.finditer(text):
        word = name["name"].rpartition(".")[2]
        places = [found.start() for found in re.finditer(rf"(?<![\w$]){re.escape(word)}(?![\w$])", source)]
        if len(places) == 1:
            return places[0]
    return None


def lock_lost(target: Target) -> LockError:
    """Return the error for a lock that is not ours any more."""
    return LockError(
        f"orch lost the migration lock of {target.database_id}",
        hint="nothing was recorded since. Run again, unless the file calls RELEASE_LOCK, or the DSN names a proxy that shares "
        "sessions between clients or reads elsewhere: give orch the DSN of the server itself",
    )


def _grant(target: Target) -> str:
    from orchestrator.engines.mysql.rights import grant_all

    return grant_all(target)


def _tls_hint(target: Target) -> str:
    from orchestrator.engines.mysql.dsn import pairs_of

    given = dict(pairs_of(split(target.url.reveal()).query))
    if given.get("tls", "false") == "false":
        return _TLS_HINT
    return "" if "x-tls-cert" in given else _CERTIFICATE_HINT


def _user(target: Target) -> str:
    from urllib.parse import unquote

    return unquote(split(target.url.reveal()).user)
