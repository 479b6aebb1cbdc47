"""Read a YAML file into plain values with their positions. Safe, bounded, no duplicate keys."""

from __future__ import annotations

import errno
import math
import os
import re
import select
import stat
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from orchestrator.errors import InvalidError
from orchestrator.model import Mark

MAX_BYTES = 8 * 1024 * 1024
_MAX_DEPTH = 64
_TOO_DEEP = f"nested more than {_MAX_DEPTH} levels deep"
MAX_NODES = 500_000
PIPE_SECONDS = 30.0
"""How long whoever writes to a pipe may take: a program that asks a vault, say."""
_MAX_NUMBER = 2**63 - 1
"""A number may be as large as this, or as small below zero: any of them can be a float too."""
_MAX_REPEATED = 100_000  # nodes that aliases may add

Steps = Sequence[str | int]
"""Where a value is: keys and positions from the root."""

_TAG = "tag:yaml.org,2002:"
_TEXT, _MERGE = _TAG + "str", _TAG + "merge"
_AS_TEXT = (_TAG + "timestamp", _TAG + "value")
_NOT_YAML = "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"  # compiled when it is needed: 5 ms

_pipes: dict[Path, bytes] = {}


def shown(path: Path) -> str:
    """Return the path as people see it: relative to the current directory if it is below."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def read_text(path: Path, limit: int = MAX_BYTES) -> str:
    """Return a file's text, UTF-8 with or without BOM; InvalidError if it is unreadable, too big or not UTF-8.

    A pipe serves too, as of `<(…)`, if it is written to within PIPE_SECONDS.
    """
    where = Mark(shown(path))
    try:
        data = _read(path, limit)
    except OSError as error:
        raise InvalidError(f"cannot read {where}: {error.strerror or type(error).__name__}", where=where) from None
    if len(data) > limit:
        raise InvalidError(f"the file is larger than {limit // 1024 // 1024 or 1} MiB", where=where)
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(errors="replace")
        raise InvalidError(
            "the file is not UTF-8", where=_place(where.path, before), hint="save the file as UTF-8"
        ) from None


def _read(path: Path, limit: int) -> bytes:
    """Return at most one byte more than the limit. A pipe is read once and remembered: others may ask for it again."""
    if path in _pipes:
        return _pipes[path]
    # Or it would wait here already for somebody to open the other end.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY), "rb") as file:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file.read(limit + 1)
        data, deadline = bytearray(), time.monotonic() + PIPE_SECONDS
        poll = select.poll()
        poll.register(file, select.POLLIN)
        while len(data) <= limit:
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise OSError(errno.ETIMEDOUT, f"nobody has written all of it within {PIPE_SECONDS:g} s")
            chunk = os.read(file.fileno(), limit + 1 - len(data))
            if not chunk:
                break
            data += chunk
    _pipes[path] = bytes(data)
    return _pipes[path]


def read_yaml(path: Path) -> Source:
    """Read one YAML document; InvalidError for what cannot be read at all, the rest is in `Source.errors`."""
    return parse_yaml(read_text(path), shown(path))


def parse_yaml(text: str, name: str) -> Source:
    """Read one YAML document from text; `name` is the file that places are told in."""
    import yaml

    try:
        root = yaml.compose(text, Loader=_loader())
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text, name) from None
    except (yaml.YAMLError, RecursionError):
        odd = re.search(_NOT_YAML, text)
        what = f"the character U+{ord(odd[0]):04X} is not allowed" if odd else "this is not valid YAML"
        raise InvalidError(what, where=_place(name, text[: odd.start() if odd else 0])) from None
    return Source(name, root)


class Source:
    """A parsed document: `value` is plain data, `errors` what is wrong with it as YAML."""

    def __init__(self, path: str, root: Any) -> None:
        self.path = path
        self.errors: list[InvalidError] = []
        self._root = root
        self._depth = 0
        self._seen: set[int] = set()
        self._repeated = 0
        self.value: Any = None if root is None else self._value(root)

    def mark(self, steps: Steps = ()) -> Mark:
        """Return the place of the value at `steps`, or of the nearest thing around it."""
        return self._mark(self._nodes(steps)[1])

    def key_mark(self, steps: Steps = ()) -> Mark:
        """Return the place of the key whose value is at `steps`; in a list, of the item itself."""
        return self._mark(self._nodes(steps)[0])

    def text(self, steps: Steps) -> str:
        """Return a value as it is written in the file; an empty text for a list or mapping."""
        node = self._nodes(steps)[1]
        return str(node.value) if node is not None and node.id == "scalar" else ""

    def _nodes(self, steps: Steps) -> tuple[Any, Any]:
        key = value = self._root
        for step in steps:
            if isinstance(step, int) and value.id == "sequence" and step < len(value.value):
                key = value = value.value[step]
            elif isinstance(step, str) and value.id == "mapping" and (found := _pair(value, step)):
                key, value = found
            else:
                break
        return key, value

    def _mark(self, node: Any) -> Mark:
        if node is None:
            return Mark(self.path, 1, 1)
        return Mark(self.path, node.start_mark.line + 1, node.start_mark.column + 1)

    def _error(self, node: Any, what: str, hint: str = "", detail: str = "") -> None:
        self.errors.append(InvalidError(what, where=self._mark(node), hint=hint, detail=detail))

    def _value(self, node: Any) -> Any:
        if node.id == "scalar":
            return self._scalar(node)
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise InvalidError(_TOO_DEEP, where=self._mark(node))
        if id(node) in self._seen:  # reached through an alias
            self._repeated += 1 + len(node.value)
            if self._repeated > _MAX_REPEATED:
                raise InvalidError("the aliases (*name) multiply this file too much", where=self._mark(node))
        self._seen.add(id(node))
        if node.tag not in (_TAG + "map", _TAG + "seq"):
            self._error(node, f"the tag {node.tag.replace(_TAG, '!!')!r} is not allowed")
        result = self._mapping(node) if node.id == "mapping" else [self._value(item) for item in node.value]
        self._depth -= 1
        return result

    def _mapping(self, node: Any) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: list[Any] = []
        first: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged.extend(value_node.value if value_node.id == "sequence" else [value_node])
                continue
            key = self._key(key_node)
            if key in first:
                place = self._mark(first[key])
                self._error(key_node, f"the key {key!r} is given twice", detail=f"the first is at {place}")
                continue
            first[key] = key_node
            result[key] = self._value(value_node)
        for other in merged:
            if other.id == "mapping":
                for key, value in self._value(other).items():
                    result.setdefault(key, value)
            else:
                self._error(other, "'<<' takes a mapping, or a list of mappings")
        return result

    def _key(self, node: Any) -> str:
        if node.id != "scalar":
            self._error(node, "a key must be text")
            return "?"
        text: str = node.value
        if "\0" in text:
            self._error(node, "holds a NUL character")
        elif node.tag != _TEXT and node.tag not in _AS_TEXT:
            self._error(node, f"a key must be text; YAML reads {text!r} as something else", hint="put it in quotes")
        return text

    def _scalar(self, node: Any) -> Any:
        text = node.value
        if node.tag == _TEXT or node.tag in _AS_TEXT:
            if "\0" in text:
                self._error(node, "holds a NUL character")
            return text
        construct = _constructors().get(node.tag)
        if construct is None:
            self._error(node, f"the tag {node.tag.replace(_TAG, '!!')!r} is not allowed")
            return text
        try:
            value = construct(node)
        except (ValueError, LookupError):
            value = math.nan
        if isinstance(value, int | float) and not -_MAX_NUMBER <= value <= _MAX_NUMBER:
            self._error(node, "this is not a number that can be used")
            return text
        return value


def _pair(node: Any, key: str) -> tuple[Any, Any] | None:
    merged: list[Any] = []
    for key_node, value_node in node.value:
        if key_node.tag == _MERGE:
            merged.extend(value_node.value if value_node.id == "sequence" else [value_node])
        elif key_node.value == key:
            return key_node, value_node
    found = (_pair(other, key) for other in merged if other.id == "mapping")
    return next((pair for pair in found if pair), None)


@cache
def _constructors() -> dict[str, Callable[[Any], Any]]:
    from yaml.constructor import SafeConstructor

    made = SafeConstructor()
    return {
        _TAG + "int": made.construct_yaml_int,
        _TAG + "float": made.construct_yaml_float,
        _TAG + "bool": made.construct_yaml_bool,
        _TAG + "null": made.construct_yaml_null,
    }


@cache
def _loader() -> type[Any]:
    """Return the safe loader, with a limit on depth: libyaml's composer would run out of stack and crash."""
    import yaml

    class BoundedLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        depth = nodes = 0

        def descend_resolver(self, parent: Any, _index: Any) -> None:
            self.depth += 1
            self.nodes += 1
            if self.depth > _MAX_DEPTH or self.nodes > MAX_NODES:
                problem = _TOO_DEEP if self.depth > _MAX_DEPTH else "too many values"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=parent and parent.start_mark)

        def ascend_resolver(self) -> None:
            self.depth -= 1

    return BoundedLoader


_WORDING = {
    "found character that cannot start any token": "a character that cannot stand here",
    "mapping values are not allowed in this context": "a ':' that cannot stand here",
    "but found another document": "several YAML documents in one file; there must be one",
    "exceeded maximum nesting depth": _TOO_DEEP,  # of libyaml 0.2.6 itself, long before its stack would end
}
_HINTS = {
    "mapping values are not allowed in this context": "check the indentation; text that holds ': ' needs quotes",
}


def _syntax_error(error: Any, text: str, path: str) -> InvalidError:
    place = error.problem_mark or error.context_mark
    line, column = (place.line, place.column) if place else (0, 0)
    lines = text.splitlines()
    for number in range(min(line, len(lines) - 1), max(line - 2, -1), -1):
        indent = re.match(r"[ \t]*(?=\S)", lines[number])
        if indent and "\t" in indent[0]:
            where = Mark(path, number + 1, indent[0].index("\t") + 1)
            return InvalidError(
                "a tab in the indentation; YAML allows spaces only", where=where, hint="replace each tab by two spaces"
            )
    problem = error.problem or "this is not valid YAML"
    detail = ""
    if error.context and error.context_mark and "single document" not in error.context:
        detail = f"{error.context} that begins at line {error.context_mark.line + 1}"
    what = _WORDING.get(problem, problem)
    return InvalidError(what, where=Mark(path, line + 1, column + 1), detail=detail, hint=_HINTS.get(problem, ""))


def _place(path: str, before: str) -> Mark:
    return Mark(path, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
