"""The stage `languages`: labelled sentences -> a model that tells a text's language, measured on sentences held back.

Naive Bayes over hashed character n-grams of words (Cavnar and Trenkle 1994 counted them; here they vote by log
probability): counting is all the training there is, so a hundred languages take seconds.

B buckets of n-grams, L languages.
"""

import csv
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from puna.base.config import Config
from puna.base.errors import ArtifactError, DataError
from puna.base.output import Inputs, StageOutput
from puna.base.records import open_text, read_jsonl
from puna.base.rng import generator
from puna.curate.language.detect import UNKNOWN, detect_language
from puna.curate.language.iso639 import two_letters
from puna.curate.text.tokens import code_points, mix

MODEL_FILE = "languages.npz"
_SAMPLE_CHARS = 2000
_SMOOTHED_AMONG = 100_000


class LanguagesConfig(Config):
    """ngram: the longest n-gram in characters; buckets: 2 to this power; smoothing: added to every count in 100,000.

    heldout: the share of each language's sentences that the model is measured on and never sees. max_sentences: of a
    language at most so many, by chance. columns: further columns of the files whose texts are all in one language.
    """

    ngram: int = Field(default=4, ge=1, le=8)
    buckets: int = Field(default=16, ge=8, le=24)
    smoothing: float = Field(default=0.1, gt=0)
    heldout: float = Field(default=0.2, gt=0, lt=1)
    max_sentences: int = Field(default=2000, ge=2)
    columns: dict[str, str] = Field(default_factory=dict)


class LanguageModel:
    """`weights` [B, L]: log of the share of each bucket, and a floor, in each of `codes` (two letters if possible)."""

    def __init__(self, codes: Sequence[str], weights: NDArray[np.float32], ngram: int) -> None:
        self.codes, self.weights, self.ngram = tuple(codes), weights, ngram

    @classmethod
    def train(cls, sentences: Iterable[tuple[str, str]], config: LanguagesConfig) -> "LanguageModel":
        """From (code, text) pairs in any order."""
        counts: dict[str, NDArray[np.float32]] = defaultdict(lambda: np.zeros(1 << config.buckets, np.float32))
        for code, text in sentences:
            np.add.at(counts[code], _buckets(text, config.ngram, 1 << config.buckets), np.float32(1))
        codes = sorted(counts)
        table = np.stack([counts[code] for code in codes], axis=1)
        # The same floor for all: by counts, what nobody has seen would speak for the language with fewest sentences.
        floor = np.float32(config.smoothing / _SMOOTHED_AMONG)
        return cls(codes, np.log(table / table.sum(0) + floor), config.ngram)

    @classmethod
    def load(cls, path: Path) -> "LanguageModel":
        """That of a `languages` stage (or its file). Raises ArtifactError if it is none."""
        file = path / MODEL_FILE if path.is_dir() else path
        try:
            with open(file, "rb") as handle, np.load(handle, allow_pickle=False) as stored:
                codes, weights = stored["codes"].tolist(), stored["weights"].astype(np.float32)
                return cls(codes, weights, int(stored["ngram"]))
        except (OSError, EOFError, KeyError, ValueError, BadZipFile) as error:
            raise ArtifactError(
                f"expected a model of languages at {file}, came {error}; run a languages stage"
            ) from None

    def save(self, path: Path) -> None:
        """Write the model; half precision, which changes no decision that is not a toss-up."""
        np.savez(path, codes=np.array(self.codes), weights=self.weights.astype(np.float16), ngram=self.ngram)

    def identify(self, text: str) -> str:
        """The likeliest language of the first 2,000 characters; "unknown" without a letter."""
        buckets = _buckets(text[:_SAMPLE_CHARS], self.ngram, len(self.weights))
        if not len(buckets) or not any(map(str.isalpha, text[:_SAMPLE_CHARS])):
            return UNKNOWN
        return self.codes[int(_votes(buckets, self.weights).argmax())]


def run(config: LanguagesConfig, inputs: Inputs, out: StageOutput) -> None:
    """Train and measure. Input `sentences`: .tsv with the columns lang and text, or .jsonl with these fields.

    Raises DataError if a file is unreadable or there are fewer than two languages.
    """
    found = (pair for path in inputs.many("sentences") for pair in _read(path, config.columns))
    sentences = [(two_letters(code), text) for code, text in found]
    kept, held = _split(sentences, config, out.seed)
    if len({code for code, _ in kept}) < 2:
        raise DataError(f"expected sentences of at least two languages, came {len({code for code, _ in sentences})}")
    if not out.done(MODEL_FILE):
        with out.unit(MODEL_FILE) as unit:
            LanguageModel.train(kept, config).save(unit.path)
    model = LanguageModel.load(out.path)
    truth = [code for code, _ in held]
    by_model = f1_scores(truth, [model.identify(text) for _, text in held])
    by_profile = f1_scores(truth, [detect_language(text) for _, text in held])
    mean, without = (float(np.mean(list(scores.values()))) for scores in (by_model, by_profile))
    out.metric(languages=len(model.codes), sentences=len(kept), heldout=len(held))
    out.metric(macro_f1=mean, macro_f1_without=without)
    hardest_first = sorted(by_model.items(), key=lambda item: item[1])
    rows = [[code, truth.count(code), round(f1, 3), round(by_profile[code], 3)] for code, f1 in hardest_first]
    note = (
        f"Macro F1 on sentences held back: {mean:.3f}; by script, stop words and resiliparse's profiles {without:.3f}"
    )
    columns = ["language", "sentences", "F1", "F1 without the model"]
    out.panel("table", "Languages told apart", columns=columns, rows=rows, note=note)


def f1_scores(truth: Sequence[str], told: Sequence[str]) -> dict[str, float]:
    """F1 of each language that occurs in `truth`."""
    pairs = list(zip(truth, told, strict=True))
    scores = {}
    for code in sorted(set(truth)):
        both = sum(a == b == code for a, b in pairs)
        scores[code] = 2 * both / (sum(a == code for a, _ in pairs) + sum(b == code for _, b in pairs))
    return scores


def _read(path: Path, columns: dict[str, str]) -> Iterator[tuple[str, str]]:
    if ".jsonl" in path.name or ".ndjson" in path.name:
        rows: Iterable[dict[str, Any]] = read_jsonl(path)
    else:
        try:
            with open_text(path) as file:
                rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"expected labelled sentences at {path}, came {error}") from None
    for number, row in enumerate(rows, 1):
        texts = [row.get(name) for name in ("lang", "text", *columns)]
        if not all(isinstance(text, str) for text in texts):
            wanted = ", ".join(("lang", "text", *columns))
            raise DataError(f"{path}: row {number}: expected texts in {wanted}, came {sorted(map(str, row))}")
        code, *rest = map(str, texts)
        yield from zip((code, *columns.values()), rest, strict=True)


def _split(
    sentences: list[tuple[str, str]], config: LanguagesConfig, seed: int
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Sentences kept and held back, of each language by chance; a sentence that stands twice stays on one side."""
    by_code: dict[str, list[str]] = defaultdict(list)
    for code, text in dict.fromkeys(sentences):
        by_code[code].append(text)
    kept, held = [], []
    for code, texts in sorted(by_code.items()):
        order = generator(seed, "languages", code).permutation(len(texts))[: config.max_sentences]
        num_held = min(len(order) - 1, max(1, round(config.heldout * len(order))))
        held += [(code, texts[place]) for place in order[:num_held]]
        kept += [(code, texts[place]) for place in order[num_held:]]
    return kept, held


def _buckets(text: str, ngram: int, num_buckets: int) -> NDArray[np.int64]:
    """The bucket of every n-gram of the words, a space in front and behind each."""
    codes = code_points(f" {' '.join(text.lower().split())} ")
    found = np.empty(len(codes) * ngram, np.int64)
    return found[: _fill(codes, ngram, num_buckets, found)]


@njit(cache=True, nogil=True)
def _fill(codes, ngram, num_buckets, found):  # type: ignore[no-untyped-def]
    count, mask = 0, np.uint64(num_buckets - 1)
    for first in range(len(codes)):
        value = np.uint64(0xCBF29CE484222325)
        for last in range(first, min(len(codes), first + ngram)):
            value = (value ^ np.uint64(codes[last])) * np.uint64(0x100000001B3)
            is_space = codes[last] == 32
            if not (is_space and last == first):
                found[count] = np.int64(mix(value) & mask)
                count += 1
                if is_space:
                    break
    return count


@njit(cache=True, nogil=True)
def _votes(buckets, weights):  # type: ignore[no-untyped-def]
    """Log probability of the n-grams in each language, [L]."""
    votes = np.zeros(weights.shape[1], np.float64)
    for bucket in buckets:
        for language in range(weights.shape[1]):
            votes[language] += weights[bucket, language]
    return votes
