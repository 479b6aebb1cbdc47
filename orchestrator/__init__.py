"""orch: one manifest for all databases of a project."""

__version__ = "0.1.0"
