"""add-db, rm-db, new and init: everything at once or nothing, and back again to the byte."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from estate import Estate
from project import SERVERS, orch, small_project, snapshot, whole_project

from orchestrator.cli.commands import add_db
from orchestrator.errors import InterruptedRunError, OrchError
from orchestrator.manifest import load


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return whole_project(tmp_path)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return small_project(tmp_path)


# ---------------------------------------------------------------- the main road


def test_add_and_apply_at_once_with_only_added_lines(estate: Estate) -> None:
    estate.manifest("  # the first\n  - {name: a, server: postgres} # a\n")
    estate.write("postgres-a", {"000001_x.up.sql": "CREATE TABLE x ();", "000001_x.down.sql": "DROP TABLE x;"})
    subprocess.run(["git", "init", "-q"], cwd=estate.root, check=True)
    subprocess.run(["git", "add", "databases.yaml"], cwd=estate.root, check=True)
    done = estate.orch("add-db", "logs2", "--engine", "mongo")
    assert "then: orch apply --only logs2" in done.stderr
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
    diff = subprocess.run(
        ["git", "diff", "databases.yaml"], cwd=estate.root, capture_output=True, text=True, check=True
    ).stdout
    lines = [line for line in diff.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert lines and all(line.startswith("+") for line in lines), diff


@pytest.mark.parametrize(
    "arguments",
    [
        ["logs2", "--engine", "mongo"],
        [
            "stock",
            "--depends-on",
            "inventory",
            "--label",
            "core",
            "--create",
            "owner=app",
            "--create",
            "extensions=a,b",
        ],
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


def test_a_database_that_is_called_otherwise_from_now_on_is_told(project: Path) -> None:
    told = "postgres-order has another name in a cluster now: migrate-postgres-order, with its DSN in the Secret"
    done = orch(project, "add-db", "order", "--engine", "mongo", code=4)  # ambiguous for inventory
    text = (project / "databases.yaml").read_text()
    (project / "databases.yaml").write_text(text.replace("depends_on: [order]", "depends_on: [postgres-order]"))
    done = orch(project, "add-db", "order", "--engine", "mongo")
    assert f"{told} postgres-order-db-credentials (before: order-db-credentials)." in done.stderr
    assert done.stderr.count("another name") == 1
    assert (
        "postgres-order has another name in a cluster now: migrate-order,"
        in orch(project, "rm-db", "mongo-order").stderr
    )
    assert "another name" not in orch(project, "add-db", "plain").stderr


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


def test_the_engine_is_that_of_the_servers(tmp_path: Path) -> None:
    orch(tmp_path, "init", "--engine", "sqlite")
    orch(tmp_path, "add-db", "a")
    orch(tmp_path, "apply")
    assert (tmp_path / "a.db").is_file()


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


def test_declared_targets_are_written_though_they_are_not_there_yet(small: Path) -> None:
    with (small / "databases.yaml").open("a") as file:
        file.write("render: {targets: [compose, gitlab]}\n")
    orch(small, "render", "k8s")
    orch(small, "render", "--check", code=3)
    before = snapshot(small / "k8s")
    assert "docker-compose.multi-db.yml  (new)" in orch(small, "add-db", "c").stdout
    assert (small / ".gitlab/databases.gitlab-ci.yml").is_file() and snapshot(small / "k8s") == before
    orch(small, "render", "--check")
    (small / "docker-compose.multi-db.yml").unlink()
    orch(small, "rm-db", "c")
    orch(small, "render", "--check")


def test_a_pipe_among_the_migrations_is_never_read(small: Path) -> None:
    orch(small, "add-db", "c")
    os.mkfifo(pipe := small / "migrations/postgres-c/schema/000009_pipe.up.sql")
    assert "it is no file" in orch(small, "rm-db", "c", "--migrations", code=2).stderr
    assert "its files are not as add-db wrote them" in orch(small, "rm-db", "c").stderr
    assert pipe.is_fifo()


# ---------------------------------------------------------------- what is refused


BAD: dict[str, tuple[list[str], int, str]] = {
    "exists": (["a"], 2, "'postgres-a' already"),
    "upper case": (["Logs"], 2, "perhaps 'logs'?"),
    "path": (["../evil"], 2, "perhaps 'evil'?"),
    "slash": (["a/b"], 2, "perhaps 'a_b'?"),
    "dot": (["."], 2, "use a-z, 0-9"),
    "empty": ([""], 2, "use a-z, 0-9"),
    "newline": (["a\n"], 2, "perhaps"),
    "option-like": (["--", "-x"], 2, "use a-z, 0-9"),
    "64 bytes": (["x" * 64], 2, "64 bytes"),
    "64 bytes in Thai": (["ก" * 22], 2, "66 bytes"),
    "the server's own": (["template1"], 2, "belongs to the server"),
    "the server's own, mongo": (["admin", "--engine", "mongo"], 2, "belongs to the server"),
    "unknown engine": (["x", "--engine", "oracle"], 2, "oracle"),
    "unknown server": (["x", "--server", "postgre"], 2, "did you mean 'postgres'?"),
    "server of the other engine": (["x", "--server", "mongo", "--engine", "postgres"], 2, "of engine mongo"),
    "unknown dependency": (["x", "--depends-on", "aa"], 4, "not declared"),
    "itself": (["x", "--depends-on", "x"], 4, "depends on itself"),
    "create for mongo": (["x", "--engine", "mongo", "--create", "owner=o"], 2, "does not apply to MongoDB"),
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
    assert [d.name for d in load(small / "databases.yaml").databases][2:] == [
        "user",
        "order",
        "select",
        "null",
        "true",
        "on",
    ]


def _read_only(root: Path) -> None:
    (root / "databases.yaml").chmod(0o444)


def _full_directory(root: Path) -> None:
    (root / "migrations/postgres-c/schema").mkdir(parents=True)
    (root / "migrations/postgres-c/schema/README.md").write_text("")


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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_the_owner_and_the_mode_of_an_edited_file_stay(small: Path) -> None:
    path = small / "databases.yaml"
    path.chmod(0o640)
    os.chown(path, 1234, 4321)
    orch(small, "add-db", "c")
    found = path.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (1234, 4321, 0o640)


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
            add_db.command("logs2", engine="mongo")
        except (OrchError, InterruptedRunError) as error:
            assert "as it was" in error.hint
            assert snapshot(project) == before, f"{step} number {number}"
        else:
            break
        finally:
            monkeypatch.setattr(owner, step, original)
            signal.signal(signal.SIGINT, signal.default_int_handler)  # which is ignored once all is done
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert calls, "the step was never reached"


DYING = """
import os, signal
from pathlib import Path
from orchestrator.cli import main

class Dying:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(100):
            pass

def dying(self, target, replace=Path.replace):
    Dying()
    return replace(self, target)

Path.replace = dying
main()
"""


def test_ctrl_c_inside_a_destructor_leaves_every_file(project: Path) -> None:
    before = snapshot(project)
    command = [sys.executable, "-c", DYING, "add-db", "logs2", "--engine", "mongo"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 130, done.stderr
    assert snapshot(project) == before


BEGUN = "import sys; from orchestrator.cli import main; print('begun', flush=True); main()"


@pytest.mark.timing
def test_ctrl_c_at_any_moment(project: Path) -> None:
    before = snapshot(project)
    dice = random.Random(4)
    outcomes = set()
    for _ in range(8):
        command = [sys.executable, "-c", BEGUN, "add-db", "logs2", "--engine", "mongo"]
        process = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        time.sleep(dice.uniform(0.01, 0.4))
        process.send_signal(dice.choice([signal.SIGINT, signal.SIGTERM]))
        stderr = process.communicate(timeout=60)[1]
        assert "Traceback" not in stderr, stderr
        outcomes.add(process.returncode)
        if process.returncode == 0:
            orch(project, "rm-db", "logs2")
        assert snapshot(project) == before
    assert outcomes & {130, -signal.SIGTERM, -signal.SIGINT}, outcomes


INTERRUPTED_WHILE_TELLING = """
import os, signal, sys
from orchestrator.cli import main, project
tree = project.tree
def interrupted(*arguments):
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    return tree(*arguments)
project.tree = interrupted
main()
"""


def test_ctrl_c_comes_too_late(project: Path) -> None:
    command = [sys.executable, "-c", INTERRUPTED_WHILE_TELLING, "add-db", "logs2", "--engine", "mongo"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, "migrations" in done.stdout, "Next: " in done.stderr) == (0, True, True)
    assert "logs2" in (project / "databases.yaml").read_text()


# ---------------------------------------------------------------- rm-db


def test_worked_on_migrations_stay_unless_told(small: Path) -> None:
    orch(small, "add-db", "c")
    orch(small, "new", "c", "add more")
    files = sorted(path.name for path in (small / "migrations/postgres-c/schema").iterdir())
    done = orch(small, "rm-db", "c")
    assert sorted(path.name for path in (small / "migrations/postgres-c/schema").iterdir()) == files
    assert "stays, because its files are not as add-db wrote them" in done.stderr
    subprocess.run(done.stderr.partition("without them: ")[2].partition(".\n")[0], shell=True, check=True, cwd=small)
    assert not (small / "migrations/postgres-c/schema").exists()
    orch(small, "add-db", "d")
    orch(small, "new", "d", "add more")
    orch(small, "rm-db", "d", "--migrations")
    assert not (small / "migrations/postgres-d").exists()


@pytest.mark.parametrize("extra", [[], ["--migrations"]])
def test_migrations_that_another_database_uses_stay(small: Path, extra: list[str]) -> None:
    orch(small, "add-db", "c")
    (small / "linked").symlink_to("migrations/postgres-c/schema")
    with (small / "databases.yaml").open("a") as file:
        file.write("  - {name: d, server: postgres, migrations: migrations/../linked}\n")
    before = snapshot(small / "migrations")
    done = orch(small, "rm-db", "c", *extra)
    assert "stays, because it is that of postgres-d too" in done.stderr
    assert snapshot(small / "migrations") == before
    orch(small, "validate")


def test_rm_db_refuses_what_others_need_and_what_is_not_there(small: Path) -> None:
    before = snapshot(small)
    assert "postgres-b depends on postgres-a" in orch(small, "rm-db", "a", code=2).stderr
    assert "no database is called 'z'" in orch(small, "rm-db", "z", code=2).stderr
    assert snapshot(small) == before
