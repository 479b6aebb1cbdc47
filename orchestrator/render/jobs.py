"""What Kubernetes and Argo share: containers that run `orch` for one database, and the names around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.manifest.dsn import override_variable
from orchestrator.model import Database, Manifest
from orchestrator.render.names import short_names, slugs
from orchestrator.render.settings import Settings

USER = 65532  # nobody's; the image has the same
CANNOT_MEND = [2, 4, 5]
"""Exit codes that trying again does not change: usage, invalid files, a history conflict."""

# A pod asks for the most that any of its containers does, while it waits as well: waiters that ask for much keep out the
# very Job that they wait for.
_RESOURCES = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}

POD_SECURITY: dict[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
_CONTAINER_SECURITY: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def renamed(before: Manifest, after: Manifest, settings: Settings) -> dict[str, tuple[str, str, str]]:
    """Return id → the Job, the Secret before and the Secret now, of databases that are called otherwise than before."""
    old, new = Jobs(before, settings), Jobs(after, settings)
    return {
        id: (f"migrate-{name}", old.secret(id, settings.secret), new.secret(id, settings.secret))
        for id, name in new.names.items()
        if old.names.get(id, name) != name
    }


class Jobs:
    """The names and containers of every database of a manifest."""

    def __init__(self, manifest: Manifest, settings: Settings) -> None:
        self._settings = settings
        self._databases = {database.id: database for database in manifest.databases}
        self.names = slugs(short_names(manifest), 40)

    def secret(self, id: str, pattern: str) -> str:
        """Return the name of the Secret of a database."""
        return pattern.replace("{name}", self.names[id]).replace("{id}", id)

    def ancestors(self, database: Database) -> list[Database]:
        """Return all that a database depends on, also through others, in the order of the manifest.

        Waiting for those named alone is not enough: one in between may have nothing to do, and be ready at once.
        """
        found: set[str] = set()
        waiting = list(database.depends_on)
        while waiting:
            id = waiting.pop()
            if id not in found:
                found.add(id)
                waiting.extend(self._databases[id].depends_on)
        return [database for database in self._databases.values() if database.id in found]

    def apply(self, database: Database) -> dict[str, Any]:
        """Return the container that migrates this database and nothing else."""
        command = ["apply", "--only", database.id, "--no-deps", "--wait", "60", "--output", "jsonl"]
        return self._container("migrator", command, [database], self._settings.secret)

    def wait(self, databases: Sequence[Database]) -> dict[str, Any]:
        """Return the container that ends when these are migrated. It only reads."""
        command = ["wait", *(part for database in databases for part in ("--for", database.id))]
        command += ["--timeout", str(self._settings.wait_timeout)]
        return self._container("wait", command, databases, self._settings.wait_secret)

    def _container(self, name: str, arguments: list[str], databases: Sequence[Database], secret: str) -> dict[str, Any]:
        environment = [
            {
                "name": override_variable(database.id),
                "valueFrom": {
                    "secretKeyRef": {
                        "name": self.secret(database.id, secret),
                        "key": self._settings.keys[database.engine],
                    }
                },
            }
            for database in databases
        ]
        return {
            "name": name,
            "image": self._settings.image,
            "command": ["orch", *arguments],
            "env": environment,
            "resources": _RESOURCES,
            "securityContext": _CONTAINER_SECURITY,
        }
