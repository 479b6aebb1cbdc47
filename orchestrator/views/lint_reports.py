"""Findings of `orch lint` for machines: JSON, SARIF, GitHub's annotations, GitLab's code quality, JUnit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from orchestrator.analysis.lint_report import Report, Told
from orchestrator.analysis.rule import ERROR
from orchestrator.analysis.rules import rules
from orchestrator.views.github import command, limited
from orchestrator.views.junit import xml_text

Located = Callable[[str], str]


def lint_document(report: Report, trace: Any = None) -> dict[str, Any]:
    """Return the report as plain data for `--output json`, with that of a trace if there was one."""
    document = _document(report)
    return document if trace is None else {**document, "trace": trace}


def _document(report: Report) -> dict[str, Any]:
    return {
        "format": 1,
        "databases": report.databases,
        "files": report.files,
        "allowed": report.allowed,
        "findings": [
            {
                "code": told.finding.code,
                "level": told.level,
                "database": told.database,
                "path": told.finding.where.path,
                "line": told.finding.where.line,
                "column": told.finding.where.column,
                "what": told.finding.what,
                "table": told.finding.table,
                "lock": told.finding.lock,
                "maybe": told.finding.maybe,
                **({"rows": told.size.rows, "bytes": told.size.bytes} if told.size else {}),
            }
            for told in report.findings
        ],
    }


def sarif_document(report: Report, located: Located, version: str) -> dict[str, Any]:
    """Return the report as SARIF 2.1.0."""
    known = rules()
    codes = list(dict.fromkeys(told.finding.code for told in report.findings))
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "orch lint",
                        "version": version,
                        "rules": [
                            {
                                "id": code,
                                "shortDescription": {"text": known[code].title},
                                "fullDescription": {"text": known[code].why},
                                "help": {"text": known[code].advice or known[code].why},
                                "defaultConfiguration": {"level": _sarif_level(known[code].level)},
                            }
                            for code in codes
                        ],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "results": [_sarif_result(told, codes.index(told.finding.code), located) for told in report.findings],
            }
        ],
    }


def _sarif_level(level: str) -> str:
    return {"error": "error", "warn": "warning"}.get(level, "none")


def _sarif_result(told: Told, index: int, located: Located) -> dict[str, Any]:
    where = told.finding.where
    return {
        "ruleId": told.finding.code,
        "ruleIndex": index,
        "level": _sarif_level(told.level),
        "message": {"text": f"{told.database}: {told.finding.what}"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(located(where.path))},
                    "region": {"startLine": max(1, where.line), "startColumn": max(1, where.column)},
                }
            }
        ],
        "partialFingerprints": {"orch/v1": _fingerprint(told)},
    }


def _uri(path: str) -> str:
    from urllib.parse import quote

    return quote(path.replace("\\", "/"))


def _fingerprint(told: Told) -> str:
    finding = told.finding
    facts = json.dumps(
        [told.database, finding.code, finding.where.path, told.line.strip(), finding.what, finding.where.line]
    )
    return hashlib.sha256(facts.encode()).hexdigest()


def github_commands(report: Report, located: Located) -> list[str]:
    """Return the annotations, errors first; as many as GitHub shows."""
    found: dict[str, list[str]] = {"error": [], "warning": []}
    for told in report.findings:
        name = "error" if told.level == ERROR else "warning"
        where = told.finding.where
        found[name].append(
            command(
                name,
                told.finding.what,
                file=located(where.path),
                line=str(where.line or ""),
                col=str(where.column or ""),
                title=f"{told.finding.code} in {told.database}",
            )
        )
    return [*limited(found["error"], "error"), *limited(found["warning"], "warning")]


def gitlab_document(report: Report, located: Located) -> list[dict[str, Any]]:
    """Return a code quality report."""
    return [
        {
            "description": f"{told.finding.code}: {told.finding.what}",
            "check_name": f"orch/{told.finding.code}",
            "fingerprint": _fingerprint(told),
            "severity": "critical" if told.level == ERROR else "minor",
            "location": {
                "path": located(told.finding.where.path),
                "lines": {"begin": max(1, told.finding.where.line)},
            },
        }
        for told in report.findings
    ]


def junit_text(report: Report) -> str:
    """Return a JUnit document: a case for each finding; errors fail, warnings are skipped cases."""
    errors = report.count(ERROR)
    counts = {
        "tests": str(max(1, len(report.findings))),
        "failures": str(errors),
        "errors": "0",
        "skipped": str(len(report.findings) - errors),
        "time": "0.000",
    }
    root = ElementTree.Element("testsuites", {"name": "orch lint", **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": "orch lint", **counts})
    for told in report.findings:
        name = f"{told.finding.code} {told.finding.where}"
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": xml_text(told.database), "name": xml_text(name), "time": "0.000"}
        )
        if told.level == ERROR:
            about = {"message": xml_text(told.finding.what), "type": told.finding.code}
            ElementTree.SubElement(case, "failure", about).text = xml_text(f"{told.finding.where}: {told.finding.what}")
        else:
            ElementTree.SubElement(case, "skipped", {"message": xml_text(told.finding.what)})
    if not report.findings:
        ElementTree.SubElement(suite, "testcase", {"classname": "orch", "name": "lint", "time": "0.000"})
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"
