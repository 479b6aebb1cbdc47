"""Run commands as a person or a pipeline does, and write down all that they print, with everything masked that varies."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from estate import launch

COLUMNS = 100
# What differs between two runs → what stands for it.
MASKS = (
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z| UTC|\+00:00)?", "TIME"),
    (r"\b\d{4}-\d\d-\d\d\b|\b\d\d:\d\d:\d\d\b", "TIME"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UUID"),
    (r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*\d)[0-9a-f]{12,64}\b", "HEX"),
    (r"(?<=\s)\d+:\d\d(?::\d\d)?(?=[\s│]|$)", "TIME"),
    (r"\b\d+(\.\d+)? (ms|s|min)\b(?! at most)", "DURATION"),
    (r"\b(pid|PID|process|backend) \d+", r"\1 PID"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
    (r"(_PORT:-)\d+", r"\1PORT"),
    (r"\b(port|PORT)(=|\s+)\d{4,5}\b", r"\1\2PORT"),
    (r"(_PASSWORD=)\S+", r"\1PASSWORD"),
    (r"(_PORT=)\S+", r"\1PORT"),
    (r"(://\w+:)[^@/\s$]+@", r"\1PASSWORD@"),
)


def masked(text: str, replace: Mapping[str, str]) -> str:
    """Return a text with everything masked that differs between two runs; a masked line has no columns of its own."""
    lines = []
    for line in text.splitlines():
        new = line
        for old, word in replace.items():
            new = new.replace(old, word)
        for pattern, word in MASKS:
            new = re.sub(pattern, word, new)
        if new != line or re.fullmatch(r"[A-Z ]+", line):  # the head of a table is as wide as what was masked
            new = re.sub(r"(?<=\S) {2,}", "  ", new)
        lines.append(new.rstrip())
    return "\n".join(lines) + "\n" if lines else ""


def on_a_terminal(
    arguments: Sequence[str], directory: Path, env: Mapping[str, str], typed: str = "", columns: int = COLUMNS
) -> tuple[int, str]:
    """Run `orch ARGUMENTS` on a terminal so many columns wide; return its exit code and what the screen shows in the end.

    `typed` is what the person types, as soon as the program runs.
    """
    code, received = received_on_a_terminal(arguments, directory, env, typed, columns)
    return code, screen(received)


def received_on_a_terminal(
    arguments: Sequence[str], directory: Path, env: Mapping[str, str], typed: str = "", columns: int = COLUMNS
) -> tuple[int, str]:
    """Run `orch ARGUMENTS` on a terminal; return its exit code and all that the terminal received, with control sequences."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 200, columns, 0, 0))
    process = launch(arguments, directory, {**env, "TERM": "xterm-256color"}, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    os.write(master, typed.encode())
    received = deque(seen_on(master), 1)
    os.close(master)
    return process.wait(60), b"".join(received).decode(errors="replace")


def seen_on(master: int) -> Iterator[bytes]:
    """Yield all that a terminal has received so far, each time that there is more, until no program has it open."""
    received = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the last one who had the terminal open is gone
            return
        if not part:
            return
        received += part
        yield received


def screen(received: str) -> str:
    """Return what a terminal shows after it has received this: lines, without colours."""
    lines, row, column = [""], 0, 0
    for control, number, final, text in re.findall(
        r"(\x1b\[\??([0-9;]*)([A-Za-z])|\x1b\][^\x07]*\x07|\x1b.|[\r\n])|([^\x1b\r\n]+)", received
    ):
        if text:
            line = lines[row].ljust(column)
            lines[row] = line[:column] + text + line[column + len(text) :]
            column += len(text)
        elif control == "\r":
            column = 0
        elif control == "\n":
            row += 1
            if row == len(lines):
                lines.append("")
        elif final == "A":
            row = max(0, row - int(number or 1))
        elif final == "K":
            lines[row] = "" if number == "2" else lines[row][:column]
    return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"
