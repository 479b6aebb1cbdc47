"""`orch history`: the story of a database."""

from __future__ import annotations

from orchestrator.cli import options


def command(
    name: options.Name,
    file: options.File = None,
    env_file: options.EnvFile = None,
    embedded: options.Embedded = False,
    output: options.OutputOption = options.Output.text,
) -> int:
    """Tell the story of a database: every migration, try and repair, oldest first.

    Examples: orch history inventory · orch history postgres-order --output json
    """
    from orchestrator.cli.console import out, out_json
    from orchestrator.cli.records import one_database
    from orchestrator.views.history_text import history_document, history_text

    one = one_database(name, file, env_file, embedded=embedded)
    history = one.read()
    if output is options.Output.json:
        out_json({"format": 1, "id": one.id, **history_document(history)})
    else:
        out(history_text(history))
    return 0
