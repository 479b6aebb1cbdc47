"""The reference pages and the man page are those that the code writes. `make reference` writes them again."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator import errors
from orchestrator.cli.command_table import COMMANDS
from orchestrator.cli.messages import messages, messages_page
from orchestrator.cli.reference import PAGES

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_as_the_code_writes_it(path: str) -> None:
    page = PAGES[path]()
    if os.environ.get("ORCH_REFERENCE") == "write":
        (ROOT / path).parent.mkdir(exist_ok=True)
        (ROOT / path).write_text(page)
    assert (ROOT / path).read_text() == page, "write it again: make reference"


def test_every_error_has_a_remedy_and_every_message_is_in_the_page() -> None:
    classes = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, errors.OrchError)]
    assert not [one.__name__ for one in classes if "remedy" not in vars(one)]
    told, page = messages(), messages_page()
    assert len(told) > 300
    kinds = {one.kind for one in told}
    assert {"invalid", "usage", "locked", "unreachable", "conflict", "edited", "partial"} <= kinds
    dirty = next(one for one in told if one.what.startswith("golang-migrate stopped half way and left it dirty"))
    assert "orch repair NAME" in dirty.remedy
    assert "| the manifest has no server of engine … | declare it under 'servers' |" in page
    assert page.count("In general: ") == len(kinds)


def test_every_command_is_in_the_reference_and_in_the_man_page() -> None:
    commands, man = PAGES["docs/reference/commands.md"](), PAGES["orchestrator/cli/orch.1"]()
    for name in COMMANDS:
        assert f"### orch {name}" in commands
        assert f'.SS "orch {name}' in man


def test_the_site_builds_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install --group docs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "reference" / "commands.html").is_file()
    assert "orch repair NAME" in (tmp_path / "reference" / "messages.html").read_text()
    assert not list(tmp_path.rglob("*.py"))


@pytest.mark.parametrize("page", ["llms.txt", "README.md", "SECURITY.md"])
def test_links_of_pages_beside_the_site(page: str) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text())
    assert targets and not [target for target in targets if not (ROOT / target).exists()]


def test_tests_that_are_named_as_proof_are_there() -> None:
    names = set(re.findall(r"test_\w+\.py", (ROOT / "docs" / "leave-behind.md").read_text()))
    there = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert names and not names - there
