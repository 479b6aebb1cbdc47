"""`orch doctor`: which servers are reached, what they are, and what would stop a migration there."""

from __future__ import annotations

import psycopg
from estate import Estate
from psycopg import sql


def test_doctor_tells_servers_that_are_ready_from_those_that_are_not(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_x.up.sql": "SELECT 1;"})
    shown = pg_estate.orch("doctor")
    assert "none of its databases exists yet" in shown.stdout
    pg_estate.orch("apply")
    before = pg_estate.status("postgres-a")
    shown = pg_estate.orch("doctor")
    assert "1 of 1 server ready for migrations." in shown.stdout
    (row,) = (line for line in shown.stdout.splitlines() if line.startswith("127.0.0.1:"))
    assert row.split()[1] == "postgres"
    assert row.endswith("ready")
    assert shown.stdout.split("\n")[0].split() == [
        "SERVER",
        "VERSION",
        "ROLE",
        "DATABASES",
        "CONNECT",
        "ANSWER",
        "CLOCK",
        "STATE",
    ]
    (server,) = pg_estate.orch("doctor", "--output", "json").json["servers"]
    assert abs(server["clock_off"]) < 5
    assert 0 < server["answer"] < 5
    assert server["problems"] == []
    assert pg_estate.status("postgres-a") == before

    role = f"{pg_estate.prefix}reader"
    dsn = pg_estate.servers["postgres"].dsn(pg_estate.prefix + "a")
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(role)))
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        try:
            text = (pg_estate.root / "databases.yaml").read_text()
            host = dsn.partition("@")[2].partition("/")[0]
            reader = f"  - {{name: b, engine: postgres, migrations: migrations/postgres-a/schema, dsn: 'postgres://{role}:x@{host}/{pg_estate.prefix}a?x-migrations-table=b'}}\n"
            away = "  - {name: c, engine: postgres, migrations: migrations/postgres-a/schema, dsn: 'postgres://a@127.0.0.1:1/c'}\n"
            (pg_estate.root / "databases.yaml").write_text(text + reader)
            refused = pg_estate.orch("doctor", "--only", "b", code=1)
            assert f"{role} may not create tables in schema public" in refused.stdout
            (pg_estate.root / "databases.yaml").write_text(text + away)
            unreached = pg_estate.orch("doctor", code=7)
            assert "unreachable" in unreached.stdout
            assert "1 of 2 servers ready" in unreached.stdout
            assert "error: " in unreached.stderr
        finally:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
