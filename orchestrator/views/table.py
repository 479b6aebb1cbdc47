"""Texts that know how they look: words in a colour, and tables that fit a terminal of any width.

As plain strings they are what a pipe gets. Who writes on a terminal asks a table for its lines at that width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from orchestrator.hints import Hint
from orchestrator.patterns import regex
from orchestrator.phrases import width

_GAP = 2  # columns between two cells
_NARROW = 12  # columns: no word is broken into less; a table turns into one block for each row instead
_TALL = 5  # lines: a cell that would take more, such as an error in a narrow column, makes blocks of the rows too
_WHITE = regex(r"[ \t\r\n]+")
_NUMBER = regex(r"[\d,]+|[-?]|")
# Thai: no line ends with a vowel that is written before its consonant, and none begins with one that is written after.
_STAYS_WITH_NEXT, _STAYS_WITH_LAST = "เแโใไ([{", "ะาำๅๆฯ.,:;)]}"
_BREAKS_AFTER = "-_/.,:@"

TOGETHER = "\u00a0"
"""Stands for a space at which no line is broken, as in a duration; shown as a space."""

Paint = Callable[[str, str], str]
"""Takes a text and the name of a colour; returns what a terminal shows in that colour, or the text as it is."""


class Painted(str):
    """A text with the colour that it has where colours are shown."""

    __slots__ = ("colour",)
    colour: str

    def __new__(cls, text: str, colour: str) -> Painted:
        """Take a text and one of the names of colours that the console knows."""
        made = super().__new__(cls, text)
        made.colour = colour
        return made

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override] # what __new__ takes
        return str(self), self.colour


class Table(str):
    """Rows in aligned columns, as wide as their content. A column in which every cell is empty is left out."""

    __slots__ = ("header", "rows")
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __new__(cls, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
        """Take the names of the columns, and the rows. Cells may be `Painted`."""
        listed = [tuple(row) for row in rows]
        used = [n for n in range(len(header)) if not listed or any(row[n] for row in listed)]
        head = tuple(header[n] for n in used)
        body = tuple(tuple(row[n] for n in used) for row in listed)
        made = super().__new__(cls, "\n".join(_lines(head, body, _natural(head, body), _plain)))
        made.header, made.rows = head, body
        return made

    def __getnewargs__(self) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:  # type: ignore[override]
        return self.header, self.rows

    def mapped(self, change: Callable[[str], str]) -> Table:
        """Return the table with the text of every cell changed."""
        rows = [[_with_text(cell, change(cell)) for cell in row] for row in self.rows]
        return Table([_with_text(cell, change(cell)) for cell in self.header], rows)

    def fitted(self, columns: int | None, paint: Paint) -> str:
        """Return the text for a terminal this wide (None: of any width), with colours."""
        widths = _natural(self.header, self.rows)
        if columns is not None and sum(widths) + _GAP * (len(widths) - 1) > columns:
            widths = _shrunk(self.header, self.rows, columns)
            cells = [cell for row in self.rows for cell in zip(row, widths, strict=False)]
            if any(len(wrapped(cell, wide)) > _TALL for cell, wide in cells if width(cell) > wide):
                widths = []
        if not widths:
            return "\n\n".join("\n".join(_block(self.header, row, columns or 0, paint)) for row in self.rows)
        return "\n".join(_lines(self.header, self.rows, widths, paint))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return rows in aligned columns."""
    return Table(header, rows)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural unless it is one: "1 database", "7 databases"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def lines_of(lines: Iterable[str]) -> Hint:
    """Return lines as one text, in which commands, tables and colours are kept."""
    parts: list[str] = []
    for line in lines:
        parts += ["\n", line] if parts else [line]
    return Hint(*parts)


_SIGNS = {"+": "green", "-": "red", "@": "blue"}


def diff_of(lines: Sequence[str], indent: str = "") -> list[str]:
    """Return the lines of a diff, indented, in the colours of their signs. The names of files above it are bold."""
    made: list[str] = []
    for number, line in enumerate(lines):
        colour = _SIGNS.get(line[:1])
        # a comment of SQL that is gone looks like the name of a file: `--- old`
        first = number if line.startswith("--- ") else number - 1 if line.startswith("+++ ") else None
        if first is not None and [one[:3] for one in lines[max(first, 0) : first + 3]] == ["---", "+++", "@@ "]:
            colour = "bold"
        made.append(Painted(indent + line, colour) if colour else indent + line)
    return made


def diff_text(text: str) -> Hint:
    """Return unified diffs with their colours; the text is the same."""
    return lines_of(diff_of(text.split("\n")))


def _plain(text: str, _colour: str) -> str:
    return text


def _with_text(cell: str, text: str) -> str:
    return Painted(text, cell.colour) if isinstance(cell, Painted) else text


def _natural(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(width(line[n]) for line in (header, *rows)) for n in range(len(header))]


def _shrunk(header: Sequence[str], rows: Sequence[Sequence[str]], columns: int) -> list[int]:
    """Return widths with which the table is at most `columns` wide: the widest columns give way first, and words are
    broken only if that is not enough. No widths at all if a column would be too narrow to read.
    """
    natural = _natural(header, rows)
    room = columns - _GAP * (len(natural) - 1)
    words = [
        max(max(map(width, _WHITE.split(line[n].strip())), default=0) for line in (header, *rows))
        for n in range(len(header))
    ]
    heads = [width(name) for name in header]
    for least in (words, [max(head, min(word, _NARROW)) for head, word in zip(heads, words, strict=True)]):
        if sum(least) <= room:
            level = max(natural)
            while sum(_cut(natural, least, level)) > room:
                level -= 1
            widths = _cut(natural, least, level)
            spare = room - sum(widths)
            for n, whole in enumerate(natural):
                more = min(spare, 1 if whole > widths[n] else 0)
                widths[n], spare = widths[n] + more, spare - more
            return widths
    return []


def _cut(natural: Sequence[int], least: Sequence[int], level: int) -> list[int]:
    return [min(whole, max(few, level)) for whole, few in zip(natural, least, strict=True)]


def _lines(header: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int], paint: Paint) -> Iterable[str]:
    right = [bool(rows) and all(_NUMBER.fullmatch(row[n]) for row in rows) for n in range(len(header))]
    for row in ([Painted(name, "bold") for name in header], *rows):
        cells = [wrapped(cell, wide) for cell, wide in zip(row, widths, strict=True)]
        for n in range(max(map(len, cells))):
            line, blanks = "", 0  # blanks at the end of a line are not written
            for cell, whole, wide, to_right in zip(cells, row, widths, right, strict=True):
                text = cell[n] if n < len(cell) else ""
                space = wide - width(text)
                if text:
                    line += " " * (blanks + (space if to_right else 0))
                    line += paint(text, whole.colour) if isinstance(whole, Painted) else text
                    blanks = _GAP + (0 if to_right else space)
                else:
                    blanks += wide + _GAP
            yield line


def _block(header: Sequence[str], row: Sequence[str], columns: int, paint: Paint) -> Iterable[str]:
    """Yield a row as one line for each of its cells, after the name of the column."""
    names = max(map(width, header))
    for name, cell in zip(header, row, strict=True):
        if not cell:
            continue
        for n, part in enumerate(wrapped(cell, max(columns - names - _GAP, _NARROW))):
            text = paint(part, cell.colour) if isinstance(cell, Painted) else part
            head = paint(name, "bold") + " " * (names - width(name)) if n == 0 else " " * names
            yield f"{head}{' ' * _GAP}{text}"


def wrapped(text: str, wide: int) -> list[str]:
    """Return a text as lines of at most so many columns: broken at spaces, and inside of a word only where it must be.

    Lines after the first are indented where there is room for that.
    """
    if "\n" not in text and width(text) <= wide:
        return [text.replace(TOGETHER, " ")]
    indent = "  " if wide >= 16 else ""
    lines, line, used = [], "", 0
    for word in filter(None, _WHITE.split(text)):
        long = width(word)
        if line.strip() and used + 1 + long <= wide:
            line, used = f"{line} {word}", used + 1 + long
            continue
        if line.strip():
            lines.append(line)
            line, used = indent, len(indent)
        *whole, word = _pieces(word, wide - used, wide - len(indent))
        for piece in whole:
            lines.append(line + piece)
            line = indent
        line += word
        used = width(line)
    lines += [line] if line.strip() or not lines else []
    return [one.replace(TOGETHER, " ") for one in lines]


def _pieces(word: str, first: int, others: int) -> list[str]:
    """Return a word in pieces: the first at most `first` columns wide, the others `others`. Letters keep their marks."""
    pieces, room = [], first
    while width(word) > room:
        end = _fits(word, room)
        better = max((n + 1 for n in range(end // 2, end) if word[n] in _BREAKS_AFTER), default=0)
        end = better or end
        while end > 1 and (word[end - 1] in _STAYS_WITH_NEXT or word[end] in _STAYS_WITH_LAST):
            end -= 1
        pieces.append(word[:end])
        word, room = word[end:], others
    return [*pieces, word]


def _fits(word: str, room: int) -> int:
    """Return how many characters fit into `room` columns, at least one letter with its marks."""
    end, used = 0, 0
    for character in word:
        used += width(character)
        if used > room and end:
            break
        end += 1
    return end
