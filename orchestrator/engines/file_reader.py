"""Where things stand in a migration file that is being read."""

from __future__ import annotations

from orchestrator.errors import InvalidError
from orchestrator.model import File, Mark


class FileReader:
    """A file and its text: lines of offsets, and errors with their place."""

    def __init__(self, file: File, text: str) -> None:
        self.file, self.text = file, text
        self._line, self._counted = 1, 0

    def line_at(self, offset: int) -> int:
        """Return the line of an offset; they are asked for in their order."""
        self._line += self.text.count("\n", self._counted, offset)
        self._counted = offset
        return self._line

    def error(self, what: str, offset: int, hint: str, detail: str = "") -> InvalidError:
        """Return the error of what stands at an offset, with file, line and column."""
        return InvalidError(what, where=Mark.at(self.file.path, self.text, offset), hint=hint, detail=detail)
