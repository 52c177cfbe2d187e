"""Curation of generated text at growing sizes: throughput, and the peak memory of the stage with its workers.

python -m benchmarks.scale [--gigabytes 0.5,2,8] [--workers 2] [--folder DIR] [--quick]

The text is made from a seed: documents of sentences drawn from 50,000, a twentieth of them near-copies, a fiftieth
exact copies. It is no test of quality, only of what grows with the size.
"""

import argparse
import datetime
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.interleave import RESULTS
from puna.base.rng import generator

_STOP = ("the", "of", "and", "to", "that", "with", "have", "be", "in", "is", "it", "for", "was", "on", "as")
_FILE_BYTES = 250_000_000
_SENTENCES, _WORDS, _MEAN_SENTENCES = 50_000, 20_000, 25


def main() -> None:
    """Generate, curate and report each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--gigabytes", default="0.5,2,8", help="sizes of the text, by commas")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--folder", type=Path, help="where text and runs are put; the system's folder for such by default"
    )
    parser.add_argument("--quick", action="store_true", help="0.05 and 0.2 GB, nothing recorded")
    options = parser.parse_args()
    sizes = [0.05, 0.2] if options.quick else [float(size) for size in options.gigabytes.split(",")]
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        rows = [_measure(Path(folder), size, options.workers) for size in sizes]
    if not options.quick:
        _record(rows, options.workers)


def _measure(folder: Path, gigabytes: float, workers: int) -> dict[str, Any]:
    text, out = folder / "text", folder / "run"
    num_bytes = write_text(text, int(gigabytes * 1e9))
    command = [sys.executable, "-m", "puna", "curate", str(text), "--out", str(out), "--json"]
    command += ["--set", f"workers={workers}", "--set", "languages=[en]", "--set", "max_line_copies=6"]
    subprocess.run(command, check=True, capture_output=True)
    stage = json.loads((out / "report.json").read_text())["stages"][0]
    row = {
        "bench": "curate",
        "case": f"scale-{gigabytes:g}GB",
        "bytes": num_bytes,
        "seconds": round(stage["seconds"], 1),
        "megabytes_per_s": round(num_bytes / 1e6 / stage["seconds"], 2),
        "peak_memory_bytes": stage["peak_memory_bytes"],
        "documents": int(stage["metrics"]["records"]),
        "kept": int(stage["metrics"]["kept"]),
    }
    print(json.dumps(row), flush=True)
    shutil.rmtree(text)
    shutil.rmtree(out)
    return row


def write_text(folder: Path, num_bytes: int) -> int:
    """JSON lines of about so many bytes in files of 250 MB; returns the bytes of text."""
    folder.mkdir(parents=True)
    random = generator(0, "scale")
    sentences = np.array(_sentences(random), object)
    written = number = 0
    while written < num_bytes:
        size = 0
        with open(folder / f"text-{number:04d}.jsonl", "w", encoding="utf-8") as file:
            last = np.arange(_MEAN_SENTENCES)
            while size < _FILE_BYTES and written + size < num_bytes:
                kind = random.random()
                if kind >= 0.07:
                    last = random.integers(0, _SENTENCES, random.poisson(_MEAN_SENTENCES) + 5)
                elif kind >= 0.02:  # a near-copy: one sentence is another
                    last = last.copy()
                    last[random.integers(len(last))] = random.integers(_SENTENCES)
                text = "\n".join(_fifths(sentences[last].tolist()))
                file.write(json.dumps({"text": text}) + "\n")
                size += len(text)
        written, number = written + size, number + 1
    return written


def _fifths(sentences: list[str]) -> Iterator[str]:
    size, longer = divmod(len(sentences), 5)
    end = 0
    for number in range(5):
        start, end = end, end + size + (number < longer)
        yield " ".join(sentences[start:end])


def _sentences(random: np.random.Generator) -> list[str]:
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(random.choice(letters, random.integers(3, 10))) for _ in range(_WORDS)] + list(_STOP) * 2000
    picked = random.integers(0, len(words), (_SENTENCES, 16))
    return [" ".join(words[i] for i in row[: 8 + row[0] % 8]).capitalize() + "." for row in picked.tolist()]


def _record(rows: list[dict[str, Any]], workers: int) -> None:
    commit = subprocess.run(["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True).stdout.strip()
    lines = [f"\n## {datetime.date.today()}, commit {commit or 'unknown'}, {workers} workers, generated text\n"]
    lines += ["| bench | case | seconds | MB/s | peak memory | documents | kept |", "|---|---|---|---|---|---|---|"]
    lines += [
        f"| {r['bench']} | {r['case']} | {r['seconds']:,.0f} | {r['megabytes_per_s']:.1f} "
        f"| {r['peak_memory_bytes'] / 1e9:.2f} GB | {r['documents']:,} | {r['kept']:,} |"
        for r in rows
    ]
    with open(RESULTS, "a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
