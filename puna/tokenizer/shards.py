"""Documents -> token shards, and how they are read: memory-mapped, bound to one tokenizer.

tokens-00000.bin    little-endian ids, uint16 if the vocabulary fits, else uint32: bos, text, eos, bos, ...
docs-00000.npy      int64 [documents + 1]: where each document of the shard starts, and the end
labels-00000.parquet  id, source, lang, url and the `labels` of each document: what a mix goes by
index.json          tokenizer fingerprint, dtype, counts in all and by source, the shards with their SHA-256
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pydantic

from puna.base.config import Config, Hardware
from puna.base.errors import ArtifactError, ConfigError, DataError
from puna.base.files import read_json, sha256_file, write_json
from puna.base.output import Inputs, StageOutput
from puna.base.records import Document, read_documents
from puna.base.rng import hash64
from puna.tokenizer.bpe import Tokenizer

FORMAT_VERSION = 1
INDEX_FILE = "index.json"


class TokensConfig(Config):
    """`repeat`: times each document of a source is seen (0.5: a fixed half of them; 2: twice; default 1).

    `labels`: label columns, or keys of `meta`, to be kept beside the tokens for a mix (a missing value is "").
    `shard_bytes`: bytes of text in a shard, the unit of resuming.
    """

    labels: tuple[str, ...] = ()
    repeat: dict[str, Annotated[float, pydantic.Field(ge=0)]] = pydantic.Field(default_factory=dict)
    shard_bytes: int = pydantic.Field(256_000_000, ge=1)
    threads: Annotated[int | None, Hardware] = None


def run(config: TokensConfig, inputs: Inputs, out: StageOutput) -> None:
    """documents, tokenizer -> train/ with token shards, and heldout/ if some documents are held out.

    Held-out documents are never repeated. Raises ConfigError if `repeat` names a source that does not occur, or
    `labels` one that no document has.
    """
    folder = inputs.one("documents")
    tokenizer = Tokenizer.load(inputs.one("tokenizer"))
    threads = config.threads or out.threads
    parts = {"train": repeated(folder, config.repeat, out.seed, config.labels)}
    if (folder / "heldout").is_dir() and any(True for _ in read_documents(folder / "heldout")):
        parts["heldout"] = read_documents(folder / "heldout", config.labels)
    for part, documents in parts.items():
        index = _write_part(part, documents, tokenizer, config, threads, out)
        if part == "train":
            _check_sources(config.repeat, folder, index)
            _check_labels(config.labels, index, out.path / part)
            _report(index, out)
        out.metric(**{f"{part}_tokens": index["num_tokens"], f"{part}_documents": index["num_documents"]})


def repeated(folder: Path, repeat: dict[str, float], seed: int, labels: Sequence[str] = ()) -> Iterator[Document]:
    """Documents of a folder, those of source s `repeat[s]` times: whole passes, so that copies lie far apart.

    A fraction of a pass takes the documents whose hash is below it: the same ones in any order.
    """
    num_passes = max([1, *(math.ceil(times) for times in repeat.values())])
    for copy in range(num_passes):
        for document in read_documents(folder, labels):
            left = repeat.get(document.source, 1.0) - copy
            if left >= 1 or hash64(seed, "repeat", document.id) < left * 2**64:
                yield document


class TokenShards:
    """The documents of a token folder as one sequence; nothing is read until asked for.

    Raises ArtifactError if the folder is damaged, or was made with another tokenizer than `fingerprint`.
    """

    def __init__(self, folder: Path | str, fingerprint: str | None = None) -> None:
        self.folder = Path(folder)
        if not (self.folder / INDEX_FILE).is_file():
            raise ArtifactError(f"expected token shards with {INDEX_FILE} in {self.folder}, found none")
        self.index = read_json(self.folder / INDEX_FILE)
        if self.index.get("format_version") != FORMAT_VERSION:
            came = self.index.get("format_version")
            raise ArtifactError(f"{self.folder}: expected token shards of format {FORMAT_VERSION}, came {came!r}")
        if fingerprint is not None and fingerprint != self.index["tokenizer"]:
            raise ArtifactError(
                f"{self.folder}: expected tokens of tokenizer {fingerprint[:12]}, came {self.index['tokenizer'][:12]}; "
                "run the tokens stage with this tokenizer"
            )
        self.num_tokens: int = self.index["num_tokens"]
        self.num_documents: int = self.index["num_documents"]
        counts = [shard["num_documents"] for shard in self.index["shards"]]
        self._checked: set[int] = set()
        self._first = np.cumsum([0, *counts])

    def __len__(self) -> int:
        return self.num_documents

    def document(self, number: int) -> np.ndarray:
        """Ids of document `number`, bos and eos included, as a view of the mapped file (uint16 or uint32).

        Raises ArtifactError naming the shard if it is read for the first time and its checksum is another.
        """
        if not 0 <= number < self.num_documents:
            raise IndexError(f"expected a document below {self.num_documents}, came {number}")
        shard = int(np.searchsorted(self._first, number, side="right")) - 1
        tokens, offsets = self.shards[shard]
        if shard not in self._checked:
            self._check(self.index["shards"][shard])
            self._checked.add(shard)
        at = number - int(self._first[shard])
        return tokens[offsets[at] : offsets[at + 1]]

    @cached_property
    def lengths(self) -> np.ndarray:
        """int64 [documents]: tokens of each document."""
        return np.concatenate([np.diff(offsets) for _, offsets in self.shards] or [np.zeros(0, np.int64)])

    def labels(self, name: str) -> list[str]:
        """A label of every document: id, source, lang, url, or one of the tokens stage's `labels`.

        Raises ArtifactError if the shards have no labels, ConfigError if they lack this one.
        """
        values: list[str] = []
        for shard in self.index["shards"]:
            if "labels" not in shard:
                raise ArtifactError(
                    f"{self.folder}: expected shards with labels, came none; run the tokens stage again"
                )
            known = pq.read_schema(self.folder / shard["labels"]).names
            if name not in known:
                raise ConfigError(
                    f"{self.folder}: expected a label of the tokens ({', '.join(known)}), came {name!r}; "
                    "name it in the tokens stage's `labels`"
                )
            values += pq.read_table(self.folder / shard["labels"], columns=[name])[name].to_pylist()
        return values

    @cached_property
    def shards(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(tokens, offsets) of each shard, memory-mapped."""
        return [self._open(shard) for shard in self.index["shards"]]

    def _open(self, shard: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        path, dtype = self.folder / shard["tokens"], np.dtype(self.index["dtype"])
        expected = shard["num_tokens"] * dtype.itemsize
        came = path.stat().st_size if path.is_file() else -1
        if came != expected:
            found = "no file" if came < 0 else f"{came} bytes"
            raise ArtifactError(
                f"{path} is damaged: expected {expected} bytes, came {found}; run the tokens stage again"
            )
        tokens = np.memmap(path, dtype, mode="r")
        offsets = np.load(self.folder / shard["docs"], mmap_mode="r")
        if len(offsets) != shard["num_documents"] + 1 or offsets[-1] != shard["num_tokens"]:
            raise ArtifactError(f"{self.folder / shard['docs']} is damaged: its offsets do not fit {shard['tokens']}")
        return tokens, offsets

    def _check(self, shard: dict[str, Any]) -> None:
        """Compare a shard with its checksums: bad data would be learned without a word."""
        for name in ("tokens", "docs"):
            path, expected = self.folder / shard[name], shard.get(f"{name}_sha256")
            if expected and sha256_file(path) != expected:
                raise ArtifactError(
                    f"{path} is damaged: expected the bytes that were written (SHA-256 {expected[:12]}), came others; "
                    "delete it and run the tokens stage again"
                )


def _write_part(
    part: str,
    documents: Iterator[Document],
    tokenizer: Tokenizer,
    config: TokensConfig,
    threads: int,
    out: StageOutput,
) -> dict[str, Any]:
    dtype = "<u2" if tokenizer.vocab_size <= 2**16 else "<u4"
    names = []
    for number, batch in enumerate(_batches(documents, config.shard_bytes)):
        tokens_name, docs_name = f"{part}/tokens-{number:05d}.bin", f"{part}/docs-{number:05d}.npy"
        labels_name = f"{part}/labels-{number:05d}.parquet"
        names.append((tokens_name, docs_name, labels_name))
        if not all(out.done(name) for name in names[-1]):
            _write_labels(batch, config.labels, labels_name, out)
            _write_shard(batch, tokenizer, dtype, threads, tokens_name, docs_name, out)
        out.progress(number + 1, number + 1, f"{part} shards")
    index = _index(names, tokenizer.fingerprint, dtype, out)
    if not out.done(f"{part}/{INDEX_FILE}"):
        with out.unit(f"{part}/{INDEX_FILE}") as unit:
            write_json(unit.path, index)
    return index


def _batches(documents: Iterator[Document], shard_bytes: int) -> Iterator[list[Document]]:
    """Cut the sequence after each document that fills `shard_bytes`: known without encoding anything."""
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.text.encode())
        if size >= shard_bytes:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _write_shard(
    batch: list[Document],
    tokenizer: Tokenizer,
    dtype: str,
    threads: int,
    tokens_name: str,
    docs_name: str,
    out: StageOutput,
) -> None:
    encoded = tokenizer.encode_batch([document.text for document in batch], threads)
    offsets = np.cumsum([0, *(len(ids) + 2 for ids in encoded)], dtype=np.int64)
    tokens = np.empty(offsets[-1], dtype)
    sources: dict[str, dict[str, int]] = defaultdict(lambda: {"documents": 0, "tokens": 0, "bytes": 0})
    for document, ids, start, stop in zip(batch, encoded, offsets[:-1], offsets[1:], strict=True):
        tokens[start] = tokenizer.bos_id
        tokens[start + 1 : stop - 1] = ids
        tokens[stop - 1] = tokenizer.eos_id
        counts = sources[document.source]
        counts["documents"] += 1
        counts["tokens"] += int(stop - start)
        counts["bytes"] += len(document.text.encode())
    with out.unit(docs_name) as unit:
        np.save(unit.path, offsets)
    with out.unit(tokens_name) as unit:
        tokens.tofile(unit.path)
        unit.info = {"num_tokens": int(offsets[-1]), "num_documents": len(batch), "sources": dict(sources)}


def _write_labels(batch: list[Document], labels: Sequence[str], name: str, out: StageOutput) -> None:
    columns = {what: [getattr(one, what) for one in batch] for what in ("id", "source", "lang", "url")}
    columns |= {label: [_as_text(one.meta.get(label)) for one in batch] for label in labels}
    with out.unit(name) as unit:
        pq.write_table(pa.table(columns), unit.path, compression="zstd")


def _as_text(value: object) -> str:
    return "" if value is None else str(value)


def _index(names: list[tuple[str, str, str]], fingerprint: str, dtype: str, out: StageOutput) -> dict[str, Any]:
    records = out.records()
    sources: dict[str, dict[str, int]] = defaultdict(lambda: {"documents": 0, "tokens": 0, "bytes": 0})
    shards = []
    for tokens_name, docs_name, labels_name in names:
        info = out.info(tokens_name)
        shards.append(
            {
                "tokens": Path(tokens_name).name,
                "docs": Path(docs_name).name,
                "labels": Path(labels_name).name,
                "num_tokens": info["num_tokens"],
                "num_documents": info["num_documents"],
                "tokens_sha256": records[tokens_name]["sha256"],
                "docs_sha256": records[docs_name]["sha256"],
                "labels_sha256": records[labels_name]["sha256"],
            }
        )
        for source, counts in info["sources"].items():
            for what, count in counts.items():
                sources[source][what] += count
    if not shards:
        raise DataError("expected documents to encode, came none (are all repeats 0?)")
    return {
        "format_version": FORMAT_VERSION,
        "tokenizer": fingerprint,
        "dtype": dtype,
        "num_tokens": sum(shard["num_tokens"] for shard in shards),
        "num_documents": sum(shard["num_documents"] for shard in shards),
        "num_bytes": sum(counts["bytes"] for counts in sources.values()),
        "sources": dict(sorted(sources.items())),
        "shards": shards,
    }


def _check_sources(repeat: dict[str, float], folder: Path, index: dict[str, Any]) -> None:
    unknown = {name for name, times in repeat.items() if times > 0} - index["sources"].keys()
    if unknown:
        known = sorted({document.source for document in read_documents(folder)})
        raise ConfigError(f"repeat: expected sources of the documents ({', '.join(known)}), came {sorted(unknown)}")


def _check_labels(labels: Sequence[str], index: dict[str, Any], folder: Path) -> None:
    for label in labels:
        if not any(any(pq.read_table(folder / one["labels"])[label].to_pylist()) for one in index["shards"]):
            raise ConfigError(f"labels: expected label columns or keys of meta of the documents, came {label!r}")


def _report(index: dict[str, Any], out: StageOutput) -> None:
    items = [{"label": name or "?", "value": counts["tokens"]} for name, counts in index["sources"].items()]
    out.panel("bars", "Training tokens by source", unit="tokens", items=items)
