"""How steps are computed: on which device, in which dtype, compiled or not. What is "auto" is measured, once a run."""

import contextlib
import shutil
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import Field

from puna.base.config import Config, Hardware, Mesh
from puna.base.doctor import matmul_gflops
from puna.base.errors import ConfigError
from puna.base.files import read_json, write_json
from puna.base.machine import prepare_machine
from puna.base.output import StageOutput
from puna.model import Llama, LlamaConfig
from puna.model.compiled import compile_layers, uncompile_layers
from puna.model.float8 import has_float8, use_float8

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_BITS = {"float32": 32.0, "bfloat16": 16.0, "float8": 8.0}
_FASTER = 1.5
"""bf16 is thought of if its products are so many times as fast as fp32's: less, and the casts eat it."""
_FEWEST = 100
"""Micro-batches of a run: to measure which dtype they are faster in takes eight of them."""
_WORTH_S = 300.0
"""Of a whole run: a shorter one does not earn back the seconds that compiling and measuring take."""
_GAIN = 0.97
"""Compiled steps, or those in bf16, are chosen if they take at most this share of the time."""
_TIMES = 3
C = TypeVar("C", bound=Config)


class ComputeConfig(Config):
    """dtype: of the products and of what flows between layers; weights, optimizer and losses stay in fp32. "auto":
    bfloat16 where its products are measured to be half as fast again as fp32's, as on GPUs, and not on cores without
    hardware for it, where they are 400 times slower; on cores with it only if steps are measured to be faster too.
    "float8": the layers' matrices in 8 bits, the rest in bfloat16 (model/float8.py). compile: layers through
    torch.compile (model/compiled.py); "auto": if this run is long enough to earn it back and its steps are measured to
    be faster."""

    dtype: Literal["auto", "float32", "bfloat16", "float8"] = "auto"
    compile: Annotated[Annotated[bool, Field(strict=True)] | Literal["auto"], Hardware] = "auto"


class Computing:
    """What one run computes with: asked once, kept with its state, the same after every restart and on all ranks.

    agree: true on every rank if it is true on one; every rank calls the same methods.
    """

    def __init__(self, config: ComputeConfig, out: StageOutput, agree: Callable[[bool], bool] = bool) -> None:
        self._config, self._out, self._agree = config, out, agree
        prepare_machine(out.threads)  # what is measured is measured as the run will be
        self._path = out.state / "computing.json"
        self._known: dict[str, Any] = read_json(self._path) if self._path.exists() else {}
        if agree(not self._known):
            self._known = {}
        self._used: dict[str, float] = {}

    def dtype(self, device: torch.device, learn: Callable[[torch.dtype], object], times: float) -> torch.dtype:
        """Of the products on `device`.

        learn: forward and backward pass of one micro-batch in a dtype, with nothing left of it; times: how many of them
        the run has. Raises ConfigError if the device has none of what is asked for.
        """
        name: str = self._config.dtype
        if name == "auto":
            if "dtype" not in self._known:
                self._remember(**self._measured_dtype(device, learn, times))
            name = self._known["dtype"]
        if name == "float8" and not has_float8(device):
            raise ConfigError("dtype: expected a GPU of compute capability 8.9 for float8, came less; take bfloat16")
        if name == "float8" and self._out.mesh.tensor > 1:
            raise ConfigError("dtype: expected bfloat16 with mesh.tensor above 1, came float8")
        self._used["product_bits"] = _BITS[name]
        return _DTYPES.get(name, torch.bfloat16)

    def prepare(self, model: Llama) -> None:
        """Give the model products in 8 bits if they are asked for. Raises ConfigError if it has none that fit."""
        if self._used["product_bits"] == _BITS["float8"] and not use_float8(model):
            raise ConfigError("dtype: expected widths that are multiples of 16 for float8, came none; take bfloat16")

    def compile(self, model: Llama, learn: Callable[[], object], times: float) -> bool:
        """Compile the layers of `model` if that is asked for or pays; whether they are.

        learn: forward and backward pass of one micro-batch; times: how many of them the run has. Raises ConfigError if
        it is asked for and cannot be.
        """
        why = self._hindrance(model)
        if self._config.compile != "auto":
            if self._config.compile and why:
                raise ConfigError(f"compile: expected {why}, came true; leave it at auto")
            is_compiled = bool(self._config.compile)
        elif why:
            is_compiled = False
        else:
            if "compile" not in self._known:
                self._remember(**self._measured(model, _ready(model, learn), times))
            is_compiled = bool(self._known["compile"])
        self._used["compiled"] = float(is_compiled)
        if is_compiled:
            compile_layers(model)
            _ready(model, learn)()  # now, so that no step waits for the compiler
        return is_compiled

    def metrics(self) -> dict[str, float]:
        """What the run computes with; and how many times as fast compiled steps were, if that was measured."""
        return {**self._used, **({"compile_gain": self._known["gain"]} if "gain" in self._known else {})}

    def _measured_dtype(
        self, device: torch.device, learn: Callable[[torch.dtype], object], times: float
    ) -> dict[str, Any]:
        with torch.random.fork_rng():
            plain, half = (matmul_gflops(dtype, device.type) for dtype in _DTYPES.values())
        if self._agree(half < _FASTER * plain):
            return {"dtype": "float32"}
        if device.type != "cpu":
            return {"dtype": "bfloat16"}
        if self._agree(times < _FEWEST):
            return {"dtype": "float32", "why_dtype": "too short a run"}
        best = dict.fromkeys(_DTYPES, float("inf"))
        for turn in range(1 + _TIMES):
            for name, dtype in _DTYPES.items():
                seconds = _seconds(lambda: learn(dtype))  # noqa: B023  used at once
                best[name] = min(best[name], seconds) if turn else best[name]
        is_slow = self._agree(best["bfloat16"] > _GAIN * best["float32"])
        return {"dtype": "float32" if is_slow else "bfloat16", "step_s": best}

    def _measured(self, model: Llama, learn: Callable[[], object], times: float) -> dict[str, Any]:
        learn()
        eager = min(_seconds(learn) for _ in range(2))
        if self._agree(eager * times < _WORTH_S):
            return {"compile": False, "why": "too short a run"}
        try:
            found = _compare(model, learn)
        except RuntimeError as error:  # what the compiler raises derives from it
            return {"compile": False, "why": f"it failed: {str(error).splitlines()[0]}"}
        is_slow = self._agree(found["compiled_s"] > _GAIN * found["eager_s"])
        return {"compile": not is_slow, **found}

    def _hindrance(self, model: Llama) -> str:
        """What would have to be otherwise for layers to be compiled."""
        sizes: Mesh = self._out.mesh
        if model.config.num_experts > 1:
            return "a dense model"
        if sizes.tensor > 1 or sizes.pipeline > 1:
            return "a mesh of data, replicas or context"
        if next(model.parameters()).device.type == "cpu" and not has_compiler():
            return "a C++ compiler (c++, g++ or clang++)"
        return ""

    def _remember(self, **found: Any) -> None:
        self._known |= found
        if self._out.writes:
            write_json(self._path, self._known)


def as_computed(config: C, metrics: Mapping[str, float]) -> C:
    """`config` with the dtype and the compiler of the run whose `metrics` (`Computing.metrics`) these are: a run that
    must give the same bytes may not measure anew. What they do not tell stays as it is."""
    if "product_bits" not in metrics or "compiled" not in metrics:
        return config
    [dtype] = [name for name, bits in _BITS.items() if bits == metrics["product_bits"]]
    return config.model_copy(update={"dtype": dtype, "compile": bool(metrics["compiled"])})


def computed_in(dtype: torch.dtype, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Products in `dtype` of weights that stay in fp32."""
    return torch.autocast(device.type, dtype) if dtype != torch.float32 else contextlib.nullcontext()


def compile_gain() -> dict[str, float]:
    """For a small model (D 128, 4 layers, 8 rows of 256) here: seconds of a micro-batch, eager and compiled, how many
    times as fast that is, and what compiling costs. Empty without a compiler."""
    if not has_compiler():
        return {}
    model = Llama(LlamaConfig(128, 4, 4, 2, 352, 2048))
    tokens = torch.randint(2048, (8, 256), generator=torch.Generator().manual_seed(0))
    return _compare(model, _ready(model, lambda: model.hidden(tokens).sum().backward()))


def has_compiler() -> bool:
    """Whether torch.compile can make code for cores."""
    return any(shutil.which(name) for name in ("c++", "g++", "clang++"))


def _compare(model: Llama, learn: Callable[[], object]) -> dict[str, float]:
    """Eager and compiled in turns, the best of three each; the model is eager afterwards."""
    began, best = time.perf_counter(), {"eager_s": float("inf"), "compiled_s": float("inf")}
    try:
        compile_layers(model)
        learn()
        compile_s = time.perf_counter() - began
        for _ in range(_TIMES):
            for name, switch in (("eager_s", uncompile_layers), ("compiled_s", compile_layers)):
                switch(model)
                learn()
                best[name] = min(best[name], _seconds(learn))
    finally:
        uncompile_layers(model)
    return {**best, "gain": best["eager_s"] / best["compiled_s"], "compile_s": compile_s}


def _ready(model: Llama, learn: Callable[[], object]) -> Callable[[], object]:
    """`learn`, after which no gradient is left."""

    def once() -> None:
        learn()
        model.zero_grad(set_to_none=True)

    return once


def _seconds(learn: Callable[[], object]) -> float:
    began = time.perf_counter()
    learn()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - began
