"""Databases for a test or a check: templates, clones, verify."""
