"""`database:` in the manifest: a database whose name on the server is not its name in the estate."""

from __future__ import annotations

import psycopg
from estate import Estate, Files
from pymongo import MongoClient

SQL: Files = {"1_t.up.sql": "CREATE TABLE t (id int);", "1_t.down.sql": "DROP TABLE t;"}


def test_each_stage_has_databases_of_its_own(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "orders", SQL, database="${STAGE}_orders v2")
    pg_estate.add("postgres", "users", SQL, database="people")
    for stage in ("dev", "staging"):
        pg_estate.orch("apply", env={"STAGE": stage})
    shown = pg_estate.orch("status", env={"STAGE": "dev"}).stdout
    assert f"{pg_estate.prefix}dev_orders v2" in shown
    with psycopg.connect(pg_estate.servers["postgres"].dsn("postgres")) as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [pg_estate.prefix])
        names = {name.removeprefix(pg_estate.prefix) for (name,) in rows}
    assert names == {"dev_orders v2", "staging_orders v2", "people"}
    unset = pg_estate.orch("apply", code=4).stderr
    assert "postgres-orders" in unset
    assert "STAGE" in unset
    empty = pg_estate.orch("apply", env={"STAGE": "x" * 60}, code=4).stderr
    assert "'database'" in empty


def test_bad_names_on_the_server_are_told_with_their_place(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", SQL, database="${A")
    pg_estate.add("postgres", "b", SQL, database="x_{database}")
    pg_estate.add("postgres", "c", SQL, database="same")
    pg_estate.add("postgres", "d", SQL, database="same")
    text = pg_estate.orch("validate", code=4).stderr
    assert text.count("databases.yaml:") >= 3
    assert "'database' cannot hold {database}" in text
    assert "have the same DSN" in text


def test_a_mongodb_database_with_another_name(mongo_estate: Estate) -> None:
    up = '[{"create": "c"}]'
    mongo_estate.add(
        "mongo", "logs", {"1_c.up.json": up, "1_c.down.json": '[{"drop": "c"}]'}, database="${STAGE:-dev}_logs"
    )
    mongo_estate.orch("apply")
    client: MongoClient[dict[str, object]] = MongoClient(mongo_estate.servers["mongo"].dsn("admin"))
    with client:
        assert "c" in client[f"{mongo_estate.prefix}dev_logs"].list_collection_names()


def test_init_sql_creates_what_it_can_name(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "orders", SQL, database="${STAGE}_orders")
    pg_estate.add("postgres", "users", SQL, database="people")
    pg_estate.orch("render", "init-sql", code=None)
    (text,) = [path.read_text() for path in pg_estate.root.glob("*.sql")]
    assert "CREATE DATABASE people" in text.replace('"', "")
    assert "orders" not in text  # a variable has no value in there: orch apply creates it
