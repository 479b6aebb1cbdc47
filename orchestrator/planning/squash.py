"""Files that replace many older ones: which versions they replace, and the effect on a database. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from orchestrator.patterns import regex
from orchestrator.phrases import some
from orchestrator.records import NamedTuple

Ranges = tuple[tuple[int, int], ...]
"""Versions, as ranges in ascending order that do not touch; both ends belong to them."""

MANY = 10_000
"""A range of more numbers than this is one of timestamps: most of them never were versions."""
_TEXT = regex(r"[0-9]+(?:\s*-\s*[0-9]+)?(?:\s*,\s*[0-9]+(?:\s*-\s*[0-9]+)?)*")


def parse_ranges(text: str) -> Ranges:
    """Read `1-60` or `1-57, 59`; ValueError with what is wrong."""
    if not _TEXT.fullmatch(text.strip()):
        raise ValueError(f"{text.strip()!r} is no list of versions such as 1-60 or 1-57, 59")
    ranges = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        if low > high:
            raise ValueError(f"the range {part.strip()} is empty: {low} is above {high}")
        ranges.append((low, high))
    return joined(ranges)


def joined(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Return the same versions in ascending order, as few ranges as possible."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(high, found[-1][1])
        else:
            found.append((low, high))
    return tuple(found)


def ranges_of(versions: Iterable[int]) -> Ranges:
    """Return these versions as ranges."""
    return joined((version, version) for version in versions)


def written(ranges: Ranges) -> str:
    """Return ranges as a file and a command line have them."""
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)


def spoken_versions(versions: Iterable[int]) -> str:
    """Return versions for a sentence: "version 3", "versions 1-30, 32"."""
    ranges = ranges_of(versions)
    alone = len(ranges) == 1 and ranges[0][0] == ranges[0][1]
    return f"version{'' if alone else 's'} {some(written(ranges).split(', '), 10)}"


def holds(ranges: Ranges, version: int) -> bool:
    """Whether a version is among these."""
    return any(low <= version <= high for low, high in ranges)


def _numbers_of(ranges: Ranges) -> int:
    """Return how many numbers there are in these ranges."""
    return sum(high - low + 1 for low, high in ranges)


def above(ranges: Ranges, version: int) -> str:
    """Return, for a sentence, what of these ranges is above a version that is among them."""
    rest = tuple((max(low, version + 1), high) for low, high in ranges if high > version)
    if _numbers_of(rest) > MANY:
        return f"what comes after version {version}, up to version {rest[-1][1]}"
    return spoken_versions(number for low, high in rest for number in range(low, high + 1))


class Squash(NamedTuple):
    """What a file that replaces others means for one database.

    `inside` are the versions that it replaces and that are applied there by files of their own. `lacking` says in words
    what of them is missing, so that the file can neither run nor count as applied; '' where nothing is.
    """

    version: int
    inside: frozenset[int]
    lacking: str = ""

    @property
    def covered(self) -> frozenset[int]:
        """The versions whose files need not be there any more."""
        return self.inside | {self.version} if self.inside else self.inside


def squash_of(version: int, ranges: Ranges, applied: Collection[int], *, itself: bool) -> Squash:
    """Return what a file that replaces `ranges` means where these versions are applied.

    `itself`: what is applied as its version is this file, or is known to be as good as that.
    """
    inside = frozenset(one for one in applied if one != version and holds(ranges, one))
    if not inside or (version in applied and itself):
        return Squash(version, inside)
    top = max(inside | ({version} & set(applied)))
    if _numbers_of(ranges) > MANY:
        lacking = "" if version in applied else f"what comes after version {max(inside)}, up to version {version}"
        return Squash(version, inside, lacking)
    # What is below the lowest that is applied was replaced by an earlier file of this kind, or by a baseline.
    standing, lowest = inside | {top}, min(inside)
    missing = [n for low, high in ranges for n in range(max(low, lowest), high + 1) if n not in standing]
    return Squash(version, inside, spoken_versions(missing) if missing else "")


def stands_for(replaced: Mapping[int, Ranges], version: int, applied: Collection[int]) -> bool:
    """Whether a version is applied: by itself, or as part of a file that replaces it."""
    return version in applied or any(one in applied and holds(ranges, version) for one, ranges in replaced.items())


def replaced_by(replaced: Mapping[int, Ranges], version: int) -> int | None:
    """Return the version of the file that replaces this one; None if there is none."""
    return next((one for one, ranges in replaced.items() if one != version and holds(ranges, version)), None)


def check_ranges(ranges: Ranges, version: int, others: Sequence[int]) -> str:
    """Return what is wrong with a file of this version that replaces `ranges`, beside `others`; '' if nothing is."""
    if ranges[-1][1] != version:
        return (
            f"it is version {version}, and the last version that it replaces is {ranges[-1][1]}: they must be the same"
        )
    if beside := [other for other in others if other != version and holds(ranges, other)]:
        return f"it replaces {spoken_versions(beside)}, and there still is a file of that version"
    return ""
