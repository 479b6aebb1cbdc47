"""The commands by name, and `orch --help`, which shows them without loading any: typer alone takes longer than it may."""

from __future__ import annotations

COMMANDS = {
    "apply": "Create what is missing and migrate everything, in order.",
    "plan": "Show what apply would do.",
    "status": "Show version, pending migrations and problems of each.",
    "history": "Show the migration history, including failed attempts.",
    "orphans": "List databases with a history that no manifest declares.",
    "validate": "Check the manifest, every migration file and the graph.",
    "lint": "Judge up files: lost data, long locks, failures.",
    "graph": "Show what depends on what, as text, Mermaid, DOT or JSON.",
    "rollback": "Run down migrations, exactly as many as asked for.",
    "verify": "Try every up and down file in a scratch database.",
    "repair": "Show what is wrong with a database, and resolve it.",
    "baseline": "Mark existing migrations as applied without running them.",
    "unlock": "Show who holds the migration lock and remove it.",
    "clone": "Create a fresh migrated copy of a database for a test.",
    "drop-clone": "Drop clones.",
    "wait": "Wait until other databases are migrated.",
    "init": "Write a first databases.yaml from existing migrations.",
    "add-db": "Add a database: entry, first migration, rendered files.",
    "rm-db": "Undo add-db. The database itself is not touched.",
    "new": "Create the next pair of migration files.",
    "squash": "Write one migration in place of many old ones.",
    "render": "Write compose, Kubernetes and other files.",
    "schema": "Print the JSON Schema of the manifest, or of an output.",
    "dev": "Run real servers for development, without Docker.",
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
