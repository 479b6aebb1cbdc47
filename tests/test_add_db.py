"""add-db, rm-db, new and init: everything at once or nothing, and back again to the byte."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ORCH, Estate

from orchestrator.cli import add_db
from orchestrator.errors import InterruptedRunError, OrchError
from orchestrator.manifest import load
from orchestrator.render.scaffold import next_pair, snake

PROJECT = Path(__file__).parent.parent
SERVERS = """\
version: 1
servers:
  postgres: {engine: postgres, dsn: "postgres://u:${POSTGRES_PASSWORD}@${POSTGRES_HOST:-localhost}/{database}"}
  mongo: {engine: mongo, dsn: "mongodb://${MONGO_HOST:-localhost}/{database}"}
"""


def orch(root: Path, *arguments: str, code: int | None = 0, **settings: Any) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith(("ORCH_", "POSTGRES_", "MONGO_"))}
    done = subprocess.run([ORCH, *arguments], cwd=root, capture_output=True, text=True, timeout=60, env=env, **settings)
    assert "Traceback" not in done.stderr, done.stderr
    if code is not None:
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def snapshot(root: Path) -> dict[str, object]:
    """Every path below a directory: what a file holds, where a link leads, or that it is a directory."""
    return {
        str(path.relative_to(root)): os.readlink(path)
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else "directory"
        for path in sorted(root.rglob("*"))
        if ".git" not in path.parts
    }


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of this project's own estate, with everything rendered."""
    root = tmp_path / "shop"
    root.mkdir()
    for name in ("databases.yaml", "migrations", "k8s", "docker-compose.multi-db.yml", "Dockerfile", "Dockerfile.dockerignore"):
        source = PROJECT / name
        shutil.copytree(source, root / name) if source.is_dir() else shutil.copy(source, root / name)
    return root


@pytest.fixture
def small(tmp_path: Path) -> Path:
    root = tmp_path / "small"
    for id, name in (("postgres-a", "a"), ("postgres-b", "b")):
        schema = root / "migrations" / id / "schema"
        schema.mkdir(parents=True)
        (schema / f"000001_{name}.up.sql").write_text("SELECT 1;\n")
    text = SERVERS + "databases:\n  - {name: a, server: postgres}\n  - {name: b, server: postgres, depends_on: [a]}\n"
    (root / "databases.yaml").write_text(text)
    return root


# ---------------------------------------------------------------- the main road


def test_add_and_apply_at_once_with_only_added_lines(estate: Estate) -> None:
    estate.manifest("  # the first\n  - {name: a, server: postgres} # a\n")
    estate.write("postgres-a", {"000001_x.up.sql": "CREATE TABLE x ();", "000001_x.down.sql": "DROP TABLE x;"})
    subprocess.run(["git", "init", "-q"], cwd=estate.root, check=True)
    subprocess.run(["git", "add", "databases.yaml"], cwd=estate.root, check=True)
    done = estate.orch("add-db", "logs2", "--engine", "mongo")
    assert "Next: orch apply --only logs2" in done.stderr
    assert "000001_create_logs2_collections.up.js  (new)" in done.stdout
    estate.orch("validate")
    estate.orch("apply", "--only", "logs2")
    assert estate.status("mongo-logs2")["applied"] == [1]
    assert estate.mongo("logs2")["items"].index_information().keys() == {"_id_", "name_1", "createdAt_1"}
    estate.orch("add-db", "order", "--depends-on", "a", "--create", "extensions=", code=2)
    estate.orch("add-db", "order", "--depends-on", "a", "--depends-on", "mongo-logs2", "--label", "core")
    estate.orch("apply")
    assert estate.sql("order", "SELECT count(*) FROM items") == [(0,)]
    estate.orch("rollback", "order", "--steps", "1", "--yes")
    estate.orch("rollback", "logs2", "--steps", "1", "--yes")
    assert "items" not in estate.mongo("logs2").list_collection_names()
    diff = subprocess.run(["git", "diff", "databases.yaml"], cwd=estate.root, capture_output=True, text=True, check=True).stdout
    lines = [line for line in diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert lines and all(line.startswith("+") for line in lines), diff


@pytest.mark.parametrize(
    "arguments",
    [
        ["logs2", "--engine", "mongo"],
        ["stock", "--depends-on", "inventory", "--label", "core", "--create", "owner=app", "--create", "extensions=a,b"],
        ["group", "--server", "mongo", "--depends-on", "mongo-product"],
        ["select"],
    ],
)
def test_add_then_remove_leaves_every_byte(project: Path, arguments: list[str]) -> None:
    before = snapshot(project)
    orch(project, "add-db", *arguments)
    added = snapshot(project)
    assert {name for name in before if added.get(name) != before[name]} == {
        "databases.yaml",
        "docker-compose.multi-db.yml",
        "k8s/kustomization.yaml",
    }
    orch(project, "render", "--check")
    orch(project, "validate")
    orch(project, "rm-db", arguments[0])
    assert snapshot(project) == before


def test_the_same_name_in_the_other_engine(small: Path) -> None:
    orch(small, "add-db", "c", "--engine", "mongo")
    orch(small, "add-db", "c")
    assert [d.id for d in load(small / "databases.yaml").databases][2:] == ["mongo-c", "postgres-c"]
    assert "orch apply --only mongo-d" not in orch(small, "add-db", "d").stderr


def test_an_added_name_that_makes_another_ambiguous_is_refused(small: Path) -> None:
    before = snapshot(small)
    done = orch(small, "add-db", "a", "--engine", "mongo", code=4)
    assert "depends on 'a', which is the name of 2 databases" in done.stderr and "nothing was written" in done.stderr
    assert snapshot(small) == before


def test_dry_run_writes_nothing(project: Path) -> None:
    before = snapshot(project)
    done = orch(project, "add-db", "logs2", "--engine", "mongo", "--dry-run")
    assert "+  - name: logs2" in done.stdout and "+++ b/k8s/job-migrate-logs2.yaml" in done.stdout
    orch(project, "rm-db", "logs", "--dry-run")
    orch(project, "new", "logs", "more", "--dry-run")
    assert snapshot(project) == before


def test_the_first_database_of_an_empty_manifest_and_back(tmp_path: Path) -> None:
    for ending in ("databases:\n", "databases: []\n", "databases: [ ]"):
        (tmp_path / "databases.yaml").write_text(SERVERS + ending)
        (tmp_path / "migrations").mkdir(exist_ok=True)
        before = snapshot(tmp_path)
        orch(tmp_path, "add-db", "a")
        orch(tmp_path, "validate")
        orch(tmp_path, "rm-db", "a")
        assert snapshot(tmp_path) == before


def test_windows_line_ends_and_a_byte_order_mark_stay(small: Path) -> None:
    path = small / "databases.yaml"
    before = b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n")
    path.write_bytes(before)
    orch(small, "add-db", "c")
    assert path.read_bytes() == before + b"  - {name: c, server: postgres}\r\n"
    orch(small, "rm-db", "c")
    assert path.read_bytes() == before


# ---------------------------------------------------------------- what is refused


BAD: dict[str, tuple[list[str], int, str]] = {
    "exists": (["a"], 2, "'postgres-a' already"),
    "upper case": (["Logs"], 2, "perhaps 'logs'?"),
    "path": (["../evil"], 2, "perhaps 'evil'?"),
    "slash": (["a/b"], 2, "perhaps 'a_b'?"),
    "dot": (["."], 2, "lower-case"),
    "empty": ([""], 2, "lower-case"),
    "newline": (["a\n"], 2, "perhaps"),
    "option-like": (["--", "-x"], 2, "lower-case"),
    "64 bytes": (["x" * 64], 2, "64 bytes"),
    "64 bytes in Thai": (["ก" * 22], 2, "66 bytes"),
    "the server's own": (["template1"], 2, "belongs to the server"),
    "the server's own, mongo": (["admin", "--engine", "mongo"], 2, "belongs to the server"),
    "unknown engine": (["x", "--engine", "mysql"], 2, "mysql"),
    "unknown server": (["x", "--server", "postgre"], 2, "did you mean 'postgres'?"),
    "server of the other engine": (["x", "--server", "mongo", "--engine", "postgres"], 2, "of engine mongo"),
    "unknown dependency": (["x", "--depends-on", "aa"], 4, "not declared"),
    "itself": (["x", "--depends-on", "x"], 4, "depends on itself"),
    "create for mongo": (["x", "--engine", "mongo", "--create", "owner=o"], 2, "PostgreSQL"),
    "create, unknown key": (["x", "--create", "ownr=o"], 2, "the keys are owner"),
    "create, no value": (["x", "--create", "owner"], 2, "KEY=VALUE"),
    "create, no number": (["x", "--create", "connection_limit=many"], 2, "a number"),
    "nothing": ([], 2, "Missing argument"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_before_anything_is_written(small: Path, name: str) -> None:
    arguments, code, text = BAD[name]
    before = snapshot(small)
    assert text in orch(small, "add-db", *arguments, code=code).stderr
    assert snapshot(small) == before


def test_reserved_words_are_names_like_others(small: Path) -> None:
    for word in ("user", "order", "select", "null", "true", "on"):
        orch(small, "add-db", word)
    assert [d.name for d in load(small / "databases.yaml").databases][2:] == ["user", "order", "select", "null", "true", "on"]


def _read_only(root: Path) -> None:
    (root / "databases.yaml").chmod(0o444)


def _full_directory(root: Path) -> None:
    (root / "migrations/postgres-c/schema").mkdir(parents=True)
    (root / "migrations/postgres-c/schema/000001_x.up.sql").write_text("")


def _file_in_the_way(root: Path) -> None:
    (root / "migrations/postgres-c").write_text("")


def _link_out(root: Path) -> None:
    (root.parent / "elsewhere").mkdir()
    (root / "migrations/postgres-c").symlink_to(root.parent / "elsewhere")


def _rendered_link_out(root: Path) -> None:
    orch(root, "render", "k8s")
    (root / "k8s/kustomization.yaml").rename(root.parent / "outside.yaml")
    (root / "k8s/kustomization.yaml").symlink_to(root.parent / "outside.yaml")


def _several_documents(root: Path) -> None:
    with (root / "databases.yaml").open("a") as file:
        file.write("---\nx: 1\n")


def _somebody_elses_file(root: Path) -> None:
    orch(root, "render", "k8s")
    (root / "k8s/job-migrate-c.yaml").write_text("kind: Job\n")


@pytest.mark.parametrize(
    ("prepare", "code", "text"),
    [
        (_read_only, 2, "read-only"),
        (_full_directory, 2, "not empty"),
        (_file_in_the_way, 1, "postgres-c"),
        (_link_out, 2, "leads out of"),
        (_rendered_link_out, 2, "leads out of"),
        (_several_documents, 4, "several YAML documents"),
        (_somebody_elses_file, 1, "not a file that orch made"),
    ],
)
def test_surroundings_that_stop_it(small: Path, prepare: Callable[[Path], None], code: int, text: str) -> None:
    prepare(small)
    before = snapshot(small.parent)
    assert text in orch(small, "add-db", "c", code=code).stderr
    assert snapshot(small.parent) == before


def test_a_manifest_behind_a_link_inside_of_the_project(small: Path) -> None:
    (small / "conf").mkdir()
    (small / "databases.yaml").rename(small / "conf/real.yaml")
    (small / "databases.yaml").symlink_to("conf/real.yaml")
    before = snapshot(small)
    orch(small, "add-db", "c")
    assert (small / "databases.yaml").is_symlink()
    orch(small, "rm-db", "c")
    assert snapshot(small) == before


def test_anchors_and_merges(small: Path) -> None:
    path = small / "databases.yaml"
    path.write_text(
        SERVERS + "databases:\n  - &a\n    name: a\n    server: postgres\n    labels: &core [core] # kept\n"
        "  - <<: *a\n    name: b\n    labels: *core\n"
    )
    before = path.read_text()
    orch(small, "add-db", "c", "--depends-on", "b")
    assert path.read_text() == before + "  - name: c\n    server: postgres\n    depends_on: [b]\n"
    assert "depends on postgres-b" in orch(small, "rm-db", "b", code=2).stderr
    assert "edit it by hand" in orch(small, "rm-db", "a", code=4).stderr


# ---------------------------------------------------------------- all or nothing


def test_no_room_for_the_files(project: Path) -> None:
    before = snapshot(project)

    def little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))

    done = orch(project, "add-db", "logs2", "--engine", "mongo", code=1, preexec_fn=little_room)
    assert "every file is as it was" in done.stderr
    assert snapshot(project) == before


STEPS = ["open", "fsync", "chmod", "mkdir", "replace", "hardlink_to"]


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", STEPS)
def test_a_failure_at_any_step_leaves_every_file(
    project: Path, monkeypatch: pytest.MonkeyPatch, step: str, failure: BaseException
) -> None:
    monkeypatch.chdir(project)
    before = snapshot(project)
    owner: Any = os if step == "fsync" else Path
    original = getattr(owner, step)
    for number in range(1, 20):
        calls = 0

        def failing(*arguments: Any, number: int = number, **settings: Any) -> Any:
            nonlocal calls
            if step == "open" and "x" not in str(arguments[1:2]):
                return original(*arguments, **settings)
            calls += 1
            if calls == number:
                raise failure
            return original(*arguments, **settings)

        monkeypatch.setattr(owner, step, failing)
        try:
            add_db.command("logs2", engine=add_db.EngineName.mongo)
        except (OrchError, InterruptedRunError) as error:
            assert "as it was" in error.hint
            assert snapshot(project) == before, f"{step} number {number}"
        finally:
            monkeypatch.setattr(owner, step, original)
        if calls < number:
            break
    assert number > 1, "the step was never reached"


def test_ctrl_c_at_any_moment(project: Path) -> None:
    before = snapshot(project)
    dice = random.Random(4)
    outcomes = set()
    for _ in range(14):
        process = subprocess.Popen([ORCH, "add-db", "logs2", "--engine", "mongo"], cwd=project, stderr=subprocess.PIPE)
        time.sleep(dice.uniform(0.05, 0.4))
        process.send_signal(dice.choice([signal.SIGINT, signal.SIGTERM]))
        stderr = process.communicate(timeout=20)[1]
        assert b"Traceback" not in stderr, stderr
        outcomes.add(process.returncode)
        if process.returncode == 0:
            orch(project, "rm-db", "logs2")
        assert snapshot(project) == before
    assert outcomes & {130, -signal.SIGTERM, -signal.SIGINT}, outcomes


# ---------------------------------------------------------------- rm-db


def test_worked_on_migrations_stay_unless_told(small: Path) -> None:
    orch(small, "add-db", "c")
    orch(small, "new", "c", "add more")
    files = sorted(path.name for path in (small / "migrations/postgres-c/schema").iterdir())
    done = orch(small, "rm-db", "c")
    assert "stays" in done.stderr
    assert sorted(path.name for path in (small / "migrations/postgres-c/schema").iterdir()) == files
    orch(small, "add-db", "d")
    orch(small, "new", "d", "add more")
    orch(small, "rm-db", "d", "--migrations")
    assert not (small / "migrations/postgres-d").exists()


def test_rm_db_refuses_what_others_need_and_what_is_not_there(small: Path) -> None:
    before = snapshot(small)
    assert "postgres-b depends on postgres-a" in orch(small, "rm-db", "a", code=2).stderr
    assert "no database is called 'z'" in orch(small, "rm-db", "z", code=2).stderr
    assert snapshot(small) == before


# ---------------------------------------------------------------- new


def test_new_counts_on(small: Path) -> None:
    orch(small, "new", "a", "Add reserved-until!")
    names = sorted(path.name for path in (small / "migrations/postgres-a/schema").iterdir())
    assert names == ["000001_a.up.sql", "000002_add_reserved_until.down.sql", "000002_add_reserved_until.up.sql"]
    orch(small, "add-db", "m", "--engine", "mongo")
    orch(small, "new", "m", "more")
    assert json.loads((small / "migrations/mongo-m/schema/000002_more.up.js").read_text()) == []
    orch(small, "validate")
    before = snapshot(small)
    for bad in ("../x", "a/b", "", "!!", "x" * 200):
        orch(small, "new", "a", bad, code=2)
    assert snapshot(small) == before


def test_numbers_keep_their_width_and_timestamps_go_on() -> None:
    assert list(next_pair("postgres", [], "x"))[0] == "000001_x.up.sql"
    assert list(next_pair("postgres", ["0007", "0008"], "x"))[0] == "0009_x.up.sql"
    assert list(next_pair("postgres", ["999999"], "x"))[0] == "1000000_x.up.sql"
    stamp = list(next_pair("mongo", ["20240101120000"], "x"))[0]
    assert stamp.endswith("_x.up.js") and len(stamp.split("_")[0]) == 14 and stamp > "2024"
    assert list(next_pair("mongo", ["29990101120000"], "x"))[0] == "29990101120001_x.up.js"
    assert snake("Add  Ünïcode, please") == "add_n_code_please"


def test_new_makes_a_missing_directory(small: Path) -> None:
    shutil.rmtree(small / "migrations/postgres-b")
    orch(small, "new", "b", "first")
    orch(small, "validate")


# ---------------------------------------------------------------- init


def test_init_from_nothing(tmp_path: Path) -> None:
    orch(tmp_path, "init")
    assert "orch add-db NAME" in orch(tmp_path, "validate", code=4).stderr
    orch(tmp_path, "add-db", "first")
    orch(tmp_path, "validate")
    assert "is there already" in orch(tmp_path, "init", code=2).stderr
    assert "not a directory" in orch(tmp_path, "init", "nowhere", code=2).stderr


def test_init_takes_over_the_customers_tree(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "migrations", tmp_path / "migrations")
    (tmp_path / "migrations/mongo-broken").mkdir()
    service: dict[str, Any] = {"build": ".", "command": ["-db=postgres"], "environment": {"POSTGRES_DSN": "postgres://…"}}
    done = {"condition": "service_completed_successfully"}
    mongo = {**service, "environment": {"MONGO_URI": "mongodb://…"}}
    services = {
        "postgres": {"image": "postgres:15"},
        "migrate-inventory": {**service, "depends_on": {"postgres": {"condition": "service_healthy"}, "migrate-order": done}},
        "migrate-product": {**service, "depends_on": ["postgres"]},
        "migrate-user": service,
        "migrate-order": {**service, "depends_on": ["migrate-product", "migrate-user", "migrate-nothing"]},
        "migrate-analytics": {**mongo, "depends_on": ["migrate-logs"]},
        "migrate-logs": mongo,
    }
    (tmp_path / "docker-compose.multi-db.yml").write_text(yaml.safe_dump({"services": services}))
    orch(tmp_path, "init")
    databases = {d.id: d for d in load(tmp_path / "databases.yaml").databases}
    assert len(databases) == 7
    assert set(databases["postgres-order"].depends_on) == {"postgres-product", "postgres-user"}
    assert databases["postgres-inventory"].depends_on == ("postgres-order",)
    assert databases["mongo-analytics"].depends_on == ("mongo-logs",)
    orch(tmp_path, "validate")


def test_init_with_a_compose_file_that_helps_nothing(tmp_path: Path) -> None:
    (tmp_path / "migrations/postgres-a/schema").mkdir(parents=True)
    for text, code in (("services: {migrate-a: {depends_on: [migrate-a]}}", 0), ("[", 4), ("services: 3", 0), ("- x", 0)):
        (tmp_path / "compose.yml").write_text(text)
        (tmp_path / "databases.yaml").unlink(missing_ok=True)
        orch(tmp_path, "init", code=code)
    (tmp_path / "migrations/postgres-b/schema").mkdir(parents=True)
    (tmp_path / "compose.yml").write_text("services: {migrate-a: {depends_on: [migrate-b]}, migrate-b: {depends_on: [migrate-a]}}")
    (tmp_path / "databases.yaml").unlink()
    assert "form a cycle" in orch(tmp_path, "init", code=4).stderr
    assert not (tmp_path / "databases.yaml").exists()
