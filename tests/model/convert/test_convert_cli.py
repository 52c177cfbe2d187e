"""`puna convert` as a person meets it."""

import json
import sys

import pytest

from puna.cli import main
from puna.tokenizer import Tokenizer
from tests.model.convert.example import folder, same_files, tokenizer


@pytest.fixture
def puna(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["puna", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0)

    return run


def test_around_all_layouts_and_back(puna, tmp_path, capsys):
    folder(tmp_path / "hf")
    assert puna("convert", "hf", "meta", "--to", "meta", "--shards", 2) == 0
    assert puna("convert", "meta", "a.gguf", "--to", "gguf") == 0
    assert puna("convert", "a.gguf", "back", "--to", "hf") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        f"Model: {name}   21 tensors" for name in ("meta", "a.gguf", "back")
    ]
    same_files(tmp_path / "hf", tmp_path / "back")
    assert Tokenizer.load(tmp_path / "meta").fingerprint == tokenizer().fingerprint


def test_what_could_not_be_quantised_is_said(puna, tmp_path, capsys):
    folder(tmp_path / "hf", ffn_dim=80)
    assert puna("convert", "hf", "a.gguf", "--to", "gguf", "--quantize", "int8") == 0
    assert "float16, as rows are no multiple of 32: blk.0.ffn_down.weight, blk.1" in capsys.readouterr().out
    assert puna("convert", "hf", "b.gguf", "--to", "gguf", "--quantize", "q8_0", "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert made["path"] == "b.gguf" and made["num_bytes"] == (tmp_path / "b.gguf").stat().st_size
    assert made["not_quantized"] == ["blk.0.ffn_down.weight", "blk.1.ffn_down.weight"]
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none", "out", "--to", "hf"], "expected a model at none, found no folder with config.json"),
        (["hf", "out", "--to", "onnx"], "--to: expected hf, meta, gguf, came onnx"),
        (["hf", "out", "--to", "meta", "--shards", "3"], "--shards: expected a divisor of kv_heads = 2, came 3"),
        (["hf", "out", "--to", "hf", "--quantize", "int8"], "--quantize: expected it with --to gguf, came --to hf"),
        (["hf", "hf", "--to", "gguf"], "expected nothing at hf, which is to be written, found something"),
        (["cut", "out", "--to", "gguf"], "model.safetensors is damaged: expected safetensors"),
    ],
)
def test_bad_input_is_one_line_status_2_and_nothing_written(puna, tmp_path, capsys, arguments, message):
    folder(tmp_path / "hf")
    weights = folder(tmp_path / "cut") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert puna("convert", *arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("puna: ")]
    assert len(lines) == 1 and message in lines[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut", "hf"]


def test_help_has_an_example(puna, capsys):
    assert puna("convert", "--help") == 0
    assert "Example: puna convert" in capsys.readouterr().out


def test_a_meta_folder_generates(puna, tmp_path, capsys):
    folder(tmp_path / "hf")
    assert puna("convert", "hf", "meta", "--to", "meta") == 0
    capsys.readouterr()
    texts = []
    for model in ("hf", "meta"):
        assert puna("generate", model, "abc", "--max-tokens", 8) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] and texts[0].strip()
