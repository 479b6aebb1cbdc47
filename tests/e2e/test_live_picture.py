"""The pictures in the README, of a real run: a frame of the live view, and the page of `orch report` about its databases.

`make picture` writes docs/live.svg and docs/report.png again; the second needs Chromium.
"""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

from browser import opened
from estate import Estate
from picture import SIGNS, picture

DOCS = Path(__file__).parents[2] / "docs"
PICTURE, PAGE = DOCS / "live.svg", DOCS / "report.png"
# The file of `order` runs until that of `payment` has failed: until its database is there, and nobody has been connected to
# it for half a second. So one frame shows both, however busy the machine is.
UNTIL_PAYMENT_FAILED = """\
CREATE FUNCTION fill_totals() RETURNS void LANGUAGE plpgsql AS $$
DECLARE other name := replace(current_database(), 'order', 'payment'); quiet int := 0;
BEGIN
    FOR try IN 1..1200 LOOP
        EXIT WHEN quiet = 10;
        PERFORM pg_sleep(0.05), pg_stat_clear_snapshot();
        quiet := CASE WHEN EXISTS (SELECT FROM pg_database WHERE datname = other)
            AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = other) THEN quiet + 1 ELSE 0 END;
    END LOOP;
    PERFORM pg_sleep(0.7);
END $$;
"""
SLOW = "-- orch: no-transaction\nCREATE INDEX ON orders (id);\nSELECT fill_totals();\n"


def shop(estate: Estate) -> None:
    """Seven databases, of which one is slow and one fails."""
    needs = {"product": [], "user": [], "order": ["product"], "inventory": ["product"]}
    needs |= {"payment": ["user"], "invoice": ["payment"], "notification": ["order"]}
    for name, dependencies in needs.items():
        files = {f"000001_create_{name}s.up.sql": f"CREATE TABLE {name}s (id int);\n"}
        if name == "order":
            files["000001_create_orders.up.sql"] += UNTIL_PAYMENT_FAILED
            files["000002_add_index.up.sql"] = SLOW
        if name == "inventory":
            files["000002_backfill.up.sql"] = "SELECT pg_sleep(1);\n"
        if name == "payment":
            files["000002_split_amount.up.sql"] = "ALTER TABLE payments DROP COLUMN amount;\n"
        estate.add("postgres", name, files, depends_on=dependencies)


def test_the_live_view_is_drawn_from_a_real_run(pg_estate: Estate) -> None:
    shop(pg_estate)
    env = {k: v for k, v in pg_estate.env.items() if k not in ("CI", "NO_COLOR")}
    svg, states = picture(["apply"], pg_estate.root, env)
    assert {"done", "running", "failed", "blocked"} <= states
    assert pg_estate.prefix not in svg
    assert "column&#160;&quot;amount&quot;" in svg  # what went wrong comes before the place
    ElementTree.fromstring(svg)
    if os.environ.get("ORCH_PICTURE") == "write":
        PICTURE.write_text(svg)
        photograph(pg_estate)
    assert len(svg) < 40_000


def test_the_pictures_show_what_the_views_look_like_now() -> None:
    words = "".join(ElementTree.parse(PICTURE).getroot().itertext())
    assert [sign for sign in SIGNS if sign not in words] == []
    assert PAGE.read_bytes().startswith(b"\x89PNG")
    readme = (DOCS.parent / "README.md").read_text()
    assert all(f"(docs/{one.name})" in readme for one in (PICTURE, PAGE))


def photograph(estate: Estate) -> None:
    """Write a picture of the page about all databases, under the names that they have in the manifest."""
    page = estate.root / "estate.html"
    estate.orch("report", "-o", page.name)
    page.write_text(page.read_text().replace(estate.prefix, "").replace(estate.root.name, "shop"))
    with opened(page, viewport={"width": 1200, "height": 1140}, color_scheme="light") as watched:
        watched.page.screenshot(path=PAGE)
