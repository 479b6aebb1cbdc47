"""What the pipelines of GitHub and GitLab share: how a change is tried on embedded servers."""

from __future__ import annotations

from orchestrator.engines import dialect
from orchestrator.model import Manifest

UNTIL_MEMBERS_ARE_KNOWN = "orch apply --embedded || test $? -eq 8"
"""Migrate the databases that members of fleets are asked from. Exit code 8 says that members were not known yet."""


def members_are_asked(manifest: Manifest) -> bool:
    """Whether the members of a fleet come from a query: then they are known after a first apply."""
    return any(fleet.query for fleet in manifest.fleets)


def servers_to_install(manifest: Manifest, sudo: str = "") -> list[str]:
    """Return the commands that install the embedded servers which pip does not bring, on Debian and Ubuntu."""
    servers = [dialect(engine).embedded for engine in {one.engine for one in manifest.databases}]
    wanted = sorted((one.binary, one.package) for one in servers if one.package)
    update, install = f"{sudo}apt-get update --quiet", f"{sudo}apt-get install --yes --quiet --no-install-recommends"
    return [f"command -v {binary} || {{ {update} && {install} {package}; }}" for binary, package in wanted]
