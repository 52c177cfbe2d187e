"""Exams of items with known answers: choices and numbers, in the forms that the models learned.

A base model's choice is the option with the highest log P after "Question: ...\\nAnswer:", per byte unless the recipe
says otherwise; a chat model writes, and the option that its words or letter name is read. Numbers are generated
greedily. `puna.verify` reads both.
"""

import json
import string
from collections.abc import Sequence
from pathlib import Path

from puna.evals.candidate import Candidate
from puna.evals.items import Item, ItemResult, choose, find_exam, read_exam
from puna.evals.tasks.spec import TaskConfig, TaskResult, accuracy
from puna.verify import Verdict, check_choice, check_number

LETTERS = string.ascii_uppercase
TOO_LONG = "the prompt does not fit into the context"


def evaluate(config: TaskConfig, paths: Sequence[Path], candidate: Candidate) -> TaskResult:
    """Answer an exam file. Raises DataError if it is missing or holds anything but items."""
    items = choose(read_exam(find_exam(paths, config.file or config.name)), config.limit)
    results: dict[str, ItemResult] = {}
    for kind, answer in (("choice", _choices), ("number", _numbers)):
        asked = [item for item in items if item.kind == kind]
        if asked:
            results |= {result.id: result for result in answer(config, asked, candidate)}
    ordered = [results[item.id] for item in items]
    how = "words" if _writes(config, candidate) else f"nll/{config.normalise}"
    settings = {"choice_by": how} if any(item.kind == "choice" for item in items) else {"decoding": "greedy"}
    return TaskResult(ordered, [accuracy(config.name, ordered, style=candidate.style, **settings)])


def with_options(item: Item) -> str:
    """The question and a line with its options, as the village's dialogs show them."""
    return f"{item.question}\nThe choices are {', '.join(item.choices)}."


def generated(
    config: TaskConfig, items: Sequence[Item], shown: Sequence[str], ids: Sequence[list[int]], candidate: Candidate,
    stop: tuple[str, ...] = (),
) -> list[ItemResult]:  # fmt: skip
    """Greedy answers to prompts, read and judged; a prompt without room for an answer is an error, not a crash."""
    fitting = [i for i, prompt in enumerate(ids) if candidate.fits(prompt, 1)]
    completions = candidate.answer([ids[i] for i in fitting], config.max_tokens, stop)
    outputs = dict(zip(fitting, completions))
    results = []
    for i, (item, prompt) in enumerate(zip(items, shown)):
        if i not in outputs:
            results.append(result_of(config.name, item, prompt, "", Verdict("error", TOO_LONG)))
            continue
        text, cut = outputs[i].text, outputs[i].finish_reason == "length"
        if isinstance(item.answer, int):
            verdict = check_choice(text, item.choices, item.answer)
        else:
            verdict = check_number(text, item.answer)
        results.append(result_of(config.name, item, prompt, text, verdict, json.dumps({"cut_off": cut})))
    return results


def result_of(task: str, item: Item, prompt: str, output: str, verdict: Verdict, details: str = "") -> ItemResult:
    """The row of an item in items.parquet."""
    return ItemResult(
        task, item.id, item.subject, prompt, output, item.answer_text, verdict.verdict, verdict.reason,
        float(verdict.correct), 1.0, details,
    )  # fmt: skip


def _writes(config: TaskConfig, candidate: Candidate) -> bool:
    return candidate.style == "chat" or config.written


def _numbers(config: TaskConfig, items: Sequence[Item], candidate: Candidate) -> list[ItemResult]:
    if candidate.style == "chat":
        shown = [item.question for item in items]
        return generated(config, items, shown, [candidate.encode_dialog(text) for text in shown], candidate)
    shown = [candidate.prompt(item.question) for item in items]
    return generated(config, items, shown, [candidate.encode(text) for text in shown], candidate, stop=("\n",))


def _choices(config: TaskConfig, items: Sequence[Item], candidate: Candidate) -> list[ItemResult]:
    if candidate.style == "chat":
        shown = [with_options(item) for item in items]
        return generated(config, items, shown, [candidate.encode_dialog(text) for text in shown], candidate)
    if config.written:
        shown = [candidate.prompt(with_options(item)) for item in items]
        return generated(config, items, shown, [candidate.encode(text) for text in shown], candidate, stop=("\n",))
    shown = [candidate.prompt(item.question) for item in items]
    ids = [candidate.encode(text) for text in shown]
    longest = [max(len(candidate.tokenizer.encode(f" {choice}")) for choice in item.choices) for item in items]
    fitting = [i for i, prompt in enumerate(ids) if candidate.fits(prompt, longest[i] - 1)]
    options = [[f" {choice}" for choice in items[i].choices] for i in fitting]
    likelihoods = dict(zip(fitting, candidate.likelihoods([ids[i] for i in fitting], options)))
    results = []
    for i, (item, prompt) in enumerate(zip(items, shown)):
        if i not in likelihoods:
            results.append(result_of(config.name, item, prompt, "", Verdict("error", TOO_LONG)))
            continue
        values = {by: [option.normalised(by) for option in likelihoods[i]] for by in ("bytes", "tokens", "none")}
        best = {by: max(range(len(v)), key=v.__getitem__) for by, v in values.items()}
        picked = best[config.normalise]
        told = {"picked": best, "answer": item.answer, "nats_per_byte": -values["bytes"][int(item.answer)]}
        details = json.dumps({"logprobs": [round(v, 4) for v in values["none"]], **told})
        verdict = check_choice(LETTERS[picked], item.choices, int(item.answer))
        results.append(result_of(config.name, item, prompt, item.choices[picked], verdict, details))
    return results
