"""Add an entry to the manifest or remove one, leaving all other bytes unchanged.

The text is changed in one place, found by YAML's own marks. Then it is read again and compared with what was intended;
what does not come out exactly so is not returned.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.errors import InvalidError, InvalidGroup
from orchestrator.hints import Command, Hint
from orchestrator.manifest.layout import Layout, Part, find
from orchestrator.manifest.source import parse_yaml

Entry = Mapping[str, Any]


def insert(text: str, entry: Entry, path: str) -> str:
    """Return the text with this entry at the end of `databases`; InvalidError if it cannot be put there safely."""
    before = _read(text, path)
    wanted = {**before, "databases": [*(before.get("databases") or []), dict(entry)]}
    return _first(_insertions(text, find(text), entry), wanted, path, "an entry cannot be added to this file")


def remove(text: str, index: int, path: str) -> str:
    """Return the text without the entry at `index`; InvalidError if it cannot be taken out safely."""
    before = _read(text, path)
    left = [entry for place, entry in enumerate(before["databases"]) if place != index]
    wanted = {**before, "databases": left}
    return _first(_removals(text, find(text), index), wanted, path, "this entry cannot be taken out of the file")


def _read(text: str, path: str) -> dict[str, Any]:
    source = parse_yaml(text, path)
    InvalidGroup.raise_if(source.errors)
    if not isinstance(source.value, dict):
        raise InvalidError(f"{path} is not a manifest", hint=Hint(Command("init"), " writes a first one"))
    return source.value


def _first(candidates: Iterator[str], wanted: dict[str, Any], path: str, problem: str) -> str:
    """Return the first text that reads as what is wanted."""
    for text in candidates:
        try:
            found = _read(text, path)
        except InvalidError:
            continue
        if {**found, "databases": found.get("databases") or []} == wanted:
            return text
    raise InvalidError(
        f"{path}: {problem} without changing something else", hint=Hint("edit it by hand, then: ", Command("render"))
    )


# ---------------------------------------------------------------- adding


def _insertions(text: str, layout: Layout, entry: Entry) -> Iterator[str]:
    value = layout.value
    if value.kind == "list" and value.flow:
        yield from _into_flow(text, layout, entry)
    elif value.kind == "list":
        yield _into_block(text, layout, entry)
    elif value.value == "" and not layout.inside_flow:
        column = _column(text, layout.key.start) + 2
        at = _extent(text, value.end, column)
        yield _put(text, at, _block(entry, column, 1, None), _newline(text, at))
    else:  # an explicit null gives way to a list
        anchor = re.match(r"(?:[&!]\S*\s+)*", text[value.start : value.end])
        at = value.start + (anchor.end() if anchor else 0)
        gap = "" if text[at - 1 : at].isspace() else " "
        yield f"{text[:at]}{gap}[{_flow(entry, None)}]{text[value.end :]}"


def _into_block(text: str, layout: Layout, entry: Entry) -> str:
    last, dash = layout.items[-1], layout.dash(-1)
    column = _column(text, dash)
    gap = last.start - dash - 1
    if "\n" in text[dash : last.start] or last.kind != "map" or gap < 1:
        gap = 1
    lines = _block(entry, column, gap, last)
    at = _extent(text, last.end, column)
    if len(layout.items) > 1 and _is_blank_line(text[_end_of(text, layout, -2) : _line_start(text, dash)]):
        lines = ["", *lines]
    return _put(text, at, lines, _newline(text, at))


def _into_flow(text: str, layout: Layout, entry: Entry) -> Iterator[str]:
    if not layout.items:
        at = text.index("[", layout.value.start) + 1
        yield text[:at] + _flow(entry, None) + text[at:]
        return
    last, close = layout.items[-1], layout.value.end - 1
    item = _flow(entry, last)
    comma = layout.comma(last.end, close)
    behind = last.end if comma is None else comma + 1
    if (
        "\n" in text[behind:close]
    ):  # a line of its own; with its comma in front if need be, so that no other line changes
        indent = re.match(r"[ \t]*", text[_line_start(text, last.start) :])
        at = _line_end(text, behind)
        line = (indent[0] if indent else "") + (f", {item}" if comma is None else f"{item},")
        yield _put(text, at, [line], _newline(text, at))
    yield text[:behind] + (f", {item}" if comma is None else f" {item},") + text[behind:]


def _put(text: str, at: int, lines: list[str], newline: str) -> str:
    """Insert whole lines at the beginning of a line, or behind a last line that has no newline."""
    block = newline.join(lines)
    if at and not text[:at].endswith("\n"):
        return text[:at] + newline + block + text[at:]
    return text[:at] + block + newline + text[at:]


# ---------------------------------------------------------------- taking out


def _removals(text: str, layout: Layout, index: int) -> Iterator[str]:
    if layout.value.flow:
        yield from _out_of_flow(text, layout, index)
        return
    start, end = _line_start(text, layout.dash(index)), _end_of(text, layout, index)
    if index and _is_blank_line(text[_end_of(text, layout, index - 1) : start]):
        start = _end_of(text, layout, index - 1)
    if end == len(text) and not text.endswith("\n"):
        start -= len(_newline(text, start)) if start else 0
    yield text[:start] + text[end:]


def _out_of_flow(text: str, layout: Layout, index: int) -> Iterator[str]:
    items, item = layout.items, layout.items[index]
    following = items[index + 1].start if index + 1 < len(items) else layout.value.end - 1
    comma = layout.comma(item.end, following)
    end = item.end if comma is None else comma + 1
    previous = items[index - 1].end if index else None
    comma_before = layout.comma(previous, item.start) if previous is not None else None

    first = item.start if comma_before is None or "\n" in text[comma_before : item.start] else comma_before
    line_start, line_end = _line_start(text, first), _line_end(text, end)
    if not text[line_start:first].strip() and re.fullmatch(r"\s*(#.*)?\s*", text[end:line_end]):
        yield text[:line_start] + text[line_end:]
    if previous is not None and comma_before is not None:
        yield text[: previous if comma is None else comma_before + 1] + text[end:]
    if index + 1 < len(items):
        yield text[: item.start] + text[following:]
    yield text[: item.start] + text[end:]


# ---------------------------------------------------------------- lines


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _line_end(text: str, at: int) -> int:
    """Return where the next line begins; a block scalar (|) ends there already."""
    if at and text[at - 1] == "\n":
        return at
    return text.find("\n", at) + 1 or len(text)


def _column(text: str, at: int) -> int:
    return at - _line_start(text, at)


def _newline(text: str, at: int) -> str:
    """Return how the line before this place ends, or else how the first line does."""
    end = text.rfind("\n", 0, at)
    if end < 0:
        end = text.find("\n")
    return "\r\n" if end > 0 and text[end - 1] == "\r" else "\n"


def _end_of(text: str, layout: Layout, index: int) -> int:
    return _extent(text, layout.items[index].end, _column(text, layout.dash(index)))


def _extent(text: str, end: int, column: int) -> int:
    """Return where what ends at `end` is over: comments below it that stand deeper than its dash belong to it."""
    at = over = _line_end(text, end)
    while match := re.compile(r"[ \t]*(#[^\n]*)?\r?(\n|\Z)").match(text, at):
        if match.end() == at:
            break
        if match[1]:
            if match.start(1) - at <= column:
                break
            over = match.end()
        at = match.end()
    return over


def _is_blank_line(text: str) -> bool:
    return text in ("\n", "\r\n")


# ---------------------------------------------------------------- an entry as text


def _block(entry: Entry, column: int, gap: int, like: Part | None) -> list[str]:
    """Return the lines of a block item, in the style of the item before."""
    if like is not None and like.kind == "map" and like.flow:
        return [" " * column + "-" + " " * gap + _flow(entry, like)]
    keys, values = _quotes(like)
    lines = [f"{_scalar(key, keys)}: {_value(value, keys, values)}" for key, value in entry.items()]
    first = " " * column + "-" + " " * gap
    return [(first if number == 0 else " " * len(first)) + line for number, line in enumerate(lines)]


def _flow(entry: Entry, like: Part | None) -> str:
    return _value(entry, *_quotes(like))


def _quotes(like: Part | None) -> tuple[str, str]:
    """Return the quotes that an item uses for keys and for values."""
    found = like.get("name") if like is not None and like.kind == "map" else None
    return ("", "") if found is None else (found[0].quote, found[1].quote)


def _value(value: Any, keys: str, values: str) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{_scalar(key, keys)}: {_value(inner, keys, values)}" for key, inner in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(inner, keys, values) for inner in value) + "]"
    return _scalar(value, values)


def _scalar(value: Any, quote: str) -> str:
    import yaml

    if isinstance(value, str) and quote == '"':
        return json.dumps(value, ensure_ascii=False)
    style = "'" if isinstance(value, str) and quote == "'" else None
    text: str = yaml.safe_dump(  # in a list, so that it is safe wherever it stands
        [value], default_flow_style=True, default_style=style, width=float("inf"), allow_unicode=True
    )
    return text.strip()[1:-1]
