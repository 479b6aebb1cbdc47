"""What is made while the site is built: the page of all messages, from the sources."""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from orchestrator.cli.messages import messages_page


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add docs/reference/messages.md."""
    files.append(File.generated(config, "reference/messages.md", content=messages_page()))
    return files
