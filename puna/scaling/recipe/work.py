"""What a stage does with what it is given, and what it hands on: the words in which the kinds of stages say it.

Of documents: documents.py; of models: models.py; all of them: kinds.py.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from puna.base.errors import PunaError
from puna.model.config import LlamaConfig
from puna.scaling.recipe.effort import Effort
from puna.scaling.recipe.volume import Volume, together

PROCESS, WITH_TORCH, WORKER = 0.5e9, 0.9e9, 0.25e9
"""Bytes of a process, of one that has loaded torch, of a worker beside it."""
START_SECONDS = 0.5
"""Of one core of the reference machine (effort.py), as all seconds of kinds of stages are."""


class Unknown(PunaError):
    """What a stage takes cannot be told; the message says what is missing. outputs: what is known all the same."""

    def __init__(self, message: str, outputs: Mapping[str, Volume] | None = None):
        super().__init__(message)
        self.outputs = outputs or {}


@dataclass(frozen=True)
class Training:
    """A model that learns `tokens` in rows of `row_tokens`, `batch_rows` a step, `micro_batch` rows at once.

    divides: whether several processes of the recipe's mesh may train it.
    """

    model: LlamaConfig
    tokens: float
    row_tokens: int
    batch_rows: int
    optimizer: str
    micro_batch: int = 1
    divides: bool = False


@dataclass(frozen=True)
class Work:
    """effort: see there. memory_bytes: of process and workers on cores. outputs: by name within the artifact."""

    effort: Effort
    memory_bytes: float
    outputs: Mapping[str, Volume] = field(default_factory=dict)
    training: Training | None = None
    model: LlamaConfig | None = None


class Given:
    """The inputs of a stage by name: references, and `find`, which says how much there is under one."""

    def __init__(self, references: Mapping[str, list[str]], find: Callable[[str], Volume], workers: int):
        self._references, self._find, self.workers = references, find, workers

    def names(self) -> list[str]:
        """Of all inputs."""
        return list(self._references)

    def has(self, name: str) -> bool:
        """Whether the recipe gives it."""
        return bool(self._references.get(name))

    def of(self, name: str, inside: str = "") -> Volume:
        """All of an input together, or a file inside of it. Raises Unknown if it is not known."""
        below = f"/{inside}" if inside else ""
        whole = together(self._find(reference + below) for reference in self._references.get(name, []))
        if whole.missing:
            known = {} if name == "model" else self._start()
            raise Unknown(f"{name}: {whole.missing} is not known yet", known)
        return whole

    def _start(self) -> dict[str, Volume]:
        """The model that the stage begins with, which what comes out of it is as large as."""
        found = together(self._find(reference) for reference in self._references.get("model", []))
        return {} if found.model is None else {"": Volume(vocab_size=found.vocab_size, model=found.model)}

    def model(self, name: str = "model") -> Volume:
        """An input that is a model. Raises Unknown if its sizes are not known."""
        found = self.of(name)
        if found.model is None:
            raise Unknown(f"{name}: the sizes of the model are not known")
        return found


def bytes_per_token(vocab_size: int) -> float:
    """Of English text: 2.7 with 1,024 tokens, 3.6 with 4,096, 4.5 with 128 thousand."""
    return min(4.5, 2.7 + 0.45 * max(0.0, math.log2(max(vocab_size, 256) / 1024)))
