"""`orch doctor` tells which rights a login lacks, what needs them and what grants them; poolers, and what a server is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from estate import Estate
from mysql_shop import Shop
from pooler import pgbouncer

PASSWORD = "plain-password"
FILES: dict[str, str | bytes] = {"1_t.up.sql": "CREATE TABLE t (n int);", "1_t.down.sql": "DROP TABLE t;"}


class Login:
    """A login without rights on a database that is at version 1."""

    def __init__(self, estate: Estate) -> None:
        self.estate, self.name = estate, f"{estate.prefix}orch"
        server = estate.servers["postgres"]
        self.admin_dsn = server.dsn(estate.prefix + "a")
        dsn = self.admin_dsn.replace(f"{server.user}:{server.password}", f"{self.name}:{PASSWORD}")
        self.env = {"ORCH_DSN_POSTGRES_A": dsn}
        self.admin(
            f"CREATE ROLE {self.name} LOGIN PASSWORD '{PASSWORD}'",
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
            f"GRANT SELECT ON schema_migrations, orch_history TO {self.name}",
        )

    def admin(self, *statements: str) -> None:
        with psycopg.connect(self.admin_dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def doctor(self, code: int = 0) -> dict[str, Any]:
        (server,) = self.estate.orch("doctor", "--output", "json", code=code, env=self.env).json["servers"]
        return dict(server)


@pytest.fixture
def login(pg_estate: Estate) -> Iterator[Login]:
    pg_estate.add("postgres", "a", FILES)
    pg_estate.orch("apply")
    one = Login(pg_estate)
    yield one
    pg_estate.drop()
    with psycopg.connect(pg_estate.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {one.name}; DROP ROLE {one.name}".encode())


def test_what_is_granted_as_doctor_says_is_told_no_more_and_then_the_commands_work(login: Login) -> None:
    found = login.doctor(code=1)
    assert len(found["problems"]) == 2
    for problem, table, rights in zip(
        found["problems"], ("schema_migrations", "orch_history"), ("INSERT, DELETE", "INSERT, UPDATE"), strict=True
    ):
        assert f"{login.name} may not {rights.replace(', ', ' and ')} in" in problem and "apply and rollback" in problem
        assert f'GRANT {rights} ON public."{table}" TO "{login.name}";' in problem
    notes = "\n".join(found["notes"])
    assert (
        "may not create tables in schema public; migrations that do and `orch drift --accept` need GRANT CREATE"
        in notes
    )
    assert f'verify, clone and new databases need: ALTER ROLE "{login.name}" CREATEDB;' in notes
    assert "GRANT pg_read_all_stats TO" in notes
    assert (
        f"tables belong to {login.estate.servers['postgres'].user}: a migration that alters them needs GRANT" in notes
    )
    assert found["role"] == "primary"

    before = login.estate.snapshot()
    shown = login.estate.orch("doctor", code=1, env=login.env).stdout
    assert re.search(r"postgres \d+ +primary +1 .* problems", shown)
    assert login.estate.snapshot() == before, "doctor changes nothing"

    for told in (*found["problems"], *found["notes"]):
        login.admin(re.search(r"(?:GRANT|ALTER ROLE) .*;", told)[0])  # type: ignore[index]
    found = login.doctor()
    assert (found["problems"], found["notes"]) == ([], [])
    for command in ("rollback a --to 0 --yes", "apply", "status", "verify", "drift a --accept"):
        login.estate.orch(*command.split(), env=login.env)


def test_the_first_apply_needs_to_create_tables(login: Login) -> None:
    login.admin("DROP TABLE schema_migrations, orch_history")
    (problem,) = login.doctor(code=1)["problems"]
    assert "may not create tables in schema public, which the first apply does: GRANT CREATE ON SCHEMA" in problem


def test_what_holds_for_some_databases_of_a_server_names_them(login: Login) -> None:
    login.estate.add("postgres", "b", FILES)
    login.estate.orch("apply")
    first, second = f"{login.estate.prefix}a", f"{login.estate.prefix}b"
    login.env["ORCH_DSN_POSTGRES_B"] = login.env["ORCH_DSN_POSTGRES_A"].replace(first, second)
    grants = (
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {login.name}",
        f"GRANT CREATE ON SCHEMA public TO {login.name}",
    )
    with psycopg.connect(login.admin_dsn.replace(first, second), autocommit=True) as other:
        for grant in grants:
            other.execute(grant.encode())
    found = login.doctor(code=1)
    assert all(problem.startswith("postgres-a: ") for problem in found["problems"])
    login.admin(f"REVOKE SELECT ON orch_history FROM {login.name}")
    found = login.doctor(code=1)
    assert any(problem.startswith("postgres-a: ") and "GRANT SELECT ON" in problem for problem in found["problems"])
    assert found["role"] == "primary", "the other database was reached"


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_a_pooler_is_seen(pg_estate: Estate, mode: str) -> None:
    pg_estate.add("postgres", "a", FILES)
    pg_estate.orch("apply")
    server = pg_estate.servers["postgres"]
    with pgbouncer(server, mode, 3) as port:
        manifest = pg_estate.root / "databases.yaml"
        manifest.write_text(manifest.read_text().replace(f":{server.port}/", f":{port}/"))
        (found,) = pg_estate.orch("doctor", "--output", "json", code=None).json["servers"]
    if mode == "transaction":
        (problem,) = found["problems"]
        assert "behind a pooler in transaction mode" in problem and "session mode" in problem
    else:
        assert found["problems"] == []
        assert "postgres-a: a pooler in session mode is in between" in found["notes"]


def test_mongodb_tells_its_place_in_the_set_and_what_a_login_lacks(mongo_estate: Estate) -> None:
    estate = mongo_estate
    estate.add("mongo", "m", {"1_t.up.json": '[{"create": "t"}]', "1_t.down.json": '[{"drop": "t"}]'})
    estate.orch("apply")
    (found,) = estate.orch("doctor", "--output", "json").json["servers"]
    assert found["role"].startswith("primary of ") and found["problems"] == []
    admin, name = estate.client().admin, f"{estate.prefix}orch"
    database = f"{estate.prefix}m"
    admin.command("createUser", name, pwd=PASSWORD, roles=[{"role": "read", "db": database}])
    try:
        manifest = estate.root / "databases.yaml"
        manifest.write_text(manifest.read_text().replace(f"//{estate.servers['mongo'].user}:", f"//{name}:"))
        env = {"MONGO_PASSWORD": PASSWORD}
        (found,) = estate.orch("doctor", "--output", "json", code=1, env=env).json["servers"]
        (problem,) = found["problems"]
        assert f"{name} may not insert, update, remove" in problem
        granted = [re.search(r'grantRolesToUser\("([^"]+)", (\[.*\])\)', told) for told in (problem, *found["notes"])]
        for one in filter(None, granted):
            roles = [{"role": role, "db": db} for role, db in re.findall(r'role: "(\w+)", db: "(\w+)"', one[2])]
            admin.command("grantRolesToUser", one[1], roles=roles)
        (found,) = estate.orch("doctor", "--output", "json", env=env).json["servers"]
        assert (found["problems"], found["notes"]) == ([], [])
        for command in ("rollback m --to 0 --yes", "apply", "verify"):
            estate.orch(*command.split(), env=env)
    finally:
        admin.command("dropUser", name)


def test_mariadb_tells_what_a_login_lacks(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.declare({"1_a.up.sql": "CREATE TABLE a (i int);\n", "1_a.down.sql": "DROP TABLE a;\n"})
    shop.orch("apply")
    server, database = shop.estate.servers["mysql"], f"{shop.estate.prefix}shop"
    account = f"'u{shop.estate.prefix}'@'127.0.0.1'"
    shop.estate.mysql("", f"CREATE USER {account} IDENTIFIED BY 'sesame-opens'")
    # Rights are given for a pattern, in which the _ of the name is escaped.
    escaped = database.replace("_", "\\_")
    shop.estate.mysql("", f"GRANT SELECT, INSERT ON `{escaped}`.* TO {account}")
    dsn = f"mysql://u{shop.estate.prefix}:sesame-opens@tcp({server.host}:{server.port})/{database}"
    env = {"ORCH_DSN_MYSQL_SHOP": dsn}
    try:
        (found,) = shop.estate.orch("doctor", "--output", "json", code=1, env=env).json["servers"]
        (problem,) = found["problems"]
        assert f"{account} may not UPDATE, DELETE, CREATE in {database}, which apply and rollback do" in problem
        assert found["role"] == "writable"
        for told in (problem, *found["notes"]):
            shop.estate.mysql("", re.search(r"GRANT .*;", told)[0].rstrip(";"))  # type: ignore[index]
        (found,) = shop.estate.orch("doctor", "--output", "json", env=env).json["servers"]
        assert (found["problems"], found["notes"]) == ([], [])
        shop.estate.orch("rollback", "shop", "--to", "0", "--yes", env=env)
        shop.estate.orch("apply", env=env)
    finally:
        shop.estate.drop()
        shop.estate.mysql("", f"DROP USER {account}")
