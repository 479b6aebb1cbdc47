"""Compare where orch's reader ends statements of MySQL and MariaDB with what a server takes for one statement.

`python benchmarks/mysql_reader.py DIRECTORY [--root DIR] [--show N] [--output json]`. DIRECTORY holds test files of the
server (`*.test`, `*.inc`), such as those of Debian's package mariadb-test-data: `dpkg -x`, then usr/share/mysql/mysql-test.
The statements of a file are cut as the server's own test program cuts them, and those count that the server can prepare:
it takes no two statements for one. Nothing of them is executed. The reader must find each of these alone in

- itself and a statement behind it, without a DELIMITER line,
- all statements of the file, joined by semicolons.

A file that orch refuses is no fault, and is counted by the reason. The server is the installed one, or `ORCH_MYSQLD_BIN`.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql

from orchestrator.embedded import remove, up
from orchestrator.engines.mysql.lexer import split
from orchestrator.engines.mysql.named import change_of
from orchestrator.engines.mysql.reader import read_script
from orchestrator.errors import InvalidError
from orchestrator.model import File

_SYNTAX = (1064, 1149, 1327, 4161)  # 1327: a variable that a body would declare, while it is parsed
_BEHIND = "SELECT 'behind'"
_BRACE = re.compile(r"\s*(?:(?:if|while)\s*\(.*\)\s*\{?|[{}])\s*", re.IGNORECASE)
_OF_TEST_PROGRAM = re.compile(
    r"(?:enable|disable|sync|wait|list_files|query|send|ps|remove_file|copy_file|real|write|force|dirty)(?:[_-].*)?"
    r"|append_file|assert|cat_file|change_user|character_set|chmod|connect|connection|dec|delimiter|diff_files|die|disconnect|echo"
    r"|end|error|eval|evalp|eval_result|exec|exec_in_background|execw|exit|file_exists|horizontal_results|if|inc|let"
    r"|lowercase_result|mkdir|move_file|optimizer_trace|output|partially_sorted_result|perl|ping|reap|replace_column|replace_regex"
    r"|replace_result|require|reset_connection|result|result_format|rmdir|save_master_pos|shutdown_server|skip|sleep|sorted_result"
    r"|source|start_timer|system|vertical_results|while"
)
"""Commands of the test program."""


def cut(text: str) -> Iterator[str]:
    """Yield the statements of a test file, as the server's test program cuts them; its commands and `$variables` left out."""
    delimiter, place = ";", 0
    while place < len(text):
        line_end = text.find("\n", place)
        line_end = len(text) if line_end < 0 else line_end
        line = text[place:line_end]
        stripped = line.strip()
        if not stripped or stripped.startswith("#") or _BRACE.fullmatch(line):
            place = line_end + 1
            continue
        if stripped.startswith("--"):  # a command in one line, or a comment
            words = stripped[2:].split(None, 1)
            if words and words[0].lower() == "delimiter":
                delimiter = words[1].strip() if len(words) > 1 else ";"
            place = _behind_block(text, words[0].lower() if words else "", stripped, line_end)
            continue
        end = _end_of(text, place, delimiter)
        statement = text[place:end].strip()
        place = end + len(delimiter)
        word = re.match(r"[\w-]*", statement)
        command = word[0].lower() if word else ""
        if command == "delimiter":
            delimiter = statement[len("delimiter") :].strip() or ";"
        elif command in ("write_file", "append_file", "perl"):
            place = _behind_block(text, command, statement, text.find("\n", place))
        elif (
            not _OF_TEST_PROGRAM.fullmatch(command) and statement and "$" not in statement and statement[0] not in "{}"
        ):
            yield statement


def _behind_block(text: str, command: str, statement: str, line_end: int) -> int:
    """Return where the text goes on behind a command, and behind the file that it may hold."""
    if command not in ("write_file", "append_file", "perl"):
        return line_end + 1
    words = statement.split()
    mark = words[-1] if len(words) > (1 if command == "perl" else 2) else "EOF"
    found = re.compile(rf"^{re.escape(mark.rstrip(';'))}[ \t]*$", re.MULTILINE).search(text, max(line_end, 0))
    return found.end() + 1 if found else len(text)


def _end_of(text: str, place: int, delimiter: str) -> int:
    """Return where the next delimiter stands that is not within quotes."""
    quote = ""
    while place < len(text):
        sign = text[place]
        if quote:
            if sign == "\\" and quote != "`":
                place += 1
            elif sign == quote:
                quote = ""
        elif text.startswith(delimiter, place):
            return place
        elif sign in "'\"`":
            quote = sign
        place += 1
    return len(text)


def is_one(connection: Any, statement: str) -> bool:
    """Whether the server takes a text for exactly one statement."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET @statement = %s", (statement,))
            cursor.execute("PREPARE one FROM @statement")
            cursor.execute("DEALLOCATE PREPARE one")
    except pymysql.Error as error:
        return error.args[0] not in _SYNTAX
    return True


def compare(directory: Path, connection: Any, show: int) -> dict[str, Any]:
    """Return what was compared, and the statements that the reader cuts otherwise."""
    figures, refused, wrong = Counter[str](), Counter[str](), list[str]()
    for path in sorted([*directory.rglob("*.test"), *directory.rglob("*.inc")]):
        figures["files"] += 1
        text = path.read_bytes().decode(errors="replace").replace("\r\n", "\n")
        whole = []
        for statement in dict.fromkeys(cut(text)):
            if "\0" in statement or not is_one(connection, statement):
                figures["left out: the server takes them for none, or for several"] += 1
                continue
            whole.append(statement)
            figures["statements"] += 1
            figures["statements with a body"] += ";" in statement and any(
                token.text == "begin" for piece in split(statement) for token in piece.tokens
            )
            two = f"{statement}\n;\n{_BEHIND};\n"
            found = [two[piece.start : piece.end] for piece in split(two) if piece.tokens]
            if found[-1:] != [_BEHIND] or len(found) > 2:
                figures["wrong alone"] += 1
                wrong.append(f"{path.name}: {statement}")
            elif reason := _refused(two):
                refused[reason] += 1
        joined = "".join(f"{statement}\n;\n" for statement in whole)
        if len([piece for piece in split(joined) if piece.tokens]) != len([one for one in whole if _has_tokens(one)]):
            figures["wrong files"] += 1
            wrong.append(f"{path.name} as a whole")
    for one in wrong[:show]:
        print(one, end="\n----\n")
    return {**figures, "wrong": len(wrong), "refused by orch": dict(refused.most_common())}


def _has_tokens(statement: str) -> bool:
    return any(piece.tokens for piece in split(statement))


def _refused(text: str) -> str:
    """Return why orch refuses a file, '' if it does not."""
    try:
        script = read_script(File("1_x.up.sql", Path("1_x.up.sql"), ""), text)
    except InvalidError as error:
        return re.sub(r"'[^']*'", "'…'", str(error).partition(": ")[2] or str(error))[:90]
    for statement in script.statements:
        change_of(statement.source)
    return ""


def main() -> None:
    """Compare, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--show", type=int, default=20)
    parser.add_argument("--output", choices=("text", "json"), default="text")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = given.root or Path(folder) / "servers"
        server = up(root, ["mysql"])["mysql"]
        try:
            connection = pymysql.connect(
                host=server.host, port=server.port, user=server.user, password=server.password, charset="utf8mb4"
            )
            with connection.cursor() as cursor:
                cursor.execute("CREATE DATABASE IF NOT EXISTS compared")
                cursor.execute("USE compared")
            figures = compare(given.directory, connection, given.show)
        finally:
            if not given.root:
                remove(root)
    if given.output == "json":
        print(json.dumps(figures))
    else:
        for name, value in figures.items():
            print(f"{name}: {value}")


if __name__ == "__main__":
    main()
