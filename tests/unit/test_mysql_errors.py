"""What people read of errors of a MySQL server that no server of the tests gives: those of GTID, which MariaDB does not have."""

from __future__ import annotations

import pymysql
import pytest

from orchestrator.engines.mysql.errors import connecting, mapped
from orchestrator.engines.mysql.failed import is_partly_done
from orchestrator.errors import ConnectError, StatementError
from orchestrator.events import Failure
from orchestrator.manifest.redact import redactor
from orchestrator.model import Statement, Target
from orchestrator.records import replace
from orchestrator.secret import Secret

TARGET = Target("mysql-shop", "mysql", Secret("mysql://u@tcp(h:3306)/shop"), "shop", "h:3306", "")
VIOLATES = "Statement violates GTID consistency: "


@pytest.mark.parametrize(
    ("code", "text", "source", "hint"),
    [
        (
            1785,
            "Updates to non-transactional tables can only be done in either autocommitted statements or "
            "single-statement transactions, and never in the same statement as updates to transactional tables.",
            "UPDATE a JOIN b USING (id) SET a.n = 1, b.n = 1",
            "a transaction cannot hold tables of InnoDB and of other engines on this server: give them files of their own",
        ),
        (
            1786,
            "CREATE TABLE ... SELECT.",
            "CREATE TABLE b AS SELECT * FROM a",
            "write CREATE TABLE and INSERT … SELECT as two statements, in two files",
        ),
        (
            1787,
            "CREATE TEMPORARY TABLE and DROP TEMPORARY TABLE can only be executed outside transactional context.",
            "CREATE TEMPORARY TABLE t (id int)",
            "this server takes no temporary tables in a transaction (enforce_gtid_consistency with "
            "binlog_format=STATEMENT): use an ordinary table, or binlog_format=ROW",
        ),
        (
            3748,
            "CREATE TEMPORARY TABLE and DROP TEMPORARY TABLE are not allowed inside a transaction or inside a procedure.",
            "CREATE TEMPORARY TABLE t (id int)",
            "this server takes no temporary tables in a transaction (enforce_gtid_consistency with "
            "binlog_format=STATEMENT): use an ordinary table, or binlog_format=ROW",
        ),
    ],
)
def test_a_statement_that_gtid_forbids_comes_with_its_remedy(code: int, text: str, source: str, hint: str) -> None:
    packet = b"\xff" + code.to_bytes(2, "little") + b"#HY000" + (VIOLATES + text).encode()
    with pytest.raises(StatementError) as raised, mapped(TARGET, Statement(source, source, 0, 1, atomic=True)):
        pymysql.err.raise_mysql_exception(packet)  # as the driver does it with what the server sends
    assert not raised.value.transient, "to try it again is of no use"
    (failure,) = Failure.all_of(raised.value, redactor)
    assert VIOLATES + text in failure.what
    assert failure.hint == hint
    assert not is_partly_done(None, raised.value, None), "the server refuses it before it has done anything"


@pytest.mark.parametrize(
    ("code", "text", "hint", "again"),
    [
        (1226, "User 'u' has exceeded the 'max_updates' resource (current value: 9)", "ALTER USER … WITH MAX_…", False),
        (
            3024,
            "Query execution was interrupted, maximum statement execution time exceeded",
            "max_execution_time",
            False,
        ),
        (
            3101,
            "Plugin instructed the server to rollback the current transaction.",
            "another member of the group",
            True,
        ),
    ],
)
def test_a_statement_that_the_server_ends_comes_with_the_reason(code: int, text: str, hint: str, again: bool) -> None:
    packet = b"\xff" + code.to_bytes(2, "little") + b"#HY000" + text.encode()
    statement = "UPDATE a SET n = 1"
    with pytest.raises(StatementError) as raised, mapped(TARGET, Statement(statement, statement, 0, 1, atomic=True)):
        pymysql.err.raise_mysql_exception(packet)
    assert hint in str(raised.value.hint)
    assert raised.value.transient is again, "whether to try it once more at once"
    (failure,) = Failure.all_of(raised.value, redactor)
    assert text in failure.what


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (2026, "does the server have TLS on"),
        (1184, "its init_connect fails"),
        (1045, "tls=skip-verify"),
        (4151, "ACCOUNT UNLOCK"),
    ],
)
def test_a_connection_that_is_refused_comes_with_what_to_look_at(code: int, hint: str) -> None:
    with pytest.raises(ConnectError) as raised, connecting(TARGET):
        raise pymysql.err.OperationalError(code, "no")
    assert hint in str(raised.value.hint)
    assert not raised.value.transient


def test_a_refused_login_over_tls_is_told_of_the_certificate() -> None:
    url = Secret("mysql://u@tcp(h:3306)/shop?tls=true")
    with pytest.raises(ConnectError) as raised, connecting(replace(TARGET, url=url)):
        raise pymysql.err.OperationalError(1045, "no")
    assert "x-tls-cert" in str(raised.value.hint)
