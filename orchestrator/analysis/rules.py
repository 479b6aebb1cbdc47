"""The table of all lint rules, and what their codes tell."""

from __future__ import annotations

from functools import cache

from orchestrator.analysis.rule import ERROR, OFF, WARN, Rule
from orchestrator.engines import dialect

_LEVELS = (ERROR, WARN, OFF)

LOSES_DATA, BLOCKS_WRITES, BREAKS_READERS = "loses-data", "blocks-writes", "breaks-readers"
RISKS = (LOSES_DATA, BLOCKS_WRITES, BREAKS_READERS)
"""What the `risks` of a manifest speak of."""
_RISKS = {"1": LOSES_DATA, "2": BLOCKS_WRITES, "6": BLOCKS_WRITES, "5": BREAKS_READERS}  # by the first digit of a code


@cache
def rules() -> dict[str, Rule]:
    """Return all rules by their codes, in order."""
    from orchestrator.analysis.rules_mongo import MONGO
    from orchestrator.analysis.rules_mysql import MYSQL
    from orchestrator.analysis.rules_postgres import POSTGRES
    from orchestrator.analysis.rules_postgres_locks import LOCKS

    return {
        rule.code: rule
        for rule in sorted((*POSTGRES, *LOCKS, *_ABOUT_FILES, *MONGO, *MYSQL), key=lambda rule: rule.code)
    }


def risk_of(code: str) -> str:
    """Return which of `RISKS` what breaks this rule is; '' if none."""
    return "" if code.startswith("LT") else _RISKS.get(code[2:3], "")


def fits_engine(code: str, engine: str) -> bool:
    """Whether a rule can speak of files of this engine."""
    return code.startswith(("LT", *dialect(engine).lint_rules))


def is_of_mysql(engine: str) -> bool:
    """Whether files of this engine are read as MySQL reads them."""
    return bool(engine) and "MY" in dialect(engine).lint_rules


def has_bracket_names(engine: str) -> bool:
    """Whether `[name]` is a name in files of this engine."""
    return bool(engine) and dialect(engine).lint_brackets


def lock_of_engine(engine: str) -> tuple[str, str] | None:
    """Return the lock of every change in files of this engine, and what it is on; None where each rule tells its lock."""
    return dialect(engine).lint_lock if engine else None


def _about_file(code: str, title: str, level: str, why: str, example: str, advice: str) -> Rule:
    return Rule(code, title, level, "none", "nobody", "nothing", why, example, (), advice, "every server")


_ABOUT_FILES = (
    _about_file(
        "LT001",
        "the file cannot be read as a migration",
        ERROR,
        "orch validate and orch apply refuse this file. Every other file is still judged.",
        "CREATE TABLE orders (id int;",
        "Fix what the message names.",
    ),
    _about_file(
        "LT002",
        "a permission names a code that does not exist",
        ERROR,
        "A permission with a wrong code allows nothing, although it looks as if it did.",
        "-- orch: allow PG999 we have looked at it",
        "Use a code that orch lint prints, or remove the line.",
    ),
    _about_file(
        "LT003",
        "a permission has no reason",
        ERROR,
        "Whoever reads the file later must know why it was allowed. A permission without a reason allows nothing.",
        "-- orch: allow PG203",
        "Write the reason behind the code: -- orch: allow PG203 the table has 200 rows",
    ),
    _about_file(
        "LT004",
        "a permission is given twice",
        WARN,
        "One of the two is enough, and only one of them would be removed later.",
        "-- orch: allow PG203 small table\n-- orch: allow PG203 small table",
        "Remove one of them.",
    ),
    _about_file(
        "LT005",
        "a permission is not used",
        WARN,
        "Nothing in the file breaks the rule, so the permission would hide the next statement that does.",
        "-- orch: allow PG203 small table\nSELECT 1;",
        "Remove it.",
    ),
)
