"""Puna: the whole Llama 3 recipe, from a raw web crawl to a served, measured chat model."""

__version__ = "0.1.0"
