"""Records that cannot be true are refused, and no file may empty or change them: nothing runs twice because of them."""

from __future__ import annotations

import json

import psycopg
import pytest
from bson import Int64
from house import House

ALL_TABLES = """DO $$ DECLARE t record; BEGIN
  FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
    EXECUTE format('{what}', t.tablename);
  END LOOP;
END $$;
"""
TRUNCATE_ALL = ALL_TABLES.format(what="TRUNCATE public.%I CASCADE")
FORCE_ALL = ALL_TABLES.format(
    what="ALTER TABLE public.%1$I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
)


def insert_row(house: House, version: int, dirty: bool = False) -> None:
    if house.engine == "postgres":
        house.estate.sql("db", f"INSERT INTO schema_migrations (version, dirty) VALUES ({version}, {dirty})")
    else:
        house.estate.mongo("db")["schema_migrations"].insert_one({"version": Int64(version), "dirty": dirty})


def row_count(house: House) -> int:
    if house.engine == "postgres":
        return int(house.estate.sql("db", "SELECT count(*) FROM schema_migrations")[0][0])
    return int(house.estate.mongo("db")["schema_migrations"].count_documents({}))


def empty_records(house: House) -> None:
    if house.engine == "postgres":
        house.estate.sql("db", "TRUNCATE schema_migrations, orch_history")
    else:
        for name in ("schema_migrations", "orch_history"):
            house.estate.mongo("db")[name].delete_many({})


# ---------------------------------------------------------------- several rows in the version table


@pytest.mark.parametrize("other", [2, 4])
def test_two_rows_in_the_version_table_are_a_conflict(house: House, other: int) -> None:
    house.orch("apply", "--only", house.id, "--to", "3")
    insert_row(house, other)
    before = house.schema_snapshot()
    for command in (["plan"], ["apply"], ["rollback", house.id, "--steps", "1", "--yes"]):
        told = house.orch(*command, code=5).output
        assert "version 3" in told, command
        assert f"version {other}" in told, command
        assert "--keep-version" in told, command
    assert house.status()["problems"][0]["kind"] == "several_rows"
    assert house.schema_snapshot() == before
    assert house.tables() == [1, 2, 3]


def test_the_row_that_is_kept_is_the_only_one(house: House) -> None:
    house.orch("apply", "--only", house.id, "--to", "3")
    insert_row(house, 2)
    ways = json.loads(house.orch("repair", house.id, "--output", "json").output)["ways"]
    assert [way["flag"] for way in ways] == ["--keep-version 2", "--keep-version 3"]
    house.orch("repair", house.id, "--keep-version", "9", code=2)
    assert row_count(house) == 2
    house.orch("repair", house.id, "--keep-version", "3")
    assert (row_count(house), house.version_row()) == (1, (3, False))
    assert not house.status()["problems"]
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]
    assert [r["version"] for r in house.attempts()] == [1, 2, 3, 4], "nothing ran twice"


def test_wait_says_at_once_that_there_are_two_rows(house: House) -> None:
    house.orch("apply")
    insert_row(house, 2)
    assert "2 rows" in house.orch("wait", "--timeout", "600", code=5).output


# ---------------------------------------------------------------- an emptied history


def test_an_emptied_history_is_not_a_new_database(house: House) -> None:
    house.orch("apply", "--only", house.id, "--to", "3")
    empty_records(house)
    for command in (["plan"], ["apply"]):
        told = house.orch(*command, code=5).output
        assert f"orch baseline {house.id}" in told, command
    assert house.status()["problems"][0]["kind"] == "emptied"
    house.orch("baseline", house.id, "--version", "3")
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]
    assert [(r["version"], r["origin"]) for r in house.attempts()] == [
        (1, "baseline"), (2, "baseline"), (3, "baseline"), (4, "applied")
    ]  # fmt: skip


def test_an_emptied_history_can_be_declared_to_begin_at_nothing(house: House) -> None:
    house.orch("apply")
    empty_records(house)
    if house.engine == "postgres":
        house.estate.sql("db", "DROP TABLE t1, t2, t3, t4; CREATE TABLE other (id int)")
    else:
        for n in range(1, 5):
            house.estate.mongo("db").drop_collection(f"t{n}")
        house.estate.mongo("db")["other"].insert_one({})
    house.orch("apply", code=5)
    house.orch("repair", house.id, "--mark-not-applied", "1")
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]
    assert house.version_row() == (4, False)


def test_golang_migrate_alone_is_no_emptied_history(house: House) -> None:
    house.golang.up()
    house.golang.down()
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]


# ---------------------------------------------------------------- files that change the records


@pytest.mark.parametrize(
    ("text", "table"),
    [
        (TRUNCATE_ALL, "orch_history"),
        ("DELETE FROM orch_history WHERE version = 1;", "orch_history"),
        ("UPDATE orch_history SET checksum = '' WHERE version = 2;", "orch_history"),
        ("DO $$ BEGIN DELETE FROM orch_history; EXCEPTION WHEN division_by_zero THEN NULL; END $$;", "orch_history"),
        ("UPDATE orch_history SET error = 'x', texts = '', started_at = now() WHERE version = 1;", "orch_history"),
        (
            "DO $$ BEGIN UPDATE orch_history SET name = 'x'; EXCEPTION WHEN division_by_zero THEN NULL; END $$;",
            "orch_history",
        ),
        ("INSERT INTO orch_history SELECT 9, 1, 'x', 'up', '';", "orch_history"),
        ("UPDATE schema_migrations SET version = 1;", "schema_migrations"),
        ("TRUNCATE schema_migrations;", "schema_migrations"),
        ("DROP TABLE orch_history;", "orch"),
    ],
)
@pytest.mark.parametrize("before", ["", "INSERT INTO t1 VALUES (99);\n"])
def test_a_file_that_changes_the_records_is_refused_whole(new_house: House, text: str, table: str, before: str) -> None:
    house = new_house
    house.estate.write(house.id, {"000002_b.up.sql": "CREATE TABLE t2 (id int);"})
    house.orch("apply")
    house.estate.write(house.id, {"000003_reset.up.sql": f"CREATE TABLE t3 (id int);\n{before}{text}\n"})
    told = house.orch("apply", code=1).output
    assert table in told
    assert "000003_reset.up.sql" in told
    assert house.tables() == [1, 2], "nothing of the file was kept"
    assert house.version_row() == (2, False)
    assert house.status()["version"] == 2
    rows = house.attempts()
    assert [(r["version"], r["done"]) for r in rows] == [(1, True), (2, True), (3, False)], "the failed try is recorded"
    assert rows[-1]["error"]
    assert house.estate.sql("db", "SELECT count(*) FROM t1 WHERE id = 99") == [(0,)]
    house.estate.write(house.id, {"000003_reset.up.sql": "CREATE TABLE t3 (id int);"})
    house.orch("apply")
    assert house.tables() == [1, 2, 3]


def test_a_file_run_by_statement_that_changes_the_records_is_refused_too(new_house: House) -> None:
    house = new_house
    house.orch("apply")
    text = "-- orch: no-transaction\nCREATE TABLE t2 (id int);\nTRUNCATE orch_history;\nCREATE TABLE t3 (id int);\n"
    house.estate.write(house.id, {"000002_reset.up.sql": text})
    told = house.orch("apply", code=1).output
    assert "000002_reset.up.sql:3" in told, "with its place"
    assert house.tables() == [1, 2]
    assert {r["version"] for r in house.attempts()} == {1, 2}


def test_a_file_that_only_reads_or_looks_alike_is_run(new_house: House) -> None:
    house = new_house
    house.orch("apply")
    text = "CREATE TABLE t2 AS SELECT version FROM orch_history; COMMENT ON TABLE orch_history IS 'seen';"
    house.estate.write(house.id, {"000002_b.up.sql": text})
    house.orch("apply")
    assert house.estate.sql("db", "SELECT version FROM t2") == [(1,)]


# ---------------------------------------------------------------- rows that are hidden


def login(house: House, name: str, *grants: str) -> dict[str, str]:
    """Make a login that may read the records, and return the environment in which orch uses it."""
    role = house.estate.prefix + name
    house.estate.sql("db", f"CREATE ROLE \"{role}\" LOGIN PASSWORD 'x'")
    house.estate.sql("db", f'GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{role}"')
    for grant in grants:
        house.estate.sql("db", grant.format(role=f'"{role}"'))
    server = house.estate.servers["postgres"]
    dsn = f"postgres://{role}:x@127.0.0.1:{server.port}/{house.estate.prefix}db"
    return {"ORCH_DSN_POSTGRES_DB": dsn}


@pytest.mark.parametrize("grant", ["", "GRANT pg_read_all_data TO {role}"])
def test_rows_hidden_by_row_level_security_are_not_no_rows(pg_house: House, grant: str) -> None:
    house = pg_house
    house.orch("apply")
    env = login(house, "reader", *([grant] if grant else []))
    try:
        assert house.estate.orch("status", env=env).code == 0
        house.estate.sql("db", "ALTER TABLE orch_history ENABLE ROW LEVEL SECURITY")
        for command in (["status"], ["plan"], ["wait", "--timeout", "600"]):
            told = house.estate.orch(*command, env=env, code=5).text
            assert "row level security hides rows of public.orch_history" in told, command
            assert "BYPASSRLS" in told, command
        house.orch("status")  # its owner sees them
    finally:
        drop_role(house, "reader")


def drop_role(house: House, name: str) -> None:
    role = house.estate.prefix + name
    house.estate.sql("db", f'DROP OWNED BY "{role}"')
    with psycopg.connect(house.estate.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
        connection.execute(f'DROP ROLE "{role}"')


def test_a_file_that_hides_the_records_from_orch_is_refused(new_house: House) -> None:
    house = new_house
    for name in list(house.files):
        (house.directory / name).unlink(missing_ok=True)
    env = login(house, "owner", "GRANT CREATE, USAGE ON SCHEMA public TO {role}")
    try:
        house.estate.write(house.id, {"000001_t1.up.sql": "CREATE TABLE t1 (id int);"})
        house.estate.orch("apply", env=env)
        house.estate.write(house.id, {"000002_rls.up.sql": FORCE_ALL})
        told = house.estate.orch("apply", env=env, code=1).text
        assert "row level security" in told
        assert "000002_rls.up.sql" in told
        assert house.status()["version"] == 1
        house.estate.sql("db", FORCE_ALL)  # by hand
        for command in (["status"], ["apply"], ["repair", house.id]):
            assert "hides rows" in house.estate.orch(*command, env=env, code=5).text, command
    finally:
        drop_role(house, "owner")


@pytest.mark.parametrize("table", ["orch_history", "schema_migrations"])
def test_a_view_in_the_tables_place_is_refused(pg_house: House, table: str) -> None:
    house = pg_house
    house.orch("apply")
    house.estate.sql(
        "db", f"ALTER TABLE {table} RENAME TO moved; CREATE VIEW {table} AS SELECT * FROM moved WHERE false"
    )
    for command in (["status"], ["apply"], ["wait", "--timeout", "600"]):
        assert "is a view" in house.orch(*command, code=5).output, command


# ---------------------------------------------------------------- tables of others, and odd values


@pytest.mark.parametrize("row", ["", "INSERT INTO orch_history VALUES (1, 'choir')"])
def test_another_tools_history_is_explained(pg_house: House, row: str) -> None:
    house = pg_house
    house.estate.sql("db", f"CREATE TABLE orch_history (id int, note text); {row}")
    for command in (["status"], ["plan"], ["apply"], ["repair", house.id]):
        told = house.orch(*command, code=5).output
        assert "another tool" in told, command
        assert "id, note" in told, command
    assert house.tables() == []


def test_times_and_durations_that_python_does_not_have(pg_house: House) -> None:
    house = pg_house
    house.orch("apply")
    house.estate.sql(
        "db",
        "UPDATE orch_history SET started_at = 'infinity', finished_at = '-infinity', seconds = 'NaN' WHERE version = 1; "
        "UPDATE orch_history SET started_at = '20000-01-01', finished_at = '0044-03-15 BC', seconds = 'Infinity' "
        "WHERE version = 2",
    )
    house.orch("status")
    assert [r["version"] for r in house.attempts()] == [1, 2, 3, 4]
    house.orch("history", house.id)
    assert "Nothing to do" in house.orch("apply").output


# ---------------------------------------------------------------- the version table before the first file


@pytest.mark.parametrize(
    "text",
    [
        "COMMENT ON TABLE schema_migrations IS 'made by golang-migrate';",
        "CREATE TABLE IF NOT EXISTS schema_migrations (version varchar(255) PRIMARY KEY);",
        "ALTER TABLE schema_migrations ADD COLUMN applied_at timestamptz DEFAULT now();",
        "CREATE TABLE seen (v bigint); CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO seen VALUES (NEW.version); RETURN NEW; END $$;\n"
        "CREATE TRIGGER tr AFTER INSERT ON public.schema_migrations FOR EACH ROW EXECUTE FUNCTION tf();",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO pg_monitor;",
        "INSERT INTO schema_migrations (version, dirty) VALUES (77, false) ON CONFLICT DO NOTHING;",
    ],
)
@pytest.mark.parametrize("alone", ["", "-- orch: no-transaction\n"])
def test_the_version_table_is_there_before_the_first_file(new_house: House, text: str, alone: str) -> None:
    """As golang-migrate has it: the same file, run by both, leaves the same table."""
    if alone and text.startswith("INSERT"):
        pytest.skip("the table and the row of the intent were there before that statement: it changes them")
    house = new_house
    name = "000001_t1.up.sql"
    (house.directory / name).write_text(f"{alone}CREATE TABLE t1 (id int);\n{text}\n")

    def table() -> list[tuple[object, ...]]:
        return house.estate.sql(
            "db",
            "SELECT relacl::text, obj_description(c.oid), ARRAY(SELECT attname::text FROM pg_attribute "
            "WHERE attrelid = c.oid AND attnum > 0 ORDER BY attnum), ARRAY(SELECT tgname::text FROM pg_trigger "
            "WHERE tgrelid = c.oid), (SELECT array_agg((version, dirty)::text) FROM schema_migrations) "
            "FROM pg_class c WHERE relname = 'schema_migrations'",
        )

    house.orch("apply")
    ours = table()
    house.estate.sql("db", "DROP SCHEMA public CASCADE; CREATE SCHEMA public; ")
    house.golang.up()
    assert ours == table()


def test_a_first_file_that_gives_the_version_table_another_shape_is_told(new_house: House) -> None:
    house = new_house
    text = "CREATE TABLE t1 (id int);\nDROP TABLE schema_migrations;\nCREATE TABLE schema_migrations (version text);\n"
    (house.directory / "000001_t1.up.sql").write_text(text)
    told = house.orch("apply", code=1).output
    assert "other columns" in told
    assert "000001_t1.up.sql" in told
    assert house.tables() == []
    assert [(r["version"], r["done"]) for r in house.attempts()] == [(1, False)]


def test_a_right_to_the_records_that_a_file_takes_away_names_the_file(new_house: House) -> None:
    house = new_house
    (house.directory / "000001_t1.up.sql").unlink()
    env = login(house, "owner", "GRANT CREATE, USAGE ON SCHEMA public TO {role}")
    try:
        house.estate.write(house.id, {"000001_a.up.sql": "CREATE TABLE t1 (id int);"})
        house.estate.orch("apply", env=env)
        text = "CREATE TABLE t2 (id int);\nREVOKE ALL ON orch_history FROM CURRENT_USER;\n"
        house.estate.write(house.id, {"000002_b.up.sql": text})
        told = house.estate.orch("apply", env=env, code=7).text
        assert "000002_b.up.sql" in told
        assert house.tables() == [1]
        assert [(r["version"], r["done"]) for r in house.attempts()] == [(1, True), (2, False)]
    finally:
        drop_role(house, "owner")


# ---------------------------------------------------------------- a file with another number


def rename(house: House, old: int, new: int) -> None:
    for way in ("up", "down"):
        (source,) = house.directory.glob(f"{old:06d}_*.{way}.*")
        source.rename(source.with_name(source.name.replace(f"{old:06d}", f"{new:06d}")))


def test_a_renumbered_file_is_not_run_again(house: House) -> None:
    house.orch("apply")
    rename(house, 4, 5)
    for command in (["plan"], ["apply"], ["wait", "--timeout", "600"]):
        told = house.orch(*command, code=5).output
        assert f"orch repair {house.id} --renumber 4=5" in told, command
    assert house.status()["problems"][0]["kind"] == "renumbered"
    house.orch("repair", house.id, "--renumber", "4=5", "--reason", "rebased")
    assert house.status()["applied"] == [1, 2, 3, 5]
    assert house.version_row() == (5, False)
    assert "Nothing to do" in house.orch("apply").output
    assert [r["reason"] for r in house.attempts() if r["version"] == 5] == ["rebased"]
    house.orch("rollback", house.id, "--steps", "1", "--yes")
    assert house.tables() == [1, 2, 3]


def test_a_file_whose_number_another_one_has_now_is_not_run_again(house: House) -> None:
    """Applied as 4; a rebase put a file of the other branch in its place, and made it 5."""
    house.orch("apply")
    rename(house, 4, 5)
    new = house.files["000001_t1.up." + ("sql" if house.engine == "postgres" else "json")].replace("t1", "t9")
    suffix = "sql" if house.engine == "postgres" else "json"
    (house.directory / f"000004_other.up.{suffix}").write_text(new)
    told = house.orch("apply", code=5).output
    assert "--renumber 4=5" in told
    assert "--accept" not in told, "to accept the new file of 4 would run the old one again"
    house.orch("rollback", house.id, "--steps", "1", "--yes", code=5)
    house.orch("repair", house.id, "--renumber", "4=5")
    assert "pending below" in house.orch("apply", code=5).output
    house.estate.manifest(f"  - {{name: db, server: {house.engine}, out_of_order: apply}}\n")
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4, 9]


def test_two_renumbered_files_are_recorded_one_after_the_other(house: House) -> None:
    house.orch("apply")
    rename(house, 4, 5)
    rename(house, 3, 4)
    house.orch("apply", code=5)
    house.orch("repair", house.id, "--renumber", "4=5")
    house.orch("repair", house.id, "--renumber", "3=4")
    assert house.status()["applied"] == [1, 2, 4, 5]
    assert "Nothing to do" in house.orch("apply").output


KEEPS_BACK = (
    "CREATE FUNCTION keeps() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;\nCREATE TRIGGER k "
)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("schema_migrations", f"{KEEPS_BACK}BEFORE INSERT ON schema_migrations FOR EACH ROW EXECUTE FUNCTION keeps();"),
        ("schema_migrations", f"{KEEPS_BACK}BEFORE DELETE ON schema_migrations FOR EACH ROW EXECUTE FUNCTION keeps();"),
        ("orch_history", f"{KEEPS_BACK}BEFORE INSERT OR UPDATE ON orch_history FOR EACH ROW EXECUTE FUNCTION keeps();"),
        ("schema_migrations", "CREATE RULE k AS ON INSERT TO schema_migrations DO INSTEAD NOTHING;"),
        (
            "schema_migrations",
            "CREATE FUNCTION lies() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.version = 77; RETURN NEW; END $$;\n"
            "CREATE TRIGGER k BEFORE INSERT ON schema_migrations FOR EACH ROW EXECUTE FUNCTION lies();",
        ),
    ],
)
def test_a_trigger_that_keeps_our_records_back_lets_nothing_commit(pg_house: House, table: str, text: str) -> None:
    """Else the file would be in the database and nothing would say so: the next run would run it again."""
    house = pg_house
    house.orch("apply", "--to", "1", "--only", house.id)
    (house.directory / "000002_t2.up.sql").write_text(f"CREATE TABLE t2 (id int);\n{text}\n")
    told = house.orch("apply", code=1).output
    assert f"{table} does not hold what orch has just written into it" in told
    assert "000002_t2.up.sql" in told
    assert house.tables() == [1]
    assert house.version_row() == (1, False)
    (house.directory / "000002_t2.up.sql").write_text("CREATE TABLE t2 (id int);\n")
    house.orch("apply")
    assert house.tables() == [1, 2, 3, 4]
