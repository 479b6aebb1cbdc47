"""Checks around a migration: `require` before it runs and `ensure` after it, in its transaction, on real servers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from estate import Estate, start

ORDERS = "CREATE TABLE orders (id int, total int); INSERT INTO orders VALUES (1, NULL);"


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    estate = Estate(tmp_path_factory.mktemp("checks"), {"postgres": start("postgres-wheel"), "mongo": start("mongod")})
    yield estate
    estate.drop()


def test_a_require_that_is_not_met_stops_before_the_file_runs_and_one_that_is_met_lets_it(estate: Estate) -> None:
    up = (
        "-- orch: require SELECT count(*) = 0 FROM orders WHERE total IS NULL\n"
        "-- orch: ensure SELECT max(total) < 100 FROM orders;\n"
        "ALTER TABLE orders ALTER total SET NOT NULL;\nUPDATE orders SET total = total * 10;\n"
    )
    estate.add("postgres", "shop", {"000001_orders.up.sql": ORDERS, "000002_total.up.sql": up})
    refused = estate.orch("apply", "--only", "shop", code=1)
    path = "migrations/postgres-shop/schema/000002_total.up.sql"
    assert f"{path}:1:18: postgres-shop: the check is not met: its query returned false" in refused.text
    assert "-- orch: require SELECT count(*) = 0 FROM orders WHERE total IS NULL" in refused.text
    assert "nothing of this file is in the database" in refused.text
    assert estate.sql(
        "shop", "SELECT attnotnull FROM pg_attribute WHERE attname = 'total' AND attrelid = 'orders'::regclass"
    ) == [(False,)]
    asked = estate.orch("plan", "--only", "shop", "--check", code=1)
    assert f"check: postgres-shop: {path}:1:18: require not met: its query returned false" in asked.stderr
    document = estate.orch("plan", "--only", "shop", "--check", "--output", "json", code=1).json
    assert [(one["answer"], one["stops"]) for one in document["checks"]] == [("not met", True)]
    # The ensure fails: what the file did is undone with it.
    estate.sql("shop", "UPDATE orders SET total = 10")
    undone = estate.orch("apply", "--only", "shop", code=1)
    assert f"{path}:2:17: postgres-shop: the check is not met: its query returned false" in undone.text
    assert estate.sql("shop", "SELECT total FROM orders") == [(10,)]
    assert estate.version_row("shop") == [(1, False)]
    estate.sql("shop", "UPDATE orders SET total = 9")
    assert "require met" in estate.orch("plan", "--only", "shop", "--check").stderr
    estate.orch("apply", "--only", "shop")
    assert estate.sql("shop", "SELECT total FROM orders") == [(90,)]
    assert estate.version_row("shop") == [(2, False)]


BAD = [
    ("SELECT total FROM orders WHERE false", "its query returned no row"),
    ("SELECT true FROM (VALUES (1), (2)) v", "its query returned more than one row"),
    ("SELECT NULL::boolean", "its query returned NULL"),
    ("SELECT 'true'", 'its query returned the text "true"'),
    ("SELECT 1", 'its query returned the number "1"'),
    ("SELECT nextval('numbers') > 0", "cannot execute nextval() in a read-only transaction"),
    ("SELECT change()", "cannot execute INSERT in a read-only transaction"),
    ("SELECT id = 1 FROM orders FOR UPDATE", "cannot execute SELECT FOR UPDATE in a read-only transaction"),
    ("SELECT true FROM not_there", 'relation "not_there" does not exist'),
    ("SELECT pg_sleep(60) IS NOT NULL", "statement timeout"),
    ("SELECT", "its query returned a row without columns"),
]


@pytest.mark.parametrize("kind", ["require", "ensure", "require no-transaction", "ensure no-transaction"])
def test_every_answer_but_true_stops_the_file(estate: Estate, kind: str) -> None:
    name = "bad_" + kind.replace(" ", "_").replace("-", "_")
    ready = f"{ORDERS} CREATE SEQUENCE numbers; CREATE FUNCTION change() RETURNS boolean LANGUAGE sql AS "
    ready += "'INSERT INTO orders VALUES (7, 7) RETURNING true';"
    estate.add("postgres", name, {"000001_orders.up.sql": ready})
    estate.orch("apply", "--only", name)
    word, _, piecewise = kind.partition(" ")
    # With no-transaction the statement stays; the record waits for the check, and the next run asks again.
    for number, (query, what) in enumerate(BAD if not piecewise else BAD[:8:3]):
        head = f"-- orch: statement_timeout=300ms\n-- orch: {word} {query}\n" + (
            f"-- orch: {piecewise}\n" * bool(piecewise)
        )
        estate.write(f"postgres-{name}", {"000002_t.up.sql": f"{head}CREATE TABLE IF NOT EXISTS t (x int);\n"})
        result = estate.orch("apply", "--only", name, code=1)
        assert what in result.text, query
        assert "000002_t.up.sql:2:" in result.text, query
        made = {"orders", "t"} if kind == "ensure no-transaction" else {"orders"}
        assert estate.tables(name) == made, query
        assert estate.sql(name, "SELECT count(*) FROM orders") == [(1,)]
        assert estate.version_row(name) == [((2, True) if len(made) > 1 else (1, False))], (query, number)
    estate.write(
        f"postgres-{name}",
        {"000002_t.up.sql": f"-- orch: {word} SELECT true\n" + f"-- orch: {piecewise}\n" * bool(piecewise)
         + "CREATE TABLE IF NOT EXISTS t (x int);\n"},
    )  # fmt: skip
    estate.orch("apply", "--only", name)
    assert estate.version_row(name) == [(2, False)]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("require", "require needs a query"),
        ("ensure = SELECT true", "ensure needs a query"),
        ("require SELECT true; SELECT true", "require takes one query"),
        ("require DELETE FROM orders", "require takes a query, and this is none"),
        ("require SELECT 'x", "unterminated string"),
        ("require SELECT pg_advisory_unlock_all() IS NULL", "pg_advisory_unlock_all cannot be used in a migration"),
        ("require SELECT pg_terminate_backend(pid) FROM pg_stat_activity", "pg_terminate_backend() acts outside of"),
        ("ensure SELECT public.dblink_exec('dbname=shop', 'DROP TABLE t') = ''", "dblink_exec() acts outside of"),
        ("requires SELECT true", "did you mean require?"),
    ],
)
def test_a_directive_that_is_no_check_is_refused_with_its_place(tmp_path: Path, line: str, what: str) -> None:
    estate = Estate(tmp_path, {"postgres": start("postgres-wheel")})
    estate.add("postgres", "shop", {"000001_x.up.sql": f"-- first\n-- orch: {line}\nSELECT 1;\n"})
    result = estate.orch("validate", code=4)
    assert what in result.text
    assert "000001_x.up.sql:2:" in result.text
    estate.write("postgres-shop", {"000001_x.up.sql": "SELECT 1;\n-- orch: ensure SELECT true\n"})
    assert "move it to the top of the file" in estate.orch("validate", code=4).text


def test_a_check_about_what_an_earlier_file_makes_is_unknown_before_and_asked_in_its_turn(estate: Estate) -> None:
    later = "-- orch: require SELECT count(*) = 0 FROM parts\nALTER TABLE parts ADD n int NOT NULL;\n"
    estate.add("postgres", "turn", {"000001_a.up.sql": "CREATE TABLE a (x int);"})
    assert not estate.orch("plan", "--only", "turn", "--check").stderr.count("check:")
    estate.orch("apply", "--only", "turn")
    estate.write("postgres-turn", {"000002_parts.up.sql": "CREATE TABLE parts (id int);", "000003_n.up.sql": later})
    told = estate.orch("plan", "--only", "turn", "--check").stderr
    assert '000003_n.up.sql:1:18: require unknown: relation "parts" does not exist (files that run before it' in told
    estate.orch("apply", "--only", "turn")
    assert estate.version_row("turn") == [(3, False)]
    verified = estate.orch("verify", "turn", code=1)  # the down files are missing, and the checks are met there too
    assert "the check" not in verified.text


def test_mongodb_checks_stand_in_the_comment_of_a_command(estate: Estate) -> None:
    def check(kind: str, command: object, wanted: object) -> dict[str, object]:
        return {"ping": 1, "comment": {"orch": {kind: command, "is": wanted}}}

    orders = [{"create": "orders"}, {"insert": "orders", "documents": [{"n": 1, "total": None}, {"n": 2, "total": 5}]}]
    without = {"count": "orders", "query": {"total": None}}
    change = {"update": "orders", "updates": [{"q": {}, "u": {"$inc": {"n": 1}}, "multi": True}]}
    file = [check("require", without, 0), change, check("ensure", {"find": "orders", "filter": {"n": 9}}, 0)]
    estate.add("mongo", "shop", {"000001_a.up.json": json.dumps(orders), "000002_b.up.json": json.dumps(file)})
    refused = estate.orch("apply", "--only", "mongo-shop", code=1)
    assert "the check is not met: there are 1 such documents, not 0" in refused.text
    assert "000002_b.up.json:1:" in refused.text
    estate.mongo("shop").orders.update_one({"n": 1}, {"$set": {"total": 1, "n": 8}})
    assert (
        "the check is not met: there are 1 such documents, not 0"
        in estate.orch("apply", "--only", "mongo-shop", code=1).text
    )
    assert sorted(one["n"] for one in estate.mongo("shop").orders.find()) == [2, 8]
    estate.mongo("shop").orders.update_one({"n": 8}, {"$set": {"n": 7}})
    assert "require met" in estate.orch("plan", "--only", "mongo-shop", "--check").stderr
    estate.orch("apply", "--only", "mongo-shop")
    assert sorted(one["n"] for one in estate.mongo("shop").orders.find()) == [3, 8]
    # A file that no transaction can hold: asked before and after its commands.
    indexed = [{"collMod": "orders", "validator": {}}, check("ensure", {"aggregate": "orders", "pipeline": []}, 3)]
    estate.write("mongo-shop", {"000003_c.up.json": json.dumps(indexed)})
    assert "there are 2 such documents, not 3" in estate.orch("apply", "--only", "mongo-shop", code=1).text
    estate.mongo("shop").orders.insert_one({"n": 1})
    estate.orch("apply", "--only", "mongo-shop")
    for wrong, what in (
        (check("require", {"insert": "orders"}, 0), "a check is a count, a find or an aggregate"),
        (check("require", {"aggregate": "a", "pipeline": [{"$out": "b"}]}, 0), "a check must not write"),
        (check("ensure", without, "0"), "'is' must say how many documents there must be"),
        (check("ensure", without, True), "'is' must say how many documents there must be"),
        (check("ensure", {"count": "a", "writeConcern": 1}, 1), "a check with 'count' takes no 'writeConcern'"),
    ):
        estate.write("mongo-shop", {"000004_d.up.json": json.dumps([wrong])})
        assert what in estate.orch("validate", code=4).text
    estate.write("mongo-shop", {"000004_d.up.json": json.dumps([change, check("require", without, 0)])})
    assert "a 'require' below a command would be asked too late" in estate.orch("validate", code=4).text
    estate.write("mongo-shop", {"000004_d.up.json": json.dumps([check("ensure", without, 0), change])})
    assert "this command stands below an 'ensure'" in estate.orch("validate", code=4).text


def test_sqlite_checks_are_asked_in_the_transaction_of_the_file(tmp_path: Path) -> None:
    estate = Estate(tmp_path, {})
    (tmp_path / "databases.yaml").write_text(
        'version: 1\ndatabases:\n  - {name: shop, engine: sqlite, dsn: "sqlite3://{database}.db"}\n'
    )
    head = "-- orch: require SELECT count(*) = 0 FROM orders WHERE total IS NULL\n-- orch: ensure SELECT total < 5 FROM orders\n"
    estate.write(
        "sqlite-shop", {"000001_a.up.sql": ORDERS, "000002_b.up.sql": f"{head}UPDATE orders SET total = total + 1;"}
    )
    assert "the check is not met: its query returned false" in estate.orch("apply", code=1).text

    def sql(query: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(tmp_path / "shop.db", isolation_level=None)) as connection:
            return connection.execute(query).fetchall()

    sql("UPDATE orders SET total = 4")
    assert "000002_b.up.sql:2:17: sqlite-shop: the check is not met" in estate.orch("apply", code=1).text
    assert sql("SELECT total FROM orders") == [(4,)]
    sql("UPDATE orders SET total = 3")
    assert "require met" in estate.orch("plan", "--check").stderr
    estate.orch("apply")
    assert sql("SELECT total FROM orders") == [(4,)]
    write = "-- orch: require WITH x AS (SELECT 1) SELECT count(*) FROM x\n-- orch: ensure SELECT 'yes'\nSELECT 1;"
    estate.write("sqlite-shop", {"000003_c.up.sql": write})
    assert 'its query returned the text "yes"' in estate.orch("apply", code=1).text
    estate.write("sqlite-shop", {"000003_c.up.sql": "-- orch: require DELETE FROM orders\nSELECT 1;"})
    assert "require takes one query" in estate.orch("validate", code=4).text
