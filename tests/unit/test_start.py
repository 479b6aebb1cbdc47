"""What happens before a command begins: the help, the version, and what they do not import."""

import subprocess
import sys
from pathlib import Path

import typer.main

import orchestrator.cli
from orchestrator.cli.app import app
from orchestrator.cli.command_table import COMMANDS, HELP

HEAVY = ("typer", "networkx", "psycopg", "pymongo", "jsonschema", "yaml", "rich.live")


def test_the_table_of_commands_names_every_module_that_is_one() -> None:
    directory = Path(orchestrator.cli.__file__).parent / "commands"
    modules = {path.stem for path in directory.glob("*.py") if {"def command(", "app = typer"} & _lines(path)}
    assert {name.replace("-", "_") for name in COMMANDS} == modules


def _lines(path: Path) -> set[str]:
    starts = ("def command(", "app = typer")
    return {start for line in path.read_text().splitlines() for start in starts if line.startswith(start)}


def test_the_help_fits_a_terminal_and_shows_the_options_there_are() -> None:
    assert max(map(len, HELP.splitlines())) <= 80
    root = typer.main.get_command(app)
    for parameter in root.params:
        for option in parameter.opts:
            assert option in HELP


def test_every_command_can_be_built() -> None:
    root = typer.main.get_command(app)
    context = root.make_context("orch", [], resilient_parsing=True)
    for name in COMMANDS:
        assert root.get_command(context, name).get_help(context)  # type: ignore[attr-defined]


def test_help_and_version_import_nothing_heavy() -> None:
    for option in ("--help", "-h", "--version", "-V"):
        program = (
            "import os, sys; sys.argv = ['orch', sys.argv[1]]; import orchestrator.cli as cli\n"
            f"os._exit = lambda code: print([name for name in {HEAVY} if name in sys.modules], code)\n"
            "cli.main()"
        )
        done = subprocess.run([sys.executable, "-c", program, option], capture_output=True, text=True)
        assert "[] 0\n" in done.stdout, done.stdout + done.stderr


def test_everyday_commands_import_only_what_they_use(tmp_path: Path) -> None:
    (tmp_path / "databases.yaml").write_text(
        "version: 1\ndatabases:\n  - {name: shop, engine: sqlite, dsn: 'sqlite://shop.db', migrations: migrations}\n"
    )
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations/000001_a.up.sql").write_text("CREATE TABLE a (id INTEGER PRIMARY KEY);\n")
    unused = (
        *("typer", "psycopg", "pymongo", "jsonschema", "networkx", "rich.live", "opentelemetry"),
        *("dataclasses", "inspect"),  # orchestrator.records serves
        *(f"orchestrator.engines.{name}" for name in ("postgres", "mongo", "mysql")),
        *("orchestrator.analysis.rules", "orchestrator.analysis.sessions", "orchestrator.planning.shards"),
        *(
            "orchestrator.planning.rollout",
            "orchestrator.views.report",
            "orchestrator.views.otel",
            "orchestrator.render",
        ),
    )
    program = (
        "import os, sys; import orchestrator.cli as cli\n"
        f"os._exit = lambda code: print([name for name in {unused} if name in sys.modules], code)\n"
        "cli.main()"
    )
    subprocess.run([sys.executable, "-m", "orchestrator", "apply"], cwd=tmp_path, check=True, capture_output=True)
    for command in ("apply", "status", "validate"):
        done = subprocess.run([sys.executable, "-c", program, command], cwd=tmp_path, capture_output=True, text=True)
        expected = "['orchestrator.analysis.sessions'] 0" if command == "validate" else "[] 0"  # it reads every file
        assert expected in done.stdout, done.stdout + done.stderr


def test_a_hint_names_orch_also_where_it_runs_as_a_module(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "orchestrator", "zzz"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "error: No such command 'zzz'.\n  hint: orch --help\n")
