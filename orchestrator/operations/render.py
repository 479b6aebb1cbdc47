"""Render files from the manifest: which are out of date, and the changes that bring them up to date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import UsageError
from orchestrator.files.changes import Change, commit
from orchestrator.hints import Command, Hint
from orchestrator.operations.project import open_project
from orchestrator.render.settings import Settings, has_own_tag, settings_of
from orchestrator.render.targets import DEFAULT, as_rendered, present, stale


@dataclass(frozen=True, slots=True)
class Request:
    """What to render. Without `targets`: those under `render:`, or those that are on disk, or the usual ones.

    `output` is the directory to write under ('' for that of the manifest). `image` goes before the manifest's. With
    `check` nothing is to be written: files that were rendered with another image are compared with that image, and
    nothing is rendered that was not rendered before or asked for.
    """

    file: str | None = None
    targets: Sequence[str] = ()
    output: str = ""
    image: str | None = None
    check: bool = False


@dataclass(frozen=True, slots=True)
class Rendering:
    """The changes that bring the files of `targets` up to date, not made yet.

    `targets` is empty if nothing is rendered in this project. `again` are the commands that make the changes. `notes` are
    what a person should know.
    """

    targets: tuple[str, ...]
    changes: tuple[Change, ...]
    root: Path
    again: tuple[Hint, ...] = ()
    notes: tuple[Hint, ...] = ()

    def diff(self) -> str:
        """Return what would change, as a diff."""
        return "".join(one.diff(one.path.relative_to(self.root).as_posix()) for one in self.changes)

    def commit(self) -> None:
        """Make the changes together; OrchError if one cannot be made, and then none is."""
        self.root.mkdir(parents=True, exist_ok=True)
        commit(self.changes, self.root)


def render(request: Request) -> Rendering:
    """Compare the rendered files with the manifest, and return what has to change. Writes nothing.

    UsageError if `output` is no directory, InvalidError for a manifest that a target cannot be rendered from, OrchError if
    a file stands in the way that orch did not make.
    """
    project = open_project(request.file)
    settings = settings_of(project.manifest, request.image)
    root = Path(request.output).absolute() if request.output else project.root
    if root.exists() and not root.is_dir():
        raise UsageError(f"{request.output} is not a directory", hint="--output names the directory to write under")
    chosen = tuple(dict.fromkeys(request.targets)) or settings.targets or tuple(present(settings, root))
    if not chosen and request.check:
        return Rendering((), (), root)
    targets = tuple(chosen) or DEFAULT
    settings_for = {
        target: as_rendered(target, project.manifest, settings, root) if request.check else settings
        for target in targets
    }
    found = {target: stale([target], project.manifest, settings_for[target], root) for target in targets}
    behind = {target: settings_for[target].told_image for target in targets if found[target]}
    changes = tuple(change for changes in found.values() for change in changes)
    return Rendering(targets, changes, root, _commands(behind), tuple(_notes(settings, targets, root, request)))


def _commands(behind: dict[str, str]) -> tuple[Hint, ...]:
    """Return the commands that render these targets: one for each image, '' for the manifest's."""
    targets_of: dict[str, list[str]] = {}
    for target, image in behind.items():
        targets_of.setdefault(image, []).append(target)
    return tuple(
        Hint(Command("render", *names, *(("--image", image) if image else ()))) for image, names in targets_of.items()
    )


def _notes(settings: Settings, targets: Sequence[str], root: Path, request: Request) -> list[Hint]:
    notes = []
    dockerfile = settings.files["dockerfile"]
    if "compose" in targets and "dockerfile" not in targets and not (root / dockerfile).exists():
        missing = f"There is no {dockerfile}, from which compose builds the image; write it: "
        notes.append(Hint(missing, Command("render", "dockerfile")))
    if "k8s" in targets and not request.check and not has_own_tag(settings.image):
        notes.append(
            Hint(
                f"The image {settings.image} may change without its name, and then no new Job starts: --image NAME:TAG"
            )
        )
    return notes
