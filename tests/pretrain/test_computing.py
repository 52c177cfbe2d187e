"""What steps are computed with: bf16 near fp32, compiled as eager, chosen by measuring and once."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from puna.base.config import Mesh
from puna.base.errors import ConfigError
from puna.base.output import StageOutput
from puna.model import Llama
from puna.model.compiled import compile_layers, uncompile_layers
from puna.model.float8 import Float8Linear
from puna.pretrain import computing
from puna.pretrain.computing import ComputeConfig, Computing, as_computed
from puna.pretrain.experts import ExpertsConfig
from puna.pretrain.loader import Batch
from puna.pretrain.loss import LossConfig
from puna.pretrain.objective import pretraining
from puna.pretrain.run import PretrainConfig, _tried
from tests.pretrain.test_objective import BIASED, DENSE, EXPERTS, gradients, loader_of, model_of, options

needs_compiler = pytest.mark.skipif(not computing.has_compiler(), reason="no C++ compiler for torch.compile")
# torch.compile looks at the gradient of tensors that have none, and warns itself.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")


@pytest.fixture
def out(tmp_path: Path) -> StageOutput:
    return StageOutput(tmp_path, seed=0, threads=1)


@pytest.fixture
def speeds(monkeypatch: pytest.MonkeyPatch) -> dict[torch.dtype, float]:
    """What the machine is taken to do, in GFLOP/s."""
    found = {torch.float32: 100.0, torch.bfloat16: 100.0}
    monkeypatch.setattr(computing, "matmul_gflops", lambda dtype, device: found[dtype])
    return found


@needs_compiler
def test_compiled_layers_give_the_gradients_of_eager_ones() -> None:
    plain, plain_row = gradients(model_of(), options())
    model = model_of()
    compile_layers(model)
    with torch.no_grad():
        tokens = torch.arange(12).view(2, 6)
        torch.testing.assert_close(model(tokens), model_of()(tokens), rtol=0, atol=0)  # eager where nothing is learned
    compiled, row = gradients(model, options())
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-6)
    assert row["loss"] == pytest.approx(plain_row["loss"], rel=1e-6)
    assert "forward" in vars(model.layers[0])
    uncompile_layers(model)
    assert "forward" not in vars(model.layers[0])
    torch.testing.assert_close(gradients(model, options())[0], plain, rtol=0, atol=0)


def test_experts_are_not_compiled() -> None:
    with pytest.raises(ValueError, match="expected a dense model"):
        compile_layers(model_of(EXPERTS))


def in_bf16(model: Llama, chunk_tokens: int = 0, experts: ExpertsConfig = ExpertsConfig()) -> tuple[Tensor, float]:
    backward = pretraining(2, LossConfig(chunk_tokens=chunk_tokens), experts, dtype=torch.bfloat16)
    found, row = gradients(model, backward)
    return found, row["loss"]


@pytest.mark.parametrize("chunk_tokens", [0, 8])
def test_products_in_bf16_are_near_those_in_fp32_and_gradients_stay_in_fp32(chunk_tokens: int) -> None:
    plain, row = gradients(model_of(), options())
    half, loss = in_bf16(model_of(), chunk_tokens)
    assert half.dtype == torch.float32
    assert loss == pytest.approx(row["loss"], rel=5e-3) and loss != row["loss"]
    assert torch.cosine_similarity(plain, half, dim=0) > 0.999


class Products(TorchDispatchMode):
    """Notes the dtypes of what is multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = dict[str, set[torch.dtype]]()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        if name in ("mm", "addmm", "addmm_", "bmm", "baddbmm", "baddbmm_") or "attention" in name:
            found = {one.dtype for one in args if isinstance(one, Tensor) and one.dim() > 1 and one.is_floating_point()}
            self.seen[name] = self.seen.get(name, set()) | found
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("chunk_tokens", [0, 8])
def test_no_product_of_a_step_is_left_in_fp32(chunk_tokens: int) -> None:
    """One that was, of the chunked loss, took a third of a 1B model's step on a GPU. Rows as long as those that are
    attended by blocks of queries in fp32."""
    shape = dataclasses.replace(DENSE, max_position=512)
    tokens = torch.randint(31, (1, 448), generator=torch.Generator().manual_seed(0))
    documents = torch.arange(448)[None] // torch.tensor(400)
    batch = Batch(tokens, tokens, torch.arange(448)[None] % 400, documents)
    with Products() as products:
        pretraining(1, LossConfig(chunk_tokens=chunk_tokens), ExpertsConfig(), dtype=torch.bfloat16)(
            model_of(shape), batch
        )
    assert {"mm"} <= set(products.seen) and any("attention" in name for name in products.seen)
    wide = {name for name, dtypes in products.seen.items() if torch.float32 in dtypes and "attention" not in name}
    assert not wide, products.seen
    assert products.seen["_scaled_dot_product_flash_attention_for_cpu"] == {torch.bfloat16}


def test_experts_in_bf16_are_near_those_in_fp32() -> None:
    plain, row = gradients(model_of(EXPERTS), options())
    half, loss = in_bf16(model_of(EXPERTS))
    assert loss == pytest.approx(row["loss"], rel=2e-2)
    assert torch.cosine_similarity(plain, half, dim=0) > 0.98


class Steps:
    """Micro-batches that take so many seconds in each dtype; `learned` are those that were tried."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, plain: float = 1.0, half: float = 0.5) -> None:
        self.learned = list[torch.dtype]()
        seconds = {torch.float32: plain, torch.bfloat16: half}

        def taken(learn: Callable[[], object]) -> float:
            learn()
            return seconds[self.learned[-1]]

        monkeypatch.setattr(computing, "_seconds", taken)

    def dtype(self, here: Computing, times: float = 10_000, device: str = "cpu") -> torch.dtype:
        return here.dtype(torch.device(device), self.learned.append, times)


@pytest.mark.parametrize(("half", "chosen"), [(0.3, torch.float32), (140, torch.float32), (160, torch.bfloat16)])
def test_bf16_is_chosen_where_it_is_measured_to_be_faster_and_once(
    monkeypatch: pytest.MonkeyPatch,
    out: StageOutput,
    speeds: dict[torch.dtype, float],
    half: float,
    chosen: torch.dtype,
) -> None:
    speeds[torch.bfloat16] = half
    steps = Steps(monkeypatch)
    assert steps.dtype(Computing(ComputeConfig(), out)) == chosen
    assert len(steps.learned) == (8 if half > 150 else 0)  # where products are slow, no step has to show it
    speeds[torch.bfloat16] = 300 - half  # another day, another measurement
    assert steps.dtype(Computing(ComputeConfig(), out)) == chosen
    assert steps.dtype(Computing(ComputeConfig(dtype="bfloat16"), out)) == torch.bfloat16


def test_fast_products_do_not_make_fast_steps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, speeds: dict[torch.dtype, float]
) -> None:
    """Cores with hardware for bf16 may be ten times as fast at it, and the steps of a small model slower all the same;
    on a GPU nobody doubts it, and a large model's fp32 step might not even fit."""
    speeds[torch.bfloat16] = 1000

    def ask(name: str, steps: Steps, **how: Any) -> torch.dtype:
        return steps.dtype(Computing(ComputeConfig(), StageOutput(tmp_path / name, seed=0, threads=1)), **how)

    assert ask("slower", Steps(monkeypatch, 1.0, 1.2)) == torch.float32
    assert ask("as fast", Steps(monkeypatch, 1.0, 0.99)) == torch.float32
    assert ask("faster", Steps(monkeypatch, 1.0, 0.9)) == torch.bfloat16
    short = Steps(monkeypatch)
    assert ask("short", short, times=50) == torch.float32 and not short.learned
    assert ask("on a GPU", short, device="cuda") == torch.bfloat16 and not short.learned


def test_trying_a_dtype_leaves_nothing_behind() -> None:
    model = model_of(BIASED)
    before = [one.detach().clone() for one in model.parameters()]
    config = PretrainConfig(micro_batch=2, experts=ExpertsConfig(bias_rate=0.1), loss=LossConfig(keep=0.5))
    state = torch.get_rng_state()
    _tried(model, loader_of().batch(0), config, torch.bfloat16)
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, model.parameters(), strict=True))
    assert torch.equal(state, torch.get_rng_state())


def test_it_is_measured_with_the_threads_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    seen = list[int]()
    monkeypatch.setattr(computing, "matmul_gflops", lambda dtype, device: seen.append(torch.get_num_threads()) or 1.0)
    try:
        here = Computing(ComputeConfig(), StageOutput(tmp_path, seed=0, threads=threads + 1))
        Steps(monkeypatch).dtype(here)
        assert seen == [threads + 1] * 2
    finally:
        torch.set_num_threads(threads)


def test_a_dtype_that_is_slow_on_one_rank_is_chosen_on_none(
    monkeypatch: pytest.MonkeyPatch, out: StageOutput, speeds: dict[torch.dtype, float]
) -> None:
    speeds[torch.bfloat16] = 1000
    slow_elsewhere = Computing(ComputeConfig(), out, agree=lambda here: True)
    assert Steps(monkeypatch).dtype(slow_elsewhere) == torch.float32


def test_steps_that_are_slow_in_bf16_on_one_rank_are_taken_in_fp32_on_all(
    monkeypatch: pytest.MonkeyPatch, out: StageOutput, speeds: dict[torch.dtype, float]
) -> None:
    speeds[torch.bfloat16] = 1000
    asked = list[bool]()

    def agree(here: bool) -> bool:
        asked.append(here)
        return here or len(asked) == 4  # of the state, the products, the run's length and the steps: the last one

    assert Steps(monkeypatch).dtype(Computing(ComputeConfig(), out, agree)) == torch.float32
    assert asked == [True, False, False, False]


class Clock:
    """A micro-batch takes `eager` seconds, or `compiled` ones after `compile_layers`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, model: Llama, eager: float, compiled: float) -> None:
        self.learned, self.compiled = 0, 0
        self._is_compiled = False

        def switch(to: bool) -> None:
            self._is_compiled, self.compiled = to, self.compiled + to

        monkeypatch.setattr(computing, "compile_layers", lambda model: switch(True))
        monkeypatch.setattr(computing, "uncompile_layers", lambda model: switch(False))
        monkeypatch.setattr(computing, "_seconds", lambda learn: compiled if self._is_compiled else eager)
        monkeypatch.setattr(computing, "has_compiler", lambda: True)

    def learn(self) -> None:
        self.learned += 1

    @property
    def is_compiled(self) -> bool:
        return self._is_compiled


@pytest.mark.parametrize(
    ("eager", "compiled", "times", "chosen"),
    [(1.0, 0.9, 10_000, True), (1.0, 0.99, 10_000, False), (1.0, 1.2, 10_000, False), (1.0, 0.5, 100, False)],
)
def test_steps_are_compiled_where_the_run_earns_it_back(
    monkeypatch: pytest.MonkeyPatch, out: StageOutput, eager: float, compiled: float, times: int, chosen: bool
) -> None:
    model = model_of()
    clock = Clock(monkeypatch, model, eager, compiled)
    assert Computing(ComputeConfig(), out).compile(model, clock.learn, times) == chosen
    assert clock.is_compiled == chosen
    if times == 100:  # too short a run: the compiler is not even tried
        assert clock.compiled == 0
    again = Clock(monkeypatch, model, compiled, eager)  # it is not asked again
    assert Computing(ComputeConfig(), out).compile(model, again.learn, times) == chosen
    assert again.is_compiled == chosen and again.learned == chosen
    assert json.loads((out.state / "computing.json").read_text())["compile"] is chosen


@pytest.mark.parametrize(("half", "compiled"), [(300, 0.5), (1, 2.0)])
def test_a_run_that_must_give_the_same_bytes_computes_as_the_one_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, speeds: dict[torch.dtype, float], half: float, compiled: float
) -> None:
    speeds[torch.bfloat16] = half

    def ask(config: ComputeConfig, name: str) -> tuple[torch.dtype, bool, dict[str, float]]:
        model, here = model_of(), Computing(config, StageOutput(tmp_path / name, seed=0, threads=1))
        clock = Clock(monkeypatch, model, 1.0, compiled)
        dtype = here.dtype(torch.device("cuda"), lambda dtype: None, 10_000)
        return dtype, here.compile(model, clock.learn, 10_000), here.metrics()

    dtype, is_compiled, metrics = ask(ComputeConfig(), "first")
    assert metrics == {"product_bits": 8 * dtype.itemsize, "compiled": is_compiled, "compile_gain": 1 / compiled}
    speeds[torch.bfloat16], compiled = 300 - half, 1 / compiled  # another day, another measurement
    assert ask(ComputeConfig(), "else")[:2] != (dtype, is_compiled)
    assert ask(as_computed(ComputeConfig(), metrics), "again")[:2] == (dtype, is_compiled)
    assert as_computed(ComputeConfig(), {**metrics, "product_bits": 8.0}).dtype == "float8"
    assert as_computed(ComputeConfig(), {"num_steps": 3.0}) == ComputeConfig()


def test_a_compiler_that_fails_leaves_steps_as_they_are(monkeypatch: pytest.MonkeyPatch, out: StageOutput) -> None:
    model = model_of()
    clock = Clock(monkeypatch, model, 1.0, 0.5)

    def fail(model: Llama) -> None:
        raise RuntimeError("cannot find -lgomp\nmany lines")

    monkeypatch.setattr(computing, "compile_layers", fail)
    assert not Computing(ComputeConfig(), out).compile(model, clock.learn, 10_000)
    assert "cannot find -lgomp" in (out.state / "computing.json").read_text()


def test_what_cannot_be_compiled_is_said_in_one_line(tmp_path: Path, out: StageOutput) -> None:
    with pytest.raises(ConfigError, match="compile: expected a dense model, came true"):
        Computing(ComputeConfig(compile=True), out).compile(model_of(EXPERTS), lambda: None, 1)
    assert not Computing(ComputeConfig(), out).compile(model_of(EXPERTS), lambda: None, 1e9)
    divided = StageOutput(tmp_path / "b", seed=0, threads=1, mesh=Mesh(tensor=2))
    with pytest.raises(ConfigError, match="compile: expected a mesh of data, replicas or context"):
        Computing(ComputeConfig(compile=True), divided).compile(model_of(), lambda: None, 1)


def test_every_kind_of_setting_is_checked() -> None:
    with pytest.raises(ValueError, match="dtype"):
        ComputeConfig(dtype="float16")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="compile"):
        ComputeConfig(compile="sometimes")  # type: ignore[arg-type]


@needs_compiler
@pytest.mark.long
def test_the_gain_of_compiling_is_measured_here() -> None:
    found = computing.compile_gain()
    assert found["gain"] == pytest.approx(found["eager_s"] / found["compiled_s"])
    assert found["compile_s"] > found["compiled_s"] > 0


def test_float8_is_taken_where_it_is_asked_for_and_possible(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, out: StageOutput
) -> None:
    model, here = model_of(), Computing(ComputeConfig(dtype="float8"), out)
    assert here.dtype(torch.device("cpu"), lambda dtype: None, 10_000) == torch.bfloat16  # of all other products
    here.prepare(model)
    assert sum(isinstance(one, Float8Linear) for one in model.modules()) == 2 * 7 - 2 * 2  # k and v have 8 numbers out
    assert here.metrics()["product_bits"] == 8.0
    plain, other = model_of(), Computing(ComputeConfig(dtype="bfloat16"), StageOutput(tmp_path / "b"))
    other.dtype(torch.device("cpu"), lambda dtype: None, 10_000)
    other.prepare(plain)
    assert not any(isinstance(one, Float8Linear) for one in plain.modules())
    divided = StageOutput(tmp_path / "c", seed=0, threads=1, mesh=Mesh(tensor=2))
    with pytest.raises(ConfigError, match="expected bfloat16 with mesh.tensor above 1, came float8"):
        Computing(ComputeConfig(dtype="float8"), divided).dtype(torch.device("cpu"), lambda dtype: None, 10_000)
    odd = model_of(dataclasses.replace(DENSE, dim=24, ffn_dim=40))
    with pytest.raises(ConfigError, match="expected widths that are multiples of 16 for float8, came none"):
        here.prepare(odd)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    with pytest.raises(ConfigError, match="compute capability 8.9 for float8, came less"):
        here.dtype(torch.device("cuda"), lambda dtype: None, 10_000)
