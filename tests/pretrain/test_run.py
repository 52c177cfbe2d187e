"""The pretrain stage with experts and with a reference: what it writes, and which settings it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from puna.base.config import Mesh, validate
from puna.base.errors import ConfigError, DataError
from puna.base.output import Inputs, StageOutput
from puna.base.records import Document, read_jsonl, write_documents
from puna.model import Llama, LlamaConfig, load_model, save_model
from puna.model.config import LLAMA31_ROPE_SCALING
from puna.pretrain.first import ShapeConfig, new_model
from puna.pretrain.mix.corpus import Corpus
from puna.pretrain.mix.plan import MixConfig
from puna.pretrain.mix.plan import run as make_mix
from puna.pretrain.run import PretrainConfig, drawn, new_loader, run
from puna.tokenizer import Tokenizer
from puna.tokenizer.bpe import special_ids, split_pattern
from puna.tokenizer.shards import TokensConfig
from puna.tokenizer.shards import run as make_shards

SHAPE = {"dim": 16, "layers": 2, "heads": 2, "kv_heads": 1, "ffn_dim": 32, "max_position": 64}
LOOP = {"num_tokens": 1024, "row_tokens": 32, "batch_rows": 4, "micro_batch": 4, "checkpoint_interval_s": 1e9}
FAST = {"num_tokens": 4096, "lr": 0.02, "schedule": {"warmup_steps": 2}}
EXPERTS = {**SHAPE, "num_experts": 3, "experts_per_token": 2}


def tokenizer_of(*joined: bytes) -> Tokenizer:
    ranks = {bytes([byte]): byte for byte in range(256)} | {word: 256 + i for i, word in enumerate(joined)}
    return Tokenizer(ranks, special_ids(len(ranks), 16), split_pattern())


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Shards of a few pages with their tokenizer, and a dense model of SHAPE."""
    return inputs_of(tmp_path_factory.mktemp("inputs"), b"th")


def inputs_of(folder: Path, *joined: bytes) -> dict[str, Path]:
    """The same, with a tokenizer of bytes and these words."""
    for name in ("documents", "tokenizer", "dense"):
        (folder / name).mkdir()
    tokenizer = tokenizer_of(*joined)
    tokenizer.save(folder / "tokenizer")
    pages = [Document(f"d{i}", f"the {i} th cat and the {i + 1} th dog " * (i + 1)) for i in range(12)]
    write_documents(folder / "documents/documents-0000.parquet", pages)
    shards = StageOutput(folder / "shards")
    given = Inputs({"documents": folder / "documents", "tokenizer": folder / "tokenizer"})
    make_shards(TokensConfig(), given, shards)
    model = Llama(LlamaConfig(**SHAPE, vocab_size=tokenizer.vocab_size, rope_theta=10_000.0))
    model.initialise(3, std=0.2)
    save_model(model, tokenizer, folder / "dense")
    return {"tokens": shards.path, "tokenizer": folder / "tokenizer", "dense": folder / "dense"}


def pretrained(inputs: dict[str, Path], out: Path, uses: tuple[str, ...] = (), **changes: Any) -> StageOutput:
    """Run the stage on `tokens` and `tokenizer`, and on the dense model as the inputs that `uses` names."""
    given = {**{name: inputs[name] for name in ("tokens", "tokenizer")}, **dict.fromkeys(uses, inputs["dense"])}
    stage = StageOutput(out, seed=5)
    run(PretrainConfig(**{**LOOP, "model": SHAPE, **changes}), Inputs(given), stage)
    return stage


def test_a_run_with_experts_writes_a_mixtral_and_measures_the_load(inputs: dict[str, Path], tmp_path: Path) -> None:
    settings = {"balance_weight": 0.01, "capacity_factor": 1.1}
    out = pretrained(inputs, tmp_path, model=EXPERTS, experts=settings, loss={"z_weight": 1e-4, "chunk_tokens": 50})
    rows = list(read_jsonl(out.path / "log.jsonl"))
    assert len(rows) == 8 and rows[-1]["loss"] < rows[0]["loss"]
    assert {"z_loss", "balance_loss", "expert_load", "dropped"} <= set(rows[0])
    assert out.metrics["expert_load"] == rows[-1]["expert_load"] >= 1.0
    assert out.metrics["num_active_parameters"] < out.metrics["num_parameters"]
    theirs = transformers.AutoModelForCausalLM.from_pretrained(out.path)
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        expected = theirs(tokens).logits
        assert (load_model(out.path)(tokens) - expected).norm() <= 1e-5 * expected.norm()


def test_a_ramp_learns_the_rows_of_the_run_in_their_order_in_smaller_batches(
    inputs: dict[str, Path], tmp_path: Path
) -> None:
    """At a rate near nothing the loss of a step tells its rows."""
    ramped = pretrained(inputs, tmp_path / "ramped", batch_ramp={96: 1, 512: 2}, lr=1e-12)
    plain = pretrained(inputs, tmp_path / "plain", batch_rows=1, lr=1e-12)
    alone = [row["loss"] * row["targets"] for row in read_jsonl(plain.path / "log.jsonl")]
    sizes = [1] * 3 + [2] * 7 + [4] * 3
    firsts = [sum(sizes[:step]) for step in range(len(sizes))]
    expected = [sum(alone[first : first + size]) for first, size in zip(firsts, sizes, strict=True)]
    came = [row["loss"] * row["targets"] for row in read_jsonl(ramped.path / "log.jsonl")]
    assert came == pytest.approx(expected, rel=1e-6)
    assert ramped.metrics["num_steps"] == len(sizes)
    assert ramped.metrics["epochs"] == pytest.approx(plain.metrics["epochs"] * sum(sizes) / 32)
    assert len({round(loss, 3) for loss in alone}) > 5


def test_held_out_rows_are_drawn_from_all_and_not_the_fullest(inputs: dict[str, Path]) -> None:
    """The first rows of a packing hold the longest documents; the same rows come every time."""
    corpus = Corpus({"tokens": inputs["tokens"]}, "train", tokenizer_of(b"th").fingerprint)
    loader = new_loader(corpus, PretrainConfig(**LOOP), 0)
    total = loader.packing.num_rows
    rows = [tuple(row) for part in drawn(loader, 8, 3) for row in part.tokens.tolist()]
    assert [len(part.tokens) for part in drawn(loader, 8, 3)] == [3, 3, 2] and total > 16
    first = [tuple(row) for row in loader.gather(list(range(8))).tokens.tolist()]
    assert set(rows) != set(first) and rows == [tuple(r) for part in drawn(loader, 8, 3) for r in part.tokens.tolist()]
    whole = [tuple(row) for part in drawn(loader, 10 * total, 4) for row in part.tokens.tolist()]
    assert sorted(whole) == sorted(tuple(row) for row in loader.gather(list(range(total))).tokens.tolist())


def test_experts_begin_as_copies_of_the_dense_model(inputs: dict[str, Path], tmp_path: Path) -> None:
    """At a rate near nothing the model still says what the dense one says; biased routers are written as such."""
    out = pretrained(inputs, tmp_path, ("dense",), model=EXPERTS, experts={"bias_rate": 0.01}, lr=1e-12)
    assert json.loads((out.path / "config.json").read_text())["model_type"] == "mixtral-router-bias"
    model, dense, tokens = load_model(out.path), load_model(inputs["dense"]), torch.arange(30)[None]
    with torch.no_grad():
        assert (model(tokens) - dense(tokens)).norm() <= 1e-5 * dense(tokens).norm()
    assert model.layers[0].feed_forward.router_bias.abs().max() > 0


def test_a_model_goes_on_from_where_it_stood(inputs: dict[str, Path], tmp_path: Path) -> None:
    """At a rate near nothing it is the model that was given; trained on, it is better than at its own start."""
    still = pretrained(inputs, tmp_path / "still", ("model",), lr=1e-12)
    model, given, tokens = load_model(still.path), load_model(inputs["dense"]), torch.arange(30)[None]
    with torch.no_grad():
        assert (model(tokens) - given(tokens)).norm() <= 1e-5 * given(tokens).norm()
    trained = pretrained(inputs, tmp_path / "first", **FAST)
    further = pretrained({**inputs, "dense": trained.path}, tmp_path / "further", ("model",), **FAST)
    losses = [[row["loss"] for row in read_jsonl(out.path / "log.jsonl")] for out in (trained, further)]
    assert losses[1][0] < losses[0][0] - 0.5 and losses[1][-1] < losses[0][-1]


def test_a_model_of_long_context_goes_on_in_longer_rows_with_its_rope(inputs: dict[str, Path], tmp_path: Path) -> None:
    """The shape is said as it was before long context; what comes out has the RoPE and the positions of what came."""
    scaling = {**LLAMA31_ROPE_SCALING, "original_max_position_embeddings": 64}
    model = load_model(inputs["dense"])
    model.set_rope(10_000.0, scaling, 256)
    save_model(model, tokenizer_of(b"th"), tmp_path / "long")
    given = {**inputs, "dense": tmp_path / "long"}
    out = pretrained(given, tmp_path / "out", ("model",), row_tokens=128, batch_rows=1)
    config = load_model(out.path).config
    assert (config.rope_scaling, config.max_position) == (scaling, 256)
    with pytest.raises(ConfigError, match="pretrain.model.rope_theta: expected 10000.0 as in the input model"):
        pretrained(given, tmp_path / "other", ("model",), model={**SHAPE, "rope_theta": 5e5})


def test_a_mix_decides_what_is_learned(inputs: dict[str, Path], tmp_path: Path) -> None:
    """Two documents of twelve, over and over, are learned by heart; more than the mix has is refused."""
    mix = StageOutput(tmp_path / "mix")
    settings = {"by": "id", "weights": {f"d{i}": float(i in (0, 1)) for i in range(12)}, "max_epochs": 100}
    make_mix(MixConfig(**settings, num_tokens=4300), Inputs({"tokens": inputs["tokens"]}), mix)
    plain = {name: inputs[name] for name in ("tokens", "tokenizer")}
    outs = [StageOutput(tmp_path / name, seed=5) for name in ("mixed", "plain")]
    for given, out in zip(({**plain, "mix": mix.path}, plain), outs, strict=True):
        run(PretrainConfig(**{**LOOP, **FAST, "model": SHAPE}), Inputs(given), out)
    assert outs[0].metrics["final_loss"] < outs[1].metrics["final_loss"] - 0.3
    assert outs[0].metrics["epochs"] < 1
    with pytest.raises(ConfigError, match="of the rows that the mix fills, came 20,000"):
        run(
            PretrainConfig(**{**LOOP, "model": SHAPE, "num_tokens": 20_000}),
            Inputs({**plain, "mix": mix.path}),
            StageOutput(tmp_path / "long"),
        )


def test_a_reference_chooses_what_is_learned(inputs: dict[str, Path], tmp_path: Path) -> None:
    every = pretrained(inputs, tmp_path / "every")
    chosen = pretrained(inputs, tmp_path / "chosen", ("reference",), loss={"keep": 0.5})
    targets = [[row["targets"] for row in read_jsonl(out.path / "log.jsonl")] for out in (every, chosen)]
    assert targets[1] == [round(0.5 * count) for count in targets[0]]


@pytest.mark.parametrize(
    ("uses", "changes", "message"),
    [
        ((), {"loss": {"keep": 0.5}}, 'expected an input "reference"'),
        (("reference",), {}, "expected less than 1 with the input reference, came 1.0"),
        ((), {"experts": {"bias_rate": 0.1}}, "expected no settings for a dense model"),
        ((), {"model": {**SHAPE, "num_experts": 3}}, "expected at least 2 with experts, came 1"),
        ((), {"model": {**EXPERTS, "experts_per_token": 4}}, "expected 1 to num_experts = 3, came 4"),
        (("dense",), {"model": {**EXPERTS, "ffn_dim": 48}}, "ffn_dim: expected 32 as in the input dense, came 48"),
        (("model",), {"model": {**SHAPE, "layers": 3}}, "layers: expected 2 as in the input model, came 3"),
        (("model", "dense"), {"model": EXPERTS}, "expected one of the inputs model and dense, came both"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    inputs: dict[str, Path], tmp_path: Path, uses: tuple[str, ...], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        pretrained(inputs, tmp_path, uses, **changes)


def test_a_model_of_another_tokenizer_is_refused(inputs: dict[str, Path], tmp_path: Path) -> None:
    other = tokenizer_of(b"ca")
    save_model(Llama(LlamaConfig(**SHAPE, vocab_size=other.vocab_size)), other, tmp_path / "other")
    changed = {**inputs, "dense": tmp_path / "other"}
    for uses, settings in (
        (("reference",), {"loss": {"keep": 0.5}}),
        (("dense",), {"model": EXPERTS}),
        (("model",), {}),
    ):
        with pytest.raises(ConfigError, match="expected a model with the tokenizer of this stage"):
            pretrained(changed, tmp_path / uses[0], uses, **settings)


def test_a_preset_gives_every_size_that_is_not_set() -> None:
    """Llama 3 8B as it was pretrained (paper, table 3): 8192 positions, no RoPE scaling."""
    shape = ShapeConfig(preset="8B", layers=2, init_std=0.01)
    sizes = {"dim": 4096, "layers": 2, "heads": 32, "kv_heads": 8, "ffn_dim": 14336, "rope_theta": 500_000.0}
    assert shape.model_dump(include={*sizes, "max_position", "tied", "init_std"}) == {
        **sizes, "max_position": 8192, "tied": False, "init_std": 0.01,
    }  # fmt: skip
    assert ShapeConfig(preset="1B").tied and ShapeConfig(preset="8B").init_std == 0.02
    assert ShapeConfig.model_validate(shape.model_dump()) == shape
    assert ShapeConfig().model_dump() | {"preset": "nano"} == ShapeConfig(preset="nano").model_dump()


def test_a_scale_makes_the_model_narrower_and_leaves_its_layers() -> None:
    shape = ShapeConfig(preset="70B", layers=3, max_position=64, scale=1 / 128)
    config = new_model(shape, tokenizer_of(), seed=0).config
    assert (config.dim, config.layers, config.heads, config.kv_heads, config.ffn_dim) == (64, 3, 8, 1, 224)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            {"preset": "8b"},
            r'pretrain\.model\.preset: expected one of nano, 1B, .*\(did you mean "8B"\?\), came \'8b\'',
        ),
        ({"preset": "7B"}, r"pretrain\.model\.preset: expected one of nano, 1B, 3B, 8B, 70B, 405B"),
        ({"preset": ["8B"]}, r"pretrain\.model\.preset: expected a valid string, came \['8B'\]"),
        ({"preset": "8B", "scale": 0}, r"pretrain\.model\.scale: expected greater than 0, came 0"),
        ({"scale": 2}, r"pretrain\.model\.scale: expected less than or equal to 1, came 2"),
    ],
)
def test_an_unknown_preset_or_scale_is_told_in_one_line(shape: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        validate(PretrainConfig, {"model": shape}, "pretrain")
    assert "\n" not in str(error.value)


def test_scores_on_the_way_are_in_the_log_and_the_report(inputs: dict[str, Path], tmp_path: Path) -> None:
    made: list[Any] = []

    def evaluator(settings: dict[str, Any], given: Inputs) -> Any:
        made.append((settings, given.names()))
        seen: list[torch.Tensor] = []

        def evaluate(model: torch.nn.Module) -> dict[str, float]:
            torch.rand(3)  # which no run may notice
            seen.append(next(model.parameters()).detach().clone())
            return {"b": float(len(seen)), "a": 0.5}

        return evaluate

    ask = {"times": 2, "tasks": [{"name": "a", "kind": "exam", "input": "exams"}]}
    plain, asked = pretrained(inputs, tmp_path / "plain"), StageOutput(tmp_path / "asked", seed=5)
    config = PretrainConfig(**{**LOOP, "model": SHAPE, "evaluate": ask})
    given = Inputs({name: inputs[name] for name in ("tokens", "tokenizer")})
    run(config, given, asked, evaluate=evaluator)
    assert made == [({"tasks": ask["tasks"], "style": "base"}, ["tokenizer", "tokens"])]
    rows = list(read_jsonl(asked.path / "log.jsonl"))
    assert [(row["step"], row["score/a"], row["score/b"]) for row in rows if "score/a" in row] == [
        (4, 0.5, 1.0),
        (8, 0.5, 2.0),
    ]
    bare = [{name: value for name, value in row.items() if not name.startswith("score/")} for row in rows]
    assert bare == list(read_jsonl(plain.path / "log.jsonl"))
    [panel] = [one for one in asked.panels if one["title"] == "Scores on the way"]
    assert [(one["name"], one["y"]) for one in panel["series"]] == [("a", [0.5, 0.5]), ("b", [1.0, 2.0])]
    assert [one["title"] for one in plain.panels] == ["Pretraining loss", "Packing"]
    with pytest.raises(ConfigError, match="pretrain.evaluate: expected something that evaluates"):
        run(config, given, StageOutput(tmp_path / "bare", seed=5))


def test_a_mesh_of_two_processes_is_started_by_the_stage_itself(inputs: dict[str, Path], tmp_path: Path) -> None:
    alone = pretrained(inputs, tmp_path / "alone")
    both = StageOutput(tmp_path / "both", seed=5, mesh=Mesh(data=2, threads=1))
    given = Inputs({name: inputs[name] for name in ("tokens", "tokenizer")})
    run(PretrainConfig(**{**LOOP, "model": SHAPE}), given, both)
    assert both.records().keys() == alone.records().keys()
    assert both.metrics["final_loss"] == pytest.approx(alone.metrics["final_loss"], rel=1e-4)
    assert [one["title"] for one in both.panels][-2:] == ["Pretraining loss", "Packing"]
