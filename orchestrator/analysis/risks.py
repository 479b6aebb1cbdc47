"""What a person should look at before a migration runs: statements that lose data, or stop others. A pure function."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from orchestrator.analysis.table_locks import strongly_locked, told
from orchestrator.model import Mark, Script, Statement

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_ASIDE = re.compile(rf"{_COMMENT.pattern}|'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$", re.DOTALL)  # and texts
# Below, a statement is its words with one space between them, without comments and texts; each rule begins at its beginning.
_NAME = r'(?:"[^"]*"|[^\s"(),.]+)'
_TABLE = rf"(?P<table>{_NAME}(?:\.{_NAME})?)"
_WHERE = r"\bWHERE\b(?! ?\(?(?:TRUE|1 ?= ?1)\b\)?(?: RETURNING\b| ?\)|$))"  # one that chooses
_WITHIN = rf"(?:(?!{_WHERE})[^()]|\([^()]*\))*\)"  # the rest of a bracket that has none
_SQL = (
    (r".*?\bDROP (TABLE|SCHEMA|DATABASE|MATERIALIZED VIEW)\b", "drops a {0} and what is in it"),
    (
        r".*?\bDROP COLUMN\b|ALTER TABLE\b.*?\bDROP (?!CONSTRAINT\b|NOT NULL\b|DEFAULT\b|EXPRESSION\b|IDENTITY\b|COLUMN\b)",
        "drops a column and what is in it",
    ),
    (r"DROP (TYPE|DOMAIN)\b.*\bCASCADE$", "drops a {0} and the columns that have it"),
    (
        rf"DROP (?!TYPE\b|DOMAIN\b).*\bCASCADE$|ALTER\b.*?\bDROP (?:COLUMN |CONSTRAINT )?(?:IF EXISTS )?{_NAME} CASCADE\b",
        "drops what depends on it",
    ),
    (r".*?\bTRUNCATE\b", "empties tables"),
    (
        rf"(?:WITH\b.*\) ?)?DELETE FROM\b(?!.*{_WHERE})"
        rf"|(?:WITH|INSERT)\b.*?\bAS ?(?:(?:NOT )?MATERIALIZED ?)?\( ?DELETE FROM\b{_WITHIN}",
        "deletes every row of a table",
    ),
    (rf"(?:WITH\b.*\) ?)?UPDATE\b(?!.*{_WHERE})", "rewrites every row of a table"),
    (r".*?\bALTER (?:COLUMN )?\S+ (?:SET DATA )?TYPE\b", "may rewrite a table while nobody can read it"),
    (r".*?\bRENAME\b", "renames what running programs use"),
    (r"LOCK\b", "locks a table"),
    (
        r"VACUUM (?:FULL\b|\([^)]*\bFULL\b(?! (?:FALSE|OFF|0)\b))|CLUSTER\b",
        "rewrites a table while nobody can read it",
    ),
    (r"REINDEX\b(?!.*\bCONCURRENTLY\b)", "builds an index anew while nobody can write to its table"),
)
# These stop nobody on a table that the same plan creates.
_ALTER = rf"ALTER TABLE (?:IF EXISTS )?(?:ONLY )?{_TABLE}.*?\b"
_ADD = rf"ADD (?:CONSTRAINT {_NAME} )?"
_VALID = r"\b(?!(?:(?!\bADD\b).)*\bNOT VALID\b)"
_VOLATILE = r"(?:CLOCK_TIMESTAMP|GEN_RANDOM_UUID|NEXTVAL|RANDOM|TIMEOFDAY|UUID_GENERATE_V\w+|UUIDV[47])"
_SQL_ON_TABLE = (
    (
        rf"CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY\b)(?:IF NOT EXISTS )?(?:{_NAME} )?ON (?!ONLY\b){_TABLE}",
        "builds an index while nobody can write to its table",
    ),
    (
        rf"{_ALTER}{_ADD}(?:PRIMARY KEY|UNIQUE|EXCLUDE)\b(?! USING INDEX\b)",
        "builds an index while nobody can read its table",
    ),
    (rf"{_ALTER}(?:SET NOT NULL\b|{_ADD}(?:CHECK|NOT NULL){_VALID})", "checks a table while nobody can read it"),
    (rf"{_ALTER}{_ADD}FOREIGN KEY{_VALID}", "checks a table while nobody can write to it"),
    (
        rf"{_ALTER}(?:(?<!\bSET )DEFAULT\b(?:(?!\bDEFAULT\b)[^,])*?\b{_VOLATILE} ?\(|(?<=\) )STORED\b"
        rf"|ADD (?:COLUMN )?(?!(?:COLUMN|CONSTRAINT)\b)(?:IF NOT EXISTS )?{_NAME} "
        r"(?:(?:BIG|SMALL)?SERIAL\b|[^,( ]+ GENERATED [A-Z ]+ AS IDENTITY\b))",
        "rewrites a table while nobody can read it",
    ),
    (
        rf"REFRESH MATERIALIZED VIEW (?!CONCURRENTLY\b){_TABLE}",
        "fills a materialized view while nobody can read it",
    ),
)
_RULES, _RULES_ON_TABLE = (
    tuple((re.compile(pattern, re.IGNORECASE), what) for pattern, what in rules) for rules in (_SQL, _SQL_ON_TABLE)
)
# What is in double quotes is a name, whatever its words are; one without any word of the rules stays as it is.
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_WORDS = frozenset(re.findall(r"[A-Z]{2,}", " ".join(pattern for pattern, _ in (*_SQL, *_SQL_ON_TABLE))))
# What has none of these words, INSERT above all, needs no closer look.
_TELLING = re.compile(
    r"\b(?:ALTER|C(?:LUSTER|REATE)|D(?:ELETE|ROP)|LOCK|RE(?:FRESH|INDEX|NAME)|TRUNCATE|UPDATE|VACUUM)\b", re.IGNORECASE
)
_TELLING_OF_LOCKS = re.compile(r"\b(?:ALTER|TRUNCATE|LOCK|TRIGGER|POLICY|RULE|REFRESH|REFERENCES)\b", re.IGNORECASE)
_CREATE = re.compile(
    r"CREATE (?:(?:GLOBAL|LOCAL) )?(?:(?:TEMP|TEMPORARY|UNLOGGED) )?(?:TABLE|MATERIALIZED VIEW) "
    rf"(?:IF NOT EXISTS )?{_TABLE}",
    re.IGNORECASE,
)
_WITH_BODY = re.compile(r"CREATE (?:OR REPLACE )?(?:FUNCTION|PROCEDURE|RULE)\b", re.IGNORECASE)
_MONGO = {
    "drop": "drops a collection and what is in it",
    "renameCollection": "renames what running programs use",
    "dropIndexes": "drops indexes that queries may need",
}


@dataclass(frozen=True, slots=True)
class Risk:
    """One statement to look at: what it does, and where it is."""

    where: Mark
    what: str


def risks(scripts: Iterable[Script], *, fresh: bool = False) -> list[Risk]:
    """Return what is dangerous in the files of a database's plan, in their order.

    A word list: it can miss things, and it never forbids any. `fresh`: the plan creates the database, so everything in it
    was made by the plan, and only what another database can lose counts.
    """
    found = []
    new: set[str] = set()  # the tables that the plan has created so far
    for script in scripts:
        for statement in script.statements:
            where = Mark(script.file.path, statement.line)
            whats = _sql(statement, new) if _is_sql(statement) else _mongo(statement)
            found += [Risk(where, what) for what in whats if not fresh or "drops a database" in what]
        found += [] if fresh else _locked_together(script, new)
    return found


def _locked_together(script: Script, new: Collection[str]) -> Iterator[Risk]:
    """Yield a mark where a transaction of the file strongly locks a second table that the plan does not create."""
    together: dict[str, None] = {}
    second: Mark | None = None
    for statement in script.statements if script.statements and _is_sql(script.statements[0]) else ():
        if not script.atomic:  # a block of several statements, or one alone
            together, second = {}, None
        for part in _parts(statement.source) if _TELLING_OF_LOCKS.search(statement.source) else ():
            for table in strongly_locked(part):
                if _plain(table) not in new:
                    together[_plain(table)] = None
        if len(together) > 1 and second is None:
            second = Mark(script.file.path, statement.line)
        if second and (not script.atomic or statement is script.statements[-1]):
            yield Risk(second, told([_shown(table) for table in together]))


def _is_sql(statement: Statement) -> bool:
    return isinstance(statement.body, str)


def _sql(statement: Statement, new: set[str]) -> list[str]:
    if not _TELLING.search(statement.source):
        return []
    found = []
    for part in _parts(statement.source):
        if not _TELLING.search(part):
            continue
        created = _CREATE.match(part)
        if created and "IF NOT EXISTS" not in created[0].upper():  # that one may be there already, and full
            new.add(_name(created))
        matches = ((rule.match(part), what) for rule, what in _RULES)
        whats = [what.format(*(group.lower() for group in match.groups())) for match, what in matches if match]
        matches = ((rule.match(part), what) for rule, what in _RULES_ON_TABLE)
        whats += [what for match, what in matches if match and _name(match) not in new]
        if whats:
            found.append("; ".join(whats))
    return found


def _parts(source: str) -> Iterable[str]:
    """Return the statements of a source, which are several where it is a block, as the rules want them."""
    text = " ".join(_QUOTED.sub(_name_only, _ASIDE.sub(" ", source)).split())
    return [text] if _WITH_BODY.match(text) else map(str.strip, text.split(";"))


def _name_only(found: re.Match[str]) -> str:
    """Return a quoted name without anything that could be taken for SQL; the same name always gives the same."""
    name = found[1]
    plain = re.fullmatch(r"[a-z_][a-z0-9_]*", name) and name.upper() not in _WORDS
    return found[0] if plain else f'"x{name.encode().hex()}"'


def _name(match: re.Match[str]) -> str:
    return _plain(match["table"])


def _plain(table: str) -> str:
    return table.replace('"', "").lower().removeprefix("public.")


def _shown(table: str) -> str:
    """Return a table's name as people know it: `_name_only` has written some in hexadecimal digits."""
    return re.sub(r"\bx((?:[0-9a-f]{2})+)\b", lambda found: _decoded(found[1]) or found[0], table)


def _decoded(digits: str) -> str:
    with suppress(ValueError):
        name = bytes.fromhex(digits).decode()
        return f'"{name}"' if name.isprintable() else ""
    return ""


def _mongo(statement: Statement) -> list[str]:
    name = next(iter(statement.body))
    if name in _MONGO:
        return [_MONGO[name]]
    deletes = statement.body.get("deletes", ()) if name == "delete" else ()
    return ["deletes every document of a collection"] if any(not one.get("q") for one in deletes) else []
