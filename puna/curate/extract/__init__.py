"""HTML -> the text of a page."""
