"""The classifier on real text with honest labels: harmful requests, preferences, and what its speed costs.

python -m benchmarks.classify --data DIR [--case requests|preferences|speed] [--json]
"""

import argparse
import csv
import gzip
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.curate import _texts
from puna.base.files import read_json
from puna.base.output import Inputs, StageOutput
from puna.base.records import read_jsonl, write_jsonl
from puna.curate.classify.linear import LinearClassifier
from puna.curate.classify.measure import class_scores, macro_f1
from puna.curate.classify.scores import load_classifier
from puna.curate.classify.train import ClassifyConfig, run
from puna.curate.words import Words

_HARMFUL = {
    "safety-harmbench/advbench_behaviors.csv": "Behavior",
    "safety-harmbench/harmbench_behaviors_text_all.csv": "Behavior",
    "safety-harmbench/strongreject.csv": "forbidden_prompt",
}
_PLAIN = ("alpaca_en.jsonl.gz", "self_instruct_seed_tasks.jsonl", "self_instruct_user_oriented.jsonl")


def main() -> None:
    """Run the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--data", type=Path, required=True, help="a folder with the texts of data/README.md")
    parser.add_argument("--case", choices=["requests", "preferences", "speed"], help="one case only")
    parser.add_argument("--json", action="store_true", help="JSON lines (always printed)")
    options = parser.parse_args()
    cases: dict[str, Callable[[Path], dict[str, Any]]] = {
        "requests": requests,
        "preferences": preferences,
        "speed": speed,
    }
    for name in [options.case] if options.case else list(cases):
        print(json.dumps({"bench": "classify", "case": name, **cases[name](options.data)}))


def requests(data: Path) -> dict[str, Any]:
    """Requests of red-teaming sets beside ordinary instructions; then XSTest, whose safe ones only look unsafe."""
    classifier, report = _learn(request_rows(data))
    with open(data / "safety-xstest/xstest_prompts.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    truth = [row["label"] == "unsafe" for row in rows]
    told = (classifier.shares([row["prompt"] for row in rows])["toxic"][:, 1] > 0.5).tolist()
    apart = class_scores(truth, told)
    return report | {"xstest_macro_f1": round(macro_f1(truth, told), 4), "xstest_unsafe": apart[True]._asdict()}


def preferences(data: Path) -> dict[str, Any]:
    """Replies that a person found less harmless than another to the same question, beside those: labels of a pair."""
    return _learn(preference_rows(data))[1]


def speed(data: Path) -> dict[str, Any]:
    """MB/s on one core from texts to probabilities, beside the tokenization that this needs."""
    texts = list(_texts(data))
    random.Random(1).shuffle(texts)
    texts = texts[:800]
    draw = np.random.default_rng(0)
    heads = {"quality": tuple("012345"), "domain": tuple("abcdefghijklm"), "toxic": ("no", "yes")}
    weights = draw.normal(size=(1 << 18, 21)).astype(np.float32)
    classifier = LinearClassifier(heads, weights, np.zeros(21, np.float32), 2)
    megabytes = sum(len(text.encode()) for text in texts) / 1e6

    rates = []
    for number in range(8):
        pair = [
            _rate(megabytes, lambda: classifier.shares(texts)),
            _rate(megabytes, lambda: [Words(text) for text in texts]),
        ]
        rates += [pair] if number else []  # the first compiles
    ratios = [ours / words for ours, words in rates]
    return {
        "megabytes": round(megabytes, 1),
        "classified_mb_per_s": round(statistics.median(ours for ours, _ in rates), 1),
        "tokenized_mb_per_s": round(statistics.median(words for _, words in rates), 1),
        "ratio": [round(value, 2) for value in (statistics.median(ratios), min(ratios), max(ratios))],
    }


def _rate(megabytes: float, work: Callable[[], object]) -> float:
    """MB a second of processor time: the machine may have other work."""
    began = time.process_time()
    work()
    return megabytes / (time.process_time() - began)


def request_rows(data: Path) -> list[dict[str, Any]]:
    """Labelled requests, each text once."""
    texts: dict[str, bool] = {}
    for name, column in _HARMFUL.items():
        with open(data / name, encoding="utf-8", newline="") as file:
            texts |= {row[column].strip(): True for row in csv.DictReader(file)}
    for name in _PLAIN:
        for row in read_jsonl(data / "sft-instructions" / name):
            texts.setdefault(f"{row['instruction']} {row.get('input') or ''}".strip(), False)
    return [{"text": text, "toxic": toxic} for text, toxic in texts.items() if text]


def preference_rows(data: Path) -> list[dict[str, Any]]:
    """The last reply of each dialog of harmless-base: toxic means that it was the rejected one."""
    return list(_replies(data / "pref-hh-rlhf/harmless-base.jsonl.gz"))


def _replies(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            for side in ("chosen", "rejected"):
                text = row[side].rpartition("\n\nAssistant:")[2].strip()
                if text:
                    yield {"text": text, "toxic": side == "rejected"}


def _learn(rows: list[dict[str, Any]]) -> tuple[LinearClassifier, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        write_jsonl(Path(folder) / "labels.jsonl", rows)
        out = StageOutput(Path(folder) / "out", seed=0)
        run(ClassifyConfig(), Inputs({"labels": Path(folder) / "labels.jsonl"}), out)
        classifier, summary = load_classifier(out.path), read_json(out.path / "report.json")
    assert isinstance(classifier, LinearClassifier)
    head = summary["heads"]["toxic"]
    names = ("macro_f1", "accuracy", "calibration_error_before", "calibration_error")
    found = {name: round(head[name], 4) for name in names}
    yes = {name: round(value, 4) for name, value in head["classes"]["yes"].items()}
    return classifier, {"labels": summary["labels"], **found, "harmful": yes}


if __name__ == "__main__":
    main()
