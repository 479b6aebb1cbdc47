"""The help of one command, with one example on each line, so that it can be pasted."""

from __future__ import annotations

from typing import Any

import typer.core

_HEADING = "Examples:"


class Command(typer.core.TyperCommand):
    """A command whose docstring ends in a list of examples."""

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write the text of the docstring as paragraphs and its examples as they are."""
        whole = self.help or ""
        text, _, examples = whole.partition(_HEADING)
        self.help = text.rstrip()
        try:
            super().format_help_text(ctx, formatter)
        finally:
            self.help = whole
        if examples:
            with formatter.section(_HEADING.rstrip(":")):
                for line in examples.strip().splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line.strip()}\n")
