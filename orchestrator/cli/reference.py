"""The reference pages and the man page, written from the code: commands, keys of the manifest, events, errors."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, get_args

import typer.main

from orchestrator import __version__, errors, events
from orchestrator.cli.app import app
from orchestrator.cli.command_table import GROUPS, HELP

_MADE = "<!-- Written from the code by `make reference`: do not edit. -->\n"
_EXAMPLES = "Examples:"
_ABOUT = (
    "The manifest databases.yaml declares databases and what depends on what; orch apply creates those that are missing "
    "and migrates all of them in order. It shares the version table and the lock of golang-migrate."
)


def _built(name: str) -> Any:
    root: Any = typer.main.get_command(app)
    return root.get_command(root.make_context("orch", [], resilient_parsing=True), name)


def _commands() -> Iterator[tuple[str, str, Any]]:
    """Yield heading, name and command of all commands; those of a group one by one."""
    for heading, names in GROUPS.items():
        for name in names:
            command = _built(name)
            if inner := getattr(command, "commands", None):
                yield from ((heading, f"{name} {each}", one) for each, one in inner.items())
            else:
                yield heading, name, command


def _parts(command: Any) -> tuple[str, list[str]]:
    """Return the text of a command's help, its paragraphs each on one line, and its examples."""
    text, _, examples = inspect.cleandoc(command.help or "").partition(_EXAMPLES)
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.strip().split("\n\n")]
    return "\n\n".join(paragraphs), [line.strip() for line in examples.strip().splitlines()]


def _parameters(command: Any) -> Iterator[tuple[str, str]]:
    """Yield how each argument and option is written, and what it does."""
    context = command.make_context("orch", [], resilient_parsing=True)
    for parameter in command.params:
        if record := parameter.get_help_record(context):
            yield record
        elif help_text := getattr(parameter, "help", None):
            yield parameter.make_metavar(context), help_text


def _commands_page() -> str:
    """Return docs/reference/commands.md."""
    lines = [_MADE, "# Commands", "", "All of them take `--help`; `orch help COMMAND` shows the same.", ""]
    last = ""
    for heading, name, command in _commands():
        if heading != last:
            lines += [f"## {heading}", ""]
            last = heading
        text, examples = _parts(command)
        lines += [f"### orch {name}", "", text, ""]
        if examples:
            lines += ["```sh", *examples, "```", ""]
        if rows := list(_parameters(command)):
            lines += ["| argument or option | what it does |", "|---|---|"]
            lines += [f"| `{_cell(how)}` | {_cell(what)} |" for how, what in rows]
            lines += [""]
    return "\n".join(lines).rstrip() + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _manifest_page() -> str:
    """Return docs/reference/manifest.md, from the JSON Schema of the manifest."""
    schema = json.loads(files("orchestrator.manifest").joinpath("databases.schema.json").read_text(encoding="utf-8"))
    lines = [
        _MADE,
        "# Keys of databases.yaml",
        "",
        "`orch schema manifest` prints the JSON Schema.",
        "",
        *_editors(schema["$id"]),
    ]
    places = [("The manifest", schema), *((name, part) for name, part in schema.get("$defs", {}).items())]
    for name, part in places:
        if rows := list(_keys(part)):
            about = f"{part['description']}\n" if "description" in part and part is not schema else ""
            lines += [f"## {name.capitalize() if part is not schema else name}", "", *([about] if about else [])]
            lines += ["| key | kind | what |", "|---|---|---|", *rows, ""]
    return "\n".join(lines).rstrip() + "\n"


def _editors(address: str) -> list[str]:
    """Return how editors find the schema."""
    return [
        "## In an editor",
        "",
        "An editor that knows the schema completes keys, explains them and marks mistakes. `orch init` writes the line that the",
        "YAML language server reads (VS Code, Neovim, Helix, JetBrains):",
        "",
        "```yaml",
        f"# yaml-language-server: $schema={address}",
        "```",
        "",
        "Without a network, let it name a file: `orch schema > databases.schema.json`, `$schema=./databases.schema.json`. The",
        "entry for the catalog of [SchemaStore](https://www.schemastore.org/), which has none yet; other programs may have a",
        "`databases.yaml` too, so the line above stays the sure way:",
        "",
        "```json",
        json.dumps(
            {
                "name": "orch databases.yaml",
                "description": "Every database of an estate, for the orchestrator orch",
                "fileMatch": ["databases.yaml"],
                "url": address,
            },
            indent=2,
        ),
        "```",
        "",
    ]


def _keys(part: dict[str, Any], before: str = "") -> Iterator[str]:
    required = part.get("required", ())
    for key, rule in part.get("properties", {}).items():
        what = _cell(str(rule.get("description", "")))
        yield f"| `{before}{key}`{' (required)' if key in required else ''} | {_cell(_kind(rule))} | {what} |"
        yield from _keys(rule, f"{before}{key}.")


def _kind(rule: dict[str, Any]) -> str:
    if "$ref" in rule:
        return str(rule["$ref"]).rpartition("/")[2]
    if "enum" in rule:
        return ", ".join(f"`{json.dumps(one)}`" for one in rule["enum"])
    if "const" in rule:
        return f"`{json.dumps(rule['const'])}`"
    names = rule.get("type", "any")
    text = " or ".join(names) if isinstance(names, list) else str(names)
    return f"array of {_kind(rule['items'])}" if "items" in rule else text


def _errors_page() -> str:
    """Return docs/reference/errors.md: exit codes, kinds of errors, events of a run."""
    lines = [_MADE, "# Exit codes, errors and events", "", "## Exit codes", "", "| code | name |", "|---|---|"]
    lines += [f"| {int(code)} | {code.name.lower().replace('_', ' ')} |" for code in errors.ExitCode]
    lines += [
        "",
        "## Errors",
        "",
        "`kind` is what `--output json` and the events call them. Each error also says what to do next, in",
        "`hint` and `commands`; all messages are listed with that in [messages and remedies](messages.md).",
        "",
    ]
    lines += ["| kind | exit code | when | what to do |", "|---|---|---|---|"]
    classes = [one for one in vars(errors).values() if inspect.isclass(one) and issubclass(one, errors.OrchError)]
    for one in sorted(classes, key=lambda one: (one.kind, one.__name__)):
        about = inspect.getdoc(one) or ""
        lines.append(
            f"| `{one.kind}` | {int(one.exit_code)} | {_cell(about.partition(chr(10) * 2)[0])} | {_cell(one.remedy)} |"
        )
    lines += [
        "",
        "## Events",
        "",
        "One line of `--output jsonl` each; `orch schema events` prints the JSON Schema.",
        "",
    ]
    lines += ["| event | fields | when |", "|---|---|---|"]
    for event in get_args(events.Event):
        fields = ", ".join(f"`{name}`" for name in event._fields)
        lines.append(
            f"| `{event.__name__}` | {fields} | {_cell((inspect.getdoc(event) or '').partition(chr(10) * 2)[0])} |"
        )
    return "\n".join(lines) + "\n"


def _man_page() -> str:
    """Return orch.1, in the language of man pages."""
    lines = [
        f'.TH ORCH 1 "" "orch {__version__}" "User Commands"',
        ".SH NAME",
        r"orch \- create and migrate many databases from one manifest",
        ".SH SYNOPSIS",
        r".B orch \fICOMMAND\fR [\fIARGUMENTS\fR]",
        ".SH DESCRIPTION",
        _roff(_ABOUT),
    ]
    for heading, name, command in _commands():
        if (title := f'.SH "{heading.upper()}"') not in lines:
            lines.append(title)
        text, examples = _parts(command)
        lines += [f'.SS "orch {name}"', *(line for one in text.split("\n\n") for line in (_roff(one), ".PP"))]
        for how, what in _parameters(command):
            lines += [".TP", rf"\fB{_roff(how)}\fR", _roff(" ".join(what.split()))]
        if examples:
            lines += [".PP", "Examples:", ".nf", *(f"    {_roff(one)}" for one in examples), ".fi"]
    codes = re.search(r"Exit codes: (.*)", HELP, re.DOTALL)
    lines += [".SH EXIT STATUS", _roff(" ".join(codes[1].split()) if codes else "")]
    return "\n".join(lines) + "\n"


def _roff(text: str) -> str:
    plain = text.replace("\\", r"\e").replace("-", r"\-")
    return "\n".join(rf"\&{line}" if line.startswith((".", "'")) else line for line in plain.splitlines())


PAGES = {
    "docs/reference/commands.md": _commands_page,
    "docs/reference/manifest.md": _manifest_page,
    "docs/reference/errors.md": _errors_page,
    "orchestrator/cli/orch.1": _man_page,
}
"""Path in the repository → what writes it."""
