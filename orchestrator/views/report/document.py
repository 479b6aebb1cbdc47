"""A report as one JSON document: what `orch report --output json` shows, and all that the page draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from orchestrator.analysis.risks import Risk
from orchestrator.analysis.tables import Column, Part, Schema, Table
from orchestrator.model import Attempt
from orchestrator.operations.report import Report, ReportedDatabase, ReportedMigration
from orchestrator.views.history_text import result_of
from orchestrator.views.status import status_entry

FORMAT = 1


def report_document(report: Report) -> dict[str, Any]:
    """Return a report as plain data. Fields of attempts, steps and columns that say nothing are left out."""
    return {
        "format": FORMAT,
        "tool": report.tool,
        "made_at": _time(report.made_at),
        "name": report.name,
        "databases": [_database(one) for one in report.databases],
        "schemas": {key: _schema(schema) for key, schema in report.schemas.items()},
    }


def _database(one: ReportedDatabase) -> dict[str, Any]:
    return {
        **status_entry(one.status),
        "depends_on": list(one.depends_on),
        "labels": list(one.labels),
        "migrations": [_migration(migration) for migration in one.migrations],
        "attempts": [_attempt(attempt) for attempt in one.attempts],
        "schema": one.schema or None,
        "no_schema": one.no_schema,
    }


def _migration(one: ReportedMigration) -> dict[str, Any]:
    step = one.step
    about = {"statements": step.statements, "atomic": step.atomic} if step else {}
    risks = {"risks": [_risk(risk) for risk in one.risks]} if one.risks else {}
    return {"version": one.version, "name": one.name, "state": one.state, **about, **risks}


def _risk(risk: Risk) -> dict[str, Any]:
    return {
        "what": risk.what,
        "where": str(risk.where),
        "statement": risk.statement,
        "kinds": sorted(risk.kinds),
    }


def _attempt(one: Attempt) -> dict[str, Any]:
    always = {
        "version": one.version,
        "attempt": one.number,
        "direction": one.direction.value,
        "done": one.done,
        "result": result_of(one),
        "started_at": _time(one.started_at),
        "seconds": one.seconds,
    }
    texts = {
        "name": one.name,
        "actor": one.actor,
        "role": one.role,
        "host": one.host,
        "tool": one.tool,
        "run_id": one.run_id,
        "error": one.error,
        "reason": one.reason,
    }
    return always | _said(texts)


def _schema(schema: Schema) -> dict[str, Any]:
    return {"tables": [_table(table) for table in schema.tables], "others": _parts(schema.others)}


def _table(table: Table) -> dict[str, Any]:
    return {
        "kind": table.kind,
        "name": table.name,
        "definition": table.definition,
        "columns": [_column(column) for column in table.columns],
        "parts": _parts(table.parts),
        "references": [
            {"columns": list(one.columns), "table": one.table, "to": list(one.to)} for one in table.references
        ],
    }


def _column(column: Column) -> dict[str, Any]:
    keys = _said({"primary": column.primary, "foreign": column.foreign})
    return {"name": column.name, "definition": column.definition, **keys}


def _parts(parts: Iterable[Part]) -> list[dict[str, Any]]:
    return [part._asdict() for part in parts]


def _said(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value}


def _time(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat() if moment else None
