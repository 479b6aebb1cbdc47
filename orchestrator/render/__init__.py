"""Pure functions from a manifest to generated files."""
