"""What a MongoDB migration may say, and what orch sees to itself."""

from __future__ import annotations

import time

from conftest import Estate


def test_a_file_of_very_many_commands(mongo_estate: Estate) -> None:
    """The place of each is counted on from the one before."""
    many = ",\n".join(['{"drop": "x"}'] * 200_000)
    mongo_estate.add("mongo", "a", {"1_x.up.js": f'[{many},\n{{"drop": "x", "drop": "y"}}]'})
    began = time.monotonic()
    assert "1_x.up.js:200001:" in mongo_estate.orch("validate", code=4).stderr
    assert time.monotonic() - began < 20
