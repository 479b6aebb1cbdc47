"""DSNs of SQLite: which file is meant, and what cannot be meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.engines.sqlite.dsn import DSN, path_of
from orchestrator.engines.url import DsnError


def file_of(text: str, base: Path) -> str:
    return path_of(DSN.read(text, base=base).url)


@pytest.mark.parametrize(
    ("dsn", "path"),
    [
        ("sqlite3://a.db", "{base}/a.db"),
        ("sqlite://./d//a.db", "{base}/d/a.db"),
        ("sqlite3://d/../a.db", "{base}/a.db"),  # what is plainly the same is told as such
        ("sqlite3://link/../a.db", "{base}/link/../a.db"),  # golang-migrate, and the kernel: beside the link's target
        ("sqlite3:////var/a.db", "/var/a.db"),
        ("sqlite3:///var/a%20b%3F.db", "/var/a%20b%3F.db"),
        ("sqlite3:///var/a.db?_fk=ON&_rt=no&_busy_timeout=5", "/var/a.db"),
    ],
)
def test_the_file_is_the_one_that_golang_migrate_opens(tmp_path: Path, dsn: str, path: str) -> None:
    (tmp_path / "far" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("far/deep")
    assert file_of(dsn, tmp_path) == path.format(base=tmp_path)


@pytest.mark.parametrize(
    ("dsn", "what"),
    [
        ("sqlite3://a.db?_fk=enabled", "wrong value for '_fk'"),
        ("sqlite3://a.db?_foreign_keys=2", "wrong value for '_foreign_keys'"),
        ("sqlite3://a.db?_fk=1#x", "holds a '#'"),
        ("sqlite3:///" + "d/" * 250 + "x.db", "504"),
    ],
)
def test_what_golang_migrate_or_sqlite_would_refuse_is_refused(tmp_path: Path, dsn: str, what: str) -> None:
    with pytest.raises(DsnError, match=what):
        DSN.read(dsn, base=tmp_path)


def test_the_longest_path_is_taken(tmp_path: Path) -> None:
    longest = "/" + "d" * 200 + "/" + "d" * 200 + "/" + "d" * 101
    assert len(longest) == 504 and file_of(f"sqlite3://{longest}", tmp_path) == longest
    with pytest.raises(DsnError):
        file_of(f"sqlite3://{longest}d", tmp_path)
