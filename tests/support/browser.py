"""A page in headless Chromium, watched: what it logs, what it asks for, and what axe-core finds in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Watched:
    """An open page, with everything that it should not have done: errors on the console, and requests."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(address)
        page.wait_for_selector("h1")
        self.asked = [url for url in self.asked if url != address.partition("#")[0] and not url.startswith("data:")]

    def accessibility(self) -> list[str]:
        """Return what axe-core finds wrong, one line each."""
        package = find_spec("axe_playwright_python")
        assert package is not None and package.origin is not None
        script = next(Path(package.origin).parent.rglob("axe*.js")).read_text()
        self.page.evaluate(f"() => {{ {script} }}")  # by the debugger, so that the page's own policy holds
        results = self.page.evaluate("() => axe.run()")
        return [
            f"{one['id']}: {one['help']}: {node['html'][:200]}"
            for one in results["violations"]
            for node in one["nodes"][:3]
        ]


@contextmanager
def opened(file: Path, fragment: str = "", **settings: Any) -> Iterator[Watched]:
    """Open a file in Chromium; `settings` are of a context of playwright, such as `viewport` and `color_scheme`."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            context = browser.new_context(**settings)
            yield Watched(context.new_page(), f"{file.resolve().as_uri()}{fragment}")
        finally:
            browser.close()
