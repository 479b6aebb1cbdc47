"""Read every history, then migrate by the plan."""
