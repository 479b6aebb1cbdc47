"""`orch init`: the first manifest, from nothing or from migrations that are there already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

_COMPOSE = ("docker-compose.multi-db.yml", "docker-compose.yml", "docker-compose.yaml", "compose.yml", "compose.yaml")


def command(
    directory: Annotated[str, typer.Argument(metavar="[DIR]", help="The project. Default: here.")] = ".",
    compose: Annotated[
        str | None,
        typer.Option(
            "--compose", metavar="FILE", help="Take dependencies from its depends_on. Default: what is there."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written, and write nothing.")] = False,
) -> int:
    """Write a first databases.yaml: one entry for each migrations/{postgres,mongo}-NAME/schema that is there.

    Dependencies are proposed from a compose file in which services called migrate-NAME depend on each other.

    Examples: orch init · orch init --dry-run · orch init shop --compose docker-compose.yml
    """
    from pathlib import Path

    from orchestrator.cli.console import say
    from orchestrator.cli.project import make
    from orchestrator.errors import UsageError
    from orchestrator.files.changes import change
    from orchestrator.files.scaffold import first_manifest
    from orchestrator.manifest.load import FILE_NAME, load
    from orchestrator.model import Manifest
    from orchestrator.render.settings import settings_of
    from orchestrator.render.targets import foreign

    root = Path(directory).absolute()
    if not root.is_dir():
        raise UsageError(f"{directory} is not a directory", hint=f"mkdir -p {directory}")
    path = root / FILE_NAME
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} is there already", hint="orch add-db NAME adds a database to it")
    found = _found(root)
    source = root / compose if compose else next((root / one for one in _COMPOSE if (root / one).is_file()), None)
    if source and not source.is_file():
        raise UsageError(f"--compose {compose}: there is no such file")
    needs = _needs(source, found) if source else {}
    text = first_manifest([_entry(id, found, needs.get(id, [])) for id in _ordered(list(found), needs, source)])
    manifest = load(path, text=text) if found else Manifest(path, ())
    make([change(path, text.encode())], root, dry_run, "orch validate" if found else "orch add-db NAME")
    if found:
        say(f"{len(found)} database(s) found" + (f", dependencies from {source.name}." if source and needs else "."))
        say("Look through it: who depends on whom, and the servers' DSNs.")
    for name in _passed_over(root):
        say(f"migrations/{name} was passed over: a database has its files in migrations/{name}/schema.")
    for name, target in foreign(manifest, settings_of(manifest), root).items():
        say(f"{name} is not made by orch: move it away before `orch render {target}`, or give that another place.")
    return 0


def _passed_over(root: Path) -> list[str]:
    """Return the directories that are named as those of a database, and are not laid out as one."""
    named = (one for engine in ("postgres", "mongo") for one in root.glob(f"migrations/{engine}-*"))
    return sorted(one.name for one in named if one.is_dir() and not (one / "schema").is_dir())


def _found(root: Path) -> dict[str, tuple[str, str]]:
    """Return id → (engine, name) of every directory that holds migrations."""
    found = {}
    for schema in sorted(root.glob("migrations/*/schema")):
        engine, _, name = schema.parent.name.partition("-")
        if engine in ("postgres", "mongo") and name and schema.is_dir():
            found[schema.parent.name] = (engine, name)
    # PostgreSQL first, as in the directory of the one who began with it.
    return dict(sorted(found.items(), key=lambda item: (item[1][0] != "postgres", item[0])))


def _entry(id: str, found: dict[str, tuple[str, str]], needs: list[str]) -> dict[str, Any]:
    names = [name for _, name in found.values()]
    entry: dict[str, Any] = {"name": found[id][1], "server": found[id][0]}
    if needs:
        entry["depends_on"] = [found[need][1] if names.count(found[need][1]) == 1 else need for need in needs]
    return entry


def _needs(compose: Path, found: dict[str, tuple[str, str]]) -> dict[str, list[str]]:
    """Return id → ids, from services called migrate-NAME or migrate-ENGINE-NAME."""
    from orchestrator.errors import InvalidError
    from orchestrator.manifest.source import read_yaml

    try:
        value = read_yaml(compose).value
    except InvalidError as error:
        raise InvalidError(error.what, where=error.where, hint="--compose names another") from None
    services = value.get("services") if isinstance(value, dict) else None
    services = services if isinstance(services, dict) else {}
    meant = {service: id for service, body in services.items() if (id := _database(service, body, found))}
    needs: dict[str, list[str]] = {}
    for service, id in meant.items():
        given = services[service].get("depends_on") if isinstance(services[service], dict) else None
        for other in given if isinstance(given, dict | list) else ():
            need = meant.get(other)
            if need and need != id and need not in needs.get(id, []):
                needs.setdefault(id, []).append(need)
    return needs


def _database(service: str, body: Any, found: dict[str, tuple[str, str]]) -> str | None:
    """Return which database a service migrates; its environment tells the engine where two share a name."""
    if not service.startswith("migrate-"):
        return None
    name = service.removeprefix("migrate-")
    if name in found:
        return name
    candidates = [id for id, (_, own) in found.items() if own == name or own.replace("_", "-") == name]
    environment = str(body.get("environment", "")) if isinstance(body, dict) else ""
    if len(candidates) > 1:
        engine = "mongo" if "MONGO" in environment else "postgres"
        candidates = [id for id in candidates if found[id][0] == engine]
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
