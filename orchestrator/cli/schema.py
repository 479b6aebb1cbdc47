"""`orch schema`: the JSON Schema of the manifest."""

from __future__ import annotations


def command() -> int:
    """Print the JSON Schema of databases.yaml, for editors and other tools."""
    from importlib.resources import files

    from orchestrator.cli.console import out

    out(files("orchestrator.manifest").joinpath("databases.schema.json").read_text(encoding="utf-8"))
    return 0
