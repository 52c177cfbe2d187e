"""The model under examination, asked in the form that it has learned: text to go on with (base) or a dialog (chat)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from puna.engine import Completion, Engine, SamplingParams
from puna.tokenizer import Tokenizer
from puna.tokenizer.dialog import encode_dialog

Style = Literal["base", "chat"]
Shot = tuple[str, str]
"""A question and its answer, shown before the question that counts."""


@dataclass(frozen=True)
class Likelihood:
    """log P in nats of one option after a prompt, and its length for normalising. Both count the leading space."""

    logprob: float
    num_tokens: int
    num_bytes: int

    def normalised(self, by: str) -> float:
        """log P per byte ("bytes"), per token ("tokens") or as it is ("none": the sum)."""
        return self.logprob / {"bytes": self.num_bytes, "tokens": self.num_tokens, "none": 1}[by]


@dataclass
class Candidate:
    """A model with its tokenizer and its style. on_progress(finished, all) is called while it works.

    reference: another model, from which its distance is measured where a task samples.
    """

    engine: Engine
    tokenizer: Tokenizer
    style: Style
    on_progress: Callable[[int, int], None] | None = None
    reference: Engine | None = None

    @property
    def context(self) -> int:
        """Tokens of a prompt and its answer."""
        return self.engine.context

    def prompt(
        self, question: str, shots: Sequence[Shot] = (), intro: str = "", form: str = "Question: {}\nAnswer:"
    ) -> str:
        """What a base model goes on with: intro, the shots and the question in `form`, a blank line between blocks."""
        blocks = [f"{form.format(q)} {a}\n\n" for q, a in shots]
        return intro + "".join(blocks) + form.format(question)

    def encode(self, text: str) -> list[int]:
        """Ids of a base prompt; nothing in it is special."""
        return self.tokenizer.encode(text, bos=True)

    def encode_dialog(self, question: str, shots: Sequence[Shot] = ()) -> list[int]:
        """Ids of a dialog up to where the assistant speaks; shots are earlier turns."""
        messages = [
            {"role": role, "content": content}
            for shot in shots
            for role, content in zip(("user", "assistant"), shot, strict=True)
        ]
        messages.append({"role": "user", "content": question})
        return encode_dialog(self.tokenizer, messages, generation_prompt=True)[0]

    def fit(
        self, build: Callable[[Sequence[Shot]], list[int]], shots: Sequence[Shot], room: int
    ) -> tuple[list[int], int]:
        """The prompt with as many of the shots as leave `room` tokens of the context, and how many these are.

        Even the prompt without shots may be too long; `fits` tells.
        """
        for num_shots in range(len(shots), 0, -1):
            ids = build(shots[:num_shots])
            if self.fits(ids, room):
                return ids, num_shots
        return build(()), 0

    def fits(self, ids: Sequence[int], room: int) -> bool:
        """Whether `room` tokens can follow the prompt."""
        return len(ids) + room <= self.context

    def likelihoods(self, prompts: Sequence[Sequence[int]], options: Sequence[Sequence[str]]) -> list[list[Likelihood]]:
        """For each prompt, log P of each of its options' texts (" goat")."""
        encoded = [[self.tokenizer.encode(option) for option in several] for several in options]
        flat_prompts = [prompt for prompt, several in zip(prompts, encoded, strict=True) for _ in several]
        scores = iter(self.engine.score(flat_prompts, [ids for several in encoded for ids in several]))
        return [
            [
                Likelihood(float(next(scores).sum(dtype="float64")), len(ids), len(option.encode()))
                for ids, option in zip(ids_of_options, several, strict=True)
            ]
            for ids_of_options, several in zip(encoded, options, strict=True)
        ]

    def answer(self, prompts: Sequence[Sequence[int]], max_tokens: int, stop: tuple[str, ...] = ()) -> list[Completion]:
        """Greedy answers."""
        return self.engine.generate(prompts, SamplingParams(max_tokens=max_tokens, stop=stop), self.on_progress)

    def samples(self, prompts: Sequence[Sequence[int]], params: Sequence[SamplingParams]) -> list[Completion]:
        """Answers drawn as `params` say, the n of a prompt side by side."""
        return self.engine.generate(prompts, params, self.on_progress)
