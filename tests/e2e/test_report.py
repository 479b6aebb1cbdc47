"""`orch report`: what the document holds, and what the page shows, loads and says in a browser."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import jsonschema
import pytest
from browser import Watched, opened
from estate import Estate
from large_report import large_report

ROOT = Path(__file__).parents[2]
EVIL = "</script><script>document.title = 'taken over'</script><img src=http://192.0.2.1/x>"
PRODUCT = {
    "000001_create.up.sql": "CREATE TABLE categories (id int PRIMARY KEY);\n"
    "CREATE TABLE products (id int PRIMARY KEY, category int REFERENCES categories, note text);\n"
    f"COMMENT ON TABLE products IS $${EVIL}$$;\nALTER TABLE products ALTER note SET DEFAULT $${EVIL}$$;\n",
    "000002_drop_note.up.sql": "ALTER TABLE products DROP COLUMN note;\n",
    "000003_more.up.sql": "CREATE INDEX ON products (category);\n",
}
ORDER = {"000001_bad.up.sql": f'SELECT 1;\nSELECT * FROM "{EVIL[:60]}";\n'}
LOGS = {
    "000001_logs.up.json": json.dumps(
        [
            {
                "create": "logs",
                "validator": {"$jsonSchema": {"required": ["level"], "properties": {"level": {"bsonType": "string"}}}},
            },
            {"createIndexes": "logs", "indexes": [{"key": {"level": 1}, "name": "by_level"}]},
        ]
    )
}


@pytest.fixture
def shop(estate: Estate) -> Estate:
    """A database that is one version behind, one that failed, one of MongoDB, and one on a server that is down."""
    estate.add("postgres", "product", {"000001_create.up.sql": PRODUCT["000001_create.up.sql"]}, labels=["<b>core"])
    estate.add("postgres", "order", ORDER, depends_on=["product"])
    estate.add("mongo", "logs", LOGS)
    estate.orch("apply", code=None)
    estate.write("postgres-product", PRODUCT)
    manifest = (estate.root / "databases.yaml").read_text()
    down = "  down: {engine: postgres, dsn: 'postgres://u:hunter2-of-nobody@127.0.0.1:1/{database}'}\n"
    manifest = manifest.replace("databases:\n", f"{down}databases:\n", 1)
    (estate.root / "databases.yaml").write_text(manifest + "  - {name: away, server: down}\n")
    estate.write("postgres-away", {"000001_a.up.sql": "SELECT 1;\n"})
    return estate


def test_the_report_in_a_browser(shop: Estate) -> None:
    before = shop.snapshot()
    shop.orch("report", "--output", "json", "-o", "estate.json", code=7)
    text = (shop.root / "estate.json").read_text()
    document = json.loads(text)
    jsonschema.Draft202012Validator(shop.orch("schema", "report").json).validate(document)
    assert shop.snapshot() == before
    by_id = {one["id"]: one for one in document["databases"]}
    product, order, logs = by_id["postgres-product"], by_id["postgres-order"], by_id["mongo-logs"]
    assert [(one["version"], one["state"]) for one in product["migrations"]] == [
        (1, "applied"),
        (2, "pending"),
        (3, "pending"),
    ]
    assert "loses-data" in product["migrations"][1]["risks"][0]["kinds"]
    assert order["depends_on"] == ["postgres-product"] and not order["attempts"][0]["done"]
    assert order["state"] == order["migrations"][0]["state"] == "failed"
    tables = {table["name"]: table for table in document["schemas"][product["schema"]]["tables"]}
    assert tables["products"]["references"] == [{"columns": ["category"], "table": "categories", "to": ["id"]}]
    (collection,) = document["schemas"][logs["schema"]]["tables"]
    assert collection["columns"] == [{"name": "level", "definition": "string required"}]
    assert by_id["postgres-away"]["exists"] is None
    for secret in ("hunter2-of-nobody", *(server.password for server in shop.servers.values())):
        assert secret not in text

    page = shop.root / "estate.html"
    shop.orch("report", "-o", "estate.html", code=7)
    assert "hunter2" not in page.read_text() and EVIL not in page.read_text()
    with opened(page) as watched:
        look_at_the_estate(watched)
        look_at_databases(watched)


def look_at_the_estate(watched: Watched) -> None:
    page = watched.page
    assert "taken over" not in page.title()
    assert page.locator(".node").count() == 4
    assert page.inner_text("[role=status]") == "4 databases"
    assert watched.accessibility() == []
    page.fill("#filter", "product")
    assert page.inner_text("[role=status]") == "1 of 4 databases"
    assert "! 2" in page.inner_text("tbody")
    page.fill("#filter", "")
    page.select_option("#kind", "problem")
    assert page.locator("tbody tr").count() == 2  # one is not reached, the last try of the other failed
    page.select_option("#kind", "")
    page.locator(".zoom button").first.focus()
    page.keyboard.press("+")
    assert "scale(1.3)" in str(page.locator(".picture svg > g").first.get_attribute("transform"))


def look_at_databases(watched: Watched) -> None:
    page = watched.page
    page.click("tbody a:text-is('postgres-product')")
    assert page.inner_text("h1").startswith("postgres-product")
    assert "ALTER TABLE products DROP COLUMN note" in page.inner_text("ul.risks")
    assert page.locator(".picture .table").count() == 2 and page.locator(".picture .line").count() == 1
    page.click("details.object:has-text('products') summary")
    assert EVIL[:20] in page.inner_text("main")  # as text
    assert watched.accessibility() == []
    page.click("text=All databases")
    page.click("tbody a:text-is('postgres-order')")
    assert EVIL[:20] in page.inner_text("tr.failed")
    assert "orch apply --only postgres-order" in page.inner_text(".problem pre")
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    assert watched.accessibility() == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.go_back()
    assert page.locator("tbody tr").count() == 4
    assert page.locator("img, iframe, object").count() == 0
    assert watched.said == [] and watched.asked == []


def test_five_thousand_databases(tmp_path: Path, pg_estate: Estate) -> None:
    (tmp_path / "large.json").write_text(json.dumps(large_report(5_000)))
    pg_estate.orch("report", "--from", str(tmp_path / "large.json"), "-o", str(tmp_path / "large.html"))
    with opened(tmp_path / "large.html") as watched:
        page = watched.page
        ready = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
        page.fill("#filter", "tenant-4321")
        assert page.inner_text("[role=status]") == "1 of 5,000 databases"
        took = page.evaluate(
            """() => { const filter = document.getElementById('filter'), began = performance.now();
            filter.value = '-43'; filter.dispatchEvent(new Event('input')); document.body.offsetHeight;
            return performance.now() - began; }"""
        )
        assert page.locator("tbody tr").count() == 100
        assert page.locator(".node").count() <= 250
        assert "script" in page.inner_text("main") and watched.said == []
        print(f"ready after {ready:.0f} ms, filtered in {took:.0f} ms")
        assert ready < 20_000 and took < 3_000


@pytest.mark.parametrize("command", ["status", "plan", "apply"])
def test_from_what_other_commands_write(shop: Estate, command: str) -> None:
    written = shop.orch(command, "--output", "json", code=None).stdout
    (shop.root / "seen.json").write_text(written)
    seen = shop.orch("report", "--from", "seen.json", "--output", "json", env={"ORCH_FILE": "gone.yaml"}).json
    jsonschema.Draft202012Validator(shop.orch("schema", "report").json).validate(seen)
    states = {one["id"]: one["state"] for one in seen["databases"]}
    assert states["postgres-product"] == ("up to date" if command == "apply" else "pending")
    assert states["postgres-away"] == ("failed" if command == "apply" else "unreachable")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not a JSON document"),
        ("[]", "is not a document of report, status, plan or apply"),
        ('{"format": 1, "errors": []}', "holds errors and no databases"),
        ('{"format": 2, "databases": []}', "has format 2, and this version of orch reads format 1"),
        ('{"format": 1, "databases": [{"id": 7}]}', "$.databases[0]"),
        ('{"format": 1, "databases": [], "schemas": {"x": 1}, "tool": "", "name": "", "made_at": null}', "$.schemas.x"),
    ],
)
def test_a_document_that_is_none(pg_estate: Estate, text: str, told: str) -> None:
    (pg_estate.root / "x.json").write_text(text)
    failed = pg_estate.orch("report", "--from", "x.json", "-o", "x.html", code=4)
    assert told in failed.stderr
    assert not (pg_estate.root / "x.html").exists()


def test_wrong_usage(pg_estate: Estate) -> None:
    failed = pg_estate.orch("report", "--from", "x.json", "--only", "a", code=2)
    assert "--from asks no server: --only would change nothing" in failed.stderr
    (pg_estate.root / "s.json").write_text('{"format": 1, "databases": []}')
    failed = pg_estate.orch("report", "--from", "s.json", "-o", "no/such/place.html", code=2)
    assert "no/such/place.html cannot be written: No such file or directory" in failed.stderr


def test_the_script_is_built_from_its_sources() -> None:
    """`make page` builds it again."""
    web = ROOT / "web"
    sources = [*sorted((web / "src").iterdir()), web / "package-lock.json"]
    found = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    first = (ROOT / "orchestrator" / "views" / "report" / "page.js").read_text().partition("\n")[0]
    assert f"sources {found}." in first
    assert os.path.getsize(ROOT / "orchestrator" / "views" / "report" / "page.js") < 200_000
