"""Tables of runs: every form of file gives the same points, columns go by their usual names, and what is refused."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from puna.base.errors import ConfigError, DataError
from puna.base.files import write_json
from puna.scaling.fit.table import read_points

ROWS: list[dict[str, Any]] = [
    {"name": "a", "Model Size": 1e6, "train-tokens": 2e7, "val_loss": 4.5},
    {"name": "b", "Model Size": 2e6, "train-tokens": 2e7, "val_loss": 4.25},
    {"name": "c", "Model Size": 2e6, "train-tokens": 8e7, "val_loss": 4.0},
]


def _csv(path: Path, delimiter: str = ",") -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(ROWS)


def _lines() -> str:
    return "".join(json.dumps(row) + "\n" for row in ROWS)


FORMS: dict[str, Callable[[Path], object]] = {
    "runs.csv": _csv,
    "runs.tsv": lambda path: _csv(path, "\t"),
    "runs.jsonl": lambda path: path.write_text(_lines()),
    "runs.jsonl.gz": lambda path: path.write_bytes(gzip.compress(_lines().encode())),
    "runs.json": lambda path: path.write_text(json.dumps(ROWS)),
    "runs.parquet": lambda path: pq.write_table(pa.Table.from_pylist(ROWS), path),
}


@pytest.mark.parametrize("name", list(FORMS))
def test_every_form_gives_the_same_points(tmp_path: Path, name: str) -> None:
    FORMS[name](tmp_path / name)
    points = read_points([tmp_path / name])
    assert points.names == ("a", "b", "c") and points.left_out == 0 and points.unique is None
    assert points.parameters.tolist() == [1e6, 2e6, 2e6] and points.tokens.tolist() == [2e7, 2e7, 8e7]
    assert points.loss.tolist() == [4.5, 4.25, 4.0]
    assert points.flops.tolist() == [1.2e14, 2.4e14, 9.6e14]


def test_two_of_three_are_enough_and_rows_without_a_number_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("N,Training FLOP,D,loss\n8B,4.8e21,,2.5\n,6e18,1e9,3\n2e9,,1e10,\n2e9,,1e10,2.75\n")
    points = read_points([path])
    assert points.parameters.tolist() == [8e9, 1e9, 2e9] and points.tokens.tolist() == [1e11, 1e9, 1e10]
    assert points.flops.tolist() == [4.8e21, 6e18, 1.2e20] and points.left_out == 1
    assert points.names == ("row 1", "row 2", "row 4")


def test_columns_are_named_and_nested_ones_have_dots(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text('{"how": {"params": 1e6, "seen": 2e7}, "loss": 4, "loss_c4": 3.5, "seen": {"once": 1e7}}\n')
    named = {"parameters": "how.params", "tokens": "how.seen", "loss": "loss_c4", "unique": "seen.once"}
    points = read_points([path], named)
    assert (points.parameters[0], points.tokens[0], points.loss[0]) == (1e6, 2e7, 3.5)
    assert points.unique is not None and points.unique.tolist() == [1e7]


def test_a_ladder_its_folder_and_a_run_give_its_runs(tmp_path: Path) -> None:
    run = {"name": "32x2-1024", "parameters": 100, "tokens": 1024, "flops": 614_400.0, "loss": 5.0, "curve": [[1, 5.0]]}
    for seed in (0, 1):
        folder = tmp_path / f"artifacts/ladder-{seed}"
        folder.mkdir(parents=True)
        write_json(folder / "ladder.json", {"tokenizer": "t", "seed": seed, "runs": [{**run, "loss": 5.0 + seed}]})
        (tmp_path / f"seed-{seed}").mkdir()
        (tmp_path / f"seed-{seed}/ladder").symlink_to(folder)
    (tmp_path / "ladder").symlink_to(tmp_path / "artifacts/ladder-0")
    for place in ("ladder/ladder.json", "ladder"):
        assert read_points([tmp_path / place]).loss.tolist() == [5.0]
    assert sorted(read_points([tmp_path]).loss.tolist()) == [5.0, 6.0]  # both seeds, each once
    points = read_points([tmp_path / "ladder"])
    assert points.names == ("32x2-1024",) and points.flops.tolist() == [614_400.0]


@pytest.mark.parametrize(
    ("name", "content", "columns", "message"),
    [
        ("r.csv", "N,D\n1,2\n", {}, "expected columns parameters, tokens .* and loss, came N, D; name them"),
        ("r.csv", "loss,N\n1,2\n", {}, "expected columns parameters, tokens"),
        ("r.csv", "N,D,loss\n1,many,3\n", {}, "row 1, D: expected a number such as 3.2, 8B or 1.4e12, came 'many'"),
        ("r.csv", "N,D,loss\n1,2,\n", {}, "expected rows with parameters, tokens and loss, came none"),
        ("r.csv", "N,D,loss\n1,2,3\n", {"loss": "los"}, "expected a column 'los', came N, D, loss; did you mean"),
        ("r.jsonl", "[1, 2]\n", {}, "expected JSONL with a run a row, came list instead of an object"),
        ("r.jsonl", "{", {}, "expected JSONL with a run a row"),
        ("r.parquet", "no", {}, "expected PARQUET with a run a row"),
        ("r.json", "{}", {}, "expected JSON with a run a row, came no list of runs"),
        ("r.txt", "", {}, "expected a file named .csv, .tsv, .jsonl, .json, .parquet, or a folder of a ladder"),
    ],
)
def test_what_is_no_table_is_refused(
    tmp_path: Path, name: str, content: str, columns: dict[str, str], message: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_points([tmp_path / name], columns)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a file or folder at .*none.csv, found none"):
        read_points([tmp_path / "none.csv"])
    with pytest.raises(DataError, match="came a folder without ladder.json"):
        read_points([tmp_path])
    with pytest.raises(ConfigError, match="came 'toks'; did you mean \"tokens\""):
        read_points([tmp_path / "none.csv"], {"toks": "a"})


def test_masks_keep_all_columns(tmp_path: Path) -> None:
    _csv(tmp_path / "runs.csv")
    kept = read_points([tmp_path / "runs.csv"]).only(np.array([True, False, True]))
    assert kept.names == ("a", "c") and kept.loss.tolist() == [4.5, 4.0] and kept.flops.tolist() == [1.2e14, 9.6e14]
