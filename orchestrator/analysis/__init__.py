"""Judge statements before they run: pure functions, nothing is opened."""
