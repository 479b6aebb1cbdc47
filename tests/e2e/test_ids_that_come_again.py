"""Transaction ids of PostgreSQL come again after 2^32, and rows keep theirs: what is old is not taken for written just now."""

from __future__ import annotations

import psycopg
import pytest

from orchestrator.embedded import Server
from orchestrator.engines.postgres.unchanged import KnownRecords
from orchestrator.model import Attempt, Direction, History

KNOWN = KnownRecords(History(attempts=(Attempt(1, 1, "a", Direction.UP, "c", applied=1, done=True),)))
ROW = "1 AS version, 1 AS attempt, 'up' AS direction, 'c' AS checksum, 1 AS applied, false AS in_flight, true AS done"


@pytest.mark.parametrize("isolation", ["READ COMMITTED", "SERIALIZABLE"])
def test_only_rows_of_this_transaction_count_as_written_by_it(postgres: Server, isolation: str) -> None:
    condition = KNOWN.history_condition("pg_temp.rows")
    with psycopg.connect(postgres.dsn("postgres")) as connection:
        connection.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}")
        found = connection.execute("SELECT pg_catalog.txid_current()").fetchone()
        assert found

        def is_unchanged(ago: int) -> bool:
            xmin = (found[0] - ago) % 2**32  # only a view may have a column of this name
            connection.execute(f"CREATE OR REPLACE TEMP VIEW rows AS SELECT {ROW}, '{xmin}'::xid AS xmin")
            row = connection.execute(f"SELECT {condition}".encode()).fetchone()
            assert row
            return bool(row[0])

        for ago in (1, 1000, 2**31 - 10, 2**31 + 10, 3 * 2**30, 2**32 - 10_000_000):
            assert is_unchanged(ago), ago
        for ago in (0, -1, -1000):  # those of blocks in it are higher
            assert not is_unchanged(ago), ago
        connection.rollback()
