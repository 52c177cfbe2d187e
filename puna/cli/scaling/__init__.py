"""Verbs on scaling laws, `puna scaling VERB`: `plan`, `predict`, `fit`, `run`; a file each."""

from puna.cli.scaling.fit import fit
from puna.cli.scaling.plan import plan
from puna.cli.scaling.predict import predict
from puna.cli.scaling.run import run

__all__ = ["fit", "plan", "predict", "run"]
