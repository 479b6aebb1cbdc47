"""What is pending, in what order, and what is wrong: pure functions over frozen records."""
