"""What a deployment may ask of the rendered files: its own pods, another image, one Job, names with special signs."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from deployment_tools import TOOLS, VERSIONS, compose_config
from kubernetes_checks import problems
from packaging.requirements import Requirement
from project import PROJECT, SERVERS, orch, small_project

from orchestrator.errors import InvalidError
from orchestrator.manifest import load
from orchestrator.render.settings import settings_of
from orchestrator.render.targets import files_of

FEW = (
    "databases: [{name: b, server: postgres, depends_on: [a]}, {name: a, server: postgres}, {name: d, server: mongo}]\n"
)


ALIKE = """\
databases: [{name: a b, server: postgres}, {name: a_b, server: postgres}]
render: {k8s: {shape: one}}
"""


def files(tmp_path: Path, text: str, target: str = "k8s") -> dict[str, Any]:
    """Return the parsed files of a target, for a manifest with this text after its servers."""
    (tmp_path / "databases.yaml").write_text(SERVERS + text)
    manifest = load(tmp_path / "databases.yaml", directories=False)
    rendered = files_of(target, manifest, settings_of(manifest))
    return {Path(path).name: yaml.safe_load(text) for path, text in rendered.items()}


def valid(found: dict[str, Any]) -> None:
    """Hold Jobs against the schemas of every version of Kubernetes, and against the rules beyond them."""
    for name, job in found.items():
        if name != "kustomization.yaml":
            for version in VERSIONS:
                kubernetes_validate.validate(job, version, strict=True)
    assert problems(found) == []


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = job["spec"]["template"]["spec"]
    return pod


# ---------------------------------------------------------------- waiting Jobs


def test_a_job_that_waits_makes_room_for_what_it_waits_for(tmp_path: Path) -> None:
    found = files(tmp_path, FEW)
    valid(found)
    first, *_ = found["job-migrate-b.yaml"]["spec"]["podFailurePolicy"]["rules"]
    assert first == {"action": "Ignore", "onExitCodes": {"containerName": "wait", "operator": "In", "values": [8]}}
    assert pod_of(found["job-migrate-b.yaml"])["initContainers"][0]["command"][-2:] == ["--timeout", "30"]
    # A rule for a container that is not in the pod is refused by the API server.
    assert "containerName" not in json.dumps(found["job-migrate-a.yaml"]["spec"]["podFailurePolicy"])
    assert all(job["spec"]["activeDeadlineSeconds"] == 86400 for job in found.values() if "spec" in job)
    kustomization = found["kustomization.yaml"]
    assert kustomization["sortOptions"] == {"order": "fifo"}
    order = kustomization["resources"]
    assert order.index("job-migrate-a.yaml") < order.index("job-migrate-b.yaml")


def test_a_generation_makes_every_job_another_and_changes_nothing_else(tmp_path: Path) -> None:
    before, after = files(tmp_path, FEW), files(tmp_path, FEW + "render: {k8s: {generation: 1}}\n")
    for name, job in before.items():
        if name != "kustomization.yaml":
            assert job["metadata"].pop("name") != after[name]["metadata"].pop("name")
    assert before == after
    assert files(tmp_path, FEW + "render: {k8s: {generation: 0}}\n") == files(tmp_path, FEW)


# ---------------------------------------------------------------- what a cluster asks for


POD = """\
render:
  k8s:
    pod:
      labels: {team: shop}
      annotations: {sidecar.istio.io/inject: "false"}
      serviceAccountName: migrations
      imagePullSecrets: [{name: registry}]
      nodeSelector: {kubernetes.io/arch: amd64}
      tolerations: [{key: batch, operator: Exists}]
      priorityClassName: deployment
      terminationGracePeriodSeconds: 60
      resources: {limits: {cpu: "1"}}
      volumes: [{name: ca, configMap: {name: estate-ca}}]
      volumeMounts: [{name: ca, mountPath: /etc/ssl/estate, readOnly: true}]
      env: [{name: PGSSLROOTCERT, value: /etc/ssl/estate/ca.crt}]
      securityContext: {fsGroup: 65532}
"""


def test_what_the_manifest_says_of_pods_is_in_every_pod_and_in_the_name(tmp_path: Path) -> None:
    plain, found = files(tmp_path, FEW), files(tmp_path, FEW + POD)
    valid(found)
    for name, job in found.items():
        if name == "kustomization.yaml":
            continue
        assert job["metadata"]["name"] != plain[name]["metadata"]["name"]
        template, pod = job["spec"]["template"], pod_of(job)
        assert template["metadata"]["labels"]["team"] == "shop"
        assert template["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "orch"
        assert template["metadata"]["annotations"] == {"sidecar.istio.io/inject": "false"}
        assert pod["serviceAccountName"] == "migrations" and pod["terminationGracePeriodSeconds"] == 60
        assert pod["securityContext"]["fsGroup"] == 65532 and pod["securityContext"]["runAsNonRoot"] is True
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
            assert container["resources"]["limits"] == {"memory": "512Mi", "cpu": "1"}
            assert container["volumeMounts"][0]["mountPath"] == "/etc/ssl/estate"
            assert container["env"][-1] == {"name": "PGSSLROOTCERT", "value": "/etc/ssl/estate/ca.crt"}
    workflow = files(tmp_path, FEW + POD, "argo")["workflow-migrate.yaml"]["spec"]
    assert workflow["podMetadata"]["labels"] == {"team": "shop"} and workflow["volumes"][0]["name"] == "ca"
    patch = json.loads(workflow["podSpecPatch"])
    assert patch == {"priorityClassName": "deployment", "terminationGracePeriodSeconds": 60}


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("pod: {nodeSelektor: {}}", "unknown key 'nodeSelektor'"),
        ("pod: {labels: {a: 1}}", "must be text"),
        ("pod: {automountServiceAccountToken: 1}", "must be true or false"),
        ("pod: {resources: {cpu: 1}}", "unknown key 'cpu'"),
        ("shape: many", "each"),
        ("generation: -1", "generation"),
        ("argocd: hook", "presync"),
    ],
)
def test_a_wrong_setting_is_told(tmp_path: Path, setting: str, told: str) -> None:
    (tmp_path / "databases.yaml").write_text(f"{SERVERS}{FEW}render: {{k8s: {{{setting}}}}}\n")
    assert told in orch(tmp_path, "render", "k8s", code=4).stderr


def test_one_job_for_all_databases(tmp_path: Path) -> None:
    found = files(tmp_path, FEW + "render: {k8s: {shape: one}}\n")
    valid(found)
    assert sorted(found) == ["job-migrate-all.yaml", "kustomization.yaml"]
    pod = pod_of(found["job-migrate-all.yaml"])
    assert "initContainers" not in pod
    (container,) = pod["containers"]
    assert container["command"] == ["orch", "apply", "--wait", "60", "--output", "jsonl"]
    assert [one["name"] for one in container["env"]] == [
        "ORCH_DSN_POSTGRES_B",
        "ORCH_DSN_POSTGRES_A",
        "ORCH_DSN_MONGO_D",
    ]


def test_from_a_job_for_each_to_one_job_leaves_no_old_file(tmp_path: Path) -> None:
    root = small_project(tmp_path)
    orch(root, "render", "k8s")
    with (root / "databases.yaml").open("a") as file:
        file.write("render: {k8s: {shape: one}}\n")
    orch(root, "render", "k8s")
    assert sorted(path.name for path in (root / "k8s").iterdir()) == ["job-migrate-all.yaml", "kustomization.yaml"]


def test_one_secret_for_each_server(tmp_path: Path) -> None:
    found = files(tmp_path, FEW + 'render: {k8s: {secrets: server, wait_secret: "{name}-reader"}}\n')
    valid(found)
    pod = pod_of(found["job-migrate-b.yaml"])
    assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": "postgres-db-credentials"}}]
    assert pod["initContainers"][0]["envFrom"] == [{"secretRef": {"name": "postgres-reader"}}]
    assert "env" not in pod["containers"][0]
    one = files(tmp_path, FEW + "render: {k8s: {secrets: server, shape: one}}\n")
    (container,) = pod_of(one["job-migrate-all.yaml"])["containers"]
    assert [source["secretRef"]["name"] for source in container["envFrom"]] == [
        "postgres-db-credentials",
        "mongo-db-credentials",
    ]


def test_argo_cd_runs_the_jobs_before_everything_else(tmp_path: Path) -> None:
    found = files(tmp_path, FEW + "render: {k8s: {argocd: presync}}\n")
    valid(found)
    assert found["job-migrate-b.yaml"]["metadata"]["annotations"] == {
        "argocd.argoproj.io/hook": "PreSync",
        "argocd.argoproj.io/hook-delete-policy": "BeforeHookCreation",
        "argocd.argoproj.io/sync-wave": "1",
        "orch/database": "postgres-b",
    }


@pytest.mark.parametrize("target", ["k8s", "argo", "compose"])
def test_an_image_from_the_command_line_is_not_stale(tmp_path: Path, target: str) -> None:
    root = small_project(tmp_path)
    orch(root, "render", target, "--image", "registry/app:1.2")
    orch(root, "render", target, "--check")
    orch(root, "render", "--check")
    (path,) = [path for path in root.rglob("*.y*ml") if path.name == "kustomization.yaml" or path.suffix == ".yml"] or [
        root / "argo/workflow-migrate.yaml"
    ]
    path.write_text(path.read_text() + "# by hand\n")
    done = orch(root, "render", target, "--check", code=3)
    assert f"orch render {target} --image registry/app:1.2" in done.stderr and "# by hand" in done.stdout
    orch(root, "render", target, "--image", "registry/app:1.3", "--check", code=3)
    orch(root, "render", target)
    assert "registry/app" not in path.read_text()


# ---------------------------------------------------------------- names with special signs


def kubernetes_reads(text: str) -> str:
    """Return a word of a command as Kubernetes hands it on: $$ is $, and $(NAME) is replaced."""
    result, at = "", 0
    while at < len(text):
        if text.startswith("$$", at):
            result, at = result + "$", at + 2
        elif text.startswith("$(", at) and ")" in text[at:]:
            result, at = result + "REPLACED", text.index(")", at) + 1
        else:
            result, at = result + text[at], at + 1
    return result


SIGNS = ["a$b", "a$$b", "${HOME}", "$(ORCH_FILE)", "$$(HOME)", "a$", "a'b", 'a"b', "{{x}}"]


@pytest.mark.parametrize("name", SIGNS)
def test_a_name_with_special_signs_reaches_orch_as_it_is(tmp_path: Path, name: str) -> None:
    id = f"postgres-{name}"
    first = {"name": name, "server": "postgres", "migrations": "m"}
    second = {"name": "z", "server": "postgres", "migrations": "n", "depends_on": [id]}
    text = f"databases: {json.dumps([first, second])}\n"
    jobs = files(tmp_path, text)
    valid(jobs)
    words = [
        kubernetes_reads(word)
        for job in jobs.values()
        if "spec" in job
        for container in (*pod_of(job).get("initContainers", ()), *pod_of(job)["containers"])
        for word in container["command"]
    ]
    assert words.count(id) == 2
    (rendered,) = files(tmp_path, text, "compose").values()
    done = compose_config(tmp_path, yaml.safe_dump(rendered), "--profile", "all")
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)["services"].values()
    assert id in [word.replace("$$", "$") for body in read for word in body.get("command") or ()]  # doubled again
    if "{{" in name:
        with pytest.raises(InvalidError, match="Argo would replace"):
            files(tmp_path, text, "argo")
    else:
        workflow = files(tmp_path, text, "argo")["workflow-migrate.yaml"]
        commands = [template["container"]["command"] for template in workflow["spec"]["templates"][1:]]
        assert id in [kubernetes_reads(word) for command in commands for word in command]


@pytest.mark.parametrize(
    ("target", "text", "told"),
    [
        ("k8s", 'databases: [{name: A_B, server: postgres}]\nrender: {k8s: {secret: "{id}-x"}}\n', "does not allow"),
        ("k8s", ALIKE, "both be in the variable"),
        ("dockerfile", 'databases: [{name: a, server: postgres, migrations: "m$x"}]\n', "because of '$'"),
        ("dockerfile", 'databases: [{name: a, server: postgres, migrations: "m[1]"}]\n', "because of '['"),
        ("gitlab", 'databases: [{name: a, server: postgres, migrations: "m$x"}]\n', "for a variable"),
    ],
)  # fmt: skip
def test_a_name_that_a_target_cannot_hold_is_refused(tmp_path: Path, target: str, text: str, told: str) -> None:
    (tmp_path / "databases.yaml").write_text(SERVERS + text)
    done = orch(tmp_path, "render", target, code=4)
    assert told in done.stderr and "hint:" in done.stderr


# ---------------------------------------------------------------- compose, image, pipelines


def test_the_check_of_mongodb_is_one_line_and_sets_the_set_up_once(tmp_path: Path) -> None:
    (tmp_path / "databases.yaml").write_text(
        'version: 1\nservers: {mongo: {engine: mongo, dsn: "mongodb://${U}:${P}@${H}/{database}?authSource=admin"}}\n'
        "databases: [{name: d, server: mongo}]\n"
    )
    manifest = load(tmp_path / "databases.yaml", directories=False)
    rendered = yaml.safe_load(next(iter(files_of("compose", manifest, settings_of(manifest)).values())))
    check = rendered["services"]["mongo"]["healthcheck"]
    kind, command = check["test"]
    assert kind == "CMD-SHELL" and "\n" not in command and check["interval"] == "10s"
    # The shell gives mongosh its script as one word; here a program that writes its words takes the place of mongosh.
    stand_in = tmp_path / "mongosh"
    stand_in.write_text('#!/bin/sh\nprintf "%s\\n" "$#" "$@"\n')
    stand_in.chmod(0o755)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "n": "wrong"}
    words = subprocess.run(
        ["sh", "-c", command.replace("$$", "$")], capture_output=True, text=True, env=env, check=True
    ).stdout.splitlines()
    assert words[:4] == ["4", "--quiet", "mongodb://mongo:27017/admin?directConnection=true", "--eval"]
    assert r'.replace(/\n$/, "")' in words[4] and words[4].endswith("quit(db.hello().isWritablePrimary ? 0 : 1)")


def test_the_image_has_no_pip_and_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "databases.yaml").write_text(
        f"{SERVERS}{FEW}render: {{dockerfile: {{package: ., requirements: deploy/requirements.lock}}}}\n"
    )
    manifest = load(tmp_path / "databases.yaml", directories=False)
    rendered = files_of("dockerfile", manifest, settings_of(manifest))
    text = rendered["Dockerfile"]
    assert (
        "venv --without-pip" in text
        and "RUN python -m pip uninstall --yes pip" in text.partition("\nFROM ${BASE}\n")[2]
    )
    assert "--require-hashes -r /locked/requirements.lock" in text and "--no-deps /source" in text
    assert "!deploy/requirements.lock" in rendered["Dockerfile.dockerignore"].splitlines()
    assert 'org.opencontainers.image.revision="$REVISION"' in text
    (tmp_path / "Dockerfile").write_text(text)
    done = subprocess.run([TOOLS / "hadolint", "Dockerfile"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_of_this_project_is_locked_to_what_it_declares() -> None:
    """Every dependency that the project declares is in the lock, in a version that the declaration allows."""
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    locked = dict(re.findall(r"(?m)^([\w.-]+)==([^ ;\\]+)", (PROJECT / "requirements.lock").read_text()))
    for requirement in map(Requirement, declared):
        version = locked[requirement.name.lower().replace("_", "-")]
        assert requirement.specifier.contains(version), requirement


def test_the_workflow_applies_the_branch_of_the_manifest_and_comments_its_plan(tmp_path: Path) -> None:
    more = "render: {github: {branch: release/1, plan_environment: readers}}\n"
    workflow = files(tmp_path, FEW + more, "github")["databases.yml"]
    jobs = workflow["jobs"]
    assert workflow["on"]["push"]["branches"] == ["release/1"]
    assert "refs/heads/release/1'" in jobs["apply"]["if"]
    apply, report, keep, link = jobs["apply"]["steps"][-4:]
    assert apply["run"] == "orch apply --wait 60 --output github"
    assert (
        report["run"] == "orch report -o estate.html" and report["env"] == apply["env"] and report["continue-on-error"]
    )
    assert keep["uses"].startswith("actions/upload-artifact@") and keep["with"]["path"] == "estate.html"
    assert "$REPORT" in link["run"] and link["env"]["REPORT"] == "${{ steps.report.outputs.artifact-url }}"
    assert "orch verify --embedded" in [step.get("run") for step in jobs["check"]["steps"]]
    plan = jobs["plan"]
    assert plan["environment"] == "readers" and plan["permissions"]["pull-requests"] == "write"
    assert "head.repo.full_name == github.repository" in plan["if"]
    assert "gh pr comment" in plan["steps"][-1]["run"] and "${{" not in plan["steps"][-1]["run"]
    (tmp_path / "w").mkdir()
    manifest = load(tmp_path / "databases.yaml", directories=False)
    (text,) = files_of("github", manifest, settings_of(manifest)).values()
    assert text.count("# v5.0.0\n") == text.count("actions/checkout@") == 3
    assert "plan" not in files(tmp_path, FEW, "github")["databases.yml"]["jobs"]
