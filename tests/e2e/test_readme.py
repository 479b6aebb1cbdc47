"""Every command of the README runs, in the order in which a newcomer meets it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from estate import ORCH, Estate

from orchestrator import embedded

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands(block: str) -> list[str]:
    """Return the commands of a block without their remarks."""
    return [line.partition(" #")[0].strip() for line in block.splitlines() if line.strip() and not line.startswith("#")]


def block_with(text: str) -> str:
    (found,) = [block for block in blocks("sh") if text in block]
    return found


def shell(command: str, directory: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    path = f"{Path(ORCH).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-ec", command], cwd=directory, env={**env, "PATH": path}, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """An empty directory; embedded servers that are started in it end with the test."""
    directory = tmp_path / "shop"
    directory.mkdir()
    yield directory
    embedded.down(directory / ".orch")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """What a newcomer has in the environment: nothing of ours."""
    ours = ("ORCH_", "POSTGRES_", "MONGO_", "PG")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def test_a_newcomer_types_it_in_an_empty_directory(directory: Path, env: dict[str, str]) -> None:
    first = block_with("orch init")
    status = "orch status --output json > status-{}.json\n"
    done = shell(first + status.format(1) + block_with("orch add-db inventory") + status.format(2), directory, env)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert len(commands(first)) >= 12

    def versions(number: int) -> dict[str, int | None]:
        entries = json.loads((directory / f"status-{number}.json").read_text())["databases"]
        return {entry["id"]: entry["version"] for entry in entries}

    assert versions(1) == {"postgres-product": 1, "postgres-order": None}
    assert versions(2) == {"postgres-product": 1, "postgres-order": 1, "postgres-inventory": 1}, (
        "nobody wrote version 2"
    )


def test_the_tutorial_from_top_to_bottom(directory: Path, env: dict[str, str]) -> None:
    tutorial = (ROOT / "docs/tutorial.md").read_text().partition("\n## ")[0]
    install, look, new, go_on = re.findall(r"```sh\n(.*?)```", tutorial, re.DOTALL)
    texts = re.findall(r"```sql\n(.*?)```", tutorial, re.DOTALL)

    def typed(commands: str) -> str:
        done = shell(commands, directory, env)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def write(database: str, stem: str, texts: list[str]) -> None:
        for way, text in zip(("up", "down"), texts, strict=True):
            path = directory / f"migrations/postgres-{database}/schema/{stem}.{way}.sql"
            assert path.is_file()
            path.write_text(text)

    typed("".join(line for line in install.splitlines(keepends=True) if line.startswith("orch ")))
    write("product", "000001_create_product_tables", texts[:2])
    write("order", "000001_create_order_tables", [text.replace("products", "orders") for text in texts[:2]])
    assert "2 up to date." in typed(look)
    assert (directory / "estate.html").is_file()
    typed(new)
    write("order", "000002_add_note", texts[2:])
    shown = typed(go_on.replace("--steps 1", "--steps 1 --yes"))
    assert "verified: 2 migrations up, down, up" in shown
    assert re.search(r"^postgres-order +done +1 ", shown, re.MULTILINE), shown


def test_the_manifest_and_the_embedded_servers_work_as_written(
    directory: Path, env: dict[str, str], pg_estate: Estate
) -> None:
    (manifest,) = blocks("yaml")
    (directory / "databases.yaml").write_text(manifest)
    pg_estate.root = directory
    for name in ("product", "order"):
        pg_estate.write(f"postgres-{name}", {"000001_make.up.sql": f"CREATE TABLE {name}s (id int);"})
    again = 'eval "$(orch dev env)"\norch apply\n'
    done = shell(block_with("orch apply --embedded").replace("orch dev down", again + "orch dev down"), directory, env)
    assert done.returncode == 0, done.stderr
    assert "Nothing to do" in done.stderr, "the variables of `orch dev env` lead to the same servers"
    assert embedded.status(directory / ".orch") == []


@pytest.mark.parametrize("name", ["demo", "test"])
def test_the_two_commands_are_targets_of_the_makefile(name: str) -> None:
    assert f"make {name} " in block_with("make demo")
    done = subprocess.run(["make", "--dry-run", name], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []
