"""Predicted memory against what the allocator gave out while the real loop trained."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from puna.base.errors import ConfigError
from puna.model import PRESETS, Llama, LlamaConfig
from puna.pretrain.loader import Batch
from puna.pretrain.loop import LoopConfig, language_modelling, train_step
from puna.pretrain.loss import LossConfig
from puna.pretrain.objective import dense_loss
from puna.pretrain.optim import Optimizer
from puna.scaling.memory import Split, activation_values, stage_layers, stage_parameters, training_memory

CONFIG = LlamaConfig(dim=64, layers=3, heads=4, kv_heads=2, ffn_dim=192, vocab_size=512)
WIDE = LlamaConfig(dim=128, layers=2, heads=4, kv_heads=2, ffn_dim=352, vocab_size=96, tied=False)
LONG_VOCABULARY = LlamaConfig(dim=32, layers=1, heads=2, kv_heads=1, ffn_dim=64, vocab_size=4096)


def _batch(config: LlamaConfig, rows: int, sequence: int, document: int) -> Batch:
    order = torch.arange(sequence).expand(rows, sequence)
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, config.vocab_size, (rows, sequence)))
    return Batch(tokens, tokens, order % document, order // document)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize(
    ("config", "rows", "micro_batch", "sequence", "document", "chunk"),
    [
        (CONFIG, 4, 4, 128, 64, 0),
        (CONFIG, 4, 2, 128, 64, 0),
        (CONFIG, 4, 2, 128, 64, 32),
        (WIDE, 2, 1, 128, 64, 0),
        (LONG_VOCABULARY, 1, 1, 32, 32, 0),
        (LONG_VOCABULARY, 2, 1, 32, 32, 0),
        (CONFIG, 2, 2, 383, 383, 0),  # the longest row that keeps no probabilities, and the shortest that does
        (CONFIG, 2, 2, 384, 384, 0),
        (CONFIG, 1, 1, 2048, 1024, 0),
    ],
)
def test_a_step_takes_what_was_predicted(
    config: LlamaConfig, rows: int, micro_batch: int, sequence: int, document: int, chunk: int, optimizer: str
) -> None:
    """The allocator's own record, so that neither the interpreter nor what malloc keeps comes into it."""
    model, settings = Llama(config), LoopConfig(optimizer=optimizer, micro_batch=micro_batch)  # type: ignore[arg-type]
    adam = Optimizer(model, settings)
    backward = language_modelling(micro_batch, dense_loss(LossConfig(chunk_tokens=chunk)))
    batch = _batch(config, rows, sequence, document)
    kept = [tensor for one in adam.tensors().values() for name, tensor in one.items() if name != "step"]
    steady = sum(tensor.nbytes for tensor in [*model.parameters(), *kept])
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        train_step(model, adam, batch, 1e-3, settings, backward)
    events = record.profiler.kineto_results.events()  # type: ignore[union-attr]
    moves = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    measured = steady + max(np.cumsum([size for _, size in moves]))
    memory = training_memory(
        config,
        micro_batch,
        sequence,
        micro_batches=rows // micro_batch,
        dtype="fp32",
        optimizer=optimizer,
        chunk_tokens=chunk,
    )
    assert memory.weights + memory.optimizer == steady
    assert memory.peak == pytest.approx(measured, rel=0.05)


def test_a_layer_keeps_what_was_predicted() -> None:
    """Storages that autograd holds after the forward pass, one document a row; nothing needs the last output."""
    rows, sequence = 2, 64
    model = Llama(CONFIG)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    held: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and tensor.dtype.is_floating_point:
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = model.hidden(torch.zeros(rows, sequence, dtype=torch.int64))
    layers = CONFIG.layers * activation_values(CONFIG, sequence, packed=False)
    expected = 4 * rows * sequence * (layers + 2 * CONFIG.dim + CONFIG.head_dim / rows)
    assert sum(held.values()) == pytest.approx(expected, rel=0.01)
    assert out.shape == (rows, sequence, CONFIG.dim)


GROWTH = """
import re, sys, tempfile
from pathlib import Path
from puna.base.output import StageOutput
from puna.model import Llama, LlamaConfig
from puna.pretrain.loop import LoopConfig, language_modelling, train
from tests.scaling.test_memory import CONFIG, _batch

def status(name):
    return 1024 * int(re.search(rf"^{name}:\\s+(\\d+) kB", Path("/proc/self/status").read_text(), re.M)[1])

def learn(model, length):
    made = _batch(model.config, 8, length, length // 2)
    settings = LoopConfig(micro_batch=4, checkpoint_interval_s=1e9)
    train(model, lambda step: made, 3, settings, StageOutput(Path(tempfile.mkdtemp())), language_modelling(4))

dim, layers, ffn_dim, vocab_size = map(int, sys.argv[1:])
learn(Llama(CONFIG), 64)  # loads what is loaded once
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
learn(Llama(LlamaConfig(dim=dim, layers=layers, heads=8, kv_heads=4, ffn_dim=ffn_dim, vocab_size=vocab_size)), 256)
print(status("VmHWM") - before)
"""


@pytest.mark.long
@pytest.mark.parametrize("sizes", [(256, 8, 704, 4096), (384, 6, 1024, 4096), (256, 8, 704, 1024)])
def test_the_process_grows_by_what_was_predicted(sizes: tuple[int, int, int, int]) -> None:
    """Resident memory while the whole loop runs, in a process of its own: what an operating system has to give."""
    command = [sys.executable, "-c", GROWTH, *map(str, sizes)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    dim, layers, ffn_dim, vocab_size = sizes
    config = LlamaConfig(dim=dim, layers=layers, heads=8, kv_heads=4, ffn_dim=ffn_dim, vocab_size=vocab_size)
    memory = training_memory(config, 4, 256, micro_batches=2, dtype="fp32")
    assert memory.resident == pytest.approx(int(found.stdout.split()[-1]), rel=0.10)


def test_llama_3_405b_fits_as_it_was_trained() -> None:
    """Table 4 and section 3.3.2: 80 GB a device, no layer recomputed, gradients whole in fp32."""
    config = PRESETS["405B"]
    for data, micro_batches in ((64, 32), (128, 16)):
        split = Split(tensor=8, pipeline=16, data=data, stages=8)
        assert stage_layers(config, split) == 8  # 126 layers: 14 ranks of 8 and two of 7
        memory = training_memory(config, 1, 8192, micro_batches=micro_batches, split=split, recompute="pointwise")
        assert 40e9 < memory.peak < 80e9
        assert memory.gradients == 2 * memory.weights == pytest.approx(4 * 405.85e9 / 128, rel=0.02)


def test_a_split_leaves_nothing_out() -> None:
    """What all ranks hold together is what one would hold."""
    config = PRESETS["8B"]
    one = training_memory(config, 1, 8192, packed=False)
    assert one.optimizer == 12 * config.num_parameters() and one.weights == 2 * config.num_parameters()
    for split in (
        Split(tensor=4),
        Split(data=8),
        Split(tensor=2, data=4),
        Split(context=8),
        Split(data=8, reshard=True),
    ):
        memory = training_memory(config, 1, 8192, split=split, packed=False)
        assert memory.optimizer * split.gpus == pytest.approx(one.optimizer)
        shared = split.tensor * split.context
        assert memory.activations * shared == pytest.approx(one.activations)
        assert memory.logits * shared == pytest.approx(one.logits)
    # Pipeline ranks: the fullest of them, at least the mean.
    assert config.num_parameters() / 4 <= stage_parameters(config, Split(pipeline=4)) < config.num_parameters() / 3


def test_each_means_saves_memory() -> None:
    config = PRESETS["8B"]
    modes = [training_memory(config, 1, 8192, recompute=mode).activations for mode in ("none", "pointwise", "layers")]
    assert modes == sorted(modes, reverse=True)
    whole, given = (training_memory(config, 1, 8192, split=Split(data=8, reshard=on)) for on in (False, True))
    assert given.peak < whole.peak
    assert training_memory(config, 1, 8192, chunk_tokens=256).logits < training_memory(config, 1, 8192).logits
    muon = training_memory(config, 1, 8192, optimizer="muon")
    assert muon.optimizer < training_memory(config, 1, 8192).optimizer


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"micro_batch": 0}, "micro_batch: expected a number above 0"),
        ({"recompute": "all"}, "recompute: expected none, pointwise, layers, came 'all'"),
        ({"dtype": "int8"}, "dtype: expected"),
        ({"optimizer": "sgd"}, "optimizer: expected adamw, muon"),
    ],
)
def test_wrong_settings_are_told(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        training_memory(CONFIG, **{"micro_batch": 1, "sequence": 8, **change})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="num_experts: expected 1, came 2"):
        training_memory(LlamaConfig(**{**CONFIG.to_dict(), "num_experts": 2}), 1, 8)
    with pytest.raises(ConfigError, match="tensor: expected a number above 0"):
        Split(tensor=0)
