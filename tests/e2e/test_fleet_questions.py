"""What a fleet with nothing to do asks its servers: one question a member, whatever else orch wants to know."""

from __future__ import annotations

from typing import Any

import pytest
from estate import Estate

MEMBERS = 12


def commands(estate: Estate) -> dict[str, int]:
    """How often the server ran each command so far."""
    found: dict[str, Any] = estate.client().admin.command("serverStatus")["metrics"]["commands"]
    return {name: int(one["total"]) for name, one in found.items() if isinstance(one, dict)}


def test_a_fleet_of_mongo_databases_is_asked_once_a_member(mongo_estate: Estate) -> None:
    if "mongod" not in mongo_estate.servers["mongo"].product:
        pytest.skip("only mongod counts its commands")
    source = f"for_each: {{range: 1..{MEMBERS}}}"
    mongo_estate.manifest(f"  - {{name: 'm{{n}}', server: mongo, {source}, migrations: migrations/m}}\n")
    (mongo_estate.root / "migrations" / "m").mkdir(parents=True)
    (mongo_estate.root / "migrations" / "m" / "000001_x.up.json").write_text('[{"create": "x"}]')
    mongo_estate.orch("apply")
    before = commands(mongo_estate)
    assert "Nothing to do" in mongo_estate.orch("apply").stderr
    after = commands(mongo_estate)
    asked = {name: after[name] - before.get(name, 0) for name in ("aggregate", "find", "listCollections")}
    assert MEMBERS <= asked["aggregate"] <= MEMBERS + 3  # the server has work of its own
    assert asked["find"] < MEMBERS
    assert asked["listCollections"] <= 3
    mongo_estate.manifest(
        f"  - {{name: 'm{{n}}', server: mongo, for_each: {{range: 1..{MEMBERS - 1}}}, migrations: migrations/m}}\n"
    )
    assert f"m{MEMBERS}' on" in mongo_estate.orch("apply").stderr  # what is no member any more is told as before
