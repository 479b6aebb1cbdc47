"""Split the text of a migration file into statements, and decide how each one is recorded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from orchestrator.engines.directives import are_in, read_directives
from orchestrator.engines.file_reader import FileReader
from orchestrator.engines.file_settings import file_settings
from orchestrator.engines.mysql.lexer import COMPOUND, Piece, Token, name_of, split
from orchestrator.engines.mysql.settings import (
    has_body,
    is_for_next_transaction,
    refuse_charsets,
    refuse_oracle_bodies,
    refuse_settings,
    without_autocommit,
)
from orchestrator.model import File, Script, Statement
from orchestrator.records import replace

_NO_TRANSACTION = (
    "no-transaction does not apply to MySQL",
    "remove it: each statement that changes tables commits by itself",
)
_QUERY = ("select", "with", "values", "table")

DATA = frozenset({"insert", "update", "delete", "replace", "select", "with", "values", "table", "(", "do"})
"""Statements that a transaction of InnoDB holds."""
_LOOKS = frozenset({"show", "explain", "describe", "desc", "help", "checksum"})
_REPEATABLE = frozenset({"analyze", "optimize", "flush", "grant", "check", "repair", "cache"})
_OUTSIDE = frozenset({"shutdown", "kill", "handler", "binlog", "change", "reset", "restart", "stop", "clone"})
_CLOSED = re.compile(r"""[nN]?'(?:[^'\\]|\\.|'')*+'|"(?:[^"\\]|\\.|"")*+"|`(?:[^`]|``)*+`""", re.DOTALL)
_OWN_LOCKS = ("release_all_locks",)
_LOOK_BACK = frozenset({"row_count", "found_rows"})
_NAMES_FOLLOW = frozenset({"into", "table", "exists", "references", "."})
HINT_BETWEEN = "put both statements into a procedure or a block, or move what changes tables to a migration of its own"
ASKS_BACK = re.compile("row_count|found_rows|diagnostics", re.IGNORECASE)
_SHORT = (
    1_000  # characters of a statement whose tokens are kept: many ask for them, and the members of a fleet share it
)


def read_script(file: File, text: str) -> Script:
    """Return the statements of a file; InvalidError with file, line and column for what cannot be run safely."""
    reader = FileReader(file, text)
    if (nul := text.find("\0")) >= 0:
        raise reader.error("the file holds a NUL character", nul, "remove it: the server stops reading there")
    blanks: list[tuple[int, int]] = []
    pieces = [piece for piece in split(text, blank=blanks.append) if piece.tokens]
    _refuse_unclosed(reader, pieces, blanks)
    for piece in pieces:
        _refuse(reader, piece)
    refuse_charsets(reader, pieces)
    refuse_oracle_bodies(reader, pieces)
    kept, notes = _without_blocks(reader, pieces)
    _check_modes(reader, kept)
    statements = _statements(reader, kept)
    atomic = all(statement.atomic for statement in statements)
    if not atomic:
        _refuse_parts_of_transactions(reader, kept)
        _refuse_looks_back(reader, kept)
    given = tuple(read_directives(text, blanks if are_in(text) else ()))
    first = pieces[0].start if pieces else len(text)
    limits, checks = file_settings(reader, given, first, _query_in, _NO_TRANSACTION)
    return Script(
        file,
        text,
        tuple(statements),
        atomic,
        limits.get("lock_timeout"),
        limits.get("lock_try"),
        limits.get("statement_timeout"),
        tuple(notes),
        checks,
        directives=given,
    )


def words_of(source: str) -> list[str]:
    """Return the words of a statement, names without their quotes."""
    return [name_of(token) for token in tokens_of(source)]


def tokens_of(source: str) -> list[Token]:
    """Return the tokens of a statement, a list that nobody may change."""
    return list(_short(source)) if len(source) <= _SHORT else _long(source)


@lru_cache(256)
def _short(source: str) -> tuple[Token, ...]:
    return tuple(_read(source))


@lru_cache(2)
def _long(source: str) -> list[Token]:
    """Keep those of the INSERT of a dump: it has a million characters, and is looked at from many sides one after the other."""
    return _read(source)


def _read(source: str) -> list[Token]:
    pieces = split(source)
    return pieces[0].tokens if pieces else []


def _is_data(words: Sequence[str]) -> bool:
    """Whether a statement changes or reads rows, and a transaction of InnoDB holds it."""
    if words[0] not in DATA:
        return False
    if "outfile" not in words and "dumpfile" not in words:
        return True
    return not any(words[at : at + 2] in (["into", "outfile"], ["into", "dumpfile"]) for at in range(len(words) - 1))


def is_session(words: Sequence[str]) -> bool:
    """Whether a statement only sets something for the session that runs it."""
    if words[0] == "set":
        return not _beyond_session(words)
    return words[0] in ("prepare", "deallocate") or list(words[:2]) == ["drop", "prepare"]


def is_temporary(words: Sequence[str]) -> bool:
    """Whether a statement creates or drops a temporary table, which goes with the session."""
    at = 3 if list(words[1:3]) == ["or", "replace"] else 1
    return words[0] in ("create", "drop") and list(words[at : at + 1]) == ["temporary"] and words[at + 1 :] != []


def runs_others(words: Sequence[str]) -> bool:
    """Whether a statement, such as CALL, runs others, which its text may not show. If one fails, the ones before it stay done."""
    return words[0] in ("call", "execute", "begin") or words[0] in COMPOUND


def _beyond_session(words: Sequence[str]) -> bool:
    """Whether SET changes the server, or a login."""
    scopes = {"global", "persist", "persist_only", "password", "role", "default"}
    return bool(words[1:2] and words[1] in scopes) or any(
        word.lower().startswith(("@@global.", "@@persist")) for word in words
    )


def _refuse(reader: FileReader, piece: Piece) -> None:
    words, start = piece.words, piece.start
    first = words[0]
    plain = [token.text for token in piece.tokens if token.kind == "word"]
    if first == "use":
        raise reader.error(
            "USE does not belong in a migration: the DSN names the database",
            start,
            "remove it; what changes another database is a migration of that database",
        )
    if first == "delimiter":
        raise reader.error("DELIMITER counts at the beginning of a line only", start, "begin a new line with it")
    if first == "xa":
        raise reader.error("XA does not belong in a migration", start, "use BEGIN and COMMIT, or nothing")
    if first == "rollback" and "to" not in plain[:4]:
        raise reader.error("ROLLBACK would undo the file's own work", start, "remove it")
    if first == "load" and "local" in plain[:5]:
        raise reader.error(
            "LOAD DATA LOCAL reads a file of the machine on which orch runs",
            start,
            "write the rows as INSERT statements, or load them outside of migrations",
        )
    if (at := _command_of_client(piece)) is not None:
        raise reader.error("a command of the mysql client is no SQL", at, "remove it")
    if first in _OUTSIDE:
        raise reader.error(f"{first.upper()} does not belong in a migration", start, "run it outside of migrations")
    if _holds_the_server(plain):
        what = (
            f"{' '.join(plain[:2]).upper()} keeps every session from writing, so that orch could not write its records"
        )
        raise reader.error(what, start, "run it outside of migrations")
    for token in piece.tokens:
        if token.kind == "word" and token.text in _OWN_LOCKS:
            raise reader.error(
                "RELEASE_ALL_LOCKS() would give away the migration lock", token.start, "release your own lock by name"
            )
    refuse_settings(reader, piece)


def _command_of_client(piece: Piece) -> int | None:
    """Return where a command of the mysql client stands: source, or a backslash before a letter other than N of NULL."""
    if piece.tokens[0].text in ("source", "tee", "notee", "pager", "charset"):
        return piece.start
    for at, token in enumerate(piece.tokens):
        if token.text == "\\" and [one.text[:1] for one in piece.tokens[at + 1 : at + 2]] != ["n"]:
            return token.start
    return None


def _refuse_unclosed(reader: FileReader, pieces: Sequence[Piece], blanks: Sequence[tuple[int, int]]) -> None:
    """Refuse a comment, a text or a name that has no end: all that follows it would be taken for a part of it."""
    end = len(reader.text)
    last = pieces[-1].tokens[-1] if pieces else None
    if last and last.end == end and last.kind in ("text", "quoted") and not _CLOSED.fullmatch(last.text):
        raise reader.error("what begins here has no closing quote", last.start, "add it, or remove this quote")
    start = blanks[-1][0] if blanks and blanks[-1][1] == end else end
    comment = reader.text[start:]
    if (
        comment.startswith("/*")
        and not comment.startswith(("/*!", "/*M!"))
        and (len(comment) < 4 or comment[-2:] != "*/")
    ):
        raise reader.error("the comment that begins here has no end", start, "add */ where it ends")


def _holds_the_server(plain: Sequence[str]) -> bool:
    """Whether a statement takes a lock that orch's own records would wait for, or be refused by."""
    if plain[:1] == ["flush"]:
        return "with" in plain or "for" in plain[:-1]  # WITH READ LOCK, FOR EXPORT
    return plain[:1] == ["backup"] or list(plain[:2]) in (["lock", "instance"], ["unlock", "instance"])


def _without_blocks(reader: FileReader, pieces: Sequence[Piece]) -> tuple[list[Piece], list[str]]:
    """Return the statements without BEGIN, COMMIT, SET autocommit and LOCK TABLES, and what to know about that."""
    kept, notes = [], dict[str, None]()
    begun, blocks = -1, False
    for piece in pieces:
        words = piece.words
        first, two = words[0], words[:2]
        opens = words in (["begin"], ["begin", "work"]) or two == ["start", "transaction"]
        blocks = blocks or opens or first == "commit"
        if opens:
            if begun >= 0:
                raise reader.error("BEGIN inside of BEGIN … COMMIT", piece.start, "remove one of them")
            begun = piece.start
        elif first == "commit":
            begun = -1
        elif first == "set" and without_autocommit(reader.text, piece) is None:
            continue
        elif two in (["lock", "tables"], ["lock", "table"], ["unlock", "tables"], ["unlock", "table"]):
            notes["LOCK TABLES and UNLOCK TABLES are left out: orch could not write its records between them"] = None
        else:
            kept.append(piece)
    if begun >= 0:
        raise reader.error("BEGIN without COMMIT", begun, "add COMMIT; at the end, or remove BEGIN")
    if all(_is_atomic(piece) for piece in kept):
        return kept, list(notes)
    if blocks:
        notes["BEGIN and COMMIT have no effect here: each statement commits with its own record"] = None
    for piece in filter(is_for_next_transaction, kept):
        line = reader.text.count("\n", 0, piece.start) + 1
        what = f"{reader.text[piece.start : piece.end]!r} (line {line}) is left out"
        notes[f"{what}: each statement commits by itself here; SET SESSION TRANSACTION … counts for all below it"] = (
            None
        )
    return [piece for piece in kept if not is_for_next_transaction(piece)], list(notes)


def _is_atomic(piece: Piece) -> bool:
    words = piece.words
    if words[0] in ("savepoint", "release", "rollback") or is_session(words):
        return True
    return _is_data(words) or words[0] in _LOOKS or is_temporary(words)


def _statements(reader: FileReader, pieces: Sequence[Piece]) -> list[Statement]:
    statements: list[Statement] = []
    settings: list[str] = []
    for piece in pieces:
        source = reader.text[piece.start : piece.end]
        words = piece.words
        body = (without_autocommit(reader.text, piece) or source) if words[0] == "set" else source
        statement = Statement(source, body, piece.start, reader.line_at(piece.start), _is_atomic(piece))
        statements.append(
            replace(statement, settings=";\n".join(settings), repeatable=is_session(words) or words[0] in _REPEATABLE)
        )
        if is_session(words) or is_temporary(words):
            settings.append(body)
    return statements


def _refuse_parts_of_transactions(reader: FileReader, pieces: Sequence[Piece]) -> None:
    """Refuse what has a meaning in a transaction only, in a file whose statements commit one by one."""
    for piece in pieces:
        if piece.words[0] in ("savepoint", "release", "rollback"):
            raise reader.error(
                f"{piece.words[0].upper()} in a file that is not one transaction",
                piece.start,
                "move the statements that change tables to a migration of their own",
            )


def _refuse_looks_back(reader: FileReader, pieces: Sequence[Piece]) -> None:
    """Refuse what asks about the statement before it, in a file between whose statements orch writes its records."""
    for piece in pieces if ASKS_BACK.search(reader.text) else ():
        if token := look_back(piece.tokens):
            raise reader.error(asked_between(token), token.start, HINT_BETWEEN)


def asked_between(token: Token) -> str:
    """Return the message for a statement that asks about the one before it, if orch writes a record between the two."""
    what = "GET DIAGNOSTICS" if token.text == "get" else f"{token.text.upper()}()"
    return f"{what} asks about the statement before it, but orch writes its records between these two statements"


def look_back(tokens: Sequence[Token]) -> Token | None:
    """Return the word by which a statement asks about the one before it, such as ROW_COUNT; None if it does not ask."""
    if has_body(tokens):  # the statements inside ask about one another
        return None
    if tokens[0].text == "get":
        return tokens[0]
    called = (
        token
        for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False)
        if token.text in _LOOK_BACK and after.text == "(" and before.text not in _NAMES_FOLLOW
    )
    return next(called, None)


def _check_modes(reader: FileReader, pieces: Sequence[Piece]) -> None:
    """Refuse a file that sets NO_BACKSLASH_ESCAPES and has a text that is read otherwise then."""
    if "no_backslash_escapes" not in reader.text.lower():
        return
    for piece in pieces:
        if not same_without_backslashes(reader.text[piece.start : piece.end]):
            what = "with NO_BACKSLASH_ESCAPES this statement would end elsewhere"
            raise reader.error(what, piece.start, "write the text without a backslash: CHAR(92) is one")


def same_without_backslashes(source: str) -> bool:
    """Whether NO_BACKSLASH_ESCAPES changes nothing: the text is still one statement, with the same texts in quotes."""
    if "\\" not in source:
        return True
    other = split(source, raw=True)
    if len(other) != 1 or other[0].end != len(source.rstrip()):
        return False
    return [(token.start, token.end) for token in other[0].tokens] == [
        (token.start, token.end) for token in tokens_of(source)
    ]


def _query_in(text: str) -> tuple[int, int] | None:
    """Return where the one query of a text begins and ends; None if the text is not one query."""
    pieces = split(text)
    if len(pieces) != 1 or pieces[0].tokens[0].text not in _QUERY or not _is_data(pieces[0].words):
        return None
    return pieces[0].start, pieces[0].end
