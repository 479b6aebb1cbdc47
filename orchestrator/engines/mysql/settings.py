"""SET in a migration file: what it assigns, what of it is left out, and what is refused with its place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from orchestrator.engines.file_reader import FileReader
from orchestrator.engines.mysql.lexer import COMPOUND, Piece, Token, name_of

_OF_ALL = ("global", "persist", "persist_only")
_SCOPES = (*_OF_ALL, "session", "local")
_UTF8 = ("utf8", "utf8mb3", "utf8mb4", "binary", "default")
# What a session must not change: orch's own records rest on it.
_NOT_TO_SET = {
    "sql_log_bin": "replicas would miss what the file does, and the record of it",
    "transaction_read_only": "orch could not write its records",
    "tx_read_only": "orch could not write its records",
    "wsrep_on": "the other nodes of the cluster would miss what the file does",
    "gtid_next": "the record of the file would get this id too",
    "skip_replication": "replicas could miss what the file does, and the record of it",
    "server_id": "a replica with this id would miss what the file does, and the record of it",
    "gtid_seq_no": "the record of the file would get this number too",
    "gtid_domain_id": "a replica could apply the record of the file before those of earlier files",
    "pseudo_thread_id": "orch finds its lock by it",
    "timestamp": "the history would have a wrong time",
    "sql_select_limit": "orch could not read all of its records",
    "completion_type": "a COMMIT would begin another transaction, or end the session",
}
_INSTEAD = {
    "gtid_domain_id": "remove it, or write SET STATEMENT gtid_domain_id = … FOR before the statement that needs it"
}
# What a file must not change for all sessions, each with what to do instead.
_CLOSES = ("no session could write, that of orch neither", "run it outside of migrations")
_REPLICATES = (
    "the server would take changes for made that it never made",
    "remove it; make a dump without it by --set-gtid-purged=OFF, or without --gtid",
)
_NOT_FOR_ALL = {
    **dict.fromkeys(("read_only", "super_read_only", "offline_mode", "transaction_read_only", "tx_read_only"), _CLOSES),
    **dict.fromkeys(("gtid_purged", "gtid_slave_pos", "gtid_binlog_state"), _REPLICATES),
}
_NOT_FOR_ONE = ("sql_log_bin", "gtid_next")
"""What not even one statement may have set, by SET STATEMENT."""
_ISOLATION = ("transaction_isolation", "tx_isolation")
_BODIES = frozenset({"procedure", "function", "package", "trigger", "event"})


class Setting(NamedTuple):
    """One assignment of a SET: the scope that counts for it, its name in lower case, its value, and where it stands."""

    scope: str
    name: str
    value: tuple[Token, ...]
    start: int
    end: int

    @property
    def is_of_session(self) -> bool:
        """Whether it holds for the session alone."""
        return self.scope not in _OF_ALL


def settings_of(tokens: Sequence[Token]) -> list[Setting]:
    """Return what a SET assigns, without NAMES, TRANSACTION and the like. `tokens` begin behind the word SET."""
    found: list[Setting] = []
    scope = ""
    for item in _items(tokens):
        words = [name_of(token).lower() for token in item]
        if len(item) > 1 and words[0] in _SCOPES and item[0].kind == "word":
            scope, rest, words = words[0], item[1:], words[1:]
        else:
            rest = item
        name, own = _without_prefix(words[0])
        if words[1:2] in (["="], [":"]):
            value = rest[3:] if words[1:3] == [":", "="] else rest[2:]
            found.append(Setting(own or scope, name, tuple(value), item[0].start, item[-1].end))
    return found


def _items(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    depth, item = 0, list[Token]()
    for token in tokens:
        if token.kind == "other":
            depth += {"(": 1, ")": -1}.get(token.text, 0)
        if token.text == "," and not depth:
            if item:
                yield item
            item = []
        else:
            item.append(token)
    if item:
        yield item


def _without_prefix(name: str) -> tuple[str, str]:
    """Return the name of a variable without its @@global., and that scope."""
    if not name.startswith("@@"):
        return name, ""
    scope, dot, rest = name[2:].partition(".")
    return (rest, scope) if dot and scope in _SCOPES else (name[2:], "session")


def without_autocommit(text: str, piece: Piece) -> str | None:
    """Return a SET without its autocommit, which orch has on; None if nothing is left of it."""
    settings = settings_of(piece.tokens[1:])
    dropped = [one for one in settings if one.name == "autocommit" and one.is_of_session]
    if not dropped:
        return text[piece.start : piece.end]
    if len(dropped) == len([*_items(piece.tokens[1:])]):
        return None
    kept = []
    for item in _items(piece.tokens[1:]):
        one = next((one for one in settings if one.start == item[0].start), None)
        if one in dropped:
            continue
        written = text[item[0].start : item[-1].end]
        inherited = one and one.scope and item[0].text not in _SCOPES and not item[0].text.startswith("@")
        kept.append(f"{one.scope.upper()} {written}" if one and inherited else written)
    return f"SET {', '.join(kept)}"


def refuse_settings(reader: FileReader, piece: Piece) -> None:
    """Raise InvalidError for what no file may SET."""
    for one in settings_of(piece.prefix[2:-1]) if piece.prefix and piece.prefix[0].text == "set" else ():
        if one.name in _NOT_FOR_ONE:
            raise _not_to_set(reader, one)
    if piece.tokens[0].text != "set":
        return
    for one in settings_of(piece.tokens[1:]):
        if one.is_of_session and one.name in _NOT_TO_SET:
            raise _not_to_set(reader, one)
        if not one.is_of_session and one.name in _NOT_FOR_ALL:
            why, hint = _NOT_FOR_ALL[one.name]
            what = f"SET {one.scope.upper()} {one.name} does not belong in a migration: {why}"
            raise reader.error(what, one.start, hint)
    words = [token.text for token in piece.tokens if token.kind == "word"]
    if "transaction" in words[1:3] and words[1] != "global" and ("read", "only") in pairwise(words):
        what = "SET TRANSACTION READ ONLY does not belong in a migration: orch could not write its records"
        raise reader.error(what, piece.start, "remove it")


def is_for_next_transaction(piece: Piece) -> bool:
    """Whether a SET counts for the next transaction alone: SET TRANSACTION, or @@transaction_isolation without a scope."""
    words = [token.text.lower() for token in piece.tokens[:2]]
    if words[:1] != ["set"]:
        return False
    items = [item[0].text.lower() for item in _items(piece.tokens[1:])]
    return words == ["set", "transaction"] or set(items) <= {f"@@{name}" for name in _ISOLATION}


def _not_to_set(reader: FileReader, one: Setting) -> Exception:
    what = f"SET {one.name} does not belong in a migration: {_NOT_TO_SET[one.name]}"
    return reader.error(what, one.start, _INSTEAD.get(one.name, "remove it"))


def refuse_charsets(reader: FileReader, pieces: Sequence[Piece]) -> None:
    """Raise InvalidError for text that the server would read in another character set than that of the file."""
    charset, said, start = "", "", 0
    for piece in pieces:
        if piece.tokens[0].text == "set" and (told := _charset(piece)):
            charset, said = told
            start = piece.start
        elif charset and any(not token.text.isascii() for token in piece.tokens):
            what = f"the file is UTF-8, and {said} makes the server read it as {charset}"
            raise reader.error(what, start, "write utf8mb4 instead")


def _charset(piece: Piece) -> tuple[str, str] | None:
    """Return the character set in which the server reads what follows a SET, '' if it is right; None: as before."""
    words = piece.words
    lower = [word.lower() for word in words]
    at = 2 if lower[1:2] in (["names"], ["charset"]) else 3 if lower[1:3] == ["character", "set"] else 0
    if at:
        told, said = "".join(lower[at : at + 1]), " ".join(words[: at + 1]).upper()
    else:
        of_client = [one for one in settings_of(piece.tokens[1:]) if one.name == "character_set_client"]
        if not of_client or not of_client[-1].is_of_session or not of_client[-1].value:
            return None
        told = name_of(of_client[-1].value[0]).lower()
        said = f"SET character_set_client = {told}"
    return ("" if told.startswith("@") or told in _UTF8 else told), said


def refuse_oracle_bodies(reader: FileReader, pieces: Sequence[Piece]) -> None:
    """Raise InvalidError for a body in sql_mode ORACLE whose end no DELIMITER line tells."""
    is_on = False
    for piece in pieces:
        if piece.tokens[0].text == "set":
            for one in settings_of(piece.tokens[1:]):
                if one.name == "sql_mode" and one.is_of_session:
                    is_on = _names_oracle(one)
            continue
        of_one = settings_of(piece.prefix[2:-1]) if piece.prefix else []
        oracle = any(_names_oracle(one) for one in of_one if one.name == "sql_mode") or is_on
        if oracle and piece.delimiter == ";" and has_body(piece.tokens):
            what = "where this body ends cannot be told from sql_mode ORACLE without DELIMITER lines"
            raise reader.error(
                what, piece.start, "write DELIMITER // above it, // in the place of its last ; and DELIMITER ; below it"
            )


def _names_oracle(one: Setting) -> bool:
    return any("oracle" in token.text.lower() for token in one.value)


def has_body(tokens: Sequence[Token]) -> bool:
    """Whether a statement has others inside, with semicolons between them."""
    first = tokens[0].text
    if first == "begin":
        return len(tokens) > 1 and tokens[1].text != "work"
    if first == "create":
        return any(token.text in _BODIES and token.kind == "word" for token in tokens[1:12])
    return first in COMPOUND or first == "declare"
