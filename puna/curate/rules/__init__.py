"""Heuristic quality rules, a file each: a text's statistics against thresholds -> why it is dropped, or None.

A rule is a function that yields its checks one by one (`check.py`), so that a document is dropped by the first that
fails, and `puna curate --sweep` can ask for all. Defaults are the published thresholds. Where known libraries count
differently, `variant` says whose way is taken.
"""
