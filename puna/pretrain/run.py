"""The pretrain stage: token shards -> a Llama-architecture base model as a Hugging Face folder.

shards -> pack (best fit, document mask) -> loader -> loop -> model folder + log.jsonl
"""

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, model_validator
from torch import nn

from puna.base.config import Config
from puna.base.errors import ConfigError
from puna.base.files import refusing_full_disk
from puna.base.output import Inputs, StageOutput
from puna.base.ranks import world_size
from puna.base.records import write_jsonl
from puna.base.rng import generator
from puna.model import Llama, LlamaConfig, save_model
from puna.model.compiled import uncompile_layers
from puna.model.flops import training_flops
from puna.parallel.mesh import check_world
from puna.parallel.preflight import preflight
from puna.pretrain.checkpoint import Checkpoints
from puna.pretrain.computing import ComputeConfig, Computing
from puna.pretrain.divided import Divided, agreed, world_of
from puna.pretrain.experts import ExpertsConfig
from puna.pretrain.faults.supervise import is_supervised, supervise
from puna.pretrain.first import ShapeConfig, first_model, first_shape, first_values, load_alike
from puna.pretrain.forecast.follow import Forecast, OtherRunError
from puna.pretrain.loader import Batch, Loader
from puna.pretrain.loop import LoopConfig, mean_loss, train
from puna.pretrain.loss import LossConfig
from puna.pretrain.mix.corpus import Corpus, token_folders
from puna.pretrain.mix.plan import read_copies
from puna.pretrain.mix.sequences import CorpusSequences, check_enough
from puna.pretrain.objective import dense_loss, pretraining
from puna.pretrain.panels import loss_panel, score_panel
from puna.pretrain.speed import Work
from puna.pretrain.steps import Steps, check_ramp
from puna.pretrain.text import Text
from puna.tokenizer import Tokenizer
from puna.tokenizer.shards import INDEX_FILE


class AskedConfig(Config):
    """What the model is asked on the way, `times` times, evenly: `tasks` and `style` as of the stage `evaluate`."""

    times: int = Field(default=4, ge=1)
    tasks: list[dict[str, Any]] = Field(min_length=1)
    style: Literal["base", "chat"] = "base"


class PretrainConfig(ComputeConfig, LoopConfig):
    """Settings of pretraining. `num_tokens` counts rows x row_tokens, padding included.

    piece_tokens: longer documents are cut into pieces of this length, several of which share a row (0: into rows).
    packing: "concatenated", for comparison: documents cut wherever a row is full. document_mask: false, for comparison:
    documents of a row see each other. Held-out losses are measured with mask and best-fit rows all the same.
    forecast_patience: with the input `forecast`, how many measured losses in a row may lie above its band before the
    run is ended (0: any number). forecast_required: refuse a forecast of another size, number of tokens or text; if
    not, it is left out and the report says why. heldout_rows: that losses are measured on, drawn from all held-out
    rows, the same ones for all runs of the same tokens. batch_ramp: smaller batches at the beginning, as rows until so
    many tokens were learned: {252_000_000: 512} before `batch_rows` of 1024. evaluate: tasks that are asked on the
    way; their files are inputs of this stage.
    """

    model: ShapeConfig = Field(default_factory=ShapeConfig)
    loss: LossConfig = Field(default_factory=LossConfig)
    experts: ExpertsConfig = Field(default_factory=ExpertsConfig)
    num_tokens: int = Field(default=2_000_000, ge=1)
    row_tokens: int = Field(default=256, ge=8)
    piece_tokens: int = Field(default=0, ge=0)
    packing: Literal["best-fit", "concatenated"] = "best-fit"
    document_mask: bool = True
    batch_rows: int = Field(default=16, ge=1)
    batch_ramp: dict[int, int] = Field(default_factory=dict)
    forecast_patience: int = Field(default=0, ge=0)
    forecast_required: bool = True
    heldout_rows: int = Field(default=64, ge=1)
    evaluate: AskedConfig | None = None

    @model_validator(mode="after")
    def _ramp_grows(self) -> "PretrainConfig":
        check_ramp(self.batch_ramp, self.batch_rows)
        if self.piece_tokens and self.packing == "concatenated":
            raise ValueError("piece_tokens of 0 with packing: concatenated, which cuts where a row is full")
        return self

    def steps(self) -> Steps:
        """Which rows each step learns."""
        return Steps.of(self.num_tokens, self.row_tokens, self.batch_rows, self.batch_ramp)


class Evaluator(Protocol):
    """Makes a function that scores a model, of the settings `tasks` and `style` and the stage's inputs."""

    def __call__(self, settings: dict[str, Any], inputs: Inputs) -> Callable[[nn.Module], dict[str, float]]: ...


def run(config: PretrainConfig, inputs: Inputs, out: StageOutput, evaluate: Evaluator | None = None) -> None:
    """Train a base model. Inputs: `tokens` (train/, heldout/), one folder or several, and their `tokenizer`.

    By choice: `mix`, a plan of how often each document is learned; `model`, a model folder to go on from (with a fresh
    optimizer); `dense`, one whose feed-forward parts the experts begin as; for `loss.keep` below 1 `reference`, the one
    that chooses tokens; all of them have the same tokenizer. And `forecast`, of the held-out loss of this very run.

    evaluate: what measures `config.evaluate`; this part of the house knows no exams, so it is handed it (stages.py).
    """
    if config.evaluate and evaluate is None:
        raise ConfigError("pretrain.evaluate: expected something that evaluates, came none; call the stage by a recipe")
    if is_supervised(config.faults, out):
        supervise("puna.pretrain.run:train_base", config, config.faults, inputs, out, given={"evaluate": evaluate})
    else:
        train_base(config, inputs, out, evaluate)


def train_base(config: PretrainConfig, inputs: Inputs, out: StageOutput, evaluate: Evaluator | None = None) -> None:
    """What `run` does, in this process: alone, or as one of the ranks that all call it."""
    check_world(out.mesh, world_size())
    tokenizer = Tokenizer.load(inputs.one("tokenizer"))
    folders = token_folders(inputs.many("tokens"))
    corpus = Corpus(folders, "train", tokenizer.fingerprint)
    copies = read_copies(inputs.one("mix"), corpus) if inputs.has("mix") else None
    loader = new_loader(corpus, config, out.seed, copies)
    heldout = {name: folder for name, folder in folders.items() if (folder / "heldout" / INDEX_FILE).exists()}
    rows = heldout_batches(Corpus(heldout, "heldout", tokenizer.fingerprint), config) if heldout else []
    shape, steps = first_shape(config, inputs, tokenizer), config.steps()
    forecast = _forecast(config, inputs, shape, steps, rows, tokenizer, out)
    work = Work(training_flops(shape, config.row_tokens, "causal"), lambda s: len(steps.at(s)) * config.row_tokens)
    measures: dict[str, Any] = {"check": _check(forecast, config), "work": work}
    if config.evaluate and evaluate:
        measures["evaluate"] = evaluate(config.evaluate.model_dump(exclude={"times"}), inputs)
        measures["num_evaluations"] = config.evaluate.times
    learn = _learn_alone if out.mesh.world_size == 1 else _learn_together
    found = learn(config, inputs, out, shape, loader, rows, measures)
    if found is None:
        return
    model, log = found
    save_base(model, tokenizer, log, out)
    _tell(config, model, log, loader, forecast, out)


def _learn_alone(
    config: PretrainConfig,
    inputs: Inputs,
    out: StageOutput,
    shape: LlamaConfig,
    loader: Loader,
    rows: list[Batch],
    measures: dict[str, Any],
) -> tuple[Llama, list[dict[str, float]]]:
    """One process learns the model."""
    tokenizer = Tokenizer.load(inputs.one("tokenizer"))
    reference = _reference(config.loss, inputs, tokenizer)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = first_model(config, inputs, shape, out.seed).to(device)
    steps, computing = config.steps(), Computing(config, out)
    first = loader.learned(steps.at(0)).split(config.micro_batch)[0]
    times = steps.num_rows / len(first.tokens)
    dtype = computing.dtype(device, lambda dtype: _tried(model, first, config, dtype), times)
    computing.prepare(model)
    backward = pretraining(config.micro_batch, config.loss, config.experts, reference and reference.to(device), dtype)
    computing.compile(model, lambda: backward(model, first), times)
    measures["work"] = replace(measures["work"], dtype=dtype)
    log = train(
        model,
        lambda step: loader.learned(steps.at(step)),
        steps.num_steps,
        config,
        out,
        backward,
        validate=validation_of(rows, config, dtype) if rows else None,
        **measures,
    )
    out.metric(**computing.metrics())
    uncompile_layers(model)
    return model.cpu(), log


def _learn_together(
    config: PretrainConfig,
    inputs: Inputs,
    out: StageOutput,
    shape: LlamaConfig,
    loader: Loader,
    rows: list[Batch],
    measures: dict[str, Any],
) -> tuple[Llama, list[dict[str, float]]] | None:
    """This process learns its share of the model; the one that writes gets all of it, the others None."""
    if inputs.has("reference"):
        raise ConfigError("mesh: expected one process with the input reference, came more; selection needs one")
    steps, (shape, first) = config.steps(), first_values(config, inputs, shape, out.seed)
    with world_of(out.mesh) as world:
        if config.faults.preflight:
            preflight(out.state, out.state)
        for size in set(steps.rows):
            world.own(range(size))
        computing = Computing(config, out, lambda here: agreed(here, world.device))
        parts = loader.learned(world.own(steps.at(0))).split(config.micro_batch)
        times, trial = len(parts) * steps.num_rows / len(steps.at(0)), _small(shape)
        dtype = computing.dtype(world.device, lambda dtype: _tried(trial(), parts[0], config, dtype), times)
        trial.cache_clear()
        settings = (config.row_tokens, config.micro_batch, config.loss, config.experts, dtype)
        divided = Divided(shape, world, first, *settings)
        computing.prepare(divided.model)
        learn, measures["work"] = divided.backward(), replace(measures["work"], dtype=dtype)
        computing.compile(divided.model, lambda: learn(divided.model, parts[0]), times)
        if "evaluate" in measures:
            measures["evaluate"] = divided.asked_of_whole(measures["evaluate"])
        log = train(
            divided.model,
            lambda step: loader.learned(world.own(steps.at(step))),
            steps.num_steps,
            config,
            out,
            learn,
            validate=(lambda _: divided.mean_loss(rows)) if rows else None,
            together=divided.together(),
            **measures,
        )
        out.metric(**computing.metrics())
    if not out.writes:
        return None
    model = Llama(shape)
    Checkpoints(out.state, alone=True).load({"model": dict(model.named_parameters())})
    return model, log


def _small(shape: LlamaConfig) -> "functools._lru_cache_wrapper[Llama]":
    """Makes a model of two of the layers, once: no rank has room for all of them."""
    return functools.cache(lambda: Llama(replace(shape, layers=min(2, shape.layers))))


def _tried(model: Llama, part: Batch, config: PretrainConfig, dtype: torch.dtype) -> None:
    """Forward and backward pass of one micro-batch, to see how long it takes; the model is as it was."""
    still = config.experts.model_copy(update={"bias_rate": 0.0})
    with torch.random.fork_rng():
        pretraining(config.micro_batch, config.loss.model_copy(update={"keep": 1.0}), still, None, dtype)(model, part)
    model.zero_grad(set_to_none=True)


def _check(forecast: Forecast | None, config: PretrainConfig) -> Callable[[list[dict[str, float]], int], None] | None:
    return (lambda log, total: forecast.check(log, total, config.forecast_patience)) if forecast else None


def _tell(
    config: PretrainConfig,
    model: Llama,
    log: list[dict[str, float]],
    loader: Loader,
    forecast: Forecast | None,
    out: StageOutput,
) -> None:
    """Metrics and the panel of the loss."""
    steps, packing = config.steps(), loader.packing
    out.metric(
        num_parameters=model.config.num_parameters(),
        num_steps=steps.num_steps,
        tokens_learned=log[-1]["tokens"],
        epochs=steps.num_rows / packing.num_rows,
        packing_fill=packing.fill,
        cut_documents=packing.cut_documents,
        final_loss=log[-1]["loss"],
    )
    if "validation" in log[-1]:
        out.metric(validation_loss=log[-1]["validation"])
    if model.config.num_experts > 1:
        out.metric(num_active_parameters=model.config.num_active_parameters())
        out.metric(**{name: log[-1][name] for name in ("balance_loss", "expert_load", "dropped")})
    panel = loss_panel(log, "Pretraining loss")
    if forecast:
        out.metric(**forecast.metrics(log[-1]["validation"]))
        panel = forecast.add_to(panel, int(log[-1]["tokens"]))
    out.panels.append(panel)
    if asked_panel := score_panel(log, "Scores on the way"):
        out.panels.append(asked_panel)
    out.panel("table", "Packing", columns=["what", "number", "share"], rows=packing.table())


def new_loader(
    corpus: Corpus, config: PretrainConfig, seed: int, copies: npt.NDArray[np.integer] | None = None
) -> Loader:
    """Rows of a corpus, each document once, or as often as `copies` says.

    Raises ConfigError if `copies` fill fewer rows than the run is to learn.
    """
    sequences = CorpusSequences(corpus, copies)
    settings = (config.row_tokens, config.batch_rows, seed, config.piece_tokens, sequences.parts)
    loader = Loader(sequences, *settings, config.packing == "concatenated", config.document_mask)
    if copies is not None:
        check_enough(config.num_tokens, loader.packing.num_rows * config.row_tokens)
    return loader


def _forecast(
    config: PretrainConfig,
    inputs: Inputs,
    shape: LlamaConfig,
    steps: Steps,
    rows: list[Batch],
    tokenizer: Tokenizer,
    out: StageOutput,
) -> Forecast | None:
    if not inputs.has("forecast"):
        if config.forecast_patience:
            raise ConfigError("pretrain.forecast_patience: expected the input forecast with it, came none")
        return None
    if not rows:
        raise ConfigError("pretrain: expected held-out tokens with the input forecast, came none")
    num_tokens = steps.num_rows * config.row_tokens
    text = Text.of(rows, tokenizer)
    try:
        return Forecast.load(
            inputs.one("forecast"), shape.num_met_parameters(), num_tokens, tokenizer.fingerprint, text
        )
    except OtherRunError as error:
        if config.forecast_required:
            raise
        out.panel("text", "Forecast", text=f"Left out, because it is not of this run. {error}")
        return None


def save_base(model: Llama, tokenizer: Tokenizer, log: list[dict[str, float]], out: StageOutput) -> None:
    """Write the model's Hugging Face folder and the training log as units of the artifact."""
    with out.unit("log.jsonl") as unit:
        write_jsonl(unit.path, log)
    folder = out.state / "model"
    with refusing_full_disk(folder, 2 * sum(parameter.nbytes for parameter in model.parameters())):
        save_model(model, tokenizer, folder)
    adopt(folder, out)


def adopt(folder: Path, out: StageOutput, below: str = "") -> None:
    """Make the files of a folder units of the artifact, `below` before their names ("models/a/")."""
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        if not out.done(below + file.name):
            with out.unit(below + file.name) as unit:
                unit.path.write_bytes(file.read_bytes())


def _reference(loss: LossConfig, inputs: Inputs, tokenizer: Tokenizer) -> Llama | None:
    """The frozen model that selects tokens. Raises ConfigError if it is given and not used, or knows other tokens."""
    if loss.keep == 1.0:
        if inputs.has("reference"):
            raise ConfigError("pretrain.loss.keep: expected less than 1 with the input reference, came 1.0")
        return None
    return load_alike(inputs.one("reference"), tokenizer)


def heldout_batches(corpus: Corpus, config: PretrainConfig) -> list[Batch]:
    """A fixed set of held-back rows, in micro-batches: the same ones however rows are packed to be learned."""
    config = config.model_copy(update={"packing": "best-fit", "document_mask": True})
    return drawn(new_loader(corpus, config, seed=0), config.heldout_rows, config.micro_batch)


def drawn(loader: Loader, num_rows: int, micro_batch: int) -> list[Batch]:
    """At most so many rows out of all of a loader, the same ones every time, in micro-batches."""
    # Packing puts long documents first: the first 64 rows of the village have 2.7 bytes a token, all of them 3.2.
    rows = generator(0, "heldout").permutation(loader.packing.num_rows)[:num_rows].tolist()
    return [loader.gather(rows[i : i + micro_batch]) for i in range(0, len(rows), micro_batch)]


def validation_of(
    batches: list[Batch], config: PretrainConfig, dtype: torch.dtype = torch.float32
) -> Callable[[nn.Module], float]:
    """A function that measures the loss, in nats a token, on `batches`."""

    def validate(model: nn.Module) -> float:
        return mean_loss(model, batches, dense_loss(config.loss, dtype))

    return validate
