"""A command for typer: its help with one example on each line, and no option taken for the value of another."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import typer.core

from orchestrator.errors import UsageError
from orchestrator.hints import Command as Line
from orchestrator.hints import Hint

_HEADING = "Examples:"
_LONG = re.compile(r"--[a-z][a-z-]*(?:=.*)?", re.DOTALL)


class Command(typer.core.TyperCommand):
    """A command whose docstring ends in a list of examples."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of a call; UsageError where an option stands in the place of another one's value.

        Otherwise `--as --no-seeds` would make a database of that name.
        """
        options: list[Any] = [one for one in self.params if one.param_type_name == "option"]
        known = {name for one in options for name in (*one.opts, *one.secondary_opts)}
        long = {name: max(one.opts, key=len) for one in options if not (one.is_flag or one.count) for name in one.opts}
        for option, value in () if ctx.resilient_parsing else pairwise(args):
            if option == "--":
                break
            if option in long and (value in known or _LONG.fullmatch(value)):
                hint = Hint(
                    f"a value that begins with - is written {long[option]}=VALUE; ", Line(ctx.info_name, "--help")
                )
                raise UsageError(f"{option} needs a value, and the option {value.partition('=')[0]} follows", hint=hint)
        return super().parse_args(ctx, args)

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
