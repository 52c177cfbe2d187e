"""datatrove's filters and MinHash for benchmarks/curate.py; runs in datatrove's own environment (datatrove.txt)."""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what a library prints must not get between the answers

from datatrove.data import Document  # noqa: E402
from datatrove.executor.local import LocalPipelineExecutor  # noqa: E402
from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature  # noqa: E402
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets  # noqa: E402
from datatrove.pipeline.filters import (  # noqa: E402
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.pipeline.readers import JsonlReader  # noqa: E402
from datatrove.pipeline.writers import JsonlWriter  # noqa: E402

FILTERS = (
    ("gopher_repetition", GopherRepetitionFilter()),
    ("gopher_quality", GopherQualityFilter()),
    ("c4", C4QualityFilter(filter_no_terminal_punct=False)),  # as in FineWeb
    ("fineweb", FineWebQualityFilter()),
)
texts: list[str] = []


def load(path: str) -> int:
    """Read a JSON list of texts."""
    texts[:] = json.loads(Path(path).read_text(encoding="utf-8"))
    return len(texts)


def filters(count: int) -> list[str]:
    """The filter and reason ("c4:curly_bracket") by which each of the first texts is dropped, or ""."""
    return [_first_reason(text) for text in texts[:count]]


def _first_reason(text: str) -> str:
    document = Document(text=text, id="")
    for name, one in FILTERS:
        answer = one.filter(document)  # C4's takes lines off the document
        if answer is not True:
            return f"{name}:{answer[1]}"
    return ""


def minhash(count: int) -> list[int]:
    """Numbers of the texts that its four steps keep; 14 buckets of 8 hashes, 5-grams."""
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "in").mkdir()
        with open(place / "in/texts.jsonl", "w", encoding="utf-8") as file:
            for number, text in enumerate(texts[:count]):
                file.write(json.dumps({"text": text, "id": str(number)}) + "\n")
        reader = JsonlReader(str(place / "in"))
        steps = (
            ([reader, MinhashDedupSignature(str(place / "signatures"), config)], 1),
            ([MinhashDedupBuckets(str(place / "signatures"), str(place / "buckets"), config=config)], 14),
            ([MinhashDedupCluster(str(place / "buckets"), str(place / "remove"), config=config)], 1),
            ([reader, MinhashDedupFilter(str(place / "remove")), JsonlWriter(str(place / "out"), compression=None)], 1),
        )
        for number, (pipeline, tasks) in enumerate(steps):
            LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=str(place / f"log{number}")).run()
        lines = [line for path in (place / "out").glob("*.jsonl") for line in path.read_text("utf-8").splitlines()]
        return sorted(int(json.loads(line)["id"]) for line in lines)


VERBS: dict[str, Callable[..., Any]] = {"load": load, "filters": filters, "minhash": minhash}
for request in sys.stdin:
    verb, arguments = json.loads(request)
    print(json.dumps(VERBS[verb](**arguments)), file=answers, flush=True)
