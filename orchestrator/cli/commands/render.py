"""`orch render`: write files that are generated from the manifest."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.hints import Command, Hint, joined


class Target(StrEnum):
    """What can be rendered."""

    compose = "compose"
    k8s = "k8s"
    argo = "argo"
    init_sql = "init-sql"
    dockerfile = "dockerfile"
    github = "github"
    gitlab = "gitlab"


def command(
    targets: Annotated[
        list[Target] | None,
        typer.Argument(
            metavar="[TARGET]...",
            help="What to render. Default: the targets under 'render:', or the rendered files on disk, "
            "or compose, k8s and dockerfile.",
        ),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing. Exit with code 3 and a diff if a file is out of date.")
    ] = False,
    output: Annotated[str | None, typer.Option("--output", metavar="DIR", help="Write into this directory.")] = None,
    image: Annotated[
        str | None, typer.Option("--image", metavar="IMAGE", help="Use this image instead of the one in the manifest.")
    ] = None,
    file: options.File = None,
) -> int:
    """Write files that are generated from the manifest: compose, k8s, argo, init-sql, dockerfile, github, gitlab.

    Examples:
        orch render
        orch render k8s --check
        orch render k8s --image registry/app:1.2 --output build
    """
    from pathlib import Path

    from orchestrator.cli.console import out, pasteable, say
    from orchestrator.errors import ExitCode, UsageError
    from orchestrator.files.changes import commit, tree
    from orchestrator.operations.project import open_project
    from orchestrator.render.settings import has_own_tag, settings_of
    from orchestrator.render.targets import DEFAULT, as_rendered, present, stale

    project = open_project(file)
    settings = settings_of(project.manifest, image)
    root = Path(output).absolute() if output else project.root
    if root.exists() and not root.is_dir():
        raise UsageError(f"{output} is not a directory", hint="--output names the directory to write under")
    wanted = list(dict.fromkeys(target.value for target in targets or ()))
    if check and not (wanted or settings.targets or present(settings, root)):
        say("Nothing is rendered here, so nothing is stale.")
        return 0
    wanted = wanted or list(settings.targets) or present(settings, root) or list(DEFAULT)
    if output and not check:
        root.mkdir(parents=True, exist_ok=True)
    settings_for = {
        target: as_rendered(target, project.manifest, settings, root) if check else settings for target in wanted
    }
    changes_of = {target: stale([target], project.manifest, settings_for[target], root) for target in wanted}
    changes = [one for found in changes_of.values() for one in found]
    if "compose" in wanted and "dockerfile" not in wanted and not (root / settings.files["dockerfile"]).exists():
        there_is_none = f"There is no {settings.files['dockerfile']}, from which compose builds the image; write it: "
        say(pasteable(Hint(there_is_none, Command("render", "dockerfile"))))
    if "k8s" in wanted and not check and not has_own_tag(settings.image):
        say(f"The image {settings.image} may change without its name, and then no new Job starts: --image NAME:TAG")
    if not changes:
        say(f"Up to date: {', '.join(wanted)}.")
        return 0
    if check:
        out("".join(one.diff(one.path.relative_to(root).as_posix()) for one in changes))
        behind: dict[str, list[str]] = {}
        for target in filter(changes_of.get, wanted):
            behind.setdefault(settings_for[target].told_image, []).append(target)
        commands = [
            Hint(Command("render", *names, *(("--image", told) if told else ()))) for told, names in behind.items()
        ]
        number = f"{len(changes):,} file is" if len(changes) == 1 else f"{len(changes):,} files are"
        say(pasteable(Hint(f"{number} not as {project.path.name} says. Write again: ", joined("; ", commands))))
        return int(ExitCode.CHANGES)
    commit(changes, root)
    out(tree(changes, root))
    return 0
