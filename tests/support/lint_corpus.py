"""The corpus of the lint rules: files of migrations, and what is dangerous in each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from orchestrator.engines.mongo.migration_file import parse_commands
from orchestrator.engines.postgres.sql import parse_sql
from orchestrator.model import File, Script

DATA = Path(__file__).parents[1] / "unit/data"
ESTATE = (DATA / "lint_corpus_estate.sql").read_text()
_EXPECTED = re.compile(r"[ \t]*-->[ \t]*(.*)$", re.MULTILINE)


@dataclass
class Case:
    """Files with what is dangerous in them: (number of the file, line, meaning)."""

    name: str
    past: list[str]
    plan: list[str]
    expected: set[tuple[int, int, str]]


def cases(path: Path) -> list[Case]:
    """Read a corpus; its format is told at its beginning."""
    found = []
    for section in path.read_text().split("\n## ")[1:]:
        name, _, body = section.partition("\n")
        if not body.strip() or name.startswith("names where"):
            continue
        before, _, plan = body.rpartition("-- plan\n")
        files, expected = plan.split("-- next\n"), set()
        for number, text in enumerate(files):
            for line, words in enumerate(text.splitlines(), 1):
                if marked := _EXPECTED.search(words):
                    expected |= {(number, line, meaning.strip()) for meaning in marked[1].split(",")}
        past = [text for text in before.split("-- next\n") if text.strip()]
        found.append(Case(name, past, [_EXPECTED.sub("", text) for text in files], expected))
    return found


def script(text: str) -> Script:
    if text.lstrip().startswith("["):
        return parse_commands(File("f.up.json", Path("f"), ""), text)
    return parse_sql(File("f.up.sql", Path("f"), ""), text)


# The second files were written by somebody who had not read the code of the rules, but knew the table of rules and the
# design notes. The rules were then corrected on them.
POSTGRES = [*cases(DATA / "lint_corpus.txt"), *cases(DATA / "lint_corpus_more.txt")]
MONGO = [*cases(DATA / "lint_corpus_mongo.txt"), *cases(DATA / "lint_corpus_mongo_more.txt")]
