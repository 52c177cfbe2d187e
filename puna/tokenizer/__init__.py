"""Text to token ids and back: byte-level BPE as in Llama 3, its training, its dialog format, and token shards."""

from puna.tokenizer.bpe import Tokenizer

__all__ = ["Tokenizer"]
