"""Weights to and from other layouts."""
