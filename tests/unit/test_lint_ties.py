"""What lint rules know of the ties between tables, columns, indexes and views, as measured with real files on a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.analysis.findings import Finding, Story
from orchestrator.analysis.permissions import permissions, wrong
from orchestrator.analysis.rules import rules
from orchestrator.engines.mongo.migration_file import parse_commands
from orchestrator.engines.postgres.sql import parse_sql
from orchestrator.model import File

USERS = "CREATE TABLE users (id int PRIMARY KEY, name varchar(50) UNIQUE);"
POSTS = USERS + "CREATE TABLE posts (id int PRIMARY KEY, author int REFERENCES users, title varchar(50), hidden bool);"


def judged(text: str, *past: str) -> list[Finding]:
    story = Story()
    for before in past:
        story.past(parse_sql(File("past", Path("past"), ""), before))
    found = story.judge(parse_sql(File("f", Path("f"), ""), text))
    return [one for one in found if rules()[one.code].level != "off"]


def told(text: str, *past: str) -> list[str]:
    """Return codes with their tables; `?` where a rule says "may"."""
    return sorted(f"{one.code} {one.table}{'?' if one.maybe else ''}".strip() for one in judged(text, *past))


@pytest.mark.parametrize(
    ("past", "text", "expected"),
    [
        # a foreign key at either end of a column
        (POSTS, "ALTER TABLE posts DROP COLUMN author;", ["PG102 posts", "PG301 users"]),
        (POSTS, "ALTER TABLE posts ALTER author TYPE bigint;", ["PG201 posts", "PG301 users"]),
        (POSTS, "ALTER TABLE users ALTER id TYPE bigint;", ["PG201 users", "PG301 posts"]),
        (POSTS, "ALTER TABLE users ALTER name TYPE varchar(60);", []),
        (
            USERS + "CREATE TABLE logins (who varchar(50) REFERENCES users (name));"
            "ALTER TABLE users RENAME COLUMN name TO login;",
            "ALTER TABLE users ALTER login TYPE varchar(60);",
            ["PG301 logins"],
        ),
        (POSTS + "ALTER TABLE posts DROP COLUMN author;", "DROP TABLE posts;", ["PG101 posts"]),
        (
            POSTS + "ALTER TABLE users RENAME TO people;",
            "ALTER TABLE posts DROP CONSTRAINT posts_author_fkey;",
            ["PG301 people"],
        ),
        # an index with an expression or a WHERE is built anew for every new type of its column, even the same
        (
            POSTS + "CREATE INDEX ON posts (lower(title));",
            "ALTER TABLE posts ALTER title TYPE varchar(60);",
            ["PG203 posts"],
        ),
        (
            POSTS + "CREATE INDEX ON posts (id) WHERE title <> '';",
            "ALTER TABLE posts ALTER title TYPE text;",
            ["PG203 posts"],
        ),
        (POSTS + "CREATE INDEX ON posts (title) WHERE hidden;", "ALTER TABLE posts ALTER title TYPE text;", []),
        # an index goes with its column
        (
            POSTS + "CREATE INDEX shown ON posts (title); ALTER TABLE posts DROP COLUMN title;",
            "CREATE INDEX IF NOT EXISTS shown ON posts (hidden);",
            ["PG203 posts"],
        ),
        # a function in SQL is inlined: FROM is no table there
        (
            POSTS + "CREATE FUNCTION us() RETURNS bigint LANGUAGE sql AS $$SELECT extract(epoch FROM now())::bigint$$;",
            "ALTER TABLE posts ADD made bigint DEFAULT us();",
            [],
        ),
        (
            POSTS + "CREATE FUNCTION n() RETURNS bigint LANGUAGE sql AS $$SELECT count(*) FROM users$$;",
            "ALTER TABLE posts ADD made bigint DEFAULT n();",
            ["PG201 posts"],
        ),
        # nothing depends on a trigger, a rule or a policy
        (POSTS, "DROP TRIGGER IF EXISTS touch ON posts CASCADE;", []),
        (POSTS, "DROP POLICY own ON posts CASCADE;", []),
        # a transaction that has emptied a table finds no row in it
        (POSTS, "TRUNCATE posts; ALTER TABLE posts ADD slug text NOT NULL UNIQUE;", ["PG105 posts"]),
        (POSTS, "DELETE FROM posts; ALTER TABLE posts ADD slug text NOT NULL;", ["PG106 posts", "PG401 posts?"]),
        (
            POSTS,
            "TRUNCATE posts; INSERT INTO posts SELECT * FROM drafts; CREATE INDEX ON posts (title);",
            ["PG105 posts", "PG203 posts"],
        ),
        # a materialized view that the file fills again loses nothing; one that goes does
        (
            POSTS + "CREATE MATERIALIZED VIEW top AS SELECT id FROM posts;",
            "DROP MATERIALIZED VIEW top; CREATE MATERIALIZED VIEW top AS SELECT id, title FROM posts;"
            " CREATE UNIQUE INDEX ON top (id);",
            [],
        ),
        (POSTS + "CREATE MATERIALIZED VIEW top AS SELECT id FROM posts;", "DROP MATERIALIZED VIEW top;", ["PG101 top"]),
        (
            POSTS + "CREATE VIEW v AS SELECT * FROM posts; CREATE MATERIALIZED VIEW top AS SELECT * FROM v;",
            "DROP VIEW v CASCADE; CREATE MATERIALIZED VIEW top AS SELECT id FROM posts; CREATE INDEX ON top (id);",
            ["PG103 v"],
        ),
        # a type under another name
        (
            USERS + "CREATE TYPE mood AS ENUM ('a'); CREATE TABLE m (x mood);",
            "ALTER TYPE mood RENAME TO mood_old; CREATE TYPE mood AS ENUM ('a', 'b');"
            "ALTER TABLE m ALTER x TYPE mood USING x::text::mood; DROP TYPE mood_old CASCADE;",
            ["PG104 mood_old?", "PG201 m", "PG501 mood"],
        ),
        (
            USERS + "CREATE TYPE mood AS ENUM ('a'); CREATE TABLE m (x mood); ALTER TYPE mood RENAME TO mood_old;",
            "DROP TYPE mood_old CASCADE;",
            ["PG104 mood_old"],
        ),
        # a table that is renamed is one table
        (USERS, "ALTER TABLE users RENAME TO people; ALTER TABLE people ADD born date;", ["PG501 users"]),
        (
            POSTS,
            "ALTER TABLE users RENAME TO people; ALTER TABLE people ADD born date; ALTER TABLE posts ADD x int;",
            ["PG304", "PG501 users"],
        ),
        (
            POSTS,
            "CREATE TABLE fresh (id int); ALTER TABLE fresh RENAME TO newer; ALTER TABLE newer ADD x int;"
            " ALTER TABLE posts ADD x int;",
            [],
        ),
        # a schema that no file makes may not be there
        (USERS, "DROP SCHEMA IF EXISTS r CASCADE;", ["PG101 r?", "PG103 r?"]),
    ],
)
def test_what_is_tied_to_what(past: str, text: str, expected: list[str]) -> None:
    assert told(text, past) == expected


@pytest.mark.parametrize(
    ("view", "column", "refused"),
    [
        ("SELECT u.name FROM posts p JOIN users u ON u.id = p.author", "title", False),
        ("SELECT u.name, p.title FROM posts p JOIN users u ON u.id = p.author", "title", True),
        ("SELECT p.* FROM posts AS p", "title", True),
        ("SELECT u.* FROM posts AS p, users u WHERE p.author = u.id", "title", False),
        ("SELECT *, (SELECT count(*) FROM posts p WHERE p.author = u.id) FROM users u", "title", False),
        ("SELECT *, (SELECT max(title) FROM posts p WHERE p.author = u.id) FROM users u", "title", True),
        ("SELECT title FROM public.posts", "title", True),
        ("SELECT id, name AS title FROM posts, users", "title", False),
        ("SELECT id FROM posts WHERE length(title) > 3", "title", True),
        ("SELECT name FROM users UNION SELECT hidden::text FROM posts", "title", False),
        ('SELECT "title" FROM "posts"', "title", True),
        ("SELECT price * 2 FROM orders, posts", "title", False),
    ],
)
def test_a_view_stands_in_the_way_only_of_the_columns_that_it_uses(view: str, column: str, refused: bool) -> None:
    found = told(f"ALTER TABLE posts ALTER {column} TYPE text;", POSTS + f"CREATE VIEW v AS {view};")
    assert ("PG408 posts?" in found) is refused, found


def test_a_view_goes_on_to_use_a_column_that_is_renamed() -> None:
    past = POSTS + "CREATE VIEW v AS SELECT title FROM posts; ALTER TABLE posts RENAME title TO head;"
    assert "PG408 posts?" in told("ALTER TABLE posts ALTER head TYPE text;", past)


def test_a_change_of_many_foreign_keys_is_told_once_with_every_table() -> None:
    more = "".join(f"CREATE TABLE t{n} (who int REFERENCES users);" for n in range(3))
    one = [one for one in judged("ALTER TABLE users ALTER id TYPE bigint;", USERS + more) if one.code == "PG301"]
    assert [finding.what for finding in one] == [
        "makes foreign keys anew and locks the tables at their other ends (t0, t1, t2) too"
    ]


def test_what_a_function_runs_is_told_once_of_its_caller() -> None:
    body = "CREATE FUNCTION go(t text) RETURNS void LANGUAGE plpgsql AS $$BEGIN EXECUTE 'DROP TRIGGER x ON ' || t; "
    body += "EXECUTE 'CREATE TRIGGER x BEFORE UPDATE ON ' || t; END$$;"
    assert told("SELECT go('posts');", POSTS + body) == ["PG701 ?"]


def test_unique_indexes_of_mongodb_are_named() -> None:
    story = Story()
    story.past(parse_commands(File("past", Path("past"), ""), '[{"create": "people"}]'))
    text = """[{"createIndexes": "people", "indexes": [
        {"key": {"a": 1}, "name": "one", "unique": true}, {"key": {"b": 1}, "name": "two", "unique": true}]}]"""
    found = story.judge(parse_commands(File("f", Path("f"), ""), text))
    assert [one.what for one in found] == [
        "builds the unique index one, which fails if two documents are alike",
        "builds the unique index two, which fails if two documents are alike",
    ]


def test_a_permission_for_a_rule_that_does_not_exist_names_a_near_one() -> None:
    script = parse_sql(File("f", Path("f"), ""), "-- orch: allow PG20 small\nSELECT 1;")
    assert [one.what for one in wrong(permissions(script), [])] == [
        "the permission names PG20, which is no rule: did you mean 'PG208'?"
    ]
