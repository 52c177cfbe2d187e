"""The curate stage: crawl files -> documents-*.parquet, heldout/, rejects/ and report.json.

Three passes. 1: chunks of records are cleaned by worker processes, each a pure function, into parts (out.state).
2: what needs all documents at once is decided from small columns of the parts: duplicates, held-out documents, the
funnel. 3: the texts go through buckets of ids on disk into the output shards, sorted by id. No pass holds more than a
few chunks of text, and the same bytes come out whatever the order of the inputs, the number of workers, and where an
earlier attempt was killed.
"""

import functools
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from puna.base.config import read_yaml, validate
from puna.base.errors import DataError
from puna.base.files import read_json, write_json
from puna.base.output import Inputs, StageOutput
from puna.base.records import DOCUMENT_SCHEMA, meta_text, write_document_tables
from puna.curate.audit.rejects import SAMPLES_FILE, write_samples
from puna.curate.clean import MASKED_COLUMNS, CurateConfig
from puna.curate.dedup.common_lines import with_common, without_common
from puna.curate.engines.choose import open_pool
from puna.curate.engines.pool import Job
from puna.curate.language.thresholds import THRESHOLDS_FILE
from puna.curate.outliers import COUNTS_FILE
from puna.curate.parts import (
    ROW_SCHEMA,
    Buckets,
    Item,
    ahead,
    encode_table,
    read_parts,
    seconds_of_part,
    with_values,
    write_part,
)
from puna.curate.read.books import require_libraries
from puna.curate.read.records import Record, read_file
from puna.curate.read.sources import READABLE, InputFile, list_inputs
from puna.curate.report import make_report, show_report, summary
from puna.curate.select import Selection, select
from puna.curate.supply.index import INDEX_COLUMNS, INDEX_SCHEMA, check_index, corpus_parts, index_rows
from puna.curate.supply.ledger import make_ledger
from puna.curate.text.words import Hashes, count_words

_CHUNK_RECORDS, _CHUNK_BYTES = 256, 4_000_000
_SMALL_CHUNKS = 32  # of a file; later ones are larger, since every part is opened seven times
_INDEX_BATCH = 4096
_KINDS = ("documents", "heldout/documents", "rejects/rejects", "index/index")
_REJECTS = pa.schema(
    [(name, pa.string()) for name in ("id", "url", "source", "rule", "twin", "text", "date", "lang", "form")]
)
_DOCUMENT_COLUMNS = [
    *("id", "text", "url", "source", "lang", "date", "locator", "form", "title", "notes", "words"),
    *("rule", "heldout", "line_keys"),
    *MASKED_COLUMNS,
]


def run(config: CurateConfig, inputs: Inputs, out: StageOutput) -> None:
    """Curate the inputs `crawl` (files, folders, addresses); pages that hold items of `exams` go; `truth` measures it.

    Further inputs: `languages`, a stage of that kind, whose model tells the language of a page; `thresholds`, of that
    kind, with settings by language (those of `by_language` go before); `corpus`, an earlier curate artifact: then the
    result is its documents and the crawl's together, as if both had been curated at once.

    Raises DataError if nothing can be read or nothing is kept, InputError for a file of unknown kind.
    """
    config = _with_thresholds(config, inputs)
    files, skipped_files = list_inputs(inputs.places("crawl"), config.reading.code)
    require_libraries(files)
    if inputs.has("corpus"):
        check_index(inputs.one("corpus"), config)
    exams = inputs.many("exams") if inputs.has("exams") else []
    languages = inputs.one("languages") if inputs.has("languages") else None
    listing = _clean_all(files, exams, languages, config, out)
    parts = [out.state / name for name in listing["parts"]]
    if inputs.has("corpus"):
        parts = [*_corpus_parts(inputs.one("corpus"), out), *parts]
    if not parts:
        raise DataError(
            f"expected pages or texts ({READABLE}), came only {summary(listing['skipped']) or 'empty files'}"
        )
    selection = select(parts, config, out.seed, out.state / "keys", decontaminated=bool(exams))
    buckets = Buckets(out.state / "buckets", config.shards, selection.columns.bytes_in)
    if not all(out.done(name) for name in _output_names(config)):
        decided = ahead(selection.decide(ahead(read_parts(parts, ROW_SCHEMA.names))))
        buckets.fill(_telling(decided, len(parts), "parts sorted", out))
        with ThreadPoolExecutor(config.workers or out.workers) as threads:
            write = functools.partial(_write_shard, buckets=buckets, selection=selection, out=out, config=config)
            list(_telling(threads.map(write, range(config.shards)), config.shards, "shards written", out))
    if selection.corpus is not None and not out.done(COUNTS_FILE):
        with out.unit(COUNTS_FILE) as unit:
            selection.corpus.save(unit.path)
    if not out.done(SAMPLES_FILE):
        with out.unit(SAMPLES_FILE) as unit:
            write_samples(out.path, unit.path)
    if not out.done("report.json"):
        with out.unit("report.json") as unit:
            counts = {**selection.counts, "funnel": selection.funnel, "ledger": make_ledger(selection)}
            write_json(unit.path, make_report(out.path, config, counts, listing, skipped_files, inputs))
    show_report(out.path, listing["seconds"], out)


def _with_thresholds(config: CurateConfig, inputs: Inputs) -> CurateConfig:
    if not inputs.has("thresholds"):
        return config
    fitted = read_yaml(inputs.one("thresholds") / THRESHOLDS_FILE)["by_language"]
    values = config.model_dump() | {"by_language": fitted | config.by_language}
    return validate(CurateConfig, values, str(inputs.one("thresholds")))


def _clean_all(
    files: list[InputFile], exams: list[Path], languages: Path | None, config: CurateConfig, out: StageOutput
) -> dict[str, Any]:
    """Pass 1: clean all records into parts in `out.state`; what an earlier attempt finished is not made again."""
    listing = out.state / "parts.json"
    if listing.exists():
        return dict(read_json(listing))
    skipped: Counter[str] = Counter()
    names: list[str] = []
    total = sum(file.size or 0 for file in files)
    began, documents, kept = time.monotonic(), 0, 0

    def missing() -> Iterator[tuple[list[Record], Path, int]]:
        for name, records, position in _chunks(files, skipped, config):
            names.append(name)
            if not (out.state / name).exists():
                yield records, out.state / name, position

    with open_pool(Job(config, exams, languages), config.workers or out.workers) as pool:
        for num_records, num_kept, position in pool.clean(missing()):
            documents, kept = documents + num_records, kept + num_kept
            rate = documents / max(1e-9, time.monotonic() - began)
            out.progress(position / 1e6, total / 1e6, "MB", documents_per_s=round(rate), documents=documents, kept=kept)
    if documents:
        seconds = time.monotonic() - began
        out.metric(documents_per_s=documents / seconds)
    seconds_of: defaultdict[str, float] = defaultdict(float)
    for name in sorted(names):
        seconds_of[files[_file_number(name)].source] += seconds_of_part(out.state / name)
    value = {
        "parts": sorted(names),
        "skipped": dict(sorted(skipped.items())),
        "files": len(files),
        "file_bytes": total,
        "seconds": dict(seconds_of),
    }
    write_json(listing, value)
    return value


def _chunks(
    files: list[InputFile], skipped: Counter[str], config: CurateConfig
) -> Iterator[tuple[str, list[Record], int]]:
    """Records cut into chunks within each file: name of the part, records, bytes of the inputs read until then."""
    before = 0
    for number, file in enumerate(files):
        size = file.size or 0
        chunk: list[Record] = []
        chunk_bytes = read_bytes = count = 0
        for record in read_file(file, skipped, config.max_chars, config.reading):
            chunk.append(record)
            chunk_bytes += len(record.body)
            most = _CHUNK_RECORDS if count < _SMALL_CHUNKS else 4 * _CHUNK_RECORDS
            if len(chunk) >= most or chunk_bytes >= _CHUNK_BYTES:
                read_bytes += chunk_bytes
                yield _part_name(number, count), chunk, before + min(size, read_bytes // 4)
                chunk, chunk_bytes, count = [], 0, count + 1
        before += size
        if chunk:
            yield _part_name(number, count), chunk, before


def _part_name(file: int, chunk: int) -> str:
    return f"part-{file:06d}-{chunk:06d}.parquet"


def _file_number(part: str) -> int:
    return int(part.split("-")[1])


def _corpus_parts(corpus: Path, out: StageOutput) -> list[Path]:
    """The rows of an earlier corpus, as parts of its own."""
    paths = []
    for number, table in enumerate(corpus_parts(corpus)):
        paths.append(out.state / f"corpus-{number:06d}.parquet")
        if not paths[-1].exists():
            write_part(paths[-1], encode_table(table))
    return paths


def _telling(items: Iterator[Item], total: int, unit: str, out: StageOutput) -> Iterator[Item]:
    for number, item in enumerate(items, 1):
        out.progress(number, total, unit)
        yield item


def _write_shard(shard: int, buckets: Buckets, selection: Selection, out: StageOutput, config: CurateConfig) -> None:
    """Pass 3: the documents, held-out documents, rejects and index of one shard, sorted by id."""
    documents, heldout, rejects, index = (f"{kind}-{shard:05d}.parquet" for kind in _KINDS)
    is_kept = pc.equal(pc.field("rule"), "")
    for name, is_mine in ((documents, ~pc.field("heldout")), (heldout, pc.field("heldout"))):
        if not out.done(name):
            with out.unit(name) as unit:
                tables = buckets.read(shard, _DOCUMENT_COLUMNS, is_kept & is_mine)
                write_document_tables(unit.path, _documents(tables, selection.common_lines))
    if not out.done(rejects):
        with out.unit(rejects) as unit, pq.ParquetWriter(unit.path, _REJECTS, compression="zstd") as writer:
            for table in buckets.read(shard, _REJECTS.names, ~is_kept):
                writer.write_table(table, row_group_size=max(1, len(table)))
    if config.keep_index and not out.done(index):
        with out.unit(index) as unit, pq.ParquetWriter(unit.path, INDEX_SCHEMA, compression="zstd") as writer:
            for table in buckets.read(shard, INDEX_COLUMNS):
                for start in range(0, len(table), _INDEX_BATCH):
                    rows = index_rows(table.slice(start, _INDEX_BATCH), selection.common_lines)
                    writer.write_table(rows, row_group_size=max(1, len(rows)))


def _output_names(config: CurateConfig) -> list[str]:
    kinds = _KINDS if config.keep_index else _KINDS[:-1]
    return [f"{kind}-{shard:05d}.parquet" for kind in kinds for shard in range(config.shards)]


def _documents(tables: Iterator[pa.Table], common_lines: Hashes) -> Iterator[pa.Table]:
    for table in tables:
        touched = with_common(table["line_keys"], common_lines)
        columns = {name: table[name] for name in table.schema.names}
        if touched.any():
            keys = table["line_keys"].filter(pa.array(touched)).to_pylist()
            texts = [
                without_common(text, np.frombuffer(line_keys, np.uint64), common_lines)
                for text, line_keys in zip(table["text"].filter(pa.array(touched)).to_pylist(), keys, strict=True)
            ]
            columns["text"] = with_values(table["text"], touched, texts)
            columns["words"] = with_values(table["words"], touched, [count_words(text) for text in texts])
        columns["meta"] = pa.array(_metas(columns), pa.string())
        yield pa.table({name: columns[name] for name in DOCUMENT_SCHEMA.names}, schema=DOCUMENT_SCHEMA)


def _metas(columns: dict[str, pa.ChunkedArray]) -> Iterator[str]:
    masked = functools.reduce(pc.add, (columns[name] for name in MASKED_COLUMNS))
    facts = [columns[name].to_pylist() for name in ("locator", "words", "form", "title", "notes")]
    for locator, words, form, title, notes, num_masked in zip(*facts, masked.to_pylist(), strict=True):
        meta: dict[str, Any] = {"file": locator, "words": words}
        if form != "html":
            meta["form"] = form
        if title:
            meta["title"] = title
        if notes:
            meta |= json.loads(notes)
        if num_masked:
            meta["masked"] = num_masked
        yield meta_text(meta)
