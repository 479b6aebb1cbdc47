"""Check statements before they run. Pure functions: they open no file and no connection."""
