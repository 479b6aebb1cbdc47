"""docs/architecture.md names every module."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
COVERED_BY_PACKAGE = {"commands", "schemas"}


def test_the_architecture_page_names_every_module() -> None:
    words = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`[^`\n]+`", PAGE))))
    modules = [path for path in (ROOT / "orchestrator").rglob("*.py") if path.stem != "__init__"]
    missing = [
        str(path.relative_to(ROOT))
        for path in modules
        if path.parent.name not in COVERED_BY_PACKAGE and path.stem not in words and path.stem != "__main__"
    ]
    assert not missing, f"docs/architecture.md does not name {', '.join(sorted(missing))}"
