"""A tokenizer on its way between model layouts, with the files and the chat template that it came with."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from puna.base.errors import ArtifactError
from puna.base.files import read_json, write_atomic
from puna.tokenizer import huggingface
from puna.tokenizer.bpe import MODEL_FILE, Tokenizer, split_pattern
from puna.tokenizer.template import chat_template

_FILES = (MODEL_FILE, huggingface.JSON_FILE, huggingface.CONFIG_FILE, "special_tokens_map.json", "chat_template.jinja")
_PATTERN = "puna.tokenizer.pattern"
_NORMAL, _CONTROL = 1, 3  # ggml's kinds of tokens that we use
# llama.cpp's names for Llama 3's pattern; Qwen 2's is the same but for one digit in a piece, as in nano.
_DIGITS = {"llama-bpe": 3, "llama3": 3, "llama-v3": 3, "qwen2": 1}


class CarriedTokenizer:
    """`tokenizer`, and by name the `files` that are written beside or instead of its own."""

    def __init__(self, tokenizer: Tokenizer, files: Mapping[str, bytes]) -> None:
        self.tokenizer = tokenizer
        self.files = dict(files)
        self.vocab_size = tokenizer.vocab_size
        self.bos_id, self.pad_id, self.stop_ids = tokenizer.bos_id, tokenizer.pad_id, tokenizer.stop_ids

    @classmethod
    def from_folder(cls, folder: Path) -> "CarriedTokenizer | None":
        """That of a model folder, or None if it has none. Raises ArtifactError if it is no byte-level BPE."""
        if not any((folder / name).is_file() for name in (MODEL_FILE, huggingface.JSON_FILE)):
            return None
        if (folder / huggingface.CONFIG_FILE).is_file():
            read_json(folder / huggingface.CONFIG_FILE)  # a damaged one is named here
        files = {name: (folder / name).read_bytes() for name in _FILES if (folder / name).is_file()}
        return cls(Tokenizer.load(folder), files)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any], source: Path) -> "CarriedTokenizer":
        """That of a GGUF file. Raises ArtifactError if it is no byte-level BPE as Llama 3's."""
        if metadata.get("tokenizer.ggml.model") != "gpt2":
            raise ArtifactError(
                f'{source}: expected a byte-level BPE (tokenizer.ggml.model "gpt2"), '
                f"came {metadata.get('tokenizer.ggml.model')!r}"
            )
        try:
            ranks, special = _vocabulary(metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"])
            tokenizer = Tokenizer(ranks, special, _pattern(metadata, source))
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__} {error}"
            raise ArtifactError(f"{source}: expected byte-level tokens in GPT-2's spelling, came {reason}") from None
        files = tokenizer.files()
        config = json.loads(files[huggingface.CONFIG_FILE])
        config["chat_template"] = metadata.get("tokenizer.chat_template", config["chat_template"])
        names = {number: name for name, number in special.items()}
        config["eos_token"] = names.get(metadata.get("tokenizer.ggml.eos_token_id", -1), config["eos_token"])
        files[huggingface.CONFIG_FILE] = (json.dumps(config, ensure_ascii=False, indent=2) + "\n").encode()
        return cls(tokenizer, files)

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files to `folder`, as they came where they did."""
        for name, content in {**self.tokenizer.files(), **self.files}.items():
            write_atomic(folder / name, content)

    def to_metadata(self) -> dict[str, Any]:
        """The entries of a GGUF file. Raises ArtifactError for a pattern that llama.cpp has no name for."""
        one = self.tokenizer
        spelling = huggingface.byte_spelling()
        tokens = {rank: huggingface.spell(token, spelling) for token, rank in one.ranks.items()}
        tokens |= {number: name for name, number in one.special.items()}
        config = json.loads(self.files.get(huggingface.CONFIG_FILE, b"{}"))
        return {
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": _pre(one.pattern),
            "tokenizer.ggml.tokens": [tokens[number] for number in range(one.vocab_size)],
            "tokenizer.ggml.token_type": [_NORMAL] * len(one.ranks) + [_CONTROL] * len(one.special),
            "tokenizer.ggml.merges": [
                f"{huggingface.spell(left, spelling)} {huggingface.spell(right, spelling)}"
                for left, right in huggingface.merges_of(one.ranks)
            ],
            "tokenizer.ggml.bos_token_id": one.bos_id,
            "tokenizer.ggml.eos_token_id": _eos_id(one, config),
            "tokenizer.ggml.eot_token_id": one.eot_id,
            "tokenizer.ggml.eom_token_id": one.stop_ids[1],
            "tokenizer.ggml.padding_token_id": one.pad_id,
            "tokenizer.ggml.add_bos_token": True,
            "tokenizer.chat_template": self._template(config),
            _PATTERN: one.pattern,
        }

    def _template(self, config: dict[str, Any]) -> str:
        if "chat_template.jinja" in self.files:
            return self.files["chat_template.jinja"].decode()
        found = config.get("chat_template")
        if isinstance(found, list):  # several by name, in older folders
            found = {one["name"]: one["template"] for one in found}.get("default")
        return str(found) if found else chat_template()


def _vocabulary(tokens: list[str], kinds: list[int]) -> tuple[dict[bytes, int], dict[str, int]]:
    unspelling = {char: byte for byte, char in huggingface.byte_spelling().items()}
    ranks, special = {}, {}
    for number, (token, kind) in enumerate(zip(tokens, kinds)):
        if kind == _NORMAL:
            ranks[bytes(unspelling[char] for char in token)] = number
        else:
            special[token] = number
    if list(ranks.values()) != list(range(len(ranks))) or len(ranks) + len(special) != len(tokens):
        raise ValueError("a token that stands twice or behind a special one")
    if any(bytes([byte]) not in ranks for byte in range(256)):
        raise ValueError("a vocabulary without some of the 256 bytes")
    return ranks, special


def _pattern(metadata: Mapping[str, Any], source: Path) -> str:
    if _PATTERN in metadata:
        return str(metadata[_PATTERN])
    pre = metadata.get("tokenizer.ggml.pre")
    if pre not in _DIGITS:
        raise ArtifactError(f"{source}: expected tokenizer.ggml.pre {' or '.join(_DIGITS)}, came {pre!r}")
    return split_pattern(_DIGITS[pre])


def _pre(pattern: str) -> str:
    for name, digits in _DIGITS.items():
        if pattern == split_pattern(digits):
            return name
    raise ArtifactError(
        f"expected Llama 3's split pattern with pieces of 3 digits or 1, which llama.cpp has names for, came {pattern}"
    )


def _eos_id(tokenizer: Tokenizer, config: dict[str, Any]) -> int:
    named = config.get("eos_token")
    name = named.get("content") if isinstance(named, dict) else named
    return tokenizer.special.get(str(name), tokenizer.eos_id)
