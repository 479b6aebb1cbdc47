"""Find statements that reach beyond their own database: the server, its files, another database.

First, spell each statement: words in lower case with one space between them, names in double quotes, texts as `''`, no
comments. Then hold the rules against it, each at the beginning of a statement; calls of functions count anywhere. A DO
block is read like a file, with the texts that it executes. The body of a function runs later, if ever: what is found there
may happen, and does where a file calls the function.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial

from orchestrator.engines.base import Confined, Finding, Reach, Routine
from orchestrator.engines.postgres.dynamic_sql import HOLE, executed, is_opaque
from orchestrator.engines.postgres.languages import ALIASES, is_other, language_of, leaves, quoted
from orchestrator.engines.postgres.reach_rules import CALLS, FORBIDDEN_NAME, OUTSIDE, RULES, WRITES_SHARED
from orchestrator.engines.postgres.spelling import Spelled, spell
from orchestrator.model import Mark, Script, Statement

_BEGINS = re.compile(r"(?:^|(?<=; )|(?<=begin )|(?<=then )|(?<=else )|(?<=loop )|(?<=> > )|(?<=atomic ))")
# What stands for the name of the database that the statement runs in: text put together with current_database().
_HOLE = re.compile(rf'\bdatabase(?: "?[%{HOLE}].*| "?\s*)?$')
_SEES_ITSELF = re.compile(r"\b(?:current_database|current_catalog)\b", re.IGNORECASE)
UNKNOWN = "EXECUTE of a text that only the server knows"
# Functions of PostgreSQL, and of extensions that it comes with, that execute a text.
_EXECUTERS = {"query_to_xml", "query_to_xmlschema", "query_to_xml_and_xmlschema", "ts_stat", "ts_rewrite"}
_EXECUTERS |= {"crosstab", "crosstab2", "crosstab3", "crosstab4"}
# Where a name with a bracket behind it is no call: it is made, named or written to.
_NO_CALL = re.compile(
    r"\b(?:into|references|table|view|exists|copy|function|procedure|aggregate)(?: only)? "
    r'(?:(?:"[^"]*"|[^\s"(),.]+) \. )*$'
)
_NO_ROUTINE = re.compile(_NO_CALL.pattern.replace("|function|procedure|aggregate", ""))  # a trigger calls its function
_NAMES_ONLY = re.compile(
    r"(?:grant|revoke|comment on|drop|security label|alter (?:function|procedure|routine|extension))\b"
)
_RENAMED = re.compile(
    r'alter (?:function|procedure|routine) (?:(?:"[^"]*"|[^\s"(),.;]+) \. )?("[^"]*"|[^\s"(),.;]+) [^;]*?\brename to '
)
_ROUTINE = re.compile(r"create (?:or replace )?(?:function|procedure|aggregate)\b")
_ASIDE = r"(?>\s+|--[^\n]*\n|/\*.*?\*/)"
_MAKES_ROUTINE = re.compile(
    rf"{_ASIDE}*create{_ASIDE}+(?:or{_ASIDE}+replace{_ASIDE}+)?(?:function|procedure|aggregate)\b",
    re.IGNORECASE | re.DOTALL,
)
# What these are made of is called without a bracket behind its name: SFUNC = f.
_MADE_OF_FUNCTIONS = re.compile(r"create (?:or replace )?(?:aggregate|operator|cast)\b")
_ASSIGNED = re.compile(r'= (?:(?:"[^"]*"|[^\s"(),.]+) \. )?("[^"]*"|[^\s"(),.;]+) (?=[,)])')
# A call to which something is given that a table holds.
_GIVES_UNKNOWN = re.compile(r"\((?:(?!\) [;,]).){0,4000}?\b(?:select|from)\b")
_LINKS = re.compile(r'\bcreate\s+extension\s+(?:if\s+not\s+exists\s+)?"?dblink\b', re.IGNORECASE)
_CALLED = re.compile(r'("[^"]*"|[^\s"(),.;]+) (?=\()')
_ROUTINE_NAME = re.compile(rf'{_ROUTINE.pattern} (?:(?:"[^"]*"|[^\s"(),.;]+) \. )?("[^"]*"|[^\s"(),.;]+) (?=\()')
_BLOCK = re.compile(r"do\b")
_LOOK_BACK = 200  # characters before a place that tell what stands there
_JOIN = re.compile(r"'' \| ?\| ")  # between two texts, as they are spelled
_RAISE = re.compile(r"\braise (?:[a-z]+ )?$")
# What begins with none of these words, INSERT above all, can only reach further by what it calls or writes to.
_FIRST = re.compile(
    r"(?:alter|begin|checkpoint|comment|copy|create|do|drop|grant|import|load|reassign|reindex|revoke|security|start)\b",
    re.IGNORECASE,
)
_TELLING = re.compile(
    r'\b(?:cron|dblink|lo_[ie]|pg_|query_to_|ts_[rs]|crosstab|http_|net\b|aws_|pglogical|bdr)|\bU&"', re.IGNORECASE
)


def confine(script: Script) -> Confined:
    """Return the file as it is: PostgreSQL's files name no database that could be exchanged."""
    found: list[Finding] = []
    routines: list[Routine] = []
    for statement in _all(script):
        if _MAKES_ROUTINE.match(statement.source) and (routine := _routine(statement)):
            routines.append(routine)
        if _FIRST.match(statement.source) or _TELLING.search(statement.source):
            found += [_finding(script, *one) for one in _findings(statement)]
    links = _LINKS.search(script.text) is not None
    return Confined(script, tuple(dict.fromkeys(found)), tuple(routines), partial(_calls, script), links)


def _finding(script: Script, what: str, reach: Reach, hint: str, offset: int) -> Finding:
    told = f"{what} may reach beyond the database" if reach is Reach.MAY else f"{what} reaches beyond the database"
    return Finding(Mark.at(script.file.path, script.text, offset), told, reach, hint, unknown=what == UNKNOWN)


def acts_outside(query: Statement) -> str:
    """Return which function a query calls whose effect no ROLLBACK takes back; '' if none that is known."""
    held = _held(spell(query.source, query.offset), itself=False) if _TELLING.search(query.source) else ()
    return next((what for what, reach, _, _ in held if reach is Reach.OTHER), "")


def names_itself(script: Script) -> list[Finding]:
    """Return where a file asks in which database it runs."""
    return [
        Finding(
            Mark.at(script.file.path, script.text, statement.offset + found.start()),
            f"{found[0].lower()} is the name of the template",
            Reach.OTHER,
        )
        for statement in _all(script)
        if (found := _SEES_ITSELF.search(statement.source))
    ]


def _all(script: Script) -> Iterator[Statement]:
    """Yield the statements of a file and its checks, which call functions too."""
    yield from script.checks.before
    yield from script.checks.after
    yield from script.statements


def _routine(statement: Statement) -> Routine | None:
    """Return the function that a statement makes."""
    spelled = spell(statement.source, statement.offset)
    if not (named := _ROUTINE_NAME.match(spelled.text)):
        return None
    bodies = [spell(body, at) for position, at, body in spelled.texts if spelled.text[:position].endswith(" as ")]
    parts = [*bodies, *(part for body in bodies for part in (*_executed(body), *_composed(body)))]
    language = language_of(spelled)
    if is_other(language):
        parts += _quoted(spelled)
    whole = spelled.text[named.end() :]
    held = (one for part in (spelled, *parts) for one in _held(part, bool(_SEES_ITSELF.search(statement.source))))
    what = next((what for what, reach, _, _ in held if reach is Reach.OTHER), "")
    names = {name for text in (whole, *(part.text for part in parts)) for name in _CALLED.findall(text)}
    if _MADE_OF_FUNCTIONS.match(spelled.text):
        names |= set(_ASSIGNED.findall(whole))
    what = what or _leaves(spelled, language)
    if language in ALIASES:
        what = what or next((f"{text}()" for *_, text in spelled.texts if FORBIDDEN_NAME.fullmatch(text)), "")
    executes = is_other(language) or any(True for body in bodies for _ in _unseen(body)) or bool(names & _EXECUTERS)
    return Routine(_plain(named[1]), what, frozenset(map(_plain, names)), executes)


def _calls(script: Script, names: frozenset[str], executing: Mapping[str, frozenset[int]]) -> Iterator[Finding]:
    """Yield where a file calls one of these functions, or makes a trigger or default of it.

    What is given to one of those that execute a text counts as executed.
    """
    told_by = re.compile(
        "|".join([*(re.escape(name).replace("_", ".") for name in {*names, *executing}), 'u&"', r"\|\|"]), re.I
    )
    for statement in _all(script):
        if not told_by.search(statement.source) or _MAKES_ROUTINE.match(statement.source):
            continue
        spelled = spell(statement.source, statement.offset)
        if (renamed := _RENAMED.match(spelled.text)) and _plain(renamed[1]) in names:
            yield _finding(
                script, f"{_plain(renamed[1])}() under another name", Reach.OTHER, OUTSIDE, spelled.offset(0)
            )
        if _NAMES_ONLY.match(spelled.text):
            continue
        bodies = [spell(body, at) for _, at, body in spelled.texts] if _BLOCK.match(spelled.text) else []
        told: set[str] = set()
        made_of = _MADE_OF_FUNCTIONS.match(spelled.text)
        for part in (spelled, *bodies, *(text for body in bodies for text in (*_executed(body), *_composed(body)))):
            composed = len(set(part.offsets)) == 1
            called = {_plain(name) for name in _CALLED.findall(part.text)}
            if any(
                _GIVES_UNKNOWN.match(part.text, call.end())
                for call in _CALLED.finditer(part.text)
                if _plain(call[1]) in executing
            ):
                yield _finding(script, UNKNOWN, Reach.MAY, "", part.offset(0))
            for given in _executed(part) if called & executing.keys() else ():
                for what, reach, hint, offset in _held(given, itself=False):
                    if reach is not Reach.MAY:
                        yield _finding(script, what, reach, hint, offset)
            for call in [*_CALLED.finditer(part.text), *(_ASSIGNED.finditer(part.text) if made_of else ())]:
                before = part.text[max(0, call.start() - _LOOK_BACK) : call.start()]
                if (
                    (name := _plain(call[1])) in names
                    and not _NO_ROUTINE.search(before)
                    and not (composed and name in told)
                ):
                    told.add(name)
                    yield _finding(script, f"{name}()", Reach.OTHER, OUTSIDE, part.offset(call.start(1)))


def _plain(name: str) -> str:
    return name.strip('"')


def _findings(statement: Statement) -> Iterator[tuple[str, Reach, str, int]]:
    spelled = spell(statement.source, statement.offset)
    whole = spelled.text
    itself = bool(_SEES_ITSELF.search(statement.source))
    if _BLOCK.match(whole) or _ROUTINE.match(whole):
        later = _ROUTINE.match(whole) is not None
        bodies = [spell(body, offset) for _, offset, body in spelled.texts]
        inner = [spelled] if later else []
        inner += [part for body in bodies for part in (body, *_executed(body))]
        language = language_of(spelled)
        if is_other(language):
            inner += _quoted(spelled)
        found = [one for part in inner for one in _held(part, itself)]
        known = {what for what, *_ in found}  # a text of which all is in one constant has been read with its places
        for body in bodies:
            for part in _composed(body):
                found += [one for one in _held(part, itself) if one[0] not in known]
                known |= {what for what, *_ in found}
        for what, reach, hint, offset in found:
            if later:
                yield f"{what} in the body of a function", Reach.MAY, "", offset
            else:
                yield what, reach, hint, offset
        if not later and is_other(language):
            left = _leaves(spelled, language)
            reach, hint = (Reach.OTHER, OUTSIDE) if left else (Reach.MAY, "")
            yield left or f"code in {language}", reach, hint, spelled.offset(0)
        elif not later:
            for body in bodies:
                yield from _unseen(body)
    else:
        yield from _held(spelled, itself=False)
        if not _EXECUTERS.isdisjoint(_CALLED.findall(whole)):
            for part in _executed(spelled):
                yield from _held(part, itself=False)


def _leaves(spelled: Spelled, language: str) -> str:
    return next((left for *_, code in spelled.texts if (left := leaves(language, code))), "")


def _quoted(spelled: Spelled) -> list[Spelled]:
    return [part for _, offset, code in spelled.texts for part in quoted(code, offset)]


def _executed(part: Spelled) -> Iterator[Spelled]:
    """Yield the texts in a body that may be executed: all but those of RAISE. Texts that `||` joins count as one, too."""
    joined, first, next_at = "", 0, -1
    for position, offset, text in part.texts:
        if not _is_raised(part, position):
            yield from _with_blocks(spell(text, offset))
        if position == next_at:
            joined += text
            yield from _with_blocks(spell(joined, first))
        else:
            joined, first = text, offset
        join = _JOIN.match(part.text, position)
        next_at = join.end() if join else -1


def _with_blocks(part: Spelled) -> Iterator[Spelled]:
    """Yield a text that may be executed, and if it is a DO, its body and the texts in that."""
    yield part
    for _, offset, body in part.texts if _BLOCK.match(part.text) else ():
        inner = spell(body, offset)
        yield inner
        yield from _executed(inner)


def _is_raised(part: Spelled, position: int) -> bool:
    """Whether a text is the message of a RAISE."""
    return bool(_RAISE.search(part.text[max(0, position - _LOOK_BACK) : position]))


def _composed(part: Spelled) -> Iterator[Spelled]:
    """Yield the texts that a body puts together of constants, variables and what format() and its like return."""
    for text in executed(part):
        for one in _with_blocks(spell(text.text, 0)):
            yield one.all_at(part.offset(text.first.at))


def _unseen(part: Spelled) -> Iterator[tuple[str, Reach, str, int]]:
    """Yield what is executed in a body and cannot be read before it runs. Where the body names what may not be called,
    that counts as called."""
    spoken = [text for position, _, text in part.texts if not _is_raised(part, position)]
    named = next((match[0] for text in spoken for match in FORBIDDEN_NAME.finditer(text)), "")
    for text in executed(part):
        if text.run and is_opaque(spell(text.text, 0).text):
            if named:
                yield f"{UNKNOWN}, beside the name {named},", Reach.OTHER, OUTSIDE, part.offset(text.first.at)
            else:
                yield UNKNOWN, Reach.MAY, "", part.offset(text.first.at)


def _held(part: Spelled, itself: bool) -> Iterator[tuple[str, Reach, str, int]]:
    """Hold all rules against a spelled text. `itself`: it knows the name of the database that it runs in."""
    text = part.text
    for begin in _BEGINS.finditer(text):
        start = begin.start()
        if not _FIRST.match(text, start):
            continue
        end = text.find(";", start)
        whole = text[start : end if end >= 0 else len(text)]
        if itself and _HOLE.search(whole):
            continue
        for rule, reach, hint in RULES:
            if match := rule.match(whole):
                yield _words(match[0]), reach, hint, part.offset(start)
    for match in WRITES_SHARED.finditer(text):
        yield _words(match[0]), Reach.OTHER, OUTSIDE, part.offset(match.start())
    if (renamed := _RENAMED.match(text)) and FORBIDDEN_NAME.fullmatch(_plain(renamed[1])):
        yield f"{_plain(renamed[1])}() under another name", Reach.OTHER, OUTSIDE, part.offset(0)
    if _NAMES_ONLY.match(text):
        return
    if _MADE_OF_FUNCTIONS.match(text):
        for match in FORBIDDEN_NAME.finditer(text):
            yield f"{match[0]}()", Reach.OTHER, OUTSIDE, part.offset(match.start())
    for call, reach in CALLS:
        for match in call.finditer(text):
            if not _NO_CALL.search(text[max(0, match.start() - _LOOK_BACK) : match.start()]):
                name = match[0].replace('"', "").replace(" ", "")
                yield f"{name}()", reach, OUTSIDE if reach is Reach.OTHER else "", part.offset(match.start())


def _words(matched: str) -> str:
    """Return what matched a rule, as people write it: the first and last words, without what a user named between."""
    words = matched.split()
    keep = words if len(words) <= 4 and '"' not in matched else [words[0], "…", *words[-2:]]
    return " ".join(keep).upper().replace("''", "a file")
