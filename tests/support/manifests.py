"""Manifests as texts: read, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import ExitCode, InvalidError, InvalidGroup
from orchestrator.manifest import load
from orchestrator.model import Manifest

HEAD = """\
version: 1
servers:
  pg: {engine: postgres, dsn: "postgres://h/{database}"}
  mongo: {engine: mongo, dsn: "mongodb://h/{database}"}
databases:
"""  # entries begin at line 6, column 5


def read(text: str | bytes, directories: bool = False) -> Manifest:
    path = Path("databases.yaml").absolute()
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(path, directories=directories)


def problems(text: str | bytes, directories: bool = False) -> list[InvalidError]:
    with pytest.raises(InvalidError) as caught:
        read(text, directories)
    assert caught.value.exit_code == ExitCode.INVALID
    error = caught.value
    return list(error.errors) if isinstance(error, InvalidGroup) else [error]


def one(text: str | bytes, directories: bool = False) -> tuple[str, str, str]:
    found = problems(text, directories)
    assert len(found) == 1, [(str(error.where), error.what) for error in found]
    return str(found[0].where), found[0].what, f"{found[0].detail} {found[0].hint}"
