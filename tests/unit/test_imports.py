"""The table of who may import what, kept true by reading every import in the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "orchestrator"

# Modules that begin so → what of ours they may import (a name serves for all that begins so, and for itself).
CORE = ("errors", "hints", "phrases", "model", "events", "secret")
OF_EVERY_ENGINE = (
    "errors",
    "hints",
    "phrases",
    "model",
    "engines.base",
    "engines.dialect",
    "engines.foreign",
    "engines.identity",
    "engines.names",
    "engines.url",
)
RECORDS = ("engines.dialect", "engines.url")  # and the table in engines itself: no driver
PURE = (*CORE, *RECORDS, "planning", "analysis")
EVERYWHERE = ("records", "patterns")  # in place of the standard library
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "records": (),
    "patterns": (),
    "secret": (),
    "hints": (),
    "phrases": (),
    "errors": ("model", "secret", "hints"),
    "model": ("model", "secret"),
    "events": CORE,
    "planning": (*CORE, *RECORDS, "planning"),
    "planning.planner": PURE,
    "planning.status": PURE,
    "planning.saved_plan": PURE,
    "analysis": (*CORE, "analysis"),
    "analysis.rules": (*CORE, *RECORDS, "analysis"),
    "analysis.words": (*CORE, "analysis", "engines.postgres.sql_reader"),  # its tokens: pure, no driver
    "analysis.findings": (*CORE, "analysis", "engines.postgres.sql_reader"),
    "analysis.splitting": (*CORE, "analysis", "engines.postgres.sql_reader"),
    "analysis.judge_mysql": (*CORE, "analysis", "engines.mysql.lexer"),  # the same
    "analysis.judge_alter_mysql": (*CORE, "analysis", "engines.mysql.lexer"),
    "analysis.tables_mysql": (*CORE, "analysis", "engines.mysql.lexer"),
    "analysis.columns_mysql": (*CORE, "analysis", "engines.mysql.lexer"),
    "analysis.mysql_inner": (*CORE, "analysis", "engines.mysql.lexer"),
    "manifest": (
        "errors",
        "hints",
        "phrases",
        "model",
        "secret",
        *RECORDS,
        "planning.graph",
        "analysis.rules",
        "manifest",
    ),
    "engines.base": ("errors", "hints", "phrases", "model"),
    "engines": ("engines.dialect", "engines.base", "errors", "hints"),
    "engines.dialect": ("model", "engines.url", "engines.parts"),
    "engines.parts": ("model",),
    "engines.url": ("errors", "phrases", "engines.dialect"),
    "engines.names": (),
    "engines.checks": ("errors", "model"),
    "engines.identity": (),
    "engines.foreign": ("errors", "hints"),
    "engines.lock_holders": ("errors", "hints", "model"),
    "engines.directives": ("model",),
    "engines.file_reader": ("errors", "model"),
    "engines.file_settings": ("model", "engines.checks", "engines.file_reader"),
    "engines.postgres": (
        *OF_EVERY_ENGINE,
        "engines.postgres",
        "engines.lock_holders",
        "engines.checks",
        "engines.directives",
    ),
    "engines.mongo": (
        *OF_EVERY_ENGINE,
        "engines.mongo",
        "engines.checks",
    ),
    "engines.mysql": (
        *OF_EVERY_ENGINE,
        "engines.mysql",
        "engines.lock_holders",
        "engines.file_reader",
        "engines.file_settings",
        "engines.checks",
        "engines.directives",
    ),
    "engines.sqlite": (
        *(
            "errors",
            "hints",
            "phrases",
            "model",
            "secret",
            "engines.base",
            "engines.dialect",
            "engines.foreign",
            "engines.names",
            "engines.url",
        ),
        "engines.sqlite",
        "engines.file_reader",
        "engines.file_settings",
        "engines.checks",
        "engines.directives",
    ),
    "execution": (*PURE, "engines.base", "execution"),
    "execution.scheduler": (),
    "execution.timings": (),
    "scratch": (*PURE, "engines.base", "execution", "scratch", "manifest.retarget"),
    "operations": (
        *(*PURE, "engines.base", "manifest", "execution", "scratch", "embedded"),
        *("files", "render", "operations"),  # what speaks, views and the command line, comes after it
    ),
    "files": ("errors", "hints", "phrases", "model", *RECORDS, "files", "manifest"),
    "views": (*PURE, "views", "scratch", "operations"),  # the results of use cases
    "render": ("errors", "hints", "phrases", "model", *RECORDS, "planning.graph", "manifest", "files", "render"),
    "embedded": ("errors", "hints", *RECORDS, "embedded"),
    # The face: commands and programs call use cases, which do the work.
    "cli": (
        *(*CORE, *RECORDS, "manifest", "operations", "files", "views", "cli"),
        # Defaults, and types of results.
        *("execution.scheduler", "execution.timings", "planning.graph", "planning.plan", "planning.shards", "analysis"),
    ),
    "api": (*CORE, "operations", "execution.scheduler", "planning.plan", "planning.status"),
    "testing": (*CORE, *RECORDS, "manifest", "operations", "embedded", "testing"),
    "pytest_plugin": ("errors", "events", "hints", "manifest", "model", "testing"),
    "__main__": ("cli",),
    "schemas": (),
}
# Packages of others → the only modules that may import them.
ONLY_IN = {
    "networkx": ("planning.graph",),
    "psycopg": ("engines.postgres",),
    "pymysql": ("engines.mysql",),
    "pymongo": ("engines.mongo", "embedded.mongo"),  # a replica set must be initiated
    "bson": ("engines.mongo", "embedded.mongo"),
    "gridfs": (),
    "jsonschema": ("manifest", "planning.saved_plan", "operations.report_file"),  # documents against published schemas
    "yaml": ("manifest", "files", "cli.run"),
    "rich": ("views", "cli"),
    "opentelemetry": ("views.otel",),
    "distributed": ("operations.dask_client", "operations.dask_cluster", "operations.dask_worker"),
    "dask": (),
    "typer": ("cli",),
    "click": (),
}


def modules() -> dict[str, Path]:
    names = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


MODULES = modules()


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yield every module that a file imports, wherever in it, with its line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                ours = whole.removeprefix("orchestrator.") in MODULES
                yield (whole if ours else str(node.module)), node.lineno


def is_one_of(module: str, allowed: tuple[str, ...]) -> bool:
    """`engines.mongo` stands for itself and for engines.mongo.errors."""
    return any(
        module == name or module.startswith(f"{name}.") or (module == "engines" and name == "engines.dialect")
        for name in allowed
    )


def rule_of(module: str) -> tuple[str, ...] | None:
    names = [name for name in MAY_IMPORT if module == name or module.startswith(f"{name}.")]
    return MAY_IMPORT[max(names, key=len)] if names else None


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports(module: str) -> None:
    path = MODULES[module]
    rule = rule_of(module)
    wrong = []
    for imported, line in imports(path):
        package, _, ours = imported.partition(".")
        place = f"{path.relative_to(ROOT.parent)}:{line} imports {imported}"
        if package == "orchestrator":
            if is_one_of(ours, ("cli",)) and not is_one_of(module, ("cli", "__main__")):
                wrong.append(f"{place}: nobody imports the command line")
            if ours and rule is not None and not is_one_of(ours, (*rule, *EVERYWHERE)):
                wrong.append(f"{place}: it may import {', '.join(rule) or 'nothing of ours'}")
        elif package in ONLY_IN and not is_one_of(module, ONLY_IN[package]):
            wrong.append(f"{place}: only {', '.join(ONLY_IN[package]) or 'nobody'} may")
    assert not wrong, "\n".join(wrong)


def test_every_room_has_a_rule() -> None:
    assert not [name for name in MODULES if name and rule_of(name) is None]


def test_no_circle_between_packages() -> None:
    needs: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        if module:
            ours = {name.removeprefix("orchestrator.") for name, _ in imports(path) if name.startswith("orchestrator.")}
            needs.setdefault(module.split(".")[0], set()).update(one.split(".")[0] for one in ours)
    while free := [package for package, others in needs.items() if not (others - {package}) & needs.keys()]:
        for package in free:
            del needs[package]
    assert not needs, f"these packages import each other: {', '.join(sorted(needs))}"


@pytest.mark.parametrize("word", ["utils", "util", "common", "core", "manager", "service", "helpers"])
def test_no_module_is_named_for_nothing(word: str) -> None:
    assert not [name for name in MODULES if word in name.split(".")]


def test_the_test_would_notice() -> None:
    assert rule_of("engines.mongo.extended_json") == MAY_IMPORT["engines.mongo"]
    assert rule_of("views.text") == MAY_IMPORT["views"]
    assert not is_one_of("engines.postgres.probe", MAY_IMPORT["engines.mongo"])
    assert not is_one_of("execution.executor", MAY_IMPORT["views"])
    assert "orchestrator.engines.base" in {name for name, _ in imports(MODULES["execution.migrator"])}
