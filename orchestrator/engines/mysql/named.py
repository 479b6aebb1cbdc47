"""What a statement that changes the schema names: the tables, views, routines and accounts that it makes, changes or drops."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from orchestrator.engines.mysql.lexer import Token, as_written
from orchestrator.engines.mysql.reader import tokens_of


class Named(NamedTuple):
    """One thing: its kind as SHOW CREATE has it, its database ('' for that of the session), its name."""

    kind: str
    name: str
    database: str = ""

    @property
    def key(self) -> str:
        """What it is called in a stored fingerprint."""
        return f"{self.kind} {self.database}.{self.name}" if self.database else f"{self.kind} {self.name}"


class Change(NamedTuple):
    """What a statement changes.

    `things` are all whose definition may be another afterwards. `traceless`: it may be done though all of them look as
    before, and it must not be done twice. `drops`: it drops each of several things, one after the other.
    """

    things: tuple[Named, ...]
    traceless: bool = False
    drops: bool = False


_SHOWN = frozenset(
    {"table", "view", "trigger", "procedure", "function", "event", "sequence", "user", "role", "database"}
)
_ALIASES = {"tables": "table", "schema": "database"}
_PASSED_OVER = frozenset(
    {
        "or",
        "replace",
        "temporary",
        "unique",
        "fulltext",
        "spatial",
        "online",
        "offline",
        "ignore",
        "aggregate",
        "invoker",
    }
)
_MAINTAIN = frozenset({"analyze", "optimize", "check", "repair"})


def change_of(source: str) -> Change | None:
    """Return what a statement changes; None where that cannot be told from its text."""
    return _Change(source).read()


class _Change:
    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = tokens_of(source)
        self._at = 0

    def read(self) -> Change | None:
        first = self._word()
        self._at = 1
        if first in ("create", "alter", "drop"):
            return self._definition(first)
        if first == "rename":
            return self._rename()
        if first == "truncate":
            self._skip("table")
            return Change((self._thing("table"),))
        if first in _MAINTAIN or first in ("flush", "cache"):
            return Change(())
        if first in ("grant", "revoke"):
            return self._rights()
        if first == "set":
            return Change(())
        return None

    def _definition(self, first: str) -> Change | None:
        self._pass_over()
        kind = _ALIASES.get(self._word(), self._word())
        self._at += 1
        if kind == "index":
            return self._index()
        if kind == "view" and first == "drop":
            kind = "view"
        if kind not in _SHOWN:
            return Change((), traceless=True) if kind in ("tablespace", "server", "logfile") else None
        exists = self._exists()
        if kind in ("user", "role"):
            return Change(tuple(self._accounts()))
        things = [self._thing(kind)]
        if first == "drop":
            while self._word() == ",":
                self._at += 1
                things.append(self._thing(kind))
            return Change(tuple(things), drops=len(things) > 1)
        if first == "alter" and kind == "table":
            return self._alter_table(things[0])
        if first == "alter" and kind == "event" and (other := self._after("rename", "to")) is not None:
            things.append(self._thing_at(other, kind))
        del exists
        return Change(tuple(things))

    def _alter_table(self, table: Named) -> Change:
        words = [token.text for token in self._tokens[self._at :]]
        pairs = set(pairwise(words))
        traceless = bool(pairs & {("exchange", "partition"), ("discard", "tablespace"), ("import", "tablespace")})
        traceless = traceless or bool(pairs & {("discard", "partition"), ("import", "partition")})
        things = [table]
        for at in range(self._at, len(self._tokens) - 1):
            if self._tokens[at].text == "rename" and self._tokens[at].kind == "word":
                follows = self._tokens[at + 1]
                if follows.text in ("to", "as") and follows.kind == "word" and at + 2 < len(self._tokens):
                    things.append(self._thing_at(at + 2, "table"))
                elif follows.text not in ("column", "index", "key", "constraint"):
                    things.append(self._thing_at(at + 1, "table"))
        return Change(tuple(things), traceless=traceless)

    def _index(self) -> Change | None:
        for at in range(self._at, len(self._tokens) - 1):
            if self._tokens[at].text == "on" and self._tokens[at].kind == "word":
                return Change((self._thing_at(at + 1, "table"),))
        return None

    def _rename(self) -> Change | None:
        kind = self._word()
        self._at += 1
        if kind in ("user", "role"):
            return Change(tuple(self._accounts()))
        if kind not in ("table", "tables"):
            return None
        self._exists()
        things: list[Named] = []
        while self._at < len(self._tokens):
            if self._word() in (",", "to", "wait", "nowait") or self._tokens[self._at].kind == "number":
                self._at += 1
                continue
            things.append(self._thing("table"))
        keys = [thing.key.lower() for thing in things]
        return Change(tuple(things), traceless=len(keys) > len({*keys}))  # names go round: two tables may look the same

    def _rights(self) -> Change | None:
        for at in range(len(self._tokens) - 1, 0, -1):
            if self._tokens[at].text in ("to", "from") and self._tokens[at].kind == "word":
                self._at = at + 1
                return Change(tuple(self._accounts()))
        return None

    def _accounts(self) -> list[Named]:
        """Read 'a'@'b', 'c', d@e: as they stand, up to what is none."""
        found = []
        while self._at < len(self._tokens) and self._tokens[self._at].kind in ("text", "quoted", "word"):
            first = last = self._tokens[self._at]
            if first.kind == "word" and first.text in (
                "identified",
                "with",
                "require",
                "account",
                "password",
                "default",
            ):
                break
            self._at += 1
            if self._at < len(self._tokens) and self._tokens[self._at].text.startswith("@"):
                last = self._tokens[self._at]
                self._at += 1
                if last.text == "@" and self._at < len(self._tokens):
                    last = self._tokens[self._at]
                    self._at += 1
            found.append(Named("user", self._source[first.start : last.end]))
            if self._word() in (",", "to"):
                self._at += 1
                continue
            break
        return found

    def _after(self, *words: str) -> int | None:
        texts = [token.text for token in self._tokens]
        for at in range(self._at, len(texts) - len(words)):
            if texts[at : at + len(words)] == list(words):
                return at + len(words)
        return None

    def _word(self) -> str:
        return self._tokens[self._at].text if self._at < len(self._tokens) else ""

    def _skip(self, word: str) -> None:
        if self._word() == word:
            self._at += 1

    def _pass_over(self) -> None:
        """Go to the kind: past OR REPLACE, DEFINER = …, ALGORITHM = …, SQL SECURITY …."""
        while self._at < len(self._tokens):
            word = self._word()
            if self._tokens[self._at].kind == "word" and word in _SHOWN | {
                "index",
                "schema",
                "tables",
                "tablespace",
                "server",
            }:
                return
            if word == "definer":
                self._at += 2
                self._accounts()
                if self._word() == "(":  # CURRENT_USER()
                    self._at += 2
                continue
            self._at += 1

    def _exists(self) -> bool:
        words = [token.text for token in self._tokens[self._at : self._at + 3]]
        skipped = 3 if words == ["if", "not", "exists"] else 2 if words[:2] == ["if", "exists"] else 0
        self._at += skipped
        return bool(skipped)

    def _thing(self, kind: str) -> Named:
        thing = self._thing_at(self._at, kind)
        self._at += 3 if thing.database else 1
        return thing

    def _thing_at(self, at: int, kind: str) -> Named:
        one = self._tokens[at : at + 3]
        if not one:
            return Named(kind, "")
        if len(one) == 3 and one[1].text == "." and one[1].kind == "other":
            return Named(kind, self._spelled(one[2]), self._spelled(one[0]))
        return Named(kind, self._spelled(one[0]))

    def _spelled(self, token: Token) -> str:
        return as_written(token, self._source)


def what_is_left(source: str, left: Sequence[Named]) -> str:
    """Return a DROP of several things for those that are still there."""
    tokens = tokens_of(source)
    head = next(at for at, token in enumerate(tokens) if token.text in ("table", "tables", "view"))
    end = head + 1
    if [token.text for token in tokens[end : end + 2]] == ["if", "exists"]:
        end += 2
    names = ", ".join(quoted(thing) for thing in left)
    return f"{source[: tokens[end - 1].end]} {names}"


def quoted(thing: Named) -> str:
    """Return a name as SQL."""
    name = "`" + thing.name.replace("`", "``") + "`"
    return "`" + thing.database.replace("`", "``") + "`." + name if thing.database else name
