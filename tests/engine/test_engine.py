"""Laws of the engine: batched = alone = full forward passes, samples independent of company, scores = log-softmax."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.base.errors import InputError
from puna.engine import Engine, SamplingParams
from puna.model import Llama
from puna.tokenizer import Tokenizer

MARGIN = 1e-4


def prompts_of(lengths: list[int], seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, size=length).tolist() for length in lengths]


@torch.no_grad()
def naive_greedy(
    model: Llama, prompt: list[int], num_tokens: int, stop_ids: list[int]
) -> tuple[list[int], list[float]]:
    """Tokens by full forward passes without a cache, and by how much each was ahead of the second."""
    tokens, margins = list(prompt), []
    for _ in range(num_tokens):
        best = model(torch.tensor([tokens]))[0, -1].topk(2)
        margins.append(float(best.values[0] - best.values[1]))
        tokens.append(int(best.indices[0]))
        if tokens[-1] in stop_ids:
            break
    return tokens[len(prompt) :], margins


def assert_same_or_close(came: list[int], expected: list[int], margins: list[float]) -> int:
    """Tokens are equal up to a place where the decision was within rounding; returns 1 if there was such a place."""
    for i, (a, b) in enumerate(zip(came, expected)):
        if a != b:
            assert margins[i] < MARGIN
            return 1
    assert len(came) == len(expected)
    return 0


def test_batched_equals_alone_equals_full_forward(engine: Engine, model: Llama, tokenizer: Tokenizer) -> None:
    prompts = prompts_of([1, 3, 40, 12, 7, 7, 25, 60, 2, 33, 18, 5])  # more than the five rows: rows are filled again
    params = [SamplingParams(max_tokens=4 + 3 * i) for i in range(len(prompts))]
    batched = engine.generate(prompts, params)
    close = 0
    for i, (prompt, p) in enumerate(zip(prompts, params)):
        expected, margins = naive_greedy(model, prompt, p.max_tokens, tokenizer.stop_ids)
        alone = Engine(model, tokenizer, max_batch=1).generate([prompt], p)[0]
        close += assert_same_or_close(batched[i].tokens, expected, margins)
        close += assert_same_or_close(alone.tokens, expected, margins)
        assert batched[i].index == i
    assert close <= 2
    assert len({token for c in batched for token in c.tokens}) > 20  # no constant model


def test_rows_outlive_growing_caches(model: Llama, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    from puna.engine.runner import Runner

    monkeypatch.setattr(Runner, "FIRST_CAPACITY", 4)
    engine = Engine(model, tokenizer, max_batch=3)
    prompts = prompts_of([3, 9, 20, 2, 30])
    for prompt, completion in zip(prompts, engine.generate(prompts, SamplingParams(max_tokens=40))):
        expected, margins = naive_greedy(model, prompt, 40, tokenizer.stop_ids)
        assert assert_same_or_close(completion.tokens, expected, margins) == 0


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(1, 12), st.integers(1, 3)), min_size=1, max_size=9),
    st.integers(1, 6),
)
def test_samples_do_not_depend_on_company(
    model: Llama, tokenizer: Tokenizer, requests: list[tuple[int, int, int]], max_batch: int
) -> None:
    prompts = prompts_of([length for length, _, _ in requests])
    params = [
        SamplingParams(max_tokens=m, n=n, temperature=0.9, top_p=0.95, top_k=50 * (i % 2), seed=i)
        for i, (_, m, n) in enumerate(requests)
    ]
    together = Engine(model, tokenizer, max_batch=max_batch).generate(prompts, params)
    alone = [c for p, s in zip(prompts, params) for c in Engine(model, tokenizer, max_batch=1).generate([p], s)]
    assert [c.tokens for c in together] == [c.tokens for c in alone]
    assert [c.sample for c in together] == [c.sample for c in alone]


def test_n_samples_differ_and_repeat(engine: Engine) -> None:
    params = SamplingParams(max_tokens=12, temperature=1.0, n=7, seed=3)
    first = engine.generate(["the"], params)
    assert [c.sample for c in first] == list(range(7))
    assert len({tuple(c.tokens) for c in first}) > 1
    assert [c.tokens for c in engine.generate(["the"], params)] == [c.tokens for c in first]
    other = engine.generate(["the"], SamplingParams(max_tokens=12, temperature=1.0, n=7, seed=4))
    assert [c.tokens for c in other] != [c.tokens for c in first]


def test_sampled_frequencies_are_the_probabilities(model: Llama, tokenizer: Tokenizer) -> None:
    """2,000 first tokens against softmax(logits / T): total variation as small as sampling noise allows."""
    temperature, n = 0.7, 2000
    params = SamplingParams(max_tokens=1, temperature=temperature, n=n)
    drawn = Engine(model, tokenizer, max_batch=256).generate([[5, 6, 7]], params)
    counts = np.bincount([c.tokens[0] for c in drawn], minlength=tokenizer.vocab_size)
    with torch.no_grad():
        expected = (model(torch.tensor([[5, 6, 7]]))[0, -1].double() / temperature).softmax(-1).numpy()
    noise = np.sqrt(expected * (1 - expected) / n).sum() / 2
    assert np.abs(counts / n - expected).sum() / 2 < 1.5 * noise


def test_score_equals_log_softmax_of_the_full_forward(engine: Engine, model: Llama) -> None:
    prompts = prompts_of([1, 9, 9, 30, 2, 9])
    continuations = prompts_of([5, 1, 3, 8, 0, 1], seed=1)
    prompts[2] = prompts[1]
    continuations[5], prompts[5] = continuations[1], prompts[1]
    for prompt, continuation, scores in zip(prompts, continuations, engine.score(prompts, continuations)):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + continuation])).double().log_softmax(-1)[0]
        expected = [float(logits[len(prompt) - 1 + i, token]) for i, token in enumerate(continuation)]
        np.testing.assert_allclose(scores, expected, atol=1e-5, rtol=0)


def test_logprobs_are_the_scores_of_the_tokens(engine: Engine) -> None:
    prompts = prompts_of([4, 11, 6])
    for temperature in (0.0, 1.3):
        params = SamplingParams(max_tokens=10, temperature=temperature, logprobs=True)
        completions = engine.generate(prompts, params)
        scores = engine.score(prompts, [c.tokens for c in completions])
        for completion, expected in zip(completions, scores):
            np.testing.assert_allclose(completion.logprobs, expected, atol=1e-5)
    assert engine.generate(prompts, SamplingParams(max_tokens=2))[0].logprobs is None


class Scripted(torch.nn.Module):
    """In place of a model: after any prompt it says `script`, whatever the prompt was."""

    def __init__(self, model: Llama, script: list[int], num_prompt: int) -> None:
        super().__init__()
        self.config, self.script, self.num_prompt = model.config, script, num_prompt
        self.output_weight = torch.eye(model.config.vocab_size)

    def hidden(self, tokens, positions=None, documents=None, cache=None):  # type: ignore[no-untyped-def]
        nexts = torch.tensor([0] * (self.num_prompt - 1) + self.script + [0])
        return torch.nn.functional.one_hot(nexts[positions], self.config.vocab_size).float()


def scripted(model: Llama, tokenizer: Tokenizer, script: list[int]) -> Engine:
    return Engine(Scripted(model, script, num_prompt=2), tokenizer)  # type: ignore[arg-type]


def test_stop_strings_across_token_borders(model: Llama, tokenizer: Tokenizer) -> None:
    script = [*b"we ", tokenizer.ranks[b"st"], tokenizer.ranks[b"op!"], *b" more"]
    assert [tokenizer.decode([i]) for i in script[3:5]] == ["st", "op!"]
    engine = scripted(model, tokenizer, script)
    (c,) = engine.generate([[1, 2]], SamplingParams(max_tokens=20, stop=("top",)))
    assert (c.text, c.finish_reason, c.tokens) == ("we s", "stop", script[:5])
    (c,) = engine.generate([[1, 2]], SamplingParams(max_tokens=20, stop=("zzz", "!", "e s")))
    assert (c.text, c.finish_reason) == ("w", "stop")
    (c,) = engine.generate([[1, 2]], SamplingParams(max_tokens=20, stop=("op!", "stop!")))  # both end with one token
    assert c.text == "we "
    (c,) = engine.generate([[1, 2]], SamplingParams(max_tokens=6, stop=("never",)))
    assert (c.text, c.finish_reason) == ("we stop! ", "length")


@pytest.mark.parametrize("end", ["eos_id", "eot_id"])
def test_end_tokens_stop_and_say_nothing(model: Llama, tokenizer: Tokenizer, end: str) -> None:
    script = [*b"yes", getattr(tokenizer, end), *b"no"]
    (c,) = scripted(model, tokenizer, script).generate([[1, 2]], SamplingParams(max_tokens=20))
    assert (c.text, c.finish_reason, c.tokens) == ("yes", "stop", script[:4])


def test_stream_gives_whole_characters_and_hides_stop_strings(model: Llama, tokenizer: Tokenizer) -> None:
    script = [*"né ¡st".encode(), *b"ay st", tokenizer.ranks[b"op!"], *b"on"]
    pieces = list(scripted(model, tokenizer, script).stream([1, 2], SamplingParams(max_tokens=30, stop=("stop",))))
    assert "".join(pieces) == "né ¡stay "
    assert "\ufffd" not in "".join(pieces)
    assert "é" in pieces
    assert all(pieces)


def test_stream_equals_generate_and_can_be_closed(engine: Engine) -> None:
    params = SamplingParams(max_tokens=30, temperature=1.0, seed=5)
    expected = engine.generate(["an"], params)[0].text
    abandoned = engine.stream("the", params)
    next(abandoned)
    assert "".join(engine.stream("an", params)) == expected
    abandoned.close()
    assert engine.generate(["an"], params)[0].text == expected
    assert not engine.scheduler


def test_a_failed_step_leaves_nothing_behind(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = engine.generate(["the"], SamplingParams(max_tokens=5))
    with monkeypatch.context() as patch:
        patch.setattr(engine.runner, "run", lambda plan: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            engine.generate(["an"] * 9, SamplingParams(max_tokens=5))
    assert engine.generate(["the"], SamplingParams(max_tokens=5)) == expected


def test_context_is_the_limit(engine: Engine) -> None:
    (prompt,) = prompts_of([90])
    (completion,) = engine.generate([prompt], SamplingParams(max_tokens=50))
    assert len(completion.tokens) == 6 or completion.finish_reason == "stop"
    with pytest.raises(InputError, match="context of 96, came 96"):
        engine.generate([[1], prompts_of([96])[0]], SamplingParams())
    with pytest.raises(InputError, match="at most 96 tokens, came 97"):
        engine.score([prompt], [prompts_of([8])[0]])


def test_bad_requests_are_refused(engine: Engine) -> None:
    with pytest.raises(InputError, match="at least one token"):
        engine.generate([[]])
    with pytest.raises(InputError, match="one for each of 2"):
        engine.generate(["a", "b"], [SamplingParams()])
    with pytest.raises(InputError, match="n = 1"):
        engine.stream("a", SamplingParams(n=2))
    with pytest.raises(InputError, match="as many continuations"):
        engine.score([[1]], [])
    with pytest.raises(InputError, match="at least one token"):
        engine.score([[]], [[1]])


def test_progress_counts_to_all(engine: Engine) -> None:
    seen: list[tuple[int, int]] = []
    engine.generate(
        ["a"] * 8, SamplingParams(max_tokens=3, n=2), on_progress=lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (16, 16)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
