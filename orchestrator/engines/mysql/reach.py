"""Which statements of a file reach beyond the database in which they run: a copy of it must not run them.

A name with a database before it (`other.orders`) is one that stands where a table stands, or whose first part is neither a
table nor an alias of the statement. Where it is the file's own database, the copy is named instead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from orchestrator.engines.base import Confined, Finding, Reach
from orchestrator.engines.mysql.dynamic_sql import (
    HOLE,
    OWN,
    are_settled,
    arguments_of,
    called,
    is_own_name,
    joined,
    prepares,
    routine,
    runs_a_body,
    why_unknown,
)
from orchestrator.engines.mysql.lexer import COMPOUND, Token, name_of
from orchestrator.engines.mysql.reach_rules import OUTSIDE, of_the_server
from orchestrator.engines.mysql.reader import tokens_of
from orchestrator.engines.mysql.settings import has_body
from orchestrator.model import Checks, File, Mark, Script, Statement

_WRITE_IT = "write into the file what it executes"
_TABLE_FOLLOWS = frozenset(
    {"from", "join", "into", "update", "table", "tables", "references", "view", "trigger", "procedure", "function"}
    | {"event", "call", "like", "exists", "sequence", "index", "truncate", "rename", "to", "ignore", "low_priority"}
    | {"using", "straight_join", "insert", "replace", "describe", "desc", "explain"}
)
# Statements whose texts a prepared statement may be made of, and how such a text begins.
_PUTS_TOGETHER = frozenset({"set", "prepare", "execute", "select", "create", "begin", "do", "call"})
# Words with which a statement begins.
_VERBS = frozenset(
    {"alter", "create", "drop", "rename", "truncate", "insert", "replace", "update", "delete", "select", "grant"}
    | {"revoke", "set", "call", "lock", "load", "optimize", "analyze", "repair", "flush", "reset", "purge"}
    | {"install", "uninstall"}
)
_FROM_A_VALUE = ("extract", "trim", "substring", "substr")
# After these words a statement of a body begins.
_BEFORE = frozenset(
    {"begin", "atomic", "then", "else", "do", "loop", "repeat", "row", "sqlexception", "sqlwarning", "found"}
)
_WRITES = frozenset(
    {"into", "update", "low_priority", "high_priority", "delayed", "ignore", "quick", "insert", "replace"}
)
_READ_ONLY = ("information_schema", "performance_schema", "sys")
# Columns of information_schema with the names of databases, each as a list of one word.
_SCHEMAS_OF = [
    [f"{kind}_schema"]
    for kind in (
        *("table", "constraint", "index", "routine", "trigger", "event_object", "event"),
        *("referenced_table", "unique_constraint"),
    )
] + [["schema_name"]]
_OF_ROWS = ("new", "old", "excluded")


def confine(script: Script, database: str, scratch: str) -> Confined:
    """Return a file of `database` as it runs in `scratch`, and what in it reaches beyond that."""
    findings: list[Finding] = []
    read = [_read(statement.source) for statement in script.statements]
    executes = any(map(prepares, read))

    def own(statement: Statement, tokens: list[Token]) -> Statement:
        cuts: list[Token] = [] if has_body(tokens) else [*_asked_for(tokens, database)]
        for token, finding in _reached(script, statement, tokens, database):
            if finding:
                findings.append(finding)
            else:
                cuts.append(token)
        cuts.sort(key=lambda token: token.start)
        return _renamed(statement, cuts, scratch) if cuts else statement

    statements: list[Statement] = []
    for statement, tokens in zip(script.statements, read, strict=True):
        if executes:
            findings += _executed(script, statement, tokens, database)
        if runs_a_body(tokens) and (why := why_unknown(tokens)[0]):
            findings.append(_finding(script, statement, tokens[0], f"it {why}", Reach.OTHER, _WRITE_IT))
        statements.append(own(statement, tokens))
    checks = Checks(*(tuple(own(one, _read(one.source)) for one in asked) for asked in script.checks))
    routines = tuple(filter(None, map(routine, read)))
    calls = partial(_calls, script, database)
    confined = replace(script, statements=tuple(statements), checks=checks)
    return Confined(confined, tuple(findings), routines, calls)


def refused_text(text: str, scratch: str) -> str:
    """Return what a text reaches beyond the copy in which it is about to be executed; '' if nothing."""
    if not (tokens := _read(text)):
        return ""
    statement = Statement(text, text, 0, 1, atomic=False)
    script = Script(File("", Path(), ""), text, (statement,), atomic=False)
    found = (one for _, one in _reached(script, statement, tokens, scratch) if one and one.reach is Reach.OTHER)
    return next((one.what for one in found), "")


def _read(source: str) -> list[Token]:
    """Return the tokens of a statement, with names for texts if one in double quotes has a dot beside it.

    Only with the sql_mode ANSI_QUOTES can it: these quotes are those of names then. Without it the server takes no such text.
    """
    tokens = tokens_of(source)
    if not any(
        token.text == "." and any(map(_in_double_quotes, tokens[max(0, at - 1) : at + 2]))
        for at, token in enumerate(tokens)
    ):
        return tokens
    return [replace(token, kind="quoted") if _in_double_quotes(token) else token for token in tokens]


def _in_double_quotes(token: Token) -> bool:
    return token.kind == "text" and token.text.startswith('"')


def _calls(
    script: Script, database: str, names: frozenset[str], executing: Mapping[str, frozenset[int]]
) -> Iterator[Finding]:
    """Yield where a file calls a procedure that executes what is in a table, or gives one a text that names a database."""
    for statement in script.statements:
        tokens = _read(statement.source)
        if not tokens or routine(tokens) or not (found := called(tokens)):
            continue
        for name in sorted(found & names):
            yield _finding(
                script,
                statement,
                tokens[0],
                f"{name}() executes a text that nobody can read before it runs",
                Reach.OTHER,
                _WRITE_IT,
            )
        if known := found & executing.keys():
            yield from _executed(script, statement, tokens, database)
            for given in arguments_of(tokens):
                if not are_settled(given):
                    what = "it gives a procedure that executes texts a value that only the server knows"
                    hint = "put the value into a variable first: SET @text = …"
                    yield _finding(script, statement, given[0], what, Reach.OTHER, hint)
            yield from _given_names(script, statement, tokens, {place for name in known for place in executing[name]})
            for token in tokens:
                if token.kind == "text" and name_of(token).lower() == database.lower():
                    what = f"it gives the name '{database}' to a procedure that executes texts"
                    yield _finding(script, statement, token, what, Reach.OTHER, "write DATABASE() in its place")


def _given_names(
    script: Script, statement: Statement, tokens: list[Token], places: Collection[int]
) -> Iterator[Finding]:
    """Yield the arguments of a CALL in these places that are not the database that it runs in."""
    arguments = arguments_of(tokens)
    for place in sorted(places):
        given = arguments[place : place + 1]
        if not given or not is_own_name(given[0]):
            token = given[0][0] if given and given[0] else tokens[0]
            what = "it gives the name of a database to a procedure that executes texts"
            yield _finding(script, statement, token, what, Reach.OTHER, "write DATABASE() in its place")


def _executed(script: Script, statement: Statement, tokens: list[Token], database: str) -> Iterator[Finding]:
    """Yield what texts reach that may be executed: in a file that prepares statements, those in its SET, PREPARE and bodies."""
    if tokens[0].text not in _PUTS_TOGETHER:
        return
    texts = [token for token in tokens if token.kind == "text"]
    parts = [(token, name_of(token)) for token in texts]
    if len(parts) > 1:
        parts.append((texts[0], joined(tokens)))
    told: set[str] = set()
    for place, text in parts:
        inner = _read(text)
        if not inner or inner[0].text not in _VERBS:
            continue
        for _, finding in _reached(script, replace(statement, source=text, body=text), inner, database):
            what, reach, hint = (
                (finding.what, finding.reach, finding.hint)
                if finding
                else (
                    f"it names the database '{database}'",
                    Reach.OTHER,
                    "leave the name out: it runs in the current one",
                )
            )
            if what not in told and reach is not Reach.MAY:
                told.add(what)
                yield _finding(script, statement, place, f"{what}, in a text that is executed", reach, hint)


def _renamed(statement: Statement, cuts: list[Token], scratch: str) -> Statement:
    """Return a statement with another database in the place of its own; its source stays what is in the file."""
    body = statement.body
    for token in reversed(cuts):
        mark = "'" if token.kind == "text" else "`"
        body = f"{body[: token.start]}{mark}{scratch.replace(mark, mark * 2)}{mark}{body[token.end :]}"
    return replace(statement, body=body)


def _asked_for(tokens: list[Token], database: str) -> Iterator[Token]:
    """Yield the texts by which a query asks information_schema for its own database: table_schema = 'shop'."""
    for at, token in enumerate(tokens):
        if token.kind != "text" or name_of(token).lower() != database.lower():
            continue
        before = [name_of(one).lower() for one in tokens[max(0, at - 3) : at]]
        after = [name_of(one).lower() for one in tokens[at + 1 : at + 5]]
        is_left = before[-1:] in (["="], ["like"]) and before[-2:-1] in _SCHEMAS_OF
        is_right = after[:1] == ["="] and (
            after[1:2] in _SCHEMAS_OF or (after[2:3] == ["."] and after[3:] in _SCHEMAS_OF)
        )
        if is_left or is_right or (before[1:] == ["in", "("] and before[:1] in _SCHEMAS_OF):
            yield token


def _reached(
    script: Script, statement: Statement, tokens: list[Token], database: str
) -> Iterator[tuple[Token, Finding | None]]:
    """Yield what a statement reaches with its token; None: it is its own database, by name."""
    words = [token.text if token.kind == "word" else "" for token in tokens]
    told: set[str] = set()
    for start, end in ((0, len(tokens)), *_inner(words, tokens)):
        for what, reach, hint in of_the_server(words[start:end], tokens[start:end]):
            if what not in told and (reach is not Reach.MAY or not start):
                told.add(what)
                yield tokens[start], _finding(script, statement, tokens[start], what, reach, hint)
    alone = {
        name_of(token).lower()
        for at, token in enumerate(tokens)
        if token.kind in ("word", "quoted")
        and not (at + 1 < len(tokens) and tokens[at + 1].text == ".")
        and not (at and tokens[at - 1].text == ".")
    }
    for at in range(len(tokens) - 2):
        first, dot, second = tokens[at : at + 3]
        if dot.text != "." or first.kind not in ("word", "quoted") or second.kind not in ("word", "quoted", "other"):
            continue
        if at and tokens[at - 1].text == ".":  # the second part of a.b.c
            continue
        name = name_of(first)
        lower = name.lower()
        if HOLE in name or OWN in name:  # what it is, is seen when it runs
            continue
        three = at + 3 < len(tokens) and tokens[at + 3].text == "."
        placed = at > 0 and (_is_place(words, tokens, at) or _in_list(words, tokens, at))
        if not (three or placed) and (lower in alone or lower in _OF_ROWS):
            continue
        if lower == database.lower():
            yield first, None
        elif lower in _READ_ONLY:
            reads = ("select", "set", "do", "insert", "create", "with", "update", "delete", "prepare", "if")
            written = words[at - 1] in _WRITES or (words[0] == "delete" and words[1:at] == ["from"])
            if words[0] not in reads or (at and written):
                yield (
                    first,
                    _finding(script, statement, first, f"it names the database '{name}'", Reach.OTHER, OUTSIDE),
                )
        else:
            hint = "what changes another database is a migration of that database"
            yield first, _finding(script, statement, first, f"it names the database '{name}'", Reach.OTHER, hint)


def _inner(words: list[str], tokens: list[Token]) -> Iterator[tuple[int, int]]:
    """Yield where the statements in the body of a routine, a trigger, an event or a block begin and end."""
    bodies = {"procedure", "function", "event", "trigger", "package"} & set(words[1:12])
    if words[0] not in ("begin", *COMPOUND) and not (words[0] in ("create", "alter") and bodies):
        return
    begins = [
        at for at in range(1, len(tokens)) if words[at] and (tokens[at - 1].text == ";" or words[at - 1] in _BEFORE)
    ]
    if {"procedure", "function"} & bodies:  # one statement, without BEGIN, after the parameters
        begins += [at for at in range(1, len(tokens)) if words[at] in _VERBS and tokens[at - 1].text != "."][:1]
    for at in sorted({*begins}):
        yield at, next((end for end in range(at, len(tokens)) if tokens[end].text == ";"), len(tokens))


def _is_place(words: list[str], tokens: list[Token], at: int) -> bool:
    """Whether a table is named here: not so in EXTRACT(YEAR FROM a.b), a LIKE b.c, ON DUPLICATE KEY UPDATE a.b = 1."""
    word = words[at - 1]
    if word not in _TABLE_FOLLOWS:
        return False
    if word == "like":
        return words[0] == "create"
    if word == "update":
        return words[at - 2] != "key" or at < 2
    if word == "from":
        depth = 0
        for back in range(at - 2, -1, -1):
            depth += (tokens[back].text == ")") - (tokens[back].text == "(")
            if depth < 0:
                return back == 0 or words[back - 1] not in _FROM_A_VALUE
    return True


def _in_list(words: list[str], tokens: list[Token], at: int) -> bool:
    """Whether a name stands behind a comma in a list of tables: FROM a, other.b and DROP TABLE a, other.b."""
    if tokens[at - 1].text != ",":
        return False
    return words[0] in ("drop", "rename", "lock", "truncate", "optimize", "analyze", "check", "flush")


def _finding(script: Script, statement: Statement, token: Token, what: str, reach: Reach, hint: str) -> Finding:
    where = Mark.at(script.file.path, script.text, statement.offset + token.start)
    return Finding(where, what, reach, hint)
