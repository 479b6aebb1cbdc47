"""No copy of a database ever reaches the real one: clones, templates, tests and verify, on real servers."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

import pytest
from estate import Estate

from orchestrator import testing
from orchestrator.errors import InvalidError


def mongo(estate: Estate, later: list[dict[str, Any]]) -> None:
    """Declare a database with two collections that hold a document; `later` is its second migration, not yet applied."""
    first = [{"insert": name, "documents": [{"_id": 1, "of": name}]} for name in ("orders", "archive")]
    files = {"000001_a.up.js": json.dumps(first), "000001_a.down.js": '[{"drop": "orders"}, {"drop": "archive"}]'}
    estate.add("mongo", "shop", files | {"000002_b.up.js": json.dumps(later), "000002_b.down.js": "[]"})
    estate.orch("apply", "--to", "1", "--only", "shop")


def reaching(estate: Estate, database: str) -> list[dict[str, Any]]:
    return [
        {"renameCollection": f"{database}.orders", "to": f"{database}.customers"},
        {"aggregate": "customers", "pipeline": [{"$out": {"db": database, "coll": "copied"}}], "cursor": {}},
        {
            "aggregate": "customers",
            "pipeline": [
                {"$set": {"of": "changed"}},
                {"$merge": {"into": {"db": database, "coll": "archive"}, "whenMatched": "replace"}},
            ],
            "cursor": {},
        },
    ]


def test_mongo_commands_that_name_their_own_database_run_in_the_clone(mongo_estate: Estate) -> None:
    mongo(mongo_estate, reaching(mongo_estate, mongo_estate.prefix + "shop"))
    before = mongo_estate.snapshot()["mongo-shop"]
    name = mongo_estate.orch("clone", "shop", "--as", f"{mongo_estate.prefix}copy").stdout.strip()
    assert mongo_estate.snapshot()["mongo-shop"] == before
    copy = mongo_estate.client()[name]
    assert copy["archive"].count_documents({"_id": 1, "of": "changed"}) == 1
    assert copy["copied"].count_documents({}) == copy["customers"].count_documents({}) == 1
    assert "orders" not in copy.list_collection_names()
    mongo_estate.orch("apply")  # and afterwards the real one comes out as the copy did
    assert mongo_estate.mongo("shop")["archive"].count_documents({"_id": 1, "of": "changed"}) == 1


def _databases(estate: Estate) -> set[str]:
    """The databases of this test alone: others use the server too."""
    return {name for name in estate.client().list_database_names() if estate.prefix in name}


@pytest.mark.parametrize("number", [0, 1, 2])
def test_mongo_commands_that_name_another_database_are_refused_before_anything_runs(
    mongo_estate: Estate, number: int
) -> None:
    other = mongo_estate.prefix + "billing"
    mongo_estate.client()[other]["archive"].insert_one({"_id": 1, "of": "billing"})
    mongo_estate.client()[other]["orders"].insert_one({"_id": 2})
    mongo(mongo_estate, [reaching(mongo_estate, other)[number]])
    before = mongo_estate.snapshot()
    databases = _databases(mongo_estate)
    refused = mongo_estate.orch("clone", "shop", "--as", f"{mongo_estate.prefix}copy", code=4)
    assert "000002_b.up.js:1:2: no copy of mongo-shop can run this" in refused.stderr
    assert repr(other) in refused.stderr
    verified = mongo_estate.orch("verify", "--output", "json").json["databases"][0]["migrations"]
    assert [one["result"] for one in verified] == ["verified", "left_out"]
    assert mongo_estate.snapshot() == before
    assert _databases(mongo_estate) == databases  # not even a template was begun


POSTGRES = {
    "ALTER DATABASE {real} SET work_mem TO '7MB';": "ALTER DATABASE",
    "SELECT 1;\nREVOKE ALL ON DATABASE {real} FROM PUBLIC;": "REVOKE ALL ON DATABASE",
    "DO $$ BEGIN EXECUTE 'COMMENT ON DATABASE {real} IS ''x'''; END $$;": "COMMENT ON DATABASE",
    "DROP OWNED BY CURRENT_USER;": "DROP OWNED",
    "UPDATE pg_database SET datistemplate = true WHERE datname = '{real}';": "UPDATE PG_DATABASE",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{real}';": "pg_terminate_backend()",
}


def test_postgres_statements_that_reach_the_server_are_refused_before_anything_runs(pg_estate: Estate) -> None:
    real = f"{pg_estate.prefix}shop"
    files: dict[str, str | bytes] = {"000001_a.up.sql": "CREATE TABLE a ();", "000001_a.down.sql": "DROP TABLE a;"}
    pg_estate.add("postgres", "shop", files)
    pg_estate.orch("apply")
    facts = (
        "SELECT datacl::text, datistemplate, shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
    )
    before = pg_estate.sql("shop", facts, real)
    for number, text in enumerate(POSTGRES, 2):
        pg_estate.write("postgres-shop", {f"00000{number}_b.up.sql": text.format(real=real)})
    refused = pg_estate.orch("clone", "shop", code=4)
    for what in POSTGRES.values():
        assert f"{what} reaches beyond the database" in refused.stderr, refused.stderr
    assert pg_estate.sql("shop", facts, real) == before
    assert not pg_estate.sql(
        "shop", "SELECT datname FROM pg_database WHERE datname ~ 'orch_template' AND datname ~ %s", real
    )


def test_from_python_and_in_pytest_it_is_refused_too(mongo_estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    other = mongo_estate.prefix + "billing"
    mongo(mongo_estate, [{"renameCollection": f"{other}.a", "to": f"{other}.b"}])
    mongo_estate.client()[other]["a"].insert_one({})
    for name, value in mongo_estate.env.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(InvalidError, match="names the database"),
        testing.database("shop", file=mongo_estate.root / "databases.yaml"),
    ):
        pass
    (mongo_estate.root / "test_it.py").write_text(
        textwrap.dedent("""
        def test_it(orch_database):
            orch_database("shop")
        """)
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "test_it.py"],
        cwd=mongo_estate.root,
        env=mongo_estate.env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "000002_b.up.js:1:2: no copy of mongo-shop can run this" in done.stdout
    assert mongo_estate.client()[other].list_collection_names() == ["a"]


def test_a_role_that_exists_already_is_explained(pg_estate: Estate) -> None:
    role = f"{pg_estate.prefix}role"
    pg_estate.add("postgres", "shop", {"000001_a.up.sql": f"SELECT 1;\nCREATE ROLE {role};", "000001_a.down.sql": ""})
    pg_estate.orch("apply")
    try:
        failed = pg_estate.orch("clone", "shop", code=1).stderr
        assert "statements that act on the whole server run again in every copy" in failed
        assert "000001_a.up.sql:2:1: CREATE ROLE reaches beyond the database" in failed
        guarded = f"DO $$ BEGIN CREATE ROLE {role}; EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
        pg_estate.write("postgres-shop", {"000001_a.up.sql": guarded})
        assert "it runs for this copy too" in pg_estate.orch("clone", "shop", "--as", f"{pg_estate.prefix}copy").stderr
    finally:
        pg_estate.sql("shop", f"DROP ROLE {role}")
