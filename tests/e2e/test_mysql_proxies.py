"""MySQL and MariaDB behind a proxy that does not keep one session of the server for its client: nothing runs there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from multiplexer import Choice, multiplexed, reads, turns
from mysql_shop import Shop

FILES = {
    "1_a.up.sql": "CREATE TABLE log (i int);\nINSERT INTO log VALUES (1);\n",
    "2_b.up.sql": "INSERT INTO log VALUES (2);\nINSERT INTO log VALUES (3);\n",
}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.estate.drop()


@pytest.mark.parametrize("choice", [turns(1), turns(2), turns(3), reads], ids=["1", "2", "3", "reads"])
@pytest.mark.parametrize("first", [{}, dict([*FILES.items()][:1])], ids=["new", "rows"])
def test_a_proxy_that_shares_sessions_is_noticed_before_anything_runs_twice(
    shop: Shop, choice: Choice, first: dict[str, str]
) -> None:
    shop.declare(first)
    if first:
        shop.orch("apply")
    else:
        shop.create()
    shop.write(FILES)
    server, manifest = shop.estate.servers["mysql"], shop.root / "databases.yaml"
    text = manifest.read_text()
    with multiplexed(server, f"{shop.estate.prefix}shop", choice) as proxy:
        manifest.write_text(text.replace(f":{server.port}", f":{proxy.port}"))
        told = shop.orch("apply", code=6).text
        assert "lost the migration lock" in told
        assert "of the server itself" in told
    manifest.write_text(text)
    shop.orch("apply")
    assert shop.sql("SELECT i FROM log ORDER BY i") == [(1,), (2,), (3,)]
