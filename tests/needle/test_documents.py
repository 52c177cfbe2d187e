"""Made documents as training text: facts in any form, and words told twice."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from puna.base.errors import DataError
from puna.base.output import Inputs, StageOutput
from puna.base.records import Document, read_documents, write_documents
from puna.needle import documents
from puna.needle.documents import NeedleDocumentsConfig
from puna.needle.find import is_found
from puna.needle.plant import Haystack, NeedleConfig, echo_document, needle_items, words_of
from puna.tokenizer import Tokenizer
from puna.tokenizer.shards import TokensConfig
from puna.tokenizer.shards import run as write_tokens
from puna.tokenizer.train import TokenizerConfig, train
from tests.needle.conftest import MadePages

WORDS = [
    "amber",
    "birch",
    "cedar",
    "dahlia",
    "elder",
    "fennel",
    "ginger",
    "hazel",
    "iris",
    "juniper",
    "kale",
    "lilac",
    "maple",
    "nettle",
    "olive",
    "poppy",
    "quince",
]
PAGE = " ".join(["The", *WORDS, *reversed(WORDS)]) + ".\n"


@pytest.fixture(scope="module")
def wordy() -> Tokenizer:
    """A tokenizer of which each of WORDS is a token."""
    return train([PAGE] * 50, TokenizerConfig(vocab_size=352, num_special=16, digits=1))


def test_an_echo_tells_the_same_words_twice(wordy: Tokenizer) -> None:
    words = words_of(wordy)
    assert {wordy.decode([token]).strip() for token in words.tolist()} >= set(WORDS)
    haystack = Haystack([MadePages(wordy, 30)], wordy)
    for length in (16, 17, 200):
        ids = echo_document(haystack, words, length, 0, 0, 5)
        assert length - 3 <= len(ids) <= length
        first, second, rest = wordy.decode(ids, skip_special=True).split("\n")
        assert first == second and rest == ""
        assert len(first.split()) >= (length - 6) // 2
        assert (
            wordy.encode(f"{first}\n{second}\n", bos=True, eos=True) == ids.tolist()
        )  # as the stage `tokens` makes them
    assert not np.array_equal(ids, echo_document(haystack, words, 200, 0, 0, 6))


def test_pages_stand_between_the_two_tellings(wordy: Tokenizer) -> None:
    """1 to `gap` tokens of them, as many documents below the square root of `gap` as above."""
    haystack, words, gaps = Haystack([MadePages(wordy, 30)], wordy), words_of(wordy), list[int]()
    plain = len(echo_document(haystack, words, 30, 0, 0, 0))
    for number in range(300):
        ids = echo_document(haystack, words, 30, 400, 0, number)
        text = wordy.decode(ids, skip_special=True).removesuffix("\n")
        first, last = text.split("\n", 1)[0], text.rsplit("\n", 1)[1]
        assert first == last and set(wordy.encode(first)) <= set(words.tolist())
        gaps.append(len(ids) - plain - len(wordy.encode("\n")))
    assert min(gaps) == 1 and 350 < max(gaps) <= 400
    assert np.median(gaps) == pytest.approx(20, rel=0.3)


def test_a_tokenizer_without_words_cannot_echo(tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match="expected 16 words that are one token, the tokenizer has 0"):
        words_of(tokenizer)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_so_many_of_the_documents_are_echoes(wordy: Tokenizer, tmp_path: Path, share: float) -> None:
    inputs = _inputs(wordy, tmp_path)
    config = NeedleDocumentsConfig(num_documents=200, shortest=256, longest=300, digits=2, facts=2, echo_share=share)
    out = StageOutput(tmp_path / "out", seed=3)
    documents.run(config, inputs, out)
    found = list(read_documents(out.path / "documents-00000.parquet"))
    kinds = Counter("The key of" in one.text for one in found)
    assert len(found) == 200 and all(one.source == "needles" for one in found)
    assert kinds[False] == pytest.approx(200 * share, abs=20)


def test_stages_with_sources_of_their_own_are_told_apart(wordy: Tokenizer, tmp_path: Path) -> None:
    inputs, found = _inputs(wordy, tmp_path), list[Document]()
    for source in ("needles", "echoes"):
        config = NeedleDocumentsConfig(num_documents=3, shortest=64, longest=64, echo_share=1, source=source)
        out = StageOutput(tmp_path / source, seed=3)
        documents.run(config, inputs, out)
        found += read_documents(out.path / "documents-00000.parquet")
    assert [one.source for one in found] == ["needles"] * 3 + ["echoes"] * 3
    assert len({one.id for one in found}) == 6


def test_the_stage_puts_pages_between_echoes(wordy: Tokenizer, tmp_path: Path) -> None:
    inputs, sizes = _inputs(wordy, tmp_path), list[int]()
    for gap in (0, 200):
        config = NeedleDocumentsConfig(num_documents=20, shortest=32, longest=32, echo_share=1, gap=gap)
        out = StageOutput(tmp_path / f"gap-{gap}", seed=3)
        documents.run(config, inputs, out)
        found = read_documents(out.path / "documents-00000.parquet")
        sizes.append(max(len(wordy.encode(one.text, bos=True, eos=True)) for one in found))
    assert sizes[0] <= 32 and 100 < sizes[1] < 250


def _inputs(wordy: Tokenizer, folder: Path) -> Inputs:
    (folder / "pages").mkdir()
    write_documents(folder / "pages/documents-00000.parquet", [Document(f"{i}", PAGE * 3) for i in range(20)])
    wordy.save(folder / "tokenizer")
    inputs = {"documents": folder / "pages", "tokenizer": folder / "tokenizer"}
    out = StageOutput(folder / "tokens")
    write_tokens(TokensConfig(), Inputs(inputs), out)
    return Inputs({"tokens": out.path, "tokenizer": folder / "tokenizer"})


def test_a_fact_is_told_in_the_form_that_was_asked_for(haystack: Haystack, tokenizer: Tokenizer) -> None:
    config = NeedleConfig(form="Der Code von {key} lautet {value}!", facts=3, keys=("Anna", "Otto", "Uwe"), digits=2)
    (item,) = needle_items(haystack, config, 400, [0.5], 1)
    text = tokenizer.decode(item.prompt, skip_special=True)
    assert text.endswith(f"\nDer Code von {item.key} lautet")
    assert f"\nDer Code von {item.key} lautet {item.value}!\n" in text
    assert tokenizer.decode(item.answer) == f" {item.value}!\n"
    assert is_found(item, tokenizer.encode(f" {item.value}!\n\n"), tokenizer)
    assert not is_found(item, tokenizer.encode(f" {item.value}.\n"), tokenizer)


@pytest.mark.parametrize(
    "form", ["{value} is {key}", "{key} is{value}", "The key is {value}.", "{key} {key} {value}", "{key}\n {value}"]
)
def test_a_form_that_cannot_be_asked_is_refused(form: str) -> None:
    with pytest.raises(ValidationError, match="one line with {key}, then a space and {value}"):
        NeedleConfig(form=form)
