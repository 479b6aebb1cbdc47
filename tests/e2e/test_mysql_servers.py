"""MariaDB with settings that other servers have: letters folded, other modes, read-only, small character sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from estate import Estate
from mysql_server import program, server_with, twins
from mysql_shop import Shop

from orchestrator.embedded import Server

MODES = "ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,STRICT_TRANS_TABLES,NO_ZERO_DATE,ONLY_FULL_GROUP_BY"
ONLY_MARIADB = ",EMPTY_STRING_IS_NULL,SIMULTANEOUS_ASSIGNMENT"
OPTIONS = ("--lower-case-table-names=1", "--character-set-server=latin1", "--log-bin=log")


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on which nearly everything is set otherwise."""
    mode = f"--sql-mode={MODES}{ONLY_MARIADB if program()[1] else ''}"
    with server_with(tmp_path_factory.mktemp("odd"), (*OPTIONS, mode)) as server:
        yield server


@pytest.fixture
def shop(tmp_path: Path, odd: Server) -> Iterator[Shop]:
    made = Shop(tmp_path, odd)
    yield made
    made.estate.mysql("", "SET GLOBAL read_only = 0, GLOBAL sql_safe_updates = 0, GLOBAL init_connect = ''")
    made.estate.drop()


FILES = {
    "000001_a.up.sql": (
        'CREATE TABLE "Orders" (id int PRIMARY KEY, note varchar(40));\n'
        "INSERT INTO \"Orders\" VALUES (1, 'a'), (2, 'ä' || '€');\n"
        'CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW BEGIN SET NEW.note = "note"; END;\n'
    ),
    "000001_a.down.sql": 'DROP TABLE "ORDERS";\n',
    "000002_b.up.sql": 'ALTER TABLE oRDERS RENAME TO "Orders2";\nCREATE VIEW V AS SELECT note FROM "Orders2";\n',
    "000002_b.down.sql": 'DROP VIEW v;\nRENAME TABLE orders2 TO "Orders";\n',
    "000003_c.up.sql": "UPDATE orders2 SET note = concat(note, '!') WHERE id = 1;\n",
    "000003_c.down.sql": "UPDATE orders2 SET note = 'a' WHERE id = 1;\n",
}


def test_everything_set_otherwise(shop: Shop) -> None:
    """Up, verified, cloned, and down, with sql_safe_updates on too.

    At first also where a session sees one row of each answer, and ends with its first COMMIT.
    """
    shop.estate.mysql("", "SET GLOBAL sql_safe_updates = 1, GLOBAL sql_select_limit = 1, GLOBAL completion_type = 2")
    shop.declare(FILES)
    shop.orch("apply")
    assert "Nothing to do" in shop.orch("apply").text
    shop.estate.mysql("", "SET GLOBAL sql_select_limit = DEFAULT, GLOBAL completion_type = DEFAULT")
    assert shop.sql("SELECT note FROM orders2 ORDER BY id") == [("a!",), ("ä€",)]
    shop.orch("verify")
    shop.orch("drift")
    wanted = f"{shop.estate.prefix}copy"
    shop.orch("clone", "shop", "--as", wanted)
    assert shop.estate.mysql("copy", "SELECT note FROM v ORDER BY note") == [("a!",), ("ä€",)]
    shop.orch("drop-clone", wanted)
    shop.orch("drop-clone", "--templates")
    assert [name for (name,) in shop.estate.mysql("", "SHOW DATABASES") if "orch" in name] == []
    shop.orch("rollback", "shop", "--to", "0", "--yes")
    assert shop.state()[0] == ()
    shop.orch("apply")


def test_settings_of_a_server_that_would_hide_records_or_end_sessions(shop: Shop) -> None:
    """One row for each SELECT, a COMMIT that ends the session, nothing that commits by itself, '' for NULL, short rows."""
    settings = ["sql_select_limit = 1", "completion_type = 2", "innodb_default_row_format = 'compact'"]
    settings.append("init_connect = 'SET autocommit = 0'")
    mode = f"{MODES},EMPTY_STRING_IS_NULL" if shop.is_maria() else MODES
    variable = "tx_isolation" if shop.is_maria() else "transaction_isolation"
    settings += [f"sql_mode = '{mode}'", f"{variable} = 'READ-UNCOMMITTED'"]
    user = shop.estate.prefix + "u"
    server = shop.estate.servers["mysql"]
    shop.estate.mysql("", f"CREATE USER '{user}'@'127.0.0.1' IDENTIFIED BY 'sesame-opens'")
    shop.estate.mysql(
        "", f"GRANT ALL ON `{shop.estate.prefix}shop`.* TO '{user}'@'127.0.0.1'"
    )  # not of SUPER: init_connect
    rows = "INSERT INTO a SELECT 1 UNION ALL SELECT 2;\n"
    undo = {"000002_b.down.sql": "DELETE FROM a WHERE x > 0;\n"}
    shop.declare(
        {"000001_a.up.sql": f"CREATE TABLE a (x int PRIMARY KEY);\n{rows}", "000002_b.up.sql": "DO 0;\n", **undo}
    )
    address = f"{server.host}:{server.port}"
    dsn = {"ORCH_DSN_MYSQL_SHOP": f"mysql://{user}:sesame-opens@tcp({address})/{shop.estate.prefix}shop"}
    try:
        for setting in settings:
            shop.estate.mysql("", f"SET GLOBAL {setting}")
        shop.estate.orch("apply", env=dsn)
        assert "Nothing to do" in shop.estate.orch("apply", env=dsn).text
        shop.estate.orch("rollback", "shop", "--to", "1", "--yes", env=dsn)
        assert shop.estate.status("mysql-shop")["version"] == 1
        shop.estate.mysql("", "SET GLOBAL init_connect = 'USE information_schema'")
        told = shop.estate.orch("plan", code=7, env=dsn).text
        assert "puts this session into the database 'information_schema'" in told
    finally:
        for name in ("sql_select_limit", "completion_type", "innodb_default_row_format", variable, "init_connect"):
            shop.estate.mysql("", f"SET GLOBAL {name} = DEFAULT")
        shop.estate.mysql("", f"SET GLOBAL sql_mode = '{MODES}'")
        shop.estate.mysql("", f"DROP USER '{user}'@'127.0.0.1'")


def test_two_entries_whose_names_differ_by_the_case_of_letters(shop: Shop) -> None:
    """They are one database here: nothing runs twice in it, and the second is told."""
    files = {"000001_a.up.sql": "CREATE TABLE log (x int);\n", "000002_b.up.sql": "INSERT INTO log VALUES (1);\n"}
    for name in ("Orders", "orders"):
        shop.estate.add("mysql", name, files)
    for folder in ("mysql-Orders", "mysql-orders"):
        shop.estate.write(folder, files)
    told = shop.orch("apply", code=None)
    assert told.code != 0, told.text
    assert shop.estate.mysql("orders", "SELECT * FROM log") == [(1,)]
    assert len(shop.estate.mysql("orders", "SELECT * FROM orch_history")) == 2


@pytest.mark.parametrize("table", ["Schema_Migrations", "select", "mein-ä"])
def test_a_version_table_whose_name_must_be_quoted_or_is_folded(shop: Shop, table: str) -> None:
    shop.declare({"000001_a.up.sql": "CREATE TABLE a (x int);\n", "000001_a.down.sql": "DROP TABLE a;\n"})
    server = shop.estate.server("mysql").split('"')[1].replace("{database}", "shop")
    shop.estate.manifest(f'  - {{name: shop, engine: mysql, dsn: "{server}?x-migrations-table={table}"}}\n')
    shop.orch("apply")
    assert shop.sql(f"SELECT version FROM `{table}`") == [(1,)]
    assert "Nothing to do" in shop.orch("apply").text
    shop.orch("rollback", "shop", "--steps", "1", "--yes")
    assert shop.sql(f"SELECT version FROM `{table}`") == []


def test_names_in_double_quotes_are_guarded_too(shop: Shop) -> None:
    shop.declare({"000001_a.up.sql": "CREATE TABLE a (x int);\n"})
    shop.orch("apply")
    for text in (
        'DROP TABLE "schema_migrations";',
        'TRUNCATE TABLE "Orch_History";',
        'DELETE FROM "schema_migrations";',
    ):
        shop.write({"000002_b.up.sql": f"CREATE TABLE b (x int);\n{text}\n"})
        assert "000002_b.up.sql:2:" in shop.orch("apply", code=1).text, text
        assert shop.sql("SHOW TABLES LIKE 'b'") == [], text
    shop.write({"000002_b.up.sql": "DELETE FROM a WHERE x IN (SELECT 1) OR 'schema_migrations' = 'x';\n"})
    shop.orch("apply")


def test_a_text_that_ends_elsewhere_without_backslashes_is_refused(shop: Shop) -> None:
    shop.declare({"000001_a.up.sql": "CREATE TABLE a (x varchar(9));\nINSERT INTO a VALUES ('it\\'s');\n"})
    told = shop.orch("apply", code=1).text
    assert "000001_a.up.sql:2:1" in told
    assert "NO_BACKSLASH_ESCAPES" in told
    assert [table for (table,) in shop.sql("SHOW TABLES") if table == "a"] == []


def test_a_statement_that_the_server_does_not_take_is_told_before_the_file_begins(shop: Shop) -> None:
    rows = ", ".join(f"('{'x' * 1000}')" for _ in range(1100))
    shop.declare({"000001_a.up.sql": f"CREATE TABLE a (x text);\nINSERT INTO a VALUES {rows};\n"})
    ((before,),) = shop.estate.mysql("", "SELECT @@GLOBAL.max_allowed_packet")
    shop.estate.mysql("", "SET GLOBAL max_allowed_packet = 1048576")
    told = shop.orch("apply", code=1).text
    assert "000001_a.up.sql:2:1" in told
    assert "max_allowed_packet is 1,048,576" in told
    assert shop.sql("SHOW TABLES LIKE 'a'") == []
    shop.estate.mysql("", f"SET GLOBAL max_allowed_packet = {before}")
    shop.orch("apply")
    assert shop.sql("SELECT count(*) FROM a") == [(1100,)]


def test_a_read_only_server_is_told_before_any_file_is_tried(shop: Shop) -> None:
    """Also to a login that may write all the same: it may be a replica."""
    shop.declare({"000001_a.up.sql": "CREATE TABLE a (x int);\n"})
    shop.orch("apply")
    shop.write({"000002_b.up.sql": "CREATE TABLE b (x int);\n"})
    shop.estate.mysql("", "SET GLOBAL read_only = 1")
    for command in ("plan", "apply"):
        told = shop.orch(command, code=7).text
        assert "read_only is on" in told, told
        assert "the DSN of the primary" in told
    assert shop.orch("status", code=None).code in (0, 7)
    shop.estate.mysql("", "SET GLOBAL read_only = 0")
    shop.orch("apply")


def test_an_account_that_may_no_longer_work_is_told_as_that(shop: Shop) -> None:
    """Its password has expired, or it has used up its queries: the login itself succeeds. The next run continues."""
    server = shop.estate.servers["mysql"]
    user = f"'{shop.estate.prefix}u'@'127.0.0.1'"
    dsn = f"mysql://{shop.estate.prefix}u:sesame-opens@tcp({server.host}:{server.port})/{shop.estate.prefix}shop"
    shop.declare({"000001_a.up.sql": "CREATE TABLE a (x int);\nINSERT INTO a VALUES (1);\nCREATE TABLE b (x int);\n"})
    shop.create()
    try:
        shop.estate.mysql("", f"CREATE USER {user} IDENTIFIED BY 'sesame-opens' WITH MAX_QUERIES_PER_HOUR 23")
        shop.estate.mysql("", f"GRANT ALL ON `{shop.estate.prefix}shop`.* TO {user}")
        for expected in ("has reached one of its limits", ""):
            done = shop.estate.orch("apply", code=None, env={"ORCH_DSN_MYSQL_SHOP": dsn})
            assert (done.code, expected in done.text) == (7 if expected else 0, True), done.text
            shop.estate.mysql("", "FLUSH USER_RESOURCES")
            shop.estate.mysql("", f"ALTER USER {user} WITH MAX_QUERIES_PER_HOUR 0")
        assert shop.sql("SELECT x FROM a") == [(1,)]
        shop.write({"000002_b.up.sql": "INSERT INTO a VALUES (2);\n" * 60})
        shop.estate.mysql("", f"ALTER USER {user} WITH MAX_UPDATES_PER_HOUR 40")
        told = shop.estate.orch("apply", code=1, env={"ORCH_DSN_MYSQL_SHOP": dsn}).text
        assert "000002_b.up.sql:" in told
        assert "error 1226" in told
        assert "ALTER USER … WITH MAX_…" in told
        assert shop.sql("SELECT x FROM a") == [(1,)]
        shop.estate.mysql("", f"ALTER USER {user} PASSWORD EXPIRE")
        told = shop.estate.orch("status", code=7, env={"ORCH_DSN_MYSQL_SHOP": dsn}).text
        assert "its password has expired" in told
        assert "sesame" not in told
    finally:
        shop.estate.mysql("", f"DROP USER {user}")


def test_servers_that_have_one_name_port_and_data_directory_are_not_one_database(tmp_path: Path) -> None:
    """The first pods of two clusters are both called mysql-0. What differs is the second in which they started."""
    estate = Estate(tmp_path, {})
    with twins(tmp_path / "twins") as dsns:
        entries = "".join(f"  - {{name: {name}, engine: mysql, dsn: '${{{name}}}', migrations: m}}\n" for name in "AB")
        (tmp_path / "databases.yaml").write_text(f"version: 1\ndatabases:\n{entries}")
        (tmp_path / "m").mkdir()
        (tmp_path / "m" / "1_a.up.sql").write_text("CREATE TABLE a (x int);\n")
        estate.env |= {name: f"{dsn}shop" for name, dsn in zip("AB", dsns, strict=True)}
        estate.orch("apply")
        assert [estate.status(f"mysql-{name}")["version"] for name in "AB"] == [1, 1]
