"""How `orch shell` calls mongosh."""

from __future__ import annotations

from orchestrator.engines.dialect import ShellCall

_VARIABLE = "ORCH_SHELL_DSN"
_CONNECT = f"const url = process.env.{_VARIABLE}; delete process.env.{_VARIABLE}; db = connect(url)"


def shell(url: str) -> ShellCall:
    """Return the call of mongosh for a DSN. mongosh takes a password on its command line, so it connects by a script."""
    return ShellCall("mongosh", ("--nodb", "--shell", "--eval", _CONNECT), {_VARIABLE: url}, "mongodb-mongosh")
