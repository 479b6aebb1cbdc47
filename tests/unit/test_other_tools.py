"""Migration files of other tools: recognised, refused as one error a tool, and converted by the command in its hint."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from project import orch, small_project

PLACE = "migrations/postgres-a/schema"
IN_ONE_FILE = {
    "goose": "-- +goose Up\nCREATE TABLE {0} (id int);\n\n-- +goose Down\nDROP TABLE {0};\n",
    "sql-migrate": "-- +migrate Up\nCREATE TABLE {0} (id int);\n-- +migrate Down\nDROP TABLE {0};\n",
    "micrate": "-- +micrate Up\nCREATE TABLE {0} (id int);\n-- +micrate Down\nDROP TABLE {0};\n",
    "dbmate": "-- migrate:up\nCREATE TABLE {0} (id int);\n-- migrate:down\nDROP TABLE {0};\n",
    "rambler": "-- rambler up\nCREATE TABLE {0} (id int);\n-- rambler down\nDROP TABLE {0};\n",
    "node-pg-migrate": "-- Up Migration\nCREATE TABLE {0} (id int);\n-- Down Migration\nDROP TABLE {0};\n",
    "tern": "CREATE TABLE {0} (id int);\n---- create above / drop below ----\nDROP TABLE {0};\n",
    "both directions (up and down)": "-- ==== UP ====\nCREATE TABLE {0} (id int);\n-- ==== DOWN ====\nDROP TABLE {0};\n",
}


def project(tmp_path: Path, files: dict[str, str]) -> Path:
    root = small_project(tmp_path)
    for old in (root / PLACE).iterdir():
        old.unlink()
    for name, text in files.items():
        path = root / PLACE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def command(told: str) -> str:
    """Return the shell command of a hint."""
    found = re.search(r"(mkdir -p .*?done); then write `migrations: (\S+)`", told)
    assert found, told
    return found[1]


@pytest.mark.parametrize("suffix", [".sql", ".up.sql"])
@pytest.mark.parametrize("tool", IN_ONE_FILE)
def test_both_ways_in_one_file_are_refused_and_converted(tmp_path: Path, tool: str, suffix: str) -> None:
    texts = {f"{number}_t{number}{suffix}": IN_ONE_FILE[tool].format(f"t{number}") for number in range(1, 31)}
    root = project(tmp_path, texts)
    told = orch(root, "validate", code=4).stderr
    assert told.count("error:") == 1
    assert "30 migration files" in told.splitlines()[0]
    assert tool in told.splitlines()[0]
    assert told.splitlines()[0].partition("files")[2].count("_t") == 3
    assert told.splitlines()[0].endswith(", …")
    subprocess.run(command(told), shell=True, check=True, cwd=root)
    (root / PLACE).rename(root / "old")
    (root / f"{PLACE}-converted").rename(root / PLACE)
    assert "61 migration file" in orch(root, "validate").stdout
    assert "CREATE TABLE t7" in (root / PLACE / "7_t7.up.sql").read_text()
    assert "DROP" not in (root / PLACE / "7_t7.up.sql").read_text()
    assert "DROP TABLE t7" in (root / PLACE / "7_t7.down.sql").read_text()


def test_other_files_of_the_directory_are_converted_with_them(tmp_path: Path) -> None:
    plain = {"1_a.up.sql": "CREATE TABLE a ();", "1_a.down.sql": "DROP TABLE a;"}
    files = {"2_b.up.sql": IN_ONE_FILE["goose"].format("b"), "3_c.up.sql": IN_ONE_FILE["dbmate"].format("c")}
    root = project(tmp_path, plain | files)
    told = orch(root, "validate", code=4).stderr
    assert told.count("error:") == 2
    for line in told.splitlines():
        if "hint" in line:
            subprocess.run(command(line), shell=True, check=True, cwd=root)
    found = sorted(path.name for path in (root / f"{PLACE}-converted").iterdir())
    assert found == [f"{n}_{x}.{way}.sql" for n, x in ((1, "a"), (2, "b"), (3, "c")) for way in ("down", "up")]
    assert "DROP" not in "".join(path.read_text() for path in (root / f"{PLACE}-converted").glob("*.up.sql"))


LIQUIBASE = """\
--liquibase formatted sql

--changeset ann:1
CREATE TABLE a (id int);
--rollback DROP TABLE a;

--changeset ann:2 splitStatements:false
CREATE TABLE b (id int);
"""


def test_formatted_sql_of_liquibase_is_told(tmp_path: Path) -> None:
    told = orch(project(tmp_path, {"001_a.sql": LIQUIBASE, "002_b.sql": LIQUIBASE}), "validate", code=4).stderr
    assert told.count("error:") == 1
    assert "2 migration files of Liquibase" in told
    assert "liquibase update-sql" in told


SEVERAL = {
    "goose": (
        "-- +goose NO TRANSACTION\n-- +goose Up\n-- +goose StatementBegin\nCREATE TABLE a (id int);\n"
        "-- +goose StatementEnd\n-- +goose Down\nDROP TABLE b;\n-- +goose Up\nCREATE TABLE b (id int);\n-- +goose Down\n"
        "DROP TABLE a;\n"
    ),
    "dbmate": (
        "-- migrate:up transaction:false\nCREATE TABLE a (id int);\n\n-- migrate:down transaction:false\nDROP TABLE b;\n"
        "-- migrate:up\nCREATE TABLE b (id int);\n-- migrate:down\nDROP TABLE a;\n"
    ),
    "sql-migrate": (
        "-- +migrate Up notransaction\nCREATE TABLE a (id int);\n-- +migrate StatementBegin\nCREATE TABLE b (id int);\n"
        "-- +migrate StatementEnd\n-- +migrate Down\nDROP TABLE b;\nDROP TABLE a;\n"
    ),
    "rambler": (
        "-- rambler up\r\nCREATE TABLE a (id int);\r\n-- rambler up\r\nCREATE TABLE b (id int);\r\n-- rambler down\r\n"
        "DROP TABLE b;\r\n-- rambler down\r\nDROP TABLE a;\r\n"
    ),
    "goose in capitals": (
        "  -- +GOOSE UP\nCREATE TABLE a ();\nCREATE TABLE b ();\n\t--\t+Goose DOWN\nDROP TABLE b;\nDROP TABLE a;\n"
    ),
    "dbmate with dashes": (
        "---- migrate:UP\nCREATE TABLE a ();\nCREATE TABLE b ();\n --migrate:Down\nDROP TABLE b;\nDROP TABLE a;\n"
    ),
    "both directions": "  -- UPS --\nCREATE TABLE a ();\nCREATE TABLE b ();\n# --- !Undo\nDROP TABLE b;\nDROP TABLE a;\n",
    "(up and down)": "-- [up]\nCREATE TABLE a ();\nCREATE TABLE b ();\n-- [down].\nDROP TABLE b;\nDROP TABLE a;\n",
    "with": "-- <UP>\nCREATE TABLE a ();\nCREATE TABLE b ();\n-- {Down}\nDROP TABLE b;\nDROP TABLE a;\n",
    "tern": (
        "CREATE TABLE a ();\nCREATE TABLE b ();\n--- Create Above / Drop Below ---\nDROP TABLE b;\nDROP TABLE a;\n"
    ),
    "goose in": "/* +goose Up */\nCREATE TABLE a ();\nCREATE TABLE b ();\n/* +goose Down */\nDROP TABLE b;\nDROP TABLE a;\n",
    "up": "/* up */\nCREATE TABLE a ();\nCREATE TABLE b ();\n/* ---- DOWN ---- */\nDROP TABLE b;\nDROP TABLE a;\n",
    "directions": "CREATE TABLE a ();\nCREATE TABLE b ();\n\n--//@UNDO\nDROP TABLE b;\nDROP TABLE a;\n",
    "up and down": "CREATE TABLE a ();\nCREATE TABLE b ();\n-- ROLLBACK SCRIPT --\nDROP TABLE b;\nDROP TABLE a;\n",
    "one file": "# --- !Ups\nCREATE TABLE a ();\nCREATE TABLE b ();\n# --- !Downs\nDROP TABLE b;\nDROP TABLE a;\n",
    "all of it": "-- !Ups\nCREATE TABLE a ();\nCREATE TABLE b ();\n-- !Downs\nDROP TABLE b;\nDROP TABLE a;\n",
    "would run": "-- Migration Up\nCREATE TABLE a ();\nCREATE TABLE b ();\n-- migration: down\nDROP TABLE b;\nDROP TABLE a;\n",
    "in one": (
        "-- atlas:txtar\n-- migration.sql --\nCREATE TABLE a ();\nCREATE TABLE b ();\n-- down.sql --\nDROP TABLE b;\n"
        "DROP TABLE a;\n"
    ),
    "both": "-- upgrade\nCREATE TABLE a ();\nCREATE TABLE b ();\n-- downgrade\nDROP TABLE b;\nDROP TABLE a;\n",
    "Sqitch": (
        "-- Deploy shop:a to pg\nCREATE TABLE a ();\nCREATE TABLE b ();\n-- Revert shop:a from pg\nDROP TABLE b;\n"
        "DROP TABLE a;\n"
    ),
    "sql-migrate without": (
        "-- +migrate Up\nCREATE TABLE a ();\nCREATE TABLE b ();\n-- +migrate Down notransaction\nDROP TABLE b;\nDROP TABLE a;\n"
    ),
    "goose of": "--+goose Up\nCREATE TABLE a ();\nCREATE TABLE b ();\n--+goose down\nDROP TABLE b;\nDROP TABLE a;\n",
}


@pytest.mark.parametrize("tool", SEVERAL)
def test_several_markers_in_one_file_are_sorted_by_their_way(tmp_path: Path, tool: str) -> None:
    root = project(tmp_path, {"1_a.sql": "", "2_t.sql": SEVERAL[tool]})
    (root / PLACE / "1_a.sql").unlink()
    told = orch(root, "validate", code=4).stderr
    assert tool.split()[0] in told.splitlines()[0]
    subprocess.run(command(told), shell=True, check=True, cwd=root)
    up, down = ((root / f"{PLACE}-converted" / f"2_t.{way}.sql").read_text() for way in ("up", "down"))
    assert [up.count(word) for word in ("CREATE TABLE a", "CREATE TABLE b", "DROP")] == [1, 1, 0]
    assert [down.count(word) for word in ("DROP TABLE a", "DROP TABLE b", "CREATE")] == [1, 1, 0]


@pytest.mark.parametrize(
    "text",
    [
        "-- +goose Up\nCREATE TABLE a (id int);\n",
        "-- +goose Up\nCREATE TABLE a (id int);\n-- +goose Down\n-- nothing\n",
        "INSERT INTO a VALUES ('\n-- +goose Up\n'); INSERT INTO a VALUES ('\n-- +goose Down\n');",
        "-- up to here it was easy\nCREATE TABLE a (id int);\n-- down the road\nCREATE TABLE b (id int);\n",
        "CREATE TABLE a (id int); -- down\nCREATE TABLE b (id int); -- up\n",
        "DO $$BEGIN\n-- up\nPERFORM 1;\n-- down\nPERFORM 2;\nEND$$;",
        "CREATE TABLE a (id int);\n-- the app goes down here\nDROP TABLE b;\n/* roll back by hand */\nDROP TABLE c;\n",
        "BEGIN;\nSAVEPOINT s;\nDROP TABLE IF EXISTS b;\n-- rollback\nROLLBACK TO s;\nCREATE TABLE a (id int);\nCOMMIT;\n",
        "CREATE TABLE a (id int);\n-- forward\nCREATE INDEX x ON a (id);\n-- backward\nCREATE INDEX y ON a (id DESC);\n",
        "--liquibase formatted sql\n--changeset ann:1\nCREATE TABLE a (id int);\n--rollback not required\n",
        "-- rollback DROP TABLE a;\nCREATE TABLE a (id int);\n",
        "CREATE TABLE a ();\n-- rollback:\n-- DROP TABLE a;\nALTER TABLE b ADD c int;\n-- Down\n--   DROP TABLE c;\n",
        "/* up */ CREATE TABLE a (id int);\n",
        "-- +m\u0131grate Up\nCREATE TABLE a (id int);\n-- +goo\u017fe Down\nDROP TABLE IF EXISTS b;\n",
    ],
)
def test_words_alone_are_no_marks(tmp_path: Path, text: str) -> None:
    orch(project(tmp_path, {"1_a.up.sql": text, "1_a.down.sql": "-- +goose Down\nDROP TABLE a;\n"}), "validate")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("CREATE TABLE a (id int);\n/*\n * DOWN\n */\nDROP TABLE a;\n", "write what goes up into"),
        ("/* up */ CREATE TABLE a (id int);\n/* down */ DROP TABLE a;\n", "write what goes up into"),
        ("-- +goose Up\nCREATE TABLE a (id int);\n-- down\nDROP TABLE a;\n", "write what goes up into"),
        (LIQUIBASE, "liquibase future-rollback-sql"),
        (
            "--liquibase formatted sql\n--changeset a:1\nSELECT 1;\n/* liquibase rollback\nDROP TABLE a;\n*/\n",
            "liquibase",
        ),
    ],
)
def test_what_no_command_can_divide_is_refused(tmp_path: Path, text: str, told: str) -> None:
    said = orch(project(tmp_path, {"1_a.up.sql": text}), "validate", code=4).stderr
    assert said.count("error:") == 1
    assert told in said


@pytest.mark.parametrize(
    ("names", "tool", "hint"),
    [
        (["V1__a.sql", "V2__b.sql", "U1__a.sql", "R__v.sql"], "Flyway or refinery", "cp "),
        (["20240101000000_create_users.rb", "20240102000000_b.rb"], "Rails", "pg_dump"),
        (["20240101000000_create_users.rb", "20240102000000_b.rb", "../schema.rb"], "Rails", "pg_dump"),
        (["20240101000000_create_users.exs", "20240102000000_b.exs", ".formatter.exs"], "Ecto", "mix ecto.dump"),
        (["0001_initial.py", "0002_b.py"], "Django", "sqlmigrate"),
        (
            ["__init__.py", "0001_initial.py", "0002_alter_user_name.py", "0003_merge_20240101_1200.py"],
            "Django",
            "sqlmigrate",
        ),
        (["2024_01_31_1200-1975ea83b712_create_account.py", "__pycache__/x.pyc"], "Alembic", "--sql"),
        (["1975ea83b712_create.py", "ae1027a6acf1_add.py", "env.py"], "Alembic", "--sql"),
        (["1516643303_x.up.go", "1516643304_y.up.go"], "in a programming language", "write the SQL"),
        (["00001_x.go"], "in a programming language", "write the SQL"),
        (["20240101_x.ts"], "in a programming language", "write the SQL"),
        (["db.changelog-master.xml"], "Liquibase", "update-sql"),
        (["db.changelog-master.yaml", "db.changelog-1.0.sql"], "Liquibase", "update-sql"),
        (["2024-01-01-000000_users/up.sql", "2024-01-01-000000_users/down.sql"], "Diesel", "cp "),
        (["20240101000000_init/migration.sql"], "Prisma", "cp "),
    ],
)
def test_names_of_other_tools(tmp_path: Path, names: list[str], tool: str, hint: str) -> None:
    told = orch(project(tmp_path, dict.fromkeys(names, "SELECT 1;")), "validate", code=4).stderr
    assert told.count("error:") == 1
    assert tool in told.splitlines()[0]
    assert hint in told
    assert "name it" not in told


@pytest.mark.parametrize(
    ("files", "made"),
    [
        (["V1__a.sql", "V2__b_c.sql", "U1__a.sql"], ["1_a.down.sql", "1_a.up.sql", "2_b_c.up.sql"]),
        (
            ["2024-01-01-000000_a/up.sql", "2024-01-01-000000_a/down.sql"],
            ["20240101000000_a.down.sql", "20240101000000_a.up.sql"],
        ),
        (["20240101000000_init/migration.sql"], ["20240101000000_init.up.sql"]),
    ],
)
def test_names_are_converted_by_the_hint(tmp_path: Path, files: list[str], made: list[str]) -> None:
    root = project(tmp_path, dict.fromkeys(files, "SELECT 1;"))
    told = orch(root, "validate", code=4).stderr
    subprocess.run(command(told), shell=True, check=True, cwd=root)
    assert sorted(path.name for path in (root / f"{PLACE}-converted").iterdir()) == made


def test_a_program_beside_the_sql(tmp_path: Path) -> None:
    root = project(
        tmp_path, {"1_a.up.sql": "SELECT 1;", "1_a.down.sql": "", "1_a.up.go": "package m", "2_b.up.go": "package m"}
    )
    told = orch(root, "validate", code=4).stderr
    assert told.count("error:") == 1
    assert "2 migration files" in told
    assert "golang-migrate would send the text" in told
    assert "name it" not in told
