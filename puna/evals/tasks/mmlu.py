"""MMLU (Hendrycks 2021) from its published files: dev/SUBJECT_dev.csv (five shots) and test/SUBJECT_test.csv.

A base model is asked as in the original code and in the Llama 3 paper: five shots, the letter with the highest log P
after "Answer:". A chat model writes; its letter is read by `puna.verify`.
"""

import csv
import io
import json
import math
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from puna.base.errors import DataError
from puna.evals.candidate import Candidate, Shot
from puna.evals.items import Item, ItemResult, Score, choose
from puna.evals.statistics import Z95
from puna.evals.tasks.exam import LETTERS, TOO_LONG, generated, result_of
from puna.evals.tasks.spec import TaskConfig, TaskResult, accuracy
from puna.verify import Verdict, check_choice

INTRO = "The following are multiple choice questions (with answers) about {}.\n\n"


def evaluate(config: TaskConfig, paths: Sequence[Path], candidate: Candidate) -> TaskResult:
    """Answer MMLU's test questions. Raises DataError if the files are not there or not as published."""
    dev, test = read_mmlu(paths)
    items = choose([item for subject in sorted(test) for item in test[subject]], config.limit)
    answer = _by_writing if candidate.style == "chat" else _by_letter_likelihood
    results = answer(config, items, dev, candidate)
    total = accuracy(config.name, results, style=candidate.style, shots=config.shots)
    return TaskResult(results, [total, _macro(config.name, results)])


def read_mmlu(paths: Sequence[Path]) -> tuple[dict[str, list[Item]], dict[str, list[Item]]]:
    """(dev, test) items by subject, of an archive (.tar, .tar.gz) or a folder with dev/ and test/."""
    splits: dict[str, dict[str, list[Item]]] = {"dev": {}, "test": {}}
    for name, text in _files(paths):
        folder, stem = Path(name).parent.name, Path(name).stem
        if folder in splits and stem.endswith(f"_{folder}"):
            subject = stem.removesuffix(f"_{folder}")
            splits[folder][subject] = _items(subject, folder, text, name)
    if not splits["test"] or splits["test"].keys() - splits["dev"].keys():
        raise DataError(
            f"expected MMLU's dev/SUBJECT_dev.csv and test/SUBJECT_test.csv in {', '.join(map(str, paths))}, "
            f"found {len(splits['dev'])} and {len(splits['test'])} of them"
        )
    return splits["dev"], splits["test"]


def chat_question(item: Item) -> str:
    """The question with an option a line: "A) ..."."""
    return "\n".join([item.question, *(f"{letter}) {choice}" for letter, choice in zip(LETTERS, item.choices))])


def question_text(item: Item) -> str:
    """The question as MMLU shows it: "A. ..." lines and "Answer:" at the end."""
    options = "".join(f"\n{letter}. {choice}" for letter, choice in zip(LETTERS, item.choices))
    return f"{item.question}{options}\nAnswer:"


def _by_letter_likelihood(
    config: TaskConfig, items: Sequence[Item], dev: dict[str, list[Item]], candidate: Candidate
) -> list[ItemResult]:
    shown, ids, num_shots = [], [], []
    for item in items:
        shots = [(question_text(shot), LETTERS[int(shot.answer)]) for shot in dev[item.subject][: config.shots]]
        intro = INTRO.format(item.subject.replace("_", " "))

        def build(shots: Sequence[Shot], item: Item = item, intro: str = intro) -> list[int]:
            return candidate.encode(candidate.prompt(question_text(item), shots, intro, form="{}"))

        prompt, used = candidate.fit(build, shots, room=0)
        ids.append(prompt)
        num_shots.append(used)
        shown.append(candidate.prompt(question_text(item), shots[:used], intro, form="{}"))
    fitting = [i for i, prompt in enumerate(ids) if candidate.fits(prompt, 0)]
    options = [[f" {letter}" for letter in LETTERS[: len(items[i].choices)]] for i in fitting]
    likelihoods = dict(zip(fitting, candidate.likelihoods([ids[i] for i in fitting], options)))
    results = []
    for i, item in enumerate(items):
        if i not in likelihoods:
            results.append(result_of(config.name, item, shown[i], "", Verdict("error", TOO_LONG)))
            continue
        values = [option.logprob for option in likelihoods[i]]
        letter = LETTERS[max(range(len(values)), key=values.__getitem__)]
        told = {"shots": num_shots[i], "nats_per_byte": -likelihoods[i][int(item.answer)].normalised("bytes")}
        details = json.dumps({"logprobs": [round(v, 4) for v in values], **told})
        verdict = check_choice(letter, item.choices, int(item.answer))
        results.append(result_of(config.name, item, shown[i], letter, verdict, details))
    return results


def _by_writing(
    config: TaskConfig, items: Sequence[Item], dev: dict[str, list[Item]], candidate: Candidate
) -> list[ItemResult]:
    shown, ids = [], []
    for item in items:
        shots = [
            (chat_question(s), f"The answer is {LETTERS[int(s.answer)]}.") for s in dev[item.subject][: config.shots]
        ]
        text = chat_question(item)

        def build(kept: Sequence[Shot], text: str = text) -> list[int]:
            return candidate.encode_dialog(text, kept)

        ids.append(candidate.fit(build, shots, config.max_tokens)[0])
        shown.append(text)
    return generated(config, items, shown, ids, candidate)


def _macro(task: str, results: Sequence[ItemResult]) -> Score:
    """The mean of the subjects' accuracies, which is what Llama 3 reports; normal interval of a mean of shares."""
    subjects: dict[str, list[float]] = {}
    for result in results:
        subjects.setdefault(result.subject, []).append(result.value)
    means = [sum(values) / len(values) for values in subjects.values()]
    value = sum(means) / len(means)
    # Laplace's rule keeps the variance of a subject with all right, or none, above zero.
    variance = 0.0
    for values in subjects.values():
        share = (sum(values) + 1) / (len(values) + 2)
        variance += share * (1 - share) / len(values)
    half = Z95 * math.sqrt(variance) / len(means)
    return Score(task, "accuracy/subjects", value, (value - half, value + half), len(results), {"subjects": len(means)})


def _files(paths: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """(name, text) of the CSV files of folders and archives."""
    for path in paths:
        if path.is_dir():
            archives = sorted(path.glob("*.tar*"))
            for file in sorted(path.rglob("*.csv")):
                yield str(file.relative_to(path)), file.read_text(encoding="utf-8")
            yield from _files(archives)
        elif path.is_file():
            try:
                with tarfile.open(path) as archive:
                    for member in archive:
                        file_object = archive.extractfile(member) if member.name.endswith(".csv") else None
                        if file_object is not None:
                            yield member.name, file_object.read().decode("utf-8")
            except tarfile.TarError as error:
                raise DataError(f"{path}: expected a tar archive of MMLU, came {error}") from None
        else:
            raise DataError(f"expected MMLU at {path}, found nothing")


def _items(subject: str, split: str, text: str, name: str) -> list[Item]:
    items = []
    for number, row in enumerate(csv.reader(io.StringIO(text, newline="")), 1):
        if len(row) != 6 or row[5] not in ("A", "B", "C", "D"):
            raise DataError(
                f"{name}, row {number}: expected question, four options and a letter, came {len(row)} fields"
            )
        id_ = f"{subject}/{split}/{number - 1}"
        items.append(Item(id_, "mmlu", "choice", row[0], LETTERS.index(row[5]), subject, tuple(row[1:5])))
    return items
