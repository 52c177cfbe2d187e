"""What occurs more than once: documents by address, text and MinHash, and lines."""
