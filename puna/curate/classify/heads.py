"""What classifiers share, whatever their features: questions with their classes, temperatures, and a file of arrays.

N documents, K classes of a head, H classes of all heads together.
"""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from puna.base.errors import ArtifactError
from puna.curate.classify.regression import Floats, log_softmax


class Heads:
    """`heads` names the classes of each question; a head's logits are divided by its temperature."""

    def __init__(self, heads: Mapping[str, Sequence[str]], temperatures: Mapping[str, float] | None = None):
        self.heads = {name: tuple(classes) for name, classes in heads.items()}
        self.temperatures = dict.fromkeys(self.heads, 1.0) | dict(temperatures or {})

    def by_head(self, logits: Floats) -> dict[str, Floats]:
        """The columns of each head, [N, K], of logits [N, H]."""
        ends = np.cumsum([len(classes) for classes in self.heads.values()]).tolist()
        return {name: logits[:, a:b] for name, a, b in zip(self.heads, [0, *ends], ends, strict=False)}

    def calibrated(self, logits: Mapping[str, Floats]) -> dict[str, Floats]:
        """Probabilities [N, K] from the logits of each head."""
        return {name: np.exp(log_softmax(values / self.temperatures[name])) for name, values in logits.items()}


def write_model(path: Path, model: Heads, **arrays: NDArray[Any]) -> None:
    """Write a model's heads and arrays as one .npz."""
    names = np.array([f"{name}\t{value}" for name, classes in model.heads.items() for value in classes], np.str_)
    temperatures = np.array([model.temperatures[name] for name in model.heads], np.float64)
    stored: dict[str, Any] = {"names": names, "temperatures": temperatures, **arrays}
    np.savez(path, **stored)


def read_model(
    path: Path, arrays: Sequence[str]
) -> tuple[dict[str, list[str]], dict[str, float], dict[str, NDArray[Any]]]:
    """Heads, temperatures and named arrays of what `write_model` wrote. Raises ArtifactError if it is none."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            parts = {name: stored[name] for name in ("names", "temperatures", *arrays)}
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"expected a classifier at {path}, came {error}; run a classify stage") from None
    heads: dict[str, list[str]] = {}
    for name, _, value in (str(row).partition("\t") for row in parts["names"].tolist()):
        heads.setdefault(name, []).append(value)
    return heads, dict(zip(heads, parts["temperatures"].tolist(), strict=True)), parts
