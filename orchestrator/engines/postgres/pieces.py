"""What a PostgreSQL file is made of at its top, and how it runs if it is not one transaction: piece by piece."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from orchestrator.engines.postgres.sql_reader import NAME, WORD
from orchestrator.model import Inserts, Statement
from orchestrator.patterns import regex
from orchestrator.records import dataclass, field, replace

# What stays SET in the session after its transaction; a set_config(…, true) does not.
_SETTING = regex(
    r"(?:RE)?SET\s+(?!LOCAL\b|TRANSACTION\b|CONSTRAINTS\b)"
    r"|SELECT\s+(?:pg_catalog\s*\.\s*)?set_config\s*\((?!.*,\s*'?(?:true|t|on|yes|1)'?\s*\))",
    re.IGNORECASE | re.DOTALL,
)
_SPELLED = regex(WORD), regex(NAME)  # apart: an odd quote in a string must not hide what follows
_TEMPORARY = regex(
    r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:(?:GLOBAL|LOCAL)\s+)?TEMP(?:ORARY)?\s+(?:TABLE|VIEW|SEQUENCE)\s+"
    rf"(?:IF\s+NOT\s+EXISTS\s+)?(?:pg_temp\s*\.\s*)?({WORD}|{NAME})",
    re.IGNORECASE,
)
# Fails in a session that never had a temporary table, lest another table of its name be taken for it.
_SAME_SESSION = (
    "SELECT CASE WHEN pg_catalog.pg_my_temp_schema() = 0 THEN ('pg_temp.lost' || '')::pg_catalog.regclass END; "
)
# A procedure may end the transaction that it is called in, and so may a DO block, or what that calls.
_ENDS = r"CALL\b|DO\b.*\b(?:COMMIT|ROLLBACK|CALL)\b"
_ENDS_TRANSACTIONS = regex(_ENDS, re.IGNORECASE | re.DOTALL)
# Of these, too, the server itself says what they do, or that they do nothing, where no block of the file is around them.
_OUTSIDE = regex(
    rf"{_ENDS}|SET\s+(?:LOCAL|TRANSACTION|CONSTRAINTS)\b|(?:DECLARE|LOCK|RELEASE|ROLLBACK|SAVEPOINT)\b",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(slots=True)
class Block:
    """One BEGIN … COMMIT of the file."""

    begin: Statement
    modes: str
    statements: list[Statement | Inserts] = field(default_factory=list)

    @property
    def set_modes(self) -> str:
        """The statement that asks for what BEGIN asked for; '' for nothing."""
        return f"SET TRANSACTION {self.modes}" if self.modes else ""

    def unwrapped(self) -> list[Statement | Inserts]:
        """Return the statements without BEGIN and COMMIT; the isolation level that BEGIN asked for stays."""
        modes = [replace(self.begin, body=self.set_modes)] if self.modes else []
        return [
            part.in_block() if isinstance(part, Inserts) else replace(part, block=True)
            for part in (*modes, *self.statements)
        ]

    def whole(self, text: str) -> list[Statement]:
        """Return the block as the one statement that it is to whoever runs it piece by piece."""
        if not self.statements:
            return []
        first, last = next(one_by_one(self.statements)), self.statements[-1]
        last = last[-1] if isinstance(last, Inserts) else last
        source = text[first.offset : last.offset + len(last.source)]
        opening = f"{self.set_modes}; " if self.modes else ""
        return [replace(first, source=source, body=source, opening=opening, block=True)]


def flat(group: Statement | Inserts | Block) -> list[Statement | Inserts]:
    """Return what a block holds, or the statement itself."""
    return group.statements if isinstance(group, Block) else [group]


def one_by_one(parts: Iterable[Statement | Inserts]) -> Iterator[Statement]:
    """Yield statements, those of a run too."""
    for part in parts:
        yield from part if isinstance(part, Inserts) else (part,)


def pieces(groups: list[Statement | Inserts | Block], text: str) -> Iterator[Statement]:
    """Yield what runs piece by piece: each statement and block, with all that was SET for the session before it."""
    settings = ""
    temporary: set[str] = set()
    for group in groups:
        inner = list(one_by_one(flat(group)))
        whole = group.whole(text) if isinstance(group, Block) else inner
        made = {found[1].lower() for statement in inner if (found := _TEMPORARY.match(statement.source))}
        for piece in whole:
            if not piece.block and _OUTSIDE.match(piece.source):
                piece = replace(piece, atomic=False)
            words = {word.lower() for spelt in _SPELLED for word in spelt.findall(piece.source)} if temporary else set()
            demand = _SAME_SESSION if (words & temporary) - made else ""
            yield replace(piece, settings=settings, opening=piece.opening + demand)  # modes come before any query
        temporary |= made
        settings += "".join(f"{statement.body}; " for statement in inner if _SETTING.match(statement.body))
