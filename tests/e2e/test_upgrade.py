"""A cluster moved by pg_upgrade, and one restored to a point in time: what orch says of them, and how to go on."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from estate import SERVERS, Estate
from replication import execute, program, serving

from orchestrator import embedded
from orchestrator.embedded import Server
from orchestrator.embedded.process import free_port

FILES: dict[str, str | bytes] = {
    f"{n}_t.{way}.sql": text
    for n in (1, 2)
    for way, text in (("up", f"CREATE TABLE t{n} ();"), ("down", f"DROP TABLE t{n};"))
}
THREE: dict[str, str | bytes] = {"3_t.up.sql": "CREATE TABLE t3 ();", "3_t.down.sql": "DROP TABLE t3;"}


def cluster(kind: str, root: Path) -> Server:
    """Start a cluster of its own with the programs of this kind."""
    with mock.patch.dict(os.environ, SERVERS[kind][1]):
        return embedded.up(root, ["postgres"])["postgres"]


def as_owner(server: Server, *command: object) -> None:
    """Run a program as the user who owns the data of this server."""
    owner = server.data.stat()
    login = {"PGPASSWORD": server.password, "PGUSER": server.user}
    arguments = list(map(str, command))
    done = subprocess.run(
        arguments,
        user=owner.st_uid,
        group=owner.st_gid,
        cwd=server.data.parent,
        env={**os.environ, **login},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


@pytest.mark.soak
def test_a_cluster_that_pg_upgrade_moved_is_declared_once(tmp_path: Path) -> None:
    if not SERVERS["postgres-debian"][1]["ORCH_POSTGRES_BIN"]:
        pytest.skip("no PostgreSQL from Debian on this machine")
    roots = {kind: tmp_path / kind for kind in ("postgres-debian", "postgres-wheel")}
    old, new = (cluster(kind, root) for kind, root in roots.items())
    try:
        execute(
            old.dsn("postgres"), f"ALTER ROLE {old.user} PASSWORD '{new.password}'"
        )  # pg_upgrade takes one for both
        old = dataclasses.replace(old, password=new.password)
        estate = Estate(tmp_path, {"postgres": old})
        estate.add("postgres", "a", FILES, drift="warn")
        estate.add("postgres", "b c", FILES)
        estate.orch("apply")
        upgrade(old, new, roots)
        estate.servers["postgres"] = cluster("postgres-wheel", roots["postgres-wheel"])
        for name in ("a", "b c"):
            estate.write(f"postgres-{name}", THREE)
        estate.manifest("  - {name: a, server: postgres, drift: warn}\n  - {name: b c, server: postgres}\n")
        for command in (["status"], ["plan"], ["apply"], ["wait", "--timeout", "5"]):
            told = estate.orch(*command, code=5).text
            assert "were written in database" in told and "on server" in told, command
            assert "pg_upgrade" in told and "orch repair" in told and "--here" in told, command
        assert application(estate) == [{"t1", "t2"}] * 2
        estate.orch("repair", "--here", "--reason", "pg_upgrade to 18")
        assert "the server is" in estate.orch("apply").text, "the kept schema snapshot is of another release"
        assert application(estate) == [{"t1", "t2", "t3"}] * 2
        estate.orch("drift", "--kept", "a")
        estate.orch("rollback", "b c", "--to", "1", "--yes")
        assert not estate.status("postgres-a")["problems"] and not estate.status("postgres-b c")["problems"]
    finally:
        for root in roots.values():
            embedded.remove(root)


def application(estate: Estate) -> list[set[str]]:
    """Return the tables that the files made."""
    return [estate.tables(name) - {"orch_history_snapshot"} for name in ("a", "b c")]


def upgrade(old: Server, new: Server, roots: dict[str, Path]) -> None:
    """Stop both clusters, and move all that is in the old one to the new one."""
    programs = [Path(f"/proc/{server.pid}/exe").resolve().parent for server in (old, new)]
    for root in roots.values():
        embedded.down(root)
    as_owner(new, programs[1] / "pg_checksums", "--disable", "-D", new.data.resolve())
    directories = ("-b", programs[0], "-B", programs[1], "-d", old.data.resolve(), "-D", new.data.resolve())
    as_owner(
        new, programs[1] / "pg_upgrade", "-U", new.user, *directories, "--no-sync", "-s", new.data.resolve().parent
    )


# ---------------------------------------------------------------- a point in time


@contextmanager
def restored(primary: Server, base: Path, archive: Path, settings: str) -> Iterator[int]:
    """Run a cluster on a base backup, recovered from the archive to the point that the settings name; yield its port."""
    owner, port = primary.data.stat(), free_port()
    with (base / "postgresql.auto.conf").open("a") as file:
        file.write(
            f"\nport = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = ''\narchive_mode = off\n"
            f"max_connections = 500\nrestore_command = 'cp {archive}/%f %p'\nrecovery_target_action = promote\n{settings}\n"
        )
    (base / "recovery.signal").touch()
    subprocess.run(["chown", "-R", f"{owner.st_uid}:{owner.st_gid}", base], check=True)
    with serving(primary, base, port, "SELECT NOT pg_is_in_recovery()"):
        yield port


@pytest.mark.soak
def test_a_cluster_restored_to_a_point_in_time_goes_on_from_there(tmp_path: Path) -> None:
    """Records and data come back together: no command is needed. In the middle of a file, that file is gone on with."""
    root = tmp_path / "primary"
    primary = cluster("postgres-wheel", root)
    place = primary.data.resolve().parent
    archive, bases = place / "archive", [place / "base1", place / "base2"]
    try:
        owner = primary.data.stat()
        archive.mkdir()
        os.chown(archive, owner.st_uid, owner.st_gid)
        archived = f"ALTER SYSTEM SET archive_command = 'cp %p {archive}/%f'"
        execute(primary.dsn("postgres"), "ALTER SYSTEM SET archive_mode = on", archived)
        embedded.down(root)
        primary = cluster("postgres-wheel", root)
        estate = Estate(tmp_path, {"postgres": primary})
        estate.add("postgres", "a", FILES)
        estate.orch("apply")
        for base in bases:
            program(primary, "pg_basebackup", "-D", base, "-X", "none", "-c", "fast")
        execute(primary.dsn("postgres"), "SELECT pg_create_restore_point('before')")
        by_pieces = (
            "-- orch: no-transaction\nCREATE TABLE t3 ();\nINSERT INTO notes VALUES (1);\n"
            "SELECT pg_create_restore_point('inside');\nINSERT INTO notes VALUES (2);\nCREATE TABLE t4 ();\n"
        )
        estate.sql("a", "CREATE TABLE notes (n int)")
        estate.write("postgres-a", {"3_t.up.sql": by_pieces, "3_t.down.sql": "DROP TABLE t3, t4;"})
        estate.orch("apply")
        estate.sql("a", "SELECT pg_switch_wal()")
        deadline = time.monotonic() + 60
        unarchived = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"
        while estate.sql("a", unarchived) != [(0,)]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        with restored(primary, bases[0], archive, "recovery_target_name = 'before'") as port:
            back = at(estate, port)
            assert back.status("postgres-a")["version"] == 2 and not back.status("postgres-a")["problems"]
            assert "t3" not in back.tables("a")
            assert "+ 3" in back.orch("plan").text
            back.sql("a", "CREATE TABLE notes (n int)")
            back.orch("apply")
            assert {"t1", "t2", "t3", "t4"} <= back.tables("a")
            assert back.sql("a", "SELECT n FROM notes ORDER BY n") == [(1,), (2,)]
        with restored(primary, bases[1], archive, "recovery_target_name = 'inside'") as port:
            back = at(estate, port)
            assert "stopped" in back.orch("status", code=None).text
            back.orch("apply")
            assert back.sql("a", "SELECT n FROM notes ORDER BY n") == [(1,), (2,)], "nothing ran twice"
            assert back.version_row("a") == [(3, False)]
            assert "t4" in back.tables("a")
    finally:
        subprocess.run(["rm", "-rf", *bases, archive], check=True)
        embedded.remove(root)


def at(estate: Estate, port: int) -> Estate:
    """Return the same estate on the restored cluster."""
    back = Estate(estate.root, {"postgres": dataclasses.replace(estate.servers["postgres"], port=port)})
    back.prefix = estate.prefix
    back.manifest("  - {name: a, server: postgres}\n")
    return back
