"""What repairs must keep, and the ways that `orch repair` offers."""

from __future__ import annotations

import json
from typing import Any

from house import House


class Kept:
    """Looks that history never shrinks: a record once there stays, and what it says of the past stays."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._seen: dict[tuple[int, int], dict[str, Any]] = {}

    def look(self) -> list[dict[str, Any]]:
        attempts = self._house.attempts()
        now = {(r["version"], r["attempt"]): r for r in attempts}
        for key, before in self._seen.items():
            assert key in now, f"the record {key} is gone"
            for field in ("name", "direction", "started_at"):
                assert now[key][field] == before[field]
            assert now[key]["applied"] >= before["applied"]
            assert now[key]["done"] or not before["done"]
        self._seen = now
        return attempts


def ways(house: House) -> list[str]:
    """Return the flags that `orch repair` offers."""
    document = json.loads(house.orch("repair", house.id, "--output", "json").output)
    return [way["flag"] for way in document["ways"]]


def partial_file(house: House, wrong: bool) -> dict[str, str]:
    """Return a file of three statements whose second fails, or its mended form."""
    if house.engine == "postgres":
        second = "SELECT 1/0" if wrong else "INSERT INTO t2 VALUES (20)"
        text = f"-- orch: no-transaction\nCREATE TABLE t2 (id int);\n{second};\nINSERT INTO t2 VALUES (2);\n"
        return {"000002_t2.up.sql": text}
    second = '{"nonsense": 1}' if wrong else '{"insert": "t2", "documents": [{"_id": 20}]}'
    return {"000002_t2.up.json": f'[{{"create": "t2"}}, {second}, {{"insert": "t2", "documents": [{{"_id": 2}}]}}]'}
