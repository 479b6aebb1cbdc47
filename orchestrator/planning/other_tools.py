"""Recognise migration files of other tools by name and text, and say how to convert them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath
from shlex import quote

from orchestrator.errors import OtherToolError
from orchestrator.hints import NAME, Command, Hint, hint_of
from orchestrator.model import Script
from orchestrator.patterns import regex
from orchestrator.records import NamedTuple

# A comment that begins the part of a file that goes up, or the part that goes down. Each pattern starts with a literal,
# which makes the search in a large file quick.
_UP, _DOWN = "ups?|upgrade|forwards?", "downs?|undo|downgrade|backwards?|revert|roll.?back"
_COMMON = ("upgrade", "downgrade", "forward", "forwards", "backward", "backwards")  # words of many other remarks
_WORDS = rf"""(?:
    (?P<tool>(?<=\+)goose[ \t]+|(?<=\+)mi[cg]rate[ \t]+|migrate:[ \t]*)(?P<way>up|down)\b[^\n*]*
    |(?P<rambler>rambler[ \t]+)?(?:migrat(?:e|ion)[-_: \t]+)?(?P<word>{_UP}|{_DOWN})
        (?:(?P<migration>[ \t]+migration)|[ \t]+(?:script|part|section)|\.sql)?
    |create\ above\ /\ (?P<tern>drop\ below)[^\n]*
    |(?P<sqitch>deploy|revert)[ \t]+\S+[ \t]+(?:to|from)[ \t]+(?:pg|mysql|sqlite|oracle|snowflake|firebird|exasol|vertica)
    )"""
_DRAWN = r"-=:;.,~_@+!/#*<>(){}\[\]|\ \t"  # what people draw around such a word
_LINE = rf"[{_DRAWN}]{{0,300}}{_WORDS}[{_DRAWN}]*(?=\r?$)"
_BLOCK = rf"(?:(?!\*/)[{_DRAWN}\r\n]){{0,300}}{_WORDS}[{_DRAWN}\r\n]*?\*/"
_FLAGS = re.ASCII | re.IGNORECASE | re.MULTILINE | re.VERBOSE  # ASCII: else ſ is an s, and ı an i
_MARKERS = (
    ("--", regex(rf"--{_LINE}", _FLAGS)),
    ("#", regex(rf"\#{_LINE}", _FLAGS)),
    ("/*", regex(rf"/\*{_BLOCK}", _FLAGS)),
)
_GOES_UP = regex(_UP)
# What a remark tells of: a ROLLBACK, or a statement that is a comment.
_ROLLBACK = regex(
    r"\s*(?:rollback\b|--[ \t]*(?:alter|create|delete|drop|insert|revoke|truncate|update)\b)", re.IGNORECASE
)
_UNDOES = regex(r"\s*(?:alter|delete|drop|revoke|truncate|update)\b", re.IGNORECASE)
# The statements of a rollback are comments in such a file: orch would lose them.
_HAS_ROLLBACK = regex(
    r"\s*--[ \t]*liquibase[ \t]+formatted[ \t]+sql\b(?s:.*?)\n[ \t]*(?:--[ \t]*|/\*\s*liquibase[ \t]+)rollback[ \t\r\n]+"
    r"(?!empty\b|not[ \t]+required\b)\S",
    re.IGNORECASE,
)
_LIQUIBASE = regex(r"--[ \t]*(?:liquibase[ \t]+formatted[ \t]+sql|changeset[ \t]+\S+:\S+)", re.IGNORECASE)
_JAVASCRIPT = regex(
    r"^[ \t]*(?:module\.exports\b|exports\.\w+\s*=|export\s+(?:default|const|async|function)\b)", re.MULTILINE
)

_PROGRAM = r"cs|cts|ex|exs|go|java|js|kt|mjs|mts|php|pl|py|rb|rs|scala|sh|ts"
_NAMES = tuple(
    (regex(pattern), tool)
    for pattern, tool in (
        (r"(?:[VUB][0-9][0-9._]*|R)__.*\.(?:sql|rs|java|kt|py)", "Flyway or refinery"),
        (r"[0-9]{14}_\w+\.rb", "Rails"),
        (r"[0-9]{14}_\w+\.exs", "Ecto"),
        (r"[0-9]{4}_\w+\.py", "Django"),
        (r"(?:[0-9a-f]{8,}|[0-9_-]+[0-9a-f]{12})_.*\.py|env\.py|script\.py\.mako", "Alembic"),
        (r"db\.changelog.*\.(?:xml|ya?ml|json|sql)", "Liquibase"),
        (rf".*\.(?:up|down)\.(?!js$)(?:{_PROGRAM})", "a program"),
        (rf"[0-9]+[-_.].*\.(?!js$)(?:{_PROGRAM})", "a program"),
    )
)


class Part(NamedTuple):
    """Where a marker begins and ends in a text, whether what follows goes up or down, and whose marker it is.

    `alone`: it is one line, with nothing else on it. `common`: other remarks may be the same word.
    """

    offset: int
    end: int
    goes_up: bool
    tool: str
    alone: bool = True
    common: bool = False


def by_name(entry: str) -> str:
    """Return the tool whose files are called so, or ''."""
    return next((tool for pattern, tool in _NAMES if pattern.fullmatch(entry)), "")


def by_text(text: str) -> str:
    """Return the tool whose markers stand in a text, or ''."""
    if part := next(parts(text), None):
        return part.tool
    if _LIQUIBASE.search(text):
        return "Liquibase"
    return "migrate-mongo" if _JAVASCRIPT.search(text) else ""


def parts(text: str) -> Iterator[Part]:
    """Yield the markers of a text in their order."""
    found = [one for opens, marker in _MARKERS if opens in text for one in marker.finditer(text)]
    for one in sorted(found, key=lambda one: one.start()):
        start = text.rfind("\n", 0, one.start()) + 1
        if text[start : one.start()].strip(" \t#-"):
            continue  # the comment stands behind something else
        end = text.find("\n", one.end())
        rest = text[one.end() : end if end >= 0 else len(text)].strip()
        word = (one["way"] or one["word"] or one["sqitch"] or "down").lower()
        goes_up = word.startswith("deploy") or _GOES_UP.fullmatch(word) is not None
        alone = not rest and "\n" not in one[0]
        yield Part(one.start(), one.end(), goes_up, _tool(one), alone, common=word in _COMMON)


def _tool(found: re.Match[str]) -> str:
    if found["tool"]:
        word = found["tool"].strip().lower()
        return {"goose": "goose", "migrate": "sql-migrate", "micrate": "micrate", "migrate:": "dbmate"}[word]
    if found["tern"]:
        return "tern"
    if found["sqitch"]:
        return "Sqitch"
    if found["rambler"]:
        return "rambler"
    if found["migration"]:
        return "node-pg-migrate"
    return "both directions"


def refuse_both_directions(script: Script) -> None:
    """Raise OtherToolError for a file in which statements go up and others go down: all of them would run."""
    if _HAS_ROLLBACK.match(script.text):
        raise refusal("Liquibase", script.file.path)
    inside = [(one.offset, one.offset + len(one.source)) for one in script.statements]
    markers = [one for one in parts(script.text) if not any(start < one.offset < end for start, end in inside)]
    markers = [one for one in markers if one.goes_up or not _ROLLBACK.match(script.text, one.end)]
    if not markers:
        return
    first = Part(-1, -1, not markers[0].goes_up or markers[0].tool == "tern", markers[0].tool)
    directions = set()
    undoes = False
    for start, _ in inside:
        directions.add(next((one.goes_up for one in reversed(markers) if one.offset < start), first.goes_up))
        undoes = undoes or _UNDOES.match(script.text, start) is not None
    if len(directions) == 2 and (undoes or not all(one.common for one in markers)):
        by_hand = not all(one.alone for one in markers) or len({one.tool for one in markers}) > 1
        raise refusal("both directions by hand" if by_hand else markers[0].tool, script.file.path)


def refusal(tool: str, path: str) -> OtherToolError:
    """Return the error for a file of another tool, with the way to convert it."""
    whose, way = _CONVERSIONS[tool]
    words = _words(tool, path)
    return OtherToolError(tool, whose, path, hint_of(way).mapped(lambda text: text.format(**words)))


def _words(tool: str, path: str) -> dict[str, str]:
    place = PurePath(path).parent.as_posix()
    above = PurePath(path).parent.parent.as_posix()
    up, down = _SPLIT.get(tool, ("", ""))
    return {
        "place": quote(place),
        "above": quote(above),
        "new": quote(f"{above if tool in _DIRECTORIES else place}-converted"),
        "path": path,
        "up": up,
        "down": down,
    }


_DIRECTORIES = ("Diesel or Hasura", "Prisma")


def _line(words: str, *, end: str = "") -> str:
    """Return the pattern of awk for a line that `_MARKERS` find, in capitals or not; awk knows no such option."""
    text = "".join(f"[{letter.upper()}{letter}]" if letter.isalpha() else letter for letter in words)
    return f"^[^A-Za-z0-9();]*(--|[^ ][*]|#)[^A-Za-z]*{text.replace(' ', '[^A-Za-z]+')}{end}"


def _word(words: str) -> str:
    """Return the pattern of awk for a line with one of these words."""
    return _line(f"(migrat(e|ion) )?({words})( (migration|script|part|section)|[.]sql)?", end="[^A-Za-z]*$")


_SPLIT = {
    "goose": (_line("[+]goose up"), _line("[+]goose down")),
    "sql-migrate": (_line("[+]migrate up"), _line("[+]migrate down")),
    "micrate": (_line("[+]micrate up"), _line("[+]micrate down")),
    "dbmate": (_line("migrate:.?up"), _line("migrate:.?down")),
    "rambler": (_line("rambler up"), _line("rambler down")),
    "node-pg-migrate": (_line("up migration"), _line("down migration")),
    "Sqitch": (_line("deploy .* to "), _line("revert .* from ")),
    "both directions": (_word(_UP), _word(_DOWN)),
    "tern": ("^no such line$", _line("create above drop below")),
}
_COPY = (
    'split them into a new directory: mkdir -p {new} && for f in {place}/*.sql; do b=$(basename "$f" .sql); '
    'if grep -qE \'{up}|{down}\' "$f"; then awk -v b={new}/"${{b%.up}}" \'BEGIN{{o=b".up.sql"}} '
    '/{up}/{{o=b".up.sql";next}} /{down}/{{o=b".down.sql";next}} {{print > o}}\' "$f"; '
    'else cp -n "$f" {new}/; fi; done; then write `migrations: {new}` in the manifest'
)
_BASELINE = Hint(Command("baseline", NAME, "--version", 1))
_BOTH = "with both directions (up and down) in one file: all of it would run"
_CONVERSIONS: dict[str, tuple[str, str]] = {
    **{
        tool: (f"of {tool}, with both directions (up and down) in one file", _COPY)
        for tool in _SPLIT
        if tool != "both directions"
    },
    "both directions": (_BOTH, _COPY),
    "both directions by hand": (
        _BOTH,
        "write what goes up into a file .up.sql and what goes down into one .down.sql beside it, under the same version",
    ),
    "Flyway or refinery": (
        "of Flyway or refinery",
        "copy them under golang-migrate's names: mkdir -p {new} && for f in {place}/[VU]*__*.sql; do "
        'b=$(basename "$f" .sql); v=${{b%%__*}}; case $v in U*) d=down;; *) d=up;; esac; '
        'cp "$f" {new}/"${{v#[VU]}}_${{b#*__}}.$d.sql"; done; then write `migrations: {new}` in the manifest '
        "(a version such as 1.2 needs a whole number; R__ files have no place here)",
    ),
    "Diesel or Hasura": (
        "of Diesel or Hasura, each version in a directory of its own",
        'copy them under golang-migrate\'s names: mkdir -p {new} && for d in {above}/*/; do n=$(basename "$d"); '
        'b={new}/$(echo "${{n%%_*}}" | tr -d -)_${{n#*_}}; for w in up down; do '
        '[ -f "$d/$w.sql" ] && cp "$d/$w.sql" "$b.$w.sql"; done; done; '
        "then write `migrations: {new}` in the manifest",
    ),
    "Prisma": (
        "of Prisma, each version in a directory of its own",
        "copy them under golang-migrate's names: mkdir -p {new} && for d in {above}/*/; do "
        'cp "$d/migration.sql" {new}/"$(basename "$d")".up.sql; done; then write `migrations: {new}` in the manifest',
    ),
    "Liquibase": (
        "of Liquibase",
        "let it print the SQL of each change set (liquibase update-sql, liquibase future-rollback-sql), and save it as "
        "000001_description.up.sql and 000001_description.down.sql",
    ),
    "Rails": (
        "of Rails",
        "begin with the schema as it is: pg_dump --schema-only --no-owner DATABASE > 000001_initial.up.sql; where that "
        "schema is there already: " + _BASELINE,
    ),
    "Ecto": (
        "of Ecto",
        "begin with the schema as it is: mix ecto.dump -d 000001_initial.up.sql; where that schema is there already: "
        + _BASELINE,
    ),
    "Django": (
        "of Django",
        "let it print the SQL: python manage.py sqlmigrate APP 0001 > 000001_initial.up.sql, and with --backwards > "
        "000001_initial.down.sql",
    ),
    "Alembic": (
        "of Alembic",
        "let it print the SQL: alembic upgrade head --sql > 000001_initial.up.sql; where that schema is there already: "
        + _BASELINE,
    ),
    "migrate-mongo": (
        "of migrate-mongo: programs in JavaScript",
        'write the commands as JSON, [{{"createIndexes": …}}], into 000001_description.up.json and '
        "000001_description.down.json",
    ),
    "a program": (
        "in a programming language, which orch does not run (golang-migrate would send the text of NNN_name.up.go and its like "
        "to the server as if it were SQL)",
        "write the SQL that it runs into 000001_description.up.sql and its undoing into 000001_description.down.sql, "
        "and move {path} out of this directory",
    ),
}
