"""What reaches beyond its database, statement by statement: held against the manuals of PostgreSQL and MongoDB."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engines.base import Reach
from orchestrator.engines.mongo.migration_file import parse_commands
from orchestrator.engines.mongo.reach import confine as confine_mongo
from orchestrator.engines.postgres.reach import confine as confine_postgres
from orchestrator.engines.postgres.sql import parse_sql
from orchestrator.errors import InvalidError
from orchestrator.model import File
from orchestrator.scratch.confine import reaching_routines

OTHER, SERVER, MAY = "other", "server", "may"

# Every SQL command of PostgreSQL 18's reference that acts on shared objects, on the server, on its files or on another
# database, in the spellings that the reference allows.
SQL = {
    OTHER: [
        "ALTER DATABASE shop SET work_mem TO '1MB'",
        "ALTER DATABASE shop OWNER TO joe",
        "CREATE DATABASE x",
        "DROP DATABASE IF EXISTS x WITH (FORCE)",
        "GRANT CONNECT ON DATABASE shop TO x",
        "GRANT ALL PRIVILEGES ON DATABASE shop TO x",
        "REVOKE ALL ON DATABASE shop FROM PUBLIC",
        "GRANT CREATE ON TABLESPACE fast TO x",
        "GRANT SET ON PARAMETER log_statement TO x",
        "COMMENT ON DATABASE shop IS 'x'",
        "COMMENT ON ROLE joe IS 'x'",
        "COMMENT ON TABLESPACE fast IS 'x'",
        "COMMENT ON SUBSCRIPTION s IS 'x'",
        "SECURITY LABEL FOR selinux ON DATABASE shop IS 'x'",
        "SECURITY LABEL ON ROLE joe IS 'x'",
        "alter\n  user a PASSWORD 'x'",
        "ALTER ROLE ALL SET search_path TO a",
        "ALTER ROLE joe IN DATABASE shop SET search_path TO a",
        "ALTER GROUP g ADD USER joe",
        "DROP ROLE IF EXISTS a",
        "DROP USER a",
        "DROP GROUP a",
        "REVOKE admins FROM joe",
        "REVOKE ADMIN OPTION FOR admins FROM joe",
        "DROP OWNED BY joe CASCADE",
        "REASSIGN OWNED BY joe TO ann",
        "ALTER SYSTEM SET work_mem TO '1MB'",
        "ALTER SYSTEM RESET ALL",
        "CREATE TABLESPACE fast LOCATION '/x'",
        "ALTER TABLESPACE fast RENAME TO slow",
        "DROP TABLESPACE fast",
        "CREATE SUBSCRIPTION s CONNECTION 'x' PUBLICATION p WITH (connect = false)",
        "ALTER SUBSCRIPTION s DISABLE",
        "DROP SUBSCRIPTION s",
        "CREATE SERVER IF NOT EXISTS other FOREIGN DATA WRAPPER postgres_fdw OPTIONS (dbname 'shop')",
        "ALTER SERVER other OPTIONS (SET dbname 'shop')",
        "CREATE FOREIGN TABLE f (a int) SERVER other",
        "IMPORT FOREIGN SCHEMA public FROM SERVER other INTO here",
        "COPY a TO '/tmp/a.csv'",
        "COPY (SELECT 'x;' FROM a) TO '/tmp/a.csv' WITH (FORMAT csv)",
        "COPY a TO E'/tmp/a.csv'",
        "COPY a TO PROGRAM 'cat > /tmp/a'",
        "COPY a (x, y) FROM PROGRAM 'curl http://x'",
        "SELECT dblink_exec('dbname=shop', 'DELETE FROM a')",
        "SELECT * FROM dblink('dbname=shop', 'SELECT 1') AS t (a int)",
        "SELECT dblink_connect('c', 'dbname=shop')",
        "INSERT INTO a SELECT * FROM public.dblink('x', 'y') AS t (a int)",
        'SELECT "dblink_exec"($$dbname=shop$$, $$DELETE FROM a$$)',
        'SELECT U&"dbl\\0069nk_exec"($$dbname=shop$$, $$x$$)',
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'shop'",
        'SELECT pg_catalog . "pg_terminate_backend" (1)',
        "WITH x AS (SELECT pg_cancel_backend(1)) SELECT 1",
        "SELECT 1 FROM a JOIN b ON pg_terminate_backend(1)",
        "ALTER TABLE a ADD COLUMN b bool DEFAULT pg_reload_conf()",
        "EXPLAIN ANALYZE SELECT pg_reload_conf()",
        "SELECT lo_export(1, '/tmp/x')",
        "SELECT pg_file_write('x', 'y', false)",
        "SELECT pg_rotate_logfile()",
        "SELECT pg_promote()",
        "SELECT pg_switch_wal()",
        "SELECT pg_create_restore_point('x')",
        "SELECT pg_backup_start('x')",
        "SELECT pg_stop_backup()",
        "SELECT pg_wal_replay_pause()",
        "SELECT pg_create_logical_replication_slot('s', 'pgoutput')",
        "SELECT pg_create_physical_replication_slot('s')",
        "SELECT pg_copy_logical_replication_slot('s', 't')",
        "SELECT pg_drop_replication_slot('s')",
        "SELECT pg_replication_slot_advance('s', '0/0')",
        "SELECT pg_logical_slot_get_changes('s', NULL, NULL)",
        "SELECT pg_replication_origin_create('o')",
        "SELECT pg_replication_origin_drop('o')",
        "SELECT pg_stat_reset_shared('bgwriter')",
        "SELECT pg_stat_reset_slru(NULL)",
        "SELECT pg_stat_statements_reset()",
        "SELECT cron.schedule('night', '0 0 * * *', 'VACUUM')",
        "SELECT cron.unschedule(1)",
        "INSERT INTO cron.job (schedule, command, database) VALUES ('* * * * *', 'DELETE FROM a', 'shop')",
        "SELECT pg_stat_kcache_reset()",
        "SELECT pg_rotate_logfile_old()",
        "SELECT * FROM crosstab3('SELECT pg_reload_conf()')",
        "REINDEX DATABASE shop",
        "REINDEX (VERBOSE) DATABASE CONCURRENTLY shop",
        "REINDEX SYSTEM",
        "DO LANGUAGE plperlu $$ system('true'); $$",
        "DO LANGUAGE plpython3u $$ import psycopg2; psycopg2.connect('dbname=shop') $$",
        "DO LANGUAGE plperlu $$ use DBI; DBI->connect('dbi:Pg:dbname=shop')->do('DELETE FROM a') $$",
        "DO LANGUAGE plsh $$ psql shop -c 'DELETE FROM a' $$",
        "SELECT net.http_post('http://x', '{}')",
        "SELECT content FROM http_get('http://x')",
        "SELECT * FROM aws_s3.query_export_to_s3('SELECT 1', 'b', 'k')",
        "SELECT pglogical.create_subscription('s', 'dbname=shop')",
        "UPDATE pg_database SET datistemplate = true WHERE datname = 'shop'",
        "UPDATE ONLY pg_catalog.pg_authid SET rolpassword = NULL",
        "INSERT INTO pg_shdescription VALUES (1)",
        "DELETE FROM pg_catalog.pg_db_role_setting",
        "LOCK TABLE pg_database IN ACCESS EXCLUSIVE MODE",
        "VACUUM FULL pg_authid",
        "DO $$ BEGIN ALTER ROLE joe SUPERUSER; END $$",
        "DO $$ BEGIN IF true THEN DROP ROLE joe; END IF; END $$",
        "DO 'BEGIN ALTER SYSTEM SET work_mem TO 1; END'",
        "DO LANGUAGE plpgsql $x$ BEGIN PERFORM dblink_exec('dbname=shop', 'x'); END $x$",
        "DO $$ BEGIN EXECUTE 'ALTER DATABASE shop SET x.y TO 1'; END $$",
        "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || 'shop' || ' SET x.y TO 1'; END $$",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET x.y TO 1', 'shop'); END $$",
        "DO $$ BEGIN EXECUTE 'SELECT dbl' || 'ink_exec(''dbname=shop'', ''x'')'; END $$",
        "DO $$ BEGIN EXECUTE 'ALTER ' || 'SYS' /* a */ || 'TEM RESET ALL'; END $$",
        "DO $$ DECLARE me text := current_database(); BEGIN ALTER DATABASE shop SET x.y TO 1; END $$",
        "DO $$ BEGIN EXECUTE format('SELECT 1; ALTER SYSTEM RESET %I', 'x'); END $$",
        r"DO $$ BEGIN EXECUTE E'SELECT 1;\nALTER ROLE joe SET x.y TO 1'; END $$",
        r"DO $$ BEGIN EXECUTE E'ALTER\nROLE joe SET x.y TO 1'; END $$",
        r"DO $$ BEGIN EXECUTE E'\x41LTER ROLE joe SET x.y TO 1'; END $$",
        r"DO $$ BEGIN EXECUTE U&'\0041LTER ROLE joe SET x.y TO 1'; END $$",
        "DO $$ BEGIN EXECUTE 'ALTER '\n  -- a remark\n  'ROLE joe SET x.y TO 1'; END $$",
        "DO $a$ BEGIN EXECUTE $c$ DO $b$ BEGIN ALTER ROLE joe NOLOGIN; END $b$ $c$; END $a$",
        "DO $a$ BEGIN EXECUTE 'DO ' || quote_literal('BEGIN ALTER ROLE joe NOLOGIN; END'); END $a$",
        "ALTER FUNCTION public.dblink_exec(text, text) RENAME TO fine",
        "CREATE CAST (int AS bool) WITH FUNCTION pg_terminate_backend(int, bigint)",
        "CREATE OPERATOR @@@ (LEFTARG = int, RIGHTARG = bigint, FUNCTION = pg_terminate_backend)",
    ],
    SERVER: [
        "CREATE ROLE a",
        "CREATE USER a PASSWORD 'x'",
        "CREATE GROUP a",
        "-- a remark\n/* and /* another */ */ CREATE /* ! */ ROLE a",
        "GRANT admins TO joe",
        "GRANT pg_read_all_data, admins TO joe WITH ADMIN OPTION",
        "INSERT INTO a VALUES ('it''s -- not a remark'); CREATE ROLE a",
        "BEGIN; SELECT 1; CREATE ROLE a; COMMIT",
        "DO $$ BEGIN CREATE ROLE app; END $$",
        "DO $x$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles) THEN CREATE ROLE app; END IF; END $x$",
        "DO $x$ BEGIN EXECUTE 'CREATE ROLE app'; EXCEPTION WHEN duplicate_object THEN NULL; END $x$",
        "DO $$ BEGIN GRANT admins TO joe; GRANT SELECT ON a TO joe; END $$",
    ],
    MAY: [
        "COPY a FROM '/data/a.csv' CSV",
        "SELECT lo_import('/tmp/x')",
        "SELECT pg_read_file('x')",
        "SELECT * FROM pg_ls_dir('.')",
        "CHECKPOINT",
        "LOAD 'auto_explain'",
        "CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CREATE ROLE app; END $$",
        "CREATE OR REPLACE FUNCTION f() RETURNS void LANGUAGE sql AS 'SELECT pg_reload_conf()'",
        "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN PERFORM dblink_exec('x', 'y'); END $$",
        "CREATE FUNCTION f() RETURNS bool LANGUAGE sql BEGIN ATOMIC SELECT pg_reload_conf(); END",
        "DO $$ BEGIN EXECUTE 'CREATE VIEW v AS ' || (SELECT text FROM words); END $$",
        'DO LANGUAGE plpython3u $$ plpy.execute("INSERT INTO t VALUES (1)") $$',
    ],
    "": [
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET x.y TO 1', current_database()); END $$",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE \"%s\" SET x.y TO 1', current_database()); END $$",
        "DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || quote_ident(current_database()) || ' SET x.y TO 1'; END $$",
        "DO $$ BEGIN EXECUTE 'ALTER DATABASE \"' || current_database() || '\" SET x.y TO 1'; END $$",
        "DO $$ BEGIN EXECUTE format('GRANT CONNECT ON DATABASE %I TO joe', current_database()); END $$",
        "DO $$ BEGIN EXECUTE format('ALTER ROLE joe IN DATABASE %I SET x.y TO 1', current_catalog); END $$",
        "DO $$ BEGIN RAISE NOTICE 'ALTER SYSTEM is needed'; RAISE EXCEPTION 'Drop role first'; END $$",
        "DO $$ BEGIN GRANT SELECT ON a TO joe; /* CREATE ROLE a; */ END $$ -- ALTER SYSTEM",
        "ALTER TABLE a ALTER role TYPE text",
        "ALTER TABLE a DROP role",
        "CREATE INDEX i ON role (x)",
        "ALTER DEFAULT PRIVILEGES FOR ROLE joe GRANT SELECT ON TABLES TO ann",
        "GRANT SELECT ON a TO joe",
        "GRANT SELECT (a, b) ON TABLE t TO joe WITH GRANT OPTION",
        "GRANT USAGE ON SCHEMA a TO joe",
        "GRANT EXECUTE ON FUNCTION f(int), pg_terminate_backend(int), dblink(text) TO joe",
        "REVOKE EXECUTE ON FUNCTION lo_export(oid, text) FROM PUBLIC",
        "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM joe",
        "COMMENT ON FUNCTION pg_reload_conf() IS 'x'",
        "COMMENT ON COLUMN a.role IS 'CREATE ROLE'",
        "CREATE USER MAPPING FOR joe SERVER s",
        "DROP USER MAPPING FOR joe SERVER s",
        "DROP SERVER s",
        "DROP FUNCTION dblink(text)",
        "CREATE TABLE dblink (a int)",
        "INSERT INTO dblink (a) VALUES (1)",
        "CREATE TABLE b (a int REFERENCES dblink (a))",
        "SELECT 'CREATE ROLE a'; -- CREATE ROLE a\nSELECT $$ALTER SYSTEM$$",
        'SELECT $$x$$ AS "pg_reload_conf("',
        'CREATE TABLE "alter system" ("create role" text)',
        'INSERT INTO a ("drop role", "x; alter system") VALUES (1, 2)',
        "CREATE TABLE a (role text, database text, system text)",
        "INSERT INTO logs VALUES ('DROP DATABASE shop', 'pg_terminate_backend(1)')",
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT current_user::text $$",
        "ALTER TABLE a OWNER TO joe",
        "CREATE EXTENSION IF NOT EXISTS dblink",
        "CREATE PUBLICATION p FOR ALL TABLES",
        "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()",
        "NOTIFY channel, 'payload'",
        "SELECT pg_notify('a', 'b'), pg_advisory_lock(1), pg_stat_reset(), pg_advisory_xact_lock(2)",
        "SELECT set_config('search_path', 'a', false)",
        "SET ROLE joe",
        "SET SESSION AUTHORIZATION joe",
        "SELECT datname FROM pg_database",
        "SELECT rolname FROM pg_catalog.pg_roles WHERE rolname = 'x'",
        "CREATE TABLE a (b int) TABLESPACE fast",
        "SECURITY LABEL ON TABLE a IS 'x'",
        "COMMENT ON TABLE a IS 'GRANT x TO y'",
        "VACUUM a",
        "REINDEX DATABASE",
        "REINDEX (VERBOSE) SCHEMA public",
        "CREATE SCHEMA a AUTHORIZATION joe",
    ],
}


@pytest.mark.parametrize(("wanted", "sql"), [(wanted, sql) for wanted, all_ in SQL.items() for sql in all_])
def test_sql(wanted: str, sql: str) -> None:
    script = parse_sql(File("a.up.sql", Path("a.up.sql"), ""), sql + ";\n")
    confined = confine_postgres(script)
    assert confined.script is script
    assert {finding.reach.value for finding in confined.findings} == ({wanted} if wanted else set()), confined.findings


WIPES = (
    "CREATE OR REPLACE FUNCTION app.wipe() RETURNS void LANGUAGE plpgsql AS $f$ BEGIN PERFORM dblink('a', 'b'); END $f$"
)
SWEEPS = "CREATE PROCEDURE sweep(a int) LANGUAGE sql AS 'SELECT app.wipe()'"
HARMLESS = "CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN length('wipe()')"


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        ([WIPES, "SELECT app.wipe()"], ["wipe()"]),
        ([WIPES, SWEEPS, HARMLESS, "SELECT f()"], []),
        ([WIPES, 'SELECT app.U&"w\\0069pe"()'], ["wipe()"]),
        ([WIPES, "DO $$ BEGIN EXECUTE 'SELECT app.wi' || 'pe()'; END $$"], ["wipe()"]),
        ([WIPES, "DO $$ BEGIN EXECUTE 'SELECT app.wipe()'; RAISE NOTICE 'wipe()'; END $$"], ["wipe()"]),
        ([WIPES, SWEEPS, "CALL Sweep (1)"], ["sweep()"]),
        ([SWEEPS, WIPES, "DO $$ BEGIN IF true THEN CALL sweep(1); END IF; END $$"], ["sweep()"]),
        ([WIPES, 'CREATE TRIGGER t AFTER INSERT ON a FOR EACH ROW EXECUTE FUNCTION app."wipe"()'], ["wipe()"]),
        (
            [WIPES, "CREATE TABLE t (a text DEFAULT app.wipe())", "CREATE INDEX i ON t (app.wipe(a))"],
            ["wipe()", "wipe()"],
        ),
        (
            [
                WIPES,
                "GRANT EXECUTE ON FUNCTION app.wipe() TO joe",
                "DROP FUNCTION app.wipe()",
                "COMMENT ON TABLE wipe IS 'wipe()'",
            ],
            [],
        ),
        ([WIPES, "ALTER FUNCTION app.wipe() RENAME TO fine", "SELECT app.fine()"], ["wipe()"]),
        ([WIPES, "ALTER FUNCTION app.wipe() OWNER TO joe"], []),
        ([WIPES, "CREATE TABLE wipe (a int)", "INSERT INTO wipe (a) VALUES (1)", "SELECT 'wipe()' -- wipe()"], []),
        ([WIPES.replace("wipe", "ฟัง"), "SELECT app.ฟัง()"], ["ฟัง()"]),
        ([WIPES.replace("wipe", "ÜBER"), "SELECT app.Über()"], ["Über()"]),
        ([WIPES.replace("wipe", '"the wipe"'), 'SELECT app."the wipe"()'], ["the_wipe()"]),
        ([WIPES, "CREATE AGGREGATE a (int) (SFUNC = app.wipe, STYPE = int)", "SELECT a(1)"], ["a()"]),
        ([WIPES, "CREATE TRIGGER t AFTER INSERT ON a EXECUTE FUNCTION wipe()"], ["wipe()"]),
        ([WIPES, "CREATE OPERATOR @@ (RIGHTARG = int, FUNCTION = app.wipe)"], ["wipe()"]),
        (["CREATE FUNCTION f(int) RETURNS bool LANGUAGE internal AS 'pg_terminate_backend'", "SELECT f(1)"], ["f()"]),
        (["CREATE FUNCTION f(oid, text) RETURNS int AS 'be_lo_export' LANGUAGE internal", "SELECT f(1, '')"], ["f()"]),
        (
            ["CREATE FUNCTION f(text) RETURNS text AS '$libdir/dblink', 'dblink_exec' LANGUAGE 'c'", "SELECT f('')"],
            ["f()"],
        ),
        (
            [
                'CREATE FUNCTION f() RETURNS int LANGUAGE plpython3u AS $$ plpy.execute("DROP ROLE joe") $$',
                "SELECT f()",
            ],
            ["f()"],
        ),
        (
            [
                "CREATE FUNCTION f() RETURNS int LANGUAGE plpython3u AS $$ import os; os.system('psql shop') $$",
                "SELECT f()",
            ],
            ["f()"],
        ),
        (["CREATE FUNCTION f() RETURNS int LANGUAGE plperl AS $$ my $open = 1; $$", "SELECT f()"], []),
        (['CREATE FUNCTION f() RETURNS int LANGUAGE plv8 AS $$ plv8.execute("DROP TABLE t") $$', "SELECT f()"], []),
        (["/* x */ CREATE FUNCTION r() RETURNS int LANGUAGE sql AS $$ CREATE ROLE a; SELECT 1 $$", "SELECT r()"], []),
    ],
)
def test_sql_of_a_function_counts_where_it_is_called(sql: list[str], wanted: list[str]) -> None:
    files = [
        confine_postgres(parse_sql(File(f"{number}.sql", Path("a.up.sql"), ""), f"{text};\n"))
        for number, text in enumerate(sql)
    ]
    names = reaching_routines(files)
    found = [finding for file in files for finding in file.calls(names, {})]
    assert [finding.what.partition(" ")[0] for finding in found] == wanted
    assert {finding.reach for finding in found} <= {Reach.OTHER}


GIVEN = "CREATE FUNCTION run(q text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN EXECUTE q; END $$"
ASKED = "CREATE FUNCTION run(q text) RETURNS xml LANGUAGE sql AS $$ SELECT query_to_xml(q, true, true, '') $$"


@pytest.mark.parametrize("function", [GIVEN, ASKED])
@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        ("SELECT run('SELECT lo_export(1, ''/tmp/x'')')", ["lo_export() reaches beyond the database"]),
        ("SELECT run('SELECT 1')", []),
        (
            "SELECT run((SELECT text FROM words))",
            ["EXECUTE of a text that only the server knows may reach beyond the database"],
        ),
        (
            "SELECT run(text) FROM words",
            ["EXECUTE of a text that only the server knows may reach beyond the database"],
        ),
    ],
)
def test_sql_that_a_function_is_given_to_execute(function: str, sql: str, wanted: list[str]) -> None:
    made = confine_postgres(parse_sql(File("1.sql", Path("a.up.sql"), ""), f"{function};\n"))
    called = confine_postgres(parse_sql(File("2.sql", Path("a.up.sql"), ""), f"{sql};\n"))
    executing = {routine.name: routine.databases for routine in made.routines if routine.executes}
    assert [finding.what for finding in called.calls(frozenset(), executing)] == wanted


def test_sql_tells_the_place() -> None:
    text = "\n\nDO $$\nBEGIN\n  -- a remark\n  EXECUTE 'ALTER SYSTEM SET a.b TO 1';\nEND $$;\nSELECT\n  dblink('a', 'b');\n"
    found = confine_postgres(parse_sql(File("a.up.sql", Path("a.up.sql"), ""), text)).findings
    told = [f"{finding.where}: {finding.what}" for finding in found]
    assert told == [
        "a.up.sql:6:12: ALTER SYSTEM reaches beyond the database",
        "a.up.sql:9:3: dblink() reaches beyond the database",
    ]


# Every command and stage of MongoDB 8's manual, and of older releases, that can name a database or acts on the server; `app` is
# the file's own database, `copy` the scratch one. What comes out, and what is found.
REWRITTEN: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"renameCollection": "app.a.b", "to": "app.x", "dropTarget": True},
        {"renameCollection": "copy.a.b", "to": "copy.x", "dropTarget": True},
    ),
    (
        {"aggregate": "a", "pipeline": [{"$out": {"db": "app", "coll": "b"}}], "cursor": {}},
        {"aggregate": "a", "pipeline": [{"$out": {"db": "copy", "coll": "b"}}], "cursor": {}},
    ),
    (
        {"aggregate": "a", "pipeline": [{"$merge": {"into": {"db": "app", "coll": "b"}, "on": "_id"}}], "cursor": {}},
        {"aggregate": "a", "pipeline": [{"$merge": {"into": {"db": "copy", "coll": "b"}, "on": "_id"}}], "cursor": {}},
    ),
    (
        {
            "aggregate": "a",
            "pipeline": [
                {
                    "$facet": {
                        "one": [
                            {
                                "$lookup": {
                                    "from": {"db": "app", "coll": "b"},
                                    "pipeline": [{"$unionWith": {"db": "app", "coll": "c", "pipeline": []}}],
                                    "as": "b",
                                }
                            },
                            {"$graphLookup": {"from": {"db": "app", "coll": "b"}, "as": "x"}},
                        ]
                    }
                }
            ],
        },
        {
            "aggregate": "a",
            "pipeline": [
                {
                    "$facet": {
                        "one": [
                            {
                                "$lookup": {
                                    "from": {"db": "copy", "coll": "b"},
                                    "pipeline": [{"$unionWith": {"db": "copy", "coll": "c", "pipeline": []}}],
                                    "as": "b",
                                }
                            },
                            {"$graphLookup": {"from": {"db": "copy", "coll": "b"}, "as": "x"}},
                        ]
                    }
                }
            ],
        },
    ),
    (
        {"create": "v", "viewOn": "a", "pipeline": [{"$lookup": {"from": {"db": "app", "coll": "b"}, "as": "b"}}]},
        {"create": "v", "viewOn": "a", "pipeline": [{"$lookup": {"from": {"db": "copy", "coll": "b"}, "as": "b"}}]},
    ),
    (
        {"collMod": "v", "viewOn": "a", "pipeline": [{"$unionWith": {"coll": {"db": "app", "coll": "b"}}}]},
        {"collMod": "v", "viewOn": "a", "pipeline": [{"$unionWith": {"coll": {"db": "copy", "coll": "b"}}}]},
    ),
    (
        {"mapReduce": "a", "map": "m", "reduce": "r", "out": {"replace": "b", "db": "app"}},
        {"mapReduce": "a", "map": "m", "reduce": "r", "out": {"replace": "b", "db": "copy"}},
    ),
    (
        {"explain": {"aggregate": "a", "pipeline": [{"$out": {"db": "app", "coll": "b"}}], "cursor": {}}},
        {"explain": {"aggregate": "a", "pipeline": [{"$out": {"db": "copy", "coll": "b"}}], "cursor": {}}},
    ),
    (
        {"bulkWrite": 1, "ops": [{"insert": 0, "document": {"ns": "app.a"}}], "nsInfo": [{"ns": "app.a"}]},
        {"bulkWrite": 1, "ops": [{"insert": 0, "document": {"ns": "app.a"}}], "nsInfo": [{"ns": "copy.a"}]},
    ),
    ({"shardCollection": "app.a", "key": {"x": 1}}, {"shardCollection": "copy.a", "key": {"x": 1}}),
    ({"enableSharding": "app"}, {"enableSharding": "copy"}),
    ({"dataSize": "app.a"}, {"dataSize": "copy.a"}),
]
UNCHANGED: list[dict[str, Any]] = [
    {"create": "createUser"},
    {"create": "app.a"},
    {"insert": "app", "documents": [{"db": "shop", "$out": {"db": "shop"}, "ns": "shop.a"}]},
    {"update": "a", "updates": [{"q": {}, "u": [{"$set": {"db": "shop", "x": {"db": "shop", "coll": "b"}}}]}]},
    {"aggregate": "a", "pipeline": [{"$merge": "b"}], "cursor": {}},
    {"aggregate": "a", "pipeline": [{"$out": "app.b"}], "cursor": {}},
    {"aggregate": "a", "pipeline": [{"$addFields": {"$out": {"db": "shop", "coll": "b"}}}], "cursor": {}},
    {"aggregate": "a", "pipeline": [{"$match": {"db": "shop"}}, {"$lookup": {"from": "b", "as": "db"}}], "cursor": {}},
    {"createIndexes": "a", "indexes": [{"key": {"db": 1}, "name": "db"}]},
    {"profile": 1},
    {"collMod": "a", "validator": {"$expr": {"$eq": ["$db", "shop"]}}},
    {"findAndModify": "a", "query": {}, "update": [{"$set": {"a": 1}}]},
    {"mapReduce": "a", "map": "m", "reduce": "r", "out": {"inline": 1}},
]
FOUND: list[tuple[dict[str, Any], str]] = [
    ({"renameCollection": "shop.a", "to": "app.b"}, "other: renameCollection names the database 'shop'"),
    ({"renameCollection": "app.a", "to": "APP.b"}, "other: renameCollection names the database 'APP'"),
    ({"renameCollection": "app2.a", "to": "app.b"}, "other: renameCollection names the database 'app2'"),
    (
        {"aggregate": "a", "pipeline": [{"$out": {"db": "shop", "coll": "b"}}], "cursor": {}},
        "other: $out names the database 'shop'",
    ),
    (
        {"aggregate": "a", "pipeline": [{"$merge": {"into": {"db": "shop", "coll": "b"}}}], "cursor": {}},
        "other: $merge names the database 'shop'",
    ),
    (
        {"create": "v", "viewOn": "a", "pipeline": [{"$facet": {"x": [{"$unionWith": {"db": "shop", "coll": "b"}}]}}]},
        "other: $unionWith names the database 'shop'",
    ),
    (
        {
            "update": "a",
            "updates": [{"q": {}, "u": [{"$lookup": {"from": {"db": "shop", "coll": "b"}, "as": "b"}}]}],
        },
        "other: $lookup names the database 'shop'",
    ),
    (
        {"findAndModify": "a", "update": [{"$lookup": {"from": {"db": "shop", "coll": "b"}, "as": "b"}}]},
        "other: $lookup names the database 'shop'",
    ),
    (
        {
            "aggregate": "a",
            "pipeline": [{"$rankFusion": {"input": {"pipelines": {"x": [{"$unionWith": {"db": "s", "coll": "b"}}]}}}}],
        },
        "other: $unionWith names the database 's'",
    ),
    (
        {"mapReduce": "a", "map": "m", "reduce": "r", "out": {"merge": "b", "db": "shop"}},
        "other: mapReduce names the database 'shop'",
    ),
    (
        {"explain": {"aggregate": "a", "pipeline": [{"$out": {"db": "shop", "coll": "b"}}]}},
        "other: $out names the database 'shop'",
    ),
    ({"bulkWrite": 1, "ops": [], "nsInfo": [{"ns": "shop.a"}]}, "other: bulkWrite names the database 'shop'"),
    ({"shardCollection": "shop.a", "key": {"x": 1}}, "other: shardCollection names the database 'shop'"),
    ({"enableSharding": "shop"}, "other: enableSharding names the database 'shop'"),
    ({"aggregate": 1, "pipeline": [{"$currentOp": {}}, {"$merge": "a"}]}, "other: $currentOp reads the whole server"),
    (
        {"insert": "system.views", "documents": [{"_id": "app.v"}]},
        "other: insert writes to system.views, which has the database's name in it",
    ),
    ({"bulkWrite": 1, "ops": [], "nsInfo": [{"ns": "app.system.views"}]}, "other: bulkWrite writes to system.views"),
    ({"aggregate": "a", "pipeline": [{"$out": {"s3": {"bucket": "b"}}}], "cursor": {}}, "other: $out writes to s3"),
    (
        {"aggregate": "a", "pipeline": [{"$merge": {"into": {"atlas": {"db": "app", "coll": "b"}}}}], "cursor": {}},
        "other: $merge writes to atlas",
    ),
    ({"profile": 1, "slowms": 5}, "other: profile changes what the whole server logs"),
    ({"createUser": "a", "pwd": "b", "roles": ["readWrite"]}, "server: createUser acts on what the server keeps"),
    (
        {"createUser": "a", "pwd": "b", "roles": [{"role": "read", "db": "shop"}]},
        "other: createUser names the database 'shop'",
    ),
    (
        {
            "createRole": "a",
            "privileges": [{"resource": {"db": "", "collection": ""}, "actions": ["find"]}],
            "roles": [],
        },
        "other: createRole gives a right on every database",
    ),
    ({"grantRolesToUser": "a", "roles": []}, "server: grantRolesToUser acts on what the server keeps"),
    *(
        ({name: value}, f"other: {name} acts on the whole server")
        for name, value in {
            "setParameter": 1,
            "SetParameter": 1,
            "setClusterParameter": {},
            "setFeatureCompatibilityVersion": "7.0",
            "setDefaultRWConcern": 1,
            "shutdown": 1,
            "fsync": 1,
            "fsyncUnlock": 1,
            "killOp": 1,
            "currentOp": 1,
            "killAllSessions": [],
            "killSessions": [],
            "logRotate": 1,
            "cloneCollection": "shop.a",
            "clone": "host",
            "copydb": 1,
            "applyOps": [{"op": "i", "ns": "shop.a", "o": {}}],
            "eval": "db.getSiblingDB('shop').a.drop()",
            "moveCollection": "shop.a",
            "movePrimary": "app",
            "moveChunk": "app.a",
            "moveRange": "app.a",
            "split": "app.a",
            "addShard": "x",
            "removeShard": "x",
            "addShardToZone": "x",
            "updateZoneKeyRange": "app.a",
            "balancerStop": 1,
            "replSetReconfig": {},
            "replSetStepDown": 1,
            "rotateCertificates": 1,
            "setAuditConfig": {},
            "dropConnections": 1,
            "listDatabases": 1,
            "getParameter": "*",
            "serverStatus": 1,
            "aCommandOfTheFuture": "app.a",
        }.items()
    ),
]


def confine(command: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    script = parse_commands(File("a.up.js", Path("a.up.js"), ""), json.dumps([{"create": "x"}, command]))
    confined = confine_mongo(script, "app", "copy")
    assert confined.script.statements[1].source == script.statements[1].source  # what history keeps
    return confined.script.statements[1].body, [f"{one.reach.value}: {one.what}" for one in confined.findings]


@pytest.mark.parametrize(("command", "wanted"), REWRITTEN)
def test_mongo_names_of_the_own_database_become_the_copys(command: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert confine(command) == (wanted, [])


@pytest.mark.parametrize("command", UNCHANGED)
def test_mongo_what_stays_in_its_database_is_left_alone(command: dict[str, Any]) -> None:
    assert confine(command) == (command, [])


@pytest.mark.parametrize(("command", "wanted"), FOUND)
def test_mongo_what_reaches_further_is_found(command: dict[str, Any], wanted: str) -> None:
    try:
        found = confine(command)[1]
    except InvalidError as refused:  # no database may run it, so no copy is asked
        assert "about the whole server" in refused.what or "has no command" in refused.what
        return
    assert any(one.startswith(wanted) for one in found), found


@pytest.mark.parametrize(("database", "wanted"), [("app", "copy"), ("shop", "shop")])
def test_mongo_checks_are_confined_too(database: str, wanted: str) -> None:
    asked = {"aggregate": "a", "pipeline": [{"$lookup": {"from": {"db": database, "coll": "b"}, "as": "b"}}]}
    text = json.dumps([{"ping": 1, "comment": {"orch": {"require": asked, "is": 0}}}])
    confined = confine_mongo(parse_commands(File("a.up.js", Path("a.up.js"), ""), text), "app", "copy")
    assert confined.script.checks.before[0].body["pipeline"][0]["$lookup"]["from"]["db"] == wanted
    assert bool(confined.findings) is (database == "shop")


def test_mongo_rights_in_the_own_database_become_rights_in_the_copy() -> None:
    command = {
        "createRole": "r",
        "roles": ["read", {"role": "readWrite", "db": "app"}],
        "privileges": [{"resource": {"db": "app", "collection": "a"}, "actions": ["find"]}],
    }
    body, found = confine(command)
    assert body["roles"] == ["read", {"role": "readWrite", "db": "copy"}]
    assert body["privileges"][0]["resource"] == {"db": "copy", "collection": "a"}
    assert len(found) == 1
