"""Views: they turn events, plans and results into output, and decide nothing."""
