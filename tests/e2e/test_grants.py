"""The rights that docs/operations.md lists: with these each command works, without one of them it says how to grant it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from estate import Estate

DOCS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
PASSWORD = "plain-password"
FILES: dict[str, str | bytes] = {"1_t.up.sql": "SELECT 1;", "1_t.down.sql": "SELECT 1;"}


def documented(begin: str, language: str = "sql") -> list[str]:
    """Return the statements of the block whose comment begins so."""
    found = re.search(rf"```{language}\n-- {re.escape(begin)}[^\n]*\n(.*?)```", DOCS, re.DOTALL)
    assert found, begin
    return found[1].splitlines()


def each(statements: Sequence[str]) -> list[str]:
    """Return one GRANT for each right."""
    found = []
    for statement in statements:
        match = re.fullmatch(r"GRANT ([A-Z, ]+) ON (.+) TO orch;", statement)
        found += [f"GRANT {right} ON {match[2]} TO orch;" for right in match[1].split(", ")] if match else [statement]
    return found


LOOK, WRITE, FIRST = (each(documented(begin)) for begin in ("status,", "apply, rollback", "apply and baseline"))
CREATE = documented("apply that creates")


class Login:
    """A login of its own, and the databases of an estate on which PUBLIC has no rights."""

    def __init__(self, estate: Estate, name: str = "orch") -> None:
        self.estate, self.name = estate, f"{estate.prefix}{name}"
        server = estate.servers["postgres"]
        self.dsn = server.dsn(estate.prefix + "a").replace(
            f"{server.user}:{server.password}", f"{self.name}:{PASSWORD}"
        )
        self.env = {"ORCH_DSN_POSTGRES_A": self.dsn}
        self.admin(f"CREATE ROLE {self.name} LOGIN PASSWORD '{PASSWORD}'")

    def admin(self, *statements: str, database: str | None = None) -> None:
        dsn = self.estate.servers["postgres"].dsn(database or "postgres")
        with psycopg.connect(dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def grant(self, statements: Sequence[str]) -> None:
        """Execute statements of the docs for this login, as a superuser."""
        database = f"{self.estate.prefix}a"
        texts = (re.sub(r"\borch\b", self.name, text).replace('"order"', f'"{database}"') for text in statements)
        self.admin(*texts, database=database)

    def close(self) -> None:
        self.estate.drop()
        self.admin(f"DROP OWNED BY {self.name}", f"DROP ROLE {self.name}")

    def needs(self, grants: Sequence[str], lacking: int | None, *command: str) -> None:
        """Run the command with these rights: it works; without one it fails, and works once what it says is granted."""
        self.grant([text for number, text in enumerate(grants) if number != lacking])
        if lacking is None:
            self.estate.orch(*command, env=self.env)
            return
        result = self.estate.orch(*command, code=None, env=self.env)
        assert result.code == 7, (grants[lacking], result.text)
        offered = re.search(r"GRANT [A-Z, ]+ ON [^;]+;", result.text)
        assert offered, (grants[lacking], result.text)
        self.admin(offered[0], database=f"{self.estate.prefix}a")
        self.estate.orch(*command, env=self.env)


@pytest.fixture
def login(pg_estate: Estate) -> Iterator[Login]:
    """A login without rights, and a database that is at version 1."""
    pg_estate.add("postgres", "a", FILES)
    pg_estate.orch("apply")
    one = Login(pg_estate)
    database = f"{pg_estate.prefix}a"
    one.admin(f'REVOKE ALL ON DATABASE "{database}" FROM PUBLIC', "SELECT 1")
    one.admin("REVOKE ALL ON SCHEMA public FROM PUBLIC", database=database)
    yield one
    one.close()


@pytest.mark.parametrize("lacking", [None, *range(len(LOOK))])
@pytest.mark.parametrize("command", ["status", "plan", "history a", "wait --timeout 5"])
def test_looking(login: Login, command: str, lacking: int | None) -> None:
    login.needs(LOOK, lacking, *command.split())


@pytest.mark.parametrize("command", ["repair a", "unlock a", "stats"])
def test_looking_for_what_is_wrong(login: Login, command: str) -> None:
    login.grant(LOOK)
    login.estate.orch(*command.split(), env=login.env)


def test_finding_orphans(login: Login) -> None:
    estate = login.estate
    estate.manifest("  - {name: b, server: postgres}\n")
    estate.write("postgres-b", {})
    login.env = {"ORCH_DSN_POSTGRES_B": login.dsn.replace(f"{estate.prefix}a", f"{estate.prefix}b")}
    for number in range(len(LOOK)):
        result = estate.orch("orphans", env=login.env)
        assert f"{estate.prefix}a" not in result.stdout, LOOK[:number]
        told = re.search(rf"/{estate.prefix}a could not be read: .*\n +.*(GRANT [A-Z, ]+ ON [^;]+;)", result.stderr)
        assert told and "postgres-b" not in told[0], (LOOK[:number], result.text)
        login.grant([LOOK[number]])
    assert re.search(rf"^{estate.prefix}a +postgres .* 1$", estate.orch("orphans", env=login.env).stdout, re.MULTILINE)


@pytest.mark.parametrize("lacking", [None, *range(len(WRITE))])
def test_migrating(login: Login, lacking: int | None) -> None:
    login.estate.write("postgres-a", {"2_t.up.sql": "SELECT 1;", "2_t.down.sql": "SELECT 1;"})
    login.needs(WRITE, lacking, "apply")
    assert login.estate.version_row("a") == [(2, False)]


def test_the_same_rights_are_enough_to_go_back_and_to_repair(login: Login) -> None:
    login.grant(WRITE)
    login.estate.orch("rollback", "a", "--steps", "1", "--yes", env=login.env)
    login.estate.orch("repair", "a", "--mark-applied", "1", "--reason", "by hand", env=login.env)
    assert login.estate.version_row("a") == [(1, False)]


@pytest.mark.parametrize("command", ["apply", "baseline a --version 1"])
@pytest.mark.parametrize("lacking", [None, *range(len(FIRST))])
def test_the_first_time(login: Login, command: str, lacking: int | None) -> None:
    login.estate.sql("a", "DROP TABLE schema_migrations, orch_history")
    login.needs(FIRST, lacking, *command.split())


@pytest.mark.parametrize("command", ["apply", "verify", "clone a --as PREFIXcopy"])
def test_creating_databases(pg_estate: Estate, command: str) -> None:
    pg_estate.add("postgres", "a", FILES)
    one = Login(pg_estate)
    command = command.replace("PREFIX", pg_estate.prefix)
    try:
        result = pg_estate.orch(*command.split(), code=None, env=one.env)
        assert result.code == 7 and f'ALTER ROLE "{one.name}" CREATEDB;' in result.stderr, result.text
        one.admin(*(text.replace("orch", one.name) for text in CREATE))
        pg_estate.orch(*command.split(), env=one.env)
        if command.startswith("clone"):
            pg_estate.orch("drop-clone", f"{pg_estate.prefix}copy", env=one.env)
            pg_estate.orch("drop-clone", "--templates", env=one.env)
    finally:
        one.close()


def test_several_logins_and_one_owner(login: Login) -> None:
    estate, other, owner = login.estate, Login(login.estate, "bob"), f"{login.estate.prefix}owner"
    try:
        estate.sql("a", "DROP TABLE schema_migrations, orch_history")
        estate.write("postgres-a", {"2_t.up.sql": "CREATE TABLE t ();", "2_t.down.sql": "DROP TABLE t;"})
        for text in documented("several logins"):
            text = text.replace("shop_owner", owner).replace("alice", login.name).replace("bob", other.name)
            login.grant([text])
        for one, command in ((login, "apply"), (other, "rollback a --steps 1 --yes"), (other, "apply")):
            dsn = f"{one.dsn}{'&' if '?' in one.dsn else '?'}options=-crole%3D{owner}"
            estate.orch(*command.split(), env={"ORCH_DSN_POSTGRES_A": dsn})
        assert estate.sql("a", "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'") == [(owner,)]
        roles = estate.sql("a", "SELECT role FROM orch_history ORDER BY version, attempt")
        assert roles == [(login.name,), (login.name,), (other.name,), (other.name,)]
    finally:
        estate.drop()
        login.admin(f"DROP ROLE {owner}", f"DROP ROLE {other.name}")


MONGO = dict(re.findall(r"\n// ([^\n]*)\ndb.*?grantRolesToUser\(\"orch\", (\[.*\])\)", DOCS))


@contextmanager
def mongo_login(estate: Estate, begin: str) -> Iterator[dict[str, str]]:
    """Make a user with the roles of the docs; yield the environment in which orch uses it."""
    roles = next(roles for words, roles in MONGO.items() if words.startswith(begin))
    pairs: list[Any] = [
        {"role": role, "db": f"{estate.prefix}m" if database == "order" else database}
        for role, database in re.findall(r'role: "(\w+)", db: "(\w+)"', roles)
    ]
    admin, name = estate.client().admin, f"{estate.prefix}orch"
    admin.command("createUser", name, pwd=PASSWORD, roles=pairs)
    server = estate.servers["mongo"]
    path = estate.root / "databases.yaml"
    before = path.read_text()
    try:
        path.write_text(before.replace(f"//{server.user}:", f"//{name}:"))
        yield {"MONGO_PASSWORD": PASSWORD}
    finally:
        path.write_text(before)
        admin.command("dropUser", name)


@pytest.fixture
def migrated(mongo_estate: Estate) -> Estate:
    files: dict[str, str | bytes] = {
        "1_c.up.json": '[{"create": "c"}, {"createIndexes": "c", "indexes": [{"key": {"a": 1}, "name": "a"}]}]',
        "1_c.down.json": '[{"drop": "c"}]',
    }
    mongo_estate.add("mongo", "m", files)
    mongo_estate.orch("apply")
    return mongo_estate


def test_looking_at_mongodb(migrated: Estate) -> None:
    with mongo_login(migrated, "status") as env:
        for command in ("status", "plan", "history m", "wait --timeout 5", "repair m"):
            migrated.orch(*command.split(), env=env)
        migrated.write("mongo-m", {"2_d.up.json": '[{"create": "d"}]'})
        assert "grantRolesToUser" in migrated.orch("apply", code=7, env=env).stderr


def test_finding_orphans_of_mongodb(migrated: Estate) -> None:
    with mongo_login(migrated, "orphans") as env:
        migrated.manifest("  - {name: other, server: mongo}\n")
        migrated.write("mongo-other", {})
        path = migrated.root / "databases.yaml"
        server = migrated.servers["mongo"]
        path.write_text(path.read_text().replace(f"//{server.user}:", f"//{migrated.prefix}orch:"))
        assert f"{migrated.prefix}m" in migrated.orch("orphans", env=env).stdout


def test_migrating_mongodb(migrated: Estate) -> None:
    with mongo_login(migrated, "apply") as env:
        migrated.write("mongo-m", {"2_d.up.json": '[{"insert": "c", "documents": [{"a": 1}]}]'})
        migrated.orch("apply", env=env)
        migrated.orch("rollback", "m", "--to", "0", "--yes", "--allow-missing-down", env=env)
        migrated.orch("baseline", "m", "--version", "1", env=env)
        migrated.orch("unlock", "m", env=env)
        assert "grantRolesToUser" in migrated.orch("verify", code=None, env=env).text


def test_copies_of_mongodb(migrated: Estate) -> None:
    with mongo_login(migrated, "verify") as env:
        migrated.orch("verify", env=env)
        migrated.orch("clone", "m", "--as", f"{migrated.prefix}copy", env=env)
        migrated.orch("drop-clone", f"{migrated.prefix}copy", env=env)


def test_the_docs_name_every_command(pg_estate: Estate) -> None:
    listed = re.findall(r"^  ([a-z][a-z-]+) +[A-Z]", pg_estate.orch("--help").stdout, re.MULTILINE)
    grants = DOCS.partition("## Grants")[2]
    missing = {name for name in listed if not re.search(rf"\b{name}\b", grants)}
    assert listed and not missing, missing


@pytest.mark.parametrize("lacking", [None, len(LOOK)])
def test_accepting_a_changed_schema(login: Login, lacking: int | None) -> None:
    login.needs([*LOOK, "GRANT CREATE ON SCHEMA public TO orch;"], lacking, "drift", "a", "--accept")
    login.estate.orch("drift", "a", "--kept", env=login.env)
    login.estate.sql("a", "CREATE TABLE extra ()")
    login.estate.orch("drift", "a", "--kept", code=3, env=login.env)
    login.admin(f"REVOKE CREATE ON SCHEMA public FROM {login.name}", database=f"{login.estate.prefix}a")
    login.estate.orch("drift", "a", "--accept", env=login.env)  # the table is there: only the first time creates it
    login.estate.orch("drift", "a", "--kept", env=login.env)
