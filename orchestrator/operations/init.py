"""Write a first manifest of a project, from nothing or from migrations that are there already. No server is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.engines import DIALECTS
from orchestrator.errors import UsageError
from orchestrator.files.changes import change
from orchestrator.files.discovery import Found, find_migrations, servers_in, url_variables
from orchestrator.files.scaffold import first_manifest
from orchestrator.hints import NAME, Command, Hint
from orchestrator.manifest.load import FILE_NAME, load
from orchestrator.manifest.schema import schema
from orchestrator.model import Manifest
from orchestrator.operations.project import Changes, changes
from orchestrator.phrases import did_you_mean, either
from orchestrator.render.settings import settings_of
from orchestrator.render.targets import foreign

_COMPOSE = ("docker-compose.multi-db.yml", "docker-compose.yml", "docker-compose.yaml", "compose.yml", "compose.yaml")


def init(directory: str = ".", *, compose: str | None = None, engine: str | None = None) -> Changes:
    """Return the change that writes the manifest of a directory.

    `compose` is a compose file that tells dependencies; `engine` the only one for which a server is declared. UsageError
    if there is a manifest already, and InvalidError for files that cannot be read.
    """
    if engine is not None and engine not in DIALECTS:
        hint = did_you_mean(engine, DIALECTS) or f"use {either(list(DIALECTS))}"
        raise UsageError(f"there is no engine {engine!r}", hint=hint)
    root = Path(directory).absolute()
    if not root.is_dir():
        raise UsageError(f"{directory} is not a directory", hint=f"mkdir -p {directory}")
    path = root / FILE_NAME
    if path.is_symlink() or (path.exists() and not _is_blank(path)):
        raise UsageError(f"{path} is there already", hint=_hint(path))
    found, skipped = find_migrations(root)
    source = root / compose if compose else next((root / one for one in _COMPOSE if (root / one).is_file()), None)
    if source and not source.is_file():
        raise UsageError(f"--compose {compose}: there is no such file")
    services = _services(source) if source else {}
    needs = _needs(services, found)
    urls = url_variables(root)
    images, variables, created = servers_in(services)
    entries = [_entry(id, found, needs.get(id, []), urls, created) for id in _ordered(list(found), needs, source)]
    engines = {engine} if engine else set() if found else {*images, *urls}
    text = _with_servers(first_manifest(entries, engines, schema()["$id"]), images, variables)
    manifest = load(path, text=text) if found else Manifest(path, ())
    following = Hint(Command("validate") if found else Command("add-db", NAME))
    notes: list[str] = []
    real = [f"{entry['name']} is called {entry['database']} on its server" for entry in entries if "database" in entry]
    if found:
        count = f"{len(found):,} {'database' if len(found) == 1 else 'databases'} found"
        notes.append(count + (f", dependencies from {source.name}." if source and needs else "."))
        notes.append("Please check the dependencies and the DSNs of the servers.")
    notes += [f"{one}, as {source.name} says." for one in real if source]
    notes += [f"{place} was skipped: {reason}." for place, reason in skipped]
    notes += [
        f"migrations/{name} was skipped: a database has its files in migrations/{name}/schema."
        for name in _passed_over(root, found)
    ]
    notes += [
        f"{name} is not made by orch: move it away before `orch render {target}`, or give that another place."
        for name, target in foreign(manifest, settings_of(manifest), root).items()
    ]
    return changes([change(path, text.encode())], root, following, notes)


def _is_blank(path: Path) -> bool:
    """Whether a manifest is a file without any text, which is as good as none."""
    return path.is_file() and not path.read_bytes().removeprefix(b"\xef\xbb\xbf").strip()


def _hint(path: Path) -> str:
    """Return what to do with a manifest that is there: another database needs one that can be read."""
    from orchestrator.errors import InvalidError
    from orchestrator.manifest.source import read_yaml

    try:
        if isinstance(read_yaml(path).value, dict):
            return Hint(Command("add-db", NAME), " adds a database to it")
    except InvalidError:
        return Hint(Command("validate"), " says what is wrong with it")
    return Hint("it holds no manifest: move it away, and run again: ", Command("init"))


def _passed_over(root: Path, found: Mapping[str, Found]) -> list[str]:
    """Return the directories that are named as those of a database, and are not laid out as one."""
    named = (one for engine in DIALECTS for one in root.glob(f"migrations/{engine}-*"))
    return sorted(one.name for one in named if one.is_dir() and one.name not in found)


def _entry(
    id: str,
    found: Mapping[str, Found],
    needs: list[str],
    urls: Mapping[str, list[tuple[str, str]]],
    created: Mapping[str, str],
) -> dict[str, Any]:
    """Return the entry of a database. One that is alone takes the one DSN that .env.example has for its engine.

    The only one of its engine is called on its server as the compose file creates it.
    """
    names = [one.name for one in found.values()]
    here = found[id]
    entry: dict[str, Any] = {"name": here.name, "server": here.engine}
    given = urls.get(here.engine, [])
    only = [one.engine for one in found.values()].count(here.engine) == 1
    if only and created.get(here.engine, here.name) != here.name:
        entry["database"] = created[here.engine]
    if len(given) == 1 and len(found) == 1:
        variable, name = given[0]
        entry = {"name": name or here.name, "engine": here.engine, "dsn": f"${{{variable}}}"}
        entry["migrations"] = here.directory or f"migrations/{id}/schema"
    elif here.directory:
        entry["migrations"] = here.directory
    if needs:
        entry["depends_on"] = [found[need].name if names.count(found[need].name) == 1 else need for need in needs]
    return entry


def _with_servers(text: str, images: Mapping[str, str], variables: Mapping[str, str]) -> str:
    """Return the manifest with the variables and images that a compose file has."""
    from orchestrator.files.yaml_text import to_yaml

    for ours, theirs in variables.items():
        text = re.sub(rf"\$\{{{ours}(?=[:}}])", f"${{{theirs}", text)
    compose = {f"{engine}_image": image for engine, image in sorted(images.items(), reverse=True)}
    return text + ("\n" + to_yaml({"render": {"compose": compose}}) if compose else "")


def _services(compose: Path) -> dict[str, Any]:
    """Return the services of a compose file."""
    from orchestrator.errors import InvalidError
    from orchestrator.manifest.source import read_yaml

    try:
        value = read_yaml(compose).value
    except InvalidError as error:
        raise InvalidError(error.what, where=error.where, hint="--compose names another") from None
    services = value.get("services") if isinstance(value, dict) else None
    return services if isinstance(services, dict) else {}


def _needs(services: Mapping[str, Any], found: Mapping[str, Found]) -> dict[str, list[str]]:
    """Return id → ids, from services called migrate-NAME, migrate-ENGINE-NAME or NAME-migrate."""
    meant = {service: id for service, body in services.items() if (id := _database(service, body, found))}
    needs: dict[str, list[str]] = {}
    for service, id in meant.items():
        given = services[service].get("depends_on") if isinstance(services[service], dict) else None
        for other in given if isinstance(given, dict | list) else ():
            need = meant.get(other)
            if need and need != id and need not in needs.get(id, []):
                needs.setdefault(id, []).append(need)
    return needs


def _database(service: str, body: Any, found: Mapping[str, Found]) -> str | None:
    """Return which database a service migrates; its environment tells the engine where two share a name."""
    match = re.fullmatch(r"(?:migrate|migrations?)[-_](.+)|(.+)[-_](?:migrate|migrations?|migrator)", service)
    if not match:
        return None
    name = match[1] or match[2]
    if name in found:
        return name
    candidates = [id for id, one in found.items() if name in (one.name, one.name.replace("_", "-"))]
    environment = str(body.get("environment", "")) if isinstance(body, dict) else ""
    if len(candidates) > 1:
        engine = next((one for one in DIALECTS if one.upper() in environment), next(iter(DIALECTS)))
        candidates = [id for id in candidates if found[id].engine == engine]
    return candidates[0] if candidates else None


def _ordered(ids: list[str], needs: dict[str, list[str]], compose: Path | None) -> list[str]:
    """Return the ids, each after what it needs; InvalidError at the compose file if its services form a cycle."""
    from orchestrator.errors import InvalidError
    from orchestrator.manifest.source import shown
    from orchestrator.model import Mark
    from orchestrator.planning.graph import cycle, order

    dependencies = {id: tuple(needs.get(id, ())) for id in ids}
    if compose and (found := cycle(dependencies)):
        raise InvalidError(
            f"the services that migrate form a cycle: {' → '.join(found)}",
            where=Mark(shown(compose)),
            hint="each depends on the next; take one of these depends_on out, or: --compose FILE",
        )
    return order(dependencies)
