"""Token ids to logits: one Llama for training, sampling, scoring and serving."""

from puna.model.attention import AttentionContext, KVCache
from puna.model.cache import SlotCache
from puna.model.config import PRESETS, LlamaConfig
from puna.model.convert.huggingface import save_model
from puna.model.convert.load import load_model
from puna.model.feed_forward import Routing
from puna.model.llama import Llama

__all__ = [
    "PRESETS",
    "AttentionContext",
    "KVCache",
    "Llama",
    "LlamaConfig",
    "Routing",
    "SlotCache",
    "load_model",
    "save_model",
]
