"""Find the migrations of a project, and read its compose file and .env.example."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.engines import dialect, dialects
from orchestrator.manifest.names import name_problem

_UP = re.compile(r"[0-9]+_.*\.up\.([a-z]+)")
_NOT_OURS = {"node_modules", "vendor", "venv", "__pycache__", "site-packages"}
_TRIALS = {"test", "tests", "testdata", "fixtures", "example", "examples"}
_OTHERS = {
    "sqlserver",
    "mssql",
    "clickhouse",
    "cassandra",
    "cockroachdb",
    "spanner",
}
# What a directory is called for what it holds, not for the database.
_GENERIC = {
    *(
        "migrations",
        "migration",
        "migrate",
        "db",
        "dbs",
        "database",
        "databases",
        "schema",
        "schemas",
        "sql",
        "scripts",
    ),
    *("services", "service", "apps", "app", "cmd", "internal", "pkg", "src", "tools", "packages", "modules", "store"),
    *("storage", "up", "resources", "main", "assets"),
}
_ENV_EXAMPLES = (".env.example", ".env.sample", ".env.dist", ".env.template")
_URL = r"(?:export\s+)?(\w+)\s*=\s*[\"']?(%s)://[^/\s]*/([A-Za-z0-9_-]*)"
_NAME = re.compile(
    r"(?:[A-Za-z0-9_-]|\$\{[A-Za-z_]\w*(?::-[A-Za-z0-9_-]*)?\})+"
)  # of a database, as a manifest has it too
_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*)(?::?[-?][^}]*)?\}?")


@dataclass(frozen=True, slots=True)
class Found:
    """A directory with migrations; `directory` as seen from the project, or nothing where it is the default one."""

    engine: str
    name: str
    directory: str = ""


def find_migrations(root: Path) -> tuple[dict[str, Found], list[tuple[str, str]]]:
    """Return id → what was found, those of the default layout first, and what was skipped with the reason."""
    found = dict(_default(root))
    skipped: list[tuple[str, str]] = []
    for directory in _directories(root):
        place = directory.relative_to(root)
        if place.parts[:1] == ("migrations",) and len(place.parts) == 3 and place.parts[1] in found:
            continue
        engine, reason = _engine(directory, place)
        if engine:
            reason = _add(found, engine, place, root.absolute().name)
        if reason:
            skipped.append((place.as_posix(), reason))
    order = [dialect.name for dialect in dialects()]
    return dict(sorted(found.items(), key=lambda item: (order.index(item[1].engine), item[0]))), skipped


def _default(root: Path) -> Iterator[tuple[str, Found]]:
    known = {dialect.name for dialect in dialects()}
    for schema in sorted(root.glob("migrations/*/schema")):
        engine, _, name = schema.parent.name.partition("-")
        if engine in known and name and schema.is_dir():
            yield schema.parent.name, Found(engine, name)


def _directories(root: Path) -> Iterator[Path]:
    """Yield every directory that directly holds an up migration."""
    for path, directories, files in os.walk(root):
        directories[:] = sorted(one for one in directories if not one.startswith(".") and one not in _NOT_OURS)
        if any(_UP.fullmatch(name) for name in files):
            yield Path(path)


def _engine(directory: Path, place: Path) -> tuple[str, str]:
    """Return the engine of the files, or nothing and why the directory is skipped."""
    words = [word.lower() for word in place.parts]
    if other := next((word for word in words if word in _OTHERS), ""):
        return "", f"its path names {other}, which orch does not migrate"
    if trial := next((word for word in words if word in _TRIALS), ""):
        return "", f"what lies under {trial}/ is taken for an example"
    owner: dict[str, str] = {}
    for one in dialects():
        named = not {one.name, *one.aliases}.isdisjoint(words)  # several engines have .sql files: the path tells
        for extension in one.extensions:
            owner[extension] = one.name if named else owner.get(extension, one.name)
    matches = (_UP.fullmatch(one.name) for one in directory.iterdir())
    extensions = sorted({match[1] for match in matches if match})
    engines = {owner.get(extension, "") for extension in extensions}
    if len(engines) != 1 or "" in engines:
        return "", f"it holds migrations of several kinds or of an unknown one: .{', .'.join(extensions)}"
    return engines.pop(), ""


def _add(found: dict[str, Found], engine: str, place: Path, project: str) -> str:
    """Add a directory under the name that its path gives it; return why it is skipped, or nothing."""
    generic = _GENERIC.union(*((one.name, *one.aliases) for one in dialects()))
    telling = [part for part in place.parts if part.lower() not in generic] or [project]
    name = telling[-1].removeprefix(f"{engine}-") or project
    id = f"{engine}-{name}"
    if id in found and len(telling) > 1:
        name = f"{telling[-2]}-{name}"
        id = f"{engine}-{name}"
    if problem := name_problem(engine, name):
        return f"{name!r} cannot be the name of a database: {problem}"
    if id in found:
        other = found[id].directory or f"migrations/{id}/schema"
        return f"{id} is already the database of {other}; add it by hand under another name"
    default = place.as_posix() == f"migrations/{id}/schema"
    found[id] = Found(engine, name, "" if default else place.as_posix())
    return ""


def url_variables(root: Path) -> dict[str, list[tuple[str, str]]]:
    """Return engine → variables whose value in an .env.example is a whole DSN, with the database that it names."""
    engines = {scheme: one.name for one in dialects() for scheme in one.dsn.schemes}
    pattern = re.compile(_URL % "|".join(map(re.escape, engines)))
    variables: dict[str, list[tuple[str, str]]] = {}
    for path in (root / name for name in _ENV_EXAMPLES):
        if path.is_file():
            for line in path.read_text(errors="replace").splitlines():
                if match := pattern.match(line.strip()):
                    variables.setdefault(engines[match[2]], []).append((match[1], match[3]))
    return variables


class ComposeServers(NamedTuple):
    """What the services of a compose file say: engine → image, variables of our DSNs that it calls otherwise, and
    engine → the one database that its servers create.
    """

    images: dict[str, str]
    variables: dict[str, str]
    databases: dict[str, str]


def servers_in(services: Mapping[str, Any]) -> ComposeServers:
    """Return what a compose file says of servers. The first service of each engine counts.

    No value is taken over but the name of a database: one may be a secret.
    """
    images: dict[str, str] = {}
    names: dict[str, str] = {}
    databases: dict[str, set[str]] = {}
    for body in services.values():
        image = body.get("image") if isinstance(body, dict) else None
        if not isinstance(image, str) or "$" in image:
            continue
        engine, ours = _engine_of_image(image)
        if engine is None:
            continue
        environment = _environment(body.get("environment"))
        container = dialect(engine).container
        created = environment.get(container.database, "") if container else ""
        if created and created not in dialect(engine).server_databases:
            databases.setdefault(engine, set()).add(created)
        if not ours or engine in images:
            continue
        images[engine] = image
        for theirs, own in container.logins.items() if container else ():
            if (variable := _VARIABLE.fullmatch(environment.get(theirs, ""))) and variable[1] != own:
                names[own] = variable[1]
    alone = {engine: next(iter(found)) for engine, found in databases.items() if len(found) == 1}
    return ComposeServers(images, names, {engine: name for engine, name in alone.items() if _NAME.fullmatch(name)})


def _engine_of_image(image: str) -> tuple[str | None, bool]:
    """Return the engine that runs in this image, whatever its registry and tag, and whether we render it for that engine."""
    name = re.sub(r"[:@].*", "", image.rpartition("/")[2])
    for one in dialects():
        if one.container and one.container.image.partition(":")[0] == name:
            return one.name, True
    return next((one.name for one in dialects() if one.container and name in (one.name, *one.aliases)), None), False


def _environment(given: Any) -> dict[str, str]:
    """Return the environment of a service, which Compose takes as a mapping or as a list of NAME=VALUE."""
    if isinstance(given, dict):
        return {str(key): str(value) for key, value in given.items() if value is not None}
    pairs: Sequence[Any] = given if isinstance(given, list) else ()
    return dict(str(pair).partition("=")[::2] for pair in pairs)
