"""Every stage of post-training, stopped in the middle and run again: the same bytes as when it was never stopped."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from puna.base.output import Inputs, Progress, StageOutput, Unit
from puna.base.records import read_jsonl, write_jsonl
from puna.evals.items import ItemResult, write_results
from puna.stages import STAGES
from tests.posttrain.conftest import asked, prompt_rows

LOOP = {"checkpoint_interval_s": 0.0, "lr": 1e-3, "micro_batch": 3}


class Stopped(Exception):
    """Thrown in the middle of a run, as a kill would."""


class Stopping(StageOutput):
    """An output that throws when progress number `looks` is told, or after `units` files."""

    def __init__(self, partial: Path, looks: int | None = None, units: int | None = None, **settings: Any) -> None:
        self.looks, self.units, self.seen = looks, units, 0
        super().__init__(partial, watch=self._look, **settings)

    def _look(self, look: Progress) -> None:
        self.seen += 1
        if self.seen == self.looks:
            raise Stopped

    @contextmanager
    def unit(self, name: str) -> Iterator[Unit]:
        with super().unit(name) as unit:
            yield unit
        if self.units is not None and len(self.records()) >= self.units:
            raise Stopped


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> dict[str, Any]:
    """What the stages read: a model, files, and artifacts of the stages before."""
    folder = tmp_path_factory.mktemp("given")
    preferences = [
        {"id": f"p{i}", "prompt": asked(i), "chosen": str(i % 10), "rejected": f"no {i % 7}"} for i in range(14)
    ]
    write_jsonl(folder / "preferences.jsonl", preferences)
    write_jsonl(folder / "prompts.jsonl", prompt_rows(5))
    (folder / "scores").mkdir()
    items = [ItemResult("t", str(i), "", "", "", "", "correct", "", 1.0, 1.0) for i in range(3)]
    write_results(folder / "scores/items.parquet", items)
    (folder / "scores/scores.json").write_text("[]")
    return {"folder": folder, "model": digits}


CASES: dict[str, tuple[dict[str, Any], dict[str, str], dict[str, int]]] = {
    "reward": (
        {**LOOP, "batch_pairs": 4, "epochs": 2, "heldout": 4}, {"preferences": "preferences.jsonl"}, {"looks": 4},
    ),
    "dpo": ({**LOOP, "batch_pairs": 4, "epochs": 2}, {"preferences": "preferences.jsonl"}, {"looks": 5}),
    "generate": ({"samples": 3, "max_tokens": 6}, {"prompts": "prompts.jsonl"}, {"looks": 2}),
    "judge": ({}, {"samples": "generate", "reward": "reward"}, {"looks": 1}),
    "select": ({"min_score": -9.0}, {"judged": "judge"}, {"units": 1}),
    "ppo": (
        {**LOOP, "iterations": 4, "batch_prompts": 4, "samples": 2, "minibatches": 3, "max_tokens": 6, "score": 0.1,
         "heldout_every": 2},
        {"prompts": "prompts.jsonl", "heldout": "prompts.jsonl", "reward": "reward"}, {"looks": 8},
    ),
    "keep": ({}, {"before": "dpo", "after": "ppo", "scores_before": "scores", "scores_after": "scores"}, {"units": 2}),
}  # fmt: skip


def _run(kind: str, given: dict[str, Any], out: StageOutput, **changes: Any) -> None:
    values, sources, _ = CASES[kind]
    module = importlib.import_module(STAGES[kind].module)
    paths = {name: given.get(source, given["folder"] / source) for name, source in sources.items()}
    inputs = Inputs({"model": given["model"], **paths})
    module.run(getattr(module, STAGES[kind].config)(**{**values, **changes}), inputs, out)


def _files(out: StageOutput) -> dict[str, bytes]:
    return {name: (out.path / name).read_bytes() for name in out.records()}


@pytest.fixture(scope="module")
def whole(given: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """The files of every stage that nobody stopped; their artifacts become inputs of the later stages."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("puna.posttrain.generate._SHARD_PROMPTS", 2)
        for kind in CASES:
            out = StageOutput(tmp_path_factory.mktemp(kind), seed=4)
            _run(kind, given, out)
            given[kind], found[kind] = out.path, _files(out)
    return found


@pytest.mark.parametrize("kind", CASES)
def test_stopped_and_run_again_is_the_same(
    kind: str,
    given: dict[str, Any],
    whole: dict[str, dict[str, bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("puna.posttrain.generate._SHARD_PROMPTS", 2)
    with pytest.raises(Stopped):
        _run(kind, given, Stopping(tmp_path, **CASES[kind][2], seed=4))
    looks: list[float] = []
    again = StageOutput(tmp_path, seed=4, watch=lambda look: looks.append(look.done))
    _run(kind, given, again)
    assert _files(again) == whole[kind]
    if kind in ("reward", "dpo"):
        assert looks[0] == CASES[kind][2]["looks"]  # went on from the checkpoint before the step that was stopped


@pytest.mark.parametrize("stopped_at", [1, 2, 4, 6, 7, 9])
def test_ppo_goes_on_from_the_last_whole_iteration(
    given: dict[str, Any], whole: dict[str, dict[str, bytes]], tmp_path: Path, stopped_at: int
) -> None:
    """Three updates an iteration: stopped in any of them, its samples are drawn again from the same weights."""
    with pytest.raises(Stopped):
        _run("ppo", given, Stopping(tmp_path, looks=stopped_at, seed=4))
    looks: list[float] = []
    again = StageOutput(tmp_path, seed=4, watch=lambda look: looks.append(look.done))
    _run("ppo", given, again)
    assert looks[0] == 3 * ((stopped_at - 1) // 3) + 1
    assert _files(again) == whole["ppo"]


def test_what_is_resumed_has_moved(given: dict[str, Any], whole: dict[str, dict[str, bytes]]) -> None:
    """The runs above compare something: training changed the weights, and each iteration drew other answers."""
    before = (given["model"] / "model.safetensors").read_bytes()
    assert len({before, *(whole[kind]["model.safetensors"] for kind in ("reward", "dpo", "ppo"))}) == 4
    log = list(read_jsonl(given["ppo"] / "log.jsonl"))
    assert len({row["reward"] for row in log}) > 1 and [row["step"] for row in log] == list(range(1, 13))
    assert {"samples-0000.jsonl", "samples-0002.jsonl"} <= set(whole["generate"])
