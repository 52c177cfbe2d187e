"""Recipes, fingerprints, artifacts and reports; knows no stage."""

from puna.lineage.recipe import Recipe
from puna.lineage.runner import Stage, run

__all__ = ["Recipe", "Stage", "run"]
