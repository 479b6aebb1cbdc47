"""Databases of several engines with one directory of migrations: each engine parses the files for itself."""

from __future__ import annotations

from pathlib import Path

from orchestrator.operations.load import assemble


def test_a_file_is_parsed_by_each_engine(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/000001_a.up.sql").write_text("CREATE TABLE a (id int);")
    (tmp_path / "m/000001_a.down.sql").write_text("DROP TABLE a;")
    (tmp_path / "databases.yaml").write_text(
        "version: 1\ndatabases:\n"
        '  - {name: a, engine: postgres, dsn: "postgres://h/a", migrations: m}\n'
        '  - {name: b, engine: mysql, dsn: "mysql://u@tcp(h)/b", migrations: m}\n'
    )
    assembly = assemble(str(tmp_path / "databases.yaml"), offline=True)
    catalogs = assembly.catalogs()
    atomic = {}
    for database in assembly.databases:
        file = catalogs[database.id][0].up
        assert file is not None
        (statement,) = assembly.read_script(database, file).statements
        atomic[database.engine] = statement.atomic
    assert atomic == {"postgres": True, "mysql": False}  # MySQL commits each DDL statement by itself
