"""Whether a model finds needles: it must go on with the very value that was planted, greedily.

B items, T tokens, D model width, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from puna.model import Llama
from puna.needle.plant import NeedleItem
from puna.tokenizer import Tokenizer

_BATCH_TOKENS = 16_384


def greedy_answers(
    model: Llama, items: Sequence[NeedleItem], on_progress: Callable[[int, int], None] | None = None
) -> list[list[int]]:
    """What the model holds most likely at each place of each answer, given the prompt and the right answer before it.

    It says what greedy decoding would say exactly if that is the answer, for up to its first error both see the same;
    so one pass does what generating would. Items of one length go through the model together.
    """
    answers: list[list[int]] = [[] for _ in items]
    order = sorted(range(len(items)), key=lambda i: (len(items[i].prompt) + len(items[i].answer), i))
    done = 0
    with torch.inference_mode():
        while done < len(order):
            together = _together([items[i] for i in order[done:]])
            chosen = order[done : done + together]
            for i, answer in zip(chosen, _greedy(model, [items[i] for i in chosen]), strict=True):
                answers[i] = answer
            done += together
            if on_progress:
                on_progress(done, len(order))
    return answers


def is_found(item: NeedleItem, answer: Sequence[int], tokenizer: Tokenizer) -> bool:
    """Whether an answer is the value and ends the fact as its form does; how many lines end after it is left open."""
    return tokenizer.decode(answer).strip() == tokenizer.decode(item.answer).strip()


@dataclass(frozen=True)
class Cell:
    """Tests of one length and depth: `found` of `n`."""

    length: int
    depth: float
    found: int
    n: int

    @property
    def share(self) -> float:
        """Found of all."""
        return self.found / self.n


def cells(items: Sequence[NeedleItem], found: Sequence[bool]) -> list[Cell]:
    """The tests by length and depth, both ascending."""
    counts: dict[tuple[int, float], tuple[int, int]] = {}
    for item, is_found in zip(items, found, strict=True):
        before = counts.get((item.length, item.depth), (0, 0))
        counts[item.length, item.depth] = (before[0] + is_found, before[1] + 1)
    return [Cell(*key, *counts[key]) for key in sorted(counts)]


def heat_map(found: Sequence[Cell], title: str) -> dict[str, Any]:
    """Shares found as a heat map of depth by length."""
    lengths, depths = sorted({one.length for one in found}), sorted({one.depth for one in found})
    share = {(one.length, one.depth): one.share for one in found}
    return {
        "kind": "heatmap",
        "title": title,
        "x_label": "length (tokens)",
        "y_label": "depth of the needle",
        "unit": "share",
        "columns": [f"{length:,}" for length in lengths],
        "rows": [f"{depth:.0%}" for depth in depths],
        "values": [[share.get((length, depth)) for length in lengths] for depth in depths],
        "note": f"{found[0].n} tests in each cell; greedy, the whole value or nothing.",
    }


def _together(items: Sequence[NeedleItem]) -> int:
    size = len(items[0].prompt) + len(items[0].answer)
    same = next((n for n, one in enumerate(items) if len(one.prompt) + len(one.answer) != size), len(items))
    return min(same, max(1, _BATCH_TOKENS // size))


def _greedy(model: Llama, items: Sequence[NeedleItem]) -> list[list[int]]:
    """Of items of one length; logits [V] are made at the places of the answers alone."""
    device = model.embedding.weight.device
    tokens = torch.tensor([[*one.prompt, *one.answer][:-1] for one in items], device=device)
    hidden: Tensor = model.hidden(tokens)  # [B, T, D]
    found = []
    for row, one in enumerate(items):
        states = hidden[row, len(one.prompt) - 1 :]
        found.append((states @ model.output_weight.T).argmax(-1).tolist())
    return found
