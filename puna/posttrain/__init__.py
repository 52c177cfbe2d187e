"""Base model -> chat model."""
