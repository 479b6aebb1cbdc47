"""Nothing that is printed by mistake shows a password: repr, str and format of what holds one, and tracebacks."""

from __future__ import annotations

import pickle
import traceback
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.engines.url import split
from orchestrator.events import Notice
from orchestrator.execution.run import Run
from orchestrator.manifest.dsn import Redactor, read_address, resolve
from orchestrator.manifest.retarget import retarget
from orchestrator.model import Database, Direction, Manifest, Target
from orchestrator.planning.plan import DatabasePlan, Plan
from orchestrator.secret import Secret

PASSWORD = "Zq7-secret/word"
DSNS = {
    "postgres": "postgres://u:Zq7-secret%2Fword@db.example:5432/inventory",
    "mongo": "mongodb://u:Zq7-secret%2Fword@db.example:27017/inventory?authSource=admin",
    "conninfo": f"host=db.example user=u password={PASSWORD} dbname=inventory",
}


def database(kind: str) -> Database:
    engine = "mongo" if kind == "mongo" else "postgres"
    return Database(f"{engine}-inventory", engine, "inventory", DSNS[kind], Path("migrations"))


def target(kind: str) -> Target:
    return resolve(database(kind), {}, Redactor(), "orch_history")


def shown(thing: object) -> str:
    return f"{thing!r} {thing} {[thing]}"


def assert_hidden(text: str) -> None:
    assert "Zq7" not in text
    assert "secret/word" not in text
    assert "secret%2Fword" not in text


@pytest.mark.parametrize("kind", DSNS)
def test_a_manifest_and_a_target_show_no_password(kind: str) -> None:
    one, there = database(kind), target(kind)
    scratch = retarget(there, "scratch")
    for thing in (one, there, scratch, there.url, [one], {one.id: there}, Manifest(Path("databases.yaml"), (one,))):
        assert_hidden(f"{thing!r} {thing}")
    assert "password" in there.url.reveal() or PASSWORD.replace("/", "%2F") in there.url.reveal()
    assert scratch.server_key == there.server_key


@pytest.mark.parametrize("kind", DSNS)
def test_the_parts_of_a_dsn_show_no_password(kind: str) -> None:
    assert_hidden(shown(read_address(DSNS[kind], database(kind).engine)))
    if kind != "conninfo":
        assert_hidden(repr(split(DSNS[kind])))


@pytest.mark.parametrize("kind", DSNS)
def test_a_run_and_its_plan_show_no_password(kind: str) -> None:
    one, there = database(kind), target(kind)
    run = Run(
        run_id="1",
        actor="a",
        tool="t",
        databases={one.id: one},
        targets={one.id: there},
        catalogs={},
        engines={},
        read_script=lambda *_: pytest.fail("no file is read"),
        redact=Redactor(),
        sink=lambda _: None,
    )
    plan = Plan(Direction.UP, (DatabasePlan(one.id, one.engine, one.name, there.endpoint),))
    for thing in (run, plan, Notice(one.id, f"at {there.url}"), run.server_of):
        assert_hidden(f"{thing!r} {thing}")
    assert_hidden(repr(vars(run)))


def test_a_secret_hides_itself_in_every_form() -> None:
    secret = Secret(PASSWORD)
    assert_hidden(f"{secret} {secret!r} {secret:>20} {secret!s:.3} %s %r" % (secret, secret))
    assert format(secret, ">5") == "  ***"
    assert secret.reveal() == PASSWORD
    assert deepcopy(secret) == secret == Secret(PASSWORD) != Secret("other")
    assert PASSWORD not in secret.id
    assert secret.id == Secret(PASSWORD).id != Secret("other").id
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(secret)


@pytest.mark.parametrize("kind", DSNS)
def test_a_traceback_with_all_local_variables_shows_no_password(kind: str) -> None:
    one = database(kind)
    there = resolve(one, {}, Redactor(), "orch_history")

    def fails(where: Target, declared: Database) -> None:
        url, key = where.url, where.server_key
        raise RuntimeError(f"no way to {url} ({key})", where, declared)

    with pytest.raises(RuntimeError) as caught:
        fails(replace(there, scratch=True), one)
    told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    frames = [frame for frame in told.stack if frame.name == "fails"]
    assert frames
    assert_hidden(f"{told} {[frame.locals for frame in frames]} {caught.value!r}")
