"""A run as a JUnit report: one suite for each database, one case for each migration."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.etree import ElementTree

from orchestrator import events
from orchestrator.events import Event, Failure
from orchestrator.planning.plan import Plan

# XML 1.0 has no way to write these, not even as numbers.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass
class _Case:
    name: str
    seconds: float = 0.0
    failure: Failure | None = None
    skipped: str = ""


@dataclass
class _Suite:
    name: str
    seconds: float = 0.0
    running: str = ""
    rest: str = "not reached"
    cases: list[_Case] = field(default_factory=list)


class JUnitView:
    """Collect a report; `text` returns it. A database without work is one passed case."""

    def __init__(self) -> None:
        self._suites: dict[str, _Suite] = {}
        self._seconds = 0.0

    def __call__(self, event: Event) -> None:
        """Take one event; may be called from any thread (each touches its own database only)."""
        match event:
            case events.Refused(failure):
                self._of("orch").cases.append(_Case(str(failure.where or failure.kind), failure=failure))
            case events.StepStarted(id, version, name, direction):
                self._of(id).running = _step(version, name, direction.value)
            case events.StepFinished(id, version, name, direction, seconds):
                self._of(id).cases.append(_Case(_step(version, name, direction.value), seconds))
                self._of(id).running = ""
            case events.DatabaseFinished(id, _, _, seconds):
                self._of(id).seconds = seconds
                self._of(id).rest = "already done by another run"
            case events.DatabaseFailed(id, failure):
                suite = self._of(id)
                suite.cases.append(_Case(suite.running or failure.kind, failure=failure))
            case events.Verified(id, version, name, seconds, failure, left_out):
                self._of(id).cases.append(_Case(f"{version} {name}", seconds, failure, left_out))
            case events.DatabaseBlocked(id, by):
                self._of(id).rest = f"blocked by {', '.join(by)}"
            case events.DatabaseSkipped(id, why):
                self._of(id).rest = why or "the run was stopped"
            case events.RunFinished(_, seconds, _, succeeded):
                self._seconds = seconds
                for id in succeeded:
                    if not self._of(id).cases:
                        self._of(id).cases.append(_Case("up to date"))
            case _:
                pass

    def text(self, plan: Plan | None = None) -> str:
        """Return the report as an XML document; migrations of the plan that were not reached are skipped cases."""
        for planned in plan.databases if plan else ():
            suite = self._of(planned.id)
            told = {case.name for case in suite.cases}
            steps = (_step(step.version, step.name, step.direction.value) for step in planned.steps)
            suite.cases += [_Case(name, skipped=suite.rest) for name in steps if name not in told]
        for suite in self._suites.values():
            suite.cases = suite.cases or [_Case("migrate", skipped=suite.rest)]
        root = ElementTree.Element("testsuites", {"name": "orch", **self._counts(list(self._suites.values()))})
        root.set("time", f"{self._seconds:.3f}")
        for suite in self._suites.values():
            element = ElementTree.SubElement(root, "testsuite", {"name": xml_text(suite.name), **self._counts([suite])})
            element.set("time", f"{suite.seconds:.3f}")
            for case in suite.cases:
                _write(element, suite, case)
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"

    def _of(self, id: str) -> _Suite:
        return self._suites.setdefault(id, _Suite(id))

    def _counts(self, suites: list[_Suite]) -> dict[str, str]:
        cases = [case for suite in suites for case in suite.cases]
        return {
            "tests": str(len(cases)),
            "failures": str(sum(case.failure is not None for case in cases)),
            "errors": "0",
            "skipped": str(sum(bool(case.skipped) for case in cases)),
        }


def _write(suite: ElementTree.Element, owner: _Suite, case: _Case) -> None:
    names = {"classname": xml_text(owner.name), "name": xml_text(case.name), "time": f"{case.seconds:.3f}"}
    element = ElementTree.SubElement(suite, "testcase", names)
    if case.failure is not None:
        failure = case.failure
        about = {"message": xml_text(failure.what), "type": failure.kind}
        lines = [str(failure.where or ""), failure.what, failure.detail, failure.hint and f"hint: {failure.hint}"]
        ElementTree.SubElement(element, "failure", about).text = xml_text("\n".join(filter(None, lines)))
    elif case.skipped:
        ElementTree.SubElement(element, "skipped", {"message": xml_text(case.skipped)})


def _step(version: int, name: str, direction: str) -> str:
    return f"{version} {name}" + ("" if direction == "up" else f" ({direction})")


def xml_text(text: str) -> str:
    """Return a text with U+FFFD in place of characters that XML 1.0 does not allow."""
    return _NOT_XML.sub("\ufffd", text)
