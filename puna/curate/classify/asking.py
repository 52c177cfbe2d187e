"""Labels written by a language model: anything that turns prompts into texts.

What was answered is kept as it comes, so a labelling of days that is killed goes on where it was.
"""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from puna.base.records import Document
from puna.curate.classify.labels import Label
from puna.curate.classify.rubric import Rubric

Ask = Callable[[Sequence[str]], Iterable[str]]
"""Prompts -> an answer each, in their order, each as soon as it is there."""


def ask_all(
    documents: Sequence[Document],
    rubric: Rubric,
    ask: Ask,
    name: str,
    state: Path,
    batch: int = 64,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Label]:
    """A label for each document, `batch` prompts at a time; answers are kept in the file `state`."""
    answers = _read_answers(state)
    missing = [document for document in documents if document.id not in answers]
    with open(state, "a", encoding="utf-8") as file:
        for first in range(0, len(missing), batch):
            part = missing[first : first + batch]
            replies = ask([rubric.prompt(document.text) for document in part])
            for document, answer in zip(part, replies, strict=True):
                answers[document.id] = answer
                file.write(json.dumps({"id": document.id, "answer": answer}, ensure_ascii=False) + "\n")
                file.flush()
            os.fsync(file.fileno())
            progress(len(documents) - len(missing) + first + len(part), len(documents))
    return [Label(one.id, rubric.parse(answers[one.id]), name, answers[one.id]) for one in documents]


def _read_answers(state: Path) -> dict[str, str]:
    """What an earlier attempt was answered; a line that its end cut off is taken away."""
    if not state.exists():
        return {}
    content = state.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        state.write_bytes(whole)
    return {row["id"]: row["answer"] for row in map(json.loads, whole.splitlines())}
