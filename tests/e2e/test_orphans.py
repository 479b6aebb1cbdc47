"""Databases with a migration history that are in no manifest."""

from __future__ import annotations

from estate import Estate


def test_orphans_are_databases_with_a_history_and_without_a_manifest(estate: Estate) -> None:
    for name in ("kept", "lost"):
        estate.add("postgres", name, {"1_a.up.sql": "CREATE TABLE a (id int);"})
        estate.add("mongo", name, {"1_a.up.json": '[{"create": "a"}]'})
    estate.orch("apply")
    mine = {estate.prefix + "kept", estate.prefix + "lost"}
    before = (estate.root / "databases.yaml").read_text()
    (estate.root / "all.yaml").write_text(before)
    (estate.root / "databases.yaml").write_text(
        "".join(line for line in before.splitlines(keepends=True) if 'name: "lost"' not in line)
    )
    estate.sql("kept", f'CREATE DATABASE "{estate.prefix}bare"')
    seen = estate.snapshot()
    found = estate.orch("orphans", "--output", "json").json
    ours = [one for one in found["orphans"] if one["database"] in mine]
    assert sorted((one["engine"], one["database"], one["version"]) for one in ours) == [
        ("mongo", f"{estate.prefix}lost", 1),
        ("postgres", f"{estate.prefix}lost", 1),
    ]
    assert f"{estate.prefix}bare" not in str(found)
    assert f"{estate.prefix}lost" in estate.orch("orphans").stdout
    assert f"{estate.prefix}lost" not in estate.orch("orphans", "--also", "all.yaml").stdout
    assert estate.snapshot() == seen
