"""Read and check the manifest, and resolve it to targets. Imports neither YAML nor drivers."""

from orchestrator.manifest.dsn import Redactor, check_overrides, override_variable, read_env_file, resolve
from orchestrator.manifest.load import FILE_NAME, find_manifest, load
from orchestrator.manifest.names import resolve_name, select
from orchestrator.manifest.schema import SCHEMA_FILE, schema

__all__ = [
    "FILE_NAME",
    "SCHEMA_FILE",
    "Redactor",
    "check_overrides",
    "find_manifest",
    "load",
    "override_variable",
    "read_env_file",
    "resolve",
    "resolve_name",
    "schema",
    "select",
]
