"""One use case in each module: it takes plain options and returns a result."""
