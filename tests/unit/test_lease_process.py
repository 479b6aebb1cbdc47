"""Whether the process that a lock document names still runs, with `/proc` and without it, as on macOS."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engines.mongo.lock_document import runs


@pytest.mark.parametrize("proc", [True, False])
def test_a_process_that_runs_is_told_from_one_that_is_gone(monkeypatch: pytest.MonkeyPatch, proc: bool) -> None:
    if not proc:
        exists = Path.exists

        def without_proc(path: Path, **options: Any) -> bool:
            return not str(path).startswith("/proc") and exists(path, **options)

        monkeypatch.setattr(Path, "exists", without_proc)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert runs(os.getpid()) and runs(1)
    assert not any(runs(pid) for pid in (gone.pid, None, "x", 10**30))
