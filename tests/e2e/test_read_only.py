"""A standby, and a login or database that is read-only: told when connecting, with what helps; no file is tried."""

from __future__ import annotations

import time
from pathlib import Path

import psycopg
import pytest
from estate import Estate

from orchestrator.embedded import Server

FILES: dict[str, str | bytes] = {"1_t.up.sql": "CREATE TABLE t ();", "1_t.down.sql": "DROP TABLE t;"}
MORE: dict[str, str | bytes] = {"2_u.up.sql": "CREATE TABLE u ();", "2_u.down.sql": "DROP TABLE u;"}


@pytest.mark.timing
def test_a_hot_standby_is_told_with_its_primary(tmp_path: Path, pair: tuple[Server, int]) -> None:
    primary, port = pair
    estate = Estate(tmp_path, {"postgres": primary})
    estate.add("postgres", "a", FILES)
    estate.orch("apply")
    estate.write("postgres-a", MORE)
    path = tmp_path / "databases.yaml"
    text = path.read_text()
    path.write_text(text.replace(f":{primary.port}/", f":{port}/"))
    deadline = time.monotonic() + 60
    while estate.orch("wait", "--for", "a@1", "--timeout", "5", code=None).code and time.monotonic() < deadline:
        time.sleep(0.2)
    estate.orch("wait", "--for", "a@1", "--timeout", "5")  # which only reads
    for command in (["status"], ["plan"], ["apply", "--wait", "20"]):
        result = estate.orch(*command, code=7, timeout=15)
        assert f"127.0.0.1:{port} is a hot standby" in result.text
        assert f"its primary is 127.0.0.1:{primary.port}" in result.text
        assert "target_session_attrs=read-write" in result.text
    estate.add("postgres", "new", FILES)  # which the standby does not have either
    path.write_text(path.read_text().replace(f":{primary.port}/", f":{port}/"))
    assert "is a hot standby" in estate.orch("plan", "--only", "new", code=7).text
    both = text.replace(f":{primary.port}/", f":{port},127.0.0.1:{primary.port}/")
    path.write_text(both.replace("sslmode=disable", "sslmode=disable&target_session_attrs=read-write"))
    estate.orch("apply")
    assert estate.status("postgres-a")["version"] == 2


def test_no_server_of_the_wanted_kind(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", FILES)
    pg_estate.orch("apply")
    path = pg_estate.root / "databases.yaml"
    path.write_text(path.read_text().replace("sslmode=disable", "sslmode=disable&target_session_attrs=standby"))
    assert "what target_session_attrs in the DSN asks for" in pg_estate.orch("plan", code=7).stderr


@pytest.mark.parametrize("of", ["database", "role"])
def test_read_only_by_default_is_told(pg_estate: Estate, of: str) -> None:
    pg_estate.add("postgres", "a", FILES)
    pg_estate.orch("apply")
    pg_estate.write("postgres-a", MORE)
    server, name = pg_estate.servers["postgres"], pg_estate.prefix + "a"
    where = f'DATABASE "{name}"' if of == "database" else f'ROLE "{server.user}" IN DATABASE "{name}"'
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"ALTER {where} SET default_transaction_read_only = on".encode())
    for command in ("status", "plan", "apply"):
        result = pg_estate.orch(command, code=7)
        assert f"default_transaction_read_only is on, set on the {of}" in result.text
        assert "options=-cdefault_transaction_read_only%3Doff" in result.text
    path = pg_estate.root / "databases.yaml"
    text = path.read_text()
    path.write_text(text.replace("sslmode=disable", "sslmode=disable&options=-cdefault_transaction_read_only%3Doff"))
    pg_estate.orch("apply")
    assert pg_estate.status("postgres-a")["version"] == 2
