"""Points that others published, as columns."""

import csv
import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from puna.scaling.fit.points import Float64

# Runs that Muennighoff 2023 left out of the fit of R*_D and R*_N by hand, beside those of several seeds or shapes.
_LEFT_OUT = """
2b84b4b 2b88b4b 2b812b4b 2b816b4b 2b824b4b 2b855b1b25 4b212b12b 4b224b12b 4b284b1b9 4b284b6b 2b8100m100m
14m7b5100m 14m300b100m 1b12b7100m 1b13b9100m 1b15b9100m 1b17b5100m 619m3b9100m 619m5b9100m 619m7b5100m 2b84b8100m
1b58b8100m 1b112b100m 619m22b100m 421m300b1b5 221m91b400m 221m174b400m 221m600b400m 8b712b12b 8b712b1b5 8b712b400m
8b712b100m 3b926b1b5 2b836b1b5 2b836b400m 2b836b100m 2b246b400m 2b246b100m 1b566b1b5 1b566b100m 1b191b400m 1b191b1b5
1b1250b1b5 1b5174b1b5 2b291b1b5 2b2174b1b5 8b720b1b5 2b877b1b5
"""
# The 17 tasks whose errors Gadre 2024 averages.
_TASKS = """
arc_easy bigbench_cs_algorithms bigbench_dyck_languages bigbench_novel_concepts bigbench_operators bigbench_qa_wikidata
boolq commonsense_qa copa coqa hellaswag hellaswag_zeroshot lambada_openai piqa pubmed_qa_labeled squad winograd
"""
SCORES = ("MMLU", "ARC-C", "HellaSwag", "Winograd", "TruthfulQA", "GSM8K", "XWinograd", "HumanEval")


def chinchilla(data: Path) -> tuple[Float64, Float64, Float64]:
    """Parameters, tokens and losses of figure 4 of Hoffmann 2022 [245]."""
    rows = _rows(data / "scaling-chinchilla/svg_extracted_data.csv")
    parameters, flops, losses = (_column(rows, name) for name in ("Model Size", "Training FLOP", "loss"))
    return parameters, flops / (6 * parameters), losses


def repeated(data: Path, chosen: str) -> tuple[Float64, Float64, Float64, Float64]:
    """Parameters, tokens, unique tokens and losses; chosen: the 182 `fitted`, or the 62 of `few` epochs (2.5)."""
    rows = _rows(data / "scaling-datablations/points.csv")
    if chosen == "fitted":
        rows = [
            row
            for row in rows
            if row["name"] not in _LEFT_OUT.split() and not ("seed" in row["name"] or "opt" in row["name"])
        ]
    else:
        rows = [row for row in rows if float(row["tokens"]) <= 2.5 * float(row["unique_tokens"])]
    parameters, tokens, unique, losses = (
        _column(rows, name) for name in ("params", "tokens", "unique_tokens", "val_loss")
    )
    return parameters, tokens, unique, losses


def overtrained(data: Path, corpus: str) -> dict[str, Float64]:
    """parameters, tokens, over (times 20 tokens a parameter), losses on C4, errors over 17 tasks, of each run.

    And the accuracy on hellaswag_zeroshot and lambada_openai.
    """
    errors, accuracies = {}, {}
    for row in _lines(data / "scaling-overtrain/evals.jsonl.gz"):
        name = row["_file"].removeprefix("evaluation_").removesuffix("_heavy.json")
        scores = row["eval_metrics"]["icl"]
        errors[name] = 1 - float(np.mean([scores[task] for task in _TASKS.split()]))
        accuracies[name] = (scores["hellaswag_zeroshot"], scores["lambada_openai"])
    runs = []
    for row in _lines(data / "scaling-overtrain/models.jsonl.gz"):
        if row["dataset_name"] == corpus:
            how = row["hyperparameters"]
            (loss,) = [result["loss"] for result in row["results"] if "c4_val" in result["val_data"][0]]
            name = row["name"]
            multiple = how["chinchilla_multiplier"]
            runs.append((how["params"], how["tokens"], multiple, loss, errors[name], *accuracies[name]))
    names = ("parameters", "tokens", "over", "losses", "errors", "hellaswag_zeroshot", "lambada_openai")
    return dict(zip(names, np.array(runs, np.float64).T, strict=True))


def observational(data: Path) -> tuple[list[str], Float64, Float64, list[str], dict[str, Float64]]:
    """Names, scores [M, T], FLOPs [M] (nan where unknown) and families of public models; further tasks' scores [M]."""
    rows = _rows(data / "scaling-observational/base_llm_benchmark_eval.csv")
    scores = np.stack([_column(rows, name) for name in SCORES], 1)
    other = {row["Model"]: row for row in _rows(data / "scaling-observational/base_llm_emergent_capability_eval.csv")}
    tasks = {
        task: np.array([_number(other.get(row["Model"], {}).get(task, "")) for row in rows])
        for task in next(iter(other.values()))
        if task != "Model"
    }
    flops, families = 1e21 * _column(rows, "FLOPs (1E21)"), [row["Model Family"] for row in rows]
    return [row["Model"] for row in rows], scores, flops, families, tasks


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _column(rows: list[dict[str, str]], name: str) -> Float64:
    return np.array([_number(row[name]) for row in rows])


def _number(text: str) -> float:
    return float(text) if text.strip() else math.nan
