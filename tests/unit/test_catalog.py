"""Migration files on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import InvalidError, InvalidGroup, OrchError
from orchestrator.model import Database, Migration
from orchestrator.planning.catalog import read_catalog, read_text


def read(tmp_path: Path, files: dict[str, bytes], engine: str = "postgres") -> tuple[Migration, ...]:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return read_catalog(Database(f"{engine}-a", engine, "a", "", tmp_path))


def errors(tmp_path: Path, files: dict[str, bytes], engine: str = "postgres") -> list[InvalidError]:
    with pytest.raises(InvalidError) as caught:
        read(tmp_path, files, engine)
    return list(caught.value.errors) if isinstance(caught.value, InvalidGroup) else [caught.value]


def test_numeric_order_gaps_and_timestamps(tmp_path: Path) -> None:
    names = [
        "10_c.up.sql",
        "000002_b.up.sql",
        "1_a.up.sql",
        "1_a.down.sql",
        "20240826120919_init.up.sql",
        "0_zero.up.sql",
    ]
    found = read(tmp_path, dict.fromkeys(names, b""))
    assert [(m.version, m.name, bool(m.down)) for m in found] == [
        (0, "zero", False),
        (1, "a", True),
        (2, "b", False),
        (10, "c", False),
        (20240826120919, "init", False),
    ]


@pytest.mark.parametrize("name", ["1_.up.sql", "1_a.b.c.up.sql", "1_with space.up.sql", "1_ชื่อ.up.sql", "1_up.up.sql"])
def test_names_that_golang_migrate_takes(tmp_path: Path, name: str) -> None:
    assert [m.version for m in read(tmp_path, {name: b""})] == [1]


@pytest.mark.parametrize("name", ["README.md", ".gitkeep", ".000001_x.up.sql.swp", "notes.txt", "schema.png"])
def test_other_files_are_let_be(tmp_path: Path, name: str) -> None:
    assert read(tmp_path, {name: b""}) == ()


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("0001-x.up.sql", "000001_x.up.sql"),
        ("000001_x.UP.sql", "000001_x.up.sql"),
        ("000001_x.up.SQL", "000001_x.up.sql"),
        ("000001x.up.sql", "000001_x.up.sql"),
        ("000001_x-up.sql", "000001_x.up.sql"),
        ("000001_x.sql", "000001_x.up.sql"),
        ("x.up.sql", "NNNNNN_description.up.sql"),
        ("000001_x.up.sql.bak", "000001_x.up.sql"),
        ("000001_x.up.js", "000001_x.up.sql"),
        ("000001_x.up.txt", "000001_x.up.sql"),
    ],
)
def test_names_that_are_almost_right(tmp_path: Path, name: str, hint: str) -> None:
    (error,) = errors(tmp_path, {name: b""})
    assert name in error.what
    assert error.where is not None
    assert error.where.path.endswith(name)
    assert hint in error.hint


@pytest.mark.parametrize("extension", ["js", "json"])
def test_extensions_of_mongodb(tmp_path: Path, extension: str) -> None:
    assert len(read(tmp_path, {f"1_a.up.{extension}": b"[]"}, "mongo")) == 1


@pytest.mark.parametrize("pair", [("1_a.up.sql", "000001_b.up.sql"), ("1_a.down.sql", "01_a.down.sql")])
def test_two_files_of_one_version(tmp_path: Path, pair: tuple[str, str]) -> None:
    found = errors(tmp_path, {"1_z.up.sql" if "down" in pair[0] else "2_z.up.sql": b"", **dict.fromkeys(pair, b"")})
    assert len(found) == 1
    assert "for version 1" in found[0].what
    places = f"{found[0].where} {found[0].detail}"
    assert all(name in places for name in pair)


def test_a_down_without_its_up_is_a_version(tmp_path: Path) -> None:
    first, second = read(tmp_path, {"1_a.up.sql": b"", "2_b.down.sql": b""})
    assert first.up and not first.down
    assert (second.version, second.name, second.up) == (2, "b", None)
    assert second.down


def test_versions_end_where_the_column_of_the_version_table_does(tmp_path: Path) -> None:
    assert read(tmp_path, {f"{2**63 - 1}_x.up.sql": b""})[0].version == 2**63 - 1
    assert "too large" in errors(tmp_path, {f"{2**63}_x.up.sql": b""})[0].what


def test_everything_wrong_is_told_at_once(tmp_path: Path) -> None:
    assert len(errors(tmp_path, {"1-a.up.sql": b"", "x.up.sql": b"", "3_c.up.js": b""})) == 3


@pytest.mark.parametrize("content", [b"SELECT 1;\r\nSELECT 2;\r\n", b"\xef\xbb\xbfSELECT 1;\nSELECT 2;\n"])
def test_line_ends_and_byte_order_marks_do_not_count_for_the_checksum(tmp_path: Path, content: bytes) -> None:
    first, second = read(tmp_path, {"1_a.up.sql": b"SELECT 1;\nSELECT 2;\n", "2_b.up.sql": content})
    assert first.up
    assert second.up
    assert first.up.checksum == second.up.checksum
    assert read_text(second.up) == content.removeprefix(b"\xef\xbb\xbf").decode()


def test_any_other_difference_is_one(tmp_path: Path) -> None:
    found = read(tmp_path, {"1_a.up.sql": b"SELECT 1;", "2_a.up.sql": b"SELECT 1; ", "3_a.up.sql": b"SELECT 1;\r"})
    assert len({m.up.checksum for m in found if m.up}) == 3


@pytest.mark.parametrize(
    ("content", "line", "column"),
    [(b"\xff", 1, 1), (b"ok\nab\xe9c", 2, 3), (b"ok\r\nab\xe9c", 2, 3), ("ชื่อ".encode() + b"\x80", 1, 5)],
)
def test_not_utf8(tmp_path: Path, content: bytes, line: int, column: int) -> None:
    (found,) = read(tmp_path, {"1_a.up.sql": content})
    assert found.up
    with pytest.raises(InvalidError) as caught:
        read_text(found.up)
    assert caught.value.where is not None
    assert (caught.value.where.line, caught.value.where.column) == (line, column)


def test_a_file_that_changes_while_orch_runs(tmp_path: Path) -> None:
    (found,) = read(tmp_path, {"1_a.up.sql": b"SELECT 1;"})
    assert found.up
    found.up.location.write_bytes(b"SELECT 2;")
    with pytest.raises(OrchError, match="changed while orch was running"):
        read_text(found.up)


@pytest.mark.parametrize(("size", "fine"), [(64 * 1024 * 1024, True), (64 * 1024 * 1024 + 1, False)])
def test_the_largest_file(tmp_path: Path, size: int, fine: bool) -> None:
    with (tmp_path / "1_a.up.sql").open("wb") as file:
        file.truncate(size)
    if fine:
        assert len(read(tmp_path, {})) == 1
    else:
        assert "larger than 64 MiB" in errors(tmp_path, {})[0].what


def test_a_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(InvalidError) as caught:
        read_catalog(Database("postgres-a", "postgres", "a", "", tmp_path / "nowhere"))
    assert "mkdir -p" in caught.value.hint
