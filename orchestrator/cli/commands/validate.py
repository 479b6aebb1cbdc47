"""`orch validate`: manifest, files and graph; no server is asked."""

from __future__ import annotations

from orchestrator.cli import options


def command(
    file: options.File = None,
    only: options.Only = None,
    exclude: options.Exclude = None,
    no_deps: options.NoDeps = False,
    output: options.OutputOption = options.Output.text,
) -> int:
    """Check the manifest, every migration file and the graph. Touches no server and needs no credentials.

    Examples: orch validate · orch validate --only inventory --output json
    """
    from orchestrator.analysis.sessions import leaks, limited_effects
    from orchestrator.cli.console import out, out_json, say
    from orchestrator.errors import InvalidError, InvalidGroup
    from orchestrator.model import Direction
    from orchestrator.operations.assembly import assemble
    from orchestrator.planning.history import ONLY_DOWN
    from orchestrator.planning.places import unnamed, without_migrations

    assembly = assemble(file, None, only, exclude, no_deps=no_deps)
    catalogs = assembly.catalogs()
    errors: list[InvalidError] = []
    warnings: list[dict[str, str]] = []
    files = 0
    for database in assembly.databases:
        if not catalogs[database.id]:
            warnings.append({"database": database.id, "what": without_migrations(database)})
        for migration in catalogs[database.id]:
            for direction in Direction:
                found = migration.file(direction)
                if found is None:
                    what = (
                        f"version {migration.version} has no down file: it cannot be rolled back"
                        if direction is Direction.DOWN
                        else f"version {migration.version} {ONLY_DOWN}"
                    )
                    warnings.append({"database": database.id, "what": what})
                    continue
                files += 1
                try:
                    script = assembly.read_script(database, found)
                    warnings += [{"database": database.id, "what": str(one)} for one in limited_effects(script)]
                    warnings += [{"database": database.id, "what": note} for note in script.notes]
                except InvalidGroup as group:
                    errors.extend(group.errors)
                except InvalidError as error:
                    errors.append(error)
    InvalidGroup.raise_if(errors)
    for database in assembly.databases:
        ups = (assembly.read_script(database, one.up) for one in catalogs[database.id] if one.up)
        warnings += [{"database": database.id, "what": str(one)} for one in leaks(ups)]
    warnings += [{"database": "", "what": what} for what in unnamed(assembly.manifest)]
    if output is options.Output.json:
        out_json(
            {"format": 1, "databases": len(assembly.databases), "files": files, "warnings": warnings, "errors": []}
        )
    else:
        for id in dict.fromkeys(warning["database"] for warning in warnings):
            told = [warning["what"] for warning in warnings if warning["database"] == id]
            for what in told[:3]:
                say(f"warning: {id}{': ' if id else ''}{what}")
            if len(told) > 3:
                say(
                    f"warning: {id}{': ' if id else ''}and {len(told) - 3:,} more like these (--output json lists them all)"
                )
        out(f"Valid: {len(assembly.databases)} database(s), {files} migration file(s).")
    return 0
