"""`orch rm-db`: remove a database from the project. Its server is not touched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import options
from orchestrator.hints import Command, Hint

if TYPE_CHECKING:
    from orchestrator.cli.project import Project
    from orchestrator.files.changes import Change
    from orchestrator.model import Database


def command(
    name: options.Name,
    migrations: Annotated[
        bool,
        typer.Option("--migrations", help="Remove its migrations even if they were edited."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written, but write nothing.")] = False,
    file: options.File = None,
) -> int:
    """Undo add-db: remove the manifest entry, update rendered files, and remove migrations that nobody has edited.

    The database itself is never touched.

    Examples:
        orch rm-db logs2
    """
    from orchestrator.cli.console import say
    from orchestrator.cli.project import make, open_project, say_renamed
    from orchestrator.errors import UsageError
    from orchestrator.manifest.edit import remove
    from orchestrator.manifest.names import resolve_name
    from orchestrator.manifest.source import shown

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
    changes = [project.manifest_change(text), *after.render_changes(), *removed]
    make(changes, project.root, dry_run, Hint(Command("plan")))
    say_renamed(project, after)
    if kept:
        say(f"{shown(database.directory)} stays, because {kept}.")
    if not dry_run:
        say(f"The database {database.name!r} itself, if there is one, is as it was.")
    return 0


def _migrations(database: Database, after: Project, all_of_them: bool) -> tuple[list[Change], str]:
    """Return the removal of the migrations, or why they stay: `after` is the project without the database."""
    from orchestrator.cli.project import quoted
    from orchestrator.errors import UsageError
    from orchestrator.files.changes import Change
    from orchestrator.files.scaffold import first_pair
    from orchestrator.manifest.source import shown

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
