"""Write changes to several files, all or none."""

from __future__ import annotations

import os
import secrets
import signal
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path

from orchestrator.errors import InterruptedRunError, OrchError, UsageError

# What is written here may be run by the version control system, as hooks and filters are.
_NOT_OURS = frozenset({".git", ".hg", ".svn", ".bzr", ".jj", "cvs", ".orch", ".venv", "node_modules"})
_UNTOUCHED = "every file is as it was"


@dataclass(frozen=True, slots=True)
class Change:
    """A file before and after; None where there is none."""

    path: Path
    old: bytes | None
    new: bytes | None

    @property
    def verb(self) -> str:
        """What happens to the file, in one word."""
        if self.old is None:
            return "new"
        return "removed" if self.new is None else "changed"

    def diff(self, shown: str) -> str:
        """Return a unified diff."""
        old, new = ((data or b"").decode(errors="replace").splitlines(keepends=True) for data in (self.old, self.new))
        before = "/dev/null" if self.old is None else f"a/{shown}"
        after = "/dev/null" if self.new is None else f"b/{shown}"
        lines = unified_diff(old, new, before, after)
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def change(path: Path, new: bytes | None) -> Change | None:
    """Return what has to change for the file to hold this; None if it does already."""
    try:
        old = path.read_bytes() if path.exists() else None
    except OSError as error:
        raise OrchError(f"{path} cannot be read: {error.strerror}") from None
    return None if old == new else Change(path, old, new)


def commit(changes: Sequence[Change], root: Path) -> None:
    """Make all changes, in this order; on any error or signal every file is as it was, and the error is raised.

    Nothing outside of `root` is touched, also not through a link. Directories are made as needed, and removed when a
    removal leaves them empty, except those directly in `root`. Once all are made, signals are ignored: what is left is to
    tell of it.
    """
    for one in changes:
        _check(one, root)
    undo: list[Callable[[], object]] = []
    done: list[Callable[[], object]] = []
    with _signals() as signals:
        try:
            prepared = []
            for one in changes:
                signals.check()
                prepared.append((one, _prepare(one, undo)))
            for one, temporary in prepared:
                signals.check()
                _replace(one, temporary, undo, done)
            signals.check()
        except BaseException as error:
            for step in reversed(undo):
                with suppress(OSError):
                    step()
            if isinstance(error, KeyboardInterrupt):
                raise InterruptedRunError("interrupted", hint=_UNTOUCHED) from None
            if isinstance(error, OSError):
                what = f"{error.filename or root} cannot be written: {error.strerror or error}"
                raise OrchError(what, hint=_UNTOUCHED) from None
            raise
        for step in done:
            with suppress(OSError):
                step()
        for one in changes:
            if one.new is None:
                _remove_empty(one.path.parent, root)


def _check(one: Change, root: Path) -> None:
    """Refuse what would reach out of the project, a read-only file, and a file that changed since it was read."""
    home = root.resolve()
    target = one.path.resolve()
    if not target.is_relative_to(home):
        raise UsageError(f"{one.path} leads out of {root}", hint="a symbolic link? nothing was written")
    if foreign := next((part for part in target.relative_to(home).parts if part.casefold() in _NOT_OURS), ""):
        raise UsageError(
            f"{one.path} is inside of {foreign}, which belongs to another program", hint="nothing was written"
        )
    if one.path.is_dir():
        raise UsageError(f"{one.path} is a directory", hint="nothing was written")
    if one.old is not None and not (stat.S_IMODE(one.path.stat().st_mode) & 0o222 and os.access(one.path, os.W_OK)):
        raise UsageError(f"{one.path} is read-only", hint=f"nothing was written; chmod u+w {one.path}")
    _check_unchanged(one)


def _check_unchanged(one: Change) -> None:
    current = one.path.read_bytes() if one.path.exists() else None
    if current != one.old:
        raise OrchError(f"{one.path} was changed by somebody else just now", hint=f"{_UNTOUCHED}; run this again")


def _prepare(one: Change, undo: list[Callable[[], object]]) -> Path | None:
    """Write the new content beside its place, so that only renaming is left to do."""
    if one.new is None:
        return None
    target = one.path.resolve()
    _make_directories(target.parent, undo)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    undo.append(lambda: temporary.unlink(missing_ok=True))
    with temporary.open("xb") as file:
        file.write(one.new)
        file.flush()
        os.fsync(file.fileno())
    if one.old is not None:
        before = target.stat()
        with suppress(OSError):  # only root can give a file away, and not on every file system
            os.chown(temporary, before.st_uid, before.st_gid)
        temporary.chmod(stat.S_IMODE(before.st_mode))
    return temporary


def _make_directories(directory: Path, undo: list[Callable[[], object]]) -> None:
    missing = []
    while not directory.exists():
        missing.append(directory)
        directory = directory.parent
    for path in reversed(missing):
        undo.append(path.rmdir)
        path.mkdir()


def _replace(
    one: Change, temporary: Path | None, undo: list[Callable[[], object]], done: list[Callable[[], object]]
) -> None:
    """Put the new file in its place; the old one stays beside it until all is done."""
    target = one.path.resolve()
    _check_unchanged(one)
    if one.old is None and temporary is not None:
        undo.append(lambda: target.unlink(missing_ok=True))
        temporary.replace(target)
        return
    kept = target.with_name(f".{target.name}.{secrets.token_hex(4)}.old")

    def restore() -> None:
        if kept.exists() and target.exists() and kept.samefile(target):
            kept.unlink()  # the new one was not yet in its place
        elif kept.exists():
            kept.replace(target)

    undo.append(restore)
    done.append(lambda: kept.unlink(missing_ok=True))
    if temporary is None:
        target.replace(kept)
        return
    try:
        kept.hardlink_to(target)
    except OSError:  # a file system without hard links
        kept.write_bytes(one.old or b"")
    temporary.replace(target)


def _remove_empty(directory: Path, root: Path) -> None:
    while root in directory.parents and directory.parent != root:
        try:
            directory.rmdir()
        except OSError:
            return
        directory = directory.parent


class _Signals:
    """Ctrl-C and SIGTERM, while files are changed: they undo everything, until there is nothing left to undo.

    They are looked at between two steps: an exception that a signal raises inside a destructor would be lost.
    """

    came = False

    def check(self) -> None:
        """Raise KeyboardInterrupt if one came."""
        if self.came:
            raise KeyboardInterrupt

    def __call__(self, _signal: int, _frame: object) -> None:
        self.came = True


@contextmanager
def _signals() -> Iterator[_Signals]:
    handler = _Signals()
    if threading.current_thread() is not threading.main_thread():
        yield handler
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield handler
    except BaseException:
        for number, old in before.items():
            signal.signal(number, old)
        raise
    for number in before:  # all is done: whoever interrupts what is told of it must not read that it was not
        signal.signal(number, signal.SIG_IGN)


def tree(changes: Iterable[Change], root: Path) -> str:
    """Return the files as a tree, each with what happens to it."""
    verbs = {one.path.relative_to(root).parts: one.verb for one in changes}
    lines: list[str] = []

    def add(prefix: tuple[str, ...], indent: str) -> None:
        names = dict.fromkeys(parts[len(prefix)] for parts in verbs if parts[: len(prefix)] == prefix)
        for number, name in enumerate(sorted(names)):
            last = number == len(names) - 1
            path = (*prefix, name)
            verb = verbs.get(path)
            lines.append(f"{indent}{'└── ' if last else '├── '}{name}{f'  ({verb})' if verb else '/'}")
            if not verb:
                add(path, indent + ("    " if last else "│   "))

    add((), "")
    return "\n".join([f"{root.name}/", *lines])
