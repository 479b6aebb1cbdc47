"""How far PostgreSQL is with a statement that takes long, where it tells: building an index, rewriting or vacuuming a table."""

from __future__ import annotations

from typing import Any

import psycopg

from orchestrator.model import Activity

# Of a phase in which nothing is counted, 0 of 0. Where a server has no such column, nothing is told.
_ASKED = b"""SELECT p.phase,
        CASE WHEN p.blocks_total > 0 AND p.blocks_done < p.blocks_total THEN p.blocks_done
            WHEN p.tuples_total > 0 THEN p.tuples_done WHEN p.blocks_total > 0 THEN p.blocks_done ELSE p.lockers_done END,
        CASE WHEN p.blocks_total > 0 AND p.blocks_done < p.blocks_total THEN p.blocks_total
            WHEN p.tuples_total > 0 THEN p.tuples_total WHEN p.blocks_total > 0 THEN p.blocks_total ELSE p.lockers_total END
    FROM pg_catalog.pg_stat_progress_create_index p WHERE p.pid = %d
    UNION ALL SELECT p.phase, p.heap_blks_scanned, p.heap_blks_total
    FROM pg_catalog.pg_stat_progress_cluster p WHERE p.pid = %d
    UNION ALL SELECT p.phase, p.heap_blks_scanned, p.heap_blks_total
    FROM pg_catalog.pg_stat_progress_vacuum p WHERE p.pid = %d"""


def progress(connection: psycopg.Connection[Any], pid: int) -> Activity:
    """Return what the backend `pid` does, and how far it is. May raise psycopg.Error."""
    row = connection.execute(_ASKED % (pid, pid, pid)).fetchone()
    return Activity(row[0], row[1] or 0, row[2] or 0) if row and row[0] else Activity()
