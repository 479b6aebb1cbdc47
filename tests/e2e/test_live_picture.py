"""The picture of the live view in the README: a frame of a real run. `make picture` writes docs/live.svg again."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

from estate import ORCH, Estate
from picture import picture

PICTURE = Path(__file__).parents[2] / "docs" / "live.svg"
SLOW = "CREATE INDEX ON {0} (id);\nSELECT pg_sleep({1});\n"


def shop(estate: Estate) -> None:
    """Seven databases, of which one is slow and one fails."""
    needs = {"product": [], "user": [], "order": ["product"], "inventory": ["product"]}
    needs |= {"payment": ["user"], "invoice": ["payment"], "notification": ["order"]}
    for name, dependencies in needs.items():
        files = {f"000001_create_{name}s.up.sql": f"CREATE TABLE {name}s (id int);\n"}
        if name == "order":
            files["000002_add_index.up.sql"] = "-- orch: no-transaction\n" + SLOW.format("orders", 1.2)
        if name == "inventory":
            files["000002_backfill.up.sql"] = "SELECT pg_sleep(1);\n"
        if name == "payment":
            files["000002_split_amount.up.sql"] = "ALTER TABLE payments DROP COLUMN amount;\n"
        estate.add("postgres", name, files, depends_on=dependencies)


def test_the_live_view_is_drawn_from_a_real_run(pg_estate: Estate) -> None:
    shop(pg_estate)
    env = {k: v for k, v in pg_estate.env.items() if k not in ("CI", "NO_COLOR")}
    svg, states = picture([ORCH, "apply"], pg_estate.root, env)
    assert {"done", "running", "failed", "blocked"} <= states
    assert pg_estate.prefix not in svg
    ElementTree.fromstring(svg)
    if os.environ.get("ORCH_PICTURE") == "write":
        PICTURE.write_text(svg)
    ElementTree.parse(PICTURE)
    assert len(svg) < 40_000
