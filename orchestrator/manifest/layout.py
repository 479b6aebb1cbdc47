"""Find the positions of `databases` and its entries in the text of a manifest.

Made from YAML's events and tokens, not its nodes: an alias has a place of its own there, and the end of a block is the
end of its last value, not the beginning of whatever comes next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import InvalidError


@dataclass(slots=True)
class Part:
    """A value in the text: `kind` is scalar, alias, list or map; the children of a map are key, value, key, value …

    `end` is behind its last character; what follows may be a comment, never content.
    """

    kind: str
    start: int
    end: int
    flow: bool = False
    quote: str = ""
    value: str = ""
    children: list[Part] = field(default_factory=list)

    def get(self, key: str) -> tuple[Part, Part] | None:
        """Return key and value of a map's own entry; merged ones are not its own."""
        pairs = zip(self.children[::2], self.children[1::2], strict=True)
        return next(((k, v) for k, v in pairs if k.kind == "scalar" and k.value == key), None)


@dataclass(frozen=True, slots=True)
class Layout:
    """`dashes` and `commas` are the positions of all that stand before block items and after flow items."""

    key: Part
    value: Part
    dashes: tuple[int, ...]
    commas: tuple[int, ...]
    inside_flow: bool

    @property
    def items(self) -> list[Part]:
        """The entries of the list; none if it is null."""
        return self.value.children if self.value.kind == "list" else []

    def dash(self, index: int) -> int:
        """Return where the dash of a block item stands."""
        return max(dash for dash in self.dashes if dash <= self.items[index].start)

    def comma(self, start: int, end: int) -> int | None:
        """Return the comma between two neighbours of a flow list."""
        return next((comma for comma in self.commas if start <= comma < end), None)


def find(text: str) -> Layout:
    """Return the layout of `databases`; the text must be one YAML document. InvalidError if it cannot be edited."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    root = _root(yaml.parse(text, Loader=loader))
    pair = root.get("databases") if root and root.kind == "map" else None
    if root is None or pair is None:
        raise InvalidError("the manifest has no 'databases' of its own", hint="add a line: databases: []")
    if pair[1].kind == "alias":
        raise InvalidError("'databases' is an alias (*name), which cannot be edited here", hint="edit it by hand")
    dashes, commas = [], []
    for token in yaml.scan(text, Loader=loader):
        if isinstance(token, yaml.BlockEntryToken):
            dashes.append(token.start_mark.index)
        elif isinstance(token, yaml.FlowEntryToken):
            commas.append(token.start_mark.index)
    return Layout(*pair, tuple(dashes), tuple(commas), root.flow)


def _root(events: Iterator[Any]) -> Part | None:
    import yaml

    for event in events:
        if isinstance(event, yaml.NodeEvent):
            return _part(event, events)
    return None


def _part(event: Any, events: Iterator[Any]) -> Part:
    import yaml

    start, end = event.start_mark.index, event.end_mark.index
    if isinstance(event, yaml.AliasEvent):
        return Part("alias", start, end)
    if isinstance(event, yaml.ScalarEvent):
        return Part("scalar", start, end, quote=event.style or "", value=event.value)
    kind = "list" if isinstance(event, yaml.SequenceStartEvent) else "map"
    part = Part(kind, start, end, bool(event.flow_style))
    for inner in events:
        if isinstance(inner, yaml.CollectionEndEvent):
            if part.flow:
                part.end = _index(inner.end_mark)
            break
        part.children.append(_part(inner, events))
        part.end = max(part.end, part.children[-1].end)
    return part


def _index(mark: Any) -> int:
    index: int = mark.index
    return index
