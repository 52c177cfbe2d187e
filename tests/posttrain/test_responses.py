"""Log-probabilities of answers: written out, batched = alone, and the same as the sampler's."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from puna.engine import Engine, SamplingParams
from puna.model import Llama
from puna.posttrain.responses import Responses, answer_logprobs
from puna.tokenizer import Tokenizer

PROMPTS, ANSWERS = [[5, 6, 7], [8], [9] * 11, [1, 2]], [[1, 2], [3], [4, 5, 6, 7], [250, 3, 9, 1, 7, 7]]
ids = st.lists(st.integers(0, 99), min_size=1, max_size=6)
pairs = st.lists(st.tuples(ids, ids), min_size=1, max_size=6)


def test_logprobs_are_log_softmax_written_out(make_model: Callable[..., Llama]) -> None:
    model = make_model()
    with torch.no_grad():
        came = answer_logprobs(model, Responses.of(PROMPTS, ANSWERS)).tolist()
        expected = []
        for prompt, answer in zip(PROMPTS, ANSWERS):
            for i, token in enumerate(answer):
                logits = model(torch.tensor([prompt + answer[:i]]))[0, -1].double()
                expected.append(float(logits[token] - torch.logsumexp(logits, 0)))
    np.testing.assert_allclose(came, expected, atol=1e-5, rtol=0)
    assert min(expected) < -6 and max(expected) > -5  # opinions, not a flat model


@pytest.mark.parametrize("temperature", [0.0, 1.0, 1.7])
def test_the_sampler_s_logprobs_are_the_trainer_s(
    make_model: Callable[..., Llama], tokenizer: Tokenizer, temperature: float
) -> None:
    model = make_model()
    params = SamplingParams(max_tokens=20, temperature=temperature, n=3, logprobs=True, seed=2)
    completions = Engine(model, tokenizer, max_batch=5).generate(PROMPTS, params)
    prompts = [PROMPTS[one.index] for one in completions]
    with torch.no_grad():
        came = answer_logprobs(model, Responses.of(prompts, [one.tokens for one in completions]))
    sampled = [value for one in completions for value in one.logprobs or ()]
    np.testing.assert_allclose(came, sampled, atol=1e-5, rtol=0)
    assert len(sampled) > 100


@given(pairs)
def test_rows_hold_prompt_answer_and_padding(rows: list[tuple[list[int], list[int]]]) -> None:
    batch = Responses.of([prompt for prompt, _ in rows], [answer for _, answer in rows])
    for i, (prompt, answer) in enumerate(rows):
        assert batch.tokens[i, : len(prompt) + len(answer)].tolist() == prompt + answer
        assert batch.mask[i].nonzero()[:, 0].tolist() == list(range(len(prompt), len(prompt) + len(answer)))
    assert batch.lengths.tolist() == [len(answer) for _, answer in rows]


@given(pairs, st.data())
def test_some_rows_are_the_same_as_those_alone(rows: list[tuple[list[int], list[int]]], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(range(len(rows))), min_size=1, unique=True))
    whole = Responses.of([prompt for prompt, _ in rows], [answer for _, answer in rows])
    some = whole.select(torch.tensor(chosen))
    alone = Responses.of([rows[i][0] for i in chosen], [rows[i][1] for i in chosen])
    assert torch.equal(some.tokens, alone.tokens) and torch.equal(some.mask, alone.mask)


@given(pairs, st.integers(1, 4))
def test_parts_hold_every_row_once_and_neighbours_in_length(rows: list[tuple[list[int], list[int]]], size: int) -> None:
    batch = Responses.of([prompt for prompt, _ in rows], [answer for _, answer in rows])
    parts = batch.parts(size)
    assert sorted(row for part in parts for row in part.tolist()) == list(range(len(rows)))
    assert all(len(part) == size for part in parts[:-1]) and len(parts[-1]) <= size
    assert all(part.tolist() == sorted(part.tolist()) for part in parts)
    widths = [[len(rows[i][0]) + len(rows[i][1]) for i in part.tolist()] for part in parts]
    assert all(min(longer) >= max(shorter) for longer, shorter in itertools.pairwise(widths))


@given(pairs, st.data())
def test_tokens_of_some_rows_are_theirs(rows: list[tuple[list[int], list[int]]], data: st.DataObject) -> None:
    chosen = sorted(data.draw(st.lists(st.sampled_from(range(len(rows))), min_size=1, unique=True)))
    batch = Responses.of([prompt for prompt, _ in rows], [answer for _, answer in rows])
    answers = batch.tokens[batch.mask]
    assert answers[batch.tokens_of(torch.tensor(chosen))].tolist() == [t for i in chosen for t in rows[i][1]]


@given(pairs)
def test_sums_and_spread_are_loops(rows: list[tuple[list[int], list[int]]]) -> None:
    batch = Responses.of([prompt for prompt, _ in rows], [answer for _, answer in rows])
    values = torch.arange(1.0, 1.0 + int(batch.mask.sum()), dtype=torch.float64) ** 2
    left, sums = values.tolist(), []
    table = np.zeros(batch.mask.shape)
    for i, (prompt, answer) in enumerate(rows):
        own, left = left[: len(answer)], left[len(answer) :]
        sums.append(sum(own))
        table[i, len(prompt) : len(prompt) + len(answer)] = own
    assert batch.sums(values).tolist() == sums
    assert np.array_equal(batch.spread(values).numpy(), table)
    assert torch.equal(batch.spread(values)[batch.mask], values)


def test_gradients_pass_through_sums() -> None:
    batch = Responses.of(PROMPTS, ANSWERS)
    values = torch.ones(int(batch.mask.sum()), requires_grad=True)
    (batch.sums(values) * torch.tensor([1.0, 2.0, 3.0, 4.0])).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [1.0] * 2 + [2.0] + [3.0] * 4 + [4.0] * 6


@pytest.mark.parametrize("prompts, answers", [([[1], []], [[1], [2]]), ([[1], [2]], [[1], []])])
def test_empty_prompts_and_answers_are_refused(prompts: list[list[int]], answers: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="row 1: expected a prompt and an answer"):
        Responses.of(prompts, answers)
