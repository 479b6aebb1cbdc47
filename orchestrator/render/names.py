"""Names of services, Jobs and files for databases: short, valid and unique."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping

from orchestrator.model import Manifest


def short_names(manifest: Manifest) -> dict[str, str]:
    """Return id → the bare name, or the id where several databases share that name."""
    count = Counter(database.name for database in manifest.databases)
    return {d.id: d.name if count[d.name] == 1 else d.id for d in manifest.databases}


def slugs(names: Mapping[str, str], limit: int) -> dict[str, str]:
    """Return the names as DNS labels of at most `limit` characters; a hash tells apart what would become the same."""
    plain = {id: re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") for id, name in names.items()}
    count = Counter(plain.values())
    return {
        id: slug if slug and count[slug] == 1 and len(slug) <= limit else _hashed(slug, id, limit)
        for id, slug in plain.items()
    }


def _hashed(slug: str, id: str, limit: int) -> str:
    mark = digest(id)
    return f"{slug[: limit - len(mark) - 1].strip('-')}-{mark}".strip("-")


def digest(text: str) -> str:
    """Return eight characters that stand for a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]
