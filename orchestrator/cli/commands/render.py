"""`orch render`: write files that are generated from the manifest."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from orchestrator.cli import options
from orchestrator.hints import Hint, joined


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
    from orchestrator.cli.console import out, pasteable, say
    from orchestrator.errors import ExitCode
    from orchestrator.files.changes import tree
    from orchestrator.operations.render import Request, render
    from orchestrator.views.table import diff_text

    names = [target.value for target in targets or ()]
    rendering = render(Request(file, names, output or "", image, check))
    if not rendering.targets:
        say("Nothing is rendered here, so no file is out of date.")
        return 0
    for note in rendering.notes:
        say(pasteable(note))
    if not rendering.changes:
        say(f"Up to date: {', '.join(rendering.targets)}.")
        return 0
    if check:
        number = len(rendering.changes)
        out(diff_text(rendering.diff()))
        behind = "1 file is" if number == 1 else f"{number:,} files are"
        say(pasteable(Hint(f"{behind} out of date. To write: ", joined("; ", rendering.again))))
        return int(ExitCode.CHANGES)
    rendering.commit()
    out(tree(rendering.changes, rendering.root))
    return 0
