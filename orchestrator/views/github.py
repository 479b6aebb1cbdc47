"""Output for GitHub: workflow commands on stdout and outputs of a step, escaped as its runner decodes them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from orchestrator import events
from orchestrator.errors import ExitCode
from orchestrator.events import Event, Failure
from orchestrator.phrases import some
from orchestrator.secret import bounded
from orchestrator.views.failures import shared

SHOWN = 10
"""So many annotations of a kind GitHub shows for a step; it drops the others silently."""
_MAX_MESSAGE = 6_000
# What looks into a server's history comes first, what may pass by itself last.
_WORST_FIRST = (
    ExitCode.CONFLICT,
    ExitCode.FAILED,
    ExitCode.INVALID,
    ExitCode.USAGE,
    ExitCode.LOCKED,
    ExitCode.UNREACHABLE,
)


def _escape_data(text: str) -> str:
    """Return the message of a command as the runner wants it."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    """Return a property's value as the runner wants it."""
    return _escape_data(text).replace(":", "%3A").replace(",", "%2C")


def command(name: str, message: str, **properties: str) -> str:
    """Return a workflow command; empty properties are left out."""
    given = ",".join(f"{key}={_escape_property(value)}" for key, value in properties.items() if value)
    return f"::{name}{' ' + given if given else ''}::{_escape_data(message)}"


def harmless(text: str) -> str:
    """Return a line of a log in which the runner finds no command, whoever wrote it."""
    lines = re.split("\r\n|\r|\n", text.replace("##[", "## ["))  # it reads lines as .NET does
    return "\n".join(f"| {line}" if line.lstrip().startswith("::") else line for line in lines)


def mask(secret: str) -> list[str]:
    """Return the commands that make the runner hide a secret, line by line, in all that follows."""
    return [command("add-mask", line) for line in secret.splitlines() if line.strip()]


def limited(commands: Sequence[str], name: str) -> list[str]:
    """Return as many commands as are shown; the last then says how many there are besides."""
    if len(commands) <= SHOWN:
        return list(commands)
    rest = len(commands) - SHOWN + 1
    return [*commands[: SHOWN - 1], command(name, f"and {rest} more: see the summary of this job")]


def annotation(name: str, failure: Failure, database: str, located: Callable[[str], str]) -> str:
    """Return an error or warning at its place in a file. `located` makes paths relative to the repository."""
    place = failure.where
    lines = [failure.what, failure.detail, f"hint: {failure.hint}" if failure.hint else ""]
    return command(
        name,
        bounded("\n".join(filter(None, lines)), _MAX_MESSAGE),
        file=located(place.path) if place else "",
        line=str(place.line or "") if place else "",
        col=str(place.column or "") if place else "",
        title=": ".join(filter(None, [database, failure.kind.replace("_", " ")])),
    )


def _by_gravity(failures: Sequence[tuple[str, Failure]]) -> list[tuple[str, Failure]]:
    """Return failures with the worst first, else in their order."""
    rank = {int(code): number for number, code in enumerate(_WORST_FIRST)}
    return sorted(failures, key=lambda owned: rank.get(owned[1].exit_code, len(rank)))


def failure_annotations(failures: Sequence[tuple[str, Failure]], located: Callable[[str], str]) -> list[str]:
    """Return an error for each failure, the worst first; what several databases share is one."""
    return [
        annotation("error", failure, some([id for id in ids if id]), located)
        for ids, failure in shared(_by_gravity(failures))
    ]


@dataclass
class GithubView:
    """Gathers annotations and the values of the step."""

    located: Callable[[str], str]
    applied: int = 0
    _failures: list[tuple[str, Failure]] = field(default_factory=list)
    _warnings: list[str] = field(default_factory=list)
    _notices: list[str] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        """Take one event; may be called from any thread."""
        match event:
            case events.Refused(failure):
                self._failures.append(("", failure))
            case events.StepFinished():
                self.applied += 1
            case events.DatabaseFailed(id, failure):
                self._failures.append((id, failure))
            case events.DatabaseBlocked(id, by):
                self._warnings.append(command("warning", f"{id} is blocked by {', '.join(by)}", title=f"{id}: blocked"))
            case events.DatabaseSkipped(id, why):
                text = f"{id} was not done: {why or 'the run was stopped'}"
                self._warnings.append(command("warning", text, title=id))
            case events.Notice(id, text):
                self._notices.append(command("notice", bounded(text, _MAX_MESSAGE), title=id))
            case events.ServerMessage(id, _, file, "WARNING", text):
                self._notices.append(command("notice", bounded(text, _MAX_MESSAGE), file=self.located(file), title=id))
            case _:
                pass

    def commands(self) -> list[str]:
        """Return the annotations, worst first."""
        errors = failure_annotations(self._failures, self.located)
        return [
            *limited(errors, "error"),
            *limited(self._warnings, "warning"),
            *limited(self._notices, "notice"),
        ]
