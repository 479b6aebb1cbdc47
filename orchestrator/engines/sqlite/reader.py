"""Split the text of a migration file into statements, and decide which can run in a transaction.

Statements end where SQLite's own `sqlite3_complete` says, which knows the bodies of triggers; the table below is its table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from orchestrator.engines.directives import are_in, read_directives
from orchestrator.engines.file_reader import FileReader
from orchestrator.engines.file_settings import file_settings
from orchestrator.model import Directive, File, Script, Statement
from orchestrator.patterns import regex
from orchestrator.records import dataclass, replace

TOKEN = regex(
    r"""(?P<blank>\s+|--[^\n]*|/\*(?:[^*]|\*(?!/))*+(?:\*/)?)
      | (?P<text>'[^']*+'?|"[^"]*+"?|`[^`]*+`?|\[[^\]]*+\]?)
      | (?P<word>[A-Za-z_0-9$\x80-\U0010ffff]+)
      | (?P<semi>;)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
# Rows: the state of sqlite3_complete. Columns: `;`, another token, EXPLAIN, CREATE, TEMP, TRIGGER, END.
_NEXT = {
    "start": ("start", "normal", "explain", "create", "normal", "normal", "normal"),
    "normal": ("start", "normal", "normal", "normal", "normal", "normal", "normal"),
    "explain": ("start", "explain", "normal", "create", "normal", "normal", "normal"),
    "create": ("start", "normal", "normal", "normal", "create", "trigger", "normal"),
    "trigger": ("semi", "trigger", "trigger", "trigger", "trigger", "trigger", "trigger"),
    "semi": ("semi", "trigger", "trigger", "trigger", "trigger", "trigger", "end"),
    "end": ("start", "trigger", "trigger", "trigger", "trigger", "trigger", "trigger"),
}
_WORDS = 10  # so many tell what a statement is
_SHORT = 4096  # characters of a statement whose words are remembered
_COLUMNS = {"explain": 2, "create": 3, "temp": 4, "temporary": 4, "trigger": 5, "end": 6}

_NO_TRANSACTION = (
    "no-transaction does not apply to SQLite",
    "remove it: every file that can be one transaction is one",
)
_QUERY = ("select", "with", "values")

# PRAGMAs that mean something only outside of a transaction, and last as long as the connection.
SESSION = ("foreign_keys",)
_BEFORE_VACUUM = ("auto_vacuum", "page_size")
_JOURNALS = ("wal", "delete", "truncate", "persist")
_REFUSED = {
    "synchronous": "a transaction cannot change it, and it ends with the connection of this file",
    "locking_mode": "it would keep applications out, and ends with the connection of this file",
    "encoding": "it has an effect only before anything is in a database, and the history is there before",
    "writable_schema": "a slip in it destroys the database",
    "schema_version": "a slip in it destroys the database",
    "query_only": "orch could not write its records",
    "busy_timeout": "it ends with the connection of this file: _busy_timeout in the DSN sets it",
    "hard_heap_limit": "it is of the process: every other database of this run would have less memory",
    "soft_heap_limit": "it is of the process: every other database of this run would have less memory",
    "temp_store_directory": "it is of the process, not of the database",
}
_MOVE = "move VACUUM, PRAGMA journal_mode and wal_checkpoint to a migration of their own"
# A dump makes virtual tables so, and their hidden tables by hand.
_OF_A_DUMP = (
    "remove it; in a dump, write the CREATE VIRTUAL TABLE that it inserts as a statement of its own, fill that table, and "
    "leave out the tables behind it, such as NAME_data and NAME_content"
)


@dataclass(frozen=True, slots=True)
class Piece:
    """A statement as it stands in the file: where it begins and ends, and its words in lower case, at most the first ten."""

    start: int
    end: int
    words: tuple[str, ...]


def split(text: str, *, comments: list[tuple[int, int]] | None = None) -> Iterator[Piece]:
    """Yield the statements of a text, without the semicolons, blanks and comments around them. Linear in its length.

    `comments` receives the bounds of the line comments.
    """
    state, start, end = "start", -1, -1
    words: list[str] = []
    for token in TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "blank":
            if comments is not None and token[0].startswith("--"):
                comments.append(token.span())
            continue
        column = 0 if kind == "semi" else 1
        if kind == "word":
            column = _COLUMNS.get(token[0].lower(), 1)
        state = _NEXT[state][column]
        if state == "start":
            if start >= 0:
                yield Piece(start, end, tuple(words))
            start, words = -1, []
            continue
        if start < 0:
            start = token.start()
        end = token.end()
        if len(words) < _WORDS:
            words.append(word_of(token))
    if start >= 0:
        yield Piece(start, end, tuple(words))


def word_of(token: re.Match[str]) -> str:
    """Return a token in lower case, a quoted one without its quotes."""
    return token[0].lower().strip("'\"`[]") if token.lastgroup in ("word", "text") else token[0]


def read_script(file: File, text: str) -> Script:
    """Return the statements of a file; InvalidError with file, line and column for what cannot be run safely."""
    reader = FileReader(file, text)
    if (nul := text.find("\0")) >= 0:
        raise reader.error("the file holds a NUL character", nul, "remove it: SQLite would stop reading there")
    _refuse_unclosed(reader)
    comments: list[tuple[int, int]] | None = [] if are_in(text) else None
    pieces = list(split(text, comments=comments))
    kept = _without_blocks(reader, pieces)
    for piece in kept:
        _refuse(reader, piece)
    alone = [piece for piece in kept if _stands_alone(piece)]
    if alone:
        if len(kept) < len(pieces):
            what = f"{' '.join(alone[0].words[:2]).upper()} cannot be part of a transaction, and this file has BEGIN and COMMIT"
            raise reader.error(what, alone[0].start, "move it to a migration of its own")
        statements = _one_by_one(reader, kept)
    else:
        _check_places(reader, kept)
        statements = [_statement(reader, piece, atomic=True) for piece in kept]
    given = tuple(read_directives(text, comments or ()))
    first = pieces[0].start if pieces else len(text)
    limits, checks = file_settings(reader, given, first, _query_in, _NO_TRANSACTION)
    return Script(file, text, tuple(statements), not alone, checks=checks, directives=given, **limits)  # type: ignore[arg-type]


def pragma(words: Sequence[str]) -> str:
    """Return the name of the PRAGMA that a statement is, without its schema; '' for any other statement."""
    rest = list(words)
    if rest[:1] == ["explain"]:  # SQLite carries it out all the same
        rest = rest[3:] if rest[1:3] == ["query", "plan"] else rest[1:]
    if rest[:1] != ["pragma"]:
        return ""
    rest = rest[1:]
    if rest[1:2] == ["."]:
        rest = rest[2:]
    return rest[0] if rest else ""


def value_of(words: Sequence[str]) -> str:
    """Return what a PRAGMA is set to, '' where it only asks."""
    for place, word in enumerate(words):
        if word in ("=", "("):
            return words[place + 1] if place + 1 < len(words) else ""
    return ""


def words_of(source: str) -> tuple[str, ...]:
    """Return the first words of a statement."""
    return _words_once(source) if len(source) <= _SHORT else _words(source)


def _words(source: str) -> tuple[str, ...]:
    words: list[str] = []
    for token in TOKEN.finditer(source):
        if token.lastgroup == "blank":
            continue
        words.append(word_of(token))
        if len(words) == _WORDS:
            break
    return tuple(words)


_words_once = lru_cache(maxsize=256)(_words)  # the members of a fleet run the same statements


def is_session(words: Sequence[str]) -> bool:
    """Whether a statement sets what a transaction ignores, for this connection alone."""
    return pragma(words) in SESSION and bool(value_of(words))


def _refuse_unclosed(reader: FileReader) -> None:
    """Refuse a comment without an end, which SQLite allows: the statements in it would count as run, and would not have been."""
    if (start := reader.text.rfind("/*")) < 0 or "*/" in reader.text[start + 2 :]:
        return
    for token in TOKEN.finditer(reader.text):
        if token.end() == len(reader.text) and token[0].startswith("/*"):
            raise reader.error("the comment that begins here has no end", token.start(), "add */ where it ends")


def temporary_table(words: Sequence[str]) -> str:
    """Return the name of the temporary table that a statement creates, in lower case; '' if it creates none."""
    if list(words[:1]) != ["create"] or words[1:2] not in (("temp",), ("temporary",)) or words[2:3] != ("table",):
        return ""
    return words[6] if words[3:6] == ("if", "not", "exists") and words[6:] else "".join(words[3:4])


def _without_blocks(reader: FileReader, pieces: Sequence[Piece]) -> list[Piece]:
    """Return the statements without BEGIN and COMMIT: the whole file is one transaction anyway."""
    kept, begun = [], -1
    for piece in pieces:
        first = piece.words[0]
        if first == "begin":
            if begun >= 0:
                raise reader.error("BEGIN inside of BEGIN … COMMIT", piece.start, "remove one of them")
            begun = piece.start
        elif first in ("commit", "end"):
            if begun < 0:
                raise reader.error(
                    f"{first.upper()} without BEGIN", piece.start, "remove it: a file is one transaction"
                )
            begun = -1
        elif first == "rollback" and "to" not in piece.words:
            raise reader.error("ROLLBACK would undo the file's own work", piece.start, "remove it")
        else:
            kept.append(piece)
    if begun >= 0:
        raise reader.error("BEGIN without COMMIT", begun, "add COMMIT; at the end, or remove BEGIN")
    return kept


def _refuse(reader: FileReader, piece: Piece) -> None:
    first = piece.words[0]
    if first in ("attach", "detach"):
        raise reader.error(
            f"{first.upper()} reaches another database file",
            piece.start,
            "give that file a database of its own in the manifest, with migrations of its own",
        )
    if first == ".":
        hint = "remove it; commands that begin with a dot are those of the sqlite3 shell"
        raise reader.error("a command of the sqlite3 shell is no SQL", piece.start, hint)
    if first == "vacuum" and "into" in piece.words:
        raise reader.error("VACUUM INTO writes another file", piece.start, "make backups outside of migrations")
    name, value = pragma(piece.words), value_of(piece.words)
    if not value:
        return
    if name in _REFUSED:
        hint = _OF_A_DUMP if name == "writable_schema" else "remove it"
        raise reader.error(f"PRAGMA {name} does not belong in a migration", piece.start, hint, _REFUSED[name])
    if name == "journal_mode" and value not in _JOURNALS:
        hint = f"use one of {', '.join(_JOURNALS)}; journals that are off or in memory lose the database in a crash"
        raise reader.error(f"PRAGMA journal_mode = {value} does not belong in a migration", piece.start, hint)


def _stands_alone(piece: Piece) -> bool:
    """Whether no transaction can hold a statement."""
    name = pragma(piece.words)
    return (
        piece.words[0] == "vacuum"
        or name == "wal_checkpoint"
        or (name == "journal_mode" and bool(value_of(piece.words)))
    )


def _one_by_one(reader: FileReader, pieces: Sequence[Piece]) -> list[Statement]:
    """Return the statements of a file that cannot be one transaction: each commits with its progress, or stands alone."""
    statements, settings = [], list[str]()
    for piece in pieces:
        if piece.words[0] in ("savepoint", "release", "rollback"):
            raise reader.error(
                f"{piece.words[0].upper()} in a file that is not one transaction",
                piece.start,
                _MOVE,
            )
        lasting = is_session(piece.words) or (pragma(piece.words) in _BEFORE_VACUUM and bool(value_of(piece.words)))
        outside = lasting or _stands_alone(piece)
        statement = _statement(reader, piece, atomic=not outside)
        statements.append(replace(statement, settings=";\n".join(settings), repeatable=outside))
        if lasting or temporary_table(piece.words):
            settings.append(statement.source)
    return statements


def _check_places(reader: FileReader, pieces: Sequence[Piece]) -> None:
    """Raise InvalidError for a setting that a transaction would pass over without a word."""
    inside = [place for place, piece in enumerate(pieces) if not is_session(piece.words)]
    for place, piece in enumerate(pieces):
        name = pragma(piece.words)
        if is_session(piece.words) and inside and inside[0] < place < inside[-1]:
            raise reader.error(
                f"PRAGMA {name} in the middle of a file",
                piece.start,
                "move it to the top of the file, above the first statement: then it counts for the whole file",
                "SQLite passes over it inside a transaction, and a file is one transaction",
            )
        if name in _BEFORE_VACUUM and value_of(piece.words):
            hint = "add VACUUM; below it, or remove it"
            raise reader.error(f"PRAGMA {name} has no effect without a VACUUM after it", piece.start, hint)


def _statement(reader: FileReader, piece: Piece, *, atomic: bool) -> Statement:
    source = reader.text[piece.start : piece.end]
    return Statement(source, source, piece.start, reader.line_at(piece.start), atomic)


def directives(text: str) -> Iterator[Directive]:
    """Yield the `-- orch:` lines above the first statement of a file."""
    if not are_in(text):
        return
    comments: list[tuple[int, int]] = []
    first = next((piece.start for piece in split(text, comments=comments)), len(text))
    yield from (one for one in read_directives(text, comments) if one.start < first)


def _query_in(text: str) -> tuple[int, int] | None:
    """Return where the one query of a text begins and ends; None if the text is not one query."""
    pieces = list(split(text))
    if len(pieces) != 1 or pieces[0].words[0] not in _QUERY:
        return None
    return pieces[0].start, pieces[0].end
