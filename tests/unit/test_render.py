"""What is rendered is right for the programs that read it, holds no secret, and never falls behind unnoticed."""

from __future__ import annotations

import copy
import errno
import json
import re
import shlex
import subprocess
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml
from deployment_tools import TOOLS
from jsonschema import Draft202012Validator
from project import PROJECT, SERVERS, orch, small_project, snapshot, whole_project
from rendered import ODD, at, read, rendered

from orchestrator.errors import InvalidError
from orchestrator.manifest import load
from orchestrator.manifest.schema import schema
from orchestrator.model import Manifest
from orchestrator.render.package import REPOSITORY
from orchestrator.render.settings import settings_of
from orchestrator.render.targets import TARGETS

# ---------------------------------------------------------------- fresh, ours, without secrets


def test_this_projects_own_files_are_fresh() -> None:
    orch(PROJECT, "render", "--check")


def test_a_stale_file_is_told_with_its_diff_and_mended(tmp_path: Path) -> None:
    root = whole_project(tmp_path)
    before = snapshot(root)
    job = root / "k8s/job-migrate-inventory.yaml"
    job.write_text(job.read_text().replace("backoffLimit: 3", "backoffLimit: 9"))
    (root / "k8s/job-migrate-gone.yaml").write_text(job.read_text())
    (root / "docker-compose.multi-db.yml").unlink()
    done = orch(root, "render", "--check", code=3)
    assert "-  backoffLimit: 9\n+  backoffLimit: 3" in done.stdout and "/dev/null" in done.stdout
    assert "3 files are out of date. To write: orch render" in done.stderr
    orch(root, "render", "compose", "--check", code=3)
    orch(root, "render", "dockerfile", "--check")
    orch(root, "render")
    assert snapshot(root) == before


def test_all_targets_into_another_directory(tmp_path: Path) -> None:
    root = whole_project(tmp_path)
    before = snapshot(root)
    orch(root, "render", *TARGETS, "--output", str(tmp_path / "out"), "--image", "registry/app:1.2")
    assert snapshot(root) == before
    assert "registry/app:1.2" in (tmp_path / "out/k8s/job-migrate-user.yaml").read_text()
    orch(root, "render", *TARGETS, "--output", str(tmp_path / "out"), "--image", "registry/app:1.2", "--check")
    orch(root, "render", *TARGETS, "--output", str(tmp_path / "out"), "--check")
    orch(root, "render", *TARGETS, "--output", str(tmp_path / "out"), "--image", "registry/app:1.3", "--check", code=3)
    orch(root, "render", "helm", code=2)


def test_a_file_of_somebody_else_is_not_written_over(tmp_path: Path) -> None:
    root = small_project(tmp_path)
    (root / "docker-compose.multi-db.yml").write_text("services: {}\n")
    before = snapshot(root)
    assert "not a file that orch made" in orch(root, "render", "compose", "k8s", code=1).stderr
    assert snapshot(root) == before


def test_places_that_cannot_be_used_are_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = small_project(tmp_path)
    orch(root, "render")
    before = snapshot(root)

    def told(*arguments: str, code: int = 1) -> str:
        done = orch(root, *arguments, code=code)
        assert "fault in orch" not in done.stderr and "unexpected" not in done.stderr
        return done.stderr

    assert "is not a directory" in told("render", "--output", "databases.yaml", code=2)
    assert "is not a directory" in told("render", "--check", "--output", "databases.yaml", code=2)
    assert "databases.yaml/x: Not a directory" in told("render", "--output", "databases.yaml/x")
    assert "File name too long" in told("render", "-f", "x" * 300)

    def unreadable(path: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", unreadable)
    for command in (["render"], ["render", "--check"], ["add-db", "c"], ["rm-db", "b"]):
        assert "Permission denied" in told(*command)
    monkeypatch.undo()
    assert snapshot(root) == before


def test_every_file_says_where_it_comes_from_and_is_the_same_each_time(odd: Manifest) -> None:
    files = rendered(odd)
    assert files == rendered(odd)
    for path, text in files.items():
        assert re.match(r"(#|--) Made by orch from databases.yaml: do not edit, run: orch render [a-z0-9-]+\n", text), (
            path
        )


def test_no_secret_is_in_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PG_PASSWORD", "OTHER_PW", "FAR_PASSWORD", "WHOLE_DSN", "OWN_PASSWORD"):
        monkeypatch.setenv(name, "s3cr3t")
    text = ODD.replace("u:${OWN_PASSWORD}@", "u:s3cr3t@")
    (tmp_path / "databases.yaml").write_text(text)
    files = rendered(load(tmp_path / "databases.yaml", directories=False))
    assert not [path for path, text in files.items() if "s3cr3t" in text]


def test_the_settings_of_the_manifest(tmp_path: Path) -> None:
    root = small_project(tmp_path)
    with (root / "databases.yaml").open("a") as file:
        file.write(
            "render:\n  targets: [k8s]\n  image: r/i@sha256:0\n  k8s: {directory: deploy, namespace: shop, "
            'secret: "db-{name}", wait_secret: "db-{name}-ro", keys: {postgres: URL}, wait_timeout: 60}\n'
        )
    orch(root, "render")
    assert {path for path in snapshot(root) if path.startswith("deploy/")} == {
        "deploy/job-migrate-a.yaml",
        "deploy/job-migrate-b.yaml",
        "deploy/kustomization.yaml",
    }
    job = read((root / "deploy/job-migrate-b.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    assert job["metadata"]["namespace"] == "shop" and pod["containers"][0]["image"] == "r/i@sha256:0"
    assert pod["initContainers"][0]["env"][0]["valueFrom"]["secretKeyRef"] == {"name": "db-a-ro", "key": "URL"}
    assert pod["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"] == {"name": "db-b", "key": "URL"}
    for bad in ("render: {k8s: {namespce: x}}", "render: {targets: [helm]}", "render: {image: 3}"):
        (root / "databases.yaml").write_text(SERVERS + "databases: [{name: a, server: postgres}]\n" + bad)
        orch(root, "render", code=4)


def test_two_targets_at_one_place_are_refused(tmp_path: Path) -> None:
    root = small_project(tmp_path)
    with (root / "databases.yaml").open("a") as file:
        file.write("render: {compose: {file: out/x.yml}, argo: {file: ./out//x.yml}}\n")
    before = snapshot(root)
    for command in (["render", "compose"], ["render", "--check"], ["add-db", "c"]):
        done = orch(root, *command, code=4)
        assert "compose and argo would both be written to" in done.stderr
    assert snapshot(root) == before


def test_the_settings_are_documented_with_what_holds_by_itself(tmp_path: Path) -> None:
    text = (PROJECT / "docs/rendering.md").read_text()
    block, pod, _ = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    path = tmp_path / "databases.yaml"
    path.write_text(
        SERVERS + "databases: [{name: a, server: postgres}]\n" + re.sub(r"(?m)^( +)# (\w+:)", r"\1\2", block)
    )
    manifest = load(path, directories=False)
    known = schema()["properties"]["render"]["properties"]
    assert manifest.render.keys() == known.keys()
    for name in ("compose", "k8s", "dockerfile", "github"):
        assert manifest.render[name].keys() == known[name]["properties"].keys()
    path.write_text(SERVERS + "databases: [{name: a, server: postgres}]\n" + block)
    assert settings_of(load(path, directories=False)) == settings_of(Manifest(path, ()))
    path.write_text(SERVERS + "databases: [{name: a, server: postgres}]\n" + pod)
    assert len(settings_of(load(path, directories=False)).pod) == 13


# ---------------------------------------------------------------- the others


def test_argo_accepts_the_workflow(odd: Manifest) -> None:
    from hera.workflows.models import Workflow

    def strict(part: Any) -> Any:
        if isinstance(part, dict):
            part = {key: strict(value) for key, value in part.items()}
            return (
                {**part, "additionalProperties": part.get("additionalProperties", False)}
                if "properties" in part
                else part
            )
        return [strict(one) for one in part] if isinstance(part, list) else part

    schema = Draft202012Validator(strict(Workflow.model_json_schema(by_alias=True)))

    def faults(workflow: Any) -> list[str]:
        """What the schema says, and the controller's own rules on what is in it."""
        spec = workflow["spec"]
        found = [error.message for error in schema.iter_errors(workflow)]
        for part in (spec, *spec["templates"]):
            if part.get("automountServiceAccountToken") is False and not part.get("executor"):
                found.append("without a token the executor needs a serviceAccountName")
            if "dag" in part and "retryStrategy" in {**spec.get("templateDefaults", {}), **part}:
                found.append("a DAG is retried as a whole, and has no exit code")
            if "container" in part and "retryStrategy" not in part:
                found.append("a container is not retried")
        return found

    workflow = read(next(iter(rendered(odd, "argo").values())))
    assert faults(workflow) == []
    templates = {template["name"]: template for template in workflow["spec"]["templates"]}
    tasks = templates[workflow["spec"]["entrypoint"]]["dag"]["tasks"]
    names = [task["name"] for task in tasks]
    assert len(set(names)) == len(names) == len(odd.databases) and max(map(len, names)) <= 63
    assert all(task["template"] in templates and set(task.get("dependencies", ())) <= set(names) for task in tasks)
    for mutate in (
        at("spec", "entrypont", value="x"),
        at("spec", "templates", 1, "container", "imag", value="x"),
        at("spec", "templates", 0, "dag", "tasks", 0, "dependencies", value="x"),
        at("spec", "automountServiceAccountToken", value=False),
        at("spec", "templateDefaults", value={"retryStrategy": {"limit": "3"}}),
        at("spec", "templates", 0, "retryStrategy", value={"limit": "3"}),
    ):
        broken = copy.deepcopy(workflow)
        mutate(broken)
        assert faults(broken)


def test_pipelines_and_the_dockerfile_pass_their_linters(odd: Manifest, tmp_path: Path) -> None:
    for manifest in (odd, load(PROJECT / "databases.yaml", directories=False)):
        for path, text in rendered(manifest, "github", "gitlab", "dockerfile").items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        checks = [
            ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", ".github/workflows/databases.yml"],
            ["check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", ".gitlab/databases.gitlab-ci.yml"],
            ["zizmor", "--offline", "--quiet", ".github"],
            ["hadolint", "Dockerfile"],
        ]
        for check in checks:
            done = subprocess.run(
                [TOOLS / check[0], *check[1:]], cwd=tmp_path, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, f"{check}\n{done.stdout}\n{done.stderr}"


PACKAGES = {
    "": (f"dborch[embedded] @ {REPOSITORY}", []),
    "dborch==0.2.0": ("dborch[embedded]==0.2.0", []),
    "dborch>=0.1,<2": ("dborch[embedded]>=0.1,<2", []),
    "dborch[more] ~= 0.1": ("dborch[more,embedded] ~= 0.1", []),
    "dborch @ https://example.com/d-1-py3-none-any.whl": (
        "dborch[embedded] @ https://example.com/d-1-py3-none-any.whl",
        [],
    ),
    "git+https://example.com/dborch@main": ("dborch[embedded] @ git+https://example.com/dborch@main", []),
    "wheels/d-1-py3-none-any.whl": (
        "wheels/d-1-py3-none-any.whl[embedded]",
        ["COPY wheels/d-1-py3-none-any.whl /source/d-1-py3-none-any.whl"],
    ),
    "./vendor/my orch": ("./vendor/my orch[embedded]", ['COPY ["vendor/my orch", "/source/my orch"]']),
    ".": (".[embedded]", ["COPY pyproject.toml README.md LICENSE /source/", "COPY orchestrator /source/orchestrator"]),
}


@pytest.mark.parametrize("package", PACKAGES)
def test_what_pip_installs_is_right_wherever_it_stands(tmp_path: Path, package: str) -> None:
    embedded, copies = PACKAGES[package]
    (tmp_path / "databases.yaml").write_text(
        SERVERS
        + f"databases: [{{name: a, server: postgres}}]\nrender: {{dockerfile: {{package: {json.dumps(package)}}}}}\n"
        if package
        else SERVERS + "databases: [{name: a, server: postgres}]\n"
    )
    files = rendered(load(tmp_path / "databases.yaml", directories=False), "github", "gitlab", "dockerfile")
    jobs = read(files[".github/workflows/databases.yml"])["jobs"]
    assert shlex.split(jobs["check"]["steps"][2]["run"]) == ["pip", "install", embedded]
    plain = package or f"dborch @ {REPOSITORY}"
    assert shlex.split(jobs["apply"]["steps"][2]["run"]) == ["pip", "install", plain]
    script = read(files[".gitlab/databases.gitlab-ci.yml"])["databases:check"]["script"]
    assert shlex.split(script[0]) == ["pip", "install", "--quiet", embedded]
    lines = files["Dockerfile"].splitlines()
    run = next(line for line in lines if line.startswith("RUN"))
    assert lines[4 : lines.index(run)] == copies
    name = "/source" if package == "." else f"/source/{PurePosixPath(package).name}" if copies else plain
    assert shlex.split(run)[-1] == name
    if copies and package != ".":
        assert f"!{PurePosixPath(package)}" in files["Dockerfile.dockerignore"].splitlines()


def test_a_package_outside_of_the_project_is_not_for_an_image(tmp_path: Path) -> None:
    root = small_project(tmp_path)
    with (root / "databases.yaml").open("a") as file:
        file.write("render: {dockerfile: {package: ../orch}}\n")
    assert "outside of the project" in orch(root, "render", "dockerfile", code=4).stderr


def test_pipelines_watch_every_directory_and_what_is_rendered(tmp_path: Path) -> None:
    root = small_project(tmp_path)
    (root / "db/c").mkdir(parents=True)
    with (root / "databases.yaml").open("a") as file:
        file.write("  - {name: c, server: postgres, migrations: db/../db/c}\n")
        file.write("render: {targets: [compose, k8s, github, gitlab, init-sql], k8s: {directory: deploy}}\n")
    orch(root, "render")
    on = read((root / ".github/workflows/databases.yml").read_text())["on"]
    wanted = ["databases.yaml", "migrations/**", "db/c/**", "docker-compose.multi-db.yml", "deploy/**"]
    wanted += [".github/workflows/databases.yml", ".gitlab/databases.gitlab-ci.yml", "init-databases*.sql"]
    assert on["pull_request"]["paths"] == on["push"]["paths"] and set(on["push"]["paths"]) == set(wanted)
    pipeline = read((root / ".gitlab/databases.gitlab-ci.yml").read_text())
    for job in pipeline.values():
        assert set(job["rules"][0]["changes"]) == {re.sub(r"\*\*$", "**/*", path) for path in wanted}


def test_a_manifest_of_another_name_is_named_wherever_it_is_needed(tmp_path: Path) -> None:
    root = small_project(tmp_path)
    (root / "databases.yaml").rename(root / "other.yaml")
    done = orch(root, "render", *TARGETS, "-f", "other.yaml")
    for path, text in snapshot(root).items():
        if isinstance(text, bytes) and b"Made by orch" in text:
            command = re.match(r"(?:#|--) Made by orch from other.yaml: do not edit, run: orch (.*)\n", text.decode())
            assert command, path
            orch(root, *shlex.split(command[1]), "--check")
    assert read((root / ".github/workflows/databases.yml").read_text())["env"] == {"ORCH_FILE": "other.yaml"}
    pipeline = read((root / ".gitlab/databases.gitlab-ci.yml").read_text())
    assert all(job["variables"] == {"ORCH_FILE": "other.yaml"} for job in pipeline.values())
    done = orch(root, "add-db", "c", "-f", "other.yaml")
    assert done.stderr.endswith(", then: orch apply -f other.yaml --only c\n")
    assert "orch apply -f other.yaml --only c" in orch(root, "new", "c", "more", "-f", "other.yaml").stderr
    (root / "Dockerfile").unlink()
    done = orch(root, "render", "dockerfile", "--check", "-f", "other.yaml", code=3)
    assert "orch render -f other.yaml dockerfile" in done.stderr
    assert "Next: orch plan -f other.yaml" in orch(root, "rm-db", "c", "-f", "other.yaml").stderr


def test_init_sql_runs_and_names_are_quoted(odd: Manifest) -> None:
    files = rendered(odd, "init-sql")
    assert set(files) == {f"init-databases-{name}.sql" for name in ("main-pg", "other", "whole")}
    text = files["init-databases-main-pg.sql"]
    assert 'CREATE DATABASE "user";' in text
    assert 'CREATE DATABASE "Äpfel & Birnen" OWNER "o""x" CONNECTION LIMIT 5;\n\\connect "Äpfel & Birnen"' in text
    assert 'CREATE EXTENSION IF NOT EXISTS "uuid-ossp";' in text
    one = rendered(load(PROJECT / "databases.yaml", directories=False), "init-sql")
    assert list(one) == ["init-databases.sql"] and 'CREATE DATABASE "order";' in one["init-databases.sql"]


def test_the_image_takes_only_what_it_needs(odd: Manifest, tmp_path: Path) -> None:
    files = rendered(odd, "dockerfile")
    assert files["Dockerfile.dockerignore"].splitlines()[1:] == [
        "*",
        "!databases.yaml",
        "!migrations",
        "**/__pycache__",
    ]
    assert (
        "USER 65532:65532" in files["Dockerfile"] and "install --no-cache-dir 'dborch @ https://" in files["Dockerfile"]
    )
    (tmp_path / "p").mkdir()
    (tmp_path / "p/databases.yaml").write_text(
        SERVERS + "databases: [{name: a, server: postgres, migrations: ../elsewhere}]\n"
    )
    with pytest.raises(InvalidError, match="outside of the project"):
        rendered(load(tmp_path / "p/databases.yaml", directories=False), "dockerfile")
    (tmp_path / "p/databases.yaml").write_text(SERVERS + "databases: [{name: a, server: postgres, migrations: .}]\n")
    done = orch(tmp_path / "p", "render", "dockerfile", code=4)
    assert "the directory of the project itself" in done.stderr
    orch(tmp_path / "p", "render", "github", "gitlab")


def test_a_cronjob_looks_for_drift_where_the_manifest_says_when(tmp_path: Path) -> None:
    manifest = (
        'version: 1\nrender: {k8s: {drift_schedule: "17 5 * * *"}}\n'
        'databases:\n  - {name: a, engine: postgres, dsn: "postgres://h/{database}"}\n'
    )
    (tmp_path / "databases.yaml").write_text(manifest)
    (tmp_path / "migrations" / "postgres-a" / "schema").mkdir(parents=True)
    from orchestrator.manifest.load import load
    from orchestrator.render.kubernetes import render
    from orchestrator.render.settings import settings_of

    loaded = load(tmp_path / "databases.yaml")
    files = render(loaded, settings_of(loaded))
    job = yaml.safe_load(files["k8s/cronjob-drift.yaml"])
    assert (job["kind"], job["spec"]["schedule"]) == ("CronJob", "17 5 * * *")
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["orch", "drift", "--wait", "60"]
    assert container["env"][0]["name"] == "ORCH_DSN_POSTGRES_A"
    assert "cronjob-drift.yaml" in files["k8s/kustomization.yaml"]


@pytest.mark.parametrize("name", ["GITHUB_PASSWORD", "github_user"])
def test_a_variable_that_github_keeps_for_itself_is_refused(tmp_path: Path, name: str) -> None:
    root = small_project(tmp_path)
    text = (root / "databases.yaml").read_text()
    (root / "databases.yaml").write_text(text.replace("POSTGRES_PASSWORD", name))
    refused = orch(root, "render", "github", code=4).stderr
    assert f"begin with GITHUB_, such as {name}" in refused and "databases.yaml:" in refused
    assert not (root / ".github").exists()
