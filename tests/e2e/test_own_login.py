"""A file that changes the login with which it runs: told before it runs, and the records say what was done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from estate import Estate, start

NAMES = {
    "postgres": (
        "ALTER ROLE CURRENT_USER PASSWORD 'other-1'",
        "ALTER USER {login} NOLOGIN",
        'ALTER ROLE "{login}" CONNECTION LIMIT 0',
        "ALTER ROLE session_user VALID UNTIL '2001-01-01'",
        "REASSIGN OWNED BY {login} TO orch",
        "DO $$ BEGIN ALTER ROLE {login} PASSWORD 'other-1'; END $$",
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM current_user",
    ),
    "mysql": (
        "SET PASSWORD = PASSWORD('other-1')",
        "SET PASSWORD FOR '{login}'@'%' = 'other-1'",
        "ALTER USER CURRENT_USER() IDENTIFIED BY 'other-1'",
        "ALTER USER '{login}'@'%' ACCOUNT LOCK",
        "RENAME USER {login}@localhost TO x@localhost",
        "DROP USER '{login}'@'%'",
        "REVOKE ALL PRIVILEGES ON *.* FROM {login}@'%'",
    ),
    "mongo": (
        {"updateUser": "{login}", "pwd": "other-1"},
        {"updateUser": "{login}", "roles": []},
        {"dropUser": "{login}"},
        {"revokeRolesFromUser": "{login}", "roles": ["dbOwner"]},
    ),
}
OTHERS = {
    "postgres": (
        "ALTER ROLE another PASSWORD 'other-1'",
        "ALTER ROLE {login} SET work_mem = '8MB'",
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC",
        "COMMENT ON TABLE x IS 'ALTER ROLE {login} PASSWORD'",
        "-- ALTER ROLE {login} NOLOGIN\nSELECT 1",
    ),
    "mysql": ("ALTER USER 'another'@'%' ACCOUNT LOCK", "CREATE USER x IDENTIFIED BY 'other-1'", "SET @password = 1"),
    "mongo": ({"updateUser": "another", "pwd": "other-1"}, {"updateUser": "{login}", "customData": {"a": 1}}),
}


def _marks(estate: Estate, engine: str, statements: tuple[object, ...]) -> list[int]:
    """Return the versions of which a plan says that they change the login."""
    login = str(estate.servers[engine].user)
    extension = "json" if engine == "mongo" else "sql"
    files = {}
    for number, one in enumerate(statements, 1):
        text = json.dumps([one]) if engine == "mongo" else f"{one};"
        files[f"{number}_a.up.{extension}"] = text.replace("{login}", login)
    estate.add(engine, "a", files)
    told = [line for line in estate.orch("plan").text.splitlines() if "the login that runs this file" in line]
    return [int(line.rpartition("/")[2].partition("_")[0]) for line in told]


@pytest.mark.parametrize("engine", ["postgres", "mongo", "mysql"])
def test_a_plan_marks_a_change_of_its_own_login(tmp_path: Path, engine: str) -> None:
    servers = {"postgres": "postgres-wheel", "mongo": "mongod", "mysql": "mariadb"}
    estate = Estate(tmp_path, {engine: start(servers[engine])})
    own, others = NAMES[engine], OTHERS[engine]
    assert _marks(estate, engine, (*own, *others)) == [*range(1, len(own) + 1)]


@pytest.mark.parametrize("command", [{"dropUser": "me"}, {"revokeRolesFromUser": "me", "roles": ["dbOwner"]}])
def test_a_file_of_mongodb_that_shuts_itself_out_is_named(mongo_estate: Estate, command: dict[str, object]) -> None:
    database, name = mongo_estate.mongo("a"), f"{mongo_estate.prefix}a"
    mongo_estate.add(
        "mongo",
        "a",
        {"1_a.up.json": '[{"create": "x"}]', "2_b.up.json": json.dumps([command]), "3_c.up.json": '[{"create": "y"}]'},
    )
    roles = ["dbOwner", {"role": "userAdmin", "db": name}]
    database.command("createUser", "me", pwd="mine-1", roles=roles)
    port = mongo_estate.servers["mongo"].port
    env = {"ORCH_DSN_MONGO_A": f"mongodb://me:mine-1@127.0.0.1:{port}/{name}?authSource={name}&directConnection=true"}
    try:
        told = mongo_estate.orch("apply", code=7, env=env).text
        assert "FAILED at migrations/mongo-a/schema/2_b.up.json" in told
        assert "changed the rights of this login" in told
        assert database.schema_migrations.find_one({}, {"_id": 0}) == {"version": 2, "dirty": True}
        mongo_estate.orch("repair", "mongo-a", "--statement-done", "--reason", "looked")
        mongo_estate.orch("apply")
        assert "y" in database.list_collection_names()
    finally:
        database.command("dropAllUsersFromDatabase")


def test_a_login_that_is_refused_in_the_middle_of_a_run(pg_estate: Estate) -> None:
    """The second database of a run whose first one has shut the login out."""
    me = f"{pg_estate.prefix}me"
    ends = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{me}' AND pid <> pg_backend_pid();"
    pg_estate.add("postgres", "a", {"1_a.up.sql": f"ALTER ROLE {me} NOLOGIN;\n{ends}\n"})
    pg_estate.add("postgres", "b", {"1_b.up.sql": "SELECT 1;"}, depends_on=["postgres-a"])
    port = pg_estate.servers["postgres"].port
    import psycopg

    with psycopg.connect(pg_estate.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {me} LOGIN SUPERUSER PASSWORD 'mine-1'")
        for name in ("a", "b"):
            connection.execute(f"CREATE DATABASE {pg_estate.prefix}{name} OWNER {me}")
        dsn = f"postgresql://{me}:mine-1@127.0.0.1:{port}/{pg_estate.prefix}"
        try:
            env = {f"ORCH_DSN_POSTGRES_{name.upper()}": dsn + name for name in ("a", "b")}
            told = pg_estate.orch("apply", code=7, env=env).text
            assert "postgres-a: done" in told
            assert "has a migration changed this login?" in told
        finally:
            pg_estate.drop()
            connection.execute(f"DROP ROLE {me}")
