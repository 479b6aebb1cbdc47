"""`orch validate`: check manifest, files and graph without a server."""

from __future__ import annotations

from orchestrator.cli import options


def command(
    file: options.File = None,
    only: options.Only = None,
    exclude: options.Exclude = None,
    no_deps: options.NoDeps = False,
    output: options.OutputOption = options.Output.text,
) -> int:
    """Check the manifest, every migration file and the dependency graph. Needs no server and no credentials.

    Examples:
        orch validate
        orch validate --only inventory --output json
    """
    from orchestrator.cli.console import warn
    from orchestrator.cli.show import show
    from orchestrator.operations.load import assemble
    from orchestrator.operations.validate import validate
    from orchestrator.views.validate import warning_lines

    valid = validate(assemble(file, None, only, exclude, no_deps=no_deps, offline=True))
    if output is options.Output.text:
        for line in warning_lines(valid):
            warn(line)
    show("validate", output, valid)
    return 0
