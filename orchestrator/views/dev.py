"""The output of `orch dev`: the embedded servers, for people and as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.hints import Command, Hint
from orchestrator.operations.dev import Server

_KEYS = ("engine", "product", "host", "port", "pid")


def servers_text(servers: Sequence[Server]) -> str:
    """Return a line for each server that runs; if there is none, how to start them."""
    lines = [f"{server.product} at {server.host}:{server.port} (pid {server.pid})" for server in servers]
    return "\n".join(lines) or Hint("nothing is running; start: ", Command("dev", "up"))


def servers_document(servers: Sequence[Server]) -> dict[str, Any]:
    """Return the servers as plain data, without their passwords."""
    return {"format": 1, "servers": [{key: getattr(server, key) for key in _KEYS} for server in servers]}


def stopped_text(servers: Sequence[Server], deleted: str) -> str:
    """Return which servers were stopped, and whose data was deleted."""
    lines = [f"stopped {server.product}" for server in servers] or ["nothing was running"]
    return "\n".join([*lines, f"their data under {deleted} is deleted"] if deleted else lines)
