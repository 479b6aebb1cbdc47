"""Read a PostgreSQL migration file: where each statement begins and ends, and what may run in a transaction.

First the text is cut at its top-level semicolons, by the rules of PostgreSQL's own scanner. Then each statement's
words are looked at: does it steer a transaction, and can it run inside one? Last, the file's own BEGIN … COMMIT is
taken away, because whoever runs the file opens the transaction.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

from orchestrator.engines.directives import are_in, read_directives
from orchestrator.engines.postgres.inserts import Finder
from orchestrator.engines.postgres.literals import refuse_changed_literals
from orchestrator.engines.postgres.pieces import Block, flat, one_by_one, pieces
from orchestrator.engines.postgres.sql_reader import Reader
from orchestrator.model import Checks, Directive, File, Inserts, Script, Statement, Statements
from orchestrator.patterns import regex
from orchestrator.records import replace

# ---------------------------------------------------------------- what statements mean, in words as `Reader.words` spells them

_OFF = "'?(?:FALSE|OFF|0)'? "
_NAMED = r"\S+ (?:\. \S+ )*"

_TWO_WORDS = regex(r"([A-Za-z]++)[ \t\n\r]++([A-Za-z_]++)(?=[ \t\n\r;(,.])")
# The beginnings that need a closer look; everything else, INSERT above all, is done with its first words.
_TELLING = regex(
    "(?:ABORT|BEGIN|CLUSTER|COMMIT|COPY|DISCARD|END|PREPARE|REINDEX|ROLLBACK|START|VACUUM) |"
    "ALTER (?:DATABASE|SUBSCRIPTION|SYSTEM|TABLE) |"
    "(?:CREATE|DROP) (?:DATABASE|INDEX|SUBSCRIPTION|TABLESPACE|UNIQUE) "
)
# Of these only CONCURRENTLY is telling.
_PERHAPS_CONCURRENTLY = regex(r"(?:ALTER\s+TABLE|(?:CREATE|DROP)\s+(?:INDEX|UNIQUE)|CREATE\s+TABLE)\s", re.IGNORECASE)
# Every call of PreventInTransactionBlock in PostgreSQL 12 to 18 whose reason can be read in the statement itself.
_ALONE = regex(
    "|".join(
        (
            r"(?:VACUUM|ALTER SYSTEM|DROP SUBSCRIPTION|(?:COMMIT|ROLLBACK) PREPARED) ",
            r"(?:CREATE|DROP) (?:DATABASE|TABLESPACE) ",
            r"ALTER DATABASE \S+ SET TABLESPACE ",
            r"(?:CREATE (?:UNIQUE )?|DROP )INDEX CONCURRENTLY ",
            r"REINDEX (?:\( [^()]*\) )?(?:DATABASE|SYSTEM|SCHEMA|(?:TABLE|INDEX) CONCURRENTLY) ",
            rf"REINDEX \( (?:[^()]*, )?CONCURRENTLY (?!{_OFF})",
            r"CLUSTER (?:VERBOSE )?(?:\( [^()]*\) )?$",
            rf"ALTER TABLE (?:IF EXISTS )?(?:ONLY )?{_NAMED}(?:\* )?DETACH PARTITION {_NAMED}CONCURRENTLY ",
            rf"CREATE SUBSCRIPTION (?!.* (?:CONNECT|CREATE_SLOT) = {_OFF})",
            rf"ALTER SUBSCRIPTION \S+ (?:REFRESH |(?:SET|ADD|DROP) PUBLICATION (?!.* REFRESH = {_OFF}))",
            r"ALTER SUBSCRIPTION \S+ SET \( (?:.*, )?(?:FAILOVER|TWO_PHASE) ",
        )
    )
)
_BEGIN = regex(r"(?:BEGIN (?:WORK |TRANSACTION )?|START TRANSACTION )(?P<modes>.*)")
_COMMIT = regex(r"(?:COMMIT|END) (?:WORK |TRANSACTION )?(?:AND NO CHAIN )?$")
_FORBIDDEN = tuple(
    (regex(words), f"{what} cannot be used in a migration", hint)
    for words, what, hint in (
        (
            rf"COPY (?:BINARY )?{_NAMED}(?:\( [^()]*\) )?FROM STDIN ",
            "COPY … FROM stdin",
            "write the rows as INSERT, or copy from a file on the server",
        ),
        (
            rf"COPY (?:(?:BINARY )?{_NAMED}(?:\( [^()]*\) )?|\( .*\) )TO STDOUT ",
            "COPY … TO stdout",
            "remove it: nobody reads its output",
        ),
        (
            r"SELECT .*\bPG_ADVISORY_UNLOCK_ALL \(",
            "pg_advisory_unlock_all",
            "remove it: it would give the migration lock away",
        ),
        (
            r"DISCARD ALL ",
            "DISCARD ALL",
            "remove it: it would give the migration lock away, and orch resets the session after every file",
        ),
        (
            r"(?:ROLLBACK|ABORT) (?:WORK |TRANSACTION )?+(?!TO |PREPARED )",
            "ROLLBACK",
            "remove it: a migration that fails is rolled back as a whole (ROLLBACK TO a savepoint is fine)",
        ),
        (
            r"(?:COMMIT|END) (?:WORK |TRANSACTION )?AND CHAIN ",
            "COMMIT AND CHAIN",
            "write COMMIT, and BEGIN where the next transaction starts",
        ),
        (
            r"PREPARE TRANSACTION ",
            "PREPARE TRANSACTION",
            "end the block with COMMIT: a prepared transaction would stay open",
        ),
    )
)
_DURATION = regex(r"([0-9]+(?:\.[0-9]+)?)[ \t]*(ms|s|m|min|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_LONGEST = (2**31 - 1) / 1000  # the server counts milliseconds in 32 bits
REPLACES = "replaces"
_CHECKS = ("require", "ensure")
_DIRECTIVES = ("no-transaction", "lock_timeout", "lock_try", "statement_timeout", "allow", REPLACES, *_CHECKS)
_EXAMPLE = "SELECT count(*) = 0 FROM orders"
_QUERY = regex(r"(?:SELECT|WITH|VALUES|TABLE|\() ")

# ---------------------------------------------------------------- from text to Script


def parse_sql(file: File, text: str, *, piecewise: bool = False) -> Script:
    """Parse a PostgreSQL migration; InvalidError tells line and column of what cannot be run.

    A body is its source, but for a BEGIN that asked for modes and whose block is the whole file: it became
    `SET TRANSACTION …`, which must be the transaction's first query. Of several blocks it is in the settings.
    `piecewise`: every statement commits by itself, as after the directive no-transaction.
    """
    reader = Reader(file.path, text)
    if (nul := text.find("\0")) >= 0:
        raise reader.error("NUL character", nul, "save the file as UTF-8 text: PostgreSQL takes no NUL in a statement")
    given = tuple(directives(reader)) if are_in(text) else ()
    limits, checks = _read(reader, given)
    groups = list(_groups(reader))
    refuse_changed_literals(reader, lambda: [one for group in groups for one in one_by_one(flat(group))])
    blocks = [group for group in groups if isinstance(group, Block)]
    piecewise = piecewise or "no-transaction" in limits
    if len(groups) == len(blocks) == 1 and not piecewise:
        groups = list(blocks[0].unwrapped())
    else:
        piecewise = piecewise or bool(blocks)
    together = [] if piecewise else [group for group in groups if not isinstance(group, Block)]
    atomic = not piecewise and len(together) == len(groups)
    atomic = atomic and all(isinstance(group, Inserts) or group.atomic for group in together)
    if atomic and any(isinstance(group, Inserts) for group in together):
        statements: Sequence[Statement] = Statements(together)
    else:
        statements = tuple(one_by_one(together) if atomic else pieces(groups, text))
    return Script(
        file,
        text,
        statements,
        atomic=atomic,
        lock_timeout=limits.get("lock_timeout"),
        lock_try=limits.get("lock_try"),
        statement_timeout=limits.get("statement_timeout"),
        checks=checks,
        directives=given,
    )


def _cut(reader: Reader, runs: Finder) -> Iterator[tuple[int, int] | tuple[Inserts, int]]:
    """Yield the bounds of each statement, and long runs of INSERTs with where they end."""
    at = reader.first()
    while True:
        for start, end in reader.statements(at):
            if found := runs.run(start):
                yield found
                at = reader.after_blank(found[1])
                break
            yield start, end
        else:
            return


def _groups(reader: Reader) -> Iterator[Statement | Inserts | Block]:
    """Yield what the file holds at its top: statements, and BEGIN … COMMIT blocks of statements."""
    text, block = reader.text, None
    lowered = text.lower()
    directed = "orch:" in lowered
    unlocks, concurrently = "pg_advisory_unlock_all" in lowered, "concurrently" in lowered
    del lowered  # of a large file it is as large as the text
    line, counted, before = 1, 0, reader.first()
    for found, end in _cut(reader, Finder(text)):
        start = found.starts[0] if isinstance(found, Inserts) else found
        if directed and text.find("--", before, end) >= 0:
            _refuse_late_directive(reader, before, end)
        line, counted, before = line + text.count("\n", counted, start), start, end
        if isinstance(found, Inserts):
            found.line = line
            if block:
                block.statements.append(found)
            else:
                yield found
            continue
        words = ""
        if unlocks or (
            text[start] in "aAbBcCdDeEpPrRsSvV"
            and (concurrently or not _PERHAPS_CONCURRENTLY.match(text, start))
            and _TELLING.match(_first_two(reader, start, end))
        ):
            words = reader.words(start, end=end)
            _refuse_forbidden(reader, start, words)
        source = text[start:end]
        statement = Statement(source, source, start, line, atomic=not (words and _ALONE.match(words)))
        if words and (begin := _BEGIN.match(words)):
            if block:
                hint = "add COMMIT before it; inside of a transaction use SAVEPOINT"
                raise reader.error(f"BEGIN inside the transaction that begins in line {block.begin.line}", start, hint)
            block = Block(statement, begin["modes"].strip())
            if "READ ONLY" in block.modes:
                raise reader.error("a READ ONLY transaction cannot record the migration", start, "remove READ ONLY")
        elif words and _COMMIT.match(words):
            if block is None:
                raise reader.error("COMMIT without BEGIN", start, "remove it, or add BEGIN before the first statement")
            yield block
            block = None
        elif block is None:
            yield statement
        elif statement.atomic or words.startswith("DROP SUBSCRIPTION "):  # legal once its slot is taken away
            block.statements.append(statement if statement.atomic else replace(statement, atomic=True))
        else:
            raise reader.error(
                "this statement cannot run between BEGIN and COMMIT",
                start,
                "move it out of the block, best into a migration of its own",
                "PostgreSQL refuses it inside a transaction block (SQLSTATE 25001)",
            )
    if directed:
        _refuse_late_directive(reader, before, len(text))
    if block:
        raise reader.error("BEGIN without COMMIT", block.begin.offset, "add COMMIT; at the end, or remove BEGIN")


def _refuse_forbidden(reader: Reader, start: int, words: str) -> None:
    for pattern, what, hint in _FORBIDDEN:
        if pattern.match(words):
            raise reader.error(what, start, hint)


def _first_two(reader: Reader, start: int, end: int) -> str:
    """Return the first two words of a statement as `Reader.words` spells them, in the ordinary case without its work."""
    if found := _TWO_WORDS.match(reader.text, start, end):
        return f"{found[1]} {found[2]} ".upper()
    return reader.words(start, 2, end)


def _read(reader: Reader, given: Iterable[Directive]) -> tuple[dict[str, float], Checks]:
    """Return what the directives of a file set, durations in seconds, 0 for `none`, and what they ask."""
    found: dict[str, float] = {}
    asked: dict[str, list[Statement]] = {name: [] for name in _CHECKS}
    for directive in given:
        name, value, place = directive.name, directive.value, directive.name_at
        if name not in _DIRECTIVES:
            near = get_close_matches(name, _DIRECTIVES, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(_DIRECTIVES)}"
            raise reader.error(f"unknown directive '{name}'", place, hint)
        if name == "allow":  # read and judged by orch lint: a migration runs whatever it says
            continue
        if name in _CHECKS:
            asked[name].append(_check(reader, directive, name))
            continue
        if name in found:
            raise reader.error(f"directive '{name}' is given twice", place, "remove one of them")
        found[name] = _value(reader, directive, place, name, value)
    before, after = asked.values()
    return found, Checks(tuple(before), tuple(after))


def _check(reader: Reader, directive: Directive, name: str) -> Statement:
    """Return the query of a directive `require` or `ensure`; InvalidError if it is not one query."""
    place, example = directive.value_at, f"write for example: -- orch: {name} {_EXAMPLE}"
    if directive.equals or not directive.value:
        raise reader.error(f"{name} needs a query", directive.name_at, example)
    # The rest of the file is blanked out, so that places stay as they are.
    before = re.sub(r"[^\n]", " ", reader.text[:place])
    line = Reader(reader.path, before + reader.text[place : directive.end])
    found = list(line.statements())
    if len(found) != 1:
        raise reader.error(f"{name} takes one query", place, example)
    start, end = found[0]
    words = line.words(start, end=end)
    if not _QUERY.match(words):
        raise reader.error(f"{name} takes a query, and this is none", start, example)
    _refuse_forbidden(reader, start, words)
    source = line.text[start:end]
    check = Statement(source, source, start, before.count("\n") + 1, atomic=True)
    from orchestrator.engines.postgres.reach import acts_outside  # only files with checks come here

    if what := acts_outside(check):
        raise reader.error(f"{name} must not change anything: {what} acts outside of the transaction", start, example)
    return check


def directives(reader: Reader) -> Iterator[Directive]:
    """Yield the `-- orch:` lines above the first statement."""
    first = reader.first()
    return read_directives(reader.text, reader.line_comments(1 if reader.text.startswith("\ufeff") else 0, first))


def _value(reader: Reader, directive: Directive, place: int, name: str, value: str) -> float:
    if name == "no-transaction":
        if directive.equals or value:
            raise reader.error("no-transaction takes no value", place, "write: -- orch: no-transaction")
        return 0.0
    if name == REPLACES:
        return 0.0  # versions, which whoever reads all files of a database understands
    duration = _DURATION.fullmatch(value)
    seconds = float(duration[1]) * _SECONDS[duration[2]] if duration else 0.0
    if value != "none" and not 0.001 <= seconds <= _LONGEST:
        hint = f"write for example {name}=500ms, 30s, 5m or 1h (at most 596h), or none"
        raise reader.error(f"'{value}' is no duration for {name}", place, hint)
    return seconds


def _refuse_late_directive(reader: Reader, start: int, end: int) -> None:
    for late in read_directives(reader.text, reader.line_comments(start, end)):
        hint = "move it to the top of the file, above the first statement"
        raise reader.error("an orch directive below the first statement has no effect", late.start, hint)
