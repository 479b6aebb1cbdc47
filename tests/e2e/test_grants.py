"""The rights that each command needs, as docs/operations.md lists them: with these it works, without one of them it does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from estate import Estate

READ = ("GRANT SELECT ON schema_migrations TO {role}", "GRANT SELECT ON orch_history TO {role}")


@contextmanager
def _login(estate: Estate, *grants: str) -> Iterator[dict[str, str]]:
    """Make a login with these rights; yield the environment in which orch uses it."""
    server, role = estate.servers["postgres"], f"{estate.prefix}reader"
    estate.sql("a", f"CREATE ROLE {role} LOGIN PASSWORD 'plain-password'")
    try:
        for grant in grants:
            estate.sql("a", grant.format(role=role))
        dsn = server.dsn(estate.prefix + "a").replace(f"{server.user}:{server.password}", f"{role}:plain-password")
        yield {"ORCH_DSN_POSTGRES_A": dsn}
    finally:
        estate.sql("a", f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize("lacking", [None, 0, 1])
def test_a_reader_needs_select_on_two_tables(pg_estate: Estate, lacking: int | None) -> None:
    pg_estate.add("postgres", "a", {"1_t.up.sql": "CREATE TABLE t ();"})
    pg_estate.orch("apply")
    grants = [grant for number, grant in enumerate(READ) if number != lacking]
    with _login(pg_estate, *grants) as env:
        for command in ("status", "plan", "history a", "wait --timeout 5"):
            assert pg_estate.orch(*command.split(), code=None, env=env).code == (0 if lacking is None else 7), command
