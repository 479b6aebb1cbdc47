"""What the Kubernetes schemas do not say about what we render, as far as it would stop a Job from running."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

LABEL_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
DOMAIN_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?)?")
QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi)?")
KEY = re.compile(r"[-._a-zA-Z0-9]+")
ENV = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def problems(files: dict[str, Any]) -> list[str]:
    """Return what is wrong with the parsed files of a directory, `kustomization.yaml` among them."""
    return list(_problems(files))


def _problems(files: dict[str, Any]) -> Iterator[str]:
    by_name = {PurePosixPath(path).name: data for path, data in files.items()}
    kustomization = by_name.pop("kustomization.yaml", None) or {}
    if sorted(kustomization.get("resources", ())) != sorted(by_name):
        yield "kustomization.yaml does not list exactly the files"
    names = [job["metadata"]["name"] for job in by_name.values()]
    if len(names) != len(set(names)):
        yield "two Jobs have one name"
    for file, job in by_name.items():
        yield from (f"{file}: {problem}" for problem in _job(job))


def _job(job: dict[str, Any]) -> Iterator[str]:
    pod = job["spec"]["template"]["spec"]
    if not (LABEL_NAME.fullmatch(job["metadata"]["name"]) and len(job["metadata"]["name"]) <= 63):
        yield "the name is not a label of at most 63 characters"
    for labels in (job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]):
        for value in labels.values():
            if not (LABEL_VALUE.fullmatch(value) and len(value) <= 63):
                yield f"the label {value!r} is not allowed"
    if not all(isinstance(value, str) for value in job["metadata"].get("annotations", {}).values()):
        yield "an annotation is not text"
    if pod.get("restartPolicy") != "Never":
        yield "a podFailurePolicy needs restartPolicy Never"
    for rule in job["spec"]["podFailurePolicy"]["rules"]:
        if rule["action"] not in ("FailJob", "Ignore", "Count", "FailIndex"):
            yield "an unknown action"
        if 0 in rule.get("onExitCodes", {}).get("values", ()):
            yield "0 is not a failure"
    containers = [*pod.get("initContainers", ()), *pod["containers"]]
    ruled = {rule.get("onExitCodes", {}).get("containerName") for rule in job["spec"]["podFailurePolicy"]["rules"]} - {
        None
    }
    if ruled - {container["name"] for container in containers}:
        yield "a rule names a container that is not in the pod"
    if len({container["name"] for container in containers}) != len(containers):
        yield "two containers have one name"
    volumes = {volume["name"] for volume in pod.get("volumes", ())}
    for container in containers:
        yield from _container(container, volumes)


def _container(container: dict[str, Any], volumes: set[str]) -> Iterator[str]:
    if not LABEL_NAME.fullmatch(container["name"]):
        yield "a container's name is not a label"
    if not container.get("image") or " " in container["image"]:
        yield "no image"
    for kind in ("requests", "limits"):
        for name, quantity in container["resources"].get(kind, {}).items():
            if not QUANTITY.fullmatch(str(quantity)):
                yield f"{name} {quantity!r} is not a quantity"
    for mount in container.get("volumeMounts", ()):
        if mount["name"] not in volumes:
            yield f"the volume {mount['name']!r} is not there"
    for source in container.get("envFrom", ()):
        if not DOMAIN_NAME.fullmatch(source["secretRef"]["name"]):
            yield "a secret's name is not allowed"
    for variable in container.get("env", ()):
        if "value" in variable and "://" not in variable["value"]:
            continue
        secret = variable.get("valueFrom", {}).get("secretKeyRef", {})
        if "value" in variable or not ENV.fullmatch(variable["name"]):
            yield "a variable is not a reference to a secret"
        if not (DOMAIN_NAME.fullmatch(secret.get("name", "")) and KEY.fullmatch(secret.get("key", ""))):
            yield "a secret's name or key is not allowed"
    security = container["securityContext"]
    if security.get("allowPrivilegeEscalation") is not False or security.get("readOnlyRootFilesystem") is not True:
        yield "the container could do more than it needs"
