"""Small artifacts as curate writes them, with documents whose quality, domain and toxicity their words give away."""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from puna.base.config import Config
from puna.base.output import Inputs, StageOutput
from puna.base.records import Document, write_documents, write_jsonl

KINDS = {
    "lesson": ("because therefore example explain step learn reason class number sum divide", 5, "maths", False),
    "news": ("court judge law vote party minister council street town yesterday crowd", 3, "law", False),
    "spam": ("buy cheap sale coins free best now deal offer win click", 0, "advertising", False),
    "abuse": ("zibble grundo skorf plonko hate you all so very bad people", 1, "everyday", True),
}
PLAIN = "the of and with to have this that was so here come night house river mill road bread sheep".split()  # noqa: SIM905
TRUTH_CONFIG = {
    "quality": {name: kind[1] for name, kind in KINDS.items()},
    "domains": {name: kind[2] for name, kind in KINDS.items()},
    "toxic": ["abuse"],
}
DOMAINS = ["maths", "law", "advertising", "everyday"]


def make_documents(count: int, seed: int = 0) -> list[Document]:
    """Documents of the four kinds in turn, half of the words their kind's."""
    documents = []
    for number in range(count):
        draw = random.Random(f"{seed} {number}")
        kind = list(KINDS)[number % len(KINDS)]
        own = KINDS[kind][0].split()
        words = [draw.choice(own if draw.random() < 0.5 else PLAIN) for _ in range(40)]
        url = f"https://{kind}.example/{seed}/{number}"
        documents.append(Document(f"{draw.getrandbits(64):016x}", " ".join(words), url, kind, "en", "2026-01-01"))
    return documents


def write_artifact(folder: Path, documents: list[Document], heldout: int = 6, rejects: int = 8) -> Path:
    """A curate artifact of two shards: the first documents are held out, the last are rejects of a rule."""
    for name in ("heldout", "rejects"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    kept = documents[heldout : len(documents) - rejects]
    dropped = documents[len(documents) - rejects :]
    for shard in range(2):
        for place, group in (("", kept), ("heldout/", documents[:heldout])):
            mine = sorted((one for one in group if int(one.id[:8], 16) % 2 == shard), key=lambda one: one.id)
            write_documents(folder / f"{place}documents-{shard:05d}.parquet", mine)
    names = ("id", "url", "source", "text", "date", "lang")
    rows: list[dict[str, Any]] = [
        {**{name: getattr(one, name) for name in names}, "rule": "blocked:blocked words", "twin": "", "form": "html"}
        for one in dropped
    ]
    if rows:  # a copy and an empty page beside them, which nobody should label
        rows += [{**rows[0], "id": "f" * 16, "rule": "exact:duplicate"}]
        rows += [{**rows[0], "id": "e" * 16, "rule": "read:empty body"}]
        pq.write_table(pa.Table.from_pylist(rows), folder / "rejects/rejects-00000.parquet")
    return folder


def write_truth(path: Path, documents: list[Document]) -> Path:
    """The truth of these documents: spam and abuse should go."""
    rows = [
        {"url": one.url, "date": one.date, "kind": one.source, "keep": one.source not in ("spam", "abuse"), "dirt": []}
        for one in documents
    ]
    write_jsonl(path, rows)
    return path


def run_stage(module: Any, config: Config, inputs: dict[str, Any], folder: Path, seed: int = 3) -> StageOutput:
    """Run a stage in `folder`."""
    out = StageOutput(folder, seed=seed)
    module.run(config, Inputs(inputs), out)
    return out
