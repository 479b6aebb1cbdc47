"""Find and read `databases.yaml`. Report all errors at once."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.errors import InvalidError, InvalidGroup
from orchestrator.hints import Command, Hint
from orchestrator.manifest.conforms import conforms
from orchestrator.manifest.declare import Declarations
from orchestrator.manifest.for_each import Answer
from orchestrator.manifest.schema import schema
from orchestrator.manifest.source import Source, Steps, parse_yaml, read_yaml, shown
from orchestrator.model import Hook, Manifest, Mark

FILE_NAME = "databases.yaml"
_TAKEN = ("schema_migrations", "migrate_advisory_lock")  # golang-migrate's own


def find_manifest(file: str | None, env: Mapping[str, str], cwd: Path) -> Path:
    """Return the manifest: `file`, else ORCH_FILE, else `databases.yaml` in `cwd` or the nearest directory above.

    InvalidError if there is none.
    """
    given = file or env.get("ORCH_FILE")
    if given:
        path = cwd / given
        if path.is_file():
            return path
        source = "" if file else " (from ORCH_FILE)"
        problem = "there is no such file"
        if path.exists():
            problem = "is a directory" if path.is_dir() else "is not a regular file"
        raise InvalidError(f"{given}{source}: {problem}", hint=Hint(Command("init"), " writes a first databases.yaml"))
    for directory in (cwd, *cwd.parents):
        if (directory / FILE_NAME).is_file():
            return directory / FILE_NAME
    raise InvalidError(
        f"there is no {FILE_NAME} in {cwd} or above",
        hint=Hint(Command("init"), " writes one; -f FILE names one elsewhere"),
    )


def load(
    path: Path, *, directories: bool = True, text: str | None = None, answers: Mapping[int, Answer] | None = None
) -> Manifest:
    """Read and check a manifest; InvalidError, or a group of all of them in the order of the file.

    Without `directories` a missing migrations directory is no error, for commands that make it. `text` is what the
    file is about to hold, for commands that edit it. `answers` are those to the queries of fleets, by the positions of
    their entries; without its answer a fleet is one database that stands for all.
    """
    with _no_garbage_collection():
        return _load(path, directories, text, answers or {})


def _load(path: Path, directories: bool, text: str | None, answers: Mapping[int, Answer]) -> Manifest:
    source = read_yaml(path) if text is None else parse_yaml(text, shown(path))
    if source.value is None:
        hint = Hint(Command("init"), " writes a first databases.yaml")
        raise InvalidError(f"{shown(path)} is empty", where=Mark(source.path, 1, 1), hint=hint)

    violations = _violations(source)
    declared = Declarations(source, [steps for steps, _ in violations], path.absolute().parent, directories, answers)
    told = {error.where for error in source.errors}  # what cannot be read is not wrong in another way, too
    further = (*(error for _, error in violations), *declared.errors)
    errors = [*source.errors, *(error for error in further if error.where not in told)]
    value = source.value if isinstance(source.value, dict) else {}
    history = value.get("history")
    history_name = history.get("name", "orch_history") if isinstance(history, dict) else "orch_history"
    if history_name in _TAKEN:
        what = f"the history cannot be called {history_name!r}: golang-migrate uses that name"
        errors.append(InvalidError(what, where=source.mark(["history", "name"])))

    once = {(error.where or Mark(source.path), error.what): error for error in errors}  # aliases repeat what is wrong
    InvalidGroup.raise_if(once[place] for place in sorted(once))
    dependents = tuple(dict.fromkeys(value.get("dependents") or ()))
    return Manifest(
        path,
        declared.databases,
        history_name,
        value.get("render") or {},
        dependents,
        tuple(declared.fleets),
        frozenset(declared.unresolved),
        tuple(_hook(entry) for entry in value.get("notify") or ()),
    )


def _hook(entry: Mapping[str, Any]) -> Hook:
    given = {name: value for name, value in entry.items() if value is not None}
    return Hook(**{**given, "events": tuple(given["events"])} if "events" in given else given)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Half of the time of a large manifest would go into looking for garbage where everything is kept."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _violations(source: Source) -> list[tuple[Steps, InvalidError]]:
    rendered = isinstance(source.value, dict) and "render" in source.value
    if conforms(schema(rendered=rendered), source.value):
        return []
    from orchestrator.manifest.explain import explain  # and jsonschema: 90 ms

    return explain(schema(), source)
