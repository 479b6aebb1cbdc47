"""SQLite: databases that are files, with Python's own driver."""
