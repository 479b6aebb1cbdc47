"""Databases that were lived in for a month by jobs, administrators and restores have no drift: nobody changed their schema."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from estate import Estate, start
from replication import execute, program

# What a migration makes, and what happens to it in a month. {n} is a number of its own.
PARTS: list[tuple[str, list[str]]] = [
    (
        "CREATE TABLE orders{n} (id bigserial PRIMARY KEY, state varchar(9) NOT NULL DEFAULT 'new' "
        "CHECK (state IN ('new', 'paid')), due interval DEFAULT '1 day 2 hours', at timestamptz DEFAULT '2026-01-01 12:00+02', "
        "twice int GENERATED ALWAYS AS (1 + 1) STORED);"
        "CREATE INDEX ON orders{n} (at) WHERE state IN ('new', 'paid') AND at > '2026-01-01 12:00+02';",
        [
            "INSERT INTO orders{n} (state) SELECT 'paid' FROM generate_series(1, 50)",
            "VACUUM FULL orders{n}",
            "CLUSTER orders{n} USING orders{n}_pkey; ALTER TABLE orders{n} SET WITHOUT CLUSTER",
            "ALTER TABLE orders{n} ADD COLUMN x int; ALTER TABLE orders{n} DROP COLUMN x",
            "GRANT SELECT ON orders{n} TO pg_monitor; REVOKE SELECT ON orders{n} FROM pg_monitor",
        ],
    ),
    (
        "CREATE TYPE mood{n} AS ENUM ('sad', 'ok'); CREATE DOMAIN short{n} AS varchar(9) CHECK (VALUE IN ('a', 'b'));"
        "CREATE TABLE people{n} (m mood{n} DEFAULT 'ok', s short{n}, name text COLLATE \"C\");"
        "COMMENT ON COLUMN people{n}.s IS 'short; really';",
        ["REINDEX TABLE CONCURRENTLY people{n}", "ANALYZE people{n}", "INSERT INTO people{n} (s) VALUES ('a')"],
    ),
    (
        "CREATE TABLE events{n} (at date NOT NULL, body text) PARTITION BY RANGE (at);"
        "CREATE TABLE events{n}_0 PARTITION OF events{n} FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');"
        "CREATE INDEX ON events{n} (at);",
        [
            "CREATE TABLE events{n}_1 PARTITION OF events{n} FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
            "CREATE TABLE events{n}_2 PARTITION OF events{n} FOR VALUES FROM ('2026-03-01') TO ('2026-04-01'); "
            "DROP TABLE events{n}_2",
            "ALTER TABLE events{n} DETACH PARTITION events{n}_0; "
            "ALTER TABLE events{n} ATTACH PARTITION events{n}_0 FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
        ],
    ),
    (
        "CREATE TABLE base{n} (id int PRIMARY KEY, kind varchar(5), parent int REFERENCES base{n} ON DELETE CASCADE);"
        "CREATE VIEW seen{n} AS SELECT b.id, p.kind FROM base{n} b LEFT JOIN base{n} p ON p.id = b.parent "
        "WHERE b.kind IN ('x', 'y');"
        "CREATE MATERIALIZED VIEW counted{n} AS SELECT kind, count(*) FROM base{n} GROUP BY kind;"
        "CREATE UNIQUE INDEX ON counted{n} (kind);",
        ["REFRESH MATERIALIZED VIEW CONCURRENTLY counted{n}", "REINDEX TABLE base{n}", "VACUUM base{n}"],
    ),
    (
        "CREATE TABLE watched{n} (id int, state varchar(8));"
        "CREATE FUNCTION touch{n}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.state := 'x'; RETURN NEW; END $$;"
        "CREATE TRIGGER touch BEFORE UPDATE ON watched{n} FOR EACH ROW WHEN (NEW.state IN ('a', 'b')) "
        "EXECUTE FUNCTION touch{n}();"
        "ALTER TABLE watched{n} ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY own ON watched{n} USING (state IN ('a', 'b') OR state = CURRENT_USER);",
        [
            "ALTER TABLE watched{n} DISABLE TRIGGER touch; ALTER TABLE watched{n} ENABLE TRIGGER touch",
            "UPDATE watched{n} SET state = 'a'",
        ],
    ),
    (
        "CREATE EXTENSION IF NOT EXISTS citext VERSION '1.5'; CREATE TABLE mails{n} (address citext UNIQUE);",
        ["ALTER EXTENSION citext UPDATE", "INSERT INTO mails{n} VALUES ('A@b')", "ANALYZE"],
    ),
    (
        "CREATE SCHEMA app{n}; CREATE SEQUENCE app{n}.numbers CACHE 5; CREATE TABLE app{n}.\"Mixed Case\" (\"a.b\" int "
        "DEFAULT nextval('app{n}.numbers'), v varchar[] DEFAULT '{{x}}');"
        "CREATE FUNCTION app{n}.two(k varchar) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN k IN ('a', 'b') "
        "THEN 2 END; END;"
        "GRANT USAGE ON SCHEMA app{n} TO pg_monitor;"
        "ALTER DEFAULT PRIVILEGES IN SCHEMA app{n} GRANT SELECT ON TABLES TO pg_monitor;",
        ["SELECT nextval('app{n}.numbers')", "INSERT INTO app{n}.\"Mixed Case\" DEFAULT VALUES"],
    ),
    (
        "CREATE TABLE pairs{n} (a int, b int); CREATE STATISTICS both{n} ON a, b FROM pairs{n};"
        "CREATE TYPE pair{n} AS (a int, b varchar(3)); CREATE TYPE span{n} AS RANGE (subtype = float8);"
        "CREATE AGGREGATE plus{n} (int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');"
        "ALTER TABLE pairs{n} ALTER a SET STATISTICS 500, ALTER b SET (n_distinct = 3), SET (fillfactor = 80);",
        ["ANALYZE pairs{n}", "VACUUM (ANALYZE) pairs{n}"],
    ),
]  # fmt: skip
SETTINGS = (
    "timezone TO 'Asia/Tokyo'",
    "datestyle TO 'German'",
    "intervalstyle TO 'iso_8601'",
    "bytea_output TO 'escape'",
)


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    estate = Estate(tmp_path_factory.mktemp("lived"), {"postgres": start("postgres-debian")})
    yield estate
    estate.drop()


def looked(estate: Estate, name: str, *arguments: str, env: dict[str, str] | None = None) -> dict[str, object]:
    document = estate.orch("drift", name, *arguments, "--output", "json", env=env, code=None)
    assert document.code == 0, document.stdout
    entry: dict[str, object] = document.json["databases"][0]
    return entry


def restore(estate: Estate, database: str, text: bytes, target: str) -> None:
    """Play a dump into a database, with the client programs of the server that wrote it."""
    binary = Path(f"/proc/{estate.servers['postgres'].pid}/exe").resolve().with_name("psql")
    command = [str(binary), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", target]
    done = subprocess.run(command, input=text, env=os.environ, capture_output=True, check=False)
    assert done.returncode == 0, (database, done.stderr.decode()[-2000:])


@pytest.mark.parametrize(
    "seeds", [range(2), pytest.param(range(2, 40), marks=pytest.mark.soak)], ids=["two estates", "40 estates"]
)
def test_no_false_drift_after_a_month_a_restore_and_an_upgrade_to_18(estate: Estate, seeds: range) -> None:
    newer = start("postgres-wheel")
    for seed in seeds:
        chance, name = random.Random(seed), f"lived{seed}"
        parts = PARTS if seed == 0 else chance.sample(PARTS, 4)
        chosen = [(made.format(n=n), [one.format(n=n) for one in events]) for n, (made, events) in enumerate(parts)]
        files: dict[str, str | bytes] = {f"{n}_a.up.sql": made for n, (made, _) in enumerate(chosen, 1)}
        estate.add("postgres", name, files, drift="warn", drift_ignore=["setting *"])
        estate.orch("apply", "--only", name)
        database = estate.prefix + name
        dsn = estate.servers["postgres"].dsn(database)
        days = [event for _, events in chosen for event in events]
        chance.shuffle(days)
        setting = chance.choice(SETTINGS)
        for event in days:
            for statement in event.split("; "):
                execute(dsn, statement)
        execute(dsn, f'ALTER DATABASE "{database}" SET {setting}', "SELECT 1")
        for arguments in (["--kept"], []):
            entry = looked(estate, name, *arguments)
            assert (entry["state"], entry["differences"]) == ("same", []), (seed, setting)
        execute(dsn, f'ALTER DATABASE "{database}" RESET {setting.split(" ")[0]}')
        dump = program(estate.servers["postgres"], "pg_dump", "--quote-all-identifiers", database=database)
        admin = estate.servers["postgres"].dsn("postgres")
        execute(admin, f'DROP DATABASE "{database}" WITH (FORCE)', f'CREATE DATABASE "{database}"')
        restore(estate, database, dump, dsn)
        for arguments in (["--kept"], []):
            entry = looked(estate, name, *arguments)
            assert (entry["state"], entry["differences"]) == ("same", []), (seed, "restored")
        # The same dump on a later release: the kept snapshot is unknown, and the files yield what is there.
        execute(newer.dsn("postgres"), f'CREATE DATABASE "{database}"')
        try:
            restore(estate, database, dump, newer.dsn(database))
            env = {f"ORCH_DSN_POSTGRES_{name.upper()}": newer.dsn(database)}
            assert looked(estate, name, "--kept", env=env)["state"] == "unknown"
            entry = looked(estate, name, env=env)
            assert (entry["state"], entry["against"], entry["differences"]) == ("same", "files", []), (seed, "18")
        finally:
            execute(newer.dsn("postgres"), f'DROP DATABASE "{database}" WITH (FORCE)')
