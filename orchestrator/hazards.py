"""What a person should look at before a migration runs: statements that lose data, or stop others. A pure function."""

from __future__ import annotations

import re
from dataclasses import dataclass

from orchestrator.model import Mark, Script, Statement

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_TEXT = re.compile(r"'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$", re.DOTALL)
_SQL = (
    (r"\bDROP\s+(TABLE|SCHEMA|DATABASE|MATERIALIZED\s+VIEW)\b", "drops a {0} and what is in it"),
    (r"\bDROP\s+(COLUMN)\b", "drops a column and what is in it"),
    (r"\bTRUNCATE\b", "empties tables"),
    (r"^\s*DELETE\s+FROM\b(?!.*\bWHERE\b)", "deletes every row of a table"),
    (r"^\s*UPDATE\b(?!.*\bWHERE\b)", "rewrites every row of a table"),
    (r"\bALTER\s+(?:COLUMN\s+)?\S+\s+(?:SET\s+DATA\s+)?TYPE\b", "may rewrite a table while nobody can read it"),
    (r"\bRENAME\b", "renames what running programs use"),
    (r"^\s*LOCK\b", "locks a table"),
)
_RULES = tuple((re.compile(pattern, re.IGNORECASE | re.DOTALL), what) for pattern, what in _SQL)
_MONGO = {
    "drop": "drops a collection and what is in it",
    "renameCollection": "renames what running programs use",
    "dropIndexes": "drops indexes that queries may need",
}

# What is not part of a database, or names one: run anywhere, it means the whole server or the database that it names.
_ASIDE = re.compile(rf"{_COMMENT.pattern}|{_TEXT.pattern}", re.DOTALL)
_BEYOND = re.compile(
    r"\b(?:(?:CREATE|ALTER|DROP)\s+(?:ROLE|USER(?!\s+MAPPING)|GROUP|TABLESPACE|SUBSCRIPTION)\b"
    # `ALTER DATABASE %I` and `'ALTER DATABASE ' || …` in a DO block stand for current_database()
    r"|(?:CREATE|ALTER|DROP)\s+DATABASE\b(?!\s+%|\s*')"
    r"|ALTER\s+SYSTEM\b|(?:DROP|REASSIGN)\s+OWNED\b"
    r"|(?:COMMENT|SECURITY\s+LABEL\b[^;]*?)\s+ON\s+(?:DATABASE|ROLE|TABLESPACE|SUBSCRIPTION)\b"
    r"|(?:GRANT|REVOKE)\b(?![^;]*\bON\b)|(?:GRANT|REVOKE)\b[^;]*?\bON\s+(?:DATABASE|TABLESPACE|PARAMETER)\b)",
    re.IGNORECASE,
)
_BEYOND_MONGO = re.compile(
    "renameCollection|(create|update|drop)(User|Role)|drop(AllUsers|AllRoles)FromDatabase"
    "|(grant|revoke)(Roles|Privileges)(To|From)(User|Role)"
)


@dataclass(frozen=True, slots=True)
class Hazard:
    """One thing to look at, and where it is."""

    where: Mark
    what: str


def hazards(script: Script) -> list[Hazard]:
    """Return what is dangerous in a file, in its order. A word list: it can miss things, and it never forbids any."""
    found = []
    for statement in script.statements:
        where = Mark(script.file.path, statement.line)
        found += [Hazard(where, what) for what in (_sql(statement) if _is_sql(statement) else _mongo(statement))]
    return found


def beyond(script: Script) -> Hazard | None:
    """Return the first statement that reaches beyond the database in which it runs: to the server, or another database.

    A word list too, which can miss what functions do. The body of a DO block is read as a whole, with its strings.
    """
    for statement in script.statements:
        if what := _beyond_sql(statement) if _is_sql(statement) else _beyond_mongo(statement):
            return Hazard(Mark(script.file.path, statement.line), f"{what} reaches beyond the database")
    return None


def _beyond_sql(statement: Statement) -> str:
    text = _COMMENT.sub(" ", statement.source)
    if re.match(r"\s*DO\b", text, re.IGNORECASE):
        match = _BEYOND.search(text)
    else:  # elsewhere than at its beginning these words may be the names of tables and columns
        match = _BEYOND.match(_ASIDE.sub(" ", statement.source).lstrip())
    return " ".join(match[0].upper().split()) if match else ""


def _beyond_mongo(statement: Statement) -> str:
    name = next(iter(statement.body))
    if _BEYOND_MONGO.fullmatch(name):
        return str(name)
    if isinstance(out := statement.body.get("out"), dict) and "db" in out:  # mapReduce
        return str(name)
    for stage in statement.body.get("pipeline", ()) if name == "aggregate" else ():
        merge = stage.get("$merge")
        for into in (stage.get("$out"), merge.get("into") if isinstance(merge, dict) else None):
            if isinstance(into, dict) and "db" in into:
                return str(next(iter(stage)))
    return ""


def _is_sql(statement: Statement) -> bool:
    return isinstance(statement.body, str)


def _sql(statement: Statement) -> list[str]:
    text = _TEXT.sub("''", _COMMENT.sub(" ", statement.source))
    matches = ((rule.search(text), what) for rule, what in _RULES)
    return [what.format(*(group.lower() for group in match.groups())) for match, what in matches if match]


def _mongo(statement: Statement) -> list[str]:
    name = next(iter(statement.body))
    if name in _MONGO:
        return [_MONGO[name]]
    deletes = statement.body.get("deletes", ()) if name == "delete" else ()
    return ["deletes every document of a collection"] if any(not one.get("q") for one in deletes) else []
