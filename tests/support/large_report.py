"""A report document of a large estate: fleets of databases with histories, problems, risks, and schemas that they share."""

from __future__ import annotations

from typing import Any

MIGRATIONS = 10


def large_report(count: int) -> dict[str, Any]:
    """Return a document of `count` databases. Every twentieth has a problem, every tenth is behind, every 50th runs."""
    schemas = {f"schema{n}": _schema(n) for n in range(20)}
    return {
        "format": 1,
        "tool": "0.1.0",
        "made_at": "2026-11-27T06:00:00+00:00",
        "name": "large",
        "databases": [_database(n) for n in range(count)],
        "schemas": schemas,
    }


def _database(n: int) -> dict[str, Any]:
    problem, behind, runs = n % 20 == 7, n % 10 == 3, n % 50 == 1
    last = MIGRATIONS - 2 if behind or problem else MIGRATIONS
    versions = range(1, MIGRATIONS + 1)
    state = "partial" if problem else "running" if runs else "pending" if behind else "up to date"
    what = f"version {last + 1} stopped at statement 2 of 5: relation <script>alert({n})</script> does not exist"
    return {
        "id": f"postgres-tenant-{n:04}",
        "engine": "postgres",
        "name": f"tenant-{n:04}",
        "endpoint": f"db-{n % 40}.example:5432",
        "database": f"tenant_{n:04}",
        "running": {"by": f"orch, pid {n} on ci-{n % 9}", "since": "2026-11-27T05:59:00+00:00"} if runs else None,
        "exists": True,
        "version": last,
        "dirty": problem,
        "applied": list(versions[:last]),
        "pending": list(versions[last:]),
        "problems": [{"kind": "partial", "version": last + 1, "what": what, "hint": "orch repair", "blocks": ["up"]}]
        if problem
        else [],
        "notes": [],
        "state": state,
        "depends_on": [f"postgres-tenant-{n % 100:04}"] if n >= 100 else [],
        "labels": [f"region-{n % 5}"],
        "migrations": [
            {"version": v, "name": f"change_{v}", "state": "applied" if v <= last else "pending"} for v in versions
        ],
        "attempts": [_attempt(v, n) for v in versions[:last]],
        "schema": f"schema{n % 20}",
        "no_schema": "",
    }


def _attempt(version: int, n: int) -> dict[str, Any]:
    return {
        "version": version,
        "attempt": 1,
        "direction": "up",
        "done": True,
        "result": "applied",
        "started_at": f"2026-10-{version:02}T14:{n % 60:02}:00+00:00",
        "seconds": 0.25,
        "name": f"change_{version}",
        "actor": "ci@runner",
        "role": "deployer",
        "host": "ci-7",
        "tool": "0.1.0",
        "run_id": f"{n:08x}",
    }


def _schema(n: int) -> dict[str, Any]:
    def table(t: int) -> dict[str, Any]:
        columns = [{"name": "id", "definition": "bigint NOT NULL", "primary": True}]
        columns += [{"name": f"column_{c}", "definition": "text"} for c in range(8)]
        to = [{"columns": ["column_1"], "table": f"table_{(t * 7 + 1) % (10 + n)}", "to": ["id"]}]
        return {
            "kind": "table",
            "name": f"table_{t}",
            "definition": "",
            "columns": columns,
            "parts": [],
            "references": to,
        }

    return {"tables": [table(t) for t in range(10 + n)], "others": []}
