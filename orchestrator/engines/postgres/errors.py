"""Map every psycopg error to one of ours, with a hint."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from orchestrator.engines.postgres.refusals import first_lines
from orchestrator.errors import (
    ConflictError,
    ConnectionLostError,
    NotPermittedError,
    OrchError,
    SessionEndedError,
    StatementError,
    StatementNotPermittedError,
    TransactionRefusedError,
)
from orchestrator.hints import Command, Hint
from orchestrator.model import Statement, Target
from orchestrator.patterns import regex
from orchestrator.records import dataclass

if TYPE_CHECKING:
    import psycopg

    from orchestrator.engines.postgres.libpq import AnyConnection

# Settings that do not exist. Our checks ask for them, and so the server's error for a failed check names one. No file can
# name or set one: their names are others in every process. After the name of the check comes that of the table.
LOCK_LOST, RECORDS_HIDDEN, HISTORY_CHANGED, VERSION_TABLE_CHANGED, OTHERS_CHANGED, NOT_KEPT, BEYOND, RESHAPED = (
    "lock",
    "hidden",
    "history",
    "version",
    "others",
    "kept",
    "beyond",
    "reshaped",
)
_OF_THIS_PROCESS = os.urandom(8).hex()
_MARKER = regex(rf"orch\.{_OF_THIS_PROCESS}_([a-z]+)_([0-9a-f]*)")


def marker(check: str, table: str = "") -> str:
    """Return the name of the setting that tells of a failed check; `table` is what is shown to people."""
    shown = table.replace('"', "").encode().hex()
    return f"orch.{_OF_THIS_PROCESS}_{check}_{shown}"


@dataclass
class Failing:
    """What was running when an error came; the sender fills it in.

    `reads`: only the bookkeeping was read. `names` returns the one statement of the file that names a table, if it is one.
    """

    at: tuple[Statement, int | None] | None = None
    role: str | None = None  # that the file has SET
    reads: bool = False
    records: bool = False  # a file had run, and its records were being written
    names: Callable[[str], tuple[Statement, int] | None] = lambda table: None  # noqa: ARG005
    same_server: Callable[[], bool] = lambda: False  # whether the server that ended the session is still running


@contextmanager
def mapped(connection: AnyConnection, target: Target) -> Iterator[Failing]:
    """Turn any psycopg error of the block into ours, and leave the session outside of a transaction."""
    failing = Failing()
    try:
        yield failing
    except Exception as error:
        import psycopg
        from psycopg.pq import TransactionStatus

        if not (isinstance(error, psycopg.Error) and isinstance(connection, psycopg.Connection)):
            raise
        fatal = error.diag.severity_nonlocalized == "FATAL"
        if fatal and failing.at is not None and _ends_session_alone(error.diag.sqlstate, failing):
            raise _ended(error, failing.at) from None
        if connection.closed or connection.broken or fatal:
            connection.close()
            raise ConnectionLostError(
                f"the connection to {target.database_id} broke",
                detail=first_lines(str(error)),
                hint=Hint("run again: ", Command("apply")),
            ) from None
        if connection.pgconn.transaction_status != TransactionStatus.IDLE:
            connection.pgconn.exec_(b"ROLLBACK")
        raise statement_error(error, target, connection.info.user, failing) from None


def statement_error(error: psycopg.Error, target: Target, user: str, failing: Failing) -> OrchError:
    """Return our error for what the server said of a statement."""
    diag = error.diag
    code = diag.sqlstate or ""
    what = diag.message_primary or first_lines(str(error))
    detail = "\n".join(text for text in (diag.message_detail, diag.context) if text)
    hint = diag.message_hint or ""
    statement, offset = failing.at or (None, None)
    if code == _NO_SETTING and (failed := _MARKER.search(what)):
        text, advice = _FAILED_CHECKS[failed[1]]
        table = bytes.fromhex(failed[2]).decode()
        statement, offset = failing.at or (failing.names(table) if table else None) or (None, None)
        return StatementError(text.format(table=table), hint=advice, statement=statement, offset=offset)
    if failing.records and code in _WRONG_SHAPE and not diag.context:
        return StatementError(
            "orch cannot write its records after this file: a table of its records has other columns now",
            detail=what,
            hint="leave the columns of orch_history as they are; schema_migrations needs version bigint and dirty boolean, "
            "and a default for every other column",
            code=code,
        )
    if code == "42501":
        grant = _grant(what, target, failing.role or user, failing.reads, diag.source_function or "")
        if statement is None and not failing.records:
            return NotPermittedError(what, detail=detail, hint=grant)
        return StatementNotPermittedError(
            what, detail=detail, hint=grant, code=code, statement=statement, offset=offset
        )
    if code in ("42P01", "3F000") and statement is None and not failing.reads:
        return StatementError(
            "the migration removed what orch or golang-migrate remembers",
            detail=what,
            hint="drop things by name, not their schema, and neither schema_migrations nor orch_history",
            code=code,
        )
    if code in _REFUSED_IN_TRANSACTION and statement is not None and statement.atomic and not statement.block:
        return TransactionRefusedError(
            what,
            detail=detail,
            hint=hint or _advice(code, statement),
            code=code,
            statement=statement,
            offset=offset,
            outside=True,
        )
    if code == "3F000" and '"pg_temp"' in what:  # the session has none
        what, hint = "the temporary table is gone with the session of the run that made it", _TEMPORARY_HINT
    return StatementError(
        what,
        detail=detail,
        hint="\n".join(filter(None, (hint, _HINTS["55P04"]))) if code == "55P04" else hint or _advice(code, statement),
        code=code,
        statement=statement,
        offset=offset,
        transient=code in _PASSES_BY_ITSELF,
        contended=_contended(diag),
        exists=code in _EXISTS,
        # What a procedure, or a block like one, committed before it failed stays; only the context tells that it began.
        partly=statement is not None and not statement.atomic and _may_commit(statement) and bool(diag.context),
    )


def _may_commit(statement: Statement) -> bool:
    """Whether a statement can commit before it is done: no text that is executed can, only a COMMIT that stands there."""
    return bool(_PROCEDURAL.match(statement.source) and _COMMITS.search(statement.source))


def _advice(code: str, statement: Statement | None) -> str | Hint:
    """Return what to do about an SQLSTATE, or '' where we know nothing."""
    if code == "25001" and statement is not None and _CALLS.match(statement.source):
        return _BY_ITSELF
    return _HINTS.get(code, "")


def untranslatable(connection: psycopg.Connection[Any], error: psycopg.Error) -> str:
    """Return the character that the database's encoding lacks, if that is why the server refused a whole message; or ''.

    The server converts the message before it looks at its statements, so it tells the bytes and no position.
    """
    encoding = connection.info.parameter_status("server_encoding")
    if error.diag.sqlstate != "22P05" or error.diag.context or encoding == "UTF8":
        return ""
    found = bytes(int(byte, 16) for byte in re.findall(r"\b0x([0-9a-f]{2})\b", error.diag.message_primary or ""))
    return found.decode("utf-8", errors="ignore")


def _ends_session_alone(code: str | None, failing: Failing) -> bool:
    """Whether only this session was ended. A server that shuts down says 57P01, too: to all of them."""
    return code in _ENDED or (code == _TERMINATED and failing.same_server())


def _ended(error: psycopg.Error, at: tuple[Statement, int | None]) -> SessionEndedError:
    code = error.diag.sqlstate or ""
    return SessionEndedError(
        f"the server ended the session: {error.diag.message_primary}",
        detail=error.diag.context or "",
        hint=_ENDED.get(
            code, "the file calls pg_terminate_backend, or a person ended the session; it is not run again"
        ),
        code=code,
        statement=at[0],
        offset=at[1],
    )


def _contended(diag: psycopg.errors.Diagnostic) -> int:
    """Return how often to try again after a conflict with another session in a system catalogue."""
    if diag.sqlstate == "23505" and diag.schema_name == "pg_catalog":
        return _CONTENDED_TRIES
    if diag.sqlstate == "XX000" and diag.source_function in _TUPLE_UPDATES:  # "tuple concurrently updated"
        return _CONTENDED_TRIES
    # Somebody made the role after a block had looked whether it is there. It may as well be an error of the file.
    return int(diag.sqlstate == "42710" and diag.source_function == "CreateRole")


def hidden(target: Target, table: str, user: str) -> ConflictError:
    """Return the error for a table of records whose rows a login may not see."""
    role = '"' + user.replace('"', '""') + '"'
    return ConflictError(
        f"{target.database_id}: row level security hides rows of {table} from {user}",
        detail="no rows are not the same as nothing applied: orch does not guess what is there",
        hint=f"as its owner: ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY; ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;\n"
        f"or, where it is wanted on this table, as a superuser: ALTER ROLE {role} BYPASSRLS;",
    )


_NO_SETTING = "42704"  # undefined_object
# undefined_column, datatype_mismatch, not_null_violation, invalid_column_reference
_WRONG_SHAPE = {"42703", "42804", "42883", "23502", "42P10"}
_LEAVE_OUT = "leave the tables in which orch and golang-migrate record versions out of what it does to all tables"
_FAILED_CHECKS = {
    LOCK_LOST: (
        "the migration gave the migration lock away",
        "remove pg_advisory_unlock_all() or DISCARD ALL from it, and from the functions that it calls",
    ),
    RECORDS_HIDDEN: (
        "the migration puts row level security on {table}, which would hide its rows from orch itself",
        _LEAVE_OUT,
    ),
    HISTORY_CHANGED: ("the migration empties or changes {table}, in which orch records what is applied", _LEAVE_OUT),
    VERSION_TABLE_CHANGED: (
        "the migration empties or changes {table}, in which the version of the database is recorded",
        _LEAVE_OUT,
    ),
    NOT_KEPT: (
        "{table} does not hold what orch has just written into it: a trigger or a rule on it is in the way",
        "drop that trigger or rule: it may look at what is written, and must not change or keep it back",
    ),
    RESHAPED: (
        "the migration removes {table}, or gives it other columns, another primary key, or makes it UNLOGGED: "
        "orch and golang-migrate record in it what is applied",
        _LEAVE_OUT,
    ),
    BEYOND: (
        "no copy can run this: the migration changes what all databases of the server share",
        "a role, the settings or rights of another database, a tablespace: do this outside of migrations, or name "
        "the database by current_database()",
    ),
    OTHERS_CHANGED: (
        "the migration empties, changes or removes {table}, in which another set of migrations records what is applied",
        f"{_LEAVE_OUT}; if that set is no longer used, drop its tables by hand",
    ),
}
_COMMITS = regex(r"\b(?:COMMIT|CALL)\b", re.IGNORECASE)
_PROCEDURAL = regex(r"(?:CALL|DO)\b", re.IGNORECASE)
# What calls a function or is one: a command that refuses a transaction never runs in there, however the file is run.
_CALLS = regex(r"(?:CALL|DO|SELECT|WITH|VALUES|INSERT|UPDATE|DELETE|MERGE|EXECUTE)\b", re.IGNORECASE)
_BY_ITSELF = "no function, procedure or DO block can run this command: write it as a statement, in a file of its own"
_TEMPORARY_HINT = "make it again in what is left of the file, in one BEGIN … COMMIT with what needs it"
# A command that must run outside of a transaction block (REINDEX or CLUSTER of a partitioned table: only the server knows
# that it is one), and a procedure or DO block that commits.
_REFUSED_IN_TRANSACTION = {"25001", "2D000"}
_CONTENDED_TRIES = 20
_TUPLE_UPDATES = {
    "simple_heap_update",
    "simple_heap_delete",
    "simple_table_tuple_update",
    "simple_table_tuple_delete",
    "systable_inplace_update_begin",
}
_TERMINATED = "57P01"
_ENDED = {
    "25P04": "raise or remove transaction_timeout, which the file sets",
    "25P03": "raise or remove idle_in_transaction_session_timeout, which the file sets",
    "57P05": "raise or remove idle_session_timeout, which the file sets",
}
_EXISTS = {"42P07", "42701", "42710", "42P06", "42723"}  # duplicate relation, column, object, schema, function
_PASSES_BY_ITSELF = {"55P03", "40P01", "40001"}  # lock_timeout, deadlock, serialisation
_HINTS = {
    "55P03": "another session holds a lock that this statement needs: wait until that session is done, and run again",
    "25001": "put it into a file of its own, or begin the file with: -- orch: no-transaction",
    "22P05": "write it with characters that the database's encoding has, or create the database with encoding UTF8",
    "2D000": "begin the file with: -- orch: no-transaction, and call it outside of BEGIN … COMMIT",
    "55P04": "a new enum value can be used only after commit: in a later migration, or after -- orch: no-transaction",
    "53100": Hint("the disk of the server is full; free space, then run again: ", Command("apply")),
    "57014": "cancelled, or longer than statement_timeout",
}


def _grant(what: str, target: Target, user: str, reads: bool, source: str) -> str:
    """Return the statement that grants the missing right."""
    role = '"' + user.replace('"', '""') + '"'
    database = '"' + target.database.replace('"', '""') + '"'
    if source == "createdb":
        return f"as a superuser: ALTER ROLE {role} CREATEDB;"
    match = re.match(r"(permission denied for|must be owner of) (\w+(?: \w+)*?) (\S+)$", what)
    if not match:
        return f"grant the right to {role}, or use a login that has it"
    verb, kind, name = match.groups()
    if verb == "must be owner of":
        return f"as its owner or a superuser: ALTER {kind.upper()} {name} OWNER TO {role};"
    if kind == "schema":
        return f"as its owner: GRANT USAGE, CREATE ON SCHEMA {name} TO {role};"
    if kind == "database":
        return f"as its owner: GRANT CONNECT, CREATE ON DATABASE {database} TO {role};"
    if reads and kind in ("table", "view", "relation"):
        return f"as its owner: GRANT SELECT ON {name} TO {role}; to migrate, INSERT, UPDATE and DELETE as well"
    if kind in ("table", "view", "relation"):
        return f"as its owner: GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO {role};"
    return f"as its owner: GRANT ALL ON {kind.upper()} {name} TO {role};"
