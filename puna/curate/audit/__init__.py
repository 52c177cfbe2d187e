"""What became of a crawl, and why: thresholds relaxed, a document's story, rejects to read, the known truth."""
