"""An Argo Workflow: the dependency graph as a DAG, or a task for each shard of a fleet. A failure stops only what is after it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from orchestrator.errors import InvalidError, InvalidGroup
from orchestrator.files.yaml_text import to_yaml
from orchestrator.model import Manifest
from orchestrator.render.jobs import CANNOT_MEND, Jobs, merged, pod_metadata, pod_settings, representatives
from orchestrator.render.settings import Settings
from orchestrator.render.text import header

_DAY = 24 * 60 * 60
# Of a container, never of the whole: a retried DAG has no exit code, and would run what had succeeded again.
_RETRY = {
    "limit": "3",
    "retryPolicy": "OnFailure",
    "expression": f"asInt(lastRetry.exitCode) not in {CANNOT_MEND}",
    "backoff": {"duration": "10s", "factor": "2"},
}
# What a Workflow has for all of its pods; everything else goes into a patch of them.
_OWN = (
    *("affinity", "automountServiceAccountToken", "dnsConfig", "dnsPolicy", "hostAliases", "imagePullSecrets"),
    *("nodeSelector", "schedulerName", "securityContext", "serviceAccountName", "tolerations", "volumes"),
)


def render(manifest: Manifest, settings: Settings) -> dict[str, str]:
    """Return path → text of the workflow; empty for a manifest without databases.

    InvalidError for a name that Argo would change.
    """
    if not manifest.databases:
        return {}
    if manifest.fleets:
        jobs = Jobs(representatives(manifest), replace(settings, secrets="server"))
        entrypoint, templates = "fleet", _fleet(jobs, settings.shards)
    else:
        jobs = Jobs(manifest, settings)
        entrypoint, templates = "estate", _each(manifest, jobs)
    # The token stays: Argo's own container in each pod reports with it what became of the task.
    pod = pod_settings(settings)
    spec = {
        "entrypoint": entrypoint,
        **merged({"securityContext": jobs.security()}, {key: pod.pop(key) for key in _OWN if key in pod}),
        **({"podMetadata": metadata} if (metadata := pod_metadata(settings)) else {}),
        **({"podSpecPatch": json.dumps(pod)} if pod else {}),
        "ttlStrategy": {"secondsAfterCompletion": _DAY},
        "templates": templates,
    }
    workflow = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "migrate-", "namespace": settings.namespace},
        "spec": spec,
    }
    return {settings.files["argo"]: header("argo", manifest, image=settings.told_image) + to_yaml(workflow)}


def _each(manifest: Manifest, jobs: Jobs) -> list[dict[str, Any]]:
    """Return the templates of a task for each database. InvalidError for a name that Argo would change."""
    InvalidGroup.raise_if(
        InvalidError(
            f"Argo would replace what is between the braces in the name of {database.id}",
            where=database.mark,
            hint="give the database a name without {{, or render k8s instead",
        )
        for database in manifest.databases
        if "{{" in database.id
    )
    tasks: list[dict[str, Any]] = []
    templates: list[dict[str, Any]] = []
    for database in manifest.databases:
        name = f"migrate-{jobs.names[database.id]}"
        task: dict[str, Any] = {"name": name, "template": name}
        if database.depends_on:
            task["dependencies"] = [f"migrate-{jobs.names[id]}" for id in database.depends_on]
        tasks.append(task)
        templates.append(_template(name, jobs.apply(database)))
    return [{"name": "estate", "dag": {"failFast": False, "tasks": tasks}}, *templates]


def _fleet(jobs: Jobs, shards: int) -> list[dict[str, Any]]:
    """Return the templates of a task for each shard, whatever the number of members."""
    if shards == 1:
        return [_template("fleet", jobs.apply_all())]
    task = {
        "name": "shard",
        "template": "migrate",
        "arguments": {"parameters": [{"name": "shard", "value": "{{item}}"}]},
        "withSequence": {"start": "1", "end": str(shards)},
    }
    migrate = _template("migrate", jobs.apply_all(f"{{{{inputs.parameters.shard}}}}/{shards}"))
    migrate["inputs"] = {"parameters": [{"name": "shard"}]}
    # What one shard cannot do must not stop the others.
    return [{"name": "fleet", "dag": {"failFast": False, "tasks": [task]}}, migrate]


def _template(name: str, container: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "container": {key: value for key, value in container.items() if key != "name"},
        "retryStrategy": _RETRY,
    }
