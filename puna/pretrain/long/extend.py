"""The stage `extend`: a base model learns longer and longer rows (Llama 3, section 3.4.2).

    for each length:  RoPE of that length -> rows of that length -> the loop -> the gate, and again if it stays shut

The next length begins when short text is read as well as before, and needles are found at every depth of every length
so far (`gate.py`). What is learned of long rows: `rows.py`.
"""

import itertools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import Field, field_validator, model_validator

from puna.base.config import Config
from puna.base.errors import ConfigError, RunError
from puna.base.files import write_json
from puna.base.machine import prepare_machine
from puna.base.output import Inputs, Progress, StageOutput
from puna.model import Llama
from puna.model.config import LLAMA31_ROPE_SCALING
from puna.needle.find import heat_map
from puna.needle.plant import Haystack
from puna.pretrain.checkpoint import Checkpoints
from puna.pretrain.experts import ExpertsConfig
from puna.pretrain.first import load_alike
from puna.pretrain.loader import Batch
from puna.pretrain.long.gate import Gate, GateConfig, Judgement
from puna.pretrain.long.rows import LongRows, RowsConfig
from puna.pretrain.loop import LoopConfig, train
from puna.pretrain.loss import LossConfig
from puna.pretrain.mix.corpus import Corpus, token_folders
from puna.pretrain.objective import pretraining
from puna.pretrain.panels import loss_panel
from puna.pretrain.run import save_base
from puna.pretrain.steps import Steps
from puna.tokenizer import Tokenizer
from puna.tokenizer.shards import INDEX_FILE

_VALIDATIONS = 4  # of short text, in each round


class RopeScalingConfig(Config):
    """Llama 3.1's scaling of RoPE, in the words of Hugging Face's config.json; 3.1 has factor 8, 3.2 1B and 3B 32."""

    factor: float = Field(gt=1)
    low_freq_factor: float = Field(default=LLAMA31_ROPE_SCALING["low_freq_factor"], gt=0)
    high_freq_factor: float = Field(default=LLAMA31_ROPE_SCALING["high_freq_factor"], gt=0)
    original_max_position_embeddings: int = Field(ge=8)

    @model_validator(mode="after")
    def _ordered(self) -> "RopeScalingConfig":
        if self.high_freq_factor <= self.low_freq_factor:
            raise ValueError(f"high_freq_factor above low_freq_factor = {self.low_freq_factor:g}")
        return self


class LengthConfig(Config):
    """One length. num_tokens: learned in a round, after which the gate is asked. rope_theta, rope_scaling: from this
    length on; what is not set stays as it was."""

    row_tokens: int = Field(ge=16)
    num_tokens: int = Field(ge=1)
    rope_theta: float | None = Field(default=None, gt=0)
    rope_scaling: RopeScalingConfig | None = None


class ExtendConfig(LoopConfig, RowsConfig):
    """Settings of long context. Each round of a length is a run of the loop, with its own schedule and optimizer.

    batch_tokens: of a step, whatever the length. max_rounds: of a length, until its gate opens. required: a gate that
    stays shut is an error; if not, the stage ends at that length, and says so.
    """

    lengths: list[LengthConfig] = Field(min_length=1)
    batch_tokens: int = Field(default=16_384, ge=16)
    max_rounds: int = Field(default=1, ge=1)
    gate: GateConfig = Field(default_factory=GateConfig)
    required: bool = False
    loss: LossConfig = Field(default_factory=LossConfig)
    experts: ExpertsConfig = Field(default_factory=ExpertsConfig)

    @field_validator("lengths")
    @classmethod
    def _grow(cls, lengths: list[LengthConfig]) -> list[LengthConfig]:
        rows = [one.row_tokens for one in lengths]
        if any(a >= b for a, b in itertools.pairwise(rows)):
            raise ValueError("lengths that grow")
        return lengths

    @model_validator(mode="after")
    def _rows_fit(self) -> "ExtendConfig":
        if self.batch_tokens < self.lengths[-1].row_tokens:
            raise ValueError(f"batch_tokens of at least the longest row, {self.lengths[-1].row_tokens}")
        return self

    def steps(self, length: LengthConfig) -> Steps:
        """Of one round."""
        return Steps.of(length.num_tokens, length.row_tokens, self.batch_tokens // length.row_tokens, {})


@dataclass(frozen=True)
class Round:
    """A round of a length as it ended. tokens: learned in it."""

    row_tokens: int
    number: int
    tokens: float
    tokens_per_s: float
    rope_theta: float
    rope_factor: float
    judgement: Judgement

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Round":
        """What `asdict` made of one."""
        return cls(**{**values, "judgement": Judgement.from_dict(values["judgement"])})


def run(config: ExtendConfig, inputs: Inputs, out: StageOutput) -> None:
    """Extend a base model. Inputs: `model`, its `tokenizer`, and `tokens` (train/, heldout/), one folder or several.

    Writes the model's folder, whose config.json has the RoPE and the positions of the last length, log.jsonl and
    gate.json. Raises ConfigError for lengths that the model has already, DataError without held-out tokens or without
    documents that are long enough for `long_share`, RunError for a gate that stays shut if it is `required`.
    """
    prepare_machine(out.threads)
    tokenizer = Tokenizer.load(inputs.one("tokenizer"))
    model = load_alike(inputs.one("model"), tokenizer)
    _check(config, model)
    folders = token_folders(inputs.many("tokens"))
    corpus = Corpus(folders, "train", tokenizer.fingerprint)
    heldout = {name: folder for name, folder in folders.items() if (folder / "heldout" / INDEX_FILE).exists()}
    gate = Gate(config.gate, config.needles, Corpus(heldout, "heldout", tokenizer.fingerprint), tokenizer, model)
    haystack = Haystack(list(corpus.shards.values()), tokenizer)
    state = _State(model, out)
    for index, length in enumerate(config.lengths):
        _set_rope(model, length)
        state.load()
        while not state.is_over(length, config.max_rounds):
            number = state.num_rounds(length)
            part, steps = state.part(config, index, number), config.steps(length)
            batch_at = _batches(config, length, number, corpus, haystack, out.seed)
            backward = pretraining(config.micro_batch, config.loss, config.experts)
            log = train(model, batch_at, steps.num_steps, config, part, backward, gate.validation, _VALIDATIONS)
            out.progress(index, len(config.lengths), "lengths", row_tokens=length.row_tokens, at="the gate")
            judgement = gate.judge(model, [one.row_tokens for one in config.lengths[: index + 1]])
            state.add(length, log, judgement, part)
        if not state.rounds[-1].judgement.passed:
            break
    _check_passed(config, state.rounds)
    save_base(model, tokenizer, state.log, out)
    _report(config, gate, state, out)


class _State:
    """Rounds that are over, and the weights after the last of them: what a killed stage goes on from."""

    def __init__(self, model: Llama, out: StageOutput) -> None:
        self.model, self.out, self.folder = model, out, out.state / "rounds"
        self.folder.mkdir(exist_ok=True)
        self.rounds: list[Round] = []
        self.log: list[dict[str, float]] = []
        self.panels: list[dict[str, Any]] = []
        self._loaded = False

    def load(self) -> None:
        """Once, into the model: weights, rounds and log of the last round that is over."""
        if self._loaded:
            return
        self._loaded = True
        found = self._checkpoints().load({"model": dict(self.model.named_parameters())})
        if found:
            self.rounds = [Round.from_dict(one) for one in found[1]["rounds"]]
            self.log, self.panels = found[1]["log"], found[1]["panels"]

    def _checkpoints(self) -> Checkpoints:
        return Checkpoints(self.folder, background=False, alone=True)

    def num_rounds(self, length: LengthConfig) -> int:
        """Of a length, so far."""
        return sum(one.row_tokens == length.row_tokens for one in self.rounds)

    def is_over(self, length: LengthConfig, max_rounds: int) -> bool:
        """Whether a length needs no further round."""
        judged = [one.judgement for one in self.rounds if one.row_tokens == length.row_tokens]
        return bool(judged) and (judged[-1].passed or len(judged) >= max_rounds)

    def part(self, config: ExtendConfig, index: int, number: int) -> StageOutput:
        """Where a round keeps its checkpoints, with a live view of its own."""
        length = config.lengths[index]

        def watch(look: Progress) -> None:
            done = index + look.done / look.total
            metrics = {"row_tokens": length.row_tokens, "round": number + 1, **look.metrics}
            self.out.progress(done, len(config.lengths), "lengths", **metrics)

        folder = self.out.state / f"{length.row_tokens}-{number}"
        return StageOutput(folder, self.out.seed, self.out.threads, watch=watch)

    def add(self, length: LengthConfig, log: list[dict[str, float]], judgement: Judgement, part: StageOutput) -> None:
        """A round is over: keep its weights and what was measured, and drop its own checkpoints."""
        before = self.log[-1]["tokens"] if self.log else 0
        start = len(self.log)
        self.log += [
            {**row, "step": start + row["step"], "tokens": before + row["tokens"], "row_tokens": length.row_tokens}
            for row in log
        ]
        shape = self.model.config
        factor = (shape.rope_scaling or {}).get("factor", 1.0)
        speed = part.metrics.get("tokens_per_s", 0.0)  # of a round whose end was not seen nothing is known
        number = self.num_rounds(length)
        self.rounds.append(
            Round(length.row_tokens, number, log[-1]["tokens"], speed, shape.rope_theta, factor, judgement)
        )
        self.panels += part.panels
        kept = {"rounds": [asdict(one) for one in self.rounds], "log": self.log, "panels": self.panels}
        self._checkpoints().save(len(self.rounds), {"model": dict(self.model.named_parameters())}, kept)
        part.clear()


def _batches(
    config: ExtendConfig, length: LengthConfig, number: int, corpus: Corpus, haystack: Haystack, seed: int
) -> Callable[[int], Batch]:
    """The batches of a round, which goes on where the round before it ended."""
    steps = config.steps(length)
    start = number * steps.num_rows
    rows = LongRows(corpus, haystack, config, length.row_tokens, start + steps.num_rows, seed)

    def batch_at(step: int) -> Batch:
        learned = steps.at(step)
        return rows.learned(range(start + learned.start, start + learned.stop))

    return batch_at


def _set_rope(model: Llama, length: LengthConfig) -> None:
    """The RoPE of a length; positions up to its rows' end."""
    before = model.config
    scaling = before.rope_scaling
    if length.rope_scaling is not None:
        scaling = {"rope_type": "llama3", **length.rope_scaling.model_dump()}
    model.set_rope(length.rope_theta or before.rope_theta, scaling, length.row_tokens)


def _check(config: ExtendConfig, model: Llama) -> None:
    shortest, known = config.lengths[0].row_tokens, model.config.max_position
    if shortest <= known:
        raise ConfigError(
            f"extend.lengths: expected rows longer than the {known} positions of the input model, came {shortest}"
        )
    if model.config.num_experts == 1 and config.experts != ExpertsConfig():
        raise ConfigError("extend.experts: expected no settings for a dense model, came some")


def _check_passed(config: ExtendConfig, rounds: list[Round]) -> None:
    last = rounds[-1]
    if config.required and not last.judgement.passed:
        raise RunError(
            f"extend: the gate stayed shut at rows of {last.row_tokens} tokens after {last.number + 1} rounds: "
            f"{last.judgement.why}; give more num_tokens or max_rounds, or a larger needles_share"
        )


def _report(config: ExtendConfig, gate: Gate, state: _State, out: StageOutput) -> None:
    last = state.rounds[-1]
    passed = [one.row_tokens for one in state.rounds if one.judgement.passed]
    out.metric(
        gate_passed=float(last.judgement.passed),
        passed_tokens=max(passed, default=0),
        short_bits_before=gate.bits_before,
        short_bits_after=last.judgement.short_bits,
        short_change=last.judgement.short_change,
        needle_accuracy=last.judgement.lowest,
        tokens_learned=state.log[-1]["tokens"],
        num_steps=len(state.log),
        final_loss=state.log[-1]["loss"],
        **{f"tokens_per_s_{one.row_tokens}": one.tokens_per_s for one in state.rounds if one.tokens_per_s > 0},
    )
    if not out.done("gate.json"):
        with out.unit("gate.json") as unit:
            write_json(unit.path, {"rounds": [_told(one) for one in state.rounds], "bits_before": gate.bits_before})
    out.panels += state.panels
    out.panels.append(loss_panel(state.log, "Loss of long rows, and of short held-back text"))
    columns = ["row", "round", "tokens", "RoPE theta", "RoPE factor", "short text, bits a byte", "change"]
    rows = [
        [
            *(one.row_tokens, one.number + 1, one.tokens, one.rope_theta, one.rope_factor),
            *(one.judgement.short_bits, f"{one.judgement.short_change:+.2%}", f"{one.judgement.lowest:.0%}"),
            "open" if one.judgement.passed else f"shut: {one.judgement.why}",
        ]
        for one in state.rounds
    ]
    title = f"The gate of each length{'' if last.judgement.passed else ': shut at the last'}"
    note = f"Before: {gate.bits_before:.4f} bits a byte of rows of {gate.short_tokens} tokens."
    out.panel("table", title, columns=[*columns, "needles found, worst depth", "gate"], rows=rows, note=note)
    out.panels.append(heat_map(last.judgement.cells, "Needles found by the gate after the last length"))


def _told(one: Round) -> dict[str, Any]:
    """Without its speed: the same bytes from every machine."""
    return {name: value for name, value in asdict(one).items() if name != "tokens_per_s"}
