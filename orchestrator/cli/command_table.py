"""The commands by name, and `orch --help`, which lists them without importing any: importing typer alone takes too long."""

from __future__ import annotations

GROUPS = {
    "Everyday": {
        "apply": "Create missing databases and apply all migrations, in order.",
        "plan": "Show what apply would do.",
        "status": "Show version, pending migrations and problems of each.",
        "history": "Show the migration history, including failed attempts.",
        "rollout": "Continue a rollout that is paused.",
        "rollback": "Roll back applied migrations.",
        "redo": "Roll back the newest migrations and apply them again.",
        "validate": "Check the manifest, migration files and dependency graph.",
        "lint": "Check the up files for lost data, long locks and failures.",
        "wait": "Wait until databases are migrated.",
        "shell": "Open psql, mongosh, mysql or sqlite3 on a database.",
        "dsn": "Print the DSN of a database.",
    },
    "Set up": {
        "init": "Write a first databases.yaml from existing migrations.",
        "add-db": "Add a database: entry, first migration, rendered files.",
        "rm-db": "Undo add-db. The database itself is not touched.",
        "new": "Create the next pair of migration files.",
        "baseline": "Mark existing migrations as applied without running them.",
    },
    "Test": {
        "dev": "Run real servers for development, without Docker.",
        "verify": "Try every up and down file in a scratch database.",
        "stats": "Print the sizes of tables, for lint --stats.",
        "clone": "Create a fresh migrated copy of a database for a test.",
        "clones": "List clones and templates on the servers.",
        "drop-clone": "Drop clones.",
    },
    "Repair": {
        "doctor": "Check servers: connection, rights, clock, poolers, replicas.",
        "repair": "Show what is wrong with a database, and resolve it.",
        "unlock": "Show who holds the migration lock and remove it.",
        "drift": "Show schema changes that no migration made.",
        "orphans": "List databases with a history that no manifest declares.",
    },
    "Generate": {
        "render": "Write compose, Kubernetes and other files.",
        "report": "Write one HTML page with everything known of all databases.",
        "graph": "Show the dependency graph as text, Mermaid, DOT or JSON.",
        "squash": "Write one migration that replaces many old ones.",
        "schema": "Print the JSON Schema of the manifest or of an output.",
    },
}
"""Heading → command → summary. A command is the module `orchestrator.cli.commands.NAME`, with a function `command`, or with
an `app` that has commands of its own."""

COMMANDS = {name: summary for group in GROUPS.values() for name, summary in group.items()}

_LISTS = "\n\n".join(
    f"{heading}:\n" + "\n".join(f"  {name:12}{summary}" for name, summary in group.items())
    for heading, group in GROUPS.items()
)

HELP = f"""\
Usage: orch [OPTIONS] COMMAND [ARGS]...

  One manifest for every database: create what is missing and migrate
  everything, in order.

{_LISTS}

Options:
  -V, --version         Show the version and exit. So does orch version.
  --install-completion  Install completion for the current shell.
  --show-completion     Show completion for the current shell, to copy it or
                        customize the installation.
  -h, --help            Show this message and exit.

  orch help COMMAND shows the options of a command, with examples.

  Exit codes: 0 done, 1 failed, 2 usage, 3 changes pending (--exit-code),
  4 manifest or files invalid, 5 history conflict, 6 lock not obtained,
  7 cannot connect or not permitted, 8 not yet, 130 interrupted.
"""
