"""A character that the encoding of the database lacks is told with its place."""

from __future__ import annotations

import pytest
from estate import Estate


@pytest.mark.parametrize("directive", ["", "-- orch: no-transaction\n"])
def test_a_character_that_the_encoding_lacks(pg_estate: Estate, directive: str) -> None:
    pg_estate.manifest("  - {name: a, server: postgres, create: {encoding: LATIN1, locale: C, template: template0}}\n")
    text = f"{directive}CREATE TABLE price (t text);\nINSERT INTO price VALUES ('été');\nINSERT INTO price VALUES ('10 €');\n"
    pg_estate.write("postgres-a", {"1_a.up.sql": text})
    told = pg_estate.orch("apply", code=1).stderr
    line = 4 if directive else 3
    assert f"1_a.up.sql:{line}:31: " in told
    assert "22P05" in told
    assert "encoding UTF8" in told
