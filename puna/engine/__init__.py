"""Requests -> tokens: one batched engine that samples for training, evaluation, judging and serving."""

from puna.engine.engine import Engine
from puna.engine.request import Completion, SamplingParams

__all__ = ["Completion", "Engine", "SamplingParams"]
