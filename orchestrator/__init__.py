"""orch: one manifest for every database of an estate."""

__version__ = "0.1.0"
