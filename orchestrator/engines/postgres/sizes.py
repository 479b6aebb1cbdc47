"""How large the tables of a database are, and how often they are written to, as the server counts it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.model import Size

if TYPE_CHECKING:
    from orchestrator.engines.postgres.session import PostgresSession

# A partitioned table is as large as its partitions together; rows are those of the last ANALYZE, or of the statistics.
_SIZES = r"""
SELECT CASE n.nspname WHEN 'public' THEN c.relname ELSE n.nspname || '.' || c.relname END,
       greatest(t.rows, 0)::bigint, t.bytes::bigint, t.writes / greatest(extract(epoch FROM now() - coalesce(
           (SELECT d.stats_reset FROM pg_catalog.pg_stat_database d WHERE d.datname = pg_catalog.current_database()),
           pg_catalog.pg_postmaster_start_time())), 1)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT sum(greatest(p.reltuples, s.n_live_tup, 0)) AS rows, sum(pg_catalog.pg_total_relation_size(p.oid)) AS bytes,
           coalesce(sum(s.n_tup_ins + s.n_tup_upd + s.n_tup_del), 0) AS writes
    FROM (SELECT c.oid AS oid UNION SELECT relid FROM pg_catalog.pg_partition_tree(c.oid)) parts
    JOIN pg_catalog.pg_class p ON p.oid = parts.oid LEFT JOIN pg_catalog.pg_stat_user_tables s ON s.relid = p.oid
) t
WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
"""


def sizes(session: PostgresSession) -> dict[str, Size]:
    """Return name → size; a name of another schema than public has the schema before it, as the lint rules know it."""
    from psycopg.rows import tuple_row

    with session.connection.cursor(row_factory=tuple_row) as cursor:
        rows = cursor.execute(_SIZES).fetchall()
    return {name: Size(int(count), int(amount), float(writes)) for name, count, amount, writes in rows}
