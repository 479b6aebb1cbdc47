"""The use case `validate` as Python programs call it: plain data out, and nothing printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import InvalidError
from orchestrator.operations.load import assemble
from orchestrator.operations.validate import validate

MANIFEST = """version: 1
databases:
  - name: shop
    engine: postgres
    dsn: postgres://u:p@localhost/shop
    migrations: shop
"""


def project(directory: Path, up: str) -> str:
    (directory / "shop").mkdir()
    (directory / "shop" / "1_first.up.sql").write_text(up)
    (directory / "databases.yaml").write_text(MANIFEST)
    return str(directory / "databases.yaml")


def test_the_result_is_data_and_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    found = validate(assemble(project(tmp_path, "CREATE TABLE a (b int);")))
    assert (found.databases, found.files) == (1, 1)
    assert ("postgres-shop", "version 1 has no down file: it cannot be rolled back") in [
        (warned.database, warned.what) for warned in found.warnings
    ]
    assert capfd.readouterr() == ("", "")


def test_what_is_wrong_is_raised(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="never closed"):
        validate(assemble(project(tmp_path, "CREATE TABLE a (b int;")))
