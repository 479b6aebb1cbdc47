"""Data as YAML, with the header that every rendered file begins with."""

from __future__ import annotations

import re
import shlex
from typing import Any

from orchestrator.manifest.load import FILE_NAME
from orchestrator.model import Manifest

MADE_BY = "# Made by orch from"


def header(target: str, manifest: Manifest, comment: str = "#", *, image: str = "") -> str:
    """Return the comment that says where a file comes from; a file with it may be written over, and removed.

    `image` is the one that the command line named: the same command makes the same file.
    """
    name = manifest.path.name
    file = "" if name == FILE_NAME else f" -f {shlex.quote(name)}"
    told = f" --image {shlex.quote(image)}" if image else ""
    return f"{comment}{MADE_BY[1:]} {name}: do not edit, run: orch render {target}{file}{told}\n"


def told_image(first_line: str) -> str:
    """Return the image that the header of a file names, or nothing."""
    _, _, command = first_line.partition(" --image ")
    try:
        return next(iter(shlex.split(command)), "")
    except ValueError:  # edited by hand
        return ""


class Flow(list[Any]):
    """A list that stands on one line."""


def to_yaml(data: Any) -> str:
    """Return data as block YAML that YAML 1.1 and 1.2 read alike, without anchors."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
            return True

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
            super().increase_indent(flow, False)

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = "|" if "\n" in value else '"' if re.match(r"[-+.0-9]|(y|n|on|off|yes|no)\Z", value, re.I) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)

    def flow(dumper: yaml.SafeDumper, value: Flow) -> yaml.SequenceNode:
        return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=True)

    Dumper.add_representer(str, text)
    Dumper.add_representer(Flow, flow)
    dumped: str = yaml.dump(
        data, Dumper=Dumper, sort_keys=False, default_flow_style=False, width=float("inf"), allow_unicode=True
    )
    return dumped
