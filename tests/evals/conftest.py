"""A small tokenizer, and stand-ins for a model whose answers are known beforehand."""

from collections.abc import Callable

import numpy as np
import pytest

from puna.engine import Completion
from puna.evals.candidate import Candidate
from puna.tokenizer import Tokenizer
from puna.tokenizer.bpe import special_ids, split_pattern


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    ranks = {bytes([byte]): byte for byte in range(256)}
    ranks |= {word: 256 + i for i, word in enumerate((b"th", b"the", b" a", b"an", b"er", b"in"))}
    return Tokenizer(ranks, special_ids(len(ranks), 16), split_pattern())


class Oracle:
    """In place of an engine: says `say(prompt text)`, and finds a continuation `likely(prompt, text)` nats likely."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        say: Callable[[str], str] = lambda prompt: "",
        likely: Callable[[str, str], float] = lambda prompt, text: 0.0,
        context: int = 100_000,
    ) -> None:
        self.tokenizer, self.say, self.likely, self.context = tokenizer, say, likely, context
        self.prompts: list[str] = []

    def generate(self, prompts, params, on_progress=None):  # type: ignore[no-untyped-def]
        texts = [self.tokenizer.decode(ids) for ids in prompts]
        self.prompts += texts
        said = [self.say(text) for text in texts]
        for stop in params.stop:
            said = [text.split(stop)[0] for text in said]
        return [Completion(text, [], None, "stop", i) for i, text in enumerate(said)]

    def score(self, prompts, continuations):  # type: ignore[no-untyped-def]
        pairs = [(self.tokenizer.decode(p), self.tokenizer.decode(c)) for p, c in zip(prompts, continuations)]
        self.prompts += [prompt for prompt, _ in pairs]
        return [np.array([self.likely(p, c) / len(ids)] * len(ids)) for (p, c), ids in zip(pairs, continuations)]


@pytest.fixture
def oracle(tokenizer: Tokenizer) -> Callable[..., Candidate]:
    """oracle(style, say=..., likely=..., context=...) -> a Candidate around an Oracle."""

    def make(style: str, **behaviour) -> Candidate:  # type: ignore[no-untyped-def]
        return Candidate(Oracle(tokenizer, **behaviour), tokenizer, style)  # type: ignore[arg-type]

    return make
