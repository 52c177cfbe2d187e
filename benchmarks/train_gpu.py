"""Training on a GPU: steps of a 1B model in bf16 and in 8 bits beside transformers, and attention of packed documents.

python -m benchmarks.train_gpu [--case steps|rows|sharded|attention] [--quick] [--json]

The shape is Llama 3.2 1B's, rows of 2,048 tokens (with `rows` 8,192 too), products in bf16, weights and optimizer in
fp32. Same weights, data and optimizer (fused AdamW, clip 1) for both, gradients of several micro-batches added up; the
peer is a plain loop as its users write it. In turns on the same card, two models in its memory (50 GB).
"""

import argparse
import functools
import itertools
import os
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.interleave import compare_all, peak_gflops, publish
from benchmarks.model import copy_weights, their_model
from benchmarks.trainers import LR, agree, drawn
from puna.base.config import Mesh
from puna.model import Llama, LlamaConfig, attention
from puna.model.attention import AttentionContext, attend, document_mask
from puna.model.compiled import compile_layers, uncompile_layers
from puna.model.float8 import Float8Linear, use_float8
from puna.model.flops import training_flops
from puna.parallel.data import shard
from puna.pretrain.divided import Divided, world_of
from puna.pretrain.experts import ExpertsConfig
from puna.pretrain.loader import Batch
from puna.pretrain.loop import LoopConfig, gradients, train_step
from puna.pretrain.loss import LossConfig
from puna.pretrain.objective import pretraining
from puna.pretrain.optim import Optimizer

GPU = torch.device("cuda")
SHAPE = LlamaConfig(2048, 16, 32, 8, 8192, 128_256, max_position=8192, tied=True)
CHUNK = 2048
"""Tokens whose logits exist at once."""
STEPS = 2
ROWS = {2048: (16, 4), 8192: (4, 1)}
"""Rows of a step and of a micro-batch, by their tokens."""


class Ours:
    """Our step on batches in turn, compiled or not, in 8 bits or not, by the way that was chosen last."""

    def __init__(self, shape: LlamaConfig, batches: list[Batch], micro_batch: int) -> None:
        self.model = Llama(shape).to(GPU)
        self.config = LoopConfig(micro_batch=micro_batch)
        self.optimizer = Optimizer(self.model, self.config)
        self.backward = pretraining(micro_batch, LossConfig(chunk_tokens=CHUNK), ExpertsConfig(), dtype=torch.bfloat16)
        self.batches, self.losses = itertools.cycle(batches), list[float]()

    def choose(self, compiled: bool, eight: bool = False) -> None:
        """Compute so from now on."""
        uncompile_layers(self.model)
        for module in self.model.modules():
            if isinstance(module, Float8Linear):
                module.__class__ = nn.Linear
        if eight:
            use_float8(self.model)
        if compiled:
            compile_layers(self.model)

    def asked(self, batch: Batch) -> tuple[float, float]:
        """Loss and gradient norm of a batch, without learning from it."""
        row = gradients(self.model, batch, self.config, self.backward)
        self.model.zero_grad(set_to_none=True)
        return row["loss"], row["grad_norm"]

    def train(self) -> float:
        """STEPS optimizer steps; the targets that they learned."""
        targets = 0.0
        for batch in itertools.islice(self.batches, STEPS):
            row = train_step(self.model, self.optimizer, batch, LR, self.config, self.backward)
            self.losses.append(row["loss"])
            targets += row["targets"]
        torch.cuda.synchronize()
        return targets


class Theirs:
    """transformers' Llama (SDPA, autocast) in a plain loop with the same weights and micro-batches."""

    def __init__(self, ours: Ours, batches: list[Batch], micro_batch: int) -> None:
        with GPU:
            self.model = their_model(ours.model.config).train()
        copy_weights(ours.model, self.model)
        groups = [[p for p in self.model.parameters() if (p.dim() >= 2) == wide] for wide in (True, False)]
        kinds = [{"params": group, "weight_decay": decay} for group, decay in zip(groups, (0.1, 0.0))]
        self.optimizer = torch.optim.AdamW(kinds, lr=LR, betas=(0.9, 0.95), eps=1e-8, fused=True)
        self.micro_batch, self.batches, self.losses = micro_batch, itertools.cycle(batches), list[float]()
        self._compiled = torch.compile(self._loss)

    def _loss(self, tokens: Tensor, targets: Tensor) -> Tensor:
        logits = self.model(input_ids=tokens, use_cache=False).logits
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())

    def asked(self, batch: Batch, compiled: bool) -> float:
        """The loss of the first micro-batch, without learning from it."""
        part = batch.split(self.micro_batch)[0].to(GPU)
        with torch.autocast(GPU.type, torch.bfloat16):
            loss = (self._compiled if compiled else self._loss)(part.tokens, part.targets)
        loss.backward()
        self.model.zero_grad(set_to_none=True)
        return loss.item()

    def train(self, compiled: bool) -> float:
        """As `Ours.train`."""
        loss, learned = self._compiled if compiled else self._loss, 0
        for batch in itertools.islice(self.batches, STEPS):
            batch, total = batch.to(GPU), 0.0
            parts = batch.split(self.micro_batch)
            for part in parts:
                with torch.autocast(GPU.type, torch.bfloat16):
                    one = loss(part.tokens, part.targets) / len(parts)
                one.backward()
                total += one.item()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.losses.append(total)
            learned += batch.targets.numel()
        torch.cuda.synchronize()
        return float(learned)


def steps(quick: bool) -> list[dict[str, Any]]:
    """Compiled steps in bf16 beside eager ones, those in 8 bits, and the peer's, eager and compiled."""
    tokens = 2048
    rows, micro_batch = ROWS[tokens]
    batches = drawn(SHAPE, rows, tokens, count=4)
    ours = Ours(SHAPE, batches, micro_batch)
    ways = {"ours, eager": (False, False), "ours, 8 bits, compiled": (True, True)}
    works = {name: _chosen(ours, *way) for name, way in ways.items()}
    theirs = Theirs(ours, batches, micro_batch)
    works["transformers"] = lambda: theirs.train(False)
    works["transformers compiled"] = lambda: theirs.train(True)
    ours.choose(True)
    expected, same = ours.asked(batches[0]), dict[str, bool | None]()
    for name, way in ways.items():
        ours.choose(*way)
        same[name] = _near(ours.asked(batches[0]), expected, limit=0.05 if way[1] else 0.01)
    eager, compiled = (theirs.asked(batches[0], way) for way in (False, True))
    _chosen(ours, True)()
    theirs.train(False)
    same["transformers"] = agree(ours.losses, theirs.losses)
    same["transformers compiled"] = same["transformers"] and abs(compiled / eager - 1) <= 1e-3
    return _beside("1B", tokens, _chosen(ours, True), works, quick, same)


def _near(found: tuple[float, float], expected: tuple[float, float], limit: float) -> bool:
    """Whether losses are within 1e-2 of each other and gradient norms within `limit`."""
    return abs(found[0] / expected[0] - 1) <= 1e-2 and abs(found[1] / expected[1] - 1) <= limit


def rows(quick: bool) -> list[dict[str, Any]]:
    """Packed documents by the kernel of lengths beside the same under a mask, and beside rows of one document."""
    found = []
    for tokens, (count, micro_batch) in ROWS.items():
        whole = drawn(SHAPE, count, tokens, count=4)
        ours = Ours(SHAPE, [_packed(batch, mean=600) for batch in whole], micro_batch)
        plain, run = itertools.cycle(whole), _chosen(ours, True)

        def under_mask(run: Callable[[], float] = run) -> float:
            with _masked():
                return run()

        def one_document(run: Callable[[], float] = run, ours: Ours = ours, plain: Any = plain) -> float:
            ours.batches, before = plain, ours.batches
            try:
                return run()
            finally:
                ours.batches = before

        works = {"the same under a mask": under_mask, "rows of one document": one_document}
        ours.choose(True)
        batch = _packed(whole[0], mean=600)
        expected = ours.asked(batch)
        with _masked():
            same = {"the same under a mask": _near(ours.asked(batch), expected, 0.01), "rows of one document": None}
        found += _beside("1B packed", tokens, run, works, quick, same)
        del ours, run, works
        torch.cuda.empty_cache()
    return found


def sharded(quick: bool) -> list[dict[str, Any]]:
    """FSDP2 over NCCL in a world of one, in bf16 and in 8 bits: what sharding costs before any message."""
    tokens = 2048
    count, micro_batch = ROWS[tokens]
    batches = drawn(SHAPE, count, tokens, count=4)
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29519"}.items():
        os.environ.setdefault(name, value)
    alone = Ours(SHAPE, batches, micro_batch)
    with world_of(Mesh(threads=1)) as world:
        values = [(name, p.detach().cpu()) for name, p in alone.model.named_parameters()]
        settings = (tokens, micro_batch, LossConfig(chunk_tokens=CHUNK), ExpertsConfig(), torch.bfloat16)
        divided = Divided(SHAPE, world, values, *settings)
        shard(divided.parallel.parts[0], world, torch.bfloat16)
        divided.parallel.is_sharded = True
        one = Ours.__new__(Ours)
        one.model, one.config, one.losses = divided.model, alone.config, []
        one.optimizer, one.batches = Optimizer(one.model, one.config), itertools.cycle(batches)
        learn, together = divided.backward(), divided.together()

        def train() -> float:
            targets = 0.0
            for batch in itertools.islice(one.batches, STEPS):
                row = learn(one.model, batch)
                together.clip(one.model, one.config.clip)
                one.optimizer.step(LR)
                one.losses.append(row["loss"])
                targets += row["targets"]
            torch.cuda.synchronize()
            return targets

        one.train = train  # type: ignore[method-assign]
        works = {"one process": _chosen(alone, True), "FSDP2, 8 bits": _chosen(one, True, True)}
        alone.choose(True)
        alone.train()
        one.choose(True)
        one.train()
        same = agree(one.losses, alone.losses)
        sames: dict[str, bool | None] = {"one process": same, "FSDP2, 8 bits": None}
        return _beside("1B FSDP2", tokens, _chosen(one, True), works, quick, sames)


def attention_of_documents(quick: bool) -> list[dict[str, Any]]:
    """Attention alone, forward and back, of packed documents: our kernel of lengths beside a mask and FlexAttention;
    what a model makes once for all its layers is made before."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    flex, make_mask = torch.compile(flex_attention, dynamic=False), torch.compile(create_block_mask, dynamic=False)
    found = []
    for tokens, count in ((2048, 16), (8192, 4), (32_768, 1)):
        [batch] = drawn(SHAPE, count, tokens, count=1)
        documents = _packed(batch, mean=600).documents.to(GPU)
        qkv = [
            torch.randn(count, tokens, n, SHAPE.head_dim, device=GPU, dtype=torch.bfloat16, requires_grad=True)
            for n in (SHAPE.heads, SHAPE.kv_heads, SHAPE.kv_heads)
        ]
        slope = torch.randn(count, tokens, SHAPE.heads, SHAPE.head_dim, device=GPU, dtype=torch.bfloat16)

        with torch.autocast("cuda", torch.bfloat16):
            context = AttentionContext.of(documents, documents, documents, None)
        assert context.offsets is not None

        def ours(qkv: Any = qkv, slope: Any = slope, context: AttentionContext = context) -> Tensor:
            out = attend(*qkv, context, 0)
            out.backward(slope)
            return out

        def seen(b: Tensor, h: Tensor, q: Tensor, k: Tensor, documents: Any = documents) -> Tensor:
            return (q >= k) & (documents[b, q] == documents[b, k])

        block_mask = make_mask(seen, count, None, tokens, tokens, device="cuda")

        def by_flex(qkv: Any = qkv, slope: Any = slope, block_mask: Any = block_mask) -> Tensor:
            q, k, v = (one.transpose(1, 2) for one in qkv)
            out: Tensor = flex(q, k, v, block_mask=block_mask, enable_gqa=True).transpose(1, 2)  # type: ignore[union-attr]
            out.backward(slope)
            return out

        works = {"FlexAttention": by_flex}
        if tokens < 32_768:
            masked = AttentionContext(documents, documents, None, document_mask(documents))
            works["mask"] = functools.partial(ours, context=masked)
        expected = ours()
        same = {name: _relative(expected, work()) < 1e-2 for name, work in works.items()}
        timed = {name: _timed(work, documents.numel()) for name, work in works.items()}
        rates = compare_all(_timed(ours, documents.numel()), timed, 2 if quick else 5)
        for name, rate in rates.items():
            names = {"bench": "attention", "case": f"packed T{tokens}", "peer_name": name, "unit": "tokens/s"}
            found.append({**names, **rate, "same_result": same[name], "peak_fraction": 0.0})
    return found


def _timed(work: Callable[[], Tensor], tokens: int) -> Callable[[], float]:
    def several() -> float:
        for _ in range(4):
            work()
        torch.cuda.synchronize()
        return 4.0 * tokens

    return several


def _chosen(ours: Ours, compiled: bool, eight: bool = False) -> Callable[[], float]:
    def run() -> float:
        ours.choose(compiled, eight)
        return ours.train()

    return run


def _beside(
    case: str,
    tokens: int,
    ours: Callable[[], float],
    works: dict[str, Callable[[], float]],
    quick: bool,
    same: dict[str, bool | None],
) -> list[dict[str, Any]]:
    peaks: list[float] = []
    found = compare_all(ours, works, 2 if quick else 5, 1, lambda: peaks.append(peak_gflops(torch.bfloat16, "cuda")))
    share = training_flops(SHAPE, tokens, "causal") / 1e9 / statistics.median(peaks)
    print(
        f"# {case} T{tokens}: bf16 peak {statistics.median(peaks) / 1e3:,.0f} TFLOP/s, most memory "
        f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB",
        flush=True,
    )
    torch.cuda.reset_peak_memory_stats()
    names = {"bench": "train", "case": f"{case} T{tokens} bf16 compiled", "unit": "tokens/s"}
    return [
        {**names, "peer_name": name, **rate, "same_result": same[name], "peak_fraction": share * rate["ours"]}
        for name, rate in found.items()
    ]


@contextmanager
def _masked() -> Iterator[None]:
    """Documents under a mask, as if torch had no kernel of lengths."""
    before, attention._has_kernel_of_lengths = attention._has_kernel_of_lengths, lambda device: False
    try:
        yield
    finally:
        attention._has_kernel_of_lengths = before


def _packed(batch: Batch, mean: int) -> Batch:
    """The same tokens as documents of exponential lengths."""
    tokens = batch.tokens.shape[1]
    draw = torch.rand(batch.tokens.shape, generator=torch.Generator().manual_seed(1)) < 1 / mean
    draw[:, 0] = True
    documents = draw.cumsum(1)
    order = torch.arange(tokens).expand_as(documents)
    starts = torch.where(draw, order, 0).cummax(1).values
    return Batch(batch.tokens, batch.targets, order - starts, documents)


def _relative(a: Tensor, b: Tensor) -> float:
    return ((a.float() - b.float()).norm() / b.float().norm()).item()


CASES = {"steps": steps, "rows": rows, "sharded": sharded, "attention": attention_of_documents}


def main() -> None:
    """Run the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--case", choices=CASES, help="one case only")
    parser.add_argument("--quick", action="store_true", help="fewer turns, nothing recorded")
    parser.add_argument("--json", action="store_true", help="JSON lines (always printed)")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("expected a GPU, found none; benchmarks.train is for cores")
    for name in [options.case] if options.case else CASES:
        publish(CASES[name](options.quick), options.quick, "cuda")


if __name__ == "__main__":
    main()
