"""What only a GPU can show: the kernel of documents, bf16 and 8 bits, training as on cores, NCCL. Skipped without."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from puna.base.config import Mesh
from puna.base.output import StageOutput
from puna.model import Llama, LlamaConfig
from puna.model.attention import AttentionContext, attend, document_mask
from puna.model.compiled import compile_layers
from puna.model.float8 import use_float8
from puna.parallel.data import shard
from puna.pretrain.divided import Divided, world_of
from puna.pretrain.experts import ExpertsConfig
from puna.pretrain.loader import IGNORED, Batch
from puna.pretrain.loop import LoopConfig, train
from puna.pretrain.loss import LossConfig
from puna.pretrain.objective import pretraining

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
SHAPE = LlamaConfig(dim=128, layers=3, heads=4, kv_heads=2, ffn_dim=256, vocab_size=512, max_position=256)
GPU = torch.device("cuda")


def batch_of(lengths: list[list[int]], seed: int = 0) -> Batch:
    """Rows of documents of these lengths; the last one of a row is padding."""
    tokens = sum(lengths[0])
    ids = torch.randint(SHAPE.vocab_size, (len(lengths), tokens + 1), generator=torch.Generator().manual_seed(seed))
    documents = torch.tensor(
        [[i if i + 1 < len(row) else -1 for i, n in enumerate(row) for _ in range(n)] for row in lengths]
    )
    positions = torch.tensor([[j for n in row for j in range(n)] for row in lengths])
    return Batch(ids[:, :-1].contiguous(), ids[:, 1:].masked_fill(documents < 0, IGNORED), positions, documents)


BATCH = batch_of([[70, 90, 60, 36], [200, 20, 4, 32], [5, 5, 236, 10], [128, 64, 32, 32]])


def relative(a: Tensor, b: Tensor) -> float:
    return ((a.double() - b.double()).norm() / b.double().norm()).item()


def gradients(model: Llama, dtype: torch.dtype, micro_batch: int = 2, chunk_tokens: int = 0) -> tuple[Tensor, float]:
    model.zero_grad()
    row = pretraining(micro_batch, LossConfig(chunk_tokens=chunk_tokens), ExpertsConfig(), dtype=dtype)(model, BATCH)
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).cpu(), row["loss"]


@pytest.mark.parametrize(("heads", "kv_heads", "width"), [(4, 4, 32), (8, 2, 64), (4, 1, 128)])
def test_documents_by_one_kernel_are_attention_under_the_mask(heads: int, kv_heads: int, width: int) -> None:
    """Beside fp64 under the mask, as near as bf16 under the mask is."""
    torch.manual_seed(0)
    documents = BATCH.documents.to(GPU)
    exact = [
        torch.randn(*documents.shape, n, width, device=GPU, dtype=torch.float64) for n in (heads, kv_heads, kv_heads)
    ]
    slope = torch.randn(*documents.shape, heads, width, device=GPU, dtype=torch.float64)

    def outcome(dtype: torch.dtype, context: AttentionContext) -> list[Tensor]:
        qkv = [one.to(dtype).requires_grad_() for one in exact]
        out = attend(*qkv, context, 0)
        return [out.detach(), *torch.autograd.grad(out, qkv, slope.to(dtype))]

    under_mask = AttentionContext(documents, documents, None, document_mask(documents))
    with torch.autocast("cuda", torch.bfloat16):
        chosen = AttentionContext.of(documents, documents, documents, None)
    assert chosen.offsets is not None and chosen.mask is None and chosen.offsets.tolist()[-1] == documents.numel()
    # Padding sees itself under both; the expected values are products written out, in fp64.
    expected = outcome(torch.float64, under_mask)
    for by_mask, by_kernel, right in zip(
        outcome(torch.bfloat16, under_mask), outcome(torch.bfloat16, chosen), expected
    ):
        assert relative(by_kernel, right) <= 1.2 * relative(by_mask, right) < 1e-2


def test_in_fp32_and_where_a_document_is_in_two_pieces_the_mask_stays() -> None:
    documents = BATCH.documents.to(GPU)
    assert AttentionContext.of(documents, documents, documents, None).mask is not None
    with torch.autocast("cuda", torch.bfloat16):
        torn = torch.tensor([[0, 0, 1, 1, 0, 0]], device=GPU)
        assert AttentionContext.of(torn, torn, torn, None).mask is not None
        whole = torch.zeros(2, 6, dtype=torch.int64, device=GPU)
        context = AttentionContext.of(whole, whole, whole, None)
        assert context.mask is None and context.offsets is None


@pytest.mark.parametrize("chunk_tokens", [0, 100])
def test_gradients_are_those_of_cores(chunk_tokens: int) -> None:
    plain, loss = gradients(Llama(SHAPE), torch.float32)
    found, found_loss = gradients(Llama(SHAPE).to(GPU), torch.float32, chunk_tokens=chunk_tokens)
    assert relative(found, plain) < 1e-4 and found_loss == pytest.approx(loss, rel=1e-5)
    half, half_loss = gradients(Llama(SHAPE).to(GPU), torch.bfloat16, chunk_tokens=chunk_tokens)
    assert relative(half, plain) < 2e-2 and half_loss == pytest.approx(loss, rel=1e-3)


def test_what_flows_between_layers_is_bf16() -> None:
    """Norms too, which autocast on GPUs would compute in fp32."""
    model = Llama(SHAPE).to(GPU)
    with torch.autocast("cuda", torch.bfloat16):
        hidden = model.hidden(BATCH.tokens.to(GPU), BATCH.positions.to(GPU), BATCH.documents.to(GPU))
        assert hidden.dtype == model.layers[0].attention_norm(hidden).dtype == torch.bfloat16


def test_heads_that_the_kernel_does_not_take_stay_under_the_mask() -> None:
    documents = BATCH.documents.to(GPU)
    with torch.autocast("cuda", torch.bfloat16):
        context = AttentionContext.of(documents, documents, documents, None)
        q, k, v = (torch.randn(*documents.shape, n, 12, device=GPU, dtype=torch.bfloat16) for n in (4, 2, 2))
        masked = AttentionContext(documents, documents, None, document_mask(documents))
        torch.testing.assert_close(attend(q, k, v, context, 0), attend(q, k, v, masked, 0))


def test_compiled_and_8_bits_are_near() -> None:
    plain, loss = gradients(Llama(SHAPE), torch.float32)
    model = Llama(SHAPE).to(GPU)
    compile_layers(model)
    half, half_loss = gradients(model, torch.bfloat16)
    assert relative(half, plain) < 2e-2 and half_loss == pytest.approx(loss, rel=1e-3)
    if torch.cuda.get_device_capability() < (8, 9):
        return
    for compiled in (False, True):
        model = Llama(SHAPE).to(GPU)
        assert use_float8(model) == 3 * 7
        if compiled:
            compile_layers(model)
        eight, eight_loss = gradients(model, torch.bfloat16)
        assert torch.cosine_similarity(eight, plain, dim=0) > 0.99 and eight_loss == pytest.approx(loss, rel=1e-2)


def weights(model: Llama) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()]).cpu()


def learned(folder: Path, steps: int, until: int | None = None) -> tuple[Tensor, list[int]]:
    """Weights after so many steps on the GPU, and which steps were asked for; `until`: stopped there."""
    model, out = Llama(SHAPE).to(GPU), StageOutput(folder)
    backward = pretraining(2, LossConfig(), ExpertsConfig(), dtype=torch.bfloat16)

    asked = list[int]()

    def batch_at(step: int) -> Batch:
        asked.append(step)
        if until is not None and step == until:
            raise KeyboardInterrupt
        return BATCH

    try:
        train(model, batch_at, steps, LoopConfig(micro_batch=2, checkpoint_every_steps=4), out, backward)
    except KeyboardInterrupt:
        assert until is not None
    return weights(model), asked


def test_resumed_is_uninterrupted(tmp_path: Path) -> None:
    """To the bit if the flash kernel's backward pass adds up in one order, which torch can be asked for."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        (whole, _), (again, _) = learned(tmp_path / "a", 12), learned(tmp_path / "b", 12)
        assert torch.equal(whole, again)
        learned(tmp_path / "c", 12, until=9)
        resumed, asked = learned(tmp_path / "c", 12)
        assert torch.equal(resumed, whole) and asked == [8, 9, 10, 11]
    finally:
        torch.use_deterministic_algorithms(False)


def test_sharded_by_nccl_it_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """FSDP2 over NCCL, of a world of one: the collectives and casts of the sharded path, gradients in fp32."""
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29517",
    }.items():
        monkeypatch.setenv(name, value)
    plain, loss = gradients(Llama(SHAPE), torch.float32)
    with world_of(Mesh(threads=1)) as world:
        assert world.device.type == "cuda" and "nccl" in dist.get_backend(dist.group.WORLD)
        values = [(name, p.detach()) for name, p in Llama(SHAPE).named_parameters()]
        for dtype, limit in ((torch.float32, 1e-4), (torch.bfloat16, 2e-2)):
            divided = Divided(SHAPE, world, values, 256, 2, LossConfig(), ExpertsConfig(), dtype)
            [part] = divided.parallel.parts
            shard(part, world, dtype)
            divided.parallel.is_sharded = True
            row = divided.backward()(divided.model, BATCH)
            found = divided.parallel.gathered(lambda name, p: p.grad)
            together = torch.cat([found[name].flatten() for name, _ in values])
            assert relative(together, plain) < limit and row["loss"] == pytest.approx(loss, rel=limit)


def test_the_metrics_are_of_the_gpu(tmp_path: Path) -> None:
    from puna.pretrain.speed import Work

    model, out = Llama(SHAPE).to(GPU), StageOutput(tmp_path)
    backward = pretraining(2, LossConfig(), ExpertsConfig(), dtype=torch.bfloat16)
    work = Work(1e12, lambda step: 1024, torch.bfloat16)
    train(model, lambda step: BATCH, 3, LoopConfig(micro_batch=2), out, backward, work=work)
    assert out.metrics["mfu"] > 0
    assert json.loads(json.dumps(dict(out.metrics)))["tokens_per_s"] > 0


def test_preflight_passes_on_it(tmp_path: Path) -> None:
    from puna.parallel import preflight

    found: Any = preflight.preflight(tmp_path, tmp_path)
    assert not (tmp_path / "quarantine.json").exists(), found
