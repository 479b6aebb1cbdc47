"""`k8s/`: a Job for each database. Applied all at once they keep the order, because each waits for what it needs."""

from __future__ import annotations

import json
from typing import Any

from orchestrator.model import Database, Manifest
from orchestrator.planning.graph import waves
from orchestrator.render.jobs import CANNOT_MEND, POD_SECURITY, Jobs
from orchestrator.render.names import digest
from orchestrator.render.settings import Settings
from orchestrator.render.text import header, to_yaml

_DAY = 24 * 60 * 60


def render(manifest: Manifest, settings: Settings) -> dict[str, str]:
    """Return the Jobs and a kustomization.yaml for `kubectl apply -k`; nothing for an empty estate."""
    if not manifest.databases:
        return {}
    jobs = Jobs(manifest, settings)
    needs = {database.id: database.depends_on for database in manifest.databases}
    wave_of = {id: number for number, wave in enumerate(waves(needs)) for id in wave}
    top = header("k8s", manifest)
    directory = settings.files["k8s"]
    files = {
        f"job-migrate-{jobs.names[database.id]}.yaml": to_yaml(_job(database, jobs, settings, wave_of[database.id]))
        for database in manifest.databases
    }
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(files),
    }
    files["kustomization.yaml"] = to_yaml(kustomization)
    return {f"{directory}/{name}": top + text for name, text in files.items()}


def _job(database: Database, jobs: Jobs, settings: Settings, wave: int) -> dict[str, Any]:
    labels = {
        "app.kubernetes.io/name": f"migrate-{jobs.names[database.id]}",
        "app.kubernetes.io/component": "database-migration",
        "app.kubernetes.io/managed-by": "orch",
    }
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # a Service called postgres would set POSTGRES_PORT to tcp://…
        "securityContext": POD_SECURITY,
    }
    if ancestors := jobs.ancestors(database):
        pod["initContainers"] = [jobs.wait(ancestors)]
    pod["containers"] = [jobs.apply(database)]
    spec = {
        "ttlSecondsAfterFinished": _DAY,  # sooner, and a failed Job is gone with its logs before anybody looks
        "backoffLimit": 3,
        "podFailurePolicy": {
            "rules": [
                {"action": "FailJob", "onExitCodes": {"operator": "In", "values": CANNOT_MEND}},
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    # A Job's template cannot be changed: whatever changes it makes another Job.
    mark = digest(json.dumps(spec, sort_keys=True))
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"migrate-{jobs.names[database.id]}-db-{mark}",
            "namespace": settings.namespace,
            "labels": labels,
            "annotations": {
                "argocd.argoproj.io/sync-wave": str(wave),
                "orch/database": database.id,
            },
        },
        "spec": spec,
    }
