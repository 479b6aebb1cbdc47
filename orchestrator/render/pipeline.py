"""What the pipelines of GitHub and GitLab share: how a change is tried on embedded servers."""

from __future__ import annotations

from orchestrator.model import Manifest

UNTIL_MEMBERS_ARE_KNOWN = "orch apply --embedded || test $? -eq 8"
"""Migrate the databases that members of fleets are asked from. Exit code 8 says that members were not known yet."""


def members_are_asked(manifest: Manifest) -> bool:
    """Whether the members of a fleet come from a query: then they are known after a first apply."""
    return any(fleet.query for fleet in manifest.fleets)
