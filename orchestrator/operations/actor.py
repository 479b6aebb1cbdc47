"""Determine the actor for the history: a person, or the user of a pipeline with the URL of its run."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path

_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def actor(env: Mapping[str, str]) -> str:
    """Return ORCH_ACTOR, or who a pipeline runs for with the address of its run, or the Kubernetes pod, or user@host."""
    if given := env.get("ORCH_ACTOR", "").strip():
        return given
    if env.get("GITHUB_ACTIONS") == "true":
        who = env.get("GITHUB_TRIGGERING_ACTOR") or env.get("GITHUB_ACTOR")
        run = "/".join(env.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY"))
        return _at(who or "github", f"{run}/actions/runs/{env['GITHUB_RUN_ID']}" if "GITHUB_RUN_ID" in env else "")
    if env.get("GITLAB_CI") == "true":
        return _at(env.get("GITLAB_USER_LOGIN") or "gitlab", env.get("CI_JOB_URL", ""))
    if "JENKINS_URL" in env:
        return _at(env.get("BUILD_USER_ID") or env.get("BUILD_USER") or "jenkins", env.get("BUILD_URL", ""))
    if "KUBERNETES_SERVICE_HOST" in env:
        return f"pod {_namespace(env)}/{env.get('POD_NAME') or socket.gethostname()}"
    return f"{_user()}@{socket.gethostname()}"


def _at(who: str, address: str) -> str:
    return f"{who} ({address})" if address else who


def _namespace(env: Mapping[str, str]) -> str:
    if given := env.get("POD_NAMESPACE"):
        return given
    try:
        return _NAMESPACE.read_text(encoding="utf-8").strip()
    except OSError:
        return "default"


def _user() -> str:
    """Name the user of the system; containers often have no name for theirs."""
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return os.environ.get("USER") or f"uid{os.getuid()}"
