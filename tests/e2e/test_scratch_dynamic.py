"""Dynamic SQL in copies: what can be read before it runs is refused then, the rest before it commits."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from estate import Estate

# Each takes its words from a table of the database, so that no reader of files can know what it does.
HIDDEN = (
    "ALTER ROLE {role} CONNECTION LIMIT 7",
    "ALTER ROLE {role} SET work_mem = '7MB'",
    "ALTER DATABASE {other} SET work_mem = '7MB'",
    "ALTER ROLE {role} IN DATABASE {other} SET work_mem = '7MB'",
    "COMMENT ON DATABASE {other} IS 'changed'",
    "COMMENT ON ROLE {role} IS 'changed'",
    "REVOKE CONNECT ON DATABASE {other} FROM PUBLIC",
    "UPDATE pg_database SET datconnlimit = 3 WHERE datname = '{other}'",
    "REVOKE pg_monitor FROM {role}",
    "DROP ROLE {role}",
)
EXECUTES = "DO $$ DECLARE q text; BEGIN FOR q IN SELECT text FROM words LOOP EXECUTE q; END LOOP; END $$;\n"
FACTS = """SELECT rolconnlimit, rolconfig::text, shobj_description(r.oid, 'pg_authid'), datacl::text, datconnlimit,
    shobj_description(d.oid, 'pg_database'),
    (SELECT array_agg(setconfig::text) FROM pg_db_role_setting WHERE setdatabase = d.oid),
    pg_has_role(rolname, 'pg_monitor', 'MEMBER')
    FROM pg_roles r, pg_database d WHERE rolname = %s AND datname = %s"""


@pytest.fixture
def shop(pg_estate: Estate) -> Iterator[Estate]:
    """An estate with a database, another one beside it, and a role that both may use."""
    role = f"{pg_estate.prefix}role"
    pg_estate.add("postgres", "other", {"000001_a.up.sql": "SELECT 1;"})
    files = {"000001_a.up.sql": "CREATE TABLE words (text text);", "000001_a.down.sql": "DROP TABLE words;"}
    pg_estate.add("postgres", "shop", files)
    pg_estate.orch("apply")
    pg_estate.sql("shop", f"CREATE ROLE {role}; GRANT pg_monitor TO {role}")
    try:
        yield pg_estate
    finally:
        pg_estate.drop()
        with psycopg.connect(pg_estate.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP ROLE {role}".encode())


def hides(estate: Estate, statement: str) -> str:
    """Return a file that runs a statement which it has taken from a table, where it stands in pieces."""
    text = statement.format(role=f"{estate.prefix}role", other=f"{estate.prefix}other")
    turned = text[::-1].replace("'", "''")
    return f"INSERT INTO words SELECT reverse('{turned}');\n{EXECUTES}DELETE FROM words;\n"


def facts(estate: Estate) -> list[tuple[object, ...]]:
    return estate.sql("shop", FACTS, f"{estate.prefix}role", f"{estate.prefix}other")


@pytest.mark.parametrize("head", ["", "-- orch: no-transaction\n"])
def test_what_only_the_server_knows_is_undone_in_a_copy(shop: Estate, head: str) -> None:
    before = facts(shop)
    for statement in HIDDEN:
        text = head + hides(shop, statement)
        shop.write("postgres-shop", {"000002_b.up.sql": text})
        result = shop.orch("clone", "shop", "--as", f"{shop.prefix}copy", code=1)
        assert "no copy can run this: the migration changes what all databases of the server share" in result.stderr
        assert "000002_b.up.sql" in result.stderr
        assert "EXECUTE of a text that only the server knows may reach beyond the database" in result.stderr
        assert facts(shop) == before, statement


EVERY = (
    "ALTER DATABASE %I SET work_mem = '7MB'",
    "COMMENT ON DATABASE %I IS 'changed'",
    "REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC",
)


def test_a_copy_that_changes_itself_and_others_is_undone(shop: Estate) -> None:
    """A loop over all databases of the estate, the copy among them."""
    before = facts(shop)
    for statement in EVERY:
        quoted = statement.replace("'", "''")
        text = (
            "DO $$ DECLARE d name; BEGIN\n"
            f"  FOR d IN SELECT datname FROM pg_database WHERE datname IN ('{shop.prefix}other', current_database()) LOOP\n"
            f"    EXECUTE format('{quoted}', d);\n  END LOOP;\nEND $$;\n"
        )
        shop.write("postgres-shop", {"000002_b.up.sql": text})
        result = shop.orch("clone", "shop", "--as", f"{shop.prefix}copy", code=1)
        assert "no copy can run this: the migration changes what all databases of the server share" in result.stderr
        assert facts(shop) == before, statement


def test_what_a_copy_changes_of_itself_is_its_own(shop: Estate) -> None:
    own = (
        "DO $$ DECLARE q text; BEGIN FOR q IN SELECT format(text, current_database()) FROM words LOOP EXECUTE q; END LOOP; "
        "END $$;\n"
    )
    texts = ("ALTER DATABASE %I SET work_mem = ''7MB''", "COMMENT ON DATABASE %I IS ''mine''", "CREATE TABLE made ()")
    rows = "".join(f"INSERT INTO words VALUES ('{text}');\n" for text in texts)
    files = {
        "000002_b.up.sql": f"{rows}{own}DELETE FROM words;",
        "000002_b.down.sql": "DROP TABLE made;\n"
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET work_mem', current_database()); END $$;",
        "000003_c.up.sql": "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;\nCREATE TABLE c ();",
        "000003_c.down.sql": "DROP TABLE c;",
    }
    shop.write("postgres-shop", files)
    before = facts(shop)
    name = shop.orch("clone", "shop", "--as", f"{shop.prefix}copy").stdout.strip()
    told = (
        "SELECT setconfig::text FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase WHERE datname = %s"
    )
    assert shop.sql("shop", told, name) == [("{work_mem=7MB}",)]
    assert shop.sql("shop", told, f"{shop.prefix}shop") == []
    shop.orch("verify", "shop")
    assert facts(shop) == before
    shop.orch("apply")
    assert shop.sql("shop", told, f"{shop.prefix}shop") == [("{work_mem=7MB}",)]


def test_the_real_database_runs_it_as_it_stands(shop: Estate) -> None:
    shop.write("postgres-shop", {"000002_b.up.sql": hides(shop, "ALTER ROLE {role} CONNECTION LIMIT 7")})
    shop.orch("apply", "--only", "shop")
    assert facts(shop)[0][0] == 7


PUT_TOGETHER = {
    "DO $$ DECLARE k text := 'ROLE'; BEGIN EXECUTE 'ALTER ' || k || ' {role} CONNECTION LIMIT 7'; END $$;": "ALTER ROLE",
    "DO $$ BEGIN EXECUTE format('%s DATABASE %I SET work_mem = %L', 'ALTER', '{other}', '7MB'); END $$;": "ALTER DATABASE",
    "DO $$ DECLARE f text := 'dblink'; BEGIN EXECUTE 'SELECT ' || f || '_exec(''dbname={other}'', ''x'')'; END $$;": (
        "dblink_exec()"
    ),
    "DO $$ DECLARE n text; BEGIN SELECT text INTO n FROM words; EXECUTE n || 'pg_terminate_backend' || '(1)'; END $$;": (
        "EXECUTE of a text that only the server knows, beside the name pg_terminate_backend,"
    ),
    "SELECT query_to_xml('SELECT lo_export(1, ''/tmp/x'')', true, true, '');": "lo_export()",
    "CREATE FUNCTION run(q text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE q; END $$;\n"
    "SELECT run('DROP ROLE {role}');": "DROP ROLE",
}


def test_what_is_put_together_of_constants_is_refused_before_anything_runs(shop: Estate) -> None:
    before = facts(shop)
    for number, text in enumerate(PUT_TOGETHER, 2):
        named = text.replace("{role}", f"{shop.prefix}role").replace("{other}", f"{shop.prefix}other")
        shop.write("postgres-shop", {f"00000{number}_b.up.sql": named})
    refused = shop.orch("clone", "shop", code=4).stderr
    for number, what in enumerate(PUT_TOGETHER.values(), 2):
        assert any(
            f"00000{number}_b.up.sql:" in line and f"{what} reaches beyond the database" in line
            for line in refused.splitlines()
        ), (what, refused)
    assert facts(shop) == before


def test_with_dblink_no_copy_runs_what_only_the_server_knows(shop: Estate) -> None:
    hidden = hides(shop, "SELECT dblink_exec('dbname={other}', 'CREATE TABLE reached ()')")
    shop.write(
        "postgres-shop", {"000002_b.up.sql": hidden, "000003_c.up.sql": "CREATE EXTENSION IF NOT EXISTS dblink;"}
    )
    refused = shop.orch("clone", "shop", code=4).stderr
    assert "000002_b.up.sql:2:74: no copy of postgres-shop can run this: EXECUTE of a text" in refused, refused
    assert "with dblink it can reach any" in refused
    assert shop.sql("other", "SELECT to_regclass('reached')::text") == [(None,)]
