"""`k8s/`: a Job for each database, or one for all. All can be applied at once: each Job waits for its dependencies."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

from orchestrator.errors import ExitCode, InvalidError
from orchestrator.files.yaml_text import to_yaml
from orchestrator.model import Database, Manifest, Mark
from orchestrator.planning.graph import waves
from orchestrator.render.jobs import (
    CANNOT_MEND,
    Jobs,
    merged,
    pod_metadata,
    pod_settings,
    representatives,
)
from orchestrator.render.names import digest
from orchestrator.render.settings import Settings
from orchestrator.render.text import header

_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]+)?/)?{_PART}(?:/{_PART})*(?::\w[\w.-]{{0,127}})?(?:@\w+:[0-9a-fA-F]+)?",
    re.ASCII,
)
_DAY = 24 * 60 * 60
_DISRUPTED = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
_HOPELESS = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": CANNOT_MEND}}
# The first rule that matches counts. A pod that ends its wait makes room for another: where a quota or the nodes have
# room for a few pods only, those that wait would otherwise keep out what they wait for.
_NOT_YET = {
    "action": "Ignore",
    "onExitCodes": {"containerName": "wait", "operator": "In", "values": [int(ExitCode.NOT_YET)]},
}


def render(manifest: Manifest, settings: Settings) -> dict[str, str]:
    """Return path → text of the Jobs and a kustomization.yaml, for `kubectl apply -k`; empty for a manifest without databases."""
    if not manifest.databases:
        return {}
    if not _IMAGE.fullmatch(settings.image):
        raise InvalidError(
            f"{settings.image!r} is not a valid image name: Kubernetes does not replace variables in it",
            where=Mark(manifest.path.name),
            hint="write registry/name:tag, and set another tag with --image or kustomize's images",
        )
    if manifest.fleets:
        manifest, settings = representatives(manifest), replace(settings, secrets="server")
    jobs = Jobs(manifest, settings)
    if manifest.fleets:
        files = {"job-migrate-fleet.yaml": _indexed(jobs, settings)}
    elif settings.shape == "one":
        files = {"job-migrate-all.yaml": _job("migrate-all", jobs, jobs.apply_all(), None, settings, {})}
    else:
        files = _each(manifest, jobs, settings)
    if settings.drift_schedule:
        files["cronjob-drift.yaml"] = _drift(jobs, settings)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        # In this order, which is that of the graph: by itself kustomize sorts by name, and Jobs that wait may come first.
        "sortOptions": {"order": "fifo"},
        "resources": list(files),
    }
    top = header("k8s", manifest, image=settings.told_image)
    texts = {name: to_yaml(data) for name, data in {**files, "kustomization.yaml": kustomization}.items()}
    return {f"{settings.files['k8s']}/{name}": top + text for name, text in texts.items()}


def _each(manifest: Manifest, jobs: Jobs, settings: Settings) -> dict[str, Any]:
    """Return file → Job for each database, in the order of the graph."""
    needs = {database.id: database.depends_on for database in manifest.databases}
    wave_of = {id: number for number, wave in enumerate(waves(needs)) for id in wave}
    files = {}
    for database in sorted(manifest.databases, key=lambda one: wave_of[one.id]):
        name = f"migrate-{jobs.names[database.id]}"
        annotations = {"argocd.argoproj.io/sync-wave": str(wave_of[database.id]), "orch/database": database.id}
        waiter = _waiter(database, jobs)
        files[f"job-{name}.yaml"] = _job(name, jobs, jobs.apply(database), waiter, settings, annotations)
    return files


def _indexed(jobs: Jobs, settings: Settings) -> dict[str, Any]:
    """Return one Job whose pods are shards of all databases, however many there are."""
    if settings.shards == 1:
        return _job("migrate-fleet", jobs, jobs.apply_all(), None, settings, {})
    container = jobs.apply_all("auto")  # JOB_COMPLETION_INDEX is set by Kubernetes
    container["env"] = [*container.get("env", ()), {"name": "ORCH_SHARDS", "value": str(settings.shards)}]
    job = _job("migrate-fleet", jobs, container, None, settings, {})
    spec = job["spec"]
    del spec["backoffLimit"]
    indexed = {
        "completionMode": "Indexed",
        "completions": settings.shards,
        "parallelism": settings.shards,
        "backoffLimitPerIndex": 3,
        "maxFailedIndexes": settings.shards,  # what one shard cannot do must not stop the others
    }
    hopeless = {**_HOPELESS, "action": "FailIndex"}
    rules = [hopeless if rule is _HOPELESS else rule for rule in spec["podFailurePolicy"]["rules"]]
    job["spec"] = {**indexed, **spec, "podFailurePolicy": {"rules": rules}}
    job["metadata"]["name"] = _name("migrate-fleet", job["spec"], settings)
    return job


def _waiter(database: Database, jobs: Jobs) -> dict[str, Any] | None:
    ancestors = jobs.ancestors(database)
    return jobs.wait(ancestors) if ancestors else None


def _drift(jobs: Jobs, settings: Settings) -> dict[str, Any]:
    """Return the CronJob that fails if the schema of a database has drifted from its migrations."""
    labels = {"app.kubernetes.io/name": "database-drift", "app.kubernetes.io/managed-by": "orch"}
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": jobs.security(),
    }
    pod = merged(pod, pod_settings(settings)) | {"containers": [jobs.drift()]}
    template = {"metadata": merged({"labels": labels}, pod_metadata(settings)), "spec": pod}
    job = {"activeDeadlineSeconds": settings.deadline, "backoffLimit": 0, "template": template}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "database-drift", "namespace": settings.namespace, "labels": labels},
        "spec": {
            "schedule": settings.drift_schedule,
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {"metadata": {"labels": labels}, "spec": job},
        },
    }


def _job(
    name: str,
    jobs: Jobs,
    migrator: dict[str, Any],
    waiter: dict[str, Any] | None,
    settings: Settings,
    annotations: dict[str, str],
) -> dict[str, Any]:
    labels = {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/component": "database-migration",
        "app.kubernetes.io/managed-by": "orch",
    }
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # a Service called postgres would set POSTGRES_PORT to tcp://…
        "securityContext": jobs.security(),
    }
    pod = merged(pod, pod_settings(settings))
    if waiter:
        pod["initContainers"] = [waiter]
    pod["containers"] = [migrator]
    spec = {
        "activeDeadlineSeconds": settings.deadline,
        "ttlSecondsAfterFinished": _DAY,  # sooner, and a failed Job is gone with its logs before anybody looks
        "backoffLimit": 3,
        # A rule about a container that the pod does not have is refused.
        "podFailurePolicy": {"rules": [*([_NOT_YET] if waiter else []), _HOPELESS, _DISRUPTED]},
        "template": {"metadata": merged({"labels": labels}, pod_metadata(settings)), "spec": pod},
    }
    if settings.argocd == "presync":
        annotations = {
            "argocd.argoproj.io/hook": "PreSync",
            "argocd.argoproj.io/hook-delete-policy": "BeforeHookCreation",
            **annotations,
        }
    metadata = {"name": _name(name, spec, settings), "namespace": settings.namespace, "labels": labels}
    if annotations:
        metadata["annotations"] = annotations
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}


def _name(name: str, spec: dict[str, Any], settings: Settings) -> str:
    """Return the name of a Job. Its template cannot be changed: whatever changes it makes another Job."""
    again = f" {settings.generation}" if settings.generation else ""
    return f"{name}-db-{digest(json.dumps(spec, sort_keys=True) + again)}"
