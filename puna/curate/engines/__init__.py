"""Who cleans the chunks: this process, worker processes, or actors of a Ray cluster; all with the same result."""
