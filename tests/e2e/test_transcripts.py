"""What every command prints, whole, in its ordinary and its failing cases. `make transcripts` writes the files again."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from estate import Estate, piped
from transcript import COLUMNS, masked, on_a_terminal

from orchestrator import embedded
from orchestrator.embedded import Server

TRANSCRIPTS = Path(__file__).with_name("transcripts")
REWRITE = os.environ.get("ORCH_TRANSCRIPTS") == "write"
Change = Callable[[Estate], None]
Step = str | Change

CREATE = "CREATE TABLE {0} (id int PRIMARY KEY, name text);\n"


def shop(estate: Estate) -> None:
    """Two databases with three migrations, one of them risky."""
    estate.add("postgres", "product", {"000001_make.up.sql": CREATE.format("product")})
    estate.write("postgres-product", {"000001_make.down.sql": "DROP TABLE product;\n"})
    estate.add("postgres", "order", {"000001_make.up.sql": CREATE.format("orders")}, depends_on=["product"])
    files = {
        "000001_make.down.sql": "DROP TABLE orders;\n",
        "000002_slim.up.sql": "ALTER TABLE orders DROP COLUMN name;\n",
    }
    estate.write("postgres-order", files | {"000002_slim.down.sql": "ALTER TABLE orders ADD COLUMN name text;\n"})


def nothing(estate: Estate) -> None:
    """An empty directory."""


def broken(estate: Estate) -> None:
    estate.write("postgres-product", {"000002_bad.up.sql": "SELECT 1;\nINSERT INTO nowhere VALUES (1);\n"})


def mended(estate: Estate) -> None:
    estate.write("postgres-product", {"000002_bad.up.sql": "SELECT 1;\n", "000002_bad.down.sql": "SELECT 1;\n"})


def edited(estate: Estate) -> None:
    estate.write("postgres-product", {"000001_make.up.sql": CREATE.format("product") + "-- edited\n"})


def cut_off(estate: Estate) -> None:
    text = "-- orch: no-transaction\nCREATE TABLE a (i int);\nSELECT 1/0;\n"
    estate.write("postgres-product", {"000002_parts.up.sql": text})


def no_manifest(estate: Estate) -> None:
    (estate.root / "databases.yaml").unlink()


def wrong_manifest(estate: Estate) -> None:
    manifest = estate.root / "databases.yaml"
    manifest.write_text(manifest.read_text().replace("depends_on", "depend_on"))


def wrong_password(estate: Estate) -> None:
    estate.env["POSTGRES_PASSWORD"] = "wrong"


# A command → where it begins, and what is typed; a function changes something between two commands.
SCENES: dict[str, tuple[Change, list[Step]]] = {
    "apply": (
        shop,
        [
            *("apply --only nobody", "apply --only product", broken, "apply", "apply -v", mended, "apply", "apply"),
            *(edited, "apply", wrong_password, "apply"),
        ],
    ),
    "plan": (
        shop,
        [
            *("plan", "plan --output json --only product", "plan --exit-code --only product", "apply --only product"),
            *("plan", edited, "plan", wrong_manifest, "plan", no_manifest, "plan"),
        ],
    ),
    "status": (shop, ["status", "apply --only product", broken, "apply", "status", cut_off, edited, "status"]),
    "history": (
        shop,
        [
            *("history product", "apply --only product", broken, "apply", "history", "history product -v"),
            *("history --failed", "history --since yesterday", "history nobody"),
        ],
    ),
    "validate": (shop, ["validate", broken, "validate", wrong_manifest, "validate"]),
    "stats": (shop, ["stats nobody"]),
    "lint": (shop, ["lint", "lint --since 0 --output json", "lint --explain PG206", "lint --explain PG1"]),
    "orphans": (shop, ["orphans --nothing"]),  # what it lists depends on the other tests that use the server
    "squash": (shop, ["squash product --to 2 --dry-run", "squash product --to 9", "squash nobody --to 2"]),
    "graph": (shop, ["graph", "graph --format mermaid", "graph --format dot", "graph --format json"]),
    "rollback": (
        shop,
        [
            *(
                "apply --only order",
                "rollback order",
                "rollback product --steps 1 --yes",
                "rollback order --steps 1 --dry-run",
            ),
            *(
                "rollback order --to 0 --yes",
                "rollback order --steps 1 --yes",
                "rollback order product",
                "rollback nobody",
            ),
        ],
    ),
    "verify": (shop, ["verify product", broken, "verify product", "verify nobody"]),  # of several: in any order
    "repair": (
        shop,
        [
            *("apply --only product", "repair product", cut_off, "apply --only product", "repair product"),
            *("repair product --statement-done", "repair product --rolled-back 2 --reason test", "repair nobody"),
        ],
    ),
    "baseline": (
        shop,
        ["baseline product", "apply --only product", "baseline product --version 1", "baseline order --version 7"],
    ),
    "unlock": (shop, ["unlock product", "apply --only product", "unlock product", "unlock nobody"]),
    "clone": (shop, ["clone", "clone product --as x --output json", "clone product --as x", "clone nobody"]),
    "report": (shop, ["report --only nobody -o x.html"]),
    "doctor": (shop, ["doctor --only nobody"]),  # how long an answer takes differs
    "clones": (shop, ["clones --output nothing"]),  # what it lists depends on the other tests that use the server
    "drop-clone": (shop, ["drop-clone", "clone product --as y", "drop-clone y", "drop-clone y", "drop-clone --every"]),
    "wait": (
        shop,
        ["wait --for product --timeout 1", "apply --only product", "wait --for product", "wait --for nobody"],
    ),
    "init": (nothing, ["init", "init"]),
    "add-db": (
        shop,
        ["add-db stock --depends-on order", "add-db stock", "add-db Stock", "add-db a --depends-on nobody"],
    ),
    "rm-db": (shop, ["rm-db product", "add-db stock", "rm-db stock --dry-run", "rm-db stock", "rm-db stock"]),
    "new": (shop, ["new product add_price", "new nobody add_price", "new product ''"]),
    "render": (
        shop,
        [
            "render github",
            "render github",
            "render github --check",
            "render compose",
            "render kubernetes",
            "render nothing",
        ],
    ),
    "shell": (shop, ["shell nobody", "shell"]),  # what opens depends on the machine
    "redo": (shop, ["redo nobody", "redo nobody --yes"]),
    "drift": (shop, ["drift nobody", "drift --accept"]),
    "dsn": (shop, ["dsn product --no-password", "dsn nobody"]),
    "schema": (shop, ["schema nothing"]),
}
ON_A_TERMINAL = ("apply", "plan", "status", "history", "rollback", "repair")


def compare(name: str, text: str) -> None:
    file = TRANSCRIPTS / f"{name}.txt"
    if REWRITE:
        TRANSCRIPTS.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text(), f"orch {name} prints something else now; if that is meant: make transcripts"


def run(estate: Estate, line: str, *, terminal: bool, columns: int = COLUMNS) -> str:
    words = [word.replace("''", "") for word in line.split(" ")]
    env = {k: v for k, v in estate.env.items() if k not in ("CI", "NO_COLOR")} | {"ORCH_ACTOR": "somebody"}
    names = {str(estate.root.resolve()): "DIRECTORY", str(estate.root): "DIRECTORY", estate.prefix: ""}
    names |= {estate.root.name: "DIRECTORY", os.uname().nodename: "HOST"}
    if terminal:
        code, shown = on_a_terminal(words, estate.root, env, columns=columns)
        parts = [masked(shown, names)]
    else:
        done = piped(words, estate.root, env)
        code = done.returncode
        parts = [masked(done.stdout, names), "--- stderr\n" + masked(done.stderr, names) if done.stderr else ""]
    for server in estate.servers.values():
        assert server.password not in "".join(parts)
    return f"$ orch {line}\n{''.join(parts)}--- exit code {code}\n\n"


def play(name: str, estate: Estate, *, terminal: bool) -> str:
    begin, steps = SCENES[name]
    begin(estate)
    columns = 200 if name == "history" else COLUMNS  # it has the name of this machine, which may be long
    text = run(estate, f"{name} --help", terminal=terminal, columns=columns)
    for step in steps:
        if isinstance(step, str):
            text += run(estate, step, terminal=terminal, columns=columns)
        else:
            text += f"({step.__name__.replace('_', ' ')})\n\n"
            step(estate)
    return text


@pytest.mark.parametrize("name", SCENES)
def test_what_a_command_prints_in_a_pipe(name: str, pg_estate: Estate) -> None:
    compare(name, play(name, pg_estate, terminal=False))


@pytest.mark.parametrize("name", ON_A_TERMINAL)
def test_what_a_command_prints_on_a_terminal(name: str, pg_estate: Estate) -> None:
    compare(f"{name}-on-a-terminal", play(name, pg_estate, terminal=True))


def test_what_is_printed_on_terminals_of_several_widths(pg_estate: Estate) -> None:
    shop(pg_estate)
    broken(pg_estate)
    text = run(pg_estate, "apply", terminal=True, columns=50)
    for columns in (50, 80, 140):
        text += f"({columns} columns)\n\n"
        for line in (
            "plan",
            "status",
            "status product",
            "validate",
        ):  # not history: it wraps as long as the host's name is
            text += run(pg_estate, line, terminal=True, columns=columns)
    compare("widths", text)


def test_what_dev_prints(tmp_path: Path, postgres: Server) -> None:
    estate = Estate(tmp_path, {"postgres": postgres})
    shop(estate)
    try:
        lines = ("dev --help", "dev up", "dev up", "dev status", "dev down", "dev down --delete", "dev nothing")
        compare("dev", "".join(run(estate, line, terminal=False) for line in lines))
    finally:
        embedded.remove(tmp_path / ".orch")


def test_what_orch_prints(pg_estate: Estate) -> None:
    compare(
        "orch",
        "".join(
            run(pg_estate, line, terminal=False)
            for line in ("--help", "aply", "up", "start", "--nothing", "help nothing")
        ),
    )


def test_every_command_has_a_transcript() -> None:
    listed = set(re.findall(r"^  ([a-z][a-z-]+)  +[A-Z]", (TRANSCRIPTS / "orch.txt").read_text(), re.MULTILINE))
    assert {"apply", "dev", "wait"} <= listed
    assert listed <= {*SCENES, "dev", "rollout"}  # a rollout takes a fleet
