"""`orch render k8s`: Kubernetes accepts the Jobs, and they wait for what they need."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from deployment_tools import VERSIONS
from kubernetes_checks import problems
from project import PROJECT, SERVERS, orch, small_project
from rendered import at, read, rendered

from orchestrator.manifest import load
from orchestrator.model import Manifest

# ---------------------------------------------------------------- Kubernetes


def kubernetes(manifest: Manifest) -> dict[str, Any]:
    return {path: read(text) for path, text in rendered(manifest, "k8s").items()}


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_accepts_the_jobs(odd: Manifest, version: str) -> None:
    own = load(PROJECT / "databases.yaml", directories=False)
    for manifest in (odd, own):
        files = kubernetes(manifest)
        for path, job in files.items():
            if not path.endswith("kustomization.yaml"):
                kubernetes_validate.validate(job, version, strict=True)
        assert problems(files) == []


def test_the_customers_names_stay() -> None:
    files = kubernetes(load(PROJECT / "databases.yaml", directories=False))
    job = files["k8s/job-migrate-inventory.yaml"]
    assert re.fullmatch(r"migrate-inventory-db-[0-9a-f]{8}", job["metadata"]["name"])
    assert (job["metadata"]["namespace"], job["spec"]["backoffLimit"]) == ("default", 3)
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["env"] == [
        {
            "name": "ORCH_DSN_POSTGRES_INVENTORY",
            "valueFrom": {"secretKeyRef": {"name": "inventory-db-credentials", "key": "POSTGRES_DSN"}},
        }
    ]
    shared = files["k8s/job-migrate-mongo-product.yaml"]["spec"]["template"]["spec"]["containers"][0]["env"][0]
    assert shared["valueFrom"]["secretKeyRef"] == {"name": "mongo-product-db-credentials", "key": "MONGO_URI"}


def test_a_change_of_the_template_is_another_job_and_nothing_else_is(tmp_path: Path) -> None:
    def names(text: str) -> dict[str, str]:
        (tmp_path / "databases.yaml").write_text(text)
        files = kubernetes(load(tmp_path / "databases.yaml", directories=False))
        return {path: data["metadata"]["name"] for path, data in files.items() if "metadata" in data}

    text = SERVERS + "databases: [{name: a, server: postgres}, {name: b, server: postgres}]\n"
    before = names(text)
    assert names(text + "# a comment\n") == before
    assert all(name != before[path] for path, name in names(text + "render: {image: other}\n").items())
    depends = names(text.replace("{name: b, server: postgres}", "{name: b, server: postgres, depends_on: [a]}"))
    assert depends["k8s/job-migrate-a.yaml"] == before["k8s/job-migrate-a.yaml"]
    assert depends["k8s/job-migrate-b.yaml"] != before["k8s/job-migrate-b.yaml"]


@pytest.mark.parametrize(
    ("image", "told"),
    [
        ("registry:5000/app", True),
        ("registry/app:latest", True),
        ("app:1.2", False),
        ("registry:5000/app:1.2", False),
        ("app@sha256:0", False),
    ],
)
def test_an_image_that_may_change_without_its_name_is_told(tmp_path: Path, image: str, told: bool) -> None:
    root = small_project(tmp_path)
    for _ in range(2):  # also when every file is as it was: that is when nothing would happen
        assert ("no new Job starts" in orch(root, "render", "k8s", "--image", image).stderr) is told
    assert "no new Job" not in orch(root, "render", "k8s", "--image", image, "--check").stderr
    assert "no new Job" not in orch(root, "render", "compose").stderr


POD = ("spec", "template", "spec")
MAIN = (*POD, "containers", 0)
BROKEN = {
    "name too long": at("metadata", "name", value="x" * 64),
    "name in capitals": at("metadata", "name", value="Migrate"),
    "name with _": at("metadata", "name", value="migrate_db"),
    "label too long": at("metadata", "labels", "app.kubernetes.io/name", value="x" * 64),
    "label with a space": at("spec", "template", "metadata", "labels", "app.kubernetes.io/name", value="a b"),
    "wave as a number": at("metadata", "annotations", "argocd.argoproj.io/sync-wave", value=1),
    "restart always": at(*POD, "restartPolicy", value="Always"),
    "restart on failure": at(*POD, "restartPolicy", value="OnFailure"),
    "quantity": at(*MAIN, "resources", "requests", "cpu", value="ten"),
    "quantity with a space": at(*MAIN, "resources", "limits", "memory", value="1 Gi"),
    "dangling mount": at(*MAIN, "volumeMounts", value=[{"name": "tmp", "mountPath": "/tmp"}]),
    "container twice": at(*POD, "initContainers", 0, "name", value="migrator"),
    "unknown key": at(*POD, "restartpolicy", value="Never"),
    "image missing": at(*MAIN, "image", value=""),
    "env as a map": at(*MAIN, "env", value={"A": "b"}),
    "password in the clear": at(*MAIN, "env", 0, value={"name": "A", "value": "postgres://u:p@h/d"}),
    "secret's name": at(*MAIN, "env", 0, "valueFrom", "secretKeyRef", "name", value="My_Secret"),
    "backoff as text": at("spec", "backoffLimit", value="three"),
    "exit code 0": at("spec", "podFailurePolicy", "rules", 0, "onExitCodes", "values", value=[0]),
    "condition without status": at("spec", "podFailurePolicy", "rules", 1, "onPodConditions", value=[{"status": 1}]),
    "runs as text": at(*POD, "securityContext", "runAsUser", value="nobody"),
    "writable root": at(*MAIN, "securityContext", "readOnlyRootFilesystem", value=False),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_job_is_caught(name: str) -> None:
    files = copy.deepcopy(kubernetes(load(PROJECT / "databases.yaml", directories=False)))
    job = files["k8s/job-migrate-inventory.yaml"]
    BROKEN[name](job)
    try:
        kubernetes_validate.validate(job, VERSIONS[0], strict=True)
    except kubernetes_validate.ValidationError:
        return
    assert problems(files)


def test_waiters_wait_for_everything_upstream_and_ask_for_little(odd: Manifest) -> None:
    jobs = {
        data["metadata"]["annotations"]["orch/database"]: data
        for data in kubernetes(odd).values()
        if "metadata" in data
    }
    last = jobs["postgres-123"]["spec"]["template"]["spec"]
    waited = [word for word in last["initContainers"][0]["command"] if word.startswith(("postgres-", "mongo-"))]
    assert len(waited) == 5 and waited[0] == "postgres-user"  # also through others
    for container in (*last["initContainers"], *last["containers"]):
        assert container["resources"]["requests"]["cpu"] == "10m"
    waves = {id: int(job["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]) for id, job in jobs.items()}
    assert all(waves[need] < waves[d.id] for d in odd.databases for need in d.depends_on)


@pytest.mark.parametrize("shape", ["each", "one"])
@pytest.mark.parametrize("secrets", ["database", "server"])
@pytest.mark.parametrize("argocd", ["wave", "presync"])
def test_kubernetes_accepts_every_shape_and_a_generation_renames_all_jobs(
    tmp_path: Path, shape: str, secrets: str, argocd: str
) -> None:
    names: list[set[str]] = []
    for generation in (0, 1, 2):
        settings = f"shape: {shape}, secrets: {secrets}, argocd: {argocd}, generation: {generation}, namespace: ns-1"
        (tmp_path / "databases.yaml").write_text(AWKWARD + f"render: {{k8s: {{{settings}}}}}\n")
        files = kubernetes(load(tmp_path / "databases.yaml", directories=False))
        jobs = {path: job for path, job in files.items() if not path.endswith("kustomization.yaml")}
        for job in jobs.values():
            kubernetes_validate.validate(job, VERSIONS[-1], strict=True)
        assert problems(files) == []
        assert len(jobs) == (1 if shape == "one" else 6)
        names.append({job["metadata"]["name"] for job in jobs.values()})
    assert not (names[0] & names[1] or names[1] & names[2] or names[0] & names[2])


AWKWARD = (
    SERVERS
    + """databases:
  - {name: "or$der", server: postgres}
  - {name: "pri${ce", server: postgres, depends_on: ["or$der"]}
  - {name: "a{{b}}", server: postgres}
  - {name: "c$(HOME)d", server: postgres, depends_on: ["a{{b}}"]}
  - {name: "${{ secrets.X }}", server: postgres}
  - {name: "it's `x` %(y)s", server: postgres, depends_on: ["${{ secrets.X }}"]}
"""
)


def test_commands_hold_names_as_kubernetes_gives_them_to_the_container(tmp_path: Path) -> None:
    """`$(NAME)` is replaced in commands, and `$$(NAME)` is how it stays."""
    (tmp_path / "databases.yaml").write_text(AWKWARD)
    manifest = load(tmp_path / "databases.yaml", directories=False)
    given = set()
    for path, job in kubernetes(manifest).items():
        if not path.endswith("kustomization.yaml"):
            command = job["spec"]["template"]["spec"]["containers"][0]["command"]
            written = command[command.index("--only") + 1]
            assert not re.search(r"(?<!\$)\$\(", written), written
            given.add(re.sub(r"\$\$", "$", written))
    assert given == {database.id for database in manifest.databases}


@pytest.mark.parametrize("namespace", ["n$(X)", "Default", "-a", "a.b", "a" * 64, '""', "null"])
def test_a_namespace_that_kubernetes_does_not_have_is_refused(tmp_path: Path, namespace: str) -> None:
    root = small_project(tmp_path)
    with (root / "databases.yaml").open("a") as file:
        file.write(f"render: {{k8s: {{namespace: {namespace}}}}}\n")
    assert "'k8s.namespace' of 'render' must be" in orch(root, "render", "k8s", code=4).stderr


@pytest.mark.parametrize("image", ["reg/app:${TAG}", "reg/app:$(TAG)", "reg /app", "{{image}}", "App:1"])
def test_an_image_that_no_registry_has_is_refused(tmp_path: Path, image: str) -> None:
    root = small_project(tmp_path)
    assert "is not a valid image name" in orch(root, "render", "k8s", "--image", image, code=4).stderr
    assert not (root / "k8s").exists()
