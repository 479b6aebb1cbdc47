"""Read any PostgreSQL statement into facts. What no rule and no table of what exists asks for gives none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from orchestrator.analysis.alter_and_drop import read_alter, read_drop
from orchestrator.analysis.changed_rows import read_delete, read_merge, read_truncate, read_update, read_with
from orchestrator.analysis.create_statements import read_create
from orchestrator.analysis.facts import Fact
from orchestrator.analysis.functions import STEADY, VOLATILE
from orchestrator.analysis.words import STRING, Words, calls, identifier
from orchestrator.records import replace

_FIRST = re.compile(r"(?P<brackets>[( \t\n\r\f\v]*)(?P<word>[A-Za-z]+)")
# Of what is selected nothing is asked: the first words name the view.
_CREATES_VIEW = re.compile(r"CREATE\s+(?:OR\s+REPLACE\s+)?(?:MATERIALIZED\s+)?VIEW\b", re.IGNORECASE)
_ENOUGH = 24
_WRITES_WITHIN = re.compile(r"\b(?:DELETE\s+FROM|UPDATE|MERGE)\b", re.IGNORECASE)
_HOLD_WRITES = ("WITH", "INSERT", "SELECT", "COPY", "PREPARE")  # there are thousands of them: first, two words
_STARTS = ("BEGIN", "THEN", "ELSE", "LOOP", ";")  # after these a statement of a block begins


def read_statement(source: str, at: int = 0, *, keeps_public: bool = False) -> list[Fact]:
    """Return the facts of one statement that begins at an offset of a text; their offsets are those of the text.

    `keeps_public`: the schema of `public.x` is part of the name.
    """
    first = _FIRST.match(source, at)
    kind = first["word"].upper() if first else ""
    if first and first["brackets"]:
        kind = "WITH" if kind in ("WITH", "SELECT") else ""
    reader = _READERS.get(kind)
    if reader is None:
        return []
    if kind in _HOLD_WRITES and not _writes_within(source, at):
        return []
    limit = _ENOUGH if kind == "CREATE" and _CREATES_VIEW.match(source, at) else 0
    words = Words(source, at, keeps_public=keeps_public, limit=limit)
    words.i = 1
    return list(reader(words, at))


def _writes_within(source: str, at: int) -> bool:
    """Whether a part of the statement may be a DELETE or an UPDATE. Files hold many thousands of INSERTs: first, the words."""
    lowered = source.lower()
    return ("delete" in lowered or "update" in lowered) and _WRITES_WITHIN.search(source, at) is not None


def _explain(words: Words, at: int) -> Iterator[Fact]:
    """EXPLAIN ANALYZE runs its statement."""
    runs = _bracket_has(words, "ANALYZE")
    while word := words.take_one("ANALYZE", "ANALYSE", "VERBOSE"):
        runs = runs or word != "VERBOSE"
    if runs:
        yield from (replace(fact, at=at) for fact in read_statement(words.source, words.at))


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
        yield from _read_body(words.literal(i), at)


def _read_body(body: str, at: int) -> Iterator[Fact]:
    """Yield what the body of a block or a function runs; its facts stand at the offset of whoever runs it."""
    inner = Words(body)
    for n, word in enumerate(inner.words):
        if n and inner.words[n - 1] not in _STARTS:
            continue
        if word == "EXECUTE":
            yield from _executed(inner, n, at)
        elif word in _READERS and word not in ("DO", "SELECT", "BEGIN", "SET", "COPY", "PREPARE"):
            end = next((k for k in range(n, inner.size) if inner.words[k] == ";"), inner.size)
            start = inner.ats[n]
            stop = inner.ats[end] if end < inner.size else len(body)
            yield from (replace(fact, at=at) for fact in read_statement(body[start:stop]))


def read_calls(source: str, bodies: Mapping[str, str]) -> list[Fact]:
    """Return what the functions and procedures run that a SELECT or a CALL calls, by their bodies."""
    first = _FIRST.match(source)
    if first is None or first["word"].upper() not in ("SELECT", "CALL") or not any(name in source for name in bodies):
        return []
    called = dict.fromkeys(name for name in calls(Words(source).words) if name in bodies)
    return [fact for name in called for fact in _read_body(bodies[name], 0)]


def calls_unknown(source: str) -> bool:
    """Whether a SELECT or a CALL calls what PostgreSQL does not bring: only earlier files tell what that runs."""
    first = _FIRST.match(source)
    if first is None or first["word"].upper() not in ("SELECT", "CALL"):
        return False
    return any(name not in STEADY and name not in VOLATILE for name in calls(Words(source).words))


def _executed(inner: Words, n: int, at: int) -> Iterator[Fact]:
    literal = n + 1 < inner.size and inner.words[n + 1] == STRING
    ends = n + 2 >= inner.size or inner.words[n + 2] in (";", "USING", "INTO")
    if literal and ends:
        yield from (replace(fact, at=at) for fact in read_statement(inner.literal(n + 1).strip()))
    else:
        yield Fact("dynamic", at)


def _prepare(words: Words, at: int) -> Iterator[Fact]:
    """What is prepared is taken as run: nobody prepares what a file does not execute."""
    while not words.done and not words.take("AS"):
        words.i += 1
    if not words.done:
        yield from (replace(fact, at=at) for fact in read_statement(words.source, words.at))


_READERS: dict[str, Callable[[Words, int], Iterator[Fact]]] = {
    "CREATE": read_create,
    "ALTER": read_alter,
    "DROP": read_drop,
    "UPDATE": read_update,
    "DELETE": read_delete,
    "WITH": read_with,
    "INSERT": read_with,
    "SELECT": read_with,
    "COPY": read_with,
    "PREPARE": _prepare,
    "MERGE": read_merge,
    "EXPLAIN": _explain,
    "TRUNCATE": read_truncate,
    "REINDEX": _reindex,
    "VACUUM": _vacuum,
    "CLUSTER": _cluster,
    "REFRESH": _refresh,
    "LOCK": _lock,
    "SET": _set,
    "DO": _do,
}
