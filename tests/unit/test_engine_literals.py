"""Outside of `engines/` and `embedded/`, no code knows an engine by its name: it asks the record of the engine."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.engines import DIALECTS, dialects

ROOT = Path(__file__).parents[2] / "orchestrator"
ALLOWED = ("engines", "embedded")
MODULES = [path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).parts[0] not in ALLOWED]
WORDS = {word for one in dialects() for word in (one.name, one.title, *one.aliases, *one.dsn.schemes)}


def literals(text: str) -> Iterator[tuple[int, str]]:
    """Yield every string of a module that is the name of an engine, with its line."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in WORDS:
            yield node.lineno, node.value


def test_no_module_outside_of_the_engines_names_one() -> None:
    found = [
        f"{path.relative_to(ROOT.parent)}:{line}: {word!r}"
        for path in MODULES
        for line, word in literals(path.read_text())
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("text", ['x == "postgres"', 'case("mongo")', '{"sqlite": 1}'])
def test_the_test_would_notice(text: str) -> None:
    assert bool(list(literals(text))) is any(name in text for name in DIALECTS)
    assert len(MODULES) > 50
