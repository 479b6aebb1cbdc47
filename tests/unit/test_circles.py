"""Messages that led in circles, cited what nobody has, or took what is no number."""

from __future__ import annotations

from pathlib import Path

import pytest
from project import orch, small_project


@pytest.mark.parametrize("text", ["", "\n \n", "\ufeff"])
def test_an_empty_manifest_is_written_by_init(tmp_path: Path, text: str) -> None:
    (tmp_path / "databases.yaml").write_text(text)
    assert "orch init" in orch(tmp_path, "validate", code=4).stderr
    assert "orch init" in orch(tmp_path, "add-db", "a", code=4).stderr
    orch(tmp_path, "init")
    orch(tmp_path, "add-db", "a")
    orch(tmp_path, "validate")


@pytest.mark.parametrize("text", ["# later\n", "- a\n"])
def test_a_file_that_is_no_manifest_is_not_overwritten(tmp_path: Path, text: str) -> None:
    (tmp_path / "databases.yaml").write_text(text)
    told = orch(tmp_path, "init", code=2).stderr
    assert "move it away" in told
    assert "add-db" not in told
    assert (tmp_path / "databases.yaml").read_text() == text


@pytest.mark.parametrize(
    "text",
    [
        "version: 1\n",
        "version: 1\ndatabases: []  # none yet\nlint: {}\n",
        "# x\nversion: 1\n# y\n\ndatabases:\n",
        "version: 1",
    ],
)
@pytest.mark.parametrize("engine", ["postgres", "sqlite"])
def test_a_manifest_without_servers_gets_the_first_with_its_first_database(
    tmp_path: Path, text: str, engine: str
) -> None:
    path = tmp_path / "databases.yaml"
    path.write_text(text)
    assert "orch add-db NAME adds the first" in orch(tmp_path, "validate", code=4).stderr
    orch(tmp_path, "add-db", "a", "--engine", engine)
    assert "1 database" in orch(tmp_path, "validate").stdout
    orch(tmp_path, "add-db", "b", "--engine", engine)
    kept = [line for line in text.splitlines() if not line.startswith("databases")]
    assert [line for line in path.read_text().splitlines() if line in kept] == kept


def test_a_misspelt_dependency_cites_no_line_that_nobody_has(tmp_path: Path) -> None:
    root = small_project(tmp_path)
    before = (root / "databases.yaml").read_text()
    told = orch(root, "add-db", "c", "--depends-on", "aa", code=4).stderr
    assert "databases.yaml:" not in told
    assert "aa" in told
    assert "nothing was written" in told
    assert (root / "databases.yaml").read_text() == before


@pytest.mark.parametrize("command", ["verify", "plan"])
def test_a_refused_format_is_not_printed(tmp_path: Path, command: str) -> None:
    done = orch(small_project(tmp_path), command, "--output", "jsonl", code=2)
    assert done.stdout == ""
    assert "jsonl" in done.stderr


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "NaN"])
@pytest.mark.parametrize("option", ["--wait", "--lock-timeout"])
def test_options_are_finite_numbers(tmp_path: Path, option: str, value: str) -> None:
    assert option in orch(small_project(tmp_path), "apply", f"{option}={value}", code=2).stderr


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "soon"])
def test_numbers_in_a_dsn_are_finite(tmp_path: Path, value: str) -> None:
    root = small_project(tmp_path)
    manifest = root / "databases.yaml"
    text = manifest.read_text().replace("{database}", f"{{database}}?x-statement-timeout={value}", 1)
    manifest.write_text(text.replace("${POSTGRES_PASSWORD}", "p"))
    for command in ("validate", "apply"):
        told = orch(root, command, code=4).stderr
        assert "x-statement-timeout in the DSN must be a finite number" in told
