import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.curate.dedup.twins import (
    NO_ADDRESS,
    MinHash,
    address_key,
    band_keys,
    best_of,
    crowded,
    first_equal,
    near_heads,
    signature,
    text_key,
    url_key,
)
from puna.curate.text.words import Words
from tests.curate.pages import sentences

SETTINGS = MinHash()


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("http://www.A.example/x/", "https://a.example/x", True),
        ("https://a.example/x?utm_source=n&id=3", "https://a.example/x?id=3#top", True),
        ("https://a.example:443/x", "http://a.example:80/x", True),
        ("https://a.example/x?id=3", "https://a.example/x?id=4", False),
        ("https://a.example/X", "https://a.example/x", False),
        ("https://a.example:8080/x", "https://a.example/x", False),
        ("https://a.example/book#piece-1", "https://a.example/book#piece-2", False),
        ("http://[broken", "http://[broken", True),
    ],
)
def test_addresses_of_one_page(a: str, b: str, same: bool) -> None:
    assert (url_key(a) == url_key(b)) is same


def near_twins(signatures: list[np.ndarray], ranks: np.ndarray) -> np.ndarray:
    bands = np.array([band_keys(one, SETTINGS) for one in signatures], np.uint64).reshape(len(ranks), SETTINGS.bands)
    return best_of(near_heads(list(bands.T), len(ranks)), ranks)


def test_keys_of_addresses() -> None:
    assert address_key("http://www.a.example/x/") == address_key("https://a.example/x") != NO_ADDRESS
    assert address_key("") == NO_ADDRESS


def test_groups_and_their_best_as_counted_by_hand() -> None:
    keys = np.array([[7, 1], [7, 2], [3, 1], [7, 1], [3, 1], [7, 1]], np.uint64)
    heads = first_equal(keys)
    assert heads.tolist() == [0, 1, 2, 0, 2, 0]
    assert crowded(heads).tolist() == [0, 2, 3, 4, 5]
    assert best_of(heads, np.array([5, 4, 3, 2, 1, 0])).tolist() == [5, 1, 4, 5, 4, 5]
    assert (
        first_equal(np.zeros((0, 2), np.uint64)).tolist() == best_of(np.zeros(0, int), np.zeros(0, int)).tolist() == []
    )


@given(st.lists(st.integers(0, 5), max_size=30), st.randoms())
def test_groups_against_a_dictionary(keys: list[int], draw: random.Random) -> None:
    heads = first_equal(np.array(keys, np.uint64))
    assert heads.tolist() == [keys.index(key) for key in keys]
    ranks = draw.sample(range(len(keys)), len(keys))
    best = {key: min((i for i in range(len(keys)) if keys[i] == key), key=ranks.__getitem__) for key in keys}
    assert best_of(heads, np.array(ranks, int)).tolist() == [best[key] for key in keys]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 1)), max_size=40))
def test_the_first_equal_of_keys_of_several_numbers(keys: list[tuple[int, int, int]]) -> None:
    heads = first_equal(np.array(keys, np.uint64).reshape(-1, 3))
    assert heads.tolist() == [keys.index(key) for key in keys]


def test_exact_copies_differ_at_most_in_case_and_space() -> None:
    texts = ["One two.\n\nThree", "one  TWO. three", "one two, three"]
    assert [text_key(text) == text_key(texts[0]) for text in texts] == [True, True, False]


def shingles(text: str) -> set[tuple[str, ...]]:
    words = text.lower().replace(".", "").split()
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def jaccard(a: str, b: str) -> float:
    x, y = shingles(a), shingles(b)
    return len(x & y) / len(x | y)


def edited(text: str, share: float, draw: random.Random) -> str:
    """`text` with a share of its words replaced."""
    return " ".join(f"w{draw.randint(0, 10**6)}" if draw.random() < share else word for word in text.split())


def test_signature_estimates_jaccard() -> None:
    draw = random.Random(1)
    errors = []
    for seed in range(40):
        text = sentences(seed, 25)
        other = edited(text, draw.choice([0.01, 0.03, 0.08]), draw)
        ours = np.mean(signature(Words(text).word_hashes, SETTINGS) == signature(Words(other).word_hashes, SETTINGS))
        errors.append(ours - jaccard(text, other))
    # One estimate from 112 hashes has a standard error of at most 0.047, the mean of 40 one of 0.0075.
    assert abs(np.mean(errors)) < 0.025
    assert np.max(np.abs(errors)) < 0.2


def test_bands_find_pairs_as_often_as_the_formula_says() -> None:
    """1 - (1 - s^8)^14 over pairs whose similarity s is counted by brute force (0.77 at s = 0.75)."""
    draw = random.Random(2)
    texts, expected, pairs = [], [], []
    for seed in range(250):
        text = sentences(1000 + seed, 20)
        other = edited(text, draw.uniform(0.0, 0.09), draw)
        pairs.append((len(texts), len(texts) + 1))
        texts += [text, other]
        expected.append(1 - (1 - jaccard(text, other) ** 8) ** 14)
    signatures = np.array([signature(Words(text).word_hashes, SETTINGS) for text in texts])
    twins = near_twins(signatures, np.arange(len(texts)))
    found = [twins[a] == twins[b] for a, b in pairs]
    assert 0.3 < np.mean(expected) < 0.9
    assert abs(np.mean(found) - np.mean(expected)) < 3 * (0.25 / 250) ** 0.5
    joined = {(int(twins[i]), i) for i in range(len(texts)) if twins[i] != i}
    wrong = [pair for pair in joined if jaccard(texts[pair[0]], texts[pair[1]]) < 0.4]
    assert len(wrong) <= 0.02 * len(joined)  # precision against brute force


def test_chinese_copies_are_found_by_characters() -> None:
    draw = random.Random(3)
    text = "".join(chr(0x4E00 + draw.randint(0, 2000)) for _ in range(400))
    copy, other = text[:200] + "新" + text[201:], "".join(draw.sample(text, 400))
    signatures = np.array([signature(Words(item).word_hashes, SETTINGS) for item in (text, copy, other)])
    assert near_twins(signatures, np.arange(3)).tolist() == [0, 0, 2]


def test_clusters_do_not_depend_on_the_order() -> None:
    draw = random.Random(4)
    base = [sentences(seed, 15) for seed in range(20)]
    texts = [edited(text, 0.01, draw) for text in base for _ in range(4)]
    signatures = np.array([signature(Words(text).word_hashes, SETTINGS) for text in texts])
    ranks = np.arange(len(texts))
    first = near_twins(signatures, ranks)
    assert len(set(first.tolist())) < 50
    for _ in range(3):
        order = np.array(draw.sample(range(len(texts)), len(texts)))
        again = near_twins(signatures[order], ranks[order])
        assert {int(order[i]): int(order[twin]) for i, twin in enumerate(again)} == dict(enumerate(first.tolist()))


def test_short_and_empty_texts() -> None:
    same = [signature(Words(text).word_hashes, SETTINGS) for text in ("two words", "Two, words!", "other words", "")]
    assert (same[0] == same[1]).all()
    assert (same[0] != same[2]).any()
    assert near_twins([], np.zeros(0, np.int64)).tolist() == []
