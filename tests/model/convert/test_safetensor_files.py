import pytest
import torch
from safetensors.torch import load_file, save_file

from puna.base.errors import ArtifactError
from puna.model.convert.checkpoint import Weight
from puna.model.convert.safetensor_files import read_weights, write_weights

TENSORS = {
    "b.weight": torch.arange(12.0).reshape(3, 4),
    "a.weight": torch.arange(10.0).to(torch.bfloat16),
    "c.weight": torch.arange(6.0).reshape(2, 3).half(),
    "ü": torch.ones(5),
}


def weights():
    return [Weight(name, tuple(one.shape), one.dtype, lambda one=one: one) for name, one in TENSORS.items()]


@pytest.mark.parametrize("num_letters", range(1, 9))  # padding of any length
def test_the_bytes_are_those_of_the_library(tmp_path, num_letters):
    more = Weight("x" * num_letters, (5,), torch.float32, lambda: torch.ones(5))
    write_weights(tmp_path, [*weights(), more])
    save_file(TENSORS | {more.name: more.load()}, tmp_path / "theirs", metadata={"format": "pt"})
    assert (tmp_path / "model.safetensors").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_shards_are_as_large_as_asked_and_read_back(tmp_path):
    counted = []
    write_weights(tmp_path, weights(), shard_bytes=50, wrote=counted.append)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert [sum(one.nbytes for one in load_file(file).values()) for file in files] == [48, 32, 20]
    assert sorted(counted) == [12, 20, 20, 48]
    for name, weight in read_weights(tmp_path).items():
        assert weight.dtype == TENSORS[name].dtype and weight.shape == TENSORS[name].shape
        assert torch.equal(weight.load(), TENSORS[name])


def test_a_file_cut_off_or_of_whole_numbers_is_refused(tmp_path):
    write_weights(tmp_path, weights())
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="is damaged: expected safetensors"):
        read_weights(tmp_path)
    save_file({"a": torch.ones(2, dtype=torch.int64)}, path)
    with pytest.raises(ArtifactError, match="expected tensors of float32, bfloat16, float16, came a of I64"):
        read_weights(tmp_path)
