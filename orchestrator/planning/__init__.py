"""Decide what is pending, in which order, and what is wrong: pure functions over frozen records."""
