"""Names without an underscore are used by other modules; packages list what they offer."""

import ast
import re
from functools import cache
from pathlib import Path

import orchestrator

ROOT = Path(orchestrator.__file__).parent
HOOKS = "pytest_"


@cache
def words_of_files() -> dict[Path, frozenset[str]]:
    top = ROOT.parent
    folders = ("orchestrator", "tests", "benchmarks", "examples", "docs")
    files = [*top.glob("*.toml"), top / "Makefile"]
    files += [path for folder in folders for end in ("py", "md") for path in (top / folder).rglob(f"*.{end}")]
    return {path: frozenset(re.findall(r"\w+", path.read_text(encoding="utf-8"))) for path in files}


def own_names(tree: ast.Module) -> list[str]:
    """Return the functions and constants of a module. A class may be what a function returns."""
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.append(node.name)
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names += [target.id for target in targets if isinstance(target, ast.Name) and target.id.isupper()]
    return names


def test_what_only_its_own_module_uses_begins_with_an_underscore() -> None:
    wrong = []
    for path in ROOT.rglob("*.py"):
        for name in own_names(ast.parse(path.read_text(encoding="utf-8"))):
            if name.startswith(("_", HOOKS)):
                continue
            if not any(name in words for other, words in words_of_files().items() if other != path):
                wrong.append(f"{path.relative_to(ROOT)}: {name}")
    assert not wrong, "\n".join(wrong)


def test_every_package_that_offers_names_lists_them() -> None:
    for path in ROOT.rglob("__init__.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        offers = any(isinstance(node, ast.ImportFrom) and node.module != "__future__" for node in tree.body)
        if offers and path.parent.name != "cli":  # its entry point is main()
            listed = [node for node in tree.body if isinstance(node, ast.Assign) and "__all__" in ast.unparse(node)]
            assert listed, path
