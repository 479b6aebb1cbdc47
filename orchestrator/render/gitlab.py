"""A GitLab pipeline to include: every change is checked on real embedded servers, the default branch is applied."""

from __future__ import annotations

from typing import Any

from orchestrator import __version__
from orchestrator.model import Manifest
from orchestrator.render.servers import all_variables, servers_of
from orchestrator.render.settings import Settings
from orchestrator.render.text import Flow, header, to_yaml


def render(manifest: Manifest, settings: Settings) -> dict[str, str]:
    """Return the file; nothing for an empty estate."""
    if not manifest.databases:
        return {}
    path = settings.files["gitlab"]
    needed = ", ".join(name for name, _ in all_variables(servers_of(manifest)))
    usage = f"# Include it from .gitlab-ci.yml: include: {{local: /{path}}}\n"
    usage += f"# CI/CD variables (masked and protected) that apply reads: {needed}\n" if needed else ""
    pipeline = {
        "databases:check": _job(
            settings,
            "dborch[embedded]",
            ["orch validate", "orch render --check", "orch apply --embedded", "orch plan --embedded --exit-code"],
            {"stage": "test", "rules": [_when(manifest)]},
        ),
        "databases:apply": _job(
            settings,
            "dborch",
            ["orch apply --wait 60"],
            {
                "stage": "deploy",
                "needs": Flow(["databases:check"]),
                "environment": {"name": "production"},
                "resource_group": "databases",
                "interruptible": False,
                "rules": [{"if": "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH", **_when(manifest)}],
            },
        ),
    }
    return {path: header("gitlab", manifest.path.name) + usage + to_yaml(pipeline)}


def _when(manifest: Manifest) -> dict[str, Any]:
    return {"changes": [manifest.path.name, "migrations/**/*"]}


def _job(settings: Settings, package: str, script: list[str], more: dict[str, Any]) -> dict[str, Any]:
    wanted = f"'{package}=={__version__}'"
    if settings.package:
        wanted = f"'{settings.package}{'[embedded]' if 'embedded' in package else ''}'"
    return {"image": settings.base_image, **more, "script": [f"pip install --quiet {wanted}", *script]}
