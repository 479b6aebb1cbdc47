"""The corpus of the lint rules: files of migrations, and what is dangerous in each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from orchestrator.engines import load_engine
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


def script(text: str, engine: str = "") -> Script:
    if engine:
        return load_engine(engine, "", "").parse(File("f.up.sql", Path("f"), ""), text)
    if text.lstrip().startswith("["):
        return parse_commands(File("f.up.json", Path("f"), ""), text)
    return parse_sql(File("f.up.sql", Path("f"), ""), text)


# The second files were written by somebody who had not read the code of the rules, but knew the table of rules and the
# design notes; the third ones from the manuals and the measured locks. Rules were corrected on all of them.
POSTGRES = [case for ending in ("", "_more", "_third") for case in cases(DATA / f"lint_corpus{ending}.txt")]
MONGO = [case for ending in ("", "_more", "_third") for case in cases(DATA / f"lint_corpus_mongo{ending}.txt")]
MYSQL = cases(DATA / "lint_corpus_mysql.txt")
MYSQL_ESTATE = """CREATE TABLE customers (id bigint PRIMARY KEY);
CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint, total int, note text, state varchar(20), number varchar(20));
"""
