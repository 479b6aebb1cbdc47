"""Words that other tools use, and the command of orch that does the same."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.hints import Command, Hint

_COMMANDS = {
    "apply": "up migrate upgrade deploy run sync update goto",
    "rollback": "down downgrade revert undo reset",
    "plan": "diff preview dry-run",
    "status": "list ls info current show",
    "history": "log logs",
    "validate": "check test",
    "repair": "force fix resolve",
    "baseline": "stamp adopt",
    "new": "create generate revision make",
    "render": "compose k8s kubernetes dockerfile argo",
    "wait": "wait-for",
    "orphans": "prune",
    "drop-clone": "drop",
    "rm-db": "remove rm delete",
    "add-db": "add",
}
_HINTS = {
    "start": Hint(Command("dev", "up"), " starts servers for development; ", Command("apply"), " migrates"),
    "stop": Hint(Command("dev", "down")),
}
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


def meant_command(word: str) -> Hint | None:
    """Return the command that a user of another tool means by this word, or None."""
    if word in _HINTS:
        return _HINTS[word]
    name = next((name for name, words in _COMMANDS.items() if word in words.split()), "")
    return Hint(Command(name, "--help")) if name else None


def meant_targets(words: Sequence[str]) -> Hint | None:
    """Return the call of `orch render` that these arguments mean, or None if no word is known by another name."""
    targets = [_TARGETS.get(word.lower(), word) for word in words]
    return Hint(Command("render", *targets)) if targets != list(words) else None
