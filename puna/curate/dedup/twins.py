"""Duplicates: by address, by exact text, and near-copies by MinHash. Each loser gets the place of its twin that stays.

All three look only at the set of documents, never at their order: who stays is decided by a rank that the caller gives,
and by the newest date for addresses. Documents are numbers here, so millions of them fit: 16 bytes of a key each, and
of MinHash one band at a time.

N documents.
"""

import functools
import hashlib
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

import numpy as np
from numba import njit
from numpy.typing import NDArray
from pydantic import Field

from puna.base.config import Config
from puna.base.rng import generator
from puna.curate.text.tokens import mix
from puna.curate.text.words import Hashes, ngram_hashes

Numbers = NDArray[np.int64]

_TRACKING = re.compile(r"^(utm_\w+|fbclid|gclid|mc_[ce]id|ref_src)=")
_BLOCK = 256
_KEY_BYTES = 16
NO_ADDRESS = bytes(_KEY_BYTES)
"""The address key of a document that has none."""


class MinHash(Config):
    """14 bands of 8 rows over word 5-grams (FineWeb): 77% of pairs of similarity 0.75 are found, 92% at 0.80."""

    bands: int = Field(default=14, ge=1)
    rows: int = Field(default=8, ge=1)
    ngram: int = Field(default=5, ge=1)


def url_key(url: str) -> str:
    """What two addresses of one page share: all but scheme, `www.`, tracking parameters, fragment and final slash.

    The fragment stays where it names content: a piece of a split text, or the route of a single-page site.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").removeprefix("www."), parts.port
    except ValueError:
        return url
    query = "&".join(item for item in parts.query.split("&") if item and not _TRACKING.match(item))
    port_text = f":{port}" if port not in (None, 80, 443) else ""
    fragment = f"#{parts.fragment}" if parts.fragment.startswith(("piece-", "!", "/")) else ""
    return f"{host}{port_text}{parts.path.rstrip('/')}{'?' + query if query else ''}{fragment}"


def address_key(url: str) -> bytes:
    """128 bits that two addresses of one page share; of no address NO_ADDRESS."""
    key = url_key(url)
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()[:_KEY_BYTES] if key else NO_ADDRESS


def text_key(text: str) -> bytes:
    """128 bits that two texts share if they differ at most in case and white space."""
    return hashlib.sha256(" ".join(text.lower().split()).encode("utf-8", "replace")).digest()[:_KEY_BYTES]


def signature(word_hashes: Hashes, settings: MinHash) -> NDArray[np.uint32]:
    """MinHash signature of a text's word n-grams (of the whole text if it is shorter), uint32 [bands * rows].

    Hash i of a shingle x is the upper half of a_i x + b_i modulo 2^64, a_i odd (multiply-shift, Dietzfelbinger 1997).
    """
    shingles = ngram_hashes(word_hashes, max(1, min(settings.ngram, len(word_hashes))))
    factors, offsets = _coefficients(settings.bands * settings.rows)
    return _lowest(shingles, factors, offsets)  # type: ignore[no-any-return]


def band_keys(signature: NDArray[np.uint32], settings: MinHash) -> Hashes:
    """A hash of each band of a signature, [bands]. Bands that differ share one by chance once in 2^64."""
    return _hash_rows(signature.reshape(settings.bands, settings.rows))  # type: ignore[no-any-return]


def first_equal(keys: NDArray[np.uint64]) -> Numbers:
    """For each key, [N] or [N, W], the place of the first equal one, [N]."""
    if not len(keys):
        return np.zeros(0, np.int64)
    columns = keys.reshape(len(keys), -1)
    order = np.argsort(columns[:, 0], kind="stable")
    for start, end in _mixed_runs(columns, order):  # equal in the first column alone
        run = order[start:end]
        order[start:end] = run[np.lexsort(columns[run].T)]
    return _heads(columns, order)  # type: ignore[no-any-return]


def near_heads(bands: Iterable[Hashes], count: int) -> Numbers:
    """For each document the first of its cluster of near-copies, [N]; `bands` gives keys [N] of one band at a time.

    Documents that agree in any band are joined (union-find), so a cluster is the same in any order.
    """
    parents = np.arange(count)
    for keys in bands:
        _join(parents, first_equal(keys))
    return _roots(parents)  # type: ignore[no-any-return]


def best_of(heads: Numbers, ranks: Numbers) -> Numbers:
    """For each document the place of the one of smallest rank among those with its head, [N]."""
    order = np.lexsort((ranks, heads))
    ordered = heads[order]
    starts = np.ones(len(heads), bool)
    starts[1:] = ordered[1:] != ordered[:-1]
    twins = np.empty(len(heads), np.int64)
    twins[order] = order[np.flatnonzero(starts)[np.cumsum(starts) - 1]] if len(heads) else order
    return twins


def crowded(heads: Numbers) -> Numbers:
    """The documents that are not alone under their head."""
    return np.flatnonzero(np.bincount(heads, minlength=len(heads))[heads] > 1)


@njit(cache=True, nogil=True)
def _hash_rows(rows):  # type: ignore[no-untyped-def]
    keys = np.empty(len(rows), np.uint64)
    for number in range(len(rows)):
        value = np.uint64(0)
        for place in range(rows.shape[1]):
            value = mix(value + mix(np.uint64(rows[number, place]) + np.uint64(place)))
        keys[number] = value
    return keys


@njit(cache=True, nogil=True)
def _mixed_runs(keys, order):  # type: ignore[no-untyped-def]
    """Runs [start, end) of rows in this order that agree in the first column and not in all."""
    found = [(0, 0)][:0]
    start, is_mixed = 0, False
    for place in range(1, len(order) + 1):
        if place == len(order) or keys[order[place], 0] != keys[order[start], 0]:
            if is_mixed:
                found.append((start, place))
            start, is_mixed = place, False
        elif not is_mixed:
            is_mixed = not _same(keys, order[place], order[start])
    return found


@njit(cache=True, nogil=True)
def _heads(keys, order):  # type: ignore[no-untyped-def]
    """Of each row the first in this order that is equal; equal ones are neighbours. No arrays but the result."""
    heads = np.empty(len(order), np.int64)
    head = order[0]
    for row in order:
        if not _same(keys, row, head):
            head = row
        heads[row] = head
    return heads


@njit(cache=True, nogil=True)
def _same(keys, a, b):  # type: ignore[no-untyped-def]
    equal = True
    for column in range(keys.shape[1]):
        equal &= keys[a, column] == keys[b, column]
    return equal


@njit(cache=True, nogil=True)
def _join(parents, heads):  # type: ignore[no-untyped-def]
    for index in range(len(heads)):
        if heads[index] != index:
            a, b = _root(parents, index), _root(parents, heads[index])
            parents[max(a, b)] = min(a, b)


@njit(cache=True, nogil=True)
def _roots(parents):  # type: ignore[no-untyped-def]
    roots = np.empty_like(parents)
    for index in range(len(parents)):
        roots[index] = _root(parents, index)
    return roots


@njit(cache=True, nogil=True)
def _root(parents, index):  # type: ignore[no-untyped-def]
    while parents[index] != index:
        parents[index] = parents[parents[index]]
        index = parents[index]
    return index


@njit(cache=True, nogil=True)
def _lowest(shingles, factors, offsets):  # type: ignore[no-untyped-def]
    """The smallest upper half of a x + b over the shingles, for each a and b. Blocks of shingles stay in the cache."""
    lowest = np.full(len(factors), np.uint32(0xFFFFFFFF), np.uint32)
    for start in range(0, len(shingles), _BLOCK):
        block = shingles[start : start + _BLOCK]
        for number in range(len(factors)):
            factor, offset, best = factors[number], offsets[number], np.uint64(0xFFFFFFFFFFFFFFFF)
            for place in range(len(block)):
                best = min(best, block[place] * factor + offset)
            lowest[number] = min(lowest[number], np.uint32(best >> np.uint64(32)))
    return lowest


@functools.lru_cache(maxsize=4)
def _coefficients(count: int) -> tuple[Hashes, Hashes]:
    random = generator(0, "minhash", count)
    factors, offsets = random.integers(0, 1 << 64, (2, count), dtype=np.uint64)
    return factors | np.uint64(1), offsets
