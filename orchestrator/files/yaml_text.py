"""Write data as YAML for people and for every reader of YAML."""

from __future__ import annotations

import re
from typing import Any


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
