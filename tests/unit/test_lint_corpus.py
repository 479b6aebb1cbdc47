"""Precision and recall of the lint rules over a corpus whose expectations come from other linters' rules and the manual."""

from __future__ import annotations

from collections import Counter

import pytest
from lint_corpus import ESTATE, MONGO, MYSQL, MYSQL_ESTATE, POSTGRES, Case, script

from orchestrator.analysis.findings import Story
from orchestrator.analysis.rule import OFF
from orchestrator.analysis.rules import rules

MEANINGS = {
    "loses": "PG101 PG102 PG104 PG105 PG106 PG107 MG101 MG103 MG104 MG105 MG106 MY101 MY102 MY103 MY104 MY105",
    "cascade": "PG103",
    "rewrite": "PG201 MY201 MY202 MY203 MY207",
    "scan": "PG202 MY206",
    "index": "PG203 MY204",
    "foreign key": "PG204 MY205",
    "domain": "PG205",
    "together": "PG206",
    "refresh": "PG207",
    "lock": "PG208",
    "parent": "PG301 PG302",
    "tables": "PG304",
    "fails": "PG401 PG402 PG404 PG406 PG407 PG408 MG403 MY403",
    "may fail": "MG401 MG402 MY401 MY402 MY503",
    "mixed": "PG405",
    "renames": "PG501 MG501 MY501 MY502",
    "unreadable": "PG504",
    "unindexed": "PG503 MG502",
    "rows": "PG601 MG601 MY601",
    "rebuild": "MY602",
    "unseen": "PG701 MY701",
    "stops": "MG201 MG202",
}
MEANING = {code: meaning for meaning, codes in MEANINGS.items() for code in codes.split()}


def told(case: Case, estate: str, engine: str = "") -> set[tuple[int, int, str]]:
    """Return what the rules say of a case, without those that are off and those about permissions."""
    story = Story(engine=engine)
    for text in [estate, *case.past]:
        story.past(script(text, engine))
    return {
        (number, finding.where.line, MEANING[finding.code])
        for number, text in enumerate(case.plan)
        for finding in story.judge(script(text, engine))
        if rules()[finding.code].level != OFF
    }


CORPORA = {
    "postgres": (POSTGRES, ESTATE, ""),
    "mongo": (MONGO, '[{"create": "unrelated"}]', ""),
    "mysql": (MYSQL, MYSQL_ESTATE, "mysql"),
}


@pytest.mark.parametrize("which", list(CORPORA))
def test_precision_and_recall(which: str) -> None:
    corpus, estate, engine = CORPORA[which]
    right, wrong, missed = Counter[str](), Counter[str](), Counter[str]()
    errors = []
    for case in corpus:
        found = told(case, estate, engine)
        right.update(meaning for _, _, meaning in found & case.expected)
        wrong.update(meaning for _, _, meaning in found - case.expected)
        missed.update(meaning for _, _, meaning in case.expected - found)
        if found != case.expected:
            told_, missing = sorted(found - case.expected), sorted(case.expected - found)
            errors.append(f"{case.name}: told in vain {told_}, missed {missing}")
    precision = right.total() / (right.total() + wrong.total())
    recall = right.total() / (right.total() + missed.total())
    files = sum(len(case.plan) for case in corpus)
    print(f"\n{which}: {len(corpus)} cases, {files} files, precision {precision:.3f}, recall {recall:.3f}")
    print("\n".join(errors))
    assert precision >= 0.95 and recall >= 0.95, errors
    assert not errors, "each case that is not as expected is a rule to correct, or a case to explain"


def test_the_corpus_is_large_and_knows_both_sides() -> None:
    assert sum(len(case.plan) for case in POSTGRES) >= 200
    harmless = sum(not case.expected for case in POSTGRES)
    assert harmless >= 80 and len(POSTGRES) - harmless >= 80
    assert {meaning for case in [*POSTGRES, *MONGO, *MYSQL] for _, _, meaning in case.expected} == set(MEANINGS)
