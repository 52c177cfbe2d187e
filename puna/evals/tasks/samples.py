"""pass@k: how likely one of k drawn answers is right; what sampling could find and a better policy would find at once.

With a reference model also how far the samples are from it: the mean over answers of log P - log P of the reference,
an estimate of the KL divergence in nats an answer.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from puna.base.rng import hash64
from puna.engine import Completion, SamplingParams
from puna.evals.candidate import Candidate
from puna.evals.items import Item, ItemResult, Score, choose, find_exam, read_exam
from puna.evals.statistics import pass_at_k, ratio_interval
from puna.evals.tasks.exam import TOO_LONG, result_of, with_options
from puna.evals.tasks.spec import TaskConfig, TaskResult
from puna.verify import Verdict, check_choice, check_number


def evaluate(config: TaskConfig, paths: Sequence[Path], candidate: Candidate) -> TaskResult:
    """Draw `samples` answers to each item; scores pass@1, 2, 4 ... samples, length, and kl if there is a reference.

    The noise of an answer depends on its item alone, so models are compared on the same draws.
    Raises DataError if the exam is missing.
    """
    items = choose(read_exam(find_exam(paths, config.file or config.name)), config.limit)
    shown = [_shown(item, candidate) for item in items]
    ids = [candidate.encode_dialog(s) if candidate.style == "chat" else candidate.encode(s) for s in shown]
    fitting = [i for i, prompt in enumerate(ids) if candidate.fits(prompt, 1)]
    params = [_params(config, items[i], candidate) for i in fitting]
    completions = candidate.samples([ids[i] for i in fitting], params)
    drawn = {i: completions[j * config.samples : (j + 1) * config.samples] for j, i in enumerate(fitting)}
    results = [_result(config, item, shown[i], drawn.get(i, [])) for i, item in enumerate(items)]
    settings = {"style": candidate.style, "temperature": config.temperature, "samples": config.samples}
    scores = [_pass_score(config, results, k, settings) for k in powers_of_two(config.samples)]
    if completions:
        lengths = [float(len(one.tokens)) for one in completions]
        scores.append(_mean_score(config.name, "length", lengths, settings))
    if candidate.reference is not None and completions:
        prompts = [ids[i] for i in fitting for _ in range(config.samples)]
        distances = _distances(candidate, prompts, completions)
        scores.append(_mean_score(config.name, "kl", distances, settings))
    return TaskResult(results, scores)


def powers_of_two(largest: int) -> list[int]:
    """1, 2, 4 ... up to `largest`."""
    return [2**i for i in range(largest.bit_length())]


def _shown(item: Item, candidate: Candidate) -> str:
    if candidate.style == "base":
        return candidate.prompt(item.question)
    return with_options(item) if item.kind == "choice" else item.question


def _params(config: TaskConfig, item: Item, candidate: Candidate) -> SamplingParams:
    return SamplingParams(
        max_tokens=config.max_tokens,
        temperature=config.temperature,
        seed=hash64(0, "pass@k", item.id),
        n=config.samples,
        stop=("\n",) if candidate.style == "base" else (),
        logprobs=candidate.reference is not None,
    )


def _result(config: TaskConfig, item: Item, shown: str, completions: Sequence[Completion]) -> ItemResult:
    """The row of an item: its first answer, and in `details` how many of all were right."""
    if not completions:
        details = json.dumps({"samples": config.samples, "right": 0})
        return result_of(config.name, item, shown, "", Verdict("error", TOO_LONG), details)
    verdicts = [_verdict(item, one.text) for one in completions]
    details = json.dumps({"samples": len(completions), "right": sum(one.correct for one in verdicts)})
    return result_of(config.name, item, shown, completions[0].text, verdicts[0], details)


def _verdict(item: Item, text: str) -> Verdict:
    if isinstance(item.answer, int):
        return check_choice(text, item.choices, item.answer)
    return check_number(text, item.answer)


def _pass_score(config: TaskConfig, results: Sequence[ItemResult], k: int, settings: Mapping[str, object]) -> Score:
    counts = [json.loads(result.details) for result in results]
    values = [pass_at_k(count["samples"], count["right"], k) for count in counts]
    return _mean_score(config.name, f"pass@{k}", values, settings)


def _mean_score(task: str, metric: str, values: Sequence[float], settings: Mapping[str, object]) -> Score:
    interval = ratio_interval(values, [1.0] * len(values))
    return Score(task, metric, sum(values) / len(values), interval, len(values), dict(settings))


def _distances(candidate: Candidate, prompts: Sequence[list[int]], completions: Sequence[Completion]) -> list[float]:
    """log P - log P of the reference of each answer, in nats."""
    assert candidate.reference is not None
    others = candidate.reference.score(prompts, [one.tokens for one in completions])
    return [
        float(np.sum(one.logprobs or (), dtype=np.float64) - other.sum(dtype=np.float64))
        for one, other in zip(completions, others, strict=True)
    ]
