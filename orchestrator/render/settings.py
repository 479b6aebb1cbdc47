"""The settings under `render` in the manifest, with their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from os.path import normpath
from typing import Any

from orchestrator.engines import dialect, dialects
from orchestrator.errors import InvalidError
from orchestrator.model import Manifest, Mark


@dataclass(frozen=True, slots=True)
class Settings:
    """How files are rendered. Patterns hold `{name}` (or the id where several share it) and `{id}`.

    `targets` are those declared; without any, those on disk are meant. `extras` of the package bring the drivers of the
    databases' engines. `shards` is the number of runs at the same time that migrate fleets. `told_image` is the image that
    the command line names: what is rendered says so in its first line.
    """

    image: str
    targets: tuple[str, ...]
    files: Mapping[str, str]
    namespace: str
    secret: str
    wait_secret: str
    keys: Mapping[str, str]
    wait_timeout: int
    deadline: int
    generation: int
    drift_schedule: str
    shape: str
    secrets: str
    argocd: str
    pod: Mapping[str, Any]
    images: Mapping[str, str]
    base_image: str
    package: str
    requirements: str
    branch: str
    plan_environment: str
    shards: int = 4
    extras: tuple[str, ...] = ()
    told_image: str = field(default="", compare=False)


def has_own_tag(image: str) -> bool:
    """Whether an image reference has a digest, or a tag that is not `latest`."""
    tag = image.rpartition("/")[2].partition(":")[2]
    return "@" in image or tag not in ("", "latest")


_FILES = {
    "compose": "docker-compose.multi-db.yml",
    "k8s": "k8s",
    "argo": "argo/workflow-migrate.yaml",
    "init-sql": "init-databases.sql",
    "dockerfile": "Dockerfile",
    "github": ".github/workflows/databases.yml",
    "gitlab": ".gitlab/databases.gitlab-ci.yml",
}


def settings_of(manifest: Manifest, image: str | None = None) -> Settings:
    """Return the settings of a manifest. `image` replaces the image in the manifest, as --image does."""
    given = {key: value for key, value in manifest.render.items() if value is not None}

    def section(name: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = given.get(name) or {}
        return found

    k8s, compose, docker, github = section("k8s"), section("compose"), section("dockerfile"), section("github")
    secret = k8s.get("secret", "{name}-db-credentials")
    pod: Mapping[str, Any] = k8s.get("pod") or {}
    files = {name: section(name).get("directory" if name == "k8s" else "file", path) for name, path in _FILES.items()}
    owners: dict[str, str] = {}
    for name, path in files.items():
        owner = owners.setdefault(normpath(path), name)
        if owner != name:
            raise InvalidError(
                f"'render': {owner} and {name} would both be written to {path}",
                where=Mark(manifest.path.name),
                hint="give each a place of its own",
            )
    return Settings(
        image=image or given.get("image", "your-registry/database-migration:latest"),
        targets=tuple(given.get("targets", ())),
        files=files,
        namespace=k8s.get("namespace", "default"),
        secret=secret,
        wait_secret=k8s.get("wait_secret", secret),
        keys={one.name: one.dsn_variable for one in dialects()} | dict(k8s.get("keys") or {}),
        wait_timeout=k8s.get("wait_timeout", 30),
        deadline=k8s.get("deadline", 24 * 60 * 60),
        generation=k8s.get("generation", 0),
        drift_schedule=k8s.get("drift_schedule", ""),
        shape=k8s.get("shape", "each"),
        secrets=k8s.get("secrets", "database"),
        argocd=k8s.get("argocd", "wave"),
        pod={key: value for key, value in pod.items() if value is not None},
        images={one.name: compose.get(f"{one.name}_image", one.container.image) for one in dialects() if one.container},
        base_image=docker.get("base", "python:3.13-slim-bookworm"),
        package=docker.get("package", ""),
        requirements=docker.get("requirements", ""),
        branch=github.get("branch", "main"),
        plan_environment=github.get("plan_environment", ""),
        shards=_shards(manifest, given.get("shards", 4)),
        extras=tuple(sorted({dialect(one.engine).extra for one in manifest.databases} - {""})),
        told_image=image or "",
    )


def _shards(manifest: Manifest, wanted: int) -> int:
    """Return by how many runs at the same time the databases are migrated: one, if no fleet or a rollout is among them."""
    if not manifest.fleets or any(fleet.rollout for fleet in manifest.fleets):
        return 1
    return wanted
