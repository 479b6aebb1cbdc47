"""Before something is lost, ask: `risks:` in the manifest, `--yes`, permissions in files, and who is not asked."""

from __future__ import annotations

import os
import pty

import pytest
from estate import Estate, launch
from transcript import seen_on

FIRST = {"1_a.up.sql": "CREATE TABLE t (a int, b int);\nCREATE TABLE u (a int);\n", "1_a.down.sql": ""}
DROPS = "ALTER TABLE t ADD COLUMN c int;\nALTER TABLE t -- no longer used\n  DROP COLUMN b;\n"


def at_a_terminal(estate: Estate, *arguments: str, typed: str = "", ci: str = "") -> tuple[int, str]:
    """Run the command where a person types this as soon as they are asked; return its exit code and what they see."""
    ours, theirs = pty.openpty()
    env = {key: value for key, value in estate.env.items() if key not in ("CI", "NO_COLOR")}
    env |= {"TERM": "xterm", "NO_COLOR": "1", **({"CI": ci} if ci else {})}
    with launch(arguments, estate.root, env, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        for seen in seen_on(ours):
            if typed and b"Type 'yes'" in seen:
                os.write(ours, typed.encode())
                typed = ""
    os.close(ours)
    return process.wait(60), seen.decode().replace("\r\n", "\n")


def declare(estate: Estate, risks: str, own: str = "") -> None:
    manifest = estate.root / "databases.yaml"
    lines = [line for line in manifest.read_text().splitlines() if not line.startswith("risks:")]
    text = "\n".join([lines[0], *([f"risks: {risks}"] if risks else []), *lines[1:]]) + "\n"
    manifest.write_text(text.replace('name: "a"', f'name: "a", risks: {own}') if own else text)


@pytest.fixture
def losing(pg_estate: Estate) -> Estate:
    """A database at version 1, and a file that drops one of its columns."""
    pg_estate.add("postgres", "a", FIRST)
    pg_estate.orch("apply")
    pg_estate.write("postgres-a", {"2_b.up.sql": DROPS})
    return pg_estate


def test_a_person_is_asked_before_data_is_lost(losing: Estate) -> None:
    code, seen = at_a_terminal(losing, "apply", typed="no\n")
    assert code == 130
    assert "! postgres-a: drops column t.b and what is in it: migrations/postgres-a/schema/2_b.up.sql:2\n" in seen
    assert "ALTER TABLE t -- no longer used DROP COLUMN b" in seen, "the statement is shown"
    assert "not confirmed: nothing was changed" in seen
    assert losing.version_row("a") == [(1, False)]
    code, seen = at_a_terminal(losing, "apply", typed="yes\n")
    assert (code, losing.version_row("a")) == (0, [(2, False)])


@pytest.mark.parametrize(
    "what",
    ["--yes", "no terminal", "ci", "permission", "allow", "adds only", "own allow"],
)
def test_who_is_not_asked(losing: Estate, what: str) -> None:
    arguments = ["apply"]
    if what == "permission":
        losing.write("postgres-a", {"2_b.up.sql": f"-- orch: allow PG102 read by nobody since May\n{DROPS}"})
    elif what == "allow":
        declare(losing, "{loses-data: allow}")
    elif what == "own allow":
        declare(losing, "{loses-data: refuse}", "{loses-data: allow}")
    elif what == "adds only":
        losing.write("postgres-a", {"2_b.up.sql": "ALTER TABLE t ADD COLUMN c int; CREATE INDEX ON t (a);"})
    elif what == "--yes":
        arguments.append("-y")
    if what == "no terminal":
        losing.orch("apply")
    else:
        code, seen = at_a_terminal(losing, *arguments, ci="true" if what == "ci" else "")
        assert code == 0 and "Type 'yes'" not in seen, seen
    assert losing.version_row("a") == [(2, False)]


def test_what_the_manifest_refuses_does_not_run(losing: Estate) -> None:
    declare(losing, "{loses-data: refuse}")
    for arguments in (["apply"], ["apply", "--yes"], ["plan"], ["apply", "--output", "json"]):
        refused = losing.orch(*arguments, code=5).stderr
        assert "loses-data: refuse" in refused and "nothing was changed" in refused
        assert "2_b.up.sql:2: drops column t.b and what is in it" in refused
        assert "orch: allow CODE REASON" in refused
    assert losing.version_row("a") == [(1, False)]
    losing.write("postgres-a", {"2_b.up.sql": f"-- orch: allow PG102\n{DROPS}"})
    losing.orch("apply", code=5)  # a permission without a reason allows nothing
    losing.write("postgres-a", {"2_b.up.sql": f"-- orch: allow PG102 read by nobody\n{DROPS}"})
    losing.orch("apply")
    assert losing.version_row("a") == [(2, False)]
    losing.orch("rollback", "a", "--steps", "1", "--yes", "--allow-missing-down")  # it asks by itself


def test_a_saved_plan_is_refused_too_and_lint_levels_do_not_hide_lost_data(losing: Estate) -> None:
    losing.orch("plan", "-o", "plan.json")
    declare(losing, "{loses-data: refuse}\nlint: {codes: {PG102: off}}")
    assert "loses-data: refuse" in losing.orch("apply", "plan.json", code=5).stderr


def test_locks_and_readers_have_policies_of_their_own(losing: Estate) -> None:
    losing.write("postgres-a", {"2_b.up.sql": "CREATE INDEX ON t (a);\n"})
    declare(losing, "{blocks-writes: refuse, breaks-readers: ask}")
    assert "blocks-writes: refuse" in losing.orch("apply", code=5).stderr
    losing.write("postgres-a", {"2_b.up.sql": "ALTER TABLE t RENAME a TO z;\n"})
    code, seen = at_a_terminal(losing, "apply", typed="\n")
    assert code == 130 and "renames what running programs use" in seen
    declare(losing, "{breaks-readers: refuse}\nlint: {codes: {PG501: off}}")
    losing.orch("apply")  # what lint is told to be silent about is no risk


def test_what_the_plan_creates_itself_is_not_asked_about(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {**FIRST, "2_b.up.sql": DROPS})
    code, seen = at_a_terminal(pg_estate, "apply")
    assert code == 0 and "Type 'yes'" not in seen


@pytest.mark.parametrize(
    ("risks", "said"),
    [
        ("{loses-data: never}", "must be allow, ask or refuse"),
        ("{lose-data: ask}", "lose-data"),
        ("[ask]", "risks"),
        ("{loses-data: }", ""),
    ],
)
def test_a_policy_that_does_not_exist_is_an_error(losing: Estate, risks: str, said: str) -> None:
    declare(losing, risks)
    error = losing.orch("apply", code=4).stderr
    assert "databases.yaml:2" in error and said in error
    assert losing.version_row("a") == [(1, False)]
