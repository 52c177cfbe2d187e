"""The ladder: which runs it has, that each is what pretraining alone would make, and that a killed one goes on."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.base.errors import ConfigError
from puna.base.files import read_json
from puna.base.output import Inputs, StageOutput
from puna.model import load_model
from puna.pretrain.forecast import ladder
from puna.pretrain.forecast.ladder import LadderConfig, run, rungs_of
from puna.pretrain.mix.corpus import Corpus, token_folders
from puna.pretrain.mix.plan import MixConfig
from puna.pretrain.mix.plan import run as make_mix
from puna.pretrain.run import PretrainConfig, heldout_batches, validation_of
from puna.pretrain.run import run as pretrain
from puna.tokenizer import Tokenizer
from puna.tokenizer.bpe import special_ids, split_pattern
from tests.pretrain.mix.conftest import ALL, MakeTokens, make_tokens, tokenizer_folder

__all__ = ["make_tokens", "tokenizer_folder"]  # fixtures

TOKENIZER = Tokenizer({bytes([byte]): byte for byte in range(256)}, special_ids(256, 16), split_pattern())
SMALL: dict[str, Any] = {"dim": 16, "layers": 1, "heads": 2, "kv_heads": 1, "ffn_dim": 32, "max_position": 64}
LARGE = {**SMALL, "dim": 32, "layers": 2, "ffn_dim": 64}
TRAIN: dict[str, Any] = {
    "row_tokens": 32,
    "batch_rows": 4,
    "micro_batch": 4,
    "lr": 0.01,
    "model": SMALL,
    "checkpoint_interval_s": 0,
    "schedule": {"warmup_steps": 4},
}


def config(**changes: Any) -> LadderConfig:
    values = {"sizes": [SMALL, LARGE], "num_tokens": [1024, 2048], "train": TRAIN, "min_ratio": 0}
    return LadderConfig.model_validate({**values, **changes})


@given(st.lists(st.floats(1e7, 1e11), min_size=1, max_size=4), st.floats(0.01, 5), st.floats(5, 300))
def test_every_budget_is_spent_to_half_a_batch_within_the_ratios(budgets: list[float], low: float, high: float) -> None:
    made = config(num_tokens=[], flops=budgets, min_ratio=low, max_ratio=high)
    sizes = {"16x1": 16 * 272 + 2 * 16 * 8 * 3 + 3 * 16 * 32 + 3 * 16, "32x2": 0}
    sizes["32x2"] = 32 * 272 + 2 * (2 * 32 * 16 * 3 + 3 * 32 * 64 + 2 * 32) + 32
    wanted = sorted(
        (max(1, round(flops / (6 * count) / 128)) * 128, name)
        for name, count in sizes.items()
        for flops in budgets
        if low <= max(1, round(flops / (6 * count) / 128)) * 128 / count <= high
    )
    if not wanted:
        with pytest.raises(ConfigError, match="tokens a parameter, came none"):
            rungs_of(made, TOKENIZER)
        return
    rungs = rungs_of(made, TOKENIZER)
    assert sorted((rung.config.num_tokens, rung.name.split("-")[0]) for rung in rungs) == wanted
    assert [rung.flops for rung in rungs] == sorted(rung.flops for rung in rungs)
    assert all(rung.parameters == sizes[rung.name.split("-")[0]] for rung in rungs)


def test_rates_follow_the_width_and_short_runs_warm_up_for_a_tenth() -> None:
    made = rungs_of(config(lr_exponent=-1, matrix_lr_exponent=-0.5, num_tokens=[2560, 12_800]), TOKENIZER)
    rates = {rung.name: (rung.config.lr, rung.config.matrix_lr, rung.config.schedule.warmup_steps) for rung in made}
    assert rates["16x1-2560"] == (0.01, 0.015, 2)
    assert rates["32x2-12800"] == (0.005, pytest.approx(0.015 / 2**0.5), 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_tokens": []}, "one of num_tokens and flops, came neither"),
        ({"flops": [1e9]}, "one of num_tokens and flops, came both"),
        ({"num_tokens": [-5]}, "numbers above 0, came -5"),
        ({"sizes": [SMALL, SMALL]}, "came one twice"),
    ],
)
def test_what_is_no_ladder_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**changes)


def test_a_rung_is_what_pretraining_alone_makes(
    tmp_path: Path, make_tokens: MakeTokens, tokenizer_folder: Path
) -> None:
    inputs = Inputs({"tokens": make_tokens(ALL), "tokenizer": tokenizer_folder})
    out = StageOutput(tmp_path / "ladder", seed=3)
    run(config(), inputs, out)
    result = read_json(out.path / "ladder.json")
    assert [row["name"] for row in result["runs"]] == ["16x1-1024", "16x1-2048", "32x2-1024", "32x2-2048"]
    alone = StageOutput(tmp_path / "alone", seed=3)
    pretrain(
        PretrainConfig.model_validate({**TRAIN, "num_tokens": 2048, "schedule": {"warmup_steps": 1}}), inputs, alone
    )
    row = result["runs"][1]
    assert row["loss"] == alone.metrics["validation_loss"]
    assert row["curve"][-1] == [1.0, row["loss"]]
    assert row["curve"][0][1] > row["loss"]
    assert row["model"]["dim"] == 16
    assert row["epochs"] == alone.metrics["epochs"]
    assert out.metrics["flops"] == sum(6 * row["parameters"] * row["tokens"] for row in result["runs"])
    assert not list(out.state.iterdir())


def test_a_killed_ladder_trains_nothing_twice(
    tmp_path: Path, make_tokens: MakeTokens, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = Inputs({"tokens": make_tokens(ALL), "tokenizer": tokenizer_folder})
    whole = StageOutput(tmp_path / "whole", seed=1)
    run(config(), inputs, whole)
    trained: list[str] = []
    train = ladder.train

    def killed_at_the_third(*arguments: Any, **named: Any) -> Any:
        name = arguments[4].state.parent.name
        if name.startswith("32x2-1024") and name not in trained:
            trained.append(name)
            out_of_a_rung = arguments[4]
            monkeypatch.setattr(out_of_a_rung, "progress", _die_at_step_5)
            return train(*arguments, **named)
        trained.append(name)
        return train(*arguments, **named)

    def _die_at_step_5(done: float, *_: Any, **__: Any) -> None:
        if done == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(ladder, "train", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(config(), inputs, StageOutput(tmp_path / "killed", seed=1))
    out = StageOutput(tmp_path / "killed", seed=1)
    run(config(), inputs, out)
    assert trained == ["16x1-1024", "16x1-2048", "32x2-1024", "32x2-1024", "32x2-2048"]
    ours, theirs = (read_json(one.path / "ladder.json")["runs"] for one in (out, whole))
    for a, b in zip(ours, theirs, strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}


def test_kept_models_are_those_whose_losses_are_written(
    tmp_path: Path, make_tokens: MakeTokens, tokenizer_folder: Path
) -> None:
    inputs = Inputs({"tokens": make_tokens(ALL), "tokenizer": tokenizer_folder})
    out = StageOutput(tmp_path / "ladder", seed=1)
    made = config(keep_models=True)
    run(made, inputs, out)
    tokenizer = Tokenizer.load(tokenizer_folder)
    heldout = Corpus(token_folders(inputs.many("tokens")), "heldout", tokenizer.fingerprint)
    measure = validation_of(heldout_batches(heldout, made.train), made.train)
    for row in read_json(out.path / "ladder.json")["runs"]:
        assert measure(load_model(out.path / "models" / row["name"])) == pytest.approx(row["loss"], rel=1e-6)
        assert Tokenizer.load(out.path / "models" / row["name"]).fingerprint == tokenizer.fingerprint
    assert not list(out.state.iterdir())


def test_a_mix_decides_what_is_learned_and_not_what_is_measured(
    tmp_path: Path, make_tokens: MakeTokens, tokenizer_folder: Path
) -> None:
    given = {"tokens": make_tokens(ALL), "tokenizer": tokenizer_folder}
    mix = StageOutput(tmp_path / "mix")
    weights = {"article": 0.0, "maths": 1.0, "code": 0.0, "spanish": 0.0}
    make_mix(
        MixConfig(by="section", weights=weights, num_tokens=4000, max_epochs=50),
        Inputs({"tokens": given["tokens"]}),
        mix,
    )
    made: dict[str, Any] = {}
    for name, inputs in (("plain", given), ("mixed", {**given, "mix": mix.path})):
        out = StageOutput(tmp_path / name, seed=1)
        run(config(), Inputs(dict(inputs)), out)
        made[name] = read_json(out.path / "ladder.json")
    assert made["plain"]["text"] == made["mixed"]["text"]
    assert all(a["loss"] < b["loss"] for a, b in zip(made["plain"]["runs"], made["mixed"]["runs"], strict=True))
    with pytest.raises(ConfigError, match="the rows that the mix fills"):
        run(config(num_tokens=[64_000]), Inputs({**given, "mix": mix.path}), StageOutput(tmp_path / "long"))
