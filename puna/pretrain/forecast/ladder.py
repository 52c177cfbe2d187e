"""The stage `ladder`: many small runs of the same trainer on the same tokens, from which scaling laws are fitted.

Every size learns every number of tokens (or, for isoFLOP curves, what every budget buys it), each with its own whole
schedule: a loss read from the middle of a longer run has not seen its rate fall (Hoffmann 2022, section 3.1).

runs/NAME.json    one run each, a unit: shape, tokens, rates, held-out loss at the end and on the way; so a killed
                  ladder goes on, within a run from its last checkpoint
models/NAME/      with `keep_models` the model of each run, which the stage `evaluate-ladder` gives exams to
ladder.json       all runs, smallest compute first, and what text their losses are of: what the stage `forecast` reads
"""

from dataclasses import dataclass
from typing import Any

from pydantic import Field, model_validator

from puna.base.config import Config
from puna.base.errors import ConfigError, DataError
from puna.base.files import read_json, write_json
from puna.base.output import Inputs, StageOutput
from puna.model import save_model
from puna.pretrain.first import ShapeConfig, model_config, new_model
from puna.pretrain.loop import train
from puna.pretrain.mix.corpus import Corpus, token_folders
from puna.pretrain.mix.plan import read_copies
from puna.pretrain.objective import pretraining
from puna.pretrain.run import PretrainConfig, adopt, heldout_batches, new_loader, validation_of
from puna.pretrain.text import Text
from puna.tokenizer import Tokenizer

_CURVE_POINTS = 20
_FLOPS_PER_WEIGHT = 6


class LadderConfig(Config):
    """Settings of a ladder. Give `num_tokens` or `flops`.

    sizes: shapes of the models. num_tokens: each size learns each of them. flops: each size learns flops / (6 N) of
    them, N its parameters. min_ratio, max_ratio: runs of fewer or more tokens a parameter are left out. train: all
    else but shape and tokens. Its rates are those of the width `train.model.dim`; for other widths `lr` and `matrix_lr`
    are multiplied by (width / that) to the power of their exponents (muP: -1 for matrices under AdamW, 0 for the rest).
    Runs shorter than ten warm-ups warm up for a tenth. keep_models: as folders of the artifact, for exams.
    """

    sizes: list[ShapeConfig] = Field(min_length=1)
    num_tokens: list[int] = Field(default_factory=list)
    flops: list[float] = Field(default_factory=list)
    min_ratio: float = Field(default=1.0, ge=0)
    max_ratio: float = Field(default=1000.0, gt=0)
    lr_exponent: float = 0.0
    matrix_lr_exponent: float = 0.0
    keep_models: bool = False
    train: PretrainConfig = Field(default_factory=PretrainConfig)

    @model_validator(mode="after")
    def _one_kind_of_grid(self) -> "LadderConfig":
        if bool(self.num_tokens) == bool(self.flops):
            raise ValueError("expected one of num_tokens and flops, came " + ("both" if self.flops else "neither"))
        if min([*self.num_tokens, *self.flops]) <= 0:
            raise ValueError(f"expected numbers above 0, came {min([*self.num_tokens, *self.flops])}")
        if len({_shape_name(size) for size in self.sizes}) < len(self.sizes):
            raise ValueError("sizes: expected shapes that differ in width, layers or scale, came one twice")
        if self.train.batch_ramp:
            raise ValueError(
                "train.batch_ramp: expected none, since the runs of a ladder end within a ramp's first part"
            )
        return self


@dataclass(frozen=True)
class Rung:
    """One run: its settings, and the `parameters` that a token meets, the embedding once."""

    name: str
    config: PretrainConfig
    parameters: int

    @property
    def flops(self) -> float:
        """6 N D."""
        return float(_FLOPS_PER_WEIGHT * self.parameters * self.config.num_tokens)


def run(config: LadderConfig, inputs: Inputs, out: StageOutput) -> None:
    """Train every rung. Inputs: `tokens` (train/, heldout/), one folder or several, and their `tokenizer`.

    By choice `mix`, a plan of how often each document is learned. Raises ConfigError if no run is within the ratios or
    the mix has too few tokens for one, DataError if nothing is held out.
    """
    tokenizer = Tokenizer.load(inputs.one("tokenizer"))
    rungs = rungs_of(config, tokenizer)
    folders = token_folders(inputs.many("tokens"))
    corpus = Corpus(folders, "train", tokenizer.fingerprint)
    heldout = Corpus(folders, "heldout", tokenizer.fingerprint)
    if not len(heldout.sizes):
        raise DataError("expected held-out documents to measure a ladder on, came none; set curate.heldout_fraction")
    copies = read_copies(inputs.one("mix"), corpus) if inputs.has("mix") else None
    rows = heldout_batches(heldout, config.train)
    measure = validation_of(rows, config.train)
    total, done = sum(rung.flops for rung in rungs), 0.0
    for rung in rungs:
        file = f"runs/{rung.name}.json"
        if not out.done(file):
            below = StageOutput(out.state / rung.name, seed=out.seed, threads=out.threads)
            loader = new_loader(corpus, rung.config, out.seed, copies)
            model = new_model(rung.config.model, tokenizer, out.seed)
            backward = pretraining(rung.config.micro_batch, rung.config.loss, rung.config.experts)
            out.progress(done / total * 100, 100, "% of the compute", run=rung.name)
            num_steps = rung.config.steps().num_steps
            log = train(model, loader.batch, num_steps, rung.config, below, backward, measure, _CURVE_POINTS)
            if config.keep_models:
                save_model(model, tokenizer, below.state / "model")
                adopt(below.state / "model", out, f"models/{rung.name}/")
            with out.unit(file) as unit:
                write_json(
                    unit.path,
                    _result(rung, loader.epoch_batches, log, below.seconds) | {"model": model.config.to_dict()},
                )
            below.clear()
        done += rung.flops
    results = [read_json(out.path / "runs" / f"{rung.name}.json") for rung in rungs]
    if not out.done("ladder.json"):
        with out.unit("ladder.json") as unit:
            text = Text.of(rows, tokenizer).to_dict()
            write_json(unit.path, {"tokenizer": tokenizer.fingerprint, "text": text, "seed": out.seed, "runs": results})
    out.metric(num_runs=len(rungs), flops=total, best_loss=min(row["loss"] for row in results))
    out.panels.append(_panel(results))


def rungs_of(config: LadderConfig, tokenizer: Tokenizer) -> list[Rung]:
    """The runs of a ladder, least compute first. Raises ConfigError if none is within the ratios."""
    rungs = []
    for shape in config.sizes:
        parameters = model_config(shape, tokenizer).num_met_parameters()
        of_budgets = [flops / (_FLOPS_PER_WEIGHT * parameters) for flops in config.flops]
        for count in config.num_tokens or of_budgets:
            made = _config(config, shape, count)
            if config.min_ratio <= made.num_tokens / parameters <= config.max_ratio:
                rungs.append(Rung(f"{_shape_name(shape)}-{made.num_tokens}", made, parameters))
    if not rungs:
        raise ConfigError(
            f"ladder: expected runs with {config.min_ratio:g} to {config.max_ratio:g} tokens a parameter, came none; "
            "change num_tokens or flops, or widen min_ratio and max_ratio"
        )
    return sorted(rungs, key=lambda rung: (rung.flops, rung.name))


def _config(config: LadderConfig, shape: ShapeConfig, num_tokens: float) -> PretrainConfig:
    base = config.train
    batch = base.batch_rows * base.row_tokens
    num_steps = max(1, round(num_tokens / batch))
    width = shape.dim * shape.scale / (base.model.dim * base.model.scale)
    warmup = min(base.schedule.warmup_steps, num_steps // 10)
    changes = {
        "model": shape,
        "num_tokens": num_steps * batch,
        "lr": base.lr * width**config.lr_exponent,
        "matrix_lr": base.matrix_lr * width**config.matrix_lr_exponent,
        "schedule": base.schedule.model_copy(update={"warmup_steps": warmup}),
    }
    return base.model_copy(update=changes)


def _shape_name(shape: ShapeConfig) -> str:
    return f"{shape.dim}x{shape.layers}" + (f"x{shape.scale:g}" if shape.scale < 1 else "")


def _result(rung: Rung, epoch_batches: float, log: list[dict[str, float]], seconds: float) -> dict[str, Any]:
    checked = [row for row in log if "validation" in row]
    return {
        "name": rung.name,
        "parameters": rung.parameters,
        "tokens": rung.config.num_tokens,
        "flops": rung.flops,
        "lr": rung.config.lr,
        "matrix_lr": rung.config.matrix_lr,
        "epochs": len(log) / epoch_batches,
        "loss": checked[-1]["validation"],
        "curve": [[row["step"] / len(log), row["validation"]] for row in checked],
        "seconds": seconds,
    }


def _panel(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Held-out loss against compute, a line for each size."""
    series = []
    for parameters in sorted({row["parameters"] for row in results}):
        mine = [row for row in results if row["parameters"] == parameters]
        points = {"x": [row["flops"] for row in mine], "y": [row["loss"] for row in mine]}
        series.append({"name": f"{parameters:,} parameters", **points})
    labels = {
        "x_label": "FLOPs of training",
        "y_label": "held-out loss (nats a token)",
        "x_scale": "log",
        "y_scale": "log",
    }
    return {"kind": "lines", "title": "Loss against compute", **labels, "series": series}
