"""Counter-based random numbers: a stream is named by a seed and a key, so no order of calls can change it."""

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np


def generator(seed: int, *key: str | int) -> np.random.Generator:
    """An independent Philox stream for (seed, key): the same everywhere, whatever was drawn before.

    The 128-bit Philox key is the BLAKE2b hash of the seed and the key's parts.
    """
    return np.random.Generator(np.random.Philox(key=_hash128(seed, *key)))


def hash64(seed: int, *key: str | int) -> int:
    """64 uniform bits for (seed, key); what splits and samples by content are decided with."""
    return _hash128(seed, *key) & 0xFFFF_FFFF_FFFF_FFFF


def hashes64(names: Iterable[str], seed: int, *key: str | int) -> Iterator[int]:
    """`hash64(seed, *key, name)` for each of many names, four times as fast."""
    begun = hashlib.blake2b(f"{_text(seed, *key)}\x1fstr:".encode(), digest_size=16)
    for name in names:
        hashed = begun.copy()
        hashed.update(name.encode())
        yield int.from_bytes(hashed.digest()[:8], "little")


def _hash128(seed: int, *key: str | int) -> int:
    return int.from_bytes(hashlib.blake2b(_text(seed, *key).encode(), digest_size=16).digest(), "little")


def _text(seed: int, *key: str | int) -> str:
    return "\x1f".join([str(seed), *(f"{type(part).__name__}:{part}" for part in key)])
