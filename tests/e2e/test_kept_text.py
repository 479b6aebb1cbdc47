"""The history keeps the text of what ran: shown, compared with an edited file, and run where the down file is gone."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from estate import Estate, start

SQL = {
    "000001_a.up.sql": "CREATE TABLE a (x int);\n",
    "000001_a.down.sql": "DROP TABLE a;\n",
    "000002_b.up.sql": "CREATE TABLE b (x int);\n",
    "000002_b.down.sql": "DROP TABLE b;\n",
    "000003_c.up.sql": "-- orch: no-transaction\nCREATE TABLE c (x int);\nCREATE INDEX CONCURRENTLY c_x ON c (x);\n",
    "000003_c.down.sql": "DROP TABLE c;\n",
}


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    estate = Estate(tmp_path_factory.mktemp("kept"), {"postgres": start("postgres-wheel"), "mongo": start("mongod")})
    yield estate
    estate.drop()


def remove(estate: Estate, directory: str, *versions: int) -> None:
    for path in (estate.root / "migrations" / directory / "schema").iterdir():
        if int(path.name.partition("_")[0]) in versions:
            path.unlink()


def test_an_older_image_rolls_back_by_the_kept_down_files_and_says_so(estate: Estate) -> None:
    estate.add("postgres", "shop", SQL)
    estate.orch("apply", "--only", "shop")
    shown = estate.orch("history", "shop", "--text", "3").stdout
    assert "CREATE INDEX CONCURRENTLY c_x ON c (x);" in shown
    assert "DROP TABLE c;" in shown
    assert estate.orch("history", "shop", "--text", "2", "--output", "json").json["down"] == "DROP TABLE b;\n"
    assert "texts" not in estate.orch("history", "shop", "--output", "json").json["attempts"][0]
    remove(estate, "postgres-shop", 2, 3)
    done = estate.orch("rollback", "shop", "--to", "1", "--yes")
    assert "the down file of version 3 is not here: the text that the history keeps is used" in done.text
    assert estate.tables("shop") == {"a"}
    assert estate.version_row("shop") == [(1, False)]


def test_a_kept_text_is_not_run_where_it_was_changed_or_its_file_was_edited(estate: Estate) -> None:
    estate.add("postgres", "tampered", SQL)
    estate.orch("apply", "--only", "tampered")
    (kept,) = estate.sql("tampered", "SELECT texts FROM orch_history WHERE version = 3")[0]
    remove(estate, "postgres-tampered", 3)

    def store(text: str) -> None:
        estate.sql("tampered", "UPDATE orch_history SET texts = %s WHERE version = 3", text)

    other = json.dumps({"up": SQL["000003_c.up.sql"] + "--", "down": "DROP TABLE a;"}).encode()
    packed = base64.b64encode(zlib.compress(other)).decode()
    for text, what in (
        (kept[:-9] + "AAAAAAAA=", "it was changed since it was kept"),
        (f"1:{kept.split(':')[1]}:{packed}", "its checksum is another one"),
        (f"1:{hashlib.sha256(other).hexdigest()}:{packed}", "it has not the checksum of the file that ran"),
        ("2:" + kept[2:], "a later release of orch kept it"),
        ("rubbish", "a later release of orch kept it"),
    ):
        store(text)
        refused = estate.orch("rollback", "tampered", "--steps", "1", "--yes", code=5)
        assert what in refused.text, text
        assert estate.tables("tampered") == {"a", "b", "c"}
    store(kept)
    # Edited, and the edit accepted: the kept down file belongs to another content.
    estate.write("postgres-tampered", {"000003_c.up.sql": SQL["000003_c.up.sql"] + "-- more\n"})
    told = estate.orch("repair", "tampered").stdout
    assert "--- what ran" in told
    assert "+-- more" in told
    assert "+-- more" in estate.orch("repair", "tampered", "--output", "json").json["problems"][0]["diff"]
    assert (
        "its file here is not the one that ran"
        in estate.orch("rollback", "tampered", "--steps", "1", "--yes", code=5).text
    )
    estate.orch("repair", "tampered", "--accept", "3")
    remove(estate, "postgres-tampered", 3)
    assert (
        "its file was edited after it ran" in estate.orch("rollback", "tampered", "--steps", "1", "--yes", code=5).text
    )
    assert estate.tables("tampered") == {"a", "b", "c"}


def test_a_history_of_an_earlier_release_is_upgraded_in_place_and_long_texts_are_left_out(estate: Estate) -> None:
    long = "-- " + "".join(hashlib.sha256(str(n).encode()).hexdigest() for n in range(9_000)) + "\nSELECT 1;\n"
    estate.add("postgres", "old", {k: v for k, v in SQL.items() if k < "000002"})
    estate.orch("apply", "--only", "old")
    estate.sql("old", "ALTER TABLE orch_history DROP COLUMN texts")
    estate.orch("status")
    assert "keeps no text of version 1" in estate.orch("history", "old", "--text", "1", code=2).text
    estate.write("postgres-old", {"000002_b.up.sql": SQL["000002_b.up.sql"], "000003_long.up.sql": long})
    estate.orch("apply", "--only", "old")
    assert estate.sql("old", "SELECT version FROM orch_history WHERE texts IS NOT NULL") == [(2,)]
    remove(estate, "postgres-old", 1)
    assert (
        "cannot be rolled back past version 3: it has no down file"
        in estate.orch("rollback", "old", "--to", "0", "--yes", code=5).text
    )


def test_the_manifest_can_switch_it_off(estate: Estate) -> None:
    estate.add("postgres", "quiet", SQL, keep_text=False)
    estate.orch("apply", "--only", "quiet")
    assert estate.sql("quiet", "SELECT count(*) FROM orch_history WHERE texts IS NOT NULL") == [(0,)]


def test_mongodb_keeps_the_text_too(estate: Estate) -> None:
    def commands(*found: dict[str, Any]) -> str:
        return json.dumps(found)

    files = {"000001_a.up.json": commands({"create": "a"}), "000001_a.down.json": commands({"drop": "a"})}
    estate.add("mongo", "shop", files)
    estate.orch("apply", "--only", "mongo-shop")
    assert '"drop": "a"' in estate.orch("history", "mongo-shop", "--text", "1").stdout
    remove(estate, "mongo-shop", 1)
    estate.write("mongo-shop", {"000000_none.up.json": "[]"})
    estate.orch("apply", "--only", "mongo-shop", "--allow-out-of-order")
    estate.orch("rollback", "mongo-shop", "--steps", "1", "--yes")
    assert "a" not in estate.mongo("shop").list_collection_names()
