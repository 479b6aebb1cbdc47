"""What Kubernetes and Argo share: containers that run `orch`, and the names around them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator.engines import dialect
from orchestrator.errors import InvalidError
from orchestrator.manifest.dsn import override_variable
from orchestrator.model import Database, Manifest
from orchestrator.render.names import short_names, slugs
from orchestrator.render.servers import servers_of
from orchestrator.render.settings import Settings

USER = 65532  # nobody's; the image has the same
CANNOT_MEND = [2, 4, 5]
"""Exit codes after which another try is useless: usage, invalid files, a history conflict."""

# A pod asks for the most that any of its containers does, while it waits as well: waiters that ask for much keep out the
# very Job that they wait for.
_RESOURCES = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}

_POD_SECURITY: dict[str, Any] = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
# A new volume belongs to root, and databases that are files are written by our user, with a journal beside them.
_OWN_VOLUMES: dict[str, Any] = {"fsGroup": USER, "fsGroupChangePolicy": "OnRootMismatch"}
_CONTAINER_SECURITY: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
_METADATA = ("labels", "annotations")
_CONTAINER = ("env", "imagePullPolicy", "resources", "volumeMounts")
_SECRET_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


def renamed(before: Manifest, after: Manifest, settings: Settings) -> dict[str, tuple[str, str, str]]:
    """Return id → (Job, old Secret, new Secret) of the databases whose names in the cluster changed."""
    old, new = Jobs(before, settings), Jobs(after, settings)
    return {
        id: (f"migrate-{name}", old.secret(id, settings.secret), new.secret(id, settings.secret))
        for id, name in new.names.items()
        if old.names.get(id, name) != name
    }


def merged(ours: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return both mappings merged: mappings in them key by key; of any other value, the given one wins."""
    result = dict(ours)
    for key, value in given.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def pod_metadata(settings: Settings) -> dict[str, dict[str, str]]:
    """Return the labels and annotations that the manifest gives to every pod."""
    return {key: dict(settings.pod[key]) for key in _METADATA if settings.pod.get(key)}


def pod_settings(settings: Settings) -> dict[str, Any]:
    """Return what the manifest sets for every pod, without metadata and containers."""
    return {key: value for key, value in settings.pod.items() if key not in (*_METADATA, *_CONTAINER)}


def representatives(manifest: Manifest) -> Manifest:
    """Return the manifest with one member of each fleet on each server: all that a Job for the whole needs to know."""
    seen: set[tuple[int, str | None]] = set()
    databases = []
    for one in manifest.databases:
        key = (one.fleet.entry, one.server) if one.fleet else None
        if key is None or key not in seen:
            databases.append(one)
            seen |= {key} if key else set()
    kept = {one.id for one in databases}
    return replace(
        manifest,
        databases=tuple(replace(one, depends_on=tuple(id for id in one.depends_on if id in kept)) for one in databases),
    )


class Jobs:
    """The names and containers of every database of a manifest."""

    def __init__(self, manifest: Manifest, settings: Settings) -> None:
        self._settings = settings
        self._databases = {database.id: database for database in manifest.databases}
        self._servers = servers_of(manifest)
        self.names = slugs(short_names(manifest), 40)

    def secret(self, id: str, pattern: str) -> str:
        """Return the name of the Secret of a database: its own, or that of its server."""
        if self._settings.secrets == "server":
            database = self._databases[id]
            server = next(one for one in self._servers if database in one.databases)
            return pattern.replace("{name}", server.service).replace("{id}", server.service)
        return pattern.replace("{name}", self.names[id]).replace("{id}", id)

    def security(self) -> dict[str, Any]:
        """Return the security context of every pod."""
        files = any(dialect(one.engine).container is None for one in self._databases.values())
        return _POD_SECURITY | (_OWN_VOLUMES if files else {})

    def ancestors(self, database: Database) -> list[Database]:
        """Return all dependencies of a database, direct and indirect, in the order of the manifest.

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

    def apply_all(self, shard: str = "") -> dict[str, Any]:
        """Return the container that migrates every database, each after what it depends on; or a shard of them."""
        command = ["apply", "--wait", "60", "--output", "jsonl", *(["--shard", shard] if shard else [])]
        return self._container("migrator", command, list(self._databases.values()), self._settings.secret)

    def drift(self) -> dict[str, Any]:
        """Return the container that runs `orch drift` on all databases."""
        databases = list(self._databases.values())
        return self._container("drift", ["drift", "--wait", "60"], databases, self._settings.secret)

    def wait(self, databases: Sequence[Database]) -> dict[str, Any]:
        """Return the container that ends once these databases are migrated. It only reads."""
        command = ["wait", *(part for database in databases for part in ("--for", database.id))]
        command += ["--timeout", str(self._settings.wait_timeout)]
        return self._container("wait", command, databases, self._settings.wait_secret)

    def _container(self, name: str, arguments: list[str], databases: Sequence[Database], secret: str) -> dict[str, Any]:
        pod = self._settings.pod
        container: dict[str, Any] = {
            "name": name,
            "image": self._settings.image,
            # Kubernetes replaces $(NAME) in a command, and reads $$ as $.
            "command": ["orch", *(argument.replace("$", "$$") for argument in arguments)],
        }
        if self._settings.secrets == "server":
            container["envFrom"] = list(self._server_secrets(databases, secret))
            environment = list[dict[str, Any]]()
        else:
            environment = list(self._database_secrets(databases, secret))
        if environment := [*environment, *pod.get("env", ())]:
            container["env"] = environment
        container |= {key: pod[key] for key in ("imagePullPolicy", "volumeMounts") if key in pod}
        container["resources"] = merged(_RESOURCES, pod.get("resources") or {})
        return container | {"securityContext": _CONTAINER_SECURITY}

    def _database_secrets(self, databases: Sequence[Database], pattern: str) -> Iterator[dict[str, Any]]:
        """Yield a variable for each database, with its DSN from its Secret; InvalidError where two would be the same."""
        owners: dict[str, Database] = {}
        for database in databases:
            variable = override_variable(database.id)
            other = owners.setdefault(variable, database)
            if other is not database:
                raise InvalidError(
                    f"the DSNs of {other.id} and {database.id} would both be in the variable {variable}",
                    where=database.mark,
                    hint="rename one of them, or use one Secret for each server: render: {k8s: {secrets: server}}",
                )
            key = self._settings.keys[database.engine]
            reference = {"name": self._checked(database, pattern), "key": key}
            yield {"name": variable, "valueFrom": {"secretKeyRef": reference}}

    def _server_secrets(self, databases: Sequence[Database], pattern: str) -> Iterator[dict[str, Any]]:
        """Yield the Secret of each server once; a server whose DSN has no variables needs none."""
        for server in self._servers:
            here = [database for database in databases if database in server.databases]
            if here and server.variables:
                yield {"secretRef": {"name": self._checked(here[0], pattern)}}

    def _checked(self, database: Database, pattern: str) -> str:
        name = self.secret(database.id, pattern)
        if len(name) > 253 or not _SECRET_NAME.fullmatch(name):
            raise InvalidError(
                f"the Secret of {database.id} would be called {name!r}, which Kubernetes does not allow",
                where=database.mark,
                hint='use {name} instead of {id}: render: {k8s: {secret: "{name}-db-credentials"}}',
            )
        return name
