"""Tests of puna.world."""
