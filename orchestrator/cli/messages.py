"""Every message of an error or a problem with its remedy, read from the sources: the page docs/reference/messages.md.

What is known only when it happens stands as `…`.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import orchestrator
from orchestrator import errors, hints
from orchestrator.hints import NAME, Command

_SHORTEST = 12  # letters: a message with fewer says nothing without what is put in
_UNKNOWN = "…"


class Message(NamedTuple):
    """What is told, and what to do next, as far as the sources tell it; `module` is where it comes from."""

    kind: str
    what: str
    remedy: str
    module: str


def _classes() -> dict[str, type[errors.OrchError]]:
    found = inspect.getmembers(errors, inspect.isclass)
    return {name: one for name, one in found if issubclass(one, errors.OrchError)}


@cache
def messages() -> list[Message]:
    """Return the messages of all errors and problems, by kind, each once."""
    root = Path(orchestrator.__file__).parent
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(root.rglob("*.py"))}
    kinds, problems = _kinds(trees.values()), _kinds_of_problems(trees[root / "planning" / "problems.py"])
    found: dict[tuple[str, str], Message] = {}
    for path, tree in trees.items():
        module = path.relative_to(root.parent).with_suffix("").as_posix().replace("/", ".")
        for one in _in_source(tree, module, kinds, problems):
            known = found.setdefault((one.kind, one.what), one)
            if not known.remedy:
                found[one.kind, one.what] = one
    return sorted(found.values(), key=lambda one: (one.kind, one.what.lower()))


def messages_page() -> str:
    """Return docs/reference/messages.md."""
    told = messages()
    general = dict.fromkeys(
        (one.kind for one in told), "`orch repair NAME` lists every resolution that fits, with its command."
    )
    general |= {one.kind: one.remedy for one in _classes().values() if "kind" in vars(one)}
    lines = [
        "# Messages and remedies",
        "",
        "Made from the sources. `…` stands for what is known only when it happens.",
        "",
    ]
    for kind in sorted({one.kind for one in told}):
        lines += [f"## {kind}", ""]
        lines += [f"In general: {general[kind]}", ""]
        lines += ["| message | what to do |", "|---|---|"]
        lines += [f"| {_cell(one.what)} | {_cell(one.remedy) or 'see above'} |" for one in told if one.kind == kind]
        lines += [""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|$])", r"\\\1", " ".join(text.split()))


def _kinds(trees: Iterable[ast.AST]) -> dict[str, str]:
    """Return class name → kind of all errors: those of `errors`, and those that packages derive from them."""
    kinds = {name: one.kind for name, one in _classes().items()}
    made = [
        node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name not in kinds
    ]
    for _ in range(2):  # one may derive from another of these
        for node in made:
            bases = [base.id for base in node.bases if isinstance(base, ast.Name) and base.id in kinds]
            if bases:
                kinds[node.name] = kinds[bases[0]]
    return kinds


def _kinds_of_problems(tree: ast.AST) -> dict[str, str]:
    """Return the names and the values of the kinds of problems."""
    enum = next(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == "Kind")
    return {_text(node.targets[0]): _text(node.value) for node in enum.body if isinstance(node, ast.Assign)}


def _in_source(tree: ast.AST, module: str, kinds: Mapping[str, str], problems: Mapping[str, str]) -> Iterator[Message]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        hint = next((one.value for one in node.keywords if one.arg == "hint"), None)
        if name in kinds and node.args:
            kind, what = kinds[name], node.args[0]
        elif name == "Problem" and len(node.args) > 2 and isinstance(node.args[0], ast.Attribute):
            kind, what, hint = problems.get(node.args[0].attr, ""), node.args[1], node.args[2]
        elif name == "refuse" and len(node.args) == 5:  # (file, text, place, what, hint): commands of MongoDB
            kind, what, hint = errors.InvalidError.kind, node.args[3], node.args[4]
        else:
            continue
        told, remedy = _text(what), _text(hint) if hint else ""
        if kind and len(re.findall(r"[a-z]", told)) >= _SHORTEST:
            yield Message(kind, told, remedy if re.search(r"[a-z]{3}", remedy) else "", module)


def _text(node: ast.AST) -> str:
    """Return the text that an expression makes, as far as it can be read."""
    match node:
        case ast.Constant(str() as text):
            return text
        case ast.Constant(value):
            return str(value)
        case ast.JoinedStr(parts):
            return "".join(map(_text, parts))
        case ast.FormattedValue(ast.Name(id)) if isinstance(known := getattr(hints, id, None), str):
            return known
        case ast.Call(ast.Name("Hint"), parts):
            return "".join(map(_text, parts))
        case ast.Call(ast.Name("Command"), words):
            return " ".join(["orch", *map(_text, words)])
        case ast.Call(ast.Name("Blank"), [word]) | ast.BinOp(word, ast.Mult()):
            return _text(word)
        case ast.BinOp(left, ast.Add(), right):
            return _text(left) + _text(right)
        case ast.BoolOp(_, parts):
            return " / ".join(dict.fromkeys(text for text in map(_text, parts) if text != _UNKNOWN)) or _UNKNOWN
        case ast.IfExp(_, body, other):
            return " / ".join(filter(None, (_text(body), _text(other))))
        case ast.Name("_REPAIR"):
            return str(Command("repair", NAME))
        case ast.Name(id) if id.isupper() and not id.startswith("_"):
            return id
        case _:
            return _UNKNOWN
