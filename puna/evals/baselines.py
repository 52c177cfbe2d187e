"""The stage `baselines`: what can be had without understanding, to stand beside every exam score.

majority   the commonest answer of the training items
ngram      a word n-gram model of the training text: the likeliest option, or its greedy working
nearest    the answer of the training item whose question shares most words (TF-IDF, cosine)
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

import pydantic

from puna.base.config import Config
from puna.base.errors import DataError
from puna.base.output import Inputs, StageOutput
from puna.base.records import read_documents
from puna.base.rng import hash64
from puna.evals.items import (
    Item,
    ItemResult,
    TrainingItem,
    choose,
    find_exam,
    read_exam,
    read_results,
    read_training_items,
    write_results,
)
from puna.evals.nearest import TfidfIndex, most_similar
from puna.evals.ngram import NgramModel, split_words
from puna.evals.publish import publish, scores_table
from puna.evals.tasks.spec import accuracy
from puna.verify import Verdict, check_number, extract_number

METHODS = ("majority", "ngram", "nearest")
_MAX_WORDS = 80
"""Of a greedy working: as long as those of three or four steps."""


class BaselinesConfig(Config):
    """tasks: names of the exams. limit: items of each, the same ones that `evaluate` takes with this limit.

    order: of the n-grams. corpus_bytes: of text for counting; of more, documents are taken by the hash of their id.
    """

    tasks: list[str] = pydantic.Field(min_length=1)
    limit: int = pydantic.Field(0, ge=0)
    order: int = pydantic.Field(5, ge=2, le=8)
    corpus_bytes: int = pydantic.Field(8_000_000, ge=1)


def run(config: BaselinesConfig, inputs: Inputs, out: StageOutput) -> None:
    """exams, training_items, documents -> scores.json, items.parquet, tasks/NAME.parquet."""
    learned = _Learned(config, inputs)
    for number, task in enumerate(config.tasks):
        name = f"tasks/{task}.parquet"
        if not out.done(name):
            items = choose(read_exam(find_exam(inputs.many("exams"), task)), config.limit)
            with out.unit(name) as unit:
                answers = {method: learned.answers(method, items) for method in METHODS}
                results = {m: [_judged(task, m, item, a) for item, a in zip(items, answers[m])] for m in METHODS}
                write_results(unit.path, [result for several in results.values() for result in several])
                scores = [accuracy(task, several, f"accuracy/{method}") for method, several in results.items()]
                unit.info["scores"] = [asdict(score) for score in scores]
        out.progress(number + 1, len(config.tasks), "tasks")
    units = [f"tasks/{task}.parquet" for task in config.tasks]
    all_scores = [{**score, "headline": False} for unit_name in units for score in out.info(unit_name)["scores"]]
    publish(all_scores, [result for unit_name in units for result in read_results(out.path / unit_name)], out)
    scores_table(all_scores, out)


class _Learned:
    """What the baselines know, counted when it is first needed. An answer is an option's text or a number's."""

    def __init__(self, config: BaselinesConfig, inputs: Inputs) -> None:
        self.config, self.inputs = config, inputs

    def answers(self, method: str, items: Sequence[Item]) -> list[str]:
        """Each item's answer by one of METHODS."""
        if method == "ngram":
            return self._ngram(items)
        answer = self._majority if method == "majority" else self._nearest
        return [answer(item) for item in items]

    @cached_property
    def training(self) -> list[TrainingItem]:
        found = [item for path in self.inputs.many("training_items") for item in read_training_items(path)]
        if not found:
            raise DataError("training_items: expected questions with answers, came none")
        return found

    @cached_property
    def numeric(self) -> list[TrainingItem]:
        """Training items with a number for an answer."""
        found = [item for item in self.training if extract_number(item.answer) is not None]
        if not found:
            raise DataError("training_items: expected some with a number for an answer, came none")
        return found

    @cached_property
    def model(self) -> NgramModel:
        return NgramModel(corpus(self.inputs.many("documents"), self.config.corpus_bytes), self.config.order)

    @cached_property
    def _indexes(self) -> dict[str, TfidfIndex]:
        return {
            "choice": TfidfIndex([item.question for item in self.training]),
            "number": TfidfIndex([item.question for item in self.numeric]),
        }

    @cached_property
    def _answer_counts(self) -> Counter[str]:
        return Counter(_plain(item.answer) for item in self.training)

    def _majority(self, item: Item) -> str:
        if item.kind == "choice":
            return max(item.choices, key=lambda choice: self._answer_counts[_plain(choice)])
        return self._majority_numbers.get(item.task, self._majority_numbers[""])

    @cached_property
    def _majority_numbers(self) -> dict[str, str]:
        """The commonest number of each task's training items, and of all under ""."""
        counts: dict[str, Counter[str]] = {}
        for training in self.numeric:
            for task in (training.task, ""):
                counts.setdefault(task, Counter())[extract_number(training.answer) or ""] += 1
        return {task: max(c, key=lambda number: (c[number], number)) for task, c in counts.items()}

    def _nearest(self, item: Item) -> str:
        pool = self.training if item.kind == "choice" else self.numeric
        answer = pool[self._indexes[item.kind].nearest(item.question)].answer
        if item.kind == "choice":
            return item.choices[most_similar(answer, item.choices)]
        return extract_number(answer) or ""

    def _ngram(self, items: Sequence[Item]) -> list[str]:
        choices = [item for item in items if item.kind == "choice"]
        numbers = [item for item in items if item.kind == "number"]
        answers = dict(zip((item.id for item in choices), self._likeliest_options(choices)))
        answers |= dict(zip((item.id for item in numbers), self._worked_numbers(numbers)))
        return [answers[item.id] for item in items]

    def _likeliest_options(self, items: Sequence[Item]) -> list[str]:
        """The option with the highest log P per byte after the base prompt, as a base model is scored."""
        pairs = [(_prompt(item), f" {choice}") for item in items for choice in item.choices]
        scores = iter(self.model.logprob(pairs)) if pairs else iter(())
        return [
            item.choices[max(range(len(values)), key=values.__getitem__)]
            for item in items
            for values in [[float(next(scores)) / len(f" {choice}".encode()) for choice in item.choices]]
        ]

    def _worked_numbers(self, items: Sequence[Item]) -> list[str]:
        """The number in the greedy working; if it holds none, the likeliest number after "The answer is"."""
        if not items:
            return []
        texts = self.model.complete([_prompt(item) for item in items], _MAX_WORDS)
        return [extract_number(text) or self._likeliest_number for text in texts]

    @cached_property
    def _likeliest_number(self) -> str:
        numbers = [word for word in self.model.words if word[0].isdecimal()]
        if not numbers:
            return ""
        scores = self.model.logprob([("The answer is", f" {number}") for number in numbers])
        return numbers[int(scores.argmax())]


def corpus(folders: Sequence[Path], max_bytes: int) -> list[str]:
    """Texts of documents up to `max_bytes`, in the order of their ids' hashes: a fair sample of a larger corpus."""
    documents = (document for folder in folders for document in read_documents(folder))
    ranked = sorted((hash64(0, "corpus", document.id), document.id, document.text) for document in documents)
    texts: list[str] = []
    size = 0
    for _, _, text in ranked:
        size += len(text.encode())
        if texts and size > max_bytes:
            break
        texts.append(text)
    return texts


def _judged(task: str, method: str, item: Item, answer: str) -> ItemResult:
    if item.kind == "choice":
        right = answer == item.answer_text
        verdict = Verdict("correct" if right else "wrong", f"{answer!r} was taken")
    else:
        verdict = check_number(answer, item.answer_text)
    return ItemResult(
        f"{task}/{method}", item.id, item.subject, _prompt(item), answer, item.answer_text, verdict.verdict,
        verdict.reason, float(verdict.correct), 1.0,
    )  # fmt: skip


def _prompt(item: Item) -> str:
    return f"Question: {item.question}\nAnswer:"


def _plain(text: str) -> str:
    return " ".join(split_words(text.casefold())).strip(" .")
