import json
from collections import Counter

import numpy as np
import pytest

from puna.base.errors import ArtifactError, ConfigError
from puna.base.files import sha256_file
from puna.base.output import Inputs, StageOutput
from puna.base.records import Document, read_documents, write_documents
from puna.tokenizer import Tokenizer
from puna.tokenizer.bpe import special_ids
from puna.tokenizer.shards import TokensConfig, TokenShards, run


@pytest.fixture
def make(documents, tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer")

    def make(name="tokens", threads=1, **config):
        out = StageOutput(tmp_path / name, threads=threads)
        run(TokensConfig(**config), Inputs({"documents": documents, "tokenizer": tmp_path / "tokenizer"}), out)
        return out

    return make


def test_shards_hold_every_document_between_bos_and_eos(make, documents, tokenizer):
    out = make(shard_bytes=4000)
    for part, folder in (("train", documents), ("heldout", documents / "heldout")):
        shards = TokenShards(out.path / part, tokenizer.fingerprint)
        expected = [tokenizer.encode(document.text, bos=True, eos=True) for document in read_documents(folder)]
        assert [shards.document(n).tolist() for n in range(len(shards))] == expected
        assert shards.num_tokens == sum(map(len, expected)) == shards.lengths.sum()
        assert shards.num_documents == len(expected)
        assert out.metrics[f"{part}_tokens"] == shards.num_tokens
    assert len(list((out.path / "train").glob("tokens-*.bin"))) > 3
    with pytest.raises(IndexError):
        shards.document(len(shards))


def test_documents_of_which_none_is_held_out(documents, tokenizer, tmp_path):
    rows = list(read_documents(documents))[:5]
    (tmp_path / "documents" / "heldout").mkdir(parents=True)
    write_documents(tmp_path / "documents" / "documents-00000.parquet", rows)
    write_documents(tmp_path / "documents" / "heldout" / "documents-00000.parquet", [])
    tokenizer.save(tmp_path / "tokenizer")
    out = StageOutput(tmp_path / "out")
    run(TokensConfig(), Inputs({"documents": tmp_path / "documents", "tokenizer": tmp_path / "tokenizer"}), out)
    assert out.metrics["train_documents"] == 5
    assert not (out.path / "heldout").exists()


def test_the_files_are_what_the_index_says(make, documents):
    out = make(shard_bytes=4000)
    index = json.loads((out.path / "train" / "index.json").read_text())
    for shard in index["shards"]:
        assert sha256_file(out.path / "train" / shard["tokens"]) == shard["tokens_sha256"]
        assert sha256_file(out.path / "train" / shard["docs"]) == shard["docs_sha256"]
    raw = (out.path / "train" / index["shards"][0]["tokens"]).read_bytes()
    assert int.from_bytes(raw[:2], "little") == 584  # <|begin_of_text|>, the first id after 600 - 16 ranks
    sources = Counter(document.source for document in read_documents(documents))
    assert {name: counts["documents"] for name, counts in index["sources"].items()} == sources
    assert index["num_bytes"] == sum(len(document.text.encode()) for document in read_documents(documents))
    assert sum(counts["tokens"] for counts in index["sources"].values()) == index["num_tokens"]


def test_sources_are_repeated_as_asked(make, documents, tokenizer):
    out = make(repeat={"a": 2.5, "b": 0.5, "c": 0})
    shards = TokenShards(out.path / "train")
    seen = Counter(tokenizer.decode(shards.document(n)[1:-1]) for n in range(len(shards)))
    times = {source: [] for source in "abc"}
    for document in read_documents(documents):
        times[document.source].append(seen[document.text])
    assert set(times["a"]) == {2, 3}
    assert set(times["b"]) == {0, 1}
    assert set(times["c"]) == {0}
    assert 10 < times["a"].count(3) < 30 and 10 < times["b"].count(1) < 30  # half of 40
    first_pass = [tokenizer.decode(shards.document(n)[1:-1]) for n in range(40)]
    assert len(set(first_pass)) == 40  # copies are whole passes apart
    assert TokenShards(out.path / "heldout").num_documents == 9


def test_threads_change_no_byte_and_a_killed_stage_goes_on_to_the_same(make, tmp_path):
    whole, threaded = make("whole", shard_bytes=4000), make("threaded", threads=2, shard_bytes=4000)
    assert threaded.records() == whole.records()
    for name in ("train/tokens-00002.bin", "train/docs-00001.npy", "heldout/index.json"):
        (threaded.path / name).unlink()
    kept = (threaded.path / "train/tokens-00000.bin").stat().st_mtime_ns
    resumed = make("threaded", shard_bytes=4000)
    assert resumed.records() == whole.records()
    assert resumed.metrics == whole.metrics
    assert (resumed.path / "train/tokens-00000.bin").stat().st_mtime_ns == kept


def test_a_large_vocabulary_takes_four_bytes(documents, tokenizer, tmp_path):
    ranks = dict(tokenizer.ranks)
    ranks |= {f"zq{n:x}xz".encode(): len(ranks) + n for n in range(70_000)}
    Tokenizer(ranks, special_ids(len(ranks), 16), tokenizer.pattern).save(tmp_path / "tokenizer")
    out = StageOutput(tmp_path / "tokens")
    run(TokensConfig(), Inputs({"documents": documents, "tokenizer": tmp_path / "tokenizer"}), out)
    document = TokenShards(out.path / "train").document(0)
    assert document.dtype == np.dtype("<u4")
    assert document[0] == len(ranks)


def test_wrong_tokenizers_damage_and_unknown_sources_are_refused(make, tmp_path):
    out = make()
    folder = out.path / "train"
    with pytest.raises(ArtifactError, match=r"expected tokens of tokenizer 000000000000, came [0-9a-f]{12};"):
        TokenShards(folder, "0" * 64)
    with pytest.raises(ArtifactError, match=r"with index\.json in .*, found none"):
        TokenShards(tmp_path)
    with open(folder / "tokens-00000.bin", "ab") as file:
        file.write(b"\0\0")
    with pytest.raises(ArtifactError, match=r"tokens-00000\.bin is damaged: expected \d+ bytes, came \d+ bytes"):
        TokenShards(folder).document(0)
    index = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({**index, "format_version": 99}))
    with pytest.raises(ArtifactError, match="of format 1, came 99"):
        TokenShards(folder)
    with pytest.raises(ConfigError, match=r"sources of the documents \(a, b, c\), came \['x'\]"):
        make("other", repeat={"x": 2.0})


def test_labels_are_kept_beside_the_tokens(tokenizer, tmp_path):
    (tmp_path / "documents").mkdir()
    tokenizer.save(tmp_path / "tokenizer")
    rows = [
        Document(f"d{i}", "a text " * (i + 1), f"https://x.org/{i}", "web", "en", meta={"kind": i}) for i in range(5)
    ]
    labelled = {"quality": [0.5, 0.25, 0.0, 1.0, None]}
    write_documents(tmp_path / "documents/documents-0.parquet", rows, labelled)
    write_documents(tmp_path / "documents/documents-1.parquet", [Document("e", "a text without labels")])
    given = Inputs({"documents": tmp_path / "documents", "tokenizer": tmp_path / "tokenizer"})
    out = StageOutput(tmp_path / "tokens")
    run(TokensConfig(labels=("quality", "kind"), shard_bytes=30), given, out)
    shards = TokenShards(out.path / "train")
    assert len(shards.shards) > 1
    assert shards.labels("id") == ["d0", "d1", "d2", "d3", "d4", "e"]
    assert shards.labels("url")[3:] == ["https://x.org/3", "https://x.org/4", ""]
    assert shards.labels("quality") == ["0.5", "0.25", "0.0", "1.0", "", ""]
    assert shards.labels("kind") == ["0", "1", "2", "3", "4", ""]
    with pytest.raises(ConfigError, match=r"\(id, source, lang, url, quality, kind\), came 'domain'"):
        shards.labels("domain")
    with pytest.raises(
        ConfigError, match="labels: expected label columns or keys of meta of the documents, came 'size'"
    ):
        run(TokensConfig(labels=("size",)), given, StageOutput(tmp_path / "wrong"))


def test_a_shard_whose_checksum_fails_is_named_when_it_is_first_read(make):
    folder = make("out").path / "train"
    path = folder / "tokens-00000.bin"
    sound = path.read_bytes()
    path.write_bytes(sound[:-2] + bytes([sound[-2] ^ 1, sound[-1]]))  # one bit, and the same length
    shards = TokenShards(folder)
    with pytest.raises(ArtifactError, match=r"tokens-00000\.bin is damaged: expected the bytes that were written"):
        shards.document(0)
    path.write_bytes(sound)
    assert TokenShards(folder).document(0)[0] == shards.document(0)[0]
