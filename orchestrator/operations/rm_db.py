"""Undo add-db: take a database out of a project. Its server is not touched."""

from __future__ import annotations

from orchestrator.errors import UsageError
from orchestrator.files.changes import Change
from orchestrator.files.scaffold import first_pair
from orchestrator.hints import Command, Hint
from orchestrator.manifest.edit import remove
from orchestrator.manifest.names import resolve_name
from orchestrator.manifest.source import shown
from orchestrator.model import Database
from orchestrator.operations.project import Changes, Project, changes, open_project, quoted, renamed_notes


def rm_db(name: str, file: str | None = None, *, migrations: bool = False) -> tuple[Changes, Database]:
    """Return the changes that remove a database from the project, and the database.

    Its migrations go too if nobody has worked on them, or with `migrations`. UsageError if another depends on it.
    """
    project = open_project(file)
    database = resolve_name(project.manifest.databases, name)
    others = [other.id for other in project.manifest.databases if database.id in other.depends_on]
    if others:
        raise UsageError(f"{', '.join(others)} depends on {database.id}", hint="take that dependency out first")
    index = project.manifest.databases.index(database)
    text = remove(project.text, index, shown(project.path))
    after = project.with_text(text)
    removed, kept = _migrations(database, after, migrations)
    # The manifest comes first: what stops us after it leaves at most files that nothing refers to.
    found = [project.manifest_change(text), *after.render_changes(), *removed]
    notes = renamed_notes(project, after)
    notes += [f"{shown(database.directory)} stays, because {kept}."] if kept else []
    return changes(found, project.root, Hint(Command("plan")), notes), database


def _migrations(database: Database, after: Project, all_of_them: bool) -> tuple[list[Change], str]:
    """Return the removal of the migrations, or why they stay: `after` is the project without the database."""
    directory = database.directory
    if not directory.is_dir():
        return [], ""
    place = directory.resolve()
    if users := [other.id for other in after.manifest.databases if other.directory.resolve() == place]:
        return [], f"it is that of {', '.join(users)} too"
    if not after.holds(directory):
        return [], "it lies outside of the project"
    by_hand = f"its files are not as add-db wrote them; without them: {quoted('rm', '-r', shown(directory))}"
    try:
        entries = sorted(directory.iterdir())
        odd = [path for path in entries if path.exists() and not path.is_file()]  # a pipe would be read for ever
        found = {} if odd else {path: path.read_bytes() for path in entries}
        wrong = f"{odd[0]} cannot be removed: it is no file" if odd else ""
    except OSError as error:
        wrong = f"{error.filename} cannot be removed: {error.strerror}"
    if wrong and all_of_them:
        raise UsageError(wrong)
    if wrong:
        return [], by_hand
    written = {directory / name: text.encode() for name, text in first_pair(database.engine, database.name).items()}
    if found == written or all_of_them:
        return [Change(path, content, None) for path, content in found.items()], ""
    return [], by_hand
