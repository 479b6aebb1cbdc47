"""The page of `orch report`: one HTML file with its data, its style and its script inside. It fetches nothing.

The script is built from `web/` and kept here as page.js. The page's content security policy names the hashes of its one
style and its one script, so that nothing else can run or be loaded, whatever the data holds.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from html import escape
from importlib.resources import files
from typing import Any

from orchestrator.views.document import json_text
from orchestrator.views.formats import Exact

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" \
content="default-src 'none'; img-src data:; style-src '{style_hash}'; script-src '{script_hash}'; \
base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="orch {tool}">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<noscript><p>This page needs JavaScript: its script is in the file, and nothing is loaded from anywhere else.</p></noscript>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def report_page(document: Mapping[str, Any], hide: Callable[[str], str] = str) -> Exact:
    """Return the page that shows a report document. `hide` returns a text without the secrets of this process."""
    style, script = _asset("page.css"), _asset("page.js")
    # In a script element only `<` can end it or begin a comment; in JSON it stands in strings alone.
    data = hide(json_text(document)).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return Exact(
        _PAGE.format(
            style=style,
            script=script,
            style_hash=_hash(style),
            script_hash=_hash(script),
            title=escape(hide(f"{document['name']}: databases")),
            tool=escape(str(document.get("tool", ""))),
            data=data,
        )
    )


def _asset(name: str) -> str:
    return files("orchestrator.views.report").joinpath(name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
