"""Long context: longer rows in stages, each let through by a gate."""
