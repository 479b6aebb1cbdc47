"""Read any PostgreSQL statement into facts. What no rule and no table of what exists asks for gives none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

from orchestrator.analysis.alter_table import read_alter_table
from orchestrator.analysis.create_statements import read_create
from orchestrator.analysis.facts import Fact
from orchestrator.analysis.words import STRING, Words, identifier

_FIRST = re.compile(r"[A-Za-z]+")
_WRITES_WITHIN = re.compile(r"\b(?:DELETE\s+FROM|UPDATE|MERGE)\b", re.IGNORECASE)
_STARTS = ("BEGIN", "THEN", "ELSE", "LOOP", ";")  # after these a statement of a block begins


def read_statement(source: str, at: int = 0) -> list[Fact]:
    """Return the facts of one statement that begins at an offset of a text; their offsets are those of the text."""
    first = _FIRST.match(source, at)
    reader = _READERS.get(first[0].upper()) if first else None
    if reader is None:
        return []
    if first and first[0].upper() in ("WITH", "INSERT", "SELECT") and not _writes_within(source, at):
        return []
    words = Words(source, at)
    words.i = 1
    return list(reader(words, at))


def _writes_within(source: str, at: int) -> bool:
    """Whether a part of the statement may be a DELETE or an UPDATE. Files hold many thousands of INSERTs: first, the words."""
    lowered = source.lower()
    return ("delete" in lowered or "update" in lowered) and _WRITES_WITHIN.search(source, at) is not None


# ---------------------------------------------------------------- ALTER and DROP


def _alter(words: Words, at: int) -> Iterator[Fact]:
    if words.take("TABLE") or words.take("FOREIGN", "TABLE"):
        yield from read_alter_table(words, at)
    elif words.take("MATERIALIZED", "VIEW"):
        yield from read_alter_table(words, at, "materialized view")
    elif words.take("VIEW"):
        yield from read_alter_table(words, at, "view")
    elif words.take("DOMAIN"):
        yield _alter_domain(words, at)
    elif words.take("TYPE"):
        yield from _alter_type(words, at)
    elif kind := words.take_one(
        "INDEX", "SEQUENCE", "SCHEMA", "FUNCTION", "PROCEDURE", "TRIGGER", "POLICY", "RULE", "DATABASE", "ROLE", "USER"
    ):
        words.take("IF", "EXISTS")
        name = words.name()
        rest = words.rest()
        if "RENAME" in rest:
            yield Fact(
                "rename other",
                at,
                name=name,
                text=kind.lower(),
                others=(words.within(words.size - 1, words.size).name(),),
            )
        elif kind == "INDEX" and words.take("SET", "TABLESPACE"):
            yield Fact("index tablespace", at, name=name)


def _alter_domain(words: Words, at: int) -> Fact:
    name = words.name()
    if words.take("ADD"):
        rest = words.rest()
        valid = not any(pair == ("NOT", "VALID") for pair in pairwise(rest))
        return Fact("domain add", at, name=name, flags=frozenset({"valid"} if valid else ()))
    if words.take("VALIDATE"):
        return Fact("domain validate", at, name=name)
    if words.take("SET", "NOT", "NULL"):
        return Fact("domain not null", at, name=name)
    if words.take("RENAME", "TO"):
        return Fact("rename other", at, name=name, text="domain", others=(words.name(),))
    return Fact("domain other", at, name=name)


def _alter_type(words: Words, at: int) -> Iterator[Fact]:
    name = words.name()
    if words.take("ADD", "VALUE"):
        words.take("IF", "NOT", "EXISTS")
        value = words.literal(words.i) if words.peek() == STRING else ""
        yield Fact("add value", at, name=name, text=value)
    elif words.take("RENAME"):
        value = "type value" if words.take("VALUE") else "type attribute" if words.take("ATTRIBUTE") else "type"
        yield Fact("rename other", at, name=name, text=value, others=())


_DROPPED = [
    "TABLE",
    "SCHEMA",
    "DATABASE",
    "VIEW",
    "SEQUENCE",
    "INDEX",
    "TYPE",
    "DOMAIN",
    "FUNCTION",
    "PROCEDURE",
    "ROUTINE",
    "AGGREGATE",
    "EXTENSION",
    "TRIGGER",
    "RULE",
    "POLICY",
    "OWNED",
    "COLLATION",
    "OPERATOR",
    "SERVER",
    "LANGUAGE",
    "CAST",
    "ROLE",
    "USER",
    "STATISTICS",
    "PUBLICATION",
]


def _drop(words: Words, at: int) -> Iterator[Fact]:
    if words.take("MATERIALIZED", "VIEW"):
        kind = "materialized view"
    else:
        words.take("FOREIGN")
        kind = words.take_one(*_DROPPED).lower()
    if not kind:
        return
    flags = {"cascade"} if "CASCADE" in words.rest() else set()
    if words.take("CONCURRENTLY"):
        flags.add("concurrently")
    if words.take("IF", "EXISTS"):
        flags.add("if exists")
    if kind == "owned":
        words.take("BY")
    if kind in ("trigger", "rule", "policy"):
        name = words.name()
        words.take("ON")
        yield Fact(f"drop {kind}", at, words.name(), name, frozenset(flags))
        return
    yield Fact(f"drop {kind}", at, flags=frozenset(flags), others=tuple(words.names()))


# ---------------------------------------------------------------- rows


def _update(words: Words, at: int) -> Iterator[Fact]:
    words.take("ONLY")
    table = words.name()
    words.take("*")
    yield Fact("update", at, table, words=tuple(words.rest()), flags=_condition(words, ("FROM",)))


def _delete(words: Words, at: int) -> Iterator[Fact]:
    words.take("FROM")
    words.take("ONLY")
    table = words.name()
    limited = "LIMIT" in words.rest()  # which MySQL and SQLite know
    yield Fact("delete", at, table, flags=frozenset() if limited else _condition(words, ("USING",)))


_COMPARES = frozenset(
    ("IS", "IN", "LIKE", "ILIKE", "BETWEEN", "EXISTS", "NOT", "ANY", "OR", "NULL", "TRUE", "FALSE", "<", ">", STRING)
)
_ENDS = ("RETURNING",)
_LIMITS = frozenset(("LIMIT", "FETCH"))


def _condition(words: Words, joins: tuple[str, ...]) -> frozenset[str]:
    """Say of an UPDATE or DELETE whether it changes `all` rows, or those that it `joins`."""
    depth, where, flags, end = 0, -1, set(), words.size
    for i in range(words.i, words.size):
        word = words.words[i]
        depth += (word == "(") - (word == ")")
        if depth < 0:
            end = min(end, i)
            break
        if depth:
            continue
        if word in joins:
            flags.add("joined")
        elif word == "WHERE" and where < 0:
            where = i + 1
        elif word in _ENDS:
            end = min(end, i)
    condition = [word for word in words.words[where:end] if word not in "()"] if where >= 0 else []
    if where < 0 or condition in (["TRUE"], ["1", "=", "1"]):
        return frozenset(("all",)) if "joined" not in flags or where >= 0 else frozenset(("all", "joined"))
    if flags and _LIMITS & set(words.words[:end]):
        return frozenset(("joined",))  # a batch
    if "joined" in flags and not any(word in _COMPARES or word[0].isdigit() for word in condition):
        return frozenset(("joined", "joins alone"))
    return frozenset(flags)


def _merge(words: Words, at: int) -> Iterator[Fact]:
    """MERGE changes every row that it finds in the other table, unless WHEN MATCHED has a condition of its own."""
    words.take("INTO")
    words.take("ONLY")
    table, rest = words.name(), words.rest()
    changes = any(rest[i : i + 4] == ["WHEN", "MATCHED", "THEN", "UPDATE"] for i in range(len(rest)))
    if changes and not _LIMITS & set(words.words[: words.size]):
        yield Fact("update", at, table, flags=frozenset(("joined", "joins alone")))


def _explain(words: Words, at: int) -> Iterator[Fact]:
    """EXPLAIN ANALYZE runs its statement."""
    runs = _bracket_has(words, "ANALYZE")
    while word := words.take_one("ANALYZE", "ANALYSE", "VERBOSE"):
        runs = runs or word != "VERBOSE"
    if runs:
        yield from (replace(fact, at=at) for fact in read_statement(words.source, words.at))


def _with(words: Words, at: int) -> Iterator[Fact]:
    """Find the UPDATE and DELETE of WITH, at the top level and as its parts."""
    depth = 0
    for i in range(1, words.size):
        word = words.words[i]
        depth += (word == "(") - (word == ")")
        before = words.words[i - 1]
        begins = (depth and before == "(" and _is_with_part(words, i)) or (not depth and before == ")")
        if begins and (read := {"UPDATE": _update, "DELETE": _delete, "MERGE": _merge}.get(word)):
            yield from read(words.within(i + 1, words.size), at)


def _is_with_part(words: Words, i: int) -> bool:
    before = [word for word in words.words[max(0, i - 4) : i - 1] if word not in ("NOT", "MATERIALIZED")]
    return before[-1:] == ["AS"]


def _truncate(words: Words, at: int) -> Iterator[Fact]:
    words.take("TABLE")
    flags = frozenset({"cascade"} if "CASCADE" in words.rest() else ())
    yield Fact("truncate", at, others=tuple(words.names()), flags=flags)


# ---------------------------------------------------------------- the rest


def _bracket_has(words: Words, option: str) -> bool:
    """Whether a bracket of options, at the cursor, turns this one on."""
    if not words.any_of("("):
        return False
    start, end = words.group()
    for first, last in words.parts(start, end):
        given = words.words[first:last]
        if given[:1] == [option]:
            value = given[1] if len(given) > 1 else "TRUE"
            return value not in ("FALSE", "OFF", "0")
    return False


def _reindex(words: Words, at: int) -> Iterator[Fact]:
    flags = {"concurrently"} if _bracket_has(words, "CONCURRENTLY") else set()
    kind = words.take_one("TABLE", "INDEX", "SCHEMA", "DATABASE", "SYSTEM").lower()
    if words.take("CONCURRENTLY"):
        flags.add("concurrently")
    yield Fact("reindex", at, name=words.name(), text=kind, flags=frozenset(flags))


def _vacuum(words: Words, at: int) -> Iterator[Fact]:
    full = _bracket_has(words, "FULL")
    while word := words.take_one("FULL", "FREEZE", "VERBOSE", "ANALYZE"):
        full = full or word == "FULL"
    if full:
        yield Fact("vacuum full", at, words.name() if not words.done else "")


def _cluster(words: Words, at: int) -> Iterator[Fact]:
    if words.any_of("("):
        words.group()
    words.take("VERBOSE")
    first = words.name() if not words.done else ""
    if words.take("ON"):  # CLUSTER index ON table, of old
        first = words.name()
    yield Fact("cluster", at, first)


def _refresh(words: Words, at: int) -> Iterator[Fact]:
    words.take("MATERIALIZED", "VIEW")
    flags = {"concurrently"} if words.take("CONCURRENTLY") else set()
    table = words.name()
    rest = words.rest()
    if rest[:3] == ["WITH", "NO", "DATA"]:
        flags.add("no data")
    yield Fact("refresh", at, table, flags=frozenset(flags))


def _lock(words: Words, at: int) -> Iterator[Fact]:
    words.take("TABLE")
    names = []
    while not words.done:
        words.take("ONLY")
        names.append(words.name())
        words.take("*")
        if not words.take(","):
            break
    rest = words.rest()
    mode = " ".join(rest[1 : rest.index("MODE")]) if rest[:1] == ["IN"] and "MODE" in rest else "ACCESS EXCLUSIVE"
    yield Fact("lock", at, others=tuple(names), text=mode)


def _set(words: Words, at: int) -> Iterator[Fact]:
    words.take_one("LOCAL", "SESSION")
    if words.take("SEARCH_PATH") and words.take_one("=", "TO"):
        yield Fact("search path", at, others=tuple(_schemas(words)))
    elif words.take("TIME", "ZONE") or (words.take("TIMEZONE") and words.take_one("=", "TO")):
        value = words.literal(words.i) if words.peek() == STRING else words.peek()
        yield Fact("time zone", at, text=value.upper())


def _schemas(words: Words) -> Iterator[str]:
    """Return the schemas of SET search_path, in which a name may also be a literal; none for DEFAULT."""
    for first, last in words.parts(words.i, words.size):
        name = identifier(f'"{words.literal(first)}"') if words.words[first] == STRING else ""
        name = name or words.within(first, last).name()
        if name not in ("default", '"$user"', '""'):
            yield name


def _do(words: Words, at: int) -> Iterator[Fact]:
    """Find in the body of a DO what it runs: plain statements, EXECUTE of a literal, EXECUTE of what is put together."""
    for i in range(1, words.size):
        if words.words[i] != STRING or words.words[i - 1] == "LANGUAGE":
            continue
        body = words.literal(i)
        inner = Words(body)
        for n, word in enumerate(inner.words):
            if n and inner.words[n - 1] not in _STARTS:
                continue
            if word == "EXECUTE":
                yield from _executed(inner, n, at)
            elif word in _READERS and word not in ("DO", "SELECT", "BEGIN", "SET"):
                end = next((k for k in range(n, inner.size) if inner.words[k] == ";"), inner.size)
                start = inner.ats[n]
                stop = inner.ats[end] if end < inner.size else len(body)
                yield from (replace(fact, at=at) for fact in read_statement(body[start:stop]))


def _executed(inner: Words, n: int, at: int) -> Iterator[Fact]:
    literal = n + 1 < inner.size and inner.words[n + 1] == STRING
    ends = n + 2 >= inner.size or inner.words[n + 2] in (";", "USING", "INTO")
    if literal and ends:
        yield from (replace(fact, at=at) for fact in read_statement(inner.literal(n + 1).strip()))
    else:
        yield Fact("dynamic", at)


_READERS: dict[str, Callable[[Words, int], Iterator[Fact]]] = {
    "CREATE": read_create,
    "ALTER": _alter,
    "DROP": _drop,
    "UPDATE": _update,
    "DELETE": _delete,
    "WITH": _with,
    "INSERT": _with,
    "SELECT": _with,
    "MERGE": _merge,
    "EXPLAIN": _explain,
    "TRUNCATE": _truncate,
    "REINDEX": _reindex,
    "VACUUM": _vacuum,
    "CLUSTER": _cluster,
    "REFRESH": _refresh,
    "LOCK": _lock,
    "SET": _set,
    "DO": _do,
}
