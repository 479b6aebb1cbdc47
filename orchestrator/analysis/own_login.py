"""Find statements that change the login with which orch runs them: a later run may not be let in any more. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from orchestrator.analysis.risks import Risk
from orchestrator.model import Mark, Script, Statement, telling, telling_text
from orchestrator.patterns import regex

_COMMENT = regex(r"--[^\n\r]*|/\*.*?\*/", re.DOTALL)
_TELLTALE = ("role", "user", "password", "owned", "revoke")
_BEGINS = r"(?:^|[;\x00]|\b(?:begin|then|else|loop|execute\s+'))\s*"
_ME = r"(?:(?:current_user|session_user|current_role)(?:\s*\(\s*\))?|user\s*\(\s*\))"
# Of MongoDB: commands whose first value is a user, and what of them matters.
_COMMANDS = {
    "updateUser": ("pwd", "roles", "mechanisms", "authenticationRestrictions"),
    "dropUser": (),
    "revokeRolesFromUser": (),
}
_LATER = "later runs, and other databases with this login, may be refused"


def changes_own_login(scripts: Iterable[Script], login: str) -> Iterator[Risk]:
    """Yield the statements that change the password, the rights or the existence of `login`, the user of the DSN."""
    rules: list[tuple[re.Pattern[str], str]] | None = None
    for script in scripts:
        lowered = telling_text(script).lower()
        if not any(word in lowered for word in _TELLTALE):
            continue
        for _, statement in telling(script.statements):
            if not isinstance(statement.body, str):
                if what := _of_command(statement.body, login):
                    yield _risk(script, statement, what, login)
                continue
            rules = _rules(login) if rules is None else rules
            text = _COMMENT.sub(" ", statement.source)
            if what := next((what for rule, what in rules if rule.search(text)), ""):
                yield _risk(script, statement, what, login)


def _rules(login: str) -> list[tuple[re.Pattern[str], str]]:
    name = re.escape(login) if login else r"(?!)"
    me = rf"""(?:{_ME}|["'`]{name}["'`]|{name})(?:\s*@\s*\S+?)?(?=[\s;,]|$)"""
    found = (
        (
            rf"alter\s+(?:role|user)\s+(?:if\s+exists\s+)?{me}[^;]*?\b(?:password|nologin|connection\s+limit|valid\s+until"
            r"|identified|account\s+lock|nosuperuser|nocreatedb|rename\s+to)\b",
            "changes the password or the rights of",
        ),
        (r"set\s+password\s*=", "changes the password of"),
        (rf"set\s+password\s+for\s+{me}", "changes the password of"),
        (rf"rename\s+user\s+(?:[^;]*,\s*)?{me}", "renames"),
        (rf"drop\s+(?:role|user)\s+(?:if\s+exists\s+)?(?:[^;]*,\s*)?{me}", "drops"),
        (rf"reassign\s+owned\s+by\s+(?:[^;]*,\s*)?{me}", "takes all tables, also those of orch's records, away from"),
        (rf"revoke\s[^;]*\sfrom\s+(?:[^;]*,\s*)?{me}", "takes rights away from"),
    )
    return [(re.compile(_BEGINS + rule, re.IGNORECASE), what) for rule, what in found]


def _of_command(command: dict[str, Any], login: str) -> str:
    name = next(iter(command))
    if name not in _COMMANDS or not login or command[name] != login:
        return ""
    if name == "dropUser":
        return "drops"
    matters = not _COMMANDS[name] or any(key in command for key in _COMMANDS[name])
    return "changes the password or the rights of" if matters else ""


def _risk(script: Script, statement: Statement, what: str, login: str) -> Risk:
    whose = f"the login that runs this file{f' ({login})' if login else ''}"
    return Risk(Mark(script.file.path, statement.line), f"{what} {whose}: {_LATER}")
