"""Which databases of an estate are migrated by which of several runs at the same time. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from orchestrator.errors import UsageError

_MAX_SHARDS = 10_000
_AUTO = "auto"
_VARIABLES = (("JOB_COMPLETION_INDEX", "ORCH_SHARDS", 0), ("CI_NODE_INDEX", "CI_NODE_TOTAL", 1))
"""What says which shard a process is: the variables of its number and of how many there are, and the lowest number."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` runs; `index` counts from 0."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"

    def label(self, run_id: str) -> str:
        """Return the id of this shard's run, from which `shard_in` reads the shard."""
        return f"{run_id}-{self.index + 1}of{self.count}"

    def share(self, limit: int) -> int:
        """Return this run's part of a limit that holds for all of them together; at least 1."""
        return max(1, limit // self.count + (self.index < limit % self.count))


def read_shard(text: str, env: Mapping[str, str]) -> Shard:
    """Return the shard that `I/N` means, or `auto`: where the environment says which it is. UsageError for anything else."""
    if text == _AUTO:
        return _from_environment(env)
    found = re.fullmatch(r"([0-9]{1,5})/([0-9]{1,5})", text)
    if not found:
        raise UsageError(f"--shard {text!r} is not I/N", hint="for example --shard 1/4, or --shard auto")
    return _checked(int(found[1]), int(found[2]), 1, f"--shard {text}")


def _from_environment(env: Mapping[str, str]) -> Shard:
    """Read what Kubernetes says to the pods of an Indexed Job, and GitLab to the jobs of `parallel`."""
    if "JOB_COMPLETION_INDEX" in env and "ORCH_SHARDS" not in env:
        raise UsageError(
            "JOB_COMPLETION_INDEX is set, and ORCH_SHARDS is not",
            hint="set it to the number of completions of the Job",
        )
    found = {
        f"{index} and {count}": _of_two(f"{index} and {count}", env[index], env[count], lowest)
        for index, count, lowest in _VARIABLES
        if index in env and count in env
    }
    if not found:
        raise UsageError(
            "--shard auto: nothing says which shard this is",
            hint="it reads JOB_COMPLETION_INDEX with ORCH_SHARDS, or CI_NODE_INDEX with CI_NODE_TOTAL; or give --shard I/N",
        )
    if len(set(found.values())) > 1:
        told = ", and ".join(f"{shard} by {names}" for names, shard in found.items())
        raise UsageError(
            f"--shard auto: this is shard {told}", hint="unset two of these variables, or give --shard I/N"
        )
    return next(iter(found.values()))


def _of_two(names: str, index: str, count: str, lowest: int) -> Shard:
    if not re.fullmatch(r"[0-9]{1,5} [0-9]{1,5}", f"{index} {count}"):
        raise UsageError(f"{names} must be whole numbers")
    return _checked(int(index), int(count), lowest, names)


def _checked(number: int, count: int, lowest: int, named: str) -> Shard:
    """Return a shard by its number; the first has the number `lowest`. UsageError if there is no such shard."""
    if not 0 < count <= _MAX_SHARDS:
        raise UsageError(f"{named}: there must be from 1 to {_MAX_SHARDS:,} shards")
    if not lowest <= number < count + lowest:
        what = f"{named}: there is no shard {number} of {count}"
        raise UsageError(what, hint=f"shards count from {lowest} to {count - 1 + lowest}")
    return Shard(number - lowest, count)


def shard_in(run_id: str) -> Shard | None:
    """Return the shard that made this id of a run with `Shard.label`; None if none did."""
    found = re.fullmatch(r".*-([0-9]{1,5})of([0-9]{1,5})", run_id)
    return Shard(int(found[1]) - 1, int(found[2])) if found else None


def shard_of(id: str, count: int) -> int:
    """Return the index of the shard that a database belongs to: the same on every machine, for ever."""
    return int.from_bytes(sha256(id.encode(errors="surrogatepass")).digest()[:8]) % count


def split(needs: Mapping[str, Sequence[str]], shard: Shard) -> tuple[list[str], list[str]]:
    """Return the databases of a shard, and those of other shards that must be migrated before one of them.

    The latter are all on which one of the former depends, directly or not: one in between may have nothing to do.
    """
    mine = [id for id in needs if shard_of(id, shard.count) == shard.index]
    own, reached, queue = set(mine), set[str](), list(mine)
    while queue:
        for need in needs[queue.pop()]:
            if need not in reached and need in needs:
                reached.add(need)
                queue.append(need)
    return mine, [id for id in needs if id in reached and id not in own]
