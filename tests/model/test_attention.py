import math

import pytest
import torch

from puna.model import SlotCache
from puna.model.attention import AttentionContext, attend
from puna.model.config import PRESETS


def brute_force(q, k, v, documents):
    """Softmax attention by loops, one query at a time."""
    out = torch.zeros_like(q)
    group = q.shape[2] // k.shape[2]
    for b in range(q.shape[0]):
        for h in range(q.shape[2]):
            for t in range(q.shape[1]):
                seen = [s for s in range(t + 1) if documents is None or documents[b, s] == documents[b, t]]
                scores = k[b, seen, h // group] @ q[b, t, h] / math.sqrt(q.shape[3])
                out[b, t, h] = scores.softmax(0) @ v[b, seen, h // group]
    return out


@pytest.mark.parametrize("packed", [False, True])
def test_attend_is_softmax_attention_in_double(packed):
    generator = torch.Generator().manual_seed(1)
    q = torch.randn(2, 9, 6, 4, dtype=torch.float64, generator=generator)
    k, v = (torch.randn(2, 9, 3, 4, dtype=torch.float64, generator=generator) for _ in range(2))
    documents = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2, 2], [5, 5, 5, 5, 5, 5, 1, 1, 5]]) if packed else None
    tokens = torch.zeros(2, 9, dtype=torch.int64)
    context = AttentionContext.of(tokens, None, documents, None)
    torch.testing.assert_close(attend(q, k, v, context, 0), brute_force(q, k, v, documents), atol=1e-9, rtol=1e-9)


def test_documents_and_a_cache_together_are_refused():
    tokens = torch.zeros(1, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match="came both"):
        AttentionContext.of(tokens, None, tokens, SlotCache(PRESETS["nano"], 1, 4))
