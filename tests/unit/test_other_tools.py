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
    "dbmate": "-- migrate:up\nCREATE TABLE {0} (id int);\n-- migrate:down\nDROP TABLE {0};\n",
    "rambler": "-- rambler up\nCREATE TABLE {0} (id int);\n-- rambler down\nDROP TABLE {0};\n",
    "node-pg-migrate": "-- Up Migration\nCREATE TABLE {0} (id int);\n-- Down Migration\nDROP TABLE {0};\n",
    "tern": "CREATE TABLE {0} (id int);\n---- create above / drop below ----\nDROP TABLE {0};\n",
    "the way up and the way down": "-- ==== UP ====\nCREATE TABLE {0} (id int);\n-- ==== DOWN ====\nDROP TABLE {0};\n",
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


@pytest.mark.parametrize(
    "text",
    [
        "-- +goose Up\nCREATE TABLE a (id int);\n",
        "-- +goose Up\nCREATE TABLE a (id int);\n-- +goose Down\n-- nothing\n",
        "INSERT INTO a VALUES ('\n-- +goose Up\n'); INSERT INTO a VALUES ('\n-- +goose Down\n');",
        "-- up to here it was easy\nCREATE TABLE a (id int);\n-- down the road\nCREATE TABLE b (id int);\n",
        "CREATE TABLE a (id int); -- down\nCREATE TABLE b (id int); -- up\n",
        "DO $$BEGIN\n-- up\nPERFORM 1;\n-- down\nPERFORM 2;\nEND$$;",
    ],
)
def test_words_alone_are_no_marks(tmp_path: Path, text: str) -> None:
    orch(project(tmp_path, {"1_a.up.sql": text, "1_a.down.sql": "-- +goose Down\nDROP TABLE a;\n"}), "validate")


@pytest.mark.parametrize(
    ("names", "tool", "hint"),
    [
        (["V1__a.sql", "V2__b.sql", "U1__a.sql", "R__v.sql"], "Flyway or refinery", "cp "),
        (["20240101000000_create_users.rb", "20240102000000_b.rb"], "Rails", "pg_dump"),
        (["0001_initial.py", "0002_b.py"], "Django", "sqlmigrate"),
        (["1975ea83b712_create.py", "ae1027a6acf1_add.py", "env.py"], "Alembic", "--sql"),
        (["1516643303_x.up.go", "1516643304_y.up.go"], "programs", "write the SQL"),
        (["00001_x.go"], "programs", "write the SQL"),
        (["20240101_x.ts"], "programs", "write the SQL"),
        (["db.changelog-master.xml"], "Liquibase", "update-sql"),
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
