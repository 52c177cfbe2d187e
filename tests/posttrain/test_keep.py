"""A round is kept or rolled back by a paired test; what stays is that model with its own scores."""

from pathlib import Path
from typing import Any

import pytest

from puna.base.errors import DataError, PunaError
from puna.base.files import read_json, write_json
from puna.base.output import Inputs, StageOutput
from puna.evals.items import ItemResult, write_results
from puna.posttrain.keep import KeepConfig, run

Right = dict[str, str]
"""Verdicts of a task's items, a letter each: correct, wrong, error."""
_VERDICTS = {"c": "correct", "w": "wrong", "e": "error"}


def _model(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name
    path.mkdir()
    write_json(path / "config.json", {"name": name})
    (path / "model.safetensors").write_bytes(f"weights of {name}".encode())
    (path / "manifest.json").write_text("the artifact's own")
    return path


def _scores(tmp_path: Path, name: str, tasks: Right, ids: str = "i") -> Path:
    path = tmp_path / name
    path.mkdir()
    results = [
        ItemResult(task, f"{ids}{i}", "", "", "", "", _VERDICTS[letter], "", float(letter == "c"), 1.0)
        for task, letters in tasks.items()
        for i, letter in enumerate(letters)
    ]
    bits = ItemResult("bits", "d0", "", "", "", "", "", "", 12.0, 8.0)  # a document: neither right nor wrong
    write_results(path / "items.parquet", [*results, bits])
    write_json(path / "scores.json", {"of": name})
    return path


def _keep(tmp_path: Path, before: Right, after: Right, **settings: Any) -> StageOutput:
    inputs = Inputs(
        {
            "before": _model(tmp_path, "old"),
            "after": _model(tmp_path, "new"),
            "scores_before": _scores(tmp_path, "old-scores", before),
            "scores_after": _scores(tmp_path, "new-scores", after),
        }
    )
    out = StageOutput(tmp_path / "out")
    run(KeepConfig(**settings), inputs, out)
    return out


def _check_holds(out: StageOutput, name: str) -> None:
    """The artifact is the model `name` with its scores, and nothing else."""
    assert sorted(out.records()) == ["config.json", "items.parquet", "model.safetensors", "scores.json"]
    assert (out.path / "model.safetensors").read_bytes() == f"weights of {name}".encode()
    assert read_json(out.path / "config.json") == {"name": name}
    assert read_json(out.path / "scores.json") == {"of": f"{name}-scores"}
    source = out.path.parents[1] / f"{name}-scores/items.parquet"
    assert (out.path / "items.parquet").read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    "before, after, kept",
    [
        ({"a": "cwww", "b": "cw"}, {"a": "ccww", "b": "cw"}, True),
        ({"a": "cwe"}, {"a": "cew"}, True),  # not fallen is kept
        ({"a": "ccww"}, {"a": "cwww"}, False),
        ({"a": "cccw"}, {"a": "cceww"[:4]}, False),
        # 6 of 6 to the worse is p = 2 / 2^6 = 0.031, though the whole has risen
        ({"a": "c" * 6, "b": "w" * 9}, {"a": "w" * 6, "b": "c" * 9}, False),
        # 5 of 5 is p = 0.0625: not significant, and the whole has risen
        ({"a": "c" * 5, "b": "w" * 9}, {"a": "w" * 5, "b": "c" * 9}, True),
    ],
)
def test_kept_or_rolled_back(tmp_path: Path, before: Right, after: Right, kept: bool) -> None:
    out = _keep(tmp_path, before, after)
    _check_holds(out, "new" if kept else "old")
    a, b = "".join(before.values()), "".join(after.values())
    assert out.metrics["kept"] == kept and out.metrics["num_items"] == len(a)
    assert out.metrics["gain"] == pytest.approx((b.count("c") - a.count("c")) / len(a))


def test_the_table_says_what_was_compared(tmp_path: Path) -> None:
    out = _keep(tmp_path, {"a": "c" * 6, "b": "w" * 9}, {"a": "w" * 6, "b": "c" * 9})
    [panel] = out.panels
    assert panel["rows"] == [["a", 1.0, 0.0, -1.0, 0.03125], ["b", 0.0, 1.0, 1.0, 0.00390625]]
    assert panel["note"] == "Rolled back: a fell."


def test_alpha_and_tasks_decide_what_counts(tmp_path: Path) -> None:
    before, after = {"a": "c" * 6, "b": "w" * 9}, {"a": "w" * 6, "b": "c" * 9}
    for name, settings, kept in (("x", {"alpha": 0.01}, 1), ("y", {"tasks": ("b",)}, 1), ("z", {"tasks": ("a",)}, 0)):
        (tmp_path / name).mkdir()
        assert _keep(tmp_path / name, before, after, **settings).metrics["kept"] == kept


def test_the_next_round_starts_from_what_was_kept(tmp_path: Path) -> None:
    first = _keep(tmp_path, {"a": "cwww"}, {"a": "ccww"})
    (tmp_path / "next").mkdir()
    inputs = {
        "before": first.path,
        "scores_before": first.path,
        "after": _model(tmp_path / "next", "newer"),
        "scores_after": _scores(tmp_path / "next", "newer-scores", {"a": "wwww"}),
    }
    out = StageOutput(tmp_path / "out2")
    run(KeepConfig(), Inputs(inputs), out)
    assert out.metrics["kept"] == 0
    assert out.records() == first.records()


def test_scores_are_those_of_the_comparison_not_older_ones(tmp_path: Path) -> None:
    """A model that was kept before brings its own scores; the round's evaluation of it takes their place."""
    old, scores = _model(tmp_path, "old"), _scores(tmp_path, "old-scores", {"a": "cc"})
    write_json(old / "scores.json", {"of": "an earlier round"})
    (old / "items.parquet").write_bytes(b"earlier")
    after, scores_after = _model(tmp_path, "new"), _scores(tmp_path, "new-scores", {"a": "cw"})
    out = StageOutput(tmp_path / "out")
    inputs = {"before": old, "after": after, "scores_before": scores, "scores_after": scores_after}
    run(KeepConfig(), Inputs(inputs), out)
    _check_holds(out, "old")


@pytest.mark.parametrize(
    "before, after, settings, message",
    [
        ({"a": "cc"}, {"a": "ccc"}, {}, "expected the same items of a in both"),
        ({"a": "cc", "b": "c"}, {"a": "cc"}, {}, "expected the same items of b in both"),
        ({"a": "cc"}, {"a": "cc", "b": "c"}, {}, "expected the same items of b in both"),
        ({"a": "cc"}, {"a": "cc"}, {"tasks": ("z",)}, "expected answers to z in .*old-scores, found none"),
        ({}, {}, {}, "expected answers to a task in .*old-scores, found none"),
    ],
)
def test_what_cannot_be_compared_is_told(
    tmp_path: Path, before: Right, after: Right, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        _keep(tmp_path, before, after, **settings)


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    scores = _scores(tmp_path, "s", {"a": "c"})
    inputs = Inputs(dict.fromkeys(("before", "after", "scores_before", "scores_after"), scores))
    with pytest.raises(PunaError, match=r"config\.json"):
        run(KeepConfig(), inputs, StageOutput(tmp_path / "out"))
