"""The command line itself: what it loads, its exit codes, its help, its colours."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from estate import ORCH, Estate, launch
from transcript import seen_on

from orchestrator import __version__
from orchestrator.cli.command_table import COMMANDS

HEAVY = ("networkx", "psycopg", "pymongo", "jsonschema", "yaml", "rich.live")
HEAD = """\
version: 1
servers: {pg: {engine: postgres, dsn: "postgres://h/{database}"}, mongo: {engine: mongo, dsn: "mongodb://h/{database}"}}
databases:
"""
ONE = {"000001_one.up.sql": "CREATE TABLE one (id int);", "000001_one.down.sql": "DROP TABLE one;"}


def loaded(*arguments: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> set[str]:
    """Return the modules that a run of the command imports."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "orchestrator", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=env,
        check=False,
    )
    return set(re.findall(r"\| +([\w.]+)$", done.stderr, re.M))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["apply", "--help"], ["dev", "--help"]], ids=" ".join)
def test_what_help_and_version_do_not_load(arguments: list[str]) -> None:
    modules = loaded(*arguments)
    assert "orchestrator" in modules
    assert not modules & set(HEAVY)


def test_a_driver_is_loaded_only_for_its_engine(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    modules = loaded("status", cwd=pg_estate.root, env=pg_estate.env)
    assert "psycopg" in modules
    assert not modules & {"pymongo", "networkx", "jsonschema", "rich.live"}


def test_version(tmp_path: Path) -> None:
    assert Estate(tmp_path, {}).orch("--version").stdout == f"orch {__version__}\n"
    assert Estate(tmp_path, {}).orch("-V").stdout == f"orch {__version__}\n"


def test_help_names_every_command_and_exit_code(tmp_path: Path) -> None:
    text = Estate(tmp_path, {}).orch("--help").stdout
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", text, re.M), command
    for code in (
        "0 done",
        "1 failed",
        "2 usage",
        "3 changes",
        "4 manifest",
        "5 history",
        "6 lock",
        "7 cannot",
        "130 int",
    ):
        assert code in " ".join(text.split())


@pytest.mark.parametrize(
    "command",
    [name for name in COMMANDS if name not in ("dev", "rollout")]
    + [f"dev {name}" for name in ("up", "down", "status", "env")]
    + ["rollout resume"],
)
def test_the_help_of_every_command_has_an_example(tmp_path: Path, command: str) -> None:
    text = Estate(tmp_path, {}).orch(*command.split(), "--help").stdout
    assert re.search(rf"Examples?:\s.*orch\s+{command}", text, re.S), text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "nonsense"),
        (["aply"], "apply"),
        (["apply", "--nonsense"], "--nonsense"),
        (["apply", "--jobs", "0"], "--jobs"),
        (["apply", "--jobs", "many"], "many"),
        (["apply", "--output", "xml"], "xml"),
        (["rollback"], "NAME"),
        (["rollback", "a", "--steps", "0"], "--steps"),
        (["rollback", "a", "--steps", "1", "--to", "1", "--yes"], "--steps N or --to VERSION"),
        ([], "Usage"),
    ],
    ids=" ".join,
)
def test_usage_errors(tmp_path: Path, arguments: list[str], said: str) -> None:
    result = Estate(tmp_path, {}).orch(*arguments, code=2)
    assert said.lower() in result.text.lower()


@pytest.mark.parametrize("command", ["apply", "plan", "status", "validate", "graph"])
def test_a_selection_that_selects_nothing(pg_estate: Estate, command: str) -> None:
    pg_estate.add("postgres", "a", ONE)
    assert "nothing is selected" in pg_estate.orch(command, "--exclude", "*", code=2).stderr
    assert "--no-deps is for --only" in pg_estate.orch(command, "--no-deps", code=2).stderr


def test_up_to_a_version_is_for_the_one_database_that_is_selected(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "order", ONE)
    pg_estate.add("postgres", "inventory", ONE | {"000002_two.up.sql": "SELECT 1"}, depends_on=["order"])
    for said, *options in (
        ("'*' stands for 2: postgres-order, postgres-inventory", "--only", "*"),
        ("postgres-inventory, which --exclude leaves out", "--only", "inventory", "--exclude", "inventory"),
        ("no database is called 'oder'", "--only", "oder"),
        ("--to needs a single --only", "--only", "order", "--only", "inventory"),
    ):
        assert said in pg_estate.orch("apply", "--to", "1", *options, code=2).stderr
    pg_estate.orch("apply", "--only", "inv*", "--to", "1")
    assert pg_estate.version_row("order") == pg_estate.version_row("inventory") == [(1, False)]


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["plan", "order", "user"], "orch plan --only order --only user"),
        (["apply", "order"], "for one database: orch apply --only order"),
        (["apply", "--dry-run"], "orch plan shows what apply would do"),
        (["rollback", "order", "--yes"], "orch rollback order --steps 1"),
        (["up"], "orch apply --help"),
        (["migrate"], "orch apply --help"),
        (["undo"], "orch rollback --help"),
        (["start"], "orch dev up"),
        (["migrate", "status"], "orch status --help"),
        (["migrate", "down"], "orch rollback --help"),
        (["db", "create"], "orch add-db --help"),
        (["psql"], "orch shell --help"),
        (["setup"], "orch init --help"),
        (["reapply"], "orch redo --help"),
        (["env"], "orch dev env"),
        (["backup"], "orch makes no backups"),
        (["lint", "--since"], "orch lint --help"),
        (["render", "kubernetes"], "orch render k8s"),
        (["render", "k8s", "docker-compose"], "orch render k8s compose"),
        (["-f", "x.yaml", "apply"], "options come after the command"),
        (["apply", "--embeded"], "Possible options: --embedded"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_call_is_answered_by_the_right_one(tmp_path: Path, arguments: list[str], hint: str) -> None:
    assert hint in Estate(tmp_path, {}).orch(*arguments, code=None).stderr


def test_a_suggested_command_carries_the_options_of_the_call(pg_estate: Estate) -> None:
    text = "-- orch: no-transaction\nCREATE TABLE t (id int);\nSELECT * FROM nowhere;\n"
    pg_estate.add("postgres", "a", {"1_x.up.sql": text})
    (pg_estate.root / "databases.yaml").rename(pg_estate.root / "my shop.yaml")
    (pg_estate.root / ".env").write_text("")
    where = ["--file", "my shop.yaml", "--env-file=.env"]
    pasted = "--file 'my shop.yaml' --env-file .env"
    pg_estate.orch("apply", *where, code=1)
    assert f"continue: orch apply {pasted}" in pg_estate.orch("status", *where, code=None).stdout
    pg_estate.write("postgres-a", {"1_x.up.sql": text.replace("t (id int)", "t (id bigint)")})
    assert f"Or: orch repair {pasted} postgres-a" in pg_estate.orch("apply", *where, code=5).stderr
    ways = pg_estate.orch("repair", "a", *where).stdout
    assert f"  orch repair {pasted} postgres-a --mark-applied 1\n" in ways
    marked = pg_estate.orch("repair", "a", "--mark-applied", "1", *where).stdout
    assert f"Next: orch status {pasted}, then orch apply {pasted}" in marked
    planned = pg_estate.orch("plan", "-o", "p.json", "-f", "my shop.yaml").stderr
    assert "run it: orch apply -f 'my shop.yaml' p.json" in planned
    assert "orch apply -f 'my shop.yaml' --only a" in pg_estate.orch("new", "a", "x", "-f", "my shop.yaml").stderr
    assert "--file" not in pg_estate.orch("status", "-f", "gone.yaml", code=4).stderr.split("orch init")[1]


def test_the_manifest_is_found_upward_by_option_and_by_variable(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    manifest = pg_estate.root / "databases.yaml"
    below = pg_estate.root / "deep" / "down"
    below.mkdir(parents=True)
    root, pg_estate.root = pg_estate.root, below
    assert "1 database" in pg_estate.orch("validate").stdout
    pg_estate.root = root
    other = root / "other.yaml"
    manifest.rename(other)
    assert "there is no databases.yaml" in pg_estate.orch("validate", code=4).stderr
    pg_estate.orch("validate", "--file", "other.yaml")
    pg_estate.orch("validate", env={"ORCH_FILE": str(other)})
    pg_estate.orch("validate", "-f", "gone.yaml", env={"ORCH_FILE": str(other)}, code=4)


def test_an_env_file(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    (pg_estate.root / ".env").write_text(f"POSTGRES_PASSWORD='{pg_estate.env.pop('POSTGRES_PASSWORD')}'\n")
    refused = pg_estate.orch("plan", "--no-env-file", code=4).stderr
    assert "--env-file" in refused
    pg_estate.orch("plan", env={"ORCH_ENV_FILE": ""}, code=4)
    (pg_estate.root / ".env").rename(pg_estate.root / "local.env")
    pg_estate.orch("plan", code=4)
    pg_estate.orch("plan", env={"ORCH_ENV_FILE": "local.env"})
    pg_estate.orch("plan", "--env-file", "local.env")
    (pg_estate.root / "local.env").rename(pg_estate.root / ".env")
    (pg_estate.root / "below").mkdir()
    pg_estate.orch("apply", env={"POSTGRES_PASSWORD_FILE": ""})  # .env beside the manifest is read by itself


def test_errors_as_json(tmp_path: Path) -> None:
    (tmp_path / "databases.yaml").write_text("version: 1\n")
    result = Estate(tmp_path, {}).orch("apply", "--output", "json", code=4)
    (error,) = result.json["errors"]
    assert (error["kind"], error["exit_code"]) == ("invalid", 4)
    assert error["where"].startswith("databases.yaml:")


def on_a_terminal(
    estate: Estate,
    *arguments: str,
    env: dict[str, str] | None = None,
    typed: str = "",
    pause: float = 0,
    watch: Callable[[bytes], None] | None = None,
) -> str:
    """Run the command with its stderr on a terminal where a person types this; return what the terminal got.

    Who thinks for a `pause` types so many seconds after the question. `watch` gets all that the terminal has so far.
    """
    ours, theirs = pty.openpty()
    plain = {k: v for k, v in estate.env.items() if k not in ("CI", "NO_COLOR")} | {"TERM": "xterm-256color"}
    with launch(
        arguments, estate.root, plain | (env or {}), stdin=theirs, stdout=subprocess.PIPE, stderr=theirs
    ) as process:
        os.close(theirs)
        if not pause:
            os.write(ours, typed.encode())
        seen = b""
        for seen in seen_on(ours):
            if watch:
                watch(seen)
            if pause and b"Type 'yes'" in seen:
                time.sleep(pause)
                os.write(ours, typed.encode())
                pause = 0
        process.wait(60)
    os.close(ours)
    return seen.decode()


def test_colours_on_a_terminal_unless_not_wanted(tmp_path: Path) -> None:
    estate = Estate(tmp_path, {})
    assert "\033[31merror:" in on_a_terminal(estate, "validate")
    assert "\033[" not in on_a_terminal(estate, "validate", env={"NO_COLOR": "1"})
    assert "\033[" not in on_a_terminal(estate, "validate", env={"TERM": "dumb"})
    assert "\033[" not in estate.orch("validate", code=4).text


def test_what_is_dangerous_is_coloured(pg_estate: Estate) -> None:
    pg_estate.add(
        "postgres",
        "a",
        {**ONE, "000002_drop.up.sql": "DROP TABLE one;", "000002_drop.down.sql": ONE["000001_one.up.sql"]},
    )
    pg_estate.orch("apply", "--only", "a", "--to", "1")  # a plan marks nothing in a database that it creates
    assert "\033[33m      ! drops table one and what is in it: migrations/" in on_a_terminal(
        pg_estate, "apply", "--yes"
    )
    pg_estate.orch("rollback", "a", "--steps", "1", "--yes")
    assert "\n      ! drops table one" in pg_estate.orch("rollback", "a", "--to", "0", "--yes").stderr


@pytest.mark.timing
def test_the_live_view(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_slow.up.sql": "CREATE TABLE slow (id int); SELECT pg_sleep(0.6);"})
    pg_estate.add("postgres", "b", {"1_bad.up.sql": "SELECT * FROM nowhere"})
    seen = on_a_terminal(pg_estate, "apply", env={"COLUMNS": "80"})
    assert "of 2 migrations" in seen
    assert "of 0 migrations" not in seen, "it begins when there is something to see"
    assert not re.search(r"\u2501[^\n]*of 2 migrations", seen), "the bar has a line of its own"
    assert "1 slow" in seen
    assert 'relation "nowhere" does not exist' in seen
    pg_estate.write("postgres-b", {"1_bad.up.sql": "SELECT 1"})
    uncoloured = on_a_terminal(pg_estate, "apply", env={"NO_COLOR": "1"})
    assert not re.search(r"\033\[[0-9;]*3[0-9]m", uncoloured), "no colour, though the view may move the cursor"


@pytest.mark.timing
def test_the_live_view_shows_control_characters_and_obeys_none(pg_estate: Estate) -> None:
    pg_estate.add(
        "postgres", "a", {"1_title\033]0;owned\007.up.sql": "SELECT pg_sleep(0.6)", "2_b.up.sql": "SELECT 1 / 0"}
    )
    seen = on_a_terminal(pg_estate, "apply", env={"COLUMNS": "80"})
    assert "title\\x1b]0;owned\\x07" in seen
    assert "\033]0;" not in seen


@pytest.mark.timing
def test_rollback_shows_its_plan_and_asks(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    pg_estate.orch("apply")
    declined = on_a_terminal(pg_estate, "rollback", "a", "--steps", "1", typed="no\n")
    assert "- 1 one" in declined
    assert "not confirmed: nothing was changed" in declined
    assert pg_estate.tables("a") == {"one"}
    on_a_terminal(pg_estate, "rollback", "a", "--steps", "1", typed="yes\n")
    assert pg_estate.tables("a") == set()


@pytest.mark.timing
def test_a_rollback_of_several_is_all_or_none_and_asks_before_it_is(pg_estate: Estate) -> None:
    for name in ("a", "b"):
        pg_estate.add("postgres", name, ONE)
    pg_estate.write("postgres-a", {"000002_two.up.sql": "SELECT 1;", "000002_two.down.sql": "SELECT 1;"})
    pg_estate.orch("apply")
    pg_estate.write("postgres-a", {"000001_one.up.sql": "CREATE TABLE other (id int);"})
    told = on_a_terminal(pg_estate, "rollback", "a", "b", "--steps", "1")
    assert "was edited after it was applied" in told
    assert pg_estate.orch("rollback", "a", "b", "--steps", "1", "--yes", code=5).stdout == ""
    assert pg_estate.tables("a") == pg_estate.tables("b") == {"one"}


@cache
def _script_for_bash() -> str:
    env = {**os.environ, "_ORCH_COMPLETE": "source_bash"}
    return subprocess.run([ORCH], env=env, capture_output=True, text=True).stdout


def completed(estate: Estate, line: str, **env: str) -> list[str]:
    """Return what bash offers for the last word of a line, by the script that it gets from us."""
    *words, last = line.split(" ")
    script = f"""
        {_script_for_bash()}
        COMP_WORDS=({" ".join(words)} "$1") COMP_CWORD={len(words)}
        _orch_completion {ORCH}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "-c", script, "bash", last], cwd=estate.root, env=estate.env | env, capture_output=True, text=True
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_the_shell_completes_the_names_of_databases(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "order", ONE, labels=["core"])
    pg_estate.add("postgres", "inventory", ONE, labels=["core", "slow"])
    everything = ["order", "inventory", "label:core", "label:slow"]
    assert completed(pg_estate, "orch apply --only ") == everything
    assert completed(pg_estate, "orch status --exclude ") == everything
    assert completed(pg_estate, "orch plan --only order --only in") == ["inventory"]
    assert completed(pg_estate, "orch plan --only lab") == ["label:core", "label:slow"]
    assert completed(pg_estate, "orch plan --only label : s") == ["slow"]  # as bash breaks label:s
    assert completed(pg_estate, "orch plan --only label :") == ["core", "slow"]
    assert completed(pg_estate, "orch plan --only postgres-i") == ["postgres-inventory"]
    assert completed(pg_estate, "orch rollback order ") == ["order", "inventory"]
    for command in (
        "history",
        "repair",
        "baseline",
        "unlock",
        "clone",
        "new",
        "rm-db",
        "wait --for",
        "add-db x --depends-on",
    ):
        assert completed(pg_estate, f"orch {command} o") == ["order"], command
    for shell, variables in (
        ("zsh", {"_TYPER_COMPLETE_ARGS": "orch apply --only inv"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "orch apply --only inv", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ):
        assert "inventory" in pg_estate.orch(env={"_ORCH_COMPLETE": f"complete_{shell}", **variables}).stdout

    (pg_estate.root / "databases.yaml").rename(pg_estate.root / "other.yaml")
    assert completed(pg_estate, "orch apply -f other.yaml --only in") == ["inventory"]
    assert completed(pg_estate, "orch apply --only in", ORCH_FILE="other.yaml") == ["inventory"]
    assert completed(pg_estate, "orch apply --only in") == []
    (pg_estate.root / "databases.yaml").write_text("version: 1\n\tbroken")
    assert completed(pg_estate, "orch apply --only in") == []


def test_a_name_that_two_engines_have_is_completed_as_an_id(tmp_path: Path) -> None:
    small = f"{HEAD}  - {{name: product, server: pg}}\n  - {{name: product, server: mongo}}\n  - {{name: logs, server: mongo}}\n"
    (tmp_path / "databases.yaml").write_text(small)
    assert completed(Estate(tmp_path, {}), "orch history ") == ["postgres-product", "mongo-product", "logs"]


@pytest.mark.timing
@pytest.mark.parametrize(("answer", "left"), [("yes\n", 0), ("no\n", 1)])
def test_a_lock_that_grew_older_before_the_answer_is_still_the_same(
    mongo_estate: Estate, answer: str, left: int
) -> None:
    mongo_estate.add("mongo", "a", {"1_x.up.js": '[{"create": "c"}]'})
    locks = mongo_estate.mongo("a")["migrate_advisory_lock"]
    since = datetime.now(UTC) - timedelta(minutes=10)
    locks.insert_one({"locking_key": 0, "pid": 17, "hostname": "pod-7", "created_at": since})
    seen = on_a_terminal(mongo_estate, "unlock", "mongo-a", typed=answer, pause=1.2)
    assert "error" not in seen
    assert locks.count_documents({}) == left


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    done = subprocess.run(f"{ORCH} schema | head -c 1", shell=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "{"
    assert "Traceback" not in done.stderr


def test_graph_formats(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "b", ONE, depends_on=["a"])
    pg_estate.add("postgres", "a", ONE)
    assert "postgres-a\n└─ postgres-b" in pg_estate.orch("graph").stdout
    assert pg_estate.orch("graph", "--format", "json").json["waves"] == [["postgres-a"], ["postgres-b"]]
    assert "-->" in pg_estate.orch("graph", "--format", "mermaid").stdout
    assert '"postgres-a" -> "postgres-b"' in pg_estate.orch("graph", "--format", "dot").stdout


def test_the_schema_is_json(tmp_path: Path) -> None:
    assert json.loads(Estate(tmp_path, {}).orch("schema").stdout)["title"]
