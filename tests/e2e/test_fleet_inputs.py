"""Sources of fleets that are wrong, empty or too large, and canaries by glob and label, on a real server."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from estate import Estate, start

FILES = {"000001_a.up.sql": "CREATE TABLE a (id int);", "000001_a.down.sql": "DROP TABLE a;"}
CORE = "  - {name: core, server: postgres, migrations: migrations/core/schema}\n"
TENANTS = {
    "000001_t.up.sql": "CREATE TABLE tenants (slug text, region text, logo bytea);",
    "000001_t.down.sql": "DROP TABLE tenants;",
}


def fleet(estate: Estate, for_each: str, more: str = "", before: str = "") -> None:
    estate.manifest(
        f'{before}  - {{name: "t_{{slug}}", server: postgres, migrations: migrations/t/schema, for_each: {for_each}{more}}}\n'
    )


def test_what_is_wrong_with_the_answer_of_a_query(pg_estate: Estate) -> None:
    estate = pg_estate
    estate.write("t", FILES)
    estate.write("core", TENANTS)

    def told(sql: str, column: str = "") -> str:
        """Return what `plan` says of a fleet that this query tells."""
        fleet(estate, f"{{query: {json.dumps(sql)}, database: core{column}}}", before=CORE)
        return estate.orch("plan", "--output", "json", code=None).stderr

    unknown = told("SELECT slug FROM tenants")
    assert "t_{slug}: its members are not known yet: postgres-core, which tells them, does not exist" in unknown
    estate.orch("apply", code=8)
    estate.write("core", {"000002_b.up.sql": "ALTER TABLE tenants ADD active bool;", "000002_b.down.sql": "SELECT 1;"})
    pending = told("SELECT slug FROM tenants WHERE active")  # a column that the next migration makes
    assert "its members are not known yet: postgres-core, which tells them, is not migrated" in pending
    estate.orch("apply", "--only", "core")
    before = estate.snapshot()

    assert "the query has no rows, so this fleet has no members" in told("SELECT slug FROM tenants")
    assert "100,000 is the most" in told("SELECT g::text AS slug FROM generate_series(1, 100001) g")
    assert "row 2 of the query has no value in 'slug'" in told("SELECT unnest(ARRAY['a', NULL]) AS slug")
    assert "the query returns the column 'slug' twice" in told("SELECT 'a' AS slug, 'b' AS slug")
    assert "'' is empty" in told("SELECT '' AS slug")
    unread = told("COMMIT; SELECT 'a' AS slug")
    assert "databases.yaml:6:" in unread
    assert "the query of the fleet t_{slug} cannot be read: COMMIT without BEGIN" in unread
    assert "control character U+000A" in told("SELECT E'a\\nb' AS slug")
    assert "two databases are 'postgres-t_a'" in told("SELECT unnest(ARRAY['a', 'a']) AS slug")
    assert "no column 'slog'" in told("SELECT 'a' AS slug", ", column: slog")
    assert "longest allowed is 63" in told("SELECT repeat('x', 64) AS slug")
    assert "databases.yaml:" in told("SELECT nonsense FROM tenants")
    assert "the query of the fleet t_{slug} failed on postgres-core" in told("SELECT 1/0 AS slug")
    assert "must be one statement; it has 0" in told("-- nothing")
    assert estate.snapshot() == before


def test_what_is_wrong_in_a_file_of_all_members_is_told_once(pg_estate: Estate) -> None:
    estate = pg_estate
    estate.write("t", {**FILES, "000002_b.up.sql": "SELECT 1;\nSELECT $$;", "000002_b.down.sql": "SELECT 1;"})
    fleet(estate, "{range: 1..300}")
    refused = estate.orch("apply", code=4)
    assert refused.stderr.count("000002_b.up.sql:2:8: unterminated dollar-quoted string") == 1
    assert len(refused.stderr.splitlines()) < 5


def test_canaries_by_glob_and_by_label(pg_estate: Estate) -> None:
    estate = pg_estate
    estate.write("t", FILES)
    rows = ["slug,plan", "acme,paying", "globex,beta", "try-1,paying", "try-2,paying", "umbrella,paying"]
    (estate.root / "t.csv").write_text("\n".join(rows))
    source = "{file: t.csv, column: slug}"
    fleet(estate, source, ', labels: ["{plan}"], rollout: {canary: ["trial-*", "label:betta"], then: 1}')
    refused = estate.orch("apply", code=4)
    assert "no member of group:t is a canary of its rollout: trial-*, label:betta" in refused.stderr
    assert "databases.yaml:" in refused.stderr
    assert "warning: the rollout of group:t has canaries that are no members" in estate.orch("validate").stderr
    fleet(
        estate,
        source,
        ', labels: ["{plan}"], rollout: {canary: ["try-*", "label:beta", "gone"], then: [{match: "x-*"}, 1]}',
    )
    applied = estate.orch("apply", "--output", "jsonl")
    events = [json.loads(line) for line in applied.stdout.splitlines()]
    order = [one["database"].removeprefix("postgres-t_") for one in events if one["event"] == "DatabaseFinished"]
    assert set(order[:3]) == {"try-1", "try-2", "globex"}
    assert order[3:] == ["acme", "umbrella"]
    notices = [one["text"] for one in events if one["event"] == "Notice"]
    assert "the rollout of group:t has canaries that are no members: gone" in notices
    assert "the rollout of group:t has a wave that no member belongs to: x-*" in notices


def test_a_fleet_without_members_and_a_shard_without_a_number(pg_estate: Estate) -> None:
    estate = pg_estate
    estate.write("t", FILES)
    (estate.root / "t.csv").write_text("slug,plan\n")
    fleet(estate, "{file: t.csv, column: slug}")
    said = estate.orch("validate").stderr
    assert "warning: t_{slug}: t.csv has no rows, so this fleet has no members" in said
    assert "no entry of the manifest names" not in said
    assert "t.csv has no rows" in estate.orch("plan").stderr
    (estate.root / "t.csv").write_text("slug,plan\nacme,paying\n")
    assert "--shard '' is not I/N" in estate.orch("apply", "--shard", "", code=2).stderr  # "$SHARD", not set
    assert "postgres-t_acme" in estate.orch("plan").stdout  # nothing ran


def test_a_query_of_sqlite_that_never_ends(tmp_path: Path) -> None:
    estate = Estate(tmp_path, {})
    estate.write("t", FILES)
    query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS slug FROM n"
    core = '  - {name: core, engine: sqlite, dsn: "sqlite3://{database}.db", migrations: migrations/t/schema}\n'
    entry = '  - {name: "t_{slug}", engine: sqlite, dsn: "sqlite3://{database}.db", migrations: migrations/t/schema,\n'
    manifest = f"version: 1\ndatabases:\n{core}{entry}     for_each: {{query: {json.dumps(query)}, database: core}}}}\n"
    (tmp_path / "databases.yaml").write_text(manifest)
    assert estate.orch("apply", "--output", "json", code=8).json["exit_code"] == 8  # as the process ends
    late = estate.orch("plan", code=4, patches={"orchestrator.operations.fleets.SECONDS": 0.2})
    assert "the query of the fleet t_{slug} took longer than 0.2 s on sqlite-core" in late.stderr
    with estate.start("plan") as running:
        time.sleep(0.5)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=20)
    assert running.returncode == 130


@pytest.mark.parametrize("server", ["mariadb", "postgres-wheel", "sqlite"])
def test_the_members_have_the_order_of_the_query(tmp_path: Path, server: str) -> None:
    """Waves follow it. MariaDB ignores the ORDER BY of a derived table."""
    engine = {"mariadb": "mysql", "postgres-wheel": "postgres"}.get(server, server)
    estate = Estate(tmp_path, {} if engine == "sqlite" else {engine: start(server)})
    rows = "CREATE TABLE t (slug varchar(9) PRIMARY KEY, n int); INSERT INTO t VALUES ('a', 3), ('b', 1), ('c', 2);"
    estate.write("t", {"000001_a.up.sql": rows, "000001_a.down.sql": "DROP TABLE t;"})
    where = 'engine: sqlite, dsn: "sqlite3://{database}.db"' if engine == "sqlite" else f"server: {engine}"
    entry = f"{where}, migrations: migrations/t/schema"

    def planned(query: str) -> list[str]:
        source = f"{{query: {json.dumps(query)}, database: core}}"
        entries = f'  - {{name: core, {entry}}}\n  - {{name: "t_{{slug}}", {entry}, for_each: {source}}}\n'
        if engine == "sqlite":
            (tmp_path / "databases.yaml").write_text(f"version: 1\ndatabases:\n{entries}")
        else:
            estate.manifest(entries)
        estate.orch("apply", "--only", "core", code=None)
        found = estate.orch("plan", "--output", "json").json["databases"]
        return [one["id"].partition("-t_")[2] for one in found if "-t_" in one["id"]]

    try:
        assert planned("SELECT slug FROM t ORDER BY n") == ["b", "c", "a"]
        assert planned("SELECT slug FROM t ORDER BY n DESC LIMIT 2 -- the newest") == ["a", "c"]
        assert planned("WITH x AS (SELECT * FROM t) SELECT slug FROM x ORDER BY n") == ["b", "c", "a"]
        assert planned("SELECT slug FROM t WHERE n < 3 UNION SELECT 'z' ORDER BY 1 DESC") == ["z", "c", "b"]
    finally:
        estate.drop()


def test_an_interrupted_query_does_not_go_on_in_mysql(tmp_path: Path) -> None:
    estate = Estate(tmp_path, {"mysql": start("mariadb")})
    estate.write("t", FILES)
    core = "  - {name: core, server: mysql, migrations: migrations/t/schema}\n"
    source = f"{{query: {json.dumps('SELECT SLEEP(99) AS slug')}, database: core}}"
    estate.manifest(
        f'{core}  - {{name: "t_{{slug}}", server: mysql, migrations: migrations/t/schema, for_each: {source}}}\n'
    )
    estate.orch("apply", code=8)

    def asked() -> int:
        found = "SELECT count(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE %s AND DB = %s"
        return int(estate.mysql("", found, "%SLEEP(99)%", f"{estate.prefix}core")[0][0])

    with estate.start("plan") as running:
        until(lambda: asked() == 1)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=20)
    assert running.returncode == 130
    until(lambda: asked() == 0)
    estate.drop()


def until(so: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not so():
        assert time.monotonic() < end
        time.sleep(0.05)
