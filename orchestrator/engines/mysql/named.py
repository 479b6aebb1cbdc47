"""What a statement that changes the schema names: the tables, views, routines and accounts that it makes, changes or drops."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from orchestrator.engines.mysql.lexer import Token, as_written, name_of
from orchestrator.engines.mysql.reader import tokens_of
from orchestrator.engines.mysql.settings import settings_of


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
    before, and it must not be done twice. `drops`: it drops each of several things, one after the other. `empties`: it takes
    rows away, and may leave the definition as it was: done twice, it would take what others have written in between.
    """

    things: tuple[Named, ...]
    traceless: bool = False
    drops: bool = False
    empties: bool = False


_SHOWN = frozenset(
    {"table", "view", "trigger", "procedure", "function", "event", "sequence", "user", "role", "database", "package"}
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
_TRACELESS = frozenset(
    {("exchange", "partition")}
    | {(verb, what) for verb in ("discard", "import") for what in ("tablespace", "partition")}
)
"""Clauses of ALTER TABLE that change rows and no definition, and would undo themselves or fail if they were made again."""
_NO_COLUMNS = frozenset(
    {
        "constraint",
        "foreign",
        "primary",
        "index",
        "key",
        "check",
        "unique",
        "fulltext",
        "spatial",
        "partition",
        "period",
    }
)
"""Words that follow ADD or DROP if what is added or dropped is no column."""
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
            return Change((self._thing("table"),), empties=True)
        if first in _MAINTAIN or first in ("flush", "cache"):
            return Change(())
        if first in ("grant", "revoke"):
            return self._rights()
        if first == "set":
            return Change((), traceless=self._adds_up())
        return None

    def _definition(self, first: str) -> Change | None:
        replaces = first == "create" and self._word() == "or"
        self._pass_over()
        kind = _ALIASES.get(self._word(), self._word())
        self._at += 1
        if kind == "index":
            return self._index()
        if kind not in _SHOWN:
            return Change((), traceless=True) if kind in ("tablespace", "server", "logfile") else None
        if kind == "package" and self._word() == "body":
            self._at += 1
            kind = "package body"
        self._exists()
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
        if replaces and kind in ("table", "sequence", "database"):
            return Change(tuple(things), traceless=kind != "table", empties=kind == "table")
        if first == "alter" and kind == "sequence" and "restart" in [token.text for token in self._tokens[self._at :]]:
            return Change(tuple(things), traceless=True)  # the numbers since then would be given again
        if first == "create" and kind == "event" and self._ends_by_itself():
            return Change(tuple(things), traceless=True)
        if first == "alter" and kind == "event" and (other := self._after("rename", "to")) is not None:
            things.append(self._thing_at(other, kind))
        return Change(tuple(things))

    def _ends_by_itself(self) -> bool:
        """Whether an event drops itself when it has run: absent, it may have been there, and have changed rows."""
        words = [token.text for token in self._tokens[self._at :]]
        return ("schedule", "at") in pairwise(words) or "ends" in words

    def _adds_up(self) -> bool:
        """Whether a SET makes a value for all sessions out of another one: done twice, it may be another value."""
        lasting = (one for one in settings_of(self._tokens[1:]) if not (one.is_of_session or one.name.startswith("@")))
        return any(token.kind == "variable" for one in lasting for token in one.value)

    def _alter_table(self, table: Named) -> Change:
        words = [token.text for token in self._tokens[self._at :]]
        pairs = set(pairwise(words))
        traceless = self._swaps_columns() or self._makes_anew() or bool(pairs & _TRACELESS)
        things = [table]
        for at in range(self._at, len(self._tokens) - 1):
            if self._tokens[at].text == "rename" and self._tokens[at].kind == "word":
                follows = self._tokens[at + 1]
                if follows.text in ("to", "as") and follows.kind == "word" and at + 2 < len(self._tokens):
                    things.append(self._thing_at(at + 2, "table"))
                elif follows.text not in ("column", "index", "key", "constraint"):
                    things.append(self._thing_at(at + 1, "table"))
        return Change(tuple(things), traceless=traceless, empties=("truncate", "partition") in pairs)

    def _makes_anew(self) -> bool:
        """Whether a column is dropped and added again: its values are gone then."""
        dropped, added = set[str](), set[str]()
        for at in range(self._at, len(self._tokens) - 1):
            word = self._tokens[at].text if self._tokens[at].kind == "word" else ""
            if word not in ("drop", "add"):
                continue
            rest = [token for token in self._tokens[at + 1 : at + 6] if token.text not in ("if", "not", "exists", "(")]
            named = rest[rest[0].text == "column" :][:1] if rest else []
            (dropped if word == "drop" else added).update(name_of(token).lower() for token in named)
        return bool((dropped & added) - _NO_COLUMNS)

    def _swaps_columns(self) -> bool:
        """Whether a column gets the name of another one that is renamed too: done twice, both are as they were."""
        renamed: dict[str, str] = {}
        for at in range(self._at, len(self._tokens) - 2):
            word = self._tokens[at].text if self._tokens[at].kind == "word" else ""
            if word not in ("change", "rename"):
                continue
            at += 1
            at += self._tokens[at].text == "column"
            if word == "change":
                at += 2 * ([token.text for token in self._tokens[at : at + 2]] == ["if", "exists"])
                old, new = self._tokens[at : at + 1], self._tokens[at + 1 : at + 2]
            elif self._tokens[at - 1].text == "column":
                old, new = self._tokens[at : at + 1], self._tokens[at + 2 : at + 3]
            else:
                continue
            if old and new and name_of(old[0]).lower() != name_of(new[0]).lower():
                renamed[name_of(old[0]).lower()] = name_of(new[0]).lower()
        return bool(renamed.keys() & {*renamed.values()})

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
        moves: list[tuple[Named, Named]] = []
        old: Named | None = None
        while self._at < len(self._tokens):
            if self._word() in (",", "to", "wait", "nowait") or self._tokens[self._at].kind == "number":
                self._at += 1
                continue
            name = self._thing("table")
            if old is None:
                old = name
            else:
                moves.append((old, name))
                old = None
        return Change(tuple(dict.fromkeys(name for move in moves for name in move)), traceless=_goes_round(moves))

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


def _goes_round(moves: Sequence[tuple[Named, Named]]) -> bool:
    """Whether these names, one after the other, leave the same ones: then two tables may only have changed places."""
    began: dict[str, str] = {}  # what each name holds now, by the name with which it began
    for old, new in moves:
        began[new.key.lower()] = began.pop(old.key.lower(), old.key.lower())
    return {*began} == {*began.values()}


def called_procedure(source: str) -> Named:
    """Return the procedure that a CALL names."""
    call = _Change(source)
    call._at = 1
    return call._thing("procedure")


def what_is_left(source: str, left: Sequence[Named]) -> str:
    """Return a DROP of several things for those that are still there."""
    words = [token.text for token in tokens_of(source)[1:5]]
    names = ", ".join(quoted(thing) for thing in left)
    return f"DROP {left[0].kind.upper()} {'IF EXISTS ' if 'exists' in words else ''}{names}"


def quoted(thing: Named) -> str:
    """Return a name as SQL."""
    name = "`" + thing.name.replace("`", "``") + "`"
    return "`" + thing.database.replace("`", "``") + "`." + name if thing.database else name
