import zipfile

import pytest
import torch

from puna.base.errors import ArtifactError
from puna.model.convert.torch_files import read_torch_file, writing_torch_file

TENSORS = {
    "a": torch.arange(12.0).reshape(3, 4),
    "b": torch.arange(10.0).to(torch.bfloat16),
    "c": torch.arange(6.0).reshape(2, 3).half().t(),
}


@pytest.fixture
def path(tmp_path):
    with writing_torch_file(tmp_path / "ours.pth") as file:
        for name, tensor in TENSORS.items():
            file.add(name, tensor)
        file.alias("d", "a")
    return tmp_path / "ours.pth"


@pytest.mark.parametrize("mmap", [True, False])
def test_torch_loads_what_we_write(path, mmap):
    loaded = torch.load(path, weights_only=True, mmap=mmap)
    assert list(loaded) == ["a", "b", "c", "d"]
    for name, tensor in [*TENSORS.items(), ("d", TENSORS["a"])]:
        assert torch.equal(loaded[name], tensor) and loaded[name].dtype == tensor.dtype
        assert loaded[name].data_ptr() % 64 == 0
    assert loaded["d"].data_ptr() == loaded["a"].data_ptr()


def test_the_archive_is_a_sound_zip_without_compression(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_we_read_what_torch_saves(tmp_path):
    torch.save(TENSORS, tmp_path / "theirs.pth")
    found = read_torch_file(tmp_path / "theirs.pth")
    assert {name: (weight.shape, weight.dtype) for name, weight in found.items()} == {
        name: (tuple(tensor.shape), tensor.dtype) for name, tensor in TENSORS.items()
    }
    assert all(torch.equal(found[name].load(), tensor) for name, tensor in TENSORS.items())


class Trap:
    def __reduce__(self):
        return exec, ("import pathlib; pathlib.Path('sprung').touch()",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": torch.ones(2), "b": Trap()}, "came a pickle with other objects, which could run code"),
        ({"a": torch.ones(2), "step": 3}, "expected tensors by name and nothing else, came int"),
        ({"a": torch.ones(2, dtype=torch.int64)}, "came a of torch.int64"),
        ([torch.ones(2)], "expected a dictionary of tensors, came list"),
    ],
)
def test_what_is_no_dictionary_of_tensors_is_refused_and_never_run(tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    torch.save(content, "trap.pth")
    with pytest.raises(ArtifactError, match=message) as caught:
        read_torch_file(tmp_path / "trap.pth")
    assert "\n" not in str(caught.value) and not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("share", [0.0, 0.4, 0.99])
def test_a_file_cut_off_is_refused(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ArtifactError, match=r"ours\.pth is damaged: expected a file of torch\.save") as caught:
        read_torch_file(path)
    assert "\n" not in str(caught.value)
