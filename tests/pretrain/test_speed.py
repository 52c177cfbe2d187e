"""Speed from counts and a clock that the test turns; the log of a run has nothing of it."""

from pathlib import Path

import pytest
import torch

from puna.base.config import Mesh
from puna.base.output import Progress, StageOutput
from puna.base.records import read_jsonl
from puna.pretrain import speed
from puna.pretrain.loop import train
from puna.pretrain.speed import SPEED, Speed, Work
from tests.pretrain.test_loop import LEARN, _config, _loader, _model


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr(speed, "time", one)
    monkeypatch.setattr(speed, "_INTERVAL_S", 5.0)
    monkeypatch.setattr(speed, "_FEWEST_ROWS", 2)
    # 2e9 a second; in bf16 ten times that.
    monkeypatch.setattr(speed, "matmul_gflops", lambda dtype, device: 2.0 if dtype == torch.float32 else 20.0)
    return one


def test_rates_and_mfu_by_hand(tmp_path: Path, clock: Clock) -> None:
    out = StageOutput(tmp_path, mesh=Mesh(data=2))
    work = Work(flops_a_token=1e6, tokens_at=lambda step: 1000 if step < 2 else 2000)
    measured = Speed(_model(), out, work, num_steps=1000)
    for step, targets in enumerate([900, 800, 1500, 1600]):
        clock.now += 4.0
        measured.add(step, targets)
    assert measured.now()["tokens_per_s"] == 300 and measured.now()["mfu"] == "9%"
    measured.finish()
    # 6,000 tokens in 16 seconds, of which 4,800 are learned; 6e9 FLOPs by two processes of 2e9 a second.
    expected = {"tokens_per_s": 375.0, "useful_tokens_per_s": 300.0, "mfu": 6e9 / 16 / 4e9}
    assert {name: out.metrics[name] for name in expected} == pytest.approx(expected)
    rows = list(read_jsonl(out.path / SPEED))
    assert [row["step"] for row in rows] == [2, 4]  # none sooner than five seconds after the last
    assert [row["tokens_per_s"] for row in rows] == [250.0, 500.0]
    assert [row["useful_tokens_per_s"] for row in rows] == [212.5, 387.5]
    [panel] = out.panels
    assert panel["series"][0]["y"] == [250.0, 500.0] and "MFU 9%" in panel["title"]


def test_mfu_is_beside_the_peak_of_the_products(tmp_path: Path, clock: Clock) -> None:
    """Weights are fp32 whatever the products are."""
    work = Work(flops_a_token=1e6, tokens_at=lambda step: 1000, dtype=torch.bfloat16)
    measured = Speed(_model(), StageOutput(tmp_path), work, num_steps=1000)
    clock.now += 4.0
    measured.add(0, 900)
    assert measured.now()["mfu"] == f"{1e9 / 4 / 20e9:.0%}"


def test_a_small_run_measures_no_peak(tmp_path: Path, clock: Clock) -> None:
    measured = Speed(_model(), StageOutput(tmp_path), Work(1e6, lambda step: 100), num_steps=99)
    clock.now += 1.0
    measured.add(0, 50)
    assert set(measured.now()) == {"tokens_per_s", "memory"}


def test_measuring_the_peak_leaves_what_training_draws_alone(tmp_path: Path) -> None:
    model = _model()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    Speed(model, StageOutput(tmp_path), Work(1e9, lambda step: 1000), num_steps=1)
    assert torch.equal(torch.rand(2), expected)


def test_rows_of_killed_attempts_stay_and_the_log_has_none_of_it(tmp_path: Path, clock: Clock) -> None:
    out = StageOutput(tmp_path)
    (out.state / SPEED).write_text('{"step": 1, "seconds": 1.0, "tokens_per_s": 5.0, "useful_tokens_per_s": 4.0}\n{"st')
    looks: list[Progress] = []

    def turn(look: Progress) -> None:
        clock.now += 6.0
        looks.append(look)

    out = StageOutput(tmp_path, watch=turn)
    log = train(_model(), _loader().batch, 3, _config(checkpoint_interval_s=1e9), out, LEARN)
    assert {name for row in log for name in row} == {"step", "tokens", "loss", "targets", "lr", "grad_norm"}
    assert [row["step"] for row in read_jsonl(out.path / SPEED)] == [1, 2, 3]
    assert {"loss", "tokens_per_s", "memory"} <= set(looks[-1].metrics)
    assert out.metrics["tokens_per_s"] == out.metrics["useful_tokens_per_s"] > 0
