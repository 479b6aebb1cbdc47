"""A GitHub workflow: every change is checked on real embedded servers, the main branch is applied."""

from __future__ import annotations

import shlex
from typing import Any

from orchestrator.manifest.load import FILE_NAME
from orchestrator.model import Manifest
from orchestrator.render.package import requirement
from orchestrator.render.servers import all_variables, servers_of
from orchestrator.render.settings import Settings
from orchestrator.render.sources import watched
from orchestrator.render.text import Flow, header, to_yaml

# Pinned: v4.2.2 and v5.6.0.
_CHECKOUT = "actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683"
_PYTHON = "actions/setup-python@a26af69be951a213d495a4c3e4e4022e16d87065"


def render(manifest: Manifest, settings: Settings) -> dict[str, str]:
    """Return the workflow; nothing for an empty estate."""
    if not manifest.databases:
        return {}
    variables = {
        name: f"${{{{ {'secrets' if secret else 'vars'}.{name} }}}}"
        for name, secret in all_variables(servers_of(manifest))
    }
    paths = watched(manifest, settings, "**")
    workflow = {
        "name": "Databases",
        "on": {
            "pull_request": {"paths": paths},
            "push": {"branches": Flow(["main"]), "paths": paths},
            "workflow_dispatch": {},
        },
        "permissions": {"contents": "read"},
        **({} if manifest.path.name == FILE_NAME else {"env": {"ORCH_FILE": manifest.path.name}}),
        "jobs": {
            "check": {
                "name": "Check",
                "runs-on": "ubuntu-24.04",
                "timeout-minutes": 15,
                "steps": [
                    *_setup("embedded", settings),
                    _run("Manifest and files", "orch validate"),
                    _run("Rendered files", "orch render --check"),
                    _run("From nothing, on real servers", "orch apply --embedded"),
                    _run("Again: nothing to do", "orch plan --embedded --exit-code"),
                ],
            },
            "apply": {
                "name": "Apply",
                "needs": Flow(["check"]),
                "if": "github.ref == 'refs/heads/main' && github.event_name != 'pull_request'",
                "runs-on": "ubuntu-24.04",
                "timeout-minutes": 60,
                "environment": "production",
                "concurrency": {"group": "databases", "cancel-in-progress": False},
                "steps": [*_setup("", settings), {**_run("Apply", "orch apply --wait 60"), "env": variables}],
            },
        },
    }
    return {settings.files["github"]: header("github", manifest) + to_yaml(workflow)}


def _setup(extra: str, settings: Settings) -> list[dict[str, Any]]:
    return [
        {"uses": _CHECKOUT, "with": {"persist-credentials": False}},
        {"uses": _PYTHON, "with": {"python-version": "3.13"}},
        _run("Install", f"pip install {shlex.quote(requirement(settings, extra))}"),
    ]


def _run(name: str, command: str) -> dict[str, Any]:
    return {"name": name, "run": command}
