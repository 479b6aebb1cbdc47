"""Databases that this run needs and another run migrates, as gates in the walk over the graph."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.execution.scheduler import Gate
from orchestrator.records import dataclass, field


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """`needs` are the databases with what each depends on, `gates` open when one is migrated.

    `before` says which of them each database of this run needs, `unmet` fills with those that were waited for in vain, and
    what they lack.
    """

    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gates: Mapping[str, Gate] = field(default_factory=dict)
    before: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unmet: Mapping[str, str] = field(default_factory=dict)


NOTHING = Elsewhere()
