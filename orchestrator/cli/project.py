"""Make the changes to the files of a project, and show them."""

from __future__ import annotations

from orchestrator.cli.console import out, pasteable, say
from orchestrator.files.changes import tree
from orchestrator.hints import Hint
from orchestrator.operations.project import Changes


def make(changes: Changes, dry_run: bool) -> int:
    """Make the changes together, and show them as a tree with the command to run next; or show what they would be."""
    if dry_run:
        from orchestrator.views.table import diff_text

        out(diff_text(changes.diff()) or "Nothing to change.")
        say("Nothing was written (--dry-run).")
    else:
        changes.commit()
        out(tree(changes.wanted, changes.root))
        say(pasteable(Hint("\nNext: ", changes.following)))
    for note in changes.notes:
        say(note)
    return 0
