"""The table of everything that can be rendered, and which files on disk are out of date."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pathlib import Path

from orchestrator.errors import InvalidError, OrchError
from orchestrator.files.changes import Change, change
from orchestrator.model import Manifest
from orchestrator.render.fitting import refuse_files
from orchestrator.render.settings import Settings, settings_of
from orchestrator.render.text import MADE_BY, told_image

Render = Callable[[Manifest, Settings], dict[str, str]]

TARGETS: Mapping[str, str] = {
    "compose": "compose",
    "k8s": "kubernetes",
    "argo": "argo",
    "init-sql": "init_sql",
    "dockerfile": "dockerfile",
    "github": "github",
    "gitlab": "gitlab",
}
DEFAULT = ("compose", "k8s", "dockerfile")
"""What is rendered if the manifest names no targets and no rendered file exists."""


def files_of(target: str, manifest: Manifest, settings: Settings) -> dict[str, str]:
    """Return path → text of one target; InvalidError for databases that it cannot be rendered for."""
    refuse_files(target, manifest, mounts=bool(settings.pod.get("volumeMounts")))
    render: Render = import_module(f"orchestrator.render.{TARGETS[target]}").render
    return render(manifest, settings)


def as_rendered(target: str, manifest: Manifest, settings: Settings, root: Path) -> Settings:
    """Return the settings with the image that the command line named when the files on disk were rendered, if it did.

    Such files are as they should be: a deployment knows its image, and the manifest does not.
    """
    place = root / settings.files[target]
    place = place / "kustomization.yaml" if target == "k8s" else place
    if settings.told_image or not place.is_file():
        return settings
    data = place.read_bytes()
    image = told_image(data.partition(b"\n")[0].decode(errors="replace")) if _is_ours(data) else ""
    return settings_of(manifest, image) if image else settings


def stale(targets: Iterable[str], manifest: Manifest, settings: Settings, root: Path) -> list[Change]:
    """Return the changes to make under `root`: files to write, and rendered files to remove because nothing needs them now.

    A file that orch did not make is never overwritten: OrchError.
    """
    changes: list[Change] = []
    for target in targets:
        wanted = files_of(target, manifest, settings)
        for name in sorted({*wanted, *_leftover(target, settings, root)}):
            text = wanted.get(name)
            one = change(root / name, None if text is None else text.encode())
            if one is None:
                continue
            if one.old is not None and not _is_ours(one.old):
                raise OrchError(
                    f"{name} is not a file that orch made",
                    hint=f"move it away, choose another place under 'render: {target}:' in {manifest.path.name}, "
                    "or leave this target out",
                )
            changes.append(one)
    return changes


def present(settings: Settings, root: Path) -> list[str]:
    """Return the targets of which a rendered file is on disk."""
    return [target for target in TARGETS if _leftover(target, settings, root)]


def foreign(manifest: Manifest, settings: Settings, root: Path) -> dict[str, str]:
    """Return file → target of the files that orch did not make, and that are where a rendered file would be."""
    found = {}
    for target in DEFAULT:
        try:
            names = [*files_of(target, manifest, settings)]
        except InvalidError:  # it is told when somebody wants it rendered
            names = []
        for name in names or [settings.files[target]]:
            path = root / name
            if path.is_file() and not _is_ours(path.read_bytes()):
                found[name] = target
    return found


def _leftover(target: str, settings: Settings, root: Path) -> list[str]:
    """Return the files of a target that are on disk and were made by orch."""
    place = root / settings.files[target]
    if target == "k8s":
        candidates = sorted(place.glob("*.yaml"))
    elif target == "init-sql":
        candidates = sorted(place.parent.glob(f"{place.stem}*{place.suffix}"))
    elif target == "dockerfile":
        candidates = [place, place.with_name(f"{place.name}.dockerignore")]
    else:
        candidates = [place]
    mark = f"orch render {target}"
    return [str(one.relative_to(root)) for one in candidates if one.is_file() and _is_ours(one.read_bytes(), mark)]


def _is_ours(data: bytes, mark: str = "") -> bool:
    first = data.partition(b"\n")[0].decode(errors="replace")
    return MADE_BY[2:] in first and first.startswith(("#", "--")) and mark in first
