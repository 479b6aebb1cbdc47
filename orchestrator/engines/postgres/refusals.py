"""Explain why a connection failed, by SQLSTATE and facts, never by words that may be a user's names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orchestrator.errors import ConnectError
from orchestrator.hints import WAIT
from orchestrator.model import Target
from orchestrator.patterns import regex

if TYPE_CHECKING:
    import psycopg

    from orchestrator.engines.postgres.login import Login

MANY_CONNECTIONS = "53300"
WRONG_DATABASE, NO_CONNECT, _NOT_ACCEPTING = "3D000", "42501", "55000"
_SETTINGS = {"42704", "22023", "22P02", "42602"}  # a server setting of the DSN that this server refuses
# The server starts, stops or is full; a pooler says 08… while it waits for its server.
_PASSES = regex(r"57P0[1-35]|53[0-9A-Z]{3}|08[0-9A-Z]{3}|58[0-9A-Z]{3}|XX000")
# Where libpq's trace cannot be had (outside of Linux), its text without any name is all there is.
_WORDS = {
    "57P03": r"the database system is|terminating connection",
    MANY_CONNECTIONS: r"too many (?:clients|connections)|remaining connection slots|no more connections allowed",
    "08P01": r"server login has been failing|cannot connect to server",
    "28000": r"authentication failed|no password supplied|role \"\" (?:does not exist|is not permitted)|pg_hba\.conf",
    NO_CONNECT: r"permission denied for database",
    "42704": r"unrecognized configuration parameter|invalid value for parameter",
    WRONG_DATABASE: r"database \"\" does not exist",
    _NOT_ACCEPTING: r"is not currently accepting connections",
    "unknown": r"(?m)^[^\s:]+:  ",  # so libpq writes what a server says: a severity, and two blanks
}
_BROKE = regex(r"server closed the connection|could not (?:receive|send) |SSL SYSCALL error|\bEOF\b")
_PLACE = regex(r'^(?:connection failed: )?connection to server (?:at|on socket) "[^"\n]*"[^"\n]*? failed: ', re.M)
_OWN_REFUSAL = regex(
    r"(?:connection failed: )?invalid "
)  # libpq looks at no server for options that exclude each other
_LACKS_TLS = "does not support SSL"
_CERTIFICATE = regex(r"certificate|SSL error|private key file|SSL, but SSL was required|\bTLS\b")


def connect_error(error: psycopg.Error, target: Target, login: Login | None = None) -> ConnectError:
    """Return our error for a connection that could not be made; `login` is one more try, which libpq has traced."""
    import psycopg

    if isinstance(error, psycopg.ProgrammingError):  # the DSN itself; libpq may repeat it, password and all
        return ConnectError(
            "the DSN is not understood by libpq",
            hint="see https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING",
        )
    text = first_lines(login.text if login and login.text and not login.connected else str(error))
    code = login.code if login else _code_of(text)
    if code:
        return _refused(code, target, text)
    if isinstance(error, psycopg.errors.ConnectionTimeout):
        return _unreached(target, text)
    if error.pgconn is None:  # psycopg looks the addresses up before it asks libpq
        return ConnectError(
            f"the host name does not resolve: {target.endpoint}",
            detail=text,
            hint="check the host name in the DSN",
            transient=True,
            server_down=True,
        )
    said = _PLACE.sub("", text)
    if said == text and _OWN_REFUSAL.match(text):
        return ConnectError(
            "libpq refuses the options of the DSN", detail=text, hint="correct what it names; no server was asked"
        )
    if error.pgconn.needs_password:
        return _login_refused(target, text, "28P01")
    if login and login.connected:
        return ConnectError(f"cannot connect to {target.endpoint}", detail=text, hint=_WAIT, transient=True)
    if login and login.answered:
        return _broke_off(target, text, said)
    if _is_about_tls(login, said):
        return _tls(target, text, lacks=bool(login and login.lacks_tls) or _LACKS_TLS in _nameless(said))
    return _unreached(target, text)


_WAIT = f"is the server up? {WAIT} waits for one that is starting"


def _refused(code: str, target: Target, text: str) -> ConnectError:
    """Return the error for what the server itself said."""
    if code.startswith("28"):
        return _login_refused(target, text, code)
    database = '"' + target.database.replace('"', '""') + '"'
    where = f"{target.endpoint} refuses the connection to '{target.database}' (SQLSTATE {code})"
    if code == MANY_CONNECTIONS:
        what = f"{target.endpoint} has no connection left for {user_of(target)} (SQLSTATE {code})"
        hint = (
            "raise max_connections, or the CONNECTION LIMIT of the role or database; or use fewer: --jobs-per-server 1"
        )
        return ConnectError(what, detail=text, hint=hint, transient=True, code=code)
    if code == NO_CONNECT:
        what = f"{user_of(target)} may not connect to '{target.database}'"
        role = '"' + _login_name(target).replace('"', '""') + '"'
        return ConnectError(what, detail=text, hint=f"GRANT CONNECT ON DATABASE {database} TO {role};", code=code)
    if code == WRONG_DATABASE:
        hint = (
            "orch cannot look which databases there are: let this login connect to the database postgres, or create it"
        )
        return ConnectError(where, detail=text, hint=hint, code=code)
    if code == _NOT_ACCEPTING:
        hint = f"if it should accept connections: ALTER DATABASE {database} ALLOW_CONNECTIONS true;"
        return ConnectError(where, detail=text, hint=hint, code=code)
    if code in _SETTINGS:
        hint = "correct the server settings in the DSN: what libpq does not know is sent to the server as a setting"
        return ConnectError(
            f"{target.endpoint} refuses a setting of the DSN (SQLSTATE {code})", detail=text, hint=hint, code=code
        )
    transient = bool(_PASSES.fullmatch(code))
    hint = _WAIT if transient else "the server's log may say more"
    return ConnectError(
        f"cannot connect to {target.endpoint} (SQLSTATE {code})", detail=text, hint=hint, transient=transient, code=code
    )


def _login_refused(target: Target, text: str, code: str) -> ConnectError:
    return ConnectError(
        f"{target.endpoint} refuses the login of {user_of(target)}",
        detail=text,
        hint="check user and password in the environment, and pg_hba.conf on the server",
        code=code,
    )


def _broke_off(target: Target, text: str, said: str) -> ConnectError:
    """Return the error for a server that answered, and then there was no session, though it refused none."""
    if "target_session_attrs" in target.url.reveal():
        what = f"no server of {target.endpoint} is what target_session_attrs in the DSN asks for"
        hint = f"name the host of the primary, too; after a failover {WAIT} waits for the new one"
        return ConnectError(what, detail=text, hint=hint, transient=True)
    broke = bool(_BROKE.search(said))
    hint = _WAIT if broke else "this is the client's own refusal: check require_auth, channel_binding and the like"
    return ConnectError(f"cannot connect to {target.endpoint}", detail=text, hint=hint, transient=broke)


def _unreached(target: Target, text: str) -> ConnectError:
    return ConnectError(
        f"cannot connect to {target.endpoint}", detail=text, hint=_WAIT, transient=True, server_down=True
    )


def _is_about_tls(login: Login | None, said: str) -> bool:
    if login and login.lacks_tls:
        return True
    if login and login.failed_tls:
        return not _BROKE.search(said)  # whatever stands between us and the server may have no server yet
    return bool(_CERTIFICATE.search(_nameless(said)))


def _tls(target: Target, text: str, *, lacks: bool) -> ConnectError:
    if lacks:
        return ConnectError(
            f"{target.endpoint} speaks no TLS, and the DSN requires it",
            detail=text,
            hint="turn on ssl on the server, or where the network is trusted: sslmode=prefer or disable",
        )
    return ConnectError(
        f"cannot make a TLS connection to {target.endpoint}",
        detail=text,
        hint="check sslmode, sslrootcert, sslcert and sslkey in the DSN, and the server's certificate: its host name, "
        "its issuer and how long it is valid",
    )


def _code_of(text: str) -> str:
    """Return the SQLSTATE that a text of libpq stands for; names in it are no words."""
    said = _nameless(_PLACE.sub("", text))
    return next((code for code, words in _WORDS.items() if re.search(words, said)), "")


def _nameless(text: str) -> str:
    """Return a text without what stands in quotes."""
    return re.sub(r'"[^\n]*"', '""', text)


def user_of(target: Target) -> str:
    """Return who logs in, for people; libpq takes the user of the system where the DSN names none."""
    from psycopg.conninfo import conninfo_to_dict

    user = conninfo_to_dict(target.url.reveal()).get("user")
    return f"user '{user}'" if user else "this user (the DSN names none)"


def _login_name(target: Target) -> str:
    """Return the name with which libpq logs in."""
    from psycopg.conninfo import conninfo_to_dict
    from psycopg.pq import Conninfo

    given = conninfo_to_dict(target.url.reveal()).get("user")
    defaults = (option.val for option in Conninfo.get_defaults() if option.keyword == b"user")
    return str(given) if given else (next(defaults, None) or b"").decode()


def first_lines(text: str) -> str:
    """Return the first lines of a text of the driver, each once, without blanks around them."""
    lines = dict.fromkeys(
        line.strip() for line in text.strip().splitlines()
    )  # libpq tries again without TLS, or with it
    return "\n".join(list(lines)[:4])
