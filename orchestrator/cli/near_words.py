"""Words that other tools use, and the command of orch that does the same."""

from __future__ import annotations

from collections.abc import Container, Sequence

from orchestrator.hints import Command, Hint

_COMMANDS = {
    "apply": "up migrate upgrade deploy run sync update goto push",
    "rollback": "down downgrade revert undo reset",
    "redo": "reapply rerun retry",
    "plan": "diff preview dry-run",
    "status": "list ls info current show pending ps heads dbversion",
    "history": "log logs",
    "validate": "check test",
    "lint": "analyze analyse explain",
    "repair": "force fix resolve",
    "unlock": "lock locks",
    "baseline": "stamp adopt mark",
    "new": "create generate revision make create-migration migration",
    "init": "setup bootstrap install import",
    "render": "compose k8s kubernetes dockerfile argo",
    "wait": "wait-for",
    "orphans": "prune",
    "drop-clone": "drop",
    "rm-db": "remove rm delete",
    "add-db": "add new-db create-db",
    "shell": "psql mongosh mysql sqlite3 console connect exec sql query",
    "dsn": "url uri",
    "drift": "compare inspect",
    "doctor": "diagnose health ping",
    "squash": "collapse flatten",
    "report": "ui web html",
}
_NO_BACKUPS = Hint("orch makes no backups of databases: use the tool of the server, before ", Command("apply"))
_HINTS = {
    "start": Hint(Command("dev", "up"), " starts servers for development; ", Command("apply"), " migrates"),
    "stop": Hint(Command("dev", "down")),
    "env": Hint(Command("dev", "env"), " shows the variables of the servers for development"),
    "seed": Hint("write the rows in a migration: ", Command("new", "--help")),
    **dict.fromkeys(("backup", "dump", "restore"), _NO_BACKUPS),
}
_BEFORE_COMMANDS = ("migrate", "migration", "migrations", "db", "database")
_TARGETS = {
    "kubernetes": "k8s",
    "kustomize": "k8s",
    "docker-compose": "compose",
    "docker": "dockerfile",
    "argo-workflows": "argo",
    "argocd": "k8s",
    "github-actions": "github",
    "gitlab-ci": "gitlab",
    "sql": "init-sql",
}


def meant_command(words: Sequence[str], commands: Container[str]) -> Hint | None:
    """Return the command that a user of another tool means by these words, as in `migrate status`, or None."""
    word, second = [*words, "", ""][:2]
    if word in ("db", "database") and second in ("create", "add", "new"):
        return Hint(Command("add-db", "--help"))
    if word in _BEFORE_COMMANDS and second:
        if second in commands:
            return Hint(Command(second, "--help"))
        if within := meant_command([second], commands):
            return within
    if word in _HINTS:
        return _HINTS[word]
    name = next((name for name, words in _COMMANDS.items() if word in words.split()), "")
    return Hint(Command(name, "--help")) if name else None


def meant_targets(words: Sequence[str]) -> Hint | None:
    """Return the call of `orch render` that these arguments mean, or None if no word is known by another name."""
    targets = [_TARGETS.get(word.lower(), word) for word in words]
    return Hint(Command("render", *targets)) if targets != list(words) else None
