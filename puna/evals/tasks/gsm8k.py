"""GSM8K (Cobbe 2021): grade-school word problems, `{"question", "answer"}` with the answer ending `#### N`.

Shots are taken from the training file, their calculator marks <<...>> removed and `#### N` said as "The answer is N."
"""

import re
from collections.abc import Sequence
from pathlib import Path

from puna.base.errors import DataError
from puna.base.records import read_jsonl
from puna.base.rng import hash64
from puna.evals.candidate import Candidate, Shot
from puna.evals.items import Item, choose
from puna.evals.tasks.exam import generated
from puna.evals.tasks.spec import TaskConfig, TaskResult, accuracy

# A base model goes on with a next question after its answer.
STOP = ("\nQuestion:", "\n\n")


def evaluate(config: TaskConfig, paths: Sequence[Path], candidate: Candidate) -> TaskResult:
    """Answer GSM8K's test problems. Raises DataError if a file is missing or not as published."""
    items = choose(read_gsm8k(_file(paths, "test")), config.limit)
    shots = worked_shots(_file(paths, "train"), config.shots) if config.shots else []
    shown, ids = [], []
    for item in items:

        def build(kept: Sequence[Shot], item: Item = item) -> list[int]:
            if candidate.style == "chat":
                return candidate.encode_dialog(item.question, kept)
            return candidate.encode(candidate.prompt(item.question, kept))

        prompt, used = candidate.fit(build, shots, config.max_tokens)
        ids.append(prompt)
        shown.append(candidate.prompt(item.question, shots[:used]) if candidate.style == "base" else item.question)
    stop = STOP if candidate.style == "base" else ()
    results = generated(config, items, shown, ids, candidate, stop)
    return TaskResult(results, [accuracy(config.name, results, style=candidate.style, shots=config.shots)])


def read_gsm8k(path: Path) -> list[Item]:
    """Items of a file; the answer is what stands after `####`."""
    return [
        Item(f"{path.name.split('.')[0]}/{i}", "gsm8k", "number", question, _final(answer, path, i))
        for i, (question, answer) in enumerate(_rows(path))
    ]


def worked_shots(path: Path, num_shots: int) -> list[Shot]:
    """Problems of the training file with their working, chosen by hash, so that no order of the file matters."""
    rows = sorted(_rows(path), key=lambda row: hash64(0, "shot", row[0]))
    if len(rows) < num_shots:
        raise DataError(f"{path}: expected at least {num_shots} problems to show, found {len(rows)}")
    return [(question, worked(answer, _final(answer, path, 0))) for question, answer in rows[:num_shots]]


def worked(answer: str, final: str) -> str:
    """A GSM8K solution as text: without calculator marks, ending "The answer is N."."""
    working = re.sub(r"<<[^>]*>>", "", answer.split("####")[0]).strip()
    return f"{working}\nThe answer is {final}."


def _rows(path: Path) -> list[tuple[str, str]]:
    rows = [(str(row.get("question", "")), str(row.get("answer", ""))) for row in read_jsonl(path)]
    if not rows:
        raise DataError(f"{path}: expected GSM8K problems, found none")
    return rows


def _final(answer: str, path: Path, number: int) -> str:
    final = answer.rpartition("####")[2].strip().replace(",", "")
    if "####" not in answer or not re.fullmatch(r"-?\d+(\.\d+)?", final):
        raise DataError(f'{path}, problem {number}: expected an answer ending "#### N", came {answer[-40:]!r}')
    return final


def _file(paths: Sequence[Path], split: str) -> Path:
    """The file of a split among files and in folders: test.jsonl, train.jsonl.gz, test-first-half.jsonl ..."""
    files = [file for path in paths for file in (sorted(path.glob("*.jsonl*")) if path.is_dir() else [path])]
    found = [file for file in files if re.match(rf"{split}\b", file.name)]
    if len(found) != 1:
        raise DataError(
            f"expected one {split}*.jsonl of GSM8K, came {sorted(file.name for file in files) or 'nothing'}"
        )
    return found[0]
