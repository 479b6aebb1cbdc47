"""A GitLab pipeline to include: every change is checked on real embedded servers, the default branch is applied."""

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

_PATTERN = re.compile(r"[*?\[\]{}\\]")


def render(manifest: Manifest, settings: Settings) -> dict[str, str]:
    """Return path → text of the pipeline; empty for a manifest without databases."""
    if not manifest.databases:
        return {}
    path = settings.files["gitlab"]
    needed = ", ".join(name for name, _ in all_variables(servers_of(manifest)))
    usage = f"# Include it from .gitlab-ci.yml: include: {{local: /{path}}}\n"
    usage += f"# CI/CD variables (masked and protected) that apply reads: {needed}\n" if needed else ""
    tries = ["orch verify --embedded", "orch apply --embedded"]
    if members_are_asked(manifest):
        tries = [UNTIL_MEMBERS_ARE_KNOWN, *reversed(tries)]
    pipeline = {
        "databases:check": _job(
            manifest,
            settings,
            "embedded",
            [
                *servers_to_install(manifest),
                "orch validate",
                "orch render --check",
                *tries,
                "orch plan --embedded --exit-code",
            ],
            {"stage": "test", "rules": [_when(manifest, settings)]},
        ),
        "databases:apply": _job(
            manifest,
            settings,
            "",
            ["orch apply --wait 60 --output gitlab"],
            {
                "stage": "deploy",
                "needs": Flow(["databases:check"]),
                "environment": {"name": "production"},
                "resource_group": "databases",
                "interruptible": False,
                "artifacts": {
                    "when": "always",
                    "reports": {"junit": "orch-junit.xml", "codequality": "gl-code-quality-report.json"},
                },
                "rules": [{"if": "$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH", **_when(manifest, settings)}],
            },
        ),
    }
    return {path: header("gitlab", manifest) + usage + to_yaml(pipeline)}


def _when(manifest: Manifest, settings: Settings) -> dict[str, Any]:
    return {
        "changes": watched(manifest, settings, "**/*", lambda path: _PATTERN.sub(r"\\\g<0>", _plain(path, manifest)))
    }


def _plain(text: str, manifest: Manifest) -> str:
    """Return a text in which GitLab replaces nothing; InvalidError for one in which it would replace variables."""
    if "$" in text:
        raise InvalidError(
            f"GitLab would take {text!r} for a variable from the $ on",
            where=Mark(manifest.path.name),
            hint="rename it, or leave out this target",
        )
    return text


def _job(manifest: Manifest, settings: Settings, extra: str, script: list[str], more: dict[str, Any]) -> dict[str, Any]:
    job = {"image": settings.base_image, **more}
    if manifest.path.name != FILE_NAME:
        job["variables"] = {"ORCH_FILE": _plain(manifest.path.name, manifest)}
    return {**job, "script": [f"pip install --quiet {shlex.quote(requirement(settings, extra))}", *script]}
