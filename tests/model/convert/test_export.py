"""An export holds the model and its card, and nothing of the artifact that it was made from."""

from pathlib import Path

import pytest

from puna.base.errors import ArtifactError
from puna.base.files import write_json
from puna.base.output import Inputs, StageOutput
from puna.model.convert.export import ExportConfig, run

MODEL = {"config.json": "{\"hidden_size\": 8, \"num_hidden_layers\": 1, \"vocab_size\": 16}", "tokenizer.model": "ids",
         "model.safetensors": "weights"}  # fmt: skip


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
