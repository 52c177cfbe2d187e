"""A model for a larger vocabulary: its rows moved and new ones made, everything else as it is."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from puna.base.errors import ArtifactError
from puna.model.llama import Llama


def with_vocabulary(model: Llama, rows: Sequence[Sequence[int]]) -> Llama:
    """The model whose token i is the mean of `model`'s tokens rows[i]: of one, a copy to the last bit.

    Input embedding and, if the model is not tied, output matrix alike. A new token that starts as the mean of its
    pieces is near what the model has read so far in its place. Logits of tokens that were copied stay what they were
    (but for how a wider matrix product rounds); a softmax over more tokens gives each less.

    Raises ArtifactError if rows name a token that the model does not have.
    """
    size = model.config.vocab_size
    if any(not ids or not all(0 <= token < size for token in ids) for ids in rows):
        raise ArtifactError(f"expected rows of a model with {size} tokens, came others; give the tokenizer's own model")
    with torch.device("meta"):
        grown = Llama(replace(model.config, vocab_size=len(rows)))
    weights = dict(model.state_dict())
    for name in ("embedding.weight", "output.weight"):
        if name in weights:
            weights[name] = _mean_rows(weights[name], rows)
    grown.load_state_dict(weights, assign=True)
    return grown.train(model.training)


@torch.no_grad()
def _mean_rows(matrix: Tensor, rows: Sequence[Sequence[int]]) -> Tensor:
    """[len(rows), D]: means are taken in fp32."""
    made = matrix[torch.tensor([ids[0] for ids in rows], device=matrix.device)]
    for number, ids in enumerate(rows):
        if len(ids) > 1:
            made[number] = matrix[list(ids)].float().mean(0).to(matrix.dtype)
    return made
