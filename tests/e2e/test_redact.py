"""No part of a secret is shown, however it is written, wherever a text is cut; and looking for it takes linear time."""

from __future__ import annotations

import json
import time
from urllib.parse import quote, quote_plus

import pytest
from estate import Estate
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import OrchError
from orchestrator.events import Failure
from orchestrator.execution.excerpt import EXCERPT, excerpt
from orchestrator.manifest.redact import Redactor
from orchestrator.secret import hidden

SECRET = "Tr0ub4dor-and-3-horses'/é\\ battery"
WAYS = {
    "raw": SECRET,
    "percent": quote(SECRET, safe=""),
    "percent, lower case": quote(SECRET, safe="").lower().replace("tr0ub4dor", "Tr0ub4dor"),
    "form": quote_plus(SECRET),
    "JSON": json.dumps(SECRET)[1:-1],
    "JSON, UTF-8": json.dumps(SECRET, ensure_ascii=False)[1:-1],
    "JSON in JSON": json.dumps(json.dumps(SECRET))[3:-3],
    "percent in JSON": json.dumps({"u": quote(SECRET)}),
    "SQL": SECRET.replace("'", "''"),
    "SQL, escaped": SECRET.replace("\\", "\\\\").replace("'", "\\'"),
    "two lines": SECRET[:15] + "\n    " + SECRET[15:],
    "two lines, CRLF": SECRET[:15] + "\r\n" + SECRET[15:],
    "two literals": SECRET[:15] + "'\n  '" + SECRET[15:],
    "cut at its end": "row contains (1, " + SECRET[:20] + "..., 2)",
    "cut at its beginning": "…" + SECRET[-20:] + " end",
}
PARTS = ("Tr0ub", "horses", "battery")


@pytest.mark.parametrize("way", WAYS)
def test_a_secret_is_hidden_however_it_is_written(way: str) -> None:
    said = Redactor([SECRET])(f"before {WAYS[way]} after")
    assert said.startswith("before ") and said.endswith(" after") and "***" in said
    assert not [part for part in PARTS if part in said], said


def test_a_line_of_a_secret_of_several_lines_is_hidden() -> None:
    assert Redactor(["first-line-of-it\nsecond-line-of-it"])("x second-line-of-it y") == "x *** y"


@given(st.text(min_size=8).filter(str.strip), st.text(), st.text())
@settings(deadline=None)
def test_any_secret_in_any_text(secret: str, before: str, after: str) -> None:
    redactor = Redactor([secret])
    for spelt in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1]):
        places = redactor.spans(f"{before} {spelt} {after}")
        start = len(before) + 1
        if not spelt.isalpha():
            assert any(left <= start and right >= start + len(spelt) for left, right in places)


@pytest.mark.parametrize("column", range(0, 400, 7))
def test_an_excerpt_is_cut_after_secrets_are_hidden(column: int) -> None:
    text = f"first\nSELECT {'x, ' * 40}'{SECRET}', {'y, ' * 50}1;\nlast"
    shown, caret = excerpt(text, len("first\n") + min(column, 300), Redactor([SECRET]).spans).split("\n")
    assert not [n for n in range(len(SECRET) - 4) if SECRET[n : n + 4] in shown], shown
    assert len(shown) <= EXCERPT + 2
    assert len(caret) <= len(shown) + 1


def test_the_caret_of_an_excerpt_moves_with_what_is_hidden() -> None:
    text = "SELECT 'a-long-secret', nope(), 'a-long-secret';"
    spans = Redactor(["a-long-secret"]).spans
    assert excerpt(text, text.index("nope"), spans) == "SELECT '***', nope(), '***';\n              ^"
    assert excerpt(text, text.index("long"), spans) == "SELECT '***', nope(), '***';\n        ^"
    assert excerpt(text, 0, spans).endswith("\n^")
    assert excerpt("a\n", 2, spans) == "\n^"


def test_an_error_of_megabytes_is_hidden_where_it_is_shown() -> None:
    for at in (0, 2_990, 2_999, 5_000, 1_999_000, 1_999_950):
        text = "a." * 1_000_000
        text = text[:at] + SECRET + text[at:]
        said = Failure.of(OrchError(text), Redactor([SECRET])).what
        assert len(said) < 4_200
        assert not [part for part in PARTS if part in said]
    assert hidden("short", 100, str) == "short"


@pytest.mark.parametrize(
    "unit",
    [
        "a.",
        "a://b:",
        "a@://",
        "password='",
        "password $a$ ",
        "'",
        '"',
        "\\",
        "\\u00",
        "%41",
        "\n '",
        "...",
        "x...",
        "a:@",
    ],
)
def test_time_is_linear(unit: str) -> None:
    redactor = Redactor([SECRET, "postgres"])

    def seconds(size: int) -> float:
        text = unit * (size // len(unit))
        began = time.process_time()
        redactor(text)
        return time.process_time() - began

    small = min(seconds(20_000) for _ in range(3))
    assert min(seconds(160_000) for _ in range(3)) < 8 * max(small, 0.005) * 4, (
        "eight times the text takes not more than 32 times as long"
    )


def test_a_password_at_the_cut_of_a_long_line(pg_estate: Estate) -> None:
    pg_estate.env["PW"] = SECRET
    pg_estate.add("postgres", "a", {"000001_a.up.sql": "SELECT 1;"})
    manifest = (pg_estate.root / "databases.yaml").read_text()
    (pg_estate.root / "databases.yaml").write_text(
        manifest + "  - {name: b, engine: postgres, migrations: m, dsn: 'postgres://u:${PW}@127.0.0.1:1/{database}'}\n"
    )
    (pg_estate.root / "m").mkdir()
    (pg_estate.root / "m" / "1_a.up.sql").write_text("SELECT 1;")
    literal = SECRET.replace("'", "''")
    options = f"OPTIONS (host 'db.example.com', secret '{literal}', x '1')"
    pg_estate.write("postgres-a", {"000001_a.up.sql": f"CREATE SERVER far FOREIGN DATA WRAPPER nope {options};\n"})
    for output in ("text", "json", "jsonl"):
        said = pg_estate.orch("apply", "--output", output, code=None).text
        assert "nope" in said
        assert not [n for n in range(len(SECRET) - 6) if SECRET[n : n + 6] in said], said
    assert not pg_estate.sql("a", "SELECT 1 FROM orch_history WHERE error LIKE '%%Tr0u%%'")
