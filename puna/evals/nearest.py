"""Nearest question by TF-IDF, and the option that says most nearly the same as an answer."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from puna.evals.ngram import split_words


class TfidfIndex:
    """Questions by their words: weight = count * (ln((1 + N) / (1 + df)) + 1), cosine similarity."""

    def __init__(self, questions: Sequence[str]) -> None:
        counts = [Counter(_terms(question)) for question in questions]
        self.terms = {term: i for i, term in enumerate(sorted({term for count in counts for term in count}))}
        rows = np.array([row for row, count in enumerate(counts) for _ in count], np.int64)
        columns = np.array([self.terms[term] for count in counts for term in count], np.int64)
        values = np.array([number for count in counts for number in count.values()], np.float64)
        document_frequency = np.bincount(columns, minlength=len(self.terms))
        self.num_questions = len(questions)
        self.idf = np.log((1 + len(questions)) / (1 + document_frequency)) + 1
        values *= self.idf[columns]
        norms = np.sqrt(np.bincount(rows, values**2, minlength=len(questions)))
        values /= norms[rows]
        order = np.argsort(columns, kind="stable")
        self._rows, self._values = rows[order], values[order]
        self._starts = np.concatenate([[0], np.cumsum(document_frequency)])

    def similarities(self, question: str) -> npt.NDArray[np.float64]:
        """Cosine of the question with each of the index's; words that none of them has do not count."""
        scores = np.zeros(self.num_questions)
        squares = 0.0
        for term, count in sorted(Counter(_terms(question)).items()):
            column = self.terms.get(term)
            if column is None:
                continue
            weight = count * self.idf[column]
            squares += weight * weight
            postings = slice(self._starts[column], self._starts[column + 1])
            scores[self._rows[postings]] += weight * self._values[postings]
        return scores / np.sqrt(squares) if squares else scores

    def nearest(self, question: str) -> int:
        """Position of the most similar question; the first of equals."""
        # Rounded, so that equals that were summed in another order tie.
        return int(self.similarities(question).round(9).argmax())


def most_similar(answer: str, options: Sequence[str]) -> int:
    """The option equal to the answer, else the one that shares most words with it, then most letter triples."""

    def likeness(option: str) -> tuple[bool, float, float]:
        return (
            _terms(option) == _terms(answer),
            _jaccard(set(_terms(option)), set(_terms(answer))),
            _jaccard(_triples(option), _triples(answer)),
        )

    return max(range(len(options)), key=lambda i: likeness(options[i]))


def _terms(text: str) -> list[str]:
    return [word for word in split_words(text.casefold()) if word[0].isalnum()]


def _triples(text: str) -> set[str]:
    padded = f" {text.casefold()} "
    return {padded[i : i + 3] for i in range(len(padded) - 2)}


def _jaccard(a: set[str], b: set[str]) -> float:
    return len(a & b) / len(a | b) if a | b else 0.0
