"""Whether two machines have the same manifest and migrations: SHA-256 digests, and what they are compared by. Reads files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from orchestrator.errors import WorkerError
from orchestrator.manifest import for_each
from orchestrator.model import Direction, Manifest, Migration
from orchestrator.planning.plan import DatabasePlan

_SHOWN = 12  # characters of a digest
_SAME_FILES = "deploy the same revision of the project to the client and to all workers"
_OWN_FILES = "a worker reads its own files: put them at the path that they have on the client, or set ORCH_FILE there"


def files_of(manifest: Manifest) -> dict[str, str]:
    """Return the digests of the manifest (its name is empty) and of the files that its fleets come from, by their names."""
    return {name: _digest(_place(manifest.path, name)) for name in ["", *for_each.files_of(manifest.fleets)]}


def check_files(manifest: Path, files: Mapping[str, str]) -> None:
    """Raise WorkerError for the first of these files that is not here, or has another digest. They stand beside the manifest."""
    for name, wanted in files.items():
        place = _place(manifest, name)
        try:
            found = _digest(place)
        except OSError as error:
            raise WorkerError(f"{place} cannot be read: {error.strerror or error}", hint=_OWN_FILES) from None
        if found != wanted:
            raise WorkerError(f"{place} {_other(found, wanted)}", hint=_SAME_FILES)


def of_migrations(migrations: Sequence[Migration]) -> str:
    """Return one digest of all files of a migrations directory."""
    lines = [f"{one.version} {one.name!r} {_sums(one)}\n" for one in migrations]
    return sha256("".join(lines).encode(errors="surrogatepass")).hexdigest()


def check_migrations(planned: DatabasePlan, directory: Path, migrations: Sequence[Migration], wanted: str) -> None:
    """Raise WorkerError if the files of a database are not those of this digest; names a file of the plan that differs."""
    found = of_migrations(migrations)
    if found == wanted:
        return
    example = next(_changed(planned, migrations), "")
    what = f"the migrations of {planned.id} in {directory} differ: the directory {_other(found, wanted)}"
    raise WorkerError(what, detail=f"for example {example}" if example else "", hint=_SAME_FILES)


def _changed(planned: DatabasePlan, migrations: Sequence[Migration]) -> Iterator[str]:
    by_version = {one.version: one for one in migrations}
    for step in planned.steps:
        one = by_version.get(step.version)
        file = one.file(step.direction) if one else None
        if (file.checksum if file else "") != step.checksum:
            yield step.path or f"version {step.version}"


def _sums(one: Migration) -> str:
    files = [one.file(direction) for direction in Direction]
    return " ".join(file.checksum if file else "-" for file in files)


def _other(found: str, wanted: str) -> str:
    return f"has the SHA-256 {found[:_SHOWN]}…, and on the client {wanted[:_SHOWN]}…"


def _place(manifest: Path, name: str) -> Path:
    return manifest.parent / name if name else manifest


def _digest(path: Path) -> str:
    """Return the digest of a text file, whatever ends its lines."""
    return sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest()
