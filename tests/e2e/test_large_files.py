"""One PostgreSQL file of many thousands of INSERTs: one transaction, however many messages carry it."""

from __future__ import annotations

import re
import signal
import time

import pytest
from estate import Estate

COUNT = 10_000  # 5 MB: three messages
CREATE = "CREATE TABLE item (id int PRIMARY KEY, name text);\n"


def rows(table: str = "item", wrong: dict[int, str] | None = None) -> str:
    """One INSERT a line; some of them in other words."""
    wrong = wrong or {}
    return "".join(
        wrong.get(n, f"INSERT INTO {table} (id, name) VALUES ({n}, 'the item with the number {n:0450}');\n")
        for n in range(COUNT)
    )


def test_all_rows_come_in_one_transaction(pg_estate: Estate) -> None:
    body = "SELECT count(*) = 0 FROM item"
    text = f"-- orch: ensure SELECT count(*) = {COUNT} AND count(DISTINCT xmin::text) = 1 FROM item\n{CREATE}{rows()}"
    pg_estate.add(
        "postgres", "many", {"1_x.up.sql": text, "2_y.up.sql": f"-- orch: ensure {body}\nDELETE FROM item;\n"}
    )
    pg_estate.orch("apply", "--yes")
    history = pg_estate.sql("many", "SELECT applied, total FROM orch_history ORDER BY version")
    assert history == [(COUNT + 1, COUNT + 1), (1, 1)]
    assert pg_estate.version_row("many") == [(2, False)]


@pytest.mark.parametrize(
    ("line", "what", "column"),
    [
        ("INSERT INTO item (id, name) VALUES (3, 'again');\n", "duplicate key", 1),  # the server tells no position
        ("INSERT INTO item (id, nome) VALUES (-3, 'x');\n", 'column "nome"', 23),
        ("INSERT INTO item (id, name) VALUES ('x', 'x');\n", "invalid input syntax", 37),
    ],
)
def test_the_statement_that_fails_has_its_place_and_nothing_is_left(
    pg_estate: Estate, line: str, what: str, column: int
) -> None:
    at = COUNT - 7
    pg_estate.add("postgres", "many", {"1_x.up.sql": CREATE + rows(wrong={at: line})})
    failed = pg_estate.orch("apply", "--yes", code=1)
    assert what in failed.stderr
    assert f"1_x.up.sql:{at + 2}:{column}: " in failed.stderr
    assert f"statement {at + 2} of {COUNT + 1}" in failed.stderr
    assert "nothing of this file is in the database" in failed.stderr
    assert "item" not in pg_estate.tables("many")
    pg_estate.write("postgres-many", {"1_x.up.sql": CREATE + rows()})
    pg_estate.orch("apply", "--yes")
    assert pg_estate.sql("many", "SELECT count(*) FROM item") == [(COUNT,)]


def test_a_role_that_an_earlier_message_set_is_named(pg_estate: Estate) -> None:
    """The grant that is missing is that of the role which the file has set, though its SET went long before."""
    pg_estate.add("postgres", "many", {"1_x.up.sql": CREATE})
    pg_estate.orch("apply")
    pg_estate.sql("many", "CREATE TABLE other (id int, name text)")
    pg_estate.sql("many", "GRANT INSERT, SELECT ON item TO pg_monitor")
    text = f"SET ROLE pg_monitor;\n{rows()}INSERT INTO other VALUES (1, 'x');\n"
    pg_estate.write("postgres-many", {"2_y.up.sql": text})
    failed = pg_estate.orch("apply", code=None)
    assert f"2_y.up.sql:{COUNT + 2}:" in failed.stderr
    assert re.search(r"GRANT .* TO \"?pg_monitor", failed.stderr), failed.stderr
    assert pg_estate.sql("many", "SELECT count(*) FROM item") == [(0,)]


def test_a_run_that_is_cancelled_in_the_middle_leaves_nothing(pg_estate: Estate) -> None:
    slow = f"INSERT INTO item SELECT {COUNT}, pg_sleep(20)::text;\n"
    pg_estate.add("postgres", "many", {"1_x.up.sql": CREATE + rows() + slow})
    process = pg_estate.start("apply", "--yes")
    deadline = time.monotonic() + 60
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
    while time.monotonic() < deadline:
        time.sleep(0.2)
        try:
            if pg_estate.sql("many", waiting) == [(1,)]:
                break
        except Exception:  # noqa: BLE001 - the database is not there yet
            continue
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(1)
    process.communicate(timeout=60)
    assert "item" not in pg_estate.tables("many")
    pg_estate.write("postgres-many", {"1_x.up.sql": CREATE + rows()})
    pg_estate.orch("apply", "--yes")
    assert pg_estate.sql("many", "SELECT count(*) FROM item") == [(COUNT,)]
