import itertools
import json
from collections import Counter

import pytest
import regex
import transformers

from puna.base.errors import DataError
from puna.base.output import Inputs, StageOutput
from puna.base.records import Document, read_documents
from puna.tokenizer import Tokenizer
from puna.tokenizer.train import TokenizerConfig, run, sample, train


def check_by_the_book(texts, tokens, pattern):
    """Sennrich's algorithm by the book: count pairs over all pieces, join the commonest (of a tie: the next token)."""
    pieces = Counter(piece for text in texts for piece in regex.findall(pattern, text))
    words = {piece: [bytes([byte]) for byte in piece.encode()] for piece in pieces}
    for number, token in enumerate(tokens):
        pairs = Counter()
        for piece, parts in words.items():
            for pair in itertools.pairwise(parts):
                pairs[pair] += pieces[piece]
        most = max(pairs.values())
        commonest = {a + b: (a, b) for (a, b), count in pairs.items() if count == most}
        assert token in commonest, f"token {number} is {token}, the commonest are {commonest}"
        pair = commonest[token]
        for parts in words.values():
            at = 0
            while at < len(parts) - 1:
                if (parts[at], parts[at + 1]) == pair:
                    parts[at : at + 2] = [token]
                at += 1


def test_the_tokens_are_those_of_the_textbook_algorithm(shakespeare):
    texts = [shakespeare[:30_000]]
    tokenizer = train(texts, TokenizerConfig(vocab_size=400, num_special=16, digits=1))
    check_by_the_book(texts, sorted(tokenizer.ranks, key=tokenizer.ranks.get)[256:], tokenizer.pattern)


def test_the_order_of_texts_changes_nothing(tokenizer, texts, config):
    assert train(texts[::-1], config).files() == tokenizer.files()


def test_too_little_text_is_refused(config):
    with pytest.raises(DataError, match=r"vocabulary of 600, came enough for \d+"):
        train(["one two three"], config)


def test_a_sample_depends_on_ids_alone_and_has_about_the_size_asked():
    documents = [Document(id=f"d{n}", text="the mill " * (20 + n % 9)) for n in range(400)]
    total = sum(len(document.text.encode()) for document in documents)
    half = {document.id for document in sample(lambda: iter(documents), total // 2, seed=1)}
    assert {document.id for document in sample(lambda: iter(documents[::-1]), total // 2, seed=1)} == half
    assert 150 < len(half) < 250
    assert len(list(sample(lambda: iter(documents), total, seed=1))) == 400


def test_the_stage_writes_a_tokenizer_that_transformers_loads(documents, config, tmp_path):
    out = StageOutput(tmp_path)
    run(config, Inputs({"documents": documents}), out)
    ours, theirs = Tokenizer.load(out.path), transformers.AutoTokenizer.from_pretrained(out.path)
    for document in read_documents(documents):
        assert theirs(document.text)["input_ids"] == ours.encode(document.text, bos=True)
    assert len(theirs) == ours.vocab_size == 600
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (ours.bos_id, ours.eos_id, ours.pad_id)
    ids = ours.encode(" the  mill , it's , 12", bos=True)
    assert theirs.decode(ids) == ours.decode(ids)
    assert theirs.decode(ids, skip_special_tokens=True) == ours.decode(ids, skip_special=True)


def test_the_stage_measures_compression(documents, config, tmp_path):
    out = StageOutput(tmp_path)
    run(config, Inputs({"documents": documents}), out)
    tokenizer = Tokenizer.load(out.path)
    texts = [document.text for document in read_documents(documents)]
    ids = [tokenizer.encode(text) for text in texts]
    assert out.metrics["bytes_per_token"] == sum(len(t.encode()) for t in texts) / sum(len(row) for row in ids)
    assert out.metrics["vocabulary_used"] == len({token for row in ids for token in row}) / 584
    table = next(panel for panel in out.panels if panel["title"].startswith("Compression"))
    assert [row[:3] for row in table["rows"]] == [
        ["all", "", 120], ["language", "en", 60], ["language", "es", 60],
        ["source", "a", 40], ["source", "b", 40], ["source", "c", 40],
    ]  # fmt: skip
    json.dumps(out.panels)


def test_a_killed_stage_goes_on_to_the_same_bytes(documents, config, tmp_path):
    whole = StageOutput(tmp_path / "whole")
    run(config, Inputs({"documents": documents}), whole)
    killed = StageOutput(tmp_path / "killed")
    run(config, Inputs({"documents": documents}), killed)
    (killed.path / "tokenizer.json").unlink()
    again = StageOutput(tmp_path / "killed")
    run(config, Inputs({"documents": documents}), again)
    assert again.records() == whole.records()
    assert again.metrics == whole.metrics
    assert again.panels == whole.panels
