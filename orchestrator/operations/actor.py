"""Determine the actor for the history: a person, or the user of a pipeline with the URL of its run."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from orchestrator.manifest.redact import Redactor
from orchestrator.patterns import regex
from orchestrator.phrases import one_line
from orchestrator.secret import hidden

_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_LOGIN = regex(r"^([^/]*//)?[^/]*@")
MAX_LENGTH = 300  # characters; it is kept with each row of the history


def actor(env: Mapping[str, str]) -> str:
    """Return ORCH_ACTOR, or who a pipeline runs for with the address of its run, or the Kubernetes pod, or user@host.

    It is one line of printable characters, not much longer than MAX_LENGTH, and without the secrets of an address.
    """
    return hidden(one_line(env.get("ORCH_ACTOR", "")) or one_line(_found(env)), MAX_LENGTH, Redactor())


def _found(env: Mapping[str, str]) -> str:
    if env.get("GITHUB_ACTIONS") == "true":
        who = env.get("GITHUB_TRIGGERING_ACTOR") or env.get("GITHUB_ACTOR")
        server, repository, run = (env.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID"))
        known = server and repository and run
        return _at(who or "github", f"{server}/{repository}/actions/runs/{run}" if known else "")
    if env.get("GITLAB_CI") == "true":
        return _at(env.get("GITLAB_USER_LOGIN") or "gitlab", env.get("CI_JOB_URL", ""))
    if env.get("JENKINS_URL"):
        return _at(env.get("BUILD_USER_ID") or env.get("BUILD_USER") or "jenkins", env.get("BUILD_URL", ""))
    if env.get("KUBERNETES_SERVICE_HOST"):
        return f"pod {_namespace(env)}/{env.get('POD_NAME') or _host()}"
    return f"{_user()}@{_host()}"


def _host() -> str:
    """Name this machine, as `socket.gethostname` does; `socket` is not imported in every run for that alone."""
    return os.uname().nodename


def _at(who: str, address: str) -> str:
    """Return both; without the login, query and fragment of the address, which may be secrets."""
    shown = _LOGIN.sub(r"\1", re.split(r"[?#]", address, maxsplit=1)[0])
    return f"{who} ({shown})" if shown else who


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
