"""The commands by name, and `orch --help`, which shows them without loading any: typer alone takes longer than it may."""

from __future__ import annotations

COMMANDS = {
    "apply": "Create what is missing and migrate everything, in order.",
    "plan": "Show what apply would do.",
    "status": "Show where every database stands, and what is wrong.",
    "history": "Tell the story of a database: every migration and every try.",
    "orphans": "List databases with a history that no manifest declares.",
    "validate": "Check the manifest, every migration file and the graph.",
    "lint": "Judge up files: lost data, long locks, failures.",
    "graph": "Show what depends on what, as text, Mermaid, DOT or JSON.",
    "rollback": "Run down migrations, exactly as many as asked for.",
    "verify": "Try every up and down file in a scratch database.",
    "repair": "Show what is wrong with a database, and mend its records.",
    "baseline": "Declare what is there already as applied, without running it.",
    "unlock": "Show who holds the lock of a database, and take it away.",
    "clone": "Make a fresh migrated copy of a database, for a test.",
    "drop-clone": "Drop copies that `orch clone` made.",
    "wait": "Wait until other databases are migrated.",
    "init": "Write a first databases.yaml, from migrations that are there.",
    "add-db": "Add a database: entry, first migration, rendered files.",
    "rm-db": "Undo add-db. The database itself is not touched.",
    "new": "Make the next pair of migration files.",
    "squash": "Write one migration in place of many old ones.",
    "render": "Write compose, k8s and others from the manifest.",
    "schema": "Print the JSON Schema of the manifest, or of an output.",
    "dev": "Real servers for development, from wheels: no Docker.",
}
"""Each is the module `orchestrator.cli.NAME`, with a function `command`, or with an `app` of commands of its own."""

_LINES = "\n".join(f"  {name:12}{summary}" for name, summary in COMMANDS.items())

HELP = f"""\
Usage: orch [OPTIONS] COMMAND [ARGS]...

  One manifest for every database: create what is missing and migrate
  everything, in order.

Options:
  -V, --version         Show the version and end.
  --install-completion  Install completion for the current shell.
  --show-completion     Show completion for the current shell, to copy it or
                        customize the installation.
  -h, --help            Show this message and exit.

Commands:
{_LINES}

  Exit codes: 0 done, 1 failed, 2 usage, 3 changes pending (--exit-code),
  4 manifest or files invalid, 5 history conflict, 6 lock not obtained,
  7 cannot connect or not permitted, 8 not yet (wait), 130 interrupted.
"""
