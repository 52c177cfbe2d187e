"""What a conversion promises whatever the layouts: one tensor in memory, and all or nothing at DST."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from puna.base.errors import ArtifactError, ConfigError, InputError
from puna.model import load_model
from puna.model.config import LlamaConfig
from puna.model.convert.checkpoint import Checkpoint, Weight, expected_shapes, halve, interleave
from puna.model.convert.huggingface import write_huggingface
from puna.model.convert.layout import Target, convert, open_checkpoint
from tests.model.convert.example import converted, folder, model, tokenizer, tokenizer_of, tokens

ROOT = Path(__file__).resolve().parents[3]


def test_neighbours_of_the_interleaved_order_are_the_pairs_of_ours():
    rows = torch.arange(24)[:, None].expand(24, 3)  # two heads of 12 channels
    assert interleave(rows, 2)[:4, 0].tolist() == [0, 6, 1, 7] and interleave(rows, 2)[12:14, 0].tolist() == [12, 18]
    assert torch.equal(halve(interleave(rows, 2), 2), rows)


@pytest.mark.parametrize("to", ["hf", "meta", "gguf"])
def test_a_dtype_can_be_asked_for(tmp_path, to):
    converted(folder(tmp_path / "hf"), tmp_path / "out", to, dtype="bfloat16")
    checkpoint = open_checkpoint(tmp_path / "out")
    assert {weight.dtype for weight in checkpoint.weights.values()} == {torch.bfloat16}
    expected = model().state_dict()["layers.1.attention.k.weight"]
    # GGUF keeps norms in float32; matrices are rounded once, on the way there.
    assert torch.equal(checkpoint.weights["layers.1.attention.k.weight"].load(), expected.to(torch.bfloat16))


def test_a_sharded_folder_is_read_and_a_folder_without_tokenizer_keeps_none(tmp_path):
    from puna.model import save_model

    save_model(model(), None, tmp_path / "hf", shard_bytes=50_000)
    assert len(list((tmp_path / "hf").glob("*.safetensors"))) > 1
    converted(tmp_path / "hf", tmp_path / "meta", "meta")
    assert not (tmp_path / "meta/tokenizer.model").exists()
    assert torch.equal(load_model(tmp_path / "meta")(tokens(1, 9)), model()(tokens(1, 9)))
    with pytest.raises(ArtifactError, match="expected a tokenizer in .*, which a GGUF file needs, found none"):
        converted(tmp_path / "hf", tmp_path / "a.gguf", "gguf")


CONVERSIONS = (("hf", "meta", {"num_shards": 2}), ("meta", "gguf", {"quantize": "q8_0"}), ("gguf", "back", {}))
CHILD = """
import sys, torch
from pathlib import Path
from tests.model.convert.example import converted
from tests.model.convert.test_layout import CONVERSIONS
def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
torch.set_num_threads(1)
place = Path(sys.argv[1])
converted(place / "small" / "hf", place / "small" / "first", "meta")  # imports, first uses
for source, to, options in CONVERSIONS:
    before = peak()
    converted(place / source, place / to, {"back": "hf"}.get(to, to), **options)
    print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_memory_is_for_a_few_tensors_not_for_the_model(tmp_path):
    config = LlamaConfig(1024, 5, 8, 8, ffn_dim=2048, vocab_size=272, tied=False)
    weights = {
        name: Weight(name, shape, torch.float32, lambda shape=shape: torch.full(shape, 0.5))
        for name, shape in expected_shapes(config).items()
    }
    (tmp_path / "hf").mkdir()
    write_huggingface(Checkpoint(tmp_path, config, weights), tokenizer(), tmp_path / "hf", lambda num_bytes: None)
    total = sum(weight.num_bytes for weight in weights.values())
    largest = max(weight.num_bytes for weight in weights.values())
    assert total > 200e6 and largest < 9e6
    folder(tmp_path / "small" / "hf")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    made = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    grown = [int(line) for line in made.stdout.split()]
    assert len(grown) == 3 and max(grown) < 6 * largest, grown


@pytest.mark.parametrize("to", ["hf", "meta", "gguf"])
@pytest.mark.parametrize("when", ["loading", "writing"])
def test_after_an_error_nothing_is_there(tmp_path, to, when):
    source = folder(tmp_path / "hf")
    checkpoint = open_checkpoint(source)
    if when == "loading":  # the file is exchanged under our hands
        tensors = load_file(source / "model.safetensors")
        tensors.pop("lm_head.weight")
        save_file(tensors, source / "model.safetensors")

    def watch(done, total):
        if when == "writing" and done > total / 2:
            raise InputError("the disk is gone")

    tokenizer = tokenizer_of(checkpoint)
    with pytest.raises(InputError, match="lm_head.weight|disk is gone"):
        convert(checkpoint, tokenizer, tmp_path / "out", Target(to), watch)
    assert [one.name for one in tmp_path.iterdir()] == ["hf"]


@pytest.mark.parametrize("to", ["hf", "meta", "gguf"])
def test_a_tokenizer_of_another_size_is_refused(tmp_path, to):
    source = folder(tmp_path / "hf", vocab_size=276)
    with pytest.raises(ArtifactError, match="expected a tokenizer of 276 tokens, .*came one of 272"):
        converted(source, tmp_path / "out", to)
    assert [one.name for one in tmp_path.iterdir()] == ["hf"]


def test_what_is_there_is_never_overwritten(tmp_path):
    source = folder(tmp_path / "hf")
    (tmp_path / "out").write_text("mine")
    for to in ("hf", "meta", "gguf"):
        with pytest.raises(InputError, match="expected nothing at .*out, .*give another name"):
            converted(source, tmp_path / "out", to)
    with pytest.raises(InputError, match="expected a folder at .*none to write out into, found none"):
        converted(source, tmp_path / "none" / "out", "hf")
    assert (tmp_path / "out").read_text() == "mine" and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "onnx"}, "--to: expected hf, meta, gguf, came onnx"),
        ({"layout": "hf", "dtype": "float8"}, "--dtype: expected float32, bfloat16, float16, came float8"),
        ({"layout": "gguf", "quantize": "q6_k"}, "--quantize: expected q8_0, q4_0, int8, int4, came q6_k"),
        ({"layout": "hf", "quantize": "int8"}, "--quantize: expected it with --to gguf"),
        ({"layout": "gguf", "quantize": "int8", "dtype": "float16"}, "--quantize: expected it without --dtype"),
        ({"layout": "hf", "num_shards": 2}, "--shards: expected 1 or more with --to meta"),
        ({"layout": "meta", "num_shards": 0}, "--shards: expected 1 or more with --to meta, came 0"),
    ],
)
def test_settings_that_cannot_be_are_named(options, message):
    with pytest.raises(ConfigError, match=message):
        Target(**options)


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "text").write_text("GGU")
    for path in (tmp_path, tmp_path / "text", tmp_path / "none"):
        with pytest.raises(ArtifactError, match="expected a model at .*, found no folder with config.json"):
            open_checkpoint(path)


def test_numbers_too_large_for_float16_and_reward_models_are_refused(tmp_path):
    source = folder(tmp_path / "hf")
    tensors = load_file(source / "model.safetensors")
    tensors["model.norm.weight"][3] = 1e5
    save_file(tensors, source / "model.safetensors")
    with pytest.raises(ArtifactError, match="norm.weight: expected weights below 65504"):
        converted(source, tmp_path / "out", "hf", dtype="float16")
    tensors["score.weight"] = torch.ones(1, 64)
    save_file(tensors, source / "model.safetensors")
    with pytest.raises(ArtifactError, match="came score.weight as well"):
        converted(source, tmp_path / "out", "hf")
    assert load_model(source).config.vocab_size == 272  # its backbone can be loaded
    assert json.loads((source / "config.json").read_text())["vocab_size"] == 272


@pytest.mark.parametrize("to", ["meta", "gguf"])
def test_experts_go_to_no_layout_that_has_no_place_for_them(tmp_path, to):
    source = folder(tmp_path / "source", num_experts=2, experts_per_token=2)
    with pytest.raises(ArtifactError, match="expected a dense model, came 2 experts; use --to hf"):
        converted(source, tmp_path / "target", to)
    assert not (tmp_path / "target").exists()
    converted(source, tmp_path / "copy", "hf")
    copy, first = load_model(tmp_path / "copy"), load_model(source)
    assert all(map(torch.equal, copy.parameters(), first.parameters())) and copy.config == first.config
