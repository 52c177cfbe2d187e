"""An export holds the model and its card, in the precision asked for, and nothing of the artifact it was made from."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
import transformers
from safetensors.torch import load_file

from puna.base.errors import ArtifactError
from puna.base.files import read_json, write_json
from puna.base.output import Inputs, StageOutput
from puna.export.run import ExportConfig, run
from puna.model import load_model, save_model
from puna.model.convert.layout import open_checkpoint
from tests.model.convert.example import converted, folder, model, tokenizer, tokens

MODEL = {"config.json": '{"hidden_size": 8, "num_hidden_layers": 1, "vocab_size": 16}', "tokenizer.model": "ids",
         "model.safetensors": "weights"}  # fmt: skip


def exported(tmp_path: Path, source: Path, **config: Any) -> StageOutput:
    out = StageOutput(tmp_path / "out")
    run(ExportConfig(**config), Inputs({"model": source}), out)
    return out


def test_measurements_of_the_artifact_are_left_out(tmp_path: Path) -> None:
    """A model that a round kept carries its evaluation; a reward model its scale."""
    source = tmp_path / "keep"
    source.mkdir()
    left_out = ("manifest.json", "log.jsonl", "README.md", "items.parquet", "scores.json", "reward.json")
    for name, text in {**MODEL, **dict.fromkeys(left_out, "of the artifact")}.items():
        (source / name).write_text(text)
    score = {"task": "t", "metric": "accuracy", "value": 0.5, "ci95": [0.4, 0.6], "n": 90}
    (tmp_path / "scores").mkdir()
    write_json(tmp_path / "scores" / "scores.json", {"scores": [score]})
    out = StageOutput(tmp_path / "out")
    run(ExportConfig(), Inputs({"model": source, "scores": [tmp_path / "scores"]}), out)
    assert sorted(out.records()) == sorted([*MODEL, "README.md"])
    assert all((out.path / name).read_text() == text for name, text in MODEL.items())
    assert "| t | accuracy | 0.5000 | 0.4000 to 0.6000 | 90 |" in (out.path / "README.md").read_text()


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="expected a model folder at .*, found no config.json"):
        run(ExportConfig(), Inputs({"model": tmp_path}), StageOutput(tmp_path / "out"))


def test_another_precision_of_several_files(tmp_path: Path) -> None:
    """Weights, config.json, index and card all say bfloat16, and transformers loads it."""
    source, wide = tmp_path / "hf", model()
    save_model(wide, tokenizer(), source, shard_bytes=60_000)
    out = exported(tmp_path, source, dtype="bfloat16")
    files = sorted(out.path.glob("*.safetensors"))
    assert len(files) > 2 and [file.name for file in files] == sorted(one.name for one in source.glob("*.safetensors"))
    found = {name: tensor for file in files for name, tensor in load_file(file).items()}
    whole = {name: tensor for file in source.glob("*.safetensors") for name, tensor in load_file(file).items()}
    assert found.keys() == whole.keys() and all(torch.equal(found[name], whole[name].bfloat16()) for name in whole)
    total = read_json(out.path / "model.safetensors.index.json")["metadata"]["total_size"]
    assert total == sum(tensor.numel() * 2 for tensor in found.values())
    assert "weights in bfloat16" in (out.path / "README.md").read_text()
    described = read_json(out.path / "config.json")
    assert described["dtype"] == described["torch_dtype"] == "bfloat16"  # the second for transformers 4
    theirs = transformers.AutoModelForCausalLM.from_pretrained(out.path)
    assert theirs.dtype == torch.bfloat16


def test_a_model_keeps_its_precision_and_the_card_tells_it(tmp_path: Path) -> None:
    source = folder(tmp_path / "hf", torch.bfloat16)
    out = exported(tmp_path, source)
    assert (out.path / "model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()
    assert "weights in bfloat16" in (out.path / "README.md").read_text()
    assert "gguf" not in (out.path / "README.md").read_text()


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16", "q8_0", "q4_0"])
def test_gguf_is_the_file_that_convert_writes(tmp_path: Path, precision: str) -> None:
    source = folder(tmp_path / "hf")
    out = exported(tmp_path, source, gguf=precision, title="Our model")
    options = {"quantize": precision} if precision.startswith("q") else {"dtype": precision}
    converted(source, tmp_path / "theirs.gguf", "gguf", **options)
    ours, theirs = (gguf.GGUFReader(path) for path in (out.path / "model.gguf", tmp_path / "theirs.gguf"))
    assert ours.fields["general.name"].contents() == "Our model"
    assert [one.name for one in ours.tensors] == [one.name for one in theirs.tensors]
    assert all((one.data == other.data).all() for one, other in zip(ours.tensors, theirs.tensors, strict=True))
    assert out.metrics["gguf_bytes"] == (out.path / "model.gguf").stat().st_size
    assert "llama-cli -m model.gguf" in (out.path / "README.md").read_text()


def test_gguf_in_full_precision_is_the_same_model(tmp_path: Path) -> None:
    source = folder(tmp_path / "hf")
    out = exported(tmp_path, source, gguf="float32")
    ours, ids = open_checkpoint(out.path / "model.gguf"), tokens(2, 9)
    weights = load_model(source).state_dict()
    assert all(torch.equal(weight.load(), weights[name]) for name, weight in ours.weights.items())
    with torch.no_grad():
        assert torch.equal(load_model(out.path)(ids), load_model(source)(ids))


def test_what_has_no_gguf_form_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    experts = folder(tmp_path / "experts", num_experts=4, experts_per_token=2)
    with pytest.raises(ArtifactError, match="expected a dense model, came 4 experts"):
        exported(tmp_path, experts, gguf="q8_0")
    assert not (tmp_path / "out/files/model.gguf").exists()
    save_model(model(), None, tmp_path / "bare")
    with pytest.raises(ArtifactError, match="expected a tokenizer"):
        exported(tmp_path, tmp_path / "bare", gguf="q8_0")


_LIMITED = """
import resource, sys
from pathlib import Path
import puna.export.run as export
from puna.base.output import Inputs, StageOutput
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
config = export.ExportConfig(dtype="bfloat16", gguf="q8_0")
export.run(config, Inputs({"model": Path(sys.argv[1])}), StageOutput(Path(sys.argv[2])))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used)
"""


def test_a_model_passes_tensor_by_tensor(tmp_path: Path) -> None:
    """Of 130 MB, exported in two precisions, far less is in memory."""
    source = folder(tmp_path / "hf", dim=512, layers=10, heads=8, kv_heads=8, ffn_dim=1408)
    assert (source / "model.safetensors").stat().st_size > 120e6
    arguments = [sys.executable, "-c", _LIMITED, str(source), str(tmp_path / "out")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60_000, f"{int(done.stdout) / 1024:.0f} MB more than at the start"
