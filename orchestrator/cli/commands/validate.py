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
    from orchestrator.cli.console import out, out_json, say
    from orchestrator.operations.assembly import assemble
    from orchestrator.operations.validate import validate

    valid = validate(assemble(file, None, only, exclude, no_deps=no_deps))
    warnings = [{"database": one.database, "what": one.what} for one in valid.warnings]
    if output is options.Output.json:
        out_json({"format": 1, "databases": valid.databases, "files": valid.files, "warnings": warnings, "errors": []})
    else:
        alike: dict[tuple[str, str], list[str]] = {}
        for one in valid.warnings:
            alike.setdefault((one.database, one.kind), []).append(one.what)
        for (id, _), told in alike.items():
            for what in told[:3]:
                say(f"warning: {id}{': ' if id else ''}{what}")
            if len(told) > 3:
                say(
                    f"warning: {id}{': ' if id else ''}and {len(told) - 3:,} more like these (--output json lists them all)"
                )
        from orchestrator.views.table import counted

        out(f"Valid: {counted(valid.databases, 'database')}, {counted(valid.files, 'migration file')}.")
    return 0
