"""Crawl to clean, deduplicated, mixed documents; the way of a document is written in docs/curate.md."""
