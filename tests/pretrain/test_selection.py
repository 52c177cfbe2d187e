"""Rho-1's choice of tokens beside brute force."""

import pytest
import torch
import torch.nn.functional as F

from puna.model import Llama, LlamaConfig
from puna.pretrain.experts import ExpertsConfig
from puna.pretrain.loader import IGNORED, Batch
from puna.pretrain.loss import LossConfig
from puna.pretrain.objective import pretraining
from puna.pretrain.selection import highest, selected

CONFIG = LlamaConfig(dim=16, layers=1, heads=2, kv_heads=1, ffn_dim=32, vocab_size=31)


def batch_of() -> Batch:
    generator = torch.Generator().manual_seed(2)
    tokens, targets = torch.randint(CONFIG.vocab_size, (2, 4, 12), generator=generator)
    targets[:, ::4] = IGNORED
    documents = (torch.arange(12) // 5).expand(4, -1).contiguous()
    return Batch(tokens, targets, torch.arange(12).expand(4, -1).contiguous(), documents)


def models() -> list[Llama]:
    made = [Llama(CONFIG), Llama(CONFIG)]
    for seed, model in enumerate(made):
        model.initialise(seed, std=0.4)
    return made


def excess_by_hand(model: Llama, reference: Llama, batch: Batch) -> dict[tuple[int, int], float]:
    """Of every learned token: the model's loss less the reference's."""
    with torch.no_grad():
        logs = [
            one(batch.tokens, batch.positions, batch.documents).double().log_softmax(-1) for one in (model, reference)
        ]
    places = (batch.targets != IGNORED).nonzero().tolist()
    return {(b, t): (logs[1] - logs[0])[b, t, batch.targets[b, t]].item() for b, t in places}


@pytest.mark.parametrize("keep", [0.01, 0.3, 0.6, 0.99])
def test_the_tokens_of_highest_excess_loss_in_the_batch_are_kept(keep: float) -> None:
    (model, reference), batch = models(), batch_of()
    excess = excess_by_hand(model, reference, batch)
    ranked = sorted(excess, key=lambda place: -excess[place])
    expected = set(ranked[: max(1, round(keep * len(ranked)))])
    for micro_batch, chunk in ((4, 0), (3, 0), (1, 5)):  # over the whole batch, however it is computed
        kept = selected(model, reference, batch, keep, micro_batch, chunk)
        assert {(b, t) for b, t in (kept.targets != IGNORED).nonzero().tolist()} == expected
        assert kept.num_targets == len(expected)
        assert all(kept.targets[place] == batch.targets[place] for place in expected)
        assert kept.tokens is batch.tokens  # what is not learned is still seen


def test_what_was_not_learned_is_never_kept_and_of_equals_the_first_is() -> None:
    learned = torch.tensor([[True, False, True, True], [False, True, True, False]])
    excess = torch.tensor([[1.0, 9.0, 2.0, 1.0], [9.0, -5.0, 1.0, 9.0]])
    assert highest(excess, learned, 0.6).tolist() == [[True, False, True, True], [False] * 4]
    assert torch.equal(highest(excess, learned, 1.0), learned)
    assert not highest(excess, torch.zeros_like(learned), 0.5).any()


def _rows(clean: int, noise: int, seed: int) -> Batch:
    """`clean` rows that count up from a random start, then `noise` rows of which nothing can be learned."""
    draw = torch.Generator().manual_seed(seed)
    starts = torch.randint(32, (clean, 1), generator=draw)
    counting = (starts + torch.arange(33)) % 32
    tokens = torch.cat([counting, torch.randint(32, (noise, 33), generator=draw)])
    positions = torch.arange(32).repeat(clean + noise, 1)
    return Batch(tokens[:, :-1], tokens[:, 1:], positions, torch.zeros_like(positions))


def _trained(steps: int, noise: int, reference: Llama | None) -> Llama:
    model = Llama(LlamaConfig(16, 1, 2, 1, 32, 32))
    model.initialise(3, 0.1)
    backward = pretraining(8, LossConfig(keep=0.5), ExpertsConfig(), reference)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    for step in range(steps):
        backward(model, _rows(2, noise, step))
        optimizer.step()
        optimizer.zero_grad()
    return model


def test_among_noise_what_the_reference_knows_is_learned_first() -> None:
    """As many steps on rows of which three in four are noise: with selection, noise takes less of every step."""
    reference = _trained(150, 0, None)
    plain, choosing = (_trained(80, 6, one) for one in (None, reference))
    clean = _rows(16, 0, 999)
    with torch.no_grad():
        losses = [F.cross_entropy(m(clean.tokens).flatten(0, 1), clean.targets.flatten()) for m in (plain, choosing)]
    assert losses[1] < losses[0] - 0.1
    kept = selected(choosing, reference, _rows(2, 6, 1000), 0.25, 8, 0).targets != IGNORED
    assert kept[:2].float().mean() > 2 * kept[2:].float().mean()
