"""Ask the checks of a file, `-- orch: require SELECT …` and `-- orch: ensure SELECT …`, without changing anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg.pq.abc import PGresult

from orchestrator.engines.base import Limits, Rows
from orchestrator.engines.checks import judge
from orchestrator.engines.postgres.message import Message, set_limits
from orchestrator.model import Statement

# Inside the transaction of a file: a subtransaction can be read-only on its own, and nothing of it stays.
_IN_FILE = "SAVEPOINT orch_check; SET LOCAL transaction_read_only = on; "
_IN_FILE_END = "ROLLBACK TO SAVEPOINT orch_check; RELEASE SAVEPOINT orch_check"
_ALONE = "BEGIN READ ONLY; "
_BOOLEAN = 16  # the oid of its type
_TEXTS = {25: "text", 1043: "text", 20: "number", 21: "number", 23: "number", 1700: "number", 701: "number"}


def in_file(check: Statement) -> Message:
    """Return the message that asks a check inside the transaction of its file."""
    return _asking(Message(_IN_FILE), check, _IN_FILE_END)


def alone(check: Statement, limits: Limits) -> Message:
    """Return the message that asks a check in a transaction of its own."""
    return _asking(Message(f"{_ALONE}{set_limits('SET LOCAL', limits)}"), check, "ROLLBACK")


def selecting(query: Statement, limits: Limits, most: int) -> Message:
    """Return the message that reads at most `most` rows of a query, and one more."""
    message = Message(_ALONE + set_limits("SET LOCAL", limits))
    message.put("SELECT * FROM (")
    message.add(query, terminator=f"\n) AS members LIMIT {most + 1};\n")  # several statements are a syntax error
    message.put("ROLLBACK")
    return message


def rows_of(results: Sequence[PGresult]) -> Rows:
    """Return the rows of the message above."""
    result = results[-2]
    columns = tuple((result.fname(place) or b"").decode() for place in range(result.nfields))
    read = result.get_value
    return Rows(
        columns,
        tuple(
            tuple(None if (cell := read(row, place)) is None else cell.decode() for place in range(len(columns)))
            for row in range(result.ntuples)
        ),
    )


def judge_results(check: Statement, message: Message, results: Sequence[PGresult]) -> None:
    """Raise CheckError unless the results of one of the messages above are a yes."""
    result = results[message.text[: message.text.index(check.body)].count(";")]
    judge(check, [_value(result, row) for row in range(result.ntuples)], columns=result.nfields)


def _asking(message: Message, check: Statement, end: str) -> Message:
    # Two rows are enough to see that it is not one, however many there are.
    message.put("SELECT * FROM (")
    message.add(check, terminator="\n) AS answer LIMIT 2;\n")
    message.put(end)
    return message


def _value(result: PGresult, row: int) -> Any:
    if not result.nfields or (value := result.get_value(row, 0)) is None:
        return None
    text, kind = value.decode(errors="replace"), result.ftype(0)
    return text == "t" if kind == _BOOLEAN else (_TEXTS.get(kind, "value"), text)
