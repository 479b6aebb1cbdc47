"""The statements of a large file, kept as their bounds in its text: as objects they would take three times its size."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, islice
from typing import overload

from orchestrator.model.files import Script, Statement


class _Lazy(Sequence[Statement]):
    """A sequence whose statements are made when they are asked for. A subclass has `__len__`, `at` and `__iter__`."""

    def at(self, index: int) -> Statement:
        """Return the statement with this number, from 0 on."""
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> Statement: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Statement]: ...
    def __getitem__(self, index: int | slice) -> Statement | Sequence[Statement]:
        numbers = range(len(self))[index]
        if isinstance(numbers, int):
            return self.at(numbers)
        if len(numbers) == len(self) and numbers.step == 1:
            return self
        return tuple(islice(self, numbers.start, numbers.stop)) if numbers.step == 1 else tuple(self)[index]


class Inserts(_Lazy):
    """Many INSERT statements, one after the other in a text, each of which names a table and gives it constants alone.

    `starts` and `ends` are their bounds, without the semicolon. `firsts` are the numbers of those that are the first with
    their words before VALUES: all others differ from one of them in constants alone. `line` is that of the first statement;
    `block`: they stand between BEGIN and COMMIT.
    """

    def __init__(
        self, text: str, starts: array[int], ends: array[int], firsts: Sequence[int], line: int, *, block: bool = False
    ) -> None:
        self.text, self.starts, self.ends, self.firsts, self.line, self.block = text, starts, ends, firsts, line, block

    def __len__(self) -> int:
        return len(self.starts)

    def at(self, index: int) -> Statement:
        """Return the statement with this number, from 0 on."""
        start = self.starts[index]
        return self._made(index, self.line + self.text.count("\n", self.starts[0], start))

    def __iter__(self) -> Iterator[Statement]:
        return self.between(0, len(self))

    def between(self, first: int, end: int) -> Iterator[Statement]:
        """Yield the statements from the number `first` to the one before `end`."""
        line, counted = self.line, self.starts[0]
        for index in range(first, end):
            line, counted = line + self.text.count("\n", counted, self.starts[index]), self.starts[index]
            yield self._made(index, line)

    def in_block(self) -> Inserts:
        """Return the same statements as a BEGIN … COMMIT around them has them."""
        return Inserts(self.text, self.starts, self.ends, self.firsts, self.line, block=True)

    def _made(self, index: int, line: int) -> Statement:
        start = self.starts[index]
        source = self.text[start : self.ends[index]]
        return Statement(source, source, start, line, atomic=True, block=self.block)


class Statements(_Lazy):
    """The statements of a file of which many are `Inserts`."""

    def __init__(self, parts: Iterable[Statement | Inserts]) -> None:
        self.parts = tuple(parts)
        sizes = [len(part) if isinstance(part, Inserts) else 1 for part in self.parts]
        self._firsts = list(accumulate(sizes, initial=0))

    def __len__(self) -> int:
        return self._firsts[-1]

    def at(self, index: int) -> Statement:
        """Return the statement with this number, from 0 on."""
        number = bisect_right(self._firsts, index) - 1
        part = self.parts[number]
        return part.at(index - self._firsts[number]) if isinstance(part, Inserts) else part

    def __iter__(self) -> Iterator[Statement]:
        for part in self.parts:
            yield from part if isinstance(part, Inserts) else (part,)

    def telling(self) -> Iterator[tuple[int, Statement]]:
        """Yield all statements that differ from those before them in more than constants, with their numbers."""
        for first, part in zip(self._firsts, self.parts, strict=False):
            if isinstance(part, Inserts):
                yield from ((first + number, part.at(number)) for number in part.firsts)
            else:
                yield first, part

    def telling_text(self, text: str) -> str:
        """Return the text of the file without the statements that `telling` leaves out."""
        pieces, at = [], 0
        for part in self.parts:
            if isinstance(part, Inserts):
                pieces += [text[at : part.starts[0]], *(part.at(number).source for number in part.firsts)]
                at = part.ends[-1]
        return "\n".join([*pieces, text[at:]])


def telling_text(script: Script) -> str:
    """Return the text of a file without INSERTs that differ from others in constants alone."""
    statements = script.statements
    return statements.telling_text(script.text) if isinstance(statements, Statements) else script.text


def telling(statements: Sequence[Statement]) -> Iterable[tuple[int, Statement]]:
    """Return what there is to judge: statements with their numbers, without INSERTs that differ in constants alone."""
    return statements.telling() if isinstance(statements, Statements) else enumerate(statements)
