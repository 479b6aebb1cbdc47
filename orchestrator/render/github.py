"""A GitHub workflow: every change is checked on real embedded servers, one branch is applied."""

from __future__ import annotations

import re
import shlex
from typing import Any

from orchestrator.errors import InvalidError
from orchestrator.files.yaml_text import Flow, to_yaml
from orchestrator.manifest.load import FILE_NAME
from orchestrator.model import Manifest, Mark
from orchestrator.render.package import requirement
from orchestrator.render.pipeline import UNTIL_MEMBERS_ARE_KNOWN, members_are_asked, servers_to_install
from orchestrator.render.servers import all_variables, servers_of
from orchestrator.render.settings import Settings
from orchestrator.render.sources import watched
from orchestrator.render.text import header

# Pinned, with the version beside it, which tools that bring them up to date read and write.
_CHECKOUT = "actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8"
_PYTHON = "actions/setup-python@e797f83bcb11b83ae66e0230d6156d7c80228e7c"
_UPLOAD = "actions/upload-artifact@ea165f8d65b6e75b540449e92b4886f43607fa02"
_VERSIONS = {_CHECKOUT: "v5.0.0", _PYTHON: "v6.0.0", _UPLOAD: "v4.6.2"}
_PATTERN = re.compile(r"[*?+\[\]!\\]")
# One comment in each pull request: the next plan takes the place of the one before.
_COMMENT = """\
orch plan --wait 60 --output markdown > plan.md
cat plan.md >> "$GITHUB_STEP_SUMMARY"
gh pr comment "$PULL_REQUEST" --repo "$GITHUB_REPOSITORY" --edit-last --create-if-none --body-file plan.md
"""


def render(manifest: Manifest, settings: Settings) -> dict[str, str]:
    """Return path → text of the workflow; empty for a manifest without databases.

    InvalidError for a name that GitHub would replace.
    """
    if not manifest.databases:
        return {}
    for text in (manifest.path.name, settings.package, settings.plan_environment):
        if "${{" in text:
            raise InvalidError(f"GitHub would replace a part of {text!r}", where=Mark(manifest.path.name))
    paths = watched(manifest, settings, "**", lambda path: _PATTERN.sub(r"\\\g<0>", path))
    jobs = {"check": _check(manifest, settings)}
    if settings.plan_environment:
        jobs["plan"] = _plan(manifest, settings)
    jobs["apply"] = _apply(manifest, settings)
    workflow = {
        "name": "Databases",
        "on": {
            "pull_request": {"paths": paths},
            "push": {"branches": Flow([settings.branch]), "paths": paths},
            "workflow_dispatch": {},
        },
        "permissions": {"contents": "read"},
        **({} if manifest.path.name == FILE_NAME else {"env": {"ORCH_FILE": manifest.path.name}}),
        "jobs": jobs,
    }
    text = to_yaml(workflow)
    for action, version in _VERSIONS.items():
        text = text.replace(f"{action}\n", f"{action} # {version}\n")
    return {settings.files["github"]: header("github", manifest) + text}


def _check(manifest: Manifest, settings: Settings) -> dict[str, Any]:
    verify = _run("Every migration up, down and up again, on real servers", "orch verify --embedded")
    steps = [verify, _run("From nothing", "orch apply --embedded --output github")]
    if members_are_asked(manifest):
        steps = [_run("What tells the members of fleets", UNTIL_MEMBERS_ARE_KNOWN), *reversed(steps)]
    return {
        "name": "Check",
        "runs-on": "ubuntu-24.04",
        "timeout-minutes": 15,
        "steps": [
            *_setup("embedded", settings),
            *(_run("Install a server", command) for command in servers_to_install(manifest, "sudo ")),
            _run("Manifest and files", "orch validate"),
            _run("Rendered files", "orch render --check"),
            *steps,
            _run("Again: nothing to do", "orch plan --embedded --exit-code"),
        ],
    }


def _plan(manifest: Manifest, settings: Settings) -> dict[str, Any]:
    """Return the job that shows in a pull request what it would apply. It does not run for forks: they get no secrets."""
    environment = {**_variables(manifest), "GH_TOKEN": "${{ github.token }}"}
    environment["PULL_REQUEST"] = "${{ github.event.pull_request.number }}"
    return {
        "name": "Plan",
        "needs": Flow(["check"]),
        "if": "github.event_name == 'pull_request' && "
        "github.event.pull_request.head.repo.full_name == github.repository",
        "runs-on": "ubuntu-24.04",
        "timeout-minutes": 15,
        "environment": settings.plan_environment,
        "permissions": {"contents": "read", "pull-requests": "write"},
        "steps": [*_setup("", settings), {**_run("Plan as a comment", _COMMENT), "env": environment}],
    }


def _apply(manifest: Manifest, settings: Settings) -> dict[str, Any]:
    shards = settings.shards
    part = f" --shard ${{{{ matrix.shard }}}}/{shards}" if shards > 1 else ""
    command = _run("Apply", f"orch apply --wait 60 --output github{part}")
    matrix = {"strategy": {"fail-fast": False, "matrix": {"shard": Flow([*range(1, shards + 1)])}}} if part else {}
    group = "databases-${{ matrix.shard }}" if part else "databases"
    return {
        "name": "Apply",
        "needs": Flow(["check"]),
        "if": f"github.ref == 'refs/heads/{settings.branch}' && github.event_name != 'pull_request'",
        "runs-on": "ubuntu-24.04",
        "timeout-minutes": 60,
        "environment": "production",
        **matrix,
        "concurrency": {"group": group, "cancel-in-progress": False},
        "steps": [
            *_setup("", settings),
            {**command, "env": _variables(manifest)},
            *_report(manifest, "estate-${{ matrix.shard }}" if part else "estate"),
        ],
    }


def _report(manifest: Manifest, artifact: str) -> list[dict[str, Any]]:
    """Return the steps that keep the page of `orch report`, also of a failed run, and link it in the job summary."""
    written = "${{ !cancelled() && hashFiles('estate.html') != '' }}"
    link = {"REPORT": "${{ steps.report.outputs.artifact-url }}"}
    return [
        {
            **_run("Report", "orch report -o estate.html"),
            "if": "${{ !cancelled() }}",
            "continue-on-error": True,
            "env": _variables(manifest),
        },
        {
            "name": "Keep the report",
            "id": "report",
            "if": written,
            "uses": _UPLOAD,
            "with": {"name": artifact, "path": "estate.html"},
        },
        {
            **_run("Link the report", 'echo "[Report of all databases]($REPORT)" >> "$GITHUB_STEP_SUMMARY"'),
            "if": written,
            "env": link,
        },
    ]


def _variables(manifest: Manifest) -> dict[str, str]:
    """Return every variable of the manifest, from the secrets or the variables of the repository.

    InvalidError for a name that GitHub keeps for itself.
    """
    servers = servers_of(manifest)
    for server in servers:
        for variable in server.variables:
            if variable.name.upper().startswith("GITHUB_"):
                raise InvalidError(
                    f"GitHub has no secrets and variables whose names begin with GITHUB_, such as {variable.name}",
                    where=server.databases[0].mark,
                    hint=f"rename the variable in the dsn of {server.name}, or leave out this target",
                )
    return {name: f"${{{{ {'secrets' if secret else 'vars'}.{name} }}}}" for name, secret in all_variables(servers)}


def _setup(extra: str, settings: Settings) -> list[dict[str, Any]]:
    return [
        {"uses": _CHECKOUT, "with": {"persist-credentials": False}},
        {"uses": _PYTHON, "with": {"python-version": "3.13"}},
        _run("Install", f"pip install {shlex.quote(requirement(settings, extra))}"),
    ]


def _run(name: str, command: str) -> dict[str, Any]:
    return {"name": name, "run": command}
