"""Kill everywhere: a run that dies by SIGKILL at any point is finished by the next one, as if nothing had happened."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from estate import Estate, Figure, start
from kill import Ended, Forge
from schema_snapshot import difference
from varied import NAMES, Varied


@pytest.fixture
def varied(estate: Estate) -> Iterator[Varied]:
    yield Varied(estate)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Varied]:
    """The same estate on the other servers that we know: Debian's PostgreSQL, and SecantusDB."""
    estate = Estate(tmp_path, {"postgres": start("postgres-debian"), "mongo": start("secantus")})
    yield Varied(estate)
    estate.drop()


APPLY = ["apply"]
ROLLBACK = ["rollback", *NAMES, "--to", "0", "--yes"]


class Hunt:
    """One command, killed at one point after the other."""

    def __init__(self, varied: Varied, forge: Forge, command: list[str]) -> None:
        self.varied = varied
        self.forge = forge
        self.command = command
        self.tried = 0
        self._begin()
        undisturbed = self.run(0)
        assert undisturbed.code == 0, undisturbed.output
        self.points = len(undisturbed.points)
        self.expected = varied.schema_snapshots()

    def run(self, kill_at: int = -1, delay: float = 0.0) -> Ended:
        return self.forge.run(self.command, self.varied.root, self.varied.env, kill_at=kill_at, delay=delay)

    def _begin(self) -> None:
        self.varied.wipe()
        if self.command is ROLLBACK:
            done = self.forge.run(APPLY, self.varied.root, self.varied.env, kill_at=-1)
            assert done.code == 0, done.output

    def kill(self, at: int, delay: float = 0.0) -> None:
        """Kill at this point, run again, and again: the end must be that of the undisturbed run."""
        self._begin()
        killed = self.run(at, delay)
        place = f"killed at point {at} of {self.points} ({killed.points[at - 1 : at]}) + {delay * 1000:.1f} ms"
        assert killed.code is None or delay or at > len(killed.points), f"{place}: {killed.output}"
        second = self.run()
        told = f"{place}\n--- killed:\n{killed.output}\n--- second:\n{second.output}"
        assert second.code == 0, told
        if at % 4 == 0:
            third = self.run()
            assert third.code == 0, f"{told}\n--- third:\n{third.output}"
            assert "Nothing to" in third.output, f"{told}\n--- third:\n{third.output}"
        found = self.varied.schema_snapshots()
        for name in NAMES:
            assert not (text := difference(self.expected[name], found[name])), f"{told}\n--- {name}: {text}"
        self.tried += 1


@pytest.mark.parametrize(("command", "sample"), [(APPLY, 11), (ROLLBACK, 5)], ids=["apply", "rollback"])
def test_a_killed_run_is_finished_by_the_next(varied: Varied, forge: Forge, command: list[str], sample: int) -> None:
    hunt = Hunt(varied, forge, command)
    step = hunt.points / sample
    for number in range(sample):
        hunt.kill(1 + int(number * step), delay=0.001 * (number % 3))
    print(f"{' '.join(command[:1])}: {hunt.tried} of {hunt.points} kill points tried")


@pytest.mark.parametrize("command", [APPLY, ROLLBACK], ids=["apply", "rollback"])
def test_a_killed_run_on_other_servers(elsewhere: Varied, forge: Forge, command: list[str]) -> None:
    hunt = Hunt(elsewhere, forge, command)
    for number in range(4):
        hunt.kill(1 + int((number + 0.5) * hunt.points / 4))


@pytest.mark.soak
@pytest.mark.parametrize("command", [APPLY, ROLLBACK], ids=["apply", "rollback"])
def test_every_kill_point(varied: Varied, forge: Forge, command: list[str], figure: Figure) -> None:
    """Each point itself, and each again with a moment's delay, so that kills fall between and into calls."""
    _everywhere(Hunt(varied, forge, command), figure, f"kills of {command[0]}")


@pytest.mark.soak
@pytest.mark.parametrize("command", [APPLY, ROLLBACK], ids=["apply", "rollback"])
def test_many_kill_points_on_other_servers(elsewhere: Varied, forge: Forge, command: list[str], figure: Figure) -> None:
    what = f"kills of {command[0]} on Debian's PostgreSQL and SecantusDB"
    _everywhere(Hunt(elsewhere, forge, command), figure, what, every=5)


def _everywhere(hunt: Hunt, figure: Figure, what: str, every: int = 1) -> None:
    moments = random.Random(20)
    lost = []
    every *= int(os.environ.get("ORCH_SOAK_EVERY", "1"))
    for at in range(1, hunt.points + 1, every):
        for delay in (0.0, moments.uniform(0.0002, 0.02)):
            try:
                hunt.kill(at, delay)
            except AssertionError as error:
                lost.append(str(error))
                print(error)
    figure(what, tried=hunt.tried + len(lost), lost=len(lost), points=hunt.points)
    assert not lost, lost[0]
