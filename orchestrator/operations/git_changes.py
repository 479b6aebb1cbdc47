"""Which files differ from a git commit: those of a branch, and what is not committed or not even added yet."""

from __future__ import annotations

import subprocess
from pathlib import Path

from orchestrator.errors import UsageError


def changed_files(base: str, directory: Path) -> frozenset[Path]:
    """Return the files below the repository of `directory` that differ from where `base` and HEAD parted.

    UsageError if git is missing, this is no repository, or there is no such commit.
    """
    root = Path(_git(directory, "rev-parse", "--show-toplevel").rstrip("\n"))
    commit = _git(
        directory,
        "rev-parse",
        "--verify",
        "--quiet",
        "--end-of-options",
        f"{base}^{{commit}}",
        fails=f"git has no {base!r}",
    ).strip()
    parted = _git(directory, "merge-base", commit, "HEAD").strip()
    names = _git(root, "diff", "--name-only", "-z", "--no-renames", parted, "--").split("\0")
    names += _git(root, "ls-files", "--others", "--exclude-standard", "-z").split("\0")
    return frozenset((root / name).resolve() for name in names if name)


def _git(directory: Path, *arguments: str, fails: str = "") -> str:
    """Return what git prints; UsageError with `fails`, or with what git says, if it fails."""
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments],  # noqa: S607 - the git of whoever runs us
            capture_output=True,
            check=False,
            text=True,
            errors="surrogateescape",
            stdin=subprocess.DEVNULL,
        )
    except OSError:
        raise UsageError("--changed needs git, which is not installed", hint="use --since VERSION") from None
    if done.returncode:
        hint = "name a commit, branch or tag that `git log` knows; a shallow clone needs: git fetch --unshallow"
        said = done.stderr.strip().splitlines()
        what = f"{fails or f'git {arguments[0]} failed'}" + (f": {said[-1]}" if said else "")
        raise UsageError(f"--changed: {what}", hint=hint)
    return done.stdout
