"""Tell webhooks of a run. Bounded in time, and never an error of the run."""

from __future__ import annotations

import threading
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from orchestrator.engines.url import DsnError
from orchestrator.manifest.redact import redactor
from orchestrator.manifest.variables import look_up
from orchestrator.secret import Secret

if TYPE_CHECKING:
    from orchestrator.model import Hook

_TIMEOUT = 3.0  # seconds for one webhook
PATIENCE = 5.0  # seconds for all


def url_of(hook: Hook, env: Mapping[str, str]) -> Secret | None:
    """Return the URL of a webhook, which is a secret; None if its variable is not set, or holds no URL of HTTP."""
    try:
        url = (look_up(hook.variable, env) or "").strip()
    except DsnError:
        return None
    if not url.lower().startswith(("https://", "http://")):
        return None
    redactor.add(url)
    return Secret(url)


def send(messages: Sequence[tuple[str, Secret, bytes]]) -> list[str]:
    """Send each message, all at the same time; return what is wrong, by the names that they were given.

    A message is a name for people, a URL and a body of JSON.
    """
    answers: dict[int, str] = {}

    def post(number: int, url: Secret, body: bytes) -> None:
        try:
            where, login = _without_login(url.reveal())
            request = Request(where, body, {"Content-Type": "application/json", "User-Agent": "orch", **login})  # noqa: S310 - checked above
            with build_opener(_NoRedirects).open(request, timeout=_TIMEOUT):
                answers[number] = ""
        except Exception as error:  # noqa: BLE001 - of whatever kind: only its name is told, its text may hold the URL
            status, reason = getattr(error, "code", ""), getattr(error, "reason", error)
            cause = reason if isinstance(reason, Exception) else error  # as ConnectionRefusedError, gaierror
            answers[number] = f"it answered {status}" if status else type(cause).__name__

    threads = [
        threading.Thread(target=post, args=(number, url, body), daemon=True)
        for number, (_, url, body) in enumerate(messages)
    ]
    until = time.monotonic() + PATIENCE
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    wrong = [(name, answers.get(number, "it did not answer in time")) for number, (name, _, _) in enumerate(messages)]
    return [f"{name}: {why}" for name, why in wrong if why]


def _without_login(url: str) -> tuple[str, dict[str, str]]:
    """Return a URL without user and password, and the header that takes them along."""
    parts = urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    encoded = b64encode(unquote(login).encode()).decode()
    return parts._replace(netloc=host).geturl(), {"Authorization": f"Basic {encoded}"}


class _NoRedirects(HTTPRedirectHandler):
    """A redirect would take the message to where nobody said it may go."""

    def redirect_request(self, *_: object) -> None:
        """Refuse every redirect."""
