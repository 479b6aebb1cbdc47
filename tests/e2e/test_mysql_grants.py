"""The rights on MySQL and MariaDB that docs/operations.md lists: with these each command works, with fewer it says what lacks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from mysql_shop import Shop

DOCS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text().partition("### MySQL and MariaDB")[2]
PASSWORD = "plain-password"
FILES = {
    "1_a.up.sql": "CREATE TABLE a (id int);\nCREATE VIEW v AS SELECT id FROM a;\nCREATE FUNCTION f() RETURNS int RETURN 1;\n",
    "1_a.down.sql": "DROP FUNCTION f;\nDROP VIEW v;\nDROP TABLE a;\n",
    "2_b.up.sql": "INSERT INTO a VALUES (2);\n",
    "2_b.down.sql": "DELETE FROM a WHERE id = 2;\n",
}


class Login:
    """A login of its own, with the rights of one block of the docs."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.name = shop, f"{shop.estate.prefix}orch"
        server = shop.estate.servers["mysql"]
        shop.estate.mysql("", f"CREATE USER '{self.name}'@'%' IDENTIFIED BY '{PASSWORD}'")
        dsn = f"mysql://{self.name}:{PASSWORD}@tcp({server.host}:{server.port})/{shop.estate.prefix}shop"
        shop.estate.env["ORCH_DSN_MYSQL_SHOP"] = dsn

    def grant(self, begin: str) -> None:
        """Give the login what the block says whose comment begins so, and nothing else."""
        self.shop.estate.mysql("", f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM '{self.name}'@'%'")
        found = re.search(rf"```sql\n-- {re.escape(begin)}[^\n]*\n(.*?)```", DOCS, re.DOTALL)
        assert found, begin
        for text in found[1].splitlines():
            self.execute(text.replace("TO orch;", f"TO '{self.name}'@'%';"))

    def execute(self, statement: str) -> None:
        self.shop.estate.mysql("", statement.replace("`order`", f"`{self.shop.estate.prefix}shop`"))

    def orch(self, *command: str, code: int = 0) -> str:
        return self.shop.orch(*command, code=code).text


@pytest.fixture
def login(tmp_path: Path) -> Iterator[Login]:
    shop = Shop(tmp_path)
    shop.declare(FILES)
    one = Login(shop)
    yield one
    shop.estate.mysql("", f"DROP USER '{one.name}'@'%'")
    shop.estate.drop()


def root(login: Login, *command: str) -> None:
    """Run a command as the owner of everything."""
    dsn = login.shop.estate.env.pop("ORCH_DSN_MYSQL_SHOP")
    login.orch(*command)
    login.shop.estate.env["ORCH_DSN_MYSQL_SHOP"] = dsn


def test_from_the_first_time_to_the_way_back(login: Login) -> None:
    login.grant("apply and baseline")
    login.shop.write({"1_a.up.sql": "CREATE TABLE a (id int);\n", "1_a.down.sql": "SELECT 1;\n"})
    login.orch("apply")  # it creates the database too
    login.grant("apply, rollback")
    login.orch("rollback", "shop", "--steps", "1", "--yes")
    login.orch("apply")
    login.grant("status,")
    for command in (
        "status",
        "plan",
        "history shop",
        "wait --timeout 5",
        "repair shop",
        "unlock shop",
        "stats",
        "orphans",
    ):
        login.orch(*command.split())
    assert "denied" in login.orch("rollback", "shop", "--steps", "1", "--yes", code=7)


def test_orphans_are_found_among_what_the_login_may_read(login: Login) -> None:
    root(login, "apply")
    estate = login.shop.estate
    closed = f"{estate.prefix}closed"
    estate.mysql("", f"CREATE DATABASE `{closed}`")
    login.grant("status,")
    login.execute(f"GRANT EXECUTE ON `{closed}`.* TO '{login.name}'@'%'")
    estate.manifest("  - {name: other, server: mysql}\n")
    estate.write("mysql-other", {"1_a.up.sql": "SELECT 1;"})
    server = estate.servers["mysql"]
    estate.env["ORCH_DSN_MYSQL_OTHER"] = estate.env["ORCH_DSN_MYSQL_SHOP"].replace("_shop", "_other")
    for name in (login.name, server.user):
        found = login.orch("orphans")
        assert re.search(rf"^{estate.prefix}shop +mysql .* 2$", found, re.MULTILINE), (name, found)
        assert "information_schema" not in found
        del estate.env["ORCH_DSN_MYSQL_SHOP"]
        estate.env["ORCH_DSN_MYSQL_OTHER"] = server.dsn(f"{estate.prefix}other")
        estate.env["ORCH_DSN_MYSQL_SHOP"] = server.dsn(f"{estate.prefix}shop")


def test_copies(login: Login) -> None:
    login.grant("verify, clone")
    login.orch("apply")
    login.orch("verify", "shop")
    login.orch("clone", "shop", "--as", "orch_copy_" + login.shop.estate.prefix)
    login.orch("clones")
    login.orch("drop-clone", "orch_copy_" + login.shop.estate.prefix)


def test_a_login_that_sees_a_part_of_the_schema_finds_no_drift_and_keeps_nothing(login: Login) -> None:
    root(login, "apply")
    root(login, "drift", "shop", "--accept")
    login.grant("status,")
    assert "does not see all of it" in login.orch("drift", "shop", "--accept", code=7)
    told = login.orch("drift", "--kept", code=7)
    assert "does not see all of it" in told
    offered = re.search(r"GRANT [A-Z, ]+ ON [^;]+;", told)
    assert offered, told
    assert "which drift needs" in login.orch("doctor", code=1)
    login.execute(offered[0])
    told = login.orch("drift", "--kept", code=7)
    assert "function f" in told  # another login has made it
    more = re.search(r"GRANT [A-Z_]+ ON [^;]+;", told)
    assert more, told
    login.execute(more[0])
    assert "no drift" in login.orch("drift", "--kept")
    login.grant("drift,")
    login.execute(more[0])
    assert "no drift" in login.orch("drift", "--kept")


def test_a_grant_whose_pattern_is_escaped_is_read_as_the_server_reads_it(login: Login) -> None:
    """The `_` of a name is a wildcard in a GRANT unless it is escaped. Of two patterns the one without wildcards counts alone."""
    login.shop.write({"1_a.up.sql": "CREATE TABLE a (id int);\nCREATE VIEW v AS SELECT id FROM a;\n"})
    plain = f"{login.shop.estate.prefix}shop_of_all"
    escaped, wild = plain.replace("_", r"\_"), f"{login.shop.estate.prefix[:-1]}%"
    login.shop.estate.env["ORCH_DSN_MYSQL_SHOP"] += "_of_all"
    every, few = "SELECT, SHOW VIEW, TRIGGER, EVENT, EXECUTE", "SELECT"
    login.execute(f"GRANT ALL ON `{escaped}`.* TO '{login.name}'@'%'")
    login.orch("apply")
    login.orch("drift", "shop", "--accept")
    for grants in (
        [(escaped, every)],
        [(wild, few), (escaped, every)],
        [(escaped, few), (plain, every)],
        [(escaped, few), (wild, every)],
    ):
        login.execute(f"REVOKE ALL PRIVILEGES, GRANT OPTION FROM '{login.name}'@'%'")
        for pattern, rights in grants:
            login.execute(f"GRANT {rights} ON `{pattern}`.* TO '{login.name}'@'%'")
        is_enough = (escaped, every) in grants
        told = login.orch("drift", "--kept", code=0 if is_enough else 7)
        if not is_enough:
            offered = re.search(r"GRANT [A-Z, ]+ ON `([^`]+)`[^;]+;", told)
            assert offered, told
            assert offered[1] == escaped
            login.execute(offered[0])
            told = login.orch("drift", "--kept")
        assert "no drift" in told


def test_a_right_that_drift_lacks_stops_apply_only_where_drift_is_refused(login: Login) -> None:
    root(login, "apply")
    root(login, "drift", "shop", "--accept")
    login.shop.write({"9_z.up.sql": "SELECT 1;\n"})
    login.grant("apply, rollback")
    manifest = login.shop.estate.root / "databases.yaml"
    before = manifest.read_text()
    manifest.write_text(f"{before}defaults: {{drift: refuse}}\n")
    assert "does not see all of it" in login.orch("apply", code=7)
    manifest.write_text(f"{before}defaults: {{drift: warn}}\n")
    told = login.orch("apply")
    assert "drift is unknown: the schema of" in told and "1 database done" in told
