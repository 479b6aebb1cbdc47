"""The records that all packages share, by where they come from: the manifest, files, a database's history, a server."""

from orchestrator.model.declared import (
    Accepted,
    CreateOptions,
    Database,
    External,
    Lint,
    Manifest,
    Mark,
    Settings,
    Target,
)
from orchestrator.model.files import NO_CHECKS, Checks, Direction, File, Migration, Script, Statement
from orchestrator.model.history import (
    HISTORY_FORMAT,
    Attempt,
    History,
    Origin,
    ReadOnly,
    VersionRow,
    read_attempt,
)
from orchestrator.model.server import Blocking, LockHolder, Measured, SchemaObject, SchemaSnapshot, Size

__all__ = [
    "HISTORY_FORMAT",
    "NO_CHECKS",
    "Accepted",
    "Attempt",
    "Blocking",
    "Checks",
    "CreateOptions",
    "Database",
    "Direction",
    "External",
    "File",
    "History",
    "Lint",
    "LockHolder",
    "Manifest",
    "Mark",
    "Measured",
    "Migration",
    "Origin",
    "ReadOnly",
    "SchemaObject",
    "SchemaSnapshot",
    "Script",
    "Settings",
    "Size",
    "Statement",
    "Target",
    "VersionRow",
    "read_attempt",
]
