"""A project with one database on MariaDB or MySQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from estate import Estate, Result, start
from golang import GolangMysql

from orchestrator.embedded import Server


class Shop:
    """A project with one database, `mysql-shop`."""

    def __init__(self, root: Path, server: Server | None = None) -> None:
        self.estate = Estate(root, {"mysql": server or start("mariadb")})
        self.root = root
        self.directory = root / "migrations" / "mysql-shop" / "schema"
        self.golang = GolangMysql(self.estate.servers["mysql"], self.estate.prefix + "shop", self.directory)

    def declare(self, files: dict[str, str], **keys: object) -> None:
        self.estate.add("mysql", "shop", files, **keys)

    def write(self, files: dict[str, str]) -> None:
        self.estate.write("mysql-shop", files)

    def orch(self, *arguments: str, code: int | None = 0) -> Result:
        return self.estate.orch(*arguments, code=code)

    def sql(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self.estate.mysql("shop", query, *parameters)

    def create(self) -> None:
        self.estate.mysql("", f"CREATE DATABASE `{self.estate.prefix}shop` CHARACTER SET utf8mb4")

    def is_maria(self) -> bool:
        return "MariaDB" in str(self.estate.mysql("", "SELECT VERSION()"))

    def state(self) -> tuple[Any, ...]:
        tables = sorted(
            str(table) for (table,) in self.sql("SHOW TABLES") if not str(table).startswith(("orch_", "schema_"))
        )
        rows = [(table, sorted(self.sql(f"SELECT * FROM `{table}`"), key=str)) for table in tables]
        return tuple(rows), tuple(self.sql("SHOW CREATE TABLE t2")[0]) if "t2" in tables else ()
