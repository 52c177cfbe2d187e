"""The tokenizer: byte-level BPE by rank, as Llama 3's. The ranks are the truth; all files are made from them.

    pieces of text by a regular expression -> bytes -> join the pair whose union has the lowest rank, again and again

Encoding is tiktoken's (Rust, threads); the same ids come out of the Hugging Face files (`huggingface.py`).
"""

import base64
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import tiktoken

from puna.base.errors import ArtifactError
from puna.base.files import write_atomic
from puna.tokenizer import huggingface, special

MODEL_FILE = "tokenizer.model"
# tiktoken's regular expression overflows its stack on runs of white space of about a million; Meta's tokenizer cuts
# such runs as well (at 25,000).
_MAX_SPACES = 100_000


def split_pattern(digits: int = 3) -> str:
    """Llama 3's regular expression for pieces, with at most `digits` digits in one (Llama 3: 3)."""
    number = r"\p{N}" if digits == 1 else rf"\p{{N}}{{1,{digits}}}"
    return (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
        + number
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )


class Tokenizer:
    """Text <-> ids. Text never becomes a special token unless the caller allows it by name.

    ranks: bytes -> id, 0 .. len - 1. special: name -> id, following the ranks.
    """

    def __init__(self, ranks: dict[bytes, int], special_ids: dict[str, int], pattern: str) -> None:
        self.ranks = ranks
        self.special = special_ids
        self.pattern = pattern
        self.bos_id = self._special_id(special.BEGIN_OF_TEXT)
        self.eos_id = self._special_id(special.END_OF_TEXT)
        self.eot_id = self._special_id(special.END_OF_TURN)
        self.pad_id = self._special_id(special.PAD)
        # A sampler stops at each of these: the end of a document, of a message that calls a tool, of a turn.
        self.stop_ids = [self.eos_id, self._special_id(special.END_OF_MESSAGE), self.eot_id]
        self._special_ids = frozenset(special_ids.values())
        self._encoding = tiktoken.Encoding(
            "puna", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special_ids, explicit_n_vocab=self.vocab_size
        )

    @classmethod
    def load(cls, path: Path | str) -> "Tokenizer":
        """Read a folder with `tokenizer.model`, `tokenizer.json` or both, or a `tokenizer.model` itself.

        The pattern and the special tokens are in tokenizer.json; without it they are Llama 3's.
        Raises ArtifactError if there is none, or it is damaged or no byte-level BPE.
        """
        path = Path(path)
        folder, model = (path, path / MODEL_FILE) if path.is_dir() else (path.parent, path)
        described = folder / huggingface.JSON_FILE
        if not path.is_dir() or not described.is_file():
            ranks = read_ranks(model)
            return cls(ranks, special_ids(len(ranks), special.LLAMA3_NUM_SPECIAL), split_pattern())
        pattern, vocabulary, added = huggingface.read_tokenizer_json(described)
        ranks = read_ranks(model) if model.is_file() else vocabulary
        if ranks != vocabulary:
            raise ArtifactError(
                f"{folder}: expected {MODEL_FILE} and {described.name} to hold the same tokens; they differ"
            )
        return cls(ranks, added, pattern)

    @property
    def vocab_size(self) -> int:
        """Ranks and special tokens together."""
        return len(self.ranks) + len(self.special)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides an encoding; token shards are bound to it."""
        content = write_ranks(self.ranks) + json.dumps([self.special, self.pattern]).encode()
        return hashlib.sha256(content).hexdigest()

    def encode(
        self, text: str, bos: bool = False, eos: bool = False, allowed_special: Collection[str] | str = frozenset()
    ) -> list[int]:
        """Ids of `text`; special names in it are plain text unless in `allowed_special` (a set, or "all")."""
        if allowed_special == "all":
            allowed_special = self.special.keys()
        if allowed_special:
            ids = self._encoding.encode(text, allowed_special=set(allowed_special), disallowed_special=())
        else:
            ids = self._encode_ordinary(text)
        return [self.bos_id] * bos + ids + [self.eos_id] * eos

    def encode_bytes(self, data: bytes) -> list[int]:
        """Ids whose bytes are `data`, which may be no UTF-8: runs of it are encoded as text, other bytes one by one."""
        ids: list[int] = []
        # errors="surrogateescape" turns byte b of no character into U+DC00 + b, which valid text cannot hold.
        for run in re.split("([\udc80-\udcff])", data.decode("utf-8", errors="surrogateescape")):
            is_byte = len(run) == 1 and "\udc80" <= run <= "\udcff"
            ids += [self.ranks[bytes([ord(run) - 0xDC00])]] if is_byte else self._encode_ordinary(run)
        return ids

    def encode_batch(self, texts: Sequence[str], threads: int = 1) -> list[list[int]]:
        """Ids of each text, all of it ordinary text."""
        if threads == 1:
            return [self._encode_ordinary(text) for text in texts]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(self._encode_ordinary, texts))

    def decode(self, ids: Iterable[int], skip_special: bool = False) -> str:
        """The text of `ids`; bytes that are no UTF-8 become U+FFFD. Raises ValueError for an id that does not exist."""
        return self.decode_bytes(ids, skip_special).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int], skip_special: bool = False) -> bytes:
        """The bytes of `ids`, which may end within a character."""
        ids = list(ids)
        wrong = next((token for token in ids if not 0 <= token < self.vocab_size), None)
        if wrong is not None:
            raise ValueError(f"expected ids below {self.vocab_size}, came {wrong}")
        if skip_special:
            ids = [token for token in ids if token not in self._special_ids]
        return self._encoding.decode_bytes(ids)

    def files(self) -> dict[str, bytes]:
        """The files of the tokenizer artifact by name: tiktoken's and Hugging Face's."""
        return {MODEL_FILE: write_ranks(self.ranks), **huggingface.files(self.ranks, self.special, self.pattern)}

    def save(self, folder: Path | str) -> None:
        """Write `files()` to `folder`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files().items():
            write_atomic(folder / name, content)

    def _encode_ordinary(self, text: str) -> list[int]:
        if len(text) <= _MAX_SPACES:
            return self._encoding.encode_ordinary(text)
        return [token for part in _cut_spaces(text) for token in self._encoding.encode_ordinary(part)]

    def _special_id(self, name: str) -> int:
        if name not in self.special:
            raise ArtifactError(f"expected a tokenizer with the special token {name}, found none")
        return self.special[name]


def _cut_spaces(text: str) -> Iterator[str]:
    """`text` in parts, cut within each run of more than `_MAX_SPACES` white-space characters."""
    start = 0
    for run in re.finditer(r"\s+", text):
        for cut in range(run.start() + _MAX_SPACES, run.end(), _MAX_SPACES):
            yield text[start:cut]
            start = cut
    yield text[start:]


def special_ids(num_ranks: int, num_special: int) -> dict[str, int]:
    """Ids of the special tokens, which follow the ranks."""
    return {name: num_ranks + index for index, name in enumerate(special.special_names(num_special))}


def read_ranks(path: Path) -> dict[bytes, int]:
    """A tiktoken file: on each line a token in base64, a space, its rank. Raises ArtifactError naming a wrong line."""
    if not path.is_file():
        raise ArtifactError(f"expected {MODEL_FILE} or {huggingface.JSON_FILE} in {path.parent}, found none")
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            token, rank = line.split(b" ")
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except ValueError:
            raise ArtifactError(
                f"{path}:{number}: expected a base64 token, a space and its rank, came {line[:40]!r}"
            ) from None
    if sorted(ranks.values()) != list(range(len(ranks))) or any(bytes([byte]) not in ranks for byte in range(256)):
        raise ArtifactError(f"{path}: expected ranks 0, 1, ... with all 256 bytes among the tokens")
    return ranks


def write_ranks(ranks: dict[bytes, int]) -> bytes:
    """Content of a tiktoken file, in the order of rank."""
    ordered = sorted(ranks.items(), key=lambda item: item[1])
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in ordered)
