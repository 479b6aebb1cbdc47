"""What a Dask worker checks before it works, and what goes through the scheduler. Without a cluster: the same functions."""

from __future__ import annotations

import gc
import pickle
from pathlib import Path
from typing import Any

import pytest
from estate import Estate
from manifests import HEAD

from orchestrator.errors import ConnectError, UsageError
from orchestrator.manifest import load
from orchestrator.manifest.for_each import Answer
from orchestrator.operations import dask_client
from orchestrator.operations.dask_client import call, unable
from orchestrator.operations.dask_worker import Order, examine
from orchestrator.operations.fingerprint import files_of, of_migrations
from orchestrator.operations.fleets import handed_over
from orchestrator.operations.load import assemble
from orchestrator.planning.saved_plan import parse_plan

pytest.importorskip("distributed", reason="Dask is not installed: pip install 'dborch[dask]'")


def test_a_worker_refuses_a_plan_that_is_not_for_it(pg_estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    pg_estate.write("t", {"000001_a.up.sql": "SELECT 1;", "000001_a.down.sql": "", "000002_b.up.sql": "SELECT 2;"})
    pg_estate.write("t", {"000002_b.down.sql": ""})
    (pg_estate.root / "tenants.csv").write_text("slug\none\n")
    entry = "server: postgres, migrations: migrations/t/schema"
    pg_estate.manifest(
        f'  - {{name: core, {entry}}}\n  - {{name: "t_{{slug}}", {entry}, for_each: {{file: tenants.csv}}}}\n'
    )
    monkeypatch.setenv("POSTGRES_PASSWORD", pg_estate.env["POSTGRES_PASSWORD"])
    pg_estate.orch("plan", "-o", "plan.json")
    file = str(pg_estate.root / "databases.yaml")
    assembly = assemble(file)
    order = Order("0", "me", files_of(assembly.manifest), {}, file, None, None, (), False, True, False, 0, None)
    plan = parse_plan((pg_estate.root / "plan.json").read_text(), "plan.json")
    catalogs = assembly.catalogs()
    kinds = [(one, of_migrations(catalogs[one.id])) for one in plan.databases]
    servers = {one.id: (one.engine, one.name, one.endpoint) for one in plan.databases}
    assert examine(order, kinds, servers) is None

    def refused(run_id: str, **more: tuple[str, str, str]) -> str:
        failure = examine(order._replace(run_id=run_id), kinds, {**servers, **more})
        assert failure is not None
        return f"{failure.what} {failure.detail} {failure.hint}"

    elsewhere = {"postgres-t_one": ("postgres", f"{pg_estate.prefix}t_one", "other:5432")}
    assert "the plan of postgres-t_one is for" in refused("0", **elsewhere)
    assert "is no database of the manifest" in refused("0", **{"postgres-x": ("postgres", "x", "y:1")})
    changed = pg_estate.root / "migrations/t/schema/000002_b.up.sql"
    changed.write_text("SELECT 1")
    differs = refused("0")
    assert "migrations/t/schema differ: the directory has the SHA-256 " in differs
    assert "for example migrations/t/schema/000002_b.up.sql" in differs
    changed.write_bytes(b"SELECT 2;")
    monkeypatch.delenv("POSTGRES_PASSWORD")
    assert "need POSTGRES_PASSWORD, which is not set" in refused("1")
    (pg_estate.root / "tenants.csv").write_bytes(b"slug\r\none\r\n")  # the same text
    assert "need POSTGRES_PASSWORD" in refused("2")
    (pg_estate.root / "tenants.csv").write_text("slug\none\ntwo\n")
    assert "tenants.csv has the SHA-256 " in refused("3")
    (pg_estate.root / "tenants.csv").unlink()
    assert "tenants.csv cannot be read: No such file or directory  a worker reads its own files" in refused("4")


def test_another_release_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImportError) as error:
        call("examine", "9.9.9")(pickle.dumps(((), {})))
    found = unable("tcp://a:1", error.value)
    assert found is not None
    assert "the Dask worker tcp://a:1: it has dborch " in found.what
    assert "and the client has dborch 9.9.9" in found.what


@pytest.mark.parametrize(
    ("more", "handed"),
    [
        ("", {"columns": ("slug",), "rows": (("a",), ("b",))}),
        (', labels: ["{region}"]', {"columns": ("slug", "region"), "rows": (("a", "eu"), ("b", "us"))}),
        (', dsn: "postgres://u:{key}@h/{database}"', None),
    ],
)
def test_only_the_columns_that_members_need_are_handed_over(tmp_path: Path, more: str, handed: Any) -> None:
    where = "engine: postgres" if "dsn" in more else "server: pg"
    answer = Answer(("slug", "region", "key"), [["a", "eu", "s1"], ["b", "us", "s2"]])
    path = tmp_path / "databases.yaml"
    path.write_text(
        f"{HEAD}  - {{name: core, server: pg, migrations: m}}\n"
        f'  - {{name: "t_{{slug}}", {where}, migrations: m{more}, for_each: {{query: select, database: core}}}}\n'
    )
    manifest = load(path, directories=False, answers={1: answer})
    assert handed_over(manifest, {1: answer}) == {1: None if handed is None else Answer(**handed)}


def test_a_scheduler_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that could not connect is closed: closed by the garbage collector, it could wait for a lock of its own thread."""
    from distributed import Client

    monkeypatch.setattr(dask_client, "CONNECT_TIMEOUT", 0.2)
    for address, kind, told in (
        ("tcp://127.0.0.1:1", ConnectError, "the Dask scheduler at tcp://127.0.0.1:1 cannot be reached"),
        ("tls://127.0.0.1:1", ConnectError, "set distributed.comm.tls in the configuration of Dask"),
        ("tcp://user:a-secret@127.0.0.1:1x", UsageError, "--scheduler is not a valid address"),
    ):
        with pytest.raises(kind) as error, dask_client.connected(address, 0):
            pass
        said = f"{error.value.what} {error.value.detail} {error.value.hint}"
        assert told in said
        assert "a-secret" not in said
        assert {one.status for one in gc.get_objects() if type(one) is Client} <= {"closed"}


def test_dask_that_is_not_installed(pg_estate: Estate, tmp_path: Path) -> None:
    pg_estate.write("postgres-a", {"000001_a.up.sql": "SELECT 1;", "000001_a.down.sql": ""})
    pg_estate.manifest("  - {name: a, server: postgres}\n")
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.util as u; f = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'distributed' else f(name, *more)\n"
    )
    with pg_estate.start(
        "apply", "--engine", "dask", "--scheduler", "tcp://127.0.0.1:1", env={"PYTHONPATH": str(hidden)}
    ) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Dask is not installed (distributed)" in err
    assert "pip install 'dborch[dask]'" in err
