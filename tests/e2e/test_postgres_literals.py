"""Sessions that read literals otherwise than they stand in the file: obeyed where it makes no difference, else refused."""

from __future__ import annotations

import psycopg
import pytest
from house import House
from test_postgres_files import rows, write

FILE = "000002_x.up.sql"


@pytest.fixture
def house(new_house: House) -> House:
    """One database, with files that the test writes after the first."""
    return new_house


def alter(house: House, setting: str) -> None:
    with psycopg.connect(house.dsn, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{house.estate.prefix}db" SET {setting}')


PLAIN = "CREATE TABLE said (what text);\nINSERT INTO said VALUES ($$a\\b$$), (E'c\\\\d''e'), ('plain; it''s');\n"
RISKY = "CREATE TABLE said (what text);\nINSERT INTO said VALUES ('it\\'); DROP TABLE said; --');\n"


@pytest.mark.parametrize("head", ["", "-- orch: no-transaction\n"])
def test_a_server_that_reads_backslashes_gets_no_literal_that_it_would_read_so(house: House, head: str) -> None:
    alter(house, "standard_conforming_strings = off")
    write(house, head + RISKY)
    told = house.orch("apply", code=1).output
    assert f"{FILE}:{3 if head else 2}:29" in told
    assert "options=-cstandard_conforming_strings" in told
    assert rows(house, "SELECT relname FROM pg_class WHERE relname = 'said'") == []
    write(house, head + PLAIN)
    house.orch("apply")
    assert rows(house, "SELECT what FROM said") == ["a\\b", "c\\d'e", "plain; it's"]


def test_a_file_that_sets_the_standard_for_itself_is_obeyed_statement_by_statement(house: House) -> None:
    alter(house, "standard_conforming_strings = off")
    text = "SET standard_conforming_strings = on;\nCREATE TABLE said AS SELECT 'a\\b' AS what;\n"
    write(house, text)
    assert f"{FILE}:2:31" in house.orch("apply", code=1).output
    write(house, "-- orch: no-transaction\n" + text)
    house.orch("apply")
    assert rows(house, "SELECT what FROM said") == ["a\\b"]


@pytest.mark.parametrize(
    "setting",
    [
        "SET standard_conforming_strings = off;",
        "set session standard_conforming_strings to 'off';",
        "SELECT pg_catalog.set_config('standard_conforming_strings', 'off', false);",
    ],
)
def test_a_file_that_turns_the_standard_off_is_refused_by_validate(house: House, setting: str) -> None:
    write(house, f"{setting}\nCREATE TABLE said AS SELECT 'a\\b' AS what;\n")
    assert f"{FILE}:2:31" in house.orch("validate", code=4).output
    write(house, f"{setting}\nCREATE TABLE said AS SELECT E'a\\\\b' AS what;\n")
    house.orch("apply")
    assert rows(house, "SELECT what FROM said") == ["a\\b"]


def test_a_function_that_turns_the_standard_off_is_noticed(house: House) -> None:
    turn = "DO $$ BEGIN PERFORM set_config('standard_conforming_strings', 'off', false); END $$;\n"
    write(house, "-- orch: no-transaction\n" + turn + "CREATE TABLE said AS SELECT 'a\\b' AS what;\n")
    assert f"{FILE}:3:31" in house.orch("apply", code=1).output
    assert rows(house, "SELECT relname FROM pg_class WHERE relname = 'said'") == []


def test_backslash_quote_is_obeyed(house: House) -> None:
    alter(house, "backslash_quote = off")
    write(house, "CREATE TABLE said AS SELECT E'it\\'s; fine' AS what;\n")
    assert "backslash_quote" in house.orch("apply", code=1).output or "22P06" in house.orch("apply", code=1).output
    alter(house, "backslash_quote = on")
    house.orch("apply")
    assert rows(house, "SELECT what FROM said") == ["it's; fine"]


@pytest.mark.parametrize(
    "setting", ["SET NAMES 'latin1';", "SET client_encoding TO latin1;", "set client_encoding = 'WIN1252';"]
)
def test_another_encoding_is_refused_by_validate_where_it_would_matter(house: House, setting: str) -> None:
    write(house, f"SELECT 1;\n{setting}\nCREATE TABLE said AS SELECT 'é' AS what;\n")
    assert f"{FILE}:2:1" in house.orch("validate", code=4).output
    write(
        house,
        f"SELECT 1;\n{setting}\nCREATE TABLE said AS SELECT 'e' AS what;\n",
        "CREATE TABLE next AS SELECT 'é' AS what;",
    )
    house.orch("apply")
    assert rows(house, "SELECT what FROM next") == ["é"]


@pytest.mark.parametrize(
    "setting", ["SET NAMES 'utf8';", "SET client_encoding = 'UTF8';", "SET client_encoding TO DEFAULT;"]
)
def test_the_encoding_of_files_may_be_said(house: House, setting: str) -> None:
    write(house, f"{setting}\nCREATE TABLE said AS SELECT 'é' AS what;\n")
    house.orch("apply")
    assert rows(house, "SELECT what FROM said") == ["é"]


def test_a_function_that_changes_the_encoding_is_noticed(house: House) -> None:
    turn = "DO $$ BEGIN PERFORM set_config('client_encoding', 'latin1', false); END $$;\n"
    write(house, "-- orch: no-transaction\n" + turn + "CREATE TABLE said AS SELECT 'é' AS what;\n")
    told = house.orch("apply", code=1).output
    assert f"{FILE}:3:30" in told
    assert "client_encoding is LATIN1" in told
    assert rows(house, "SELECT relname FROM pg_class WHERE relname = 'said'") == []


def test_a_role_that_asks_for_another_encoding_changes_nothing(house: House) -> None:
    alter(house, "client_encoding = 'latin1'")
    write(house, "CREATE TABLE said AS SELECT 'é' AS what;\n")
    house.orch("apply")
    assert rows(house, "SELECT encode(convert_to(what, 'UTF8'), 'hex') FROM said") == ["c3a9"]
