"""Files are written in the project and nowhere else: not for another program, and not through a link."""

from __future__ import annotations

from pathlib import Path

import pytest
from project import orch, small_project, snapshot


@pytest.mark.parametrize(
    ("render", "link"),
    [
        ("compose: {file: .git/hooks/pre-commit}", None),
        ("compose: {file: .GIT/hooks/pre-commit}", None),
        ("k8s: {directory: .git/hooks}", None),
        ("compose: {file: sub/.git/config}", None),
        ("compose: {file: .venv/bin/activate}", None),
        ("compose: {file: link/pre-commit}", ".git/hooks"),
        ("k8s: {directory: link}", ".git/hooks"),
        ("compose: {file: link/x.yml}", "../elsewhere"),
        ("compose: {file: link}", "../elsewhere/new.yml"),
        ("compose: {file: ../elsewhere/x.yml}", None),
        ("compose: {file: /tmp/orch-must-not-write-this.yml}", None),
    ],
)
def test_render_writes_nothing_for_another_program(tmp_path: Path, render: str, link: str | None) -> None:
    (tmp_path / "elsewhere").mkdir()
    root = small_project(tmp_path)
    (root / ".git" / "hooks").mkdir(parents=True)
    if link:
        (root / "link").symlink_to(root / link)
    with (root / "databases.yaml").open("a") as file:
        file.write(f"render: {{{render}}}\n")
    before, outside = snapshot(root), snapshot(tmp_path / "elsewhere")
    done = orch(root, "render", render.partition(":")[0], code=None)
    assert done.returncode in (2, 4), done.stderr
    assert any(word in done.stderr for word in ("belongs to another program", "leads out of", "must be")), done.stderr
    assert snapshot(root) == before
    assert snapshot(tmp_path / "elsewhere") == outside
    assert not list((root / ".git" / "hooks").iterdir())
    assert not Path("/tmp/orch-must-not-write-this.yml").exists()
