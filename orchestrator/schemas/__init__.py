"""JSON Schemas of what orch writes, as files."""
