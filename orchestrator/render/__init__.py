"""Pure functions from a manifest to the files that are made from it, and the one place that writes files."""
