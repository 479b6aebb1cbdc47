"""Every command that a hint shows can be pasted: it is quoted for a shell, and the command line takes it."""

from __future__ import annotations

import ast
import pickle
import re
import shlex
from copy import copy, deepcopy
from pathlib import Path

import pytest
from hint_commands import refusal

import orchestrator
from orchestrator.cli.command_table import COMMANDS
from orchestrator.cli.console import pasteable
from orchestrator.errors import ConflictError, OrchError, StatementError
from orchestrator.events import Failure
from orchestrator.hints import NAME, Blank, Command, Hint, joined
from orchestrator.model import (
    Attempt,
    Direction,
    File,
    History,
    Mark,
    Migration,
    VersionRow,
)
from orchestrator.planning.history import State, reconcile, unrecorded
from orchestrator.planning.repair import on_request, resolutions
from orchestrator.planning.resolution import Signature

ODD = ["postgres-a b", "it's", 'say "NAME"', "NAME", "$(touch x)", "orch apply; rm -rf", "a\nb"]
BY = Signature("a", "r", "t")


def migration(version: int, path: str) -> Migration:
    return Migration(version, "m", File(path, Path(path), f"sha256:{version}"))


def attempt(version: int, **facts: object) -> Attempt:
    made = Attempt(version, 1, "m", Direction.UP, f"sha256:{version}", applied=1, total=1, done=True)
    return made._replace(**facts)  # type: ignore[arg-type]


HISTORIES = {
    "dirty": History(version_row=VersionRow(1, dirty=True)),
    "never seen": History(version_row=VersionRow(1), attempts=(attempt(2),)),
    "elsewhere": History(store=True, attempts=(attempt(1),), elsewhere="they were written elsewhere"),
    "several rows": History(rows=(VersionRow(1), VersionRow(2, dirty=True), VersionRow(None))),
    "emptied": History(store=True, emptied=True),
    "no file": History(version_row=VersionRow(9)),
    "renumbered": History(attempts=(attempt(1, checksum="sha256:2"),)),
    "gone": History(attempts=tuple(attempt(version) for version in (1, 2, 7))),
    "many gone": History(attempts=tuple(attempt(version) for version in (1, 2, 5, 6, 7, 9))),
    "edited": History(attempts=(attempt(1, checksum="sha256:other"),)),
    "late": History(attempts=(attempt(2),)),
    "partial": History(attempts=(attempt(1, total=3, done=False),), version_row=VersionRow(1, dirty=True)),
    "in flight": History(
        attempts=(attempt(1, total=3, done=False, in_flight=True, error="it cannot be told whether it was done"),)
    ),
    "partial down": History(attempts=(attempt(1, total=3, done=False, direction=Direction.DOWN),)),
    "unrecorded": History(unrecorded=3),
}


@pytest.mark.parametrize("id", ODD)
@pytest.mark.parametrize("name", HISTORIES)
def test_every_problem_and_resolution_can_be_pasted(name: str, id: str) -> None:
    files = (migration(1, f"m/{id}/1_m.up.sql"), migration(2, f"m/{id}/2_m.up.sql"))
    history = HISTORIES[name]
    state = reconcile(files, history)
    hints = [problem.hint_for(id) for problem in state.problems] + list(unrecorded(history, state, id))
    commands = [command for hint in hints for command in hint.commands]
    found = (*resolutions(files, history, BY), *on_request(files, history, BY))
    commands += [resolution.command(id) for resolution in found]
    assert commands
    for command in commands:
        assert NAME not in [word for word in command.argv if isinstance(word, Blank)]
        assert shlex.split(str(command)) == ["orch", *command.argv]
        assert not refusal(command.argv)


def test_the_check_would_notice() -> None:
    assert refusal(("repair", "a", "--accpet", "x"))
    assert refusal(("repiar", "a"))
    assert refusal(("rollback", "a", "--steps", "many"))
    assert not refusal(("rollback", "a", "--steps", Blank("NUMBER")))


@pytest.mark.parametrize("word", ODD)
def test_words_and_commands_stay_apart(word: str) -> None:
    hint = Hint(f"{word}: orch repair NAME; or ", Command("repair", NAME, "--accept", word))
    told = hint.for_database(word)
    assert told == f"{word}: orch repair NAME; or orch repair {shlex.quote(word)} --accept {shlex.quote(word)}"
    assert told.commands == (Command("repair", word, "--accept", word),)


@pytest.mark.parametrize("word", ODD)
def test_options_of_this_call_are_in_commands_alone(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["orch", "status", "-f", word, "--embedded", "--env-file=my env"])
    hint = Hint("orch status says more; or ", Command("repair", word), ", ", Command("schema"))
    told = pasteable(hint)
    carried = f"-f {shlex.quote(word)} --embedded --env-file 'my env'"
    assert told == f"orch status says more; or orch repair {carried} {shlex.quote(word)}, orch schema"
    assert pasteable("orch status says more") == "orch status says more"
    once = Hint(Command("repair", word, "-f", "x"))
    assert pasteable(once).count(" -f ") == 1


def test_hints_stay_data_on_their_way() -> None:
    hint = Hint("first ", Command("plan")) + "; then " + Hint(Command("apply"))
    assert "and: " + hint == "and: first orch plan; then orch apply"
    whole = joined("\n", ["", "nothing was written", hint])
    assert whole == "nothing was written\nfirst orch plan; then orch apply"
    for one in (hint, "x" + hint, whole, deepcopy(hint), pickle.loads(pickle.dumps(hint))):
        assert isinstance(one, Hint)
        assert one.commands == (Command("plan"), Command("apply"))


def test_a_failure_keeps_place_and_commands_as_data() -> None:
    path = "m/a b:7:8.sql"
    hint = Hint("s3cret: ", Command("repair", "it's", "--accept", path))
    error = ConflictError("s3cret is in it", where=Mark(path, 3, 4), hint=hint)
    failure = Failure.of(error, lambda text: text.replace("s3cret", "***"))
    assert failure.where == Mark(path, 3, 4)
    document = failure.document()
    assert document["where"] == f"{path}:3:4"
    assert (document["path"], document["line"], document["column"]) == (path, 3, 4)
    assert document["hint"] == f"***: orch repair {shlex.quote(chr(39).join(['it', 's']))} --accept '{path}'"
    assert document["commands"] == [["repair", "it's", "--accept", path]]
    back = Failure.read(document)
    assert back == failure
    assert Hint(back.hint).commands == hint.commands
    assert Failure.read({**document, "path": "", "where": ""}).where is None


def test_an_error_that_is_completed_is_a_new_one() -> None:
    error = StatementError("no", code="42601", contended=2)
    whole = error.completed(where=Mark("a.sql", 1, 2), hint=Hint(Command("apply")))
    assert (error.where, error.hint) == (None, "")
    assert (whole.what, whole.code, whole.contended, str(whole)) == ("no", "42601", 2, "no")
    assert isinstance(whole, StatementError)
    assert whole.hint.commands == (Command("apply"),)
    assert isinstance(copy(OrchError("x", hint="fix the cause")).hint, Hint)


def test_a_healthy_state_has_no_hints() -> None:
    assert reconcile((), History()).problems == State().problems


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["plan", "it's", "b c"], f"orch plan --only {shlex.quote(chr(39).join(['it', 's']))} --only 'b c'"),
        (["plan", "-f", "x", "No such command 'up'."], "orch plan -f x --only 'No such command '\"'\"'up'\"'\"'.'"),
        (["apply", "--dry-run"], "orch plan shows what apply would do"),
        (["--dry-run", "apply"], "options come after the command, as in: orch apply --only order"),
        (["up"], "orch apply --help"),
        (["upp", "-f", "x"], "orch --help"),
        (["dev", "upp", "-f", "x"], "orch dev --help"),
        (["status", "--output", "No such option: --dry-run"], "orch status --help"),
    ],
)
def test_a_call_that_is_not_understood(
    words: list[str], hint: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from orchestrator.cli.run import run

    monkeypatch.setattr("sys.argv", ["orch", *words])
    assert run() == 2
    assert f"hint: {hint}\n" in capfd.readouterr().err


# What these write is a file or a page for people, or a name in a report: nothing of it is a hint.
NO_HINTS = (
    "render/",
    "analysis/rules",
    "files/scaffold",
    "cli/command_table",
    "cli/reference",
    "views/lint_docs",
    "views/lint_reports",
)
NO_COMMANDS = {"orch clone": "engines/postgres/copies.py"}  # a mark in a comment of a database


def test_no_text_holds_a_command_that_is_not_data() -> None:
    """`orch NAME` in backticks speaks of a command, and is none to paste."""
    commands = re.compile(rf"(?<![`\"])\borch ({'|'.join(COMMANDS)})\b")
    found = []
    root = Path(orchestrator.__file__).parent
    for path in root.rglob("*.py"):
        name = path.relative_to(root).as_posix()
        if name.startswith(NO_HINTS):
            continue
        tree = ast.parse(path.read_text())
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        docs |= {
            id(word.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            for word in node.keywords
            if word.arg == "help"
        }
        found += [
            f"{name}:{node.lineno}: {node.value!r}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and commands.search(node.value)
            if id(node) not in docs and NO_COMMANDS.get(node.value) != name
        ]
    assert not found, "a command in a hint is a Command, not text:\n" + "\n".join(found)
