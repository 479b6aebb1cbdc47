"""SQLite as an engine: Python's own driver, a file for each database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.engines.base import Confined, Copies
from orchestrator.engines.sqlite import errors
from orchestrator.engines.sqlite.dsn import path_of
from orchestrator.engines.sqlite.reader import read_script
from orchestrator.engines.sqlite.records import PLAIN_NAME
from orchestrator.engines.sqlite.session import SqliteSession
from orchestrator.errors import ConnectError, InvalidError, NotPermittedError
from orchestrator.model import CreateOptions, File, Script, Target


class Sqlite:
    """The engine; it holds nothing between two sessions."""

    name = "sqlite"

    def __init__(self, actor: str, run_id: str) -> None:
        self._who = f"orch/{run_id} {actor}"

    def parse(self, file: File, text: str, *, piecewise: bool = False) -> Script:
        """Return a file's statements; InvalidError with file, line and column if it is not one of ours."""
        del piecewise  # golang-migrate has no such mode for SQLite
        return read_script(file, text)

    def confine(self, script: Script, database: str, scratch: str) -> Confined:
        """Return the file as it is: what would reach another file was refused when it was read."""
        del database, scratch
        return Confined(script)

    def check(self, target: Target) -> None:
        """Look at the name of the version table: golang-migrate writes it into its statements as it stands."""
        table = target.parameters.get("x-migrations-table", "")
        if table and not PLAIN_NAME.fullmatch(table):
            raise InvalidError(
                f"{target.database_id}: x-migrations-table is not a plain name",
                hint="use letters, digits and _: golang-migrate does not quote it on SQLite",
            )

    def create(self, target: Target, options: CreateOptions) -> bool:
        """Create the file, which is empty then and a whole database; its directory must be there."""
        del options
        path = Path(path_of(target.url.reveal()))
        try:
            if not path.parent.is_dir() or path.is_dir():
                raise errors.cannot_open(target)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644))
        except FileExistsError:
            return False
        except PermissionError:
            if not os.access(path.parent, os.X_OK):
                raise errors.cannot_open(target) from None
            raise NotPermittedError(
                f"{path} cannot be created: this user cannot write its directory",
                hint="give this user the right to write it: SQLite keeps its journal there too",
            ) from None
        except OSError as error:
            raise ConnectError(
                f"{path} cannot be created: {error.strerror or error}", hint="look at its directory, or correct the DSN"
            ) from None
        return True

    @contextmanager
    def connect(self, target: Target, until: float | None = None) -> Iterator[SqliteSession]:
        """Open a session; DatabaseMissingError where there is no file."""
        del until
        errors.refuse_no_file(target)
        session = SqliteSession(target, self._who)
        try:
            yield session
        finally:
            session.close()

    def copies(self, target: Target, options: CreateOptions) -> Copies:
        """Return the verbs for templates and clones, which are files in the directory of the database."""
        del options
        from orchestrator.engines.sqlite.copies import SqliteCopies

        return SqliteCopies(target, self._who)

    def close(self) -> None:
        """Do nothing: no connection is kept."""
