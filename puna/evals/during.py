"""Tasks that a model is asked while it is trained: a few items of each, so that it stays cheap.

The stage `pretrain` is handed this where its settings have `evaluate` (stages.py); it imports nothing of the exams.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from puna.base.config import validate
from puna.base.output import Inputs
from puna.engine import Engine
from puna.evals.candidate import Candidate
from puna.evals.run import TASKS, EvaluateConfig
from puna.model import Llama
from puna.tokenizer import Tokenizer


def make(settings: Mapping[str, Any], inputs: Inputs) -> Callable[[nn.Module], dict[str, float]]:
    """A function that measures the main score of each task, by the task's name.

    `settings` are those of the stage `evaluate`; the tokenizer and the tasks' files are inputs of the stage that
    trains. Raises ConfigError or DataError before anything is trained.
    """
    config = validate(EvaluateConfig, dict(settings), "evaluate")
    tokenizer = Tokenizer.load(inputs.one("tokenizer"))
    for task in config.tasks:
        inputs.many(task.input)

    def evaluate(model: nn.Module) -> dict[str, float]:
        assert isinstance(model, Llama)
        was_training = model.training
        with torch.random.fork_rng():  # what training draws must not depend on it
            candidate = Candidate(Engine(model, tokenizer, config.max_batch), tokenizer, config.style)
            results = {task.name: TASKS[task.kind](task, inputs.many(task.input), candidate) for task in config.tasks}
        model.train(was_training)
        return {name: result.scores[0].value for name, result in results.items()}

    return evaluate
