"""What is asked of the engine, what it keeps while it works, and what it returns."""

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from typing import Literal

from puna.base.errors import ConfigError

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class SamplingParams:
    """How to choose the tokens of a prompt's `n` samples.

    temperature 0 takes the likeliest token. top_k (0: all) is applied before top_p, both after the temperature. Noise
    is Philox(seed, sample, position), so a sample does not depend on what else is computed; equal prompts want unequal
    seeds, or `n`. stop: strings that end the text and are cut off it. logprobs: also return log-probabilities of the
    tokens under the model as it is (temperature 1, nothing cut off), equal to `Engine.score`.

    Raises ConfigError for a value out of range.
    """

    max_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    stop: tuple[str, ...] = ()
    seed: int = 0
    n: int = 1
    logprobs: bool = False

    def __post_init__(self) -> None:
        _require(self.max_tokens >= 1, "max_tokens", "at least 1", self.max_tokens)
        _require(0 <= self.temperature < float("inf"), "temperature", "0 or more", self.temperature)
        _require(0 < self.top_p <= 1, "top_p", "more than 0 and at most 1", self.top_p)
        _require(self.top_k >= 0, "top_k", "0 (all tokens) or more", self.top_k)
        _require(0 <= self.seed < 2**64, "seed", "0 .. 2**64 - 1", self.seed)
        _require(self.n >= 1, "n", "at least 1", self.n)
        stop_is_right = isinstance(self.stop, tuple) and all(isinstance(s, str) and s for s in self.stop)
        _require(stop_is_right, "stop", "a tuple of non-empty strings", self.stop)


@dataclass
class Sequence:
    """One sample of one prompt on its way through the engine. `tokens` are the new ones; so is `text` (UTF-8).

    Sequences with the same `prompt` object are prefilled once.
    """

    prompt: SequenceOf[int]
    params: SamplingParams
    index: int = 0
    sample: int = 0
    max_tokens: int = 0
    stop_bytes: tuple[bytes, ...] = ()
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    text: bytearray = field(default_factory=bytearray)
    finish_reason: FinishReason | None = None

    def append(self, token: int, token_bytes: bytes, ends: bool) -> None:
        """Add a sampled token and notice the end: an end token, a stop string (also across tokens), or the length."""
        self.tokens.append(token)
        if ends:
            self.finish_reason = "stop"
            return
        if token_bytes:
            before = len(self.text)
            self.text += token_bytes
            if self.stop_bytes:
                starts = [self.text.find(stop, max(0, before - len(stop) + 1)) for stop in self.stop_bytes]
                found = [start for start in starts if start >= 0]
                if found:
                    del self.text[min(found) :]
                    self.finish_reason = "stop"
                    return
        if len(self.tokens) >= self.max_tokens:
            self.finish_reason = "length"


@dataclass(frozen=True)
class Completion:
    """A finished sample: number `sample` of prompt number `index`.

    tokens are all that were sampled, with the end token and those of a stop string; text is what they say, without
    both. logprobs in nats, one a token, if they were asked for. finish_reason: "stop" or "length" (max_tokens, or the
    model's context is full).
    """

    text: str
    tokens: list[int]
    logprobs: list[float] | None
    finish_reason: FinishReason
    index: int
    sample: int = 0


def _require(holds: bool, name: str, expected: str, came: object) -> None:
    if not holds:
        raise ConfigError(f"SamplingParams.{name}: expected {expected}, came {came!r}")
