"""pass@k of a sampler whose answers are known, over all subsets; distance from a reference by the engine's scores."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from puna.base.errors import DataError
from puna.engine import Completion, Engine, SamplingParams
from puna.evals.candidate import Candidate
from puna.evals.tasks import samples
from puna.evals.tasks.spec import TaskConfig
from puna.model import Llama, LlamaConfig
from puna.tokenizer import Tokenizer

ROWS = [
    {"id": "n1", "kind": "number", "question": "What is 3 + 4?", "answer": "7"},
    {"id": "c1", "kind": "choice", "question": "Which bird fishes?", "choices": ["owl", "heron"], "answer": 1},
    {"id": "n2", "kind": "number", "question": "What is " + "1 + " * 60 + "1?", "answer": "61"},
]


@pytest.fixture
def exams(tmp_path: Path) -> Path:
    (tmp_path / "village.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


def _config(**settings: Any) -> TaskConfig:
    return TaskConfig(name="drawn", kind="samples", input="exams", file="village", **{"samples": 5, **settings})


class Drawing:
    """In place of an engine: the answers to a prompt are `say(prompt text)`, over and over."""

    def __init__(self, tokenizer: Tokenizer, say: Callable[[str], list[str]], context: int = 1000) -> None:
        self.tokenizer, self.say, self.context = tokenizer, say, context
        self.asked: list[tuple[str, SamplingParams]] = []

    def generate(self, prompts: Any, params: Any, on_progress: Any = None) -> list[Completion]:
        completions = []
        for i, (ids, one) in enumerate(zip(prompts, params, strict=True)):
            text = self.tokenizer.decode(ids)
            self.asked.append((text, one))
            answers = itertools.islice(itertools.cycle(self.say(text)), one.n)
            completions += [Completion(a, self.tokenizer.encode(a), None, "stop", i, k) for k, a in enumerate(answers)]
        return completions


def _say(prompt: str) -> list[str]:
    if "3 + 4" in prompt:
        return ["7", "8", "no idea", "It is 7.", "9"]  # 2 of 5
    return ["heron"] if "fishes" in prompt else ["60"]


def _candidate(tokenizer: Tokenizer, style: Any = "chat", context: int = 1000) -> Candidate:
    return Candidate(Drawing(tokenizer, _say, context), tokenizer, style)  # type: ignore[arg-type]


def test_scores_by_hand(tokenizer: Tokenizer, exams: Path) -> None:
    result = samples.evaluate(_config(), [exams], _candidate(tokenizer))
    assert [(one.id, one.verdict, json.loads(one.details)) for one in result.items] == [
        ("n1", "correct", {"samples": 5, "right": 2}),
        ("c1", "correct", {"samples": 5, "right": 5}),
        ("n2", "wrong", {"samples": 5, "right": 0}),
    ]
    values = {score.metric: score.value for score in result.scores}
    drawn = [True, False, False, True, False]
    for k in (1, 2, 4):
        subsets = list(itertools.combinations(drawn, k))
        assert values[f"pass@{k}"] == pytest.approx((np.mean([any(s) for s in subsets]) + 1 + 0) / 3)
    assert result.scores[0].metric == "pass@1" and values["pass@1"] == pytest.approx((2 / 5 + 1 + 0) / 3)
    texts = [*_say("3 + 4"), *["heron"] * 5, *["60"] * 5]
    assert values["length"] == pytest.approx(np.mean([len(tokenizer.encode(text)) for text in texts]))
    assert list(values) == ["pass@1", "pass@2", "pass@4", "length"]
    assert all(low <= score.value <= high for score in result.scores for low, high in [score.ci95])
    assert result.scores[0].settings == {"style": "chat", "temperature": 1.0, "samples": 5}
    assert [score.n for score in result.scores] == [3, 3, 3, 15]


def test_each_item_has_noise_of_its_own_that_no_company_changes(tokenizer: Tokenizer, exams: Path) -> None:
    both = []
    for limit in (0, 2):
        candidate = _candidate(tokenizer)
        samples.evaluate(_config(limit=limit, temperature=0.7), [exams], candidate)
        both.append(dict(candidate.engine.asked))  # type: ignore[attr-defined]
    whole, some = both
    assert len({params.seed for params in whole.values()}) == 3 and len(some) == 2
    assert all(whole[text] == params for text, params in some.items())
    assert all((params.temperature, params.n) == (0.7, 5) for params in whole.values())


@pytest.mark.parametrize("style", ["chat", "base"])
def test_prompts_are_those_of_the_exam(tokenizer: Tokenizer, exams: Path, style: str) -> None:
    candidate = _candidate(tokenizer, style)
    samples.evaluate(_config(), [exams], candidate)
    texts, params = zip(*candidate.engine.asked)  # type: ignore[attr-defined]
    if style == "base":
        assert texts[0] == "<|begin_of_text|>Question: What is 3 + 4?\nAnswer:" and params[0].stop == ("\n",)
    else:
        assert "Which bird fishes?\nThe choices are owl, heron.<|eot_id|>" in texts[1] and params[0].stop == ()


def test_a_prompt_without_room_counts_as_wrong(tokenizer: Tokenizer, exams: Path) -> None:
    result = samples.evaluate(_config(), [exams], _candidate(tokenizer, context=100))
    assert result.items[2].verdict == "error" and "does not fit" in result.items[2].reason
    assert result.scores[0].value == pytest.approx((2 / 5 + 1 + 0) / 3) and result.scores[0].n == 3
    result = samples.evaluate(_config(), [exams], _candidate(tokenizer, context=5))
    assert [score.metric for score in result.scores] == ["pass@1", "pass@2", "pass@4"]
    assert {score.value for score in result.scores} == {0.0}


def test_a_missing_exam_is_told(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected one village\.jsonl, came nothing"):
        samples.evaluate(_config(), [tmp_path], _candidate(tokenizer))


def _engine(tokenizer: Tokenizer, seed: int) -> Engine:
    shape = LlamaConfig(
        dim=32, layers=2, heads=4, kv_heads=2, ffn_dim=64, vocab_size=tokenizer.vocab_size, max_position=512
    )
    model = Llama(shape, seed=seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter *= 3
    return Engine(model, tokenizer, max_batch=8)


def test_the_distance_from_a_reference(tokenizer: Tokenizer, exams: Path) -> None:
    """0 from itself; from another model the mean of log P - log P of the reference, and positive as a KL is."""
    config, policy = _config(samples=12, max_tokens=6), _engine(tokenizer, 1)
    alone = samples.evaluate(config, [exams], Candidate(policy, tokenizer, "chat"))
    assert "kl" not in [score.metric for score in alone.scores]
    same = samples.evaluate(config, [exams], Candidate(policy, tokenizer, "chat", reference=_engine(tokenizer, 1)))
    assert same.scores[-1].metric == "kl" and same.scores[-1].value == pytest.approx(0, abs=1e-5)
    reference = _engine(tokenizer, 2)
    candidate = Candidate(policy, tokenizer, "chat", reference=reference)
    far = samples.evaluate(config, [exams], candidate)
    ids = [candidate.encode_dialog(item.prompt) for item in far.items]
    items = {item.id: item for item in samples.read_exam(exams / "village.jsonl")}
    params = [samples._params(config, items[item.id], candidate) for item in far.items]
    drawn = policy.generate(ids, params)
    prompts, answers = [ids[one.index] for one in drawn], [one.tokens for one in drawn]
    own, other = (engine.score(prompts, answers) for engine in (policy, reference))
    expected = np.mean([a.sum(dtype=np.float64) - b.sum(dtype=np.float64) for a, b in zip(own, other)])
    assert far.scores[-1].value == pytest.approx(expected, abs=1e-4) and expected > 0.5
    assert [item.output for item in far.items] == [item.output for item in alone.items]
