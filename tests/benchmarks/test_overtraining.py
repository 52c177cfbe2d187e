"""The line of over-training, on losses that are known."""

import json
import math
from pathlib import Path

import pytest

from benchmarks import overtraining


def test_a_line_over_doublings_is_found() -> None:
    found = overtraining.fitted(
        {ratio: [4 - 0.1 * math.log2(ratio) + e for e in (-0.02, 0.02)] for ratio in (20, 40, 80)}
    )
    assert found == pytest.approx({"slope": -0.1, "start": 4.0, "r2": 1.0})
    bent = overtraining.fitted({20: [3.0], 40: [2.8], 80: [2.79]})
    assert bent["r2"] < 0.9


def test_only_runs_that_every_seed_has_are_read(tmp_path: Path) -> None:
    for seed in (1, 2):
        for ratio in (5, 10) if seed == 1 else (10,):
            folder = tmp_path / f"seed-{seed}/tokens-{ratio}"
            folder.mkdir(parents=True)
            (folder / "manifest.json").write_text(json.dumps({"metrics": {"validation_loss": ratio + seed / 10}}))
    assert overtraining.read_losses(tmp_path) == {10.0: [10.1, 10.2]}
