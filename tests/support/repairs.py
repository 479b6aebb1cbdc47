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
