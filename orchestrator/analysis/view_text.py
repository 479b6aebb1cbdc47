"""Read the text of a view: which tables and columns it names."""

from __future__ import annotations

import re
from collections.abc import Iterator

from orchestrator.patterns import regex
from orchestrator.records import dataclass

_TOKEN = regex(r'"(?:[^"]|"")*"|[\w$]+|[.,*()]')
_WORD = regex(r"\w+")
_TEXTS = regex(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.DOTALL)
_COUNTS = regex(r"\(\s*\*\s*\)")  # count(*) selects no columns
_NO_ALIAS = frozenset(
    (
        *(
            "on",
            "where",
            "join",
            "left",
            "right",
            "inner",
            "full",
            "cross",
            "natural",
            "group",
            "order",
            "having",
            "limit",
        ),
        *(
            "union",
            "intersect",
            "except",
            "using",
            "window",
            "fetch",
            "offset",
            "for",
            "tablesample",
            "with",
            "and",
            "or",
        ),
        *("as", "when", "then", "else", "end", "from", "select", "lateral"),
    )
)


@dataclass(frozen=True, slots=True)
class _Named:
    """What the text of a view names. Each SELECT in it has a number.

    `tables`: under which names the columns of a table are taken, and in which SELECTs. `columns` are those with a name
    before them, `*` is all columns. `bare` are those without, in the SELECTs whose tables may have them.
    """

    tables: dict[str, tuple[frozenset[str], frozenset[int]]]
    columns: frozenset[tuple[str, str]]
    bare: frozenset[tuple[str, int]]


class View:
    """The text of a view, which is read when somebody asks what it uses: most views are never asked."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._words = frozenset(_WORD.findall(source.lower()))
        self._named: _Named | None = None
        self._renamed: dict[str, str] = {}  # a table that has another name by now, and the name that it has in the text
        self._more: set[tuple[str, str]] = set()  # tables, and columns of theirs that have another name by now

    def names(self, table: str) -> bool:
        """Whether the view takes anything from a table."""
        return self._may_name(table) and self._renamed.get(table, table) in self._read().tables

    def uses(self, table: str, column: str) -> bool:
        """Whether the view seems to use a column: one without a name before it may be that of another table."""
        if not self.names(table):
            return False
        found = self._read()
        names, selects = found.tables[self._renamed.get(table, table)]
        return (
            (table, column) in self._more
            or any((name, one) in found.columns for name in names for one in (column, "*"))
            or any((one, select) in found.bare for select in selects for one in (column, "*"))
        )

    def rename_column(self, table: str, old: str, new: str) -> None:
        """Go on to use a column that has another name."""
        if self.uses(table, old):
            self._more.add((table, new))

    def rename_table(self, old: str, new: str) -> None:
        """Go on to use a table that has another name."""
        if self._may_name(old):
            self._renamed[new] = self._renamed.get(old, old)
            self._more |= {(new, column) for table, column in self._more if table == old}

    def _may_name(self, table: str) -> bool:
        first = _WORD.search(table)
        return table in self._renamed or (first is not None and first[0].lower() in self._words)

    def _read(self) -> _Named:
        if self._named is None:
            self._named = _read_view(self._source)
        return self._named


def bare_name(table: str) -> str:
    """Return the name of a table as the text of a view is read: without schema and quotes."""
    return table.rpartition(".")[2].strip('"')


def _read_view(source: str) -> _Named:
    """Return what the text of a CREATE VIEW names."""
    text = _COUNTS.sub("()", _TEXTS.sub(" ", source))
    words = [one[1:-1] if one[0] == '"' else one.lower() for one in _TOKEN.findall(text)] + [""] * 3
    tables: dict[str, tuple[set[str], set[int]]] = {}
    columns: set[tuple[str, str]] = set()
    bare: set[tuple[str, int]] = set()
    for i, chain in enumerate(_selects(words[:-3])):
        word, before, after = words[i], words[i - 1] if i else "", words[i + 1]
        if before == "." and word not in "(,":
            columns.add((words[i - 2], word))
        elif word == "*" and before in ("select", "distinct", "all", ","):
            bare.add(("*", chain[-1]))
        elif _is_name(word) and after not in (".", "(") and before != "as":
            bare.update((word, select) for select in chain)
        if _is_name(word) and after != "." and _is_named_as_table(words, i):
            names, selects = tables.setdefault(word, ({word}, set()))
            alias = words[i + 2] if after == "as" else after
            names.update({alias} if _is_name(alias) and alias not in _NO_ALIAS else ())
            selects.add(chain[-1])
    found = {name: (frozenset(names), frozenset(selects)) for name, (names, selects) in tables.items()}
    return _Named(found, frozenset(columns), frozenset(bare))


def _selects(words: list[str]) -> Iterator[tuple[int, ...]]:
    """Yield for each word the numbers of the SELECTs in which it stands, from the outermost to the innermost."""
    last = 0
    chain: tuple[int, ...] = (0,)
    outer: list[tuple[int, ...]] = []
    for i, word in enumerate(words):
        if word == "(":
            outer.append(chain)
            if words[i + 1 : i + 2] in (["select"], ["with"]):
                last += 1
                chain = (*chain, last)
        elif word == ")" and outer:
            chain = outer.pop()
        elif word in ("union", "intersect", "except"):
            last += 1
            chain = (*chain[:-1], last)
        yield chain


def _is_name(word: str) -> bool:
    return word not in ("", ".", ",", "(", ")", "*")


def _is_named_as_table(words: list[str], i: int) -> bool:
    """Whether a table may stand here: behind FROM, JOIN or a comma, perhaps with a schema."""
    while i >= 2 and words[i - 1] == ".":
        i -= 2
    before = words[i - 1] if i else ""
    while before in ("(", "lateral", "only") and i > 1:
        i -= 1
        before = words[i - 1]
    return before in ("from", "join", ",")
