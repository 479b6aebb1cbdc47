"""One MySQL file for several: which versions a file says that it replaces, and how such a file is written.

Each of the files was written for a session of its own: what one has set is put back before the next begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.engines.directives import are_in, read_directives
from orchestrator.engines.file_settings import REPLACES
from orchestrator.engines.mysql.lexer import Token, split
from orchestrator.engines.mysql.named import change_of, quoted
from orchestrator.engines.mysql.reader import is_temporary, tokens_of, words_of
from orchestrator.engines.mysql.settings import settings_of
from orchestrator.errors import InvalidError
from orchestrator.model import Mark, Script, Statement

_OF_NAMES = ("character_set_client", "character_set_results", "collation_connection")
_NOT_TO_JOIN = ("transaction", "role")
"""What a SET can change without a variable by which it could be put back."""


def replaces(text: str) -> tuple[str, int] | None:
    """Return the value of the directive `replaces` and its offset; None if the file has none."""
    if not are_in(text):
        return None
    blanks: list[tuple[int, int]] = []
    first = next((piece.start for piece in split(text, blank=blanks.append) if piece.tokens), len(text))
    found = (one for one in read_directives(text, blanks) if one.name == REPLACES and one.start < first)
    return next(((one.value, one.value_at) for one in found), None)


def head(versions: str) -> str:
    """Return what a file begins with that replaces these versions."""
    return f"-- orch: {REPLACES} {versions}\n\n"


def squash(scripts: Sequence[Script], versions: str) -> str:
    """Return a file that runs these one after the other; InvalidError for one whose settings cannot be put back."""
    parts = [head(versions).strip()] if versions else []
    for script in scripts:
        changed = list(dict.fromkeys(name for statement in script.statements for name in _set_by(script, statement)))
        lines = [f"-- {script.file.path.rpartition('/')[2]}"]
        lines += [f"SET @orch_{name} = @@SESSION.{name};" for name in changed]
        lines += [f"{statement.body};" for statement in script.statements]
        lines += [f"SET SESSION {name} = @orch_{name};" for name in changed]
        lines += [f"SET {name} = NULL;" for name in _user_variables(script)]
        lines += [f"DROP TEMPORARY TABLE IF EXISTS {name};" for name in _temporary(script)]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _set_by(script: Script, statement: Statement) -> Iterator[str]:
    """Yield the variables of the server that a statement sets for its session."""
    tokens = tokens_of(str(statement.body))
    if [token.text for token in tokens[:1]] != ["set"]:
        return
    words = [token.text for token in tokens[1:4]]
    if words[0] in _NOT_TO_JOIN or words[:2] in (["session", "transaction"], ["local", "transaction"]):
        raise InvalidError(
            f"this file cannot be joined with others: it has {statement.source.partition(chr(10))[0]}",
            where=Mark.at(script.file.path, script.text, statement.offset),
            hint="squash up to a version below it, or write the new file by hand",
        )
    if words[:1] in (["names"], ["charset"]) or words[:2] == ["character", "set"]:
        yield from _OF_NAMES
    yield from (one.name for one in settings_of(tokens[1:]) if one.is_of_session and not one.name.startswith("@"))


def _user_variables(script: Script) -> list[str]:
    """Return the @variables that a file names, in the order of their first use."""
    used = (token for statement in script.statements for token in tokens_of(statement.source))
    return list(dict.fromkeys(token.text for token in used if _is_own_variable(token)))


def _is_own_variable(token: Token) -> bool:
    return token.kind == "variable" and not token.text.startswith("@@") and "." not in token.text


def _temporary(script: Script) -> list[str]:
    """Return the temporary tables that a file creates and does not drop."""
    left: dict[str, None] = {}
    for statement in script.statements:
        if is_temporary(words := words_of(statement.source)) and (change := change_of(statement.source)):
            for name in map(quoted, change.things):
                left.pop(name, None)
                if words[0] == "create":
                    left[name] = None
    return list(left)
