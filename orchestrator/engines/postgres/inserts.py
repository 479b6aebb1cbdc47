"""Find long runs of INSERT statements that give constants alone: a dump of data has hundreds of thousands of them."""

from __future__ import annotations

import re
from array import array

from orchestrator.engines.postgres.sql_reader import E_STRING, NAME, WORD
from orchestrator.model import Inserts
from orchestrator.patterns import regex

_LEAST = 64
"""So many statements are a run: fewer are not worth another way of keeping them."""
_S = r"[ \t\n\r\f\v]"
_NAME = rf"(?:{WORD}|{NAME})"
_COLUMNS = rf"\({_S}*+{_NAME}{_S}*+(?>(?:,{_S}*+{_NAME}{_S}*+)*)\){_S}*+"
_HEAD = rf"(?ai:INSERT){_S}++(?ai:INTO){_S}++{_NAME}{_S}*+(?:\.{_S}*+{_NAME}{_S}*+)?(?:{_COLUMNS})?(?ai:VALUES){_S}*+"
# No letter but in these: so there is no query in it, and no function but those that only tell the time or make a key.
_WORDS = (
    rf"(?ai:NULL|TRUE|FALSE|DEFAULT|CURRENT_(?:DATE|TIME|TIMESTAMP)|(?:NOW|GEN_RANDOM_UUID){_S}*+\({_S}*+\))"
    rf"(?={_S}|[,):])"
)
_CAST = rf"::{_S}*+{WORD}(?:{_S}*+\.{_S}*+{WORD})?(?:\[\]|\([0-9, ]*+\))?"
_ITEMS = (
    rf"(?>(?:[0-9., \t\n\r\f\v+]++|'(?>(?:[^']++|'')*)'|-(?!-)|{_WORDS}|(?<=[0-9.])[eE](?=[-+0-9])|{_CAST}"
    rf"|(?<![0-9.]){E_STRING})*)"
)
_ROWS = rf"\({_ITEMS}\)(?>(?:{_S}*+,{_S}*+\({_ITEMS}\))*)"
_NOTHING = rf"{_S}*+(?ai:ON){_S}++(?ai:CONFLICT){_S}*+(?:\([^()'\";/-]*+\){_S}*+)?(?ai:DO){_S}++(?ai:NOTHING)"
_BEFORE = regex(_HEAD)
_AFTER = regex(rf"{_ROWS}(?>({_NOTHING})?)(){_S}*+;{_S}*+", re.DOTALL)


class Finder:
    """Finds runs in one text. What was looked at once, and is no run, is not looked at again."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._seen = 0

    def run(self, at: int) -> tuple[Inserts, int] | None:
        """Return the run that begins at an offset, and the offset behind it; None if there is none. Its line is not told yet."""
        text = self._text
        if at < self._seen or text[at] not in "iI":
            return None
        starts, ends = array("q"), array("q")
        firsts: dict[str, int] = {}
        head = ""
        while True:
            if not head or not text.startswith(head, at):
                before = _BEFORE.match(text, at)
                if before is None:
                    break
                head = before[0]
            found = _AFTER.match(text, at + len(head))
            if found is None:
                break
            firsts.setdefault(head if found[1] is None else head + found[1], len(starts))
            starts.append(at)
            ends.append(found.end(2))
            at = found.end()
        self._seen = at
        if len(starts) < _LEAST:
            return None
        return Inserts(text, starts, ends, tuple(firsts.values()), line=1), at
