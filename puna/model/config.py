"""The shape of a Llama, and how many parameters it has before any is made."""

from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any

from puna.base.errors import ConfigError

LLAMA31_ROPE_SCALING: dict[str, Any] = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
LLAMA32_ROPE_SCALING: dict[str, Any] = {**LLAMA31_ROPE_SCALING, "factor": 32.0}


@dataclass(frozen=True)
class LlamaConfig:
    """Sizes of one Llama (Llama 3 paper, table 3).

    `head_dim` 0 means dim / heads. `rope_scaling` is None or the dict of Hugging Face's config.json with rope_type
    "llama3" (Llama 3.1). `tied`: one matrix for input and output, as in Llama 3.2 1B and 3B. `num_experts` above 1: a
    layer has so many feed-forward parts of width `ffn_dim`, of which a token uses `experts_per_token` (`Experts`);
    `router_bias`: chosen with a bias that evens out their load.

    Raises ConfigError if the sizes do not fit together.
    """

    dim: int
    layers: int
    heads: int
    kv_heads: int
    ffn_dim: int
    vocab_size: int
    max_position: int = 8192
    rope_theta: float = 500_000.0
    rope_scaling: dict[str, Any] | None = None
    norm_eps: float = 1e-5
    tied: bool = True
    head_dim: int = 0
    num_experts: int = 1
    experts_per_token: int = 1
    router_bias: bool = False

    def __post_init__(self) -> None:
        for name in ("dim", "layers", "heads", "kv_heads", "ffn_dim", "vocab_size", "max_position", "num_experts"):
            if getattr(self, name) < 1:
                raise ConfigError(f"model.{name}: expected at least 1, came {getattr(self, name)}")
        if self.heads % self.kv_heads:
            raise ConfigError(f"model.heads: expected a multiple of kv_heads = {self.kv_heads}, came {self.heads}")
        if self.head_dim == 0:
            if self.dim % self.heads:
                raise ConfigError(f"model.dim: expected a multiple of heads = {self.heads}, came {self.dim}")
            object.__setattr__(self, "head_dim", self.dim // self.heads)
        if self.head_dim % 2:
            raise ConfigError(f"model.head_dim: expected an even number (RoPE turns pairs), came {self.head_dim}")
        if not 1 <= self.experts_per_token <= self.num_experts:
            came = f"came {self.experts_per_token}"
            raise ConfigError(f"model.experts_per_token: expected 1 to num_experts = {self.num_experts}, {came}")
        if self.router_bias and self.num_experts == 1:
            raise ConfigError("model.router_bias: expected num_experts above 1, came 1; a dense layer has no router")
        if self.rope_scaling is not None:
            _check_rope_scaling(self.rope_scaling)

    def __hash__(self) -> int:
        return hash(repr(self))

    def num_parameters(self) -> int:
        """Parameters counted by formula: 8,030,261,248 for `PRESETS["8B"]`.

        A layer has the projections q and o (2 D H C), k and v (2 D K C), gate, up and down (3 D F) and two norms (2 D);
        around the layers stand the embedding, the output matrix unless tied (V D each) and the last norm (D). With E
        experts it has E times gate, up and down, and the router (E D, and E with a bias).
        """
        return self._count(self.num_experts)

    def num_active_parameters(self) -> int:
        """Parameters that one token uses: `experts_per_token` experts instead of all. 12.9B of Mixtral 8x7B's 46.7B."""
        return self._count(self.experts_per_token)

    def num_met_parameters(self) -> int:
        """Those that a token meets in a product: the active ones, without an embedding that is only looked up.

        The N of scaling laws, so that training costs about 6 N FLOPs a token.
        """
        return self.num_active_parameters() - (0 if self.tied else self.vocab_size * self.dim)

    def _count(self, experts: int) -> int:
        attention = 2 * self.dim * self.head_dim * (self.heads + self.kv_heads)
        router = 0 if self.num_experts == 1 else self.num_experts * (self.dim + self.router_bias)
        layer = attention + 3 * self.dim * self.ffn_dim * experts + router + 2 * self.dim
        matrices = 1 if self.tied else 2
        return self.layers * layer + matrices * self.vocab_size * self.dim + self.dim

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `LlamaConfig(**config.to_dict()) == config`."""
        return asdict(self)


def shrunk(config: LlamaConfig, scale: float) -> LlamaConfig:
    """A narrower model of as many layers: dim, heads, kv_heads and ffn_dim times `scale`, rounded down.

    Key/value heads shrink first and each keeps its number of query heads; the width is then the next multiple of the
    heads below dim * scale that leaves head_dim even, and at least 2 a head. So a larger scale never gives less of
    anything, and any scale gives a model that can be made.

    Raises ConfigError for a scale outside (0, 1] or a head_dim that is not dim / heads.
    """
    if not 0 < scale <= 1:
        raise ConfigError(f"model.scale: expected above 0 and at most 1, came {scale}")
    if config.head_dim * config.heads != config.dim:
        raise ConfigError(f"model.head_dim: expected dim / heads to shrink a model, came {config.head_dim}")
    share = Fraction(scale).limit_denominator(10**9)  # 1/3, and not the binary fraction just below it
    kv_heads = max(1, int(config.kv_heads * share))
    heads = config.heads // config.kv_heads * kv_heads
    head_dim = 2 * max(1, int(config.dim * share / (2 * heads)))
    ffn_dim = max(1, int(config.ffn_dim * share))
    return replace(config, dim=heads * head_dim, heads=heads, kv_heads=kv_heads, ffn_dim=ffn_dim, head_dim=head_dim)


def _check_rope_scaling(scaling: dict[str, Any]) -> None:
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind != "llama3":
        raise ConfigError(f'model.rope_scaling.rope_type: expected "llama3", came {kind!r}')
    missing = [name for name in LLAMA31_ROPE_SCALING if name != "rope_type" and name not in scaling]
    if missing:
        raise ConfigError(f"model.rope_scaling: expected {', '.join(missing)}, came {sorted(scaling)}")


_LONG: dict[str, Any] = {
    "max_position": 131_072,
    "rope_scaling": LLAMA31_ROPE_SCALING,
    "vocab_size": 128_256,
    "kv_heads": 8,
}
_SMALL: dict[str, Any] = {**_LONG, "rope_scaling": LLAMA32_ROPE_SCALING}

PRESETS: dict[str, LlamaConfig] = {
    "nano": LlamaConfig(
        dim=128, layers=4, heads=4, kv_heads=2, ffn_dim=352, vocab_size=2048, max_position=1024, rope_theta=10_000.0
    ),
    "1B": LlamaConfig(dim=2048, layers=16, heads=32, ffn_dim=8192, tied=True, **_SMALL),
    "3B": LlamaConfig(dim=3072, layers=28, heads=24, ffn_dim=8192, tied=True, **_SMALL),
    "8B": LlamaConfig(dim=4096, layers=32, heads=32, ffn_dim=14336, tied=False, **_LONG),
    "70B": LlamaConfig(dim=8192, layers=80, heads=64, ffn_dim=28672, tied=False, **_LONG),
    "405B": LlamaConfig(dim=16384, layers=126, heads=128, ffn_dim=53248, tied=False, **_LONG),
}
"""`nano` of this project, and Llama 3.2 1B and 3B, Llama 3.1 8B, 70B and 405B as published."""


def before_long_context(config: LlamaConfig) -> LlamaConfig:
    """The shape as it was pretrained: without RoPE scaling, and with the positions there were before it (8192).

    Llama 3's stages of long context come after that (section 3.4.2); 3.1 and 3.2 publish what came out of them.
    """
    if config.rope_scaling is None:
        return config
    return replace(config, rope_scaling=None, max_position=config.rope_scaling["original_max_position_embeddings"])
