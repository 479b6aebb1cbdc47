"""Editing the manifest: whatever way a person wrote it, only lines are added, and taking out restores every byte."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import InvalidError
from orchestrator.manifest import load
from orchestrator.manifest.edit import insert, remove

SERVERS = """\
version: 1
servers:
  pg: {engine: postgres, dsn: "postgres://h/{database}"}
  mg: {engine: mongo, dsn: "mongodb://h/{database}"}
"""
NEW = {"name": "logs2", "server": "mg", "depends_on": ["a"], "labels": ["x y"]}
BARE = {"name": "logs2", "server": "mg"}

# Differently written manifests; each has a database `a`.
WRITTEN = {
    "plain": SERVERS + "databases:\n  - name: a\n    server: pg\n",
    "no indentation": SERVERS + "databases:\n- name: a\n  server: pg\n",
    "deep": SERVERS + "databases:\n        - name: a\n          server: pg\n",
    "wide dashes": SERVERS + "databases:\n  -   name: a\n      server: pg\n",
    "dash alone": SERVERS + "databases:\n  -\n    name: a\n    server: pg\n",
    "dash with a comment": SERVERS + "databases:\n  - # the first\n    name: a\n    server: pg\n",
    "flow entries": SERVERS + "databases:\n  - {name: a, server: pg}\n  - {name: b, server: pg}\n",
    "flow entries on several lines": SERVERS + "databases:\n  - {name: a,\n     server: pg\n    }\n",
    "no newline at the end": SERVERS + "databases:\n  - name: a\n    server: pg",
    "flow entry, no newline": SERVERS + "databases:\n  - {name: a, server: pg}",
    "blank lines between": SERVERS + "databases:\n  - name: a\n    server: pg\n\n  - name: b\n    server: pg\n",
    "blank lines, no newline": SERVERS + "databases:\n  - name: a\n    server: pg\n\n  - name: b\n    server: pg",
    "blank lines at the end": SERVERS + "databases:\n  - name: a\n    server: pg\n\n\n\n",
    "comments everywhere": "# 1\n\n" + SERVERS + "# 2\ndatabases: # 3\n  # 4\n  - name: a # 5\n    # 6\n    server: pg # 7\n"
    "    # 8: labels: [x]\n\n    # 9\n  # 10\n# 11\n",
    "comment at the end, no newline": SERVERS + "databases:\n  - name: a\n    server: pg\n  # - name: old",
    "modeline": "# yaml-language-server: $schema=./x.json\n---\n" + SERVERS + "databases:\n  - name: a\n    server: pg\n",
    "document end": "---\n" + SERVERS + "databases:\n  - name: a\n    server: pg\n...\n",
    "directive": "%YAML 1.1\n---\n" + SERVERS + "databases:\n  - name: a\n    server: pg\n",
    "databases first": "databases:\n  - name: a\n    server: pg\n\n# the servers\n" + SERVERS,
    "databases in the middle": "version: 1\ndatabases:\n- name: a\n  server: pg\nservers:\n"
    "  pg: {engine: postgres, dsn: 'postgres://h/{database}'}\n  mg: {engine: mongo, dsn: 'mongodb://h/{database}'}\n",
    "double quotes": SERVERS + 'databases:\n  - name: "a"\n    server: "pg"\n',
    "single quotes": SERVERS + "databases:\n  - name: 'a'\n    server: 'pg'\n",
    "quoted keys": SERVERS + '"databases":\n  - "name": "a"\n    "server": "pg"\n',
    "anchor and merge": SERVERS + "databases:\n  - &a\n    name: a\n    server: pg\n    labels: &core [core]\n"
    "  - <<: *a\n    name: b\n    labels: *core\n",
    "alias at the end": SERVERS + "databases:\n  - name: a\n    server: pg\n    labels: &core [core]\n"
    "  - name: b\n    server: pg\n    labels: *core   # the same\n",
    "anchored list": SERVERS + "databases: &all\n  - name: a\n    server: pg\n",
    "anchored entry on one line": SERVERS + "databases:\n  - &first {name: a, server: pg}\n",
    "tagged": SERVERS + "databases: !!seq\n  - !!map\n    name: !!str a\n    server: pg\n",
    "block scalar": SERVERS + "databases:\n  - name: a\n    server: |-\n      pg\n\n",
    "kept block scalar": SERVERS + "databases:\n  - server: pg\n    name: >-\n      a\n\n# end\n",
    "plain text on two lines": SERVERS + "databases:\n  - server: pg\n    name: a\n    labels:\n      - one\n        two\n",
    "nested block lists": SERVERS + "databases:\n  - name: a\n    server: pg\n    labels:\n    - x\n    - y\n",
    "empty last value": SERVERS + "databases:\n  - name: a\n    server: pg\n    labels:\n",
    "empty last value, comment": SERVERS + "databases:\n  - name: a\n    server: pg\n    labels: # none\n",
    "explicit keys": SERVERS + "? databases\n: - ? name\n    : a\n    ? server\n    : pg\n",
    "tabs before comments": SERVERS + "databases:\n  - name: a\t# tab\n    server: pg\t# tab\n",
    "trailing spaces": SERVERS + "databases:  \n  - name: a   \n    server: pg   \n   \n",
    "Thai": SERVERS + "databases:\n  # คลังสินค้า\n  - name: a # สินค้า 😀\n    server: pg\n# จบ\n",
    "flow list": SERVERS + "databases: [{name: a, server: pg}] # all\n",
    "flow list, comma": SERVERS + "databases: [{name: a, server: pg},]\n",
    "flow list on lines": SERVERS + "databases: [\n  {name: a, server: pg}, # 1\n  {name: b, server: pg} # 2\n  # 3\n]\n",
    "flow list on lines, comma": SERVERS + "databases: [\n  {name: a, server: pg}, # 1\n  {name: b, server: pg}, # 2\n\n]\n",
    "flow list, odd": SERVERS + "databases:\n  [ { name: a, server: pg }\n  , { name: b, server: pg }\n  ]\n",
    "JSON": '{"version": 1, "servers": {"pg": {"engine": "postgres", "dsn": "postgres://h/{database}"},\n'
    ' "mg": {"engine": "mongo", "dsn": "mongodb://h/{database}"}},\n "databases": [\n'
    '  {"name": "a", "server": "pg"}\n ]\n}\n',
    "JSON on one line": '{"version": 1, "servers": {"pg": {"engine": "postgres", "dsn": "postgres://h/{database}"}, '
    '"mg": {"engine": "mongo", "dsn": "mongodb://h/{database}"}}, "databases": [{"name": "a", "server": "pg"}]}',
    "server as a map of its own": SERVERS + "databases:\n  - engine: postgres\n    dsn: postgres://h/x\n    name: a\n"
    "    create: {owner: app,\n      extensions: [pgcrypto]}\n",
    "colons and dashes in values": SERVERS + 'databases:\n  - name: a\n    server: pg\n    labels: ["- x", "y: z", "# w"]\n',
}  # fmt: skip
EMPTY = {
    "empty list": SERVERS + "databases: []\n",
    "empty list, comment inside": SERVERS + "databases: [ # none yet\n  ]\n",
    "null": SERVERS + "databases:\n",
    "null with a comment": SERVERS + "databases: # none yet\n\n  # - name: example\n    # deeper\n# end\n",
    "null without a newline": SERVERS + "databases:",
    "null in the middle": "version: 1\ndatabases:\n" + SERVERS.removeprefix("version: 1\n"),
    "anchored null": SERVERS + "databases: &all\n",
}
NEVER_BACK = {"explicit null": SERVERS + "databases: null # none\n", "tilde": SERVERS + "databases: ~\n"}
ONE_LINE = {"flow list", "flow list, comma", "JSON on one line", "empty list", "empty list, comment inside"}
CORPUS = {
    f"{name}{suffix}": text.replace("\n", line_end)
    for name, text in (WRITTEN | EMPTY).items()
    for suffix, line_end in (("", "\n"), (" CRLF", "\r\n"))
}


def read(text: str) -> Any:
    return yaml.load(text, yaml.CSafeLoader)  # as orch does; the one in Python refuses tabs before comments


def added_only(before: str, after: str) -> bool:
    """Whether a diff shows added lines alone; a missing newline at the end of the file does not count."""
    old, new = before.splitlines(), after.splitlines()
    return all(line.startswith(("  ", "+ ")) for line in difflib.ndiff(old, new))


@pytest.mark.parametrize("name", CORPUS)
def test_only_lines_are_added_and_taking_out_restores_every_byte(name: str, tmp_path: Path) -> None:
    before = CORPUS[name]
    entry = NEW if name.removesuffix(" CRLF") in WRITTEN else BARE
    after = insert(before, entry, "databases.yaml")
    if name.removesuffix(" CRLF") not in ONE_LINE:
        assert added_only(before, after), after
    if name.endswith(" CRLF"):
        assert "\n" not in after.replace("\r\n", "")
    old, new = read(before), read(after)
    assert new.pop("databases") == [*(old.pop("databases") or []), entry]
    assert new == old
    count = len(load(tmp_path / "databases.yaml", directories=False, text=after).databases)
    assert remove(after, count - 1, "databases.yaml") == before
    twice = insert(after, {"name": "logs3", "server": "mg"}, "databases.yaml")
    assert remove(twice, count, "databases.yaml") == after


@pytest.mark.parametrize("name", NEVER_BACK)
def test_an_explicit_null_gives_way(name: str) -> None:
    after = insert(NEVER_BACK[name], BARE, "databases.yaml")
    assert read(after)["databases"] == [BARE]
    assert read(remove(after, 0, "databases.yaml"))["databases"] == []


@pytest.mark.parametrize("name", [name for name in CORPUS if name.removesuffix(" CRLF") in WRITTEN])
def test_any_entry_can_be_taken_out_or_is_refused(name: str) -> None:
    before = read(CORPUS[name])["databases"]
    for index in range(len(before)):
        try:
            left = read(remove(CORPUS[name], index, "databases.yaml"))["databases"] or []
        except InvalidError as error:
            assert name.startswith(("anchor", "alias", "tagged")) and index == 0, (
                error
            )  # what others refer to, !!seq of nothing
        else:
            assert left == before[:index] + before[index + 1 :]


def test_the_style_of_the_entry_before_is_taken_up() -> None:
    assert insert(WRITTEN["wide dashes"], BARE, "x").endswith("  -   name: logs2\n      server: mg\n")
    assert insert(WRITTEN["flow entries"], BARE, "x").endswith("  - {name: logs2, server: mg}\n")
    assert insert(WRITTEN["quoted keys"], BARE, "x").endswith('  - "name": "logs2"\n    "server": "mg"\n')
    assert insert(WRITTEN["single quotes"], BARE, "x").endswith("  - name: 'logs2'\n    server: 'mg'\n")
    assert insert(WRITTEN["blank lines between"], BARE, "x").endswith("server: pg\n\n  - name: logs2\n    server: mg\n")


@pytest.mark.parametrize(
    "name", ["yes", "null", "1e3", "0x10", "2024-01-01", "~", "a: b", "- a", "#x", "a,b", "{a}", "é", "'"]
)
def test_names_that_yaml_would_misread_are_quoted(name: str) -> None:
    for text in (WRITTEN["plain"], WRITTEN["flow entries"], WRITTEN["single quotes"], WRITTEN["JSON"]):
        assert read(insert(text, {"name": name, "server": "mg"}, "x"))["databases"][-1]["name"] == name


REFUSED = {
    "two documents": (SERVERS + "databases:\n- {name: a, server: pg}\n---\nx: 1\n", "several YAML documents"),
    "an alias": ("render: &l []\n" + SERVERS + "databases: *l\n", "is an alias"),
    "none": (SERVERS, "no 'databases' of its own"),
    "from a merge": ("render: {x: &m {databases: []}}\n<<: *m\n" + SERVERS, "no 'databases' of its own"),
    "shared with something else": (
        "version: 1\nservers: {}\ndatabases: &d\n- {name: a, server: pg}\nrender: {x: *d}\n",
        "without changing something else",
    ),
    "duplicate keys": (SERVERS + "databases: []\ndatabases: []\n", "given twice"),
    "not YAML": ("databases: [", "did not find"),
    "a list": ("- a\n", "is not a manifest"),
    "empty": ("", "is not a manifest"),
    "a mapping": (SERVERS + "databases: {a: 1}\n", "without changing"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_edited_safely_is_refused(name: str) -> None:
    text, problem = REFUSED[name]
    with pytest.raises((InvalidError, TypeError)) as caught:
        insert(text, BARE, "databases.yaml")
    assert isinstance(caught.value, InvalidError)
    assert problem in str(caught.value)


ENTRIES = st.fixed_dictionaries(
    {"name": st.text("abc-_09é: #,[]{}'\"&*", min_size=1, max_size=12), "server": st.sampled_from(["pg", "mg", "on"])},
    optional={"labels": st.lists(st.text("xy: ,#", min_size=1, max_size=4), min_size=1, max_size=3)},
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(WRITTEN | EMPTY)), st.lists(ENTRIES, min_size=1, max_size=3))
def test_any_entries_come_out_as_intended_and_go_again(name: str, entries: list[dict[str, Any]]) -> None:
    texts = [(WRITTEN | EMPTY)[name]]
    for entry in entries:
        texts.append(insert(texts[-1], entry, "x"))
    count = len(read(texts[-1])["databases"])
    assert read(texts[-1])["databases"][count - len(entries) :] == entries
    while len(texts) > 1:
        count -= 1
        assert remove(texts.pop(), count, "x") == texts[-1]


def test_the_manifest_of_this_project_can_be_edited() -> None:
    text = (Path(__file__).parents[2] / "databases.yaml").read_text()
    after = insert(text, BARE, "databases.yaml")
    assert after.replace("  - name: logs2\n    server: mg\n", "") == text
    assert "    labels: [reporting]\n  - name: logs2\n" in after
