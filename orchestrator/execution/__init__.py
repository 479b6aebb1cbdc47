"""Read every history, then migrate along the plan."""
