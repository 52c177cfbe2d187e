"""Curation beside its peers on one core: datatrove's four filters of FineWeb and its MinHash, trafilatura's extraction.

python -m benchmarks.curate --data DIR [--case filters|minhash|extract] [--quick] [--json]
"""

import argparse
import base64
import json
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from resiliparse.extract.html2text import extract_plain_text

from benchmarks.extraction import read_pages, scores
from benchmarks.fit_extract import cross_fitted
from benchmarks.interleave import compare, publish
from benchmarks.peer import Peer, skip
from puna.base.records import open_text, read_jsonl
from puna.curate.dedup.twins import MinHash, band_keys, near_heads, signature
from puna.curate.extract.page import ExtractConfig, extract_page
from puna.curate.read.records import read_file
from puna.curate.read.sources import list_inputs
from puna.curate.rules.c4 import C4, c4
from puna.curate.rules.check import first_failure
from puna.curate.rules.fineweb import FineWeb, fineweb
from puna.curate.rules.gopher_quality import GopherQuality, gopher_quality
from puna.curate.rules.gopher_repetition import GopherRepetition, gopher_repetition
from puna.curate.text.words import Words
from tests.curate.extract.labelled import shares

_PAGES = ("web-article-extraction", "web-trafilatura", "web-warc")
_QUALITY, _REPETITION = GopherQuality(variant="datatrove"), GopherRepetition(variant="datatrove")
_C4, _FINEWEB, _MINHASH = C4(variant="datatrove", layout=False), FineWeb(variant="datatrove"), MinHash()
REASONS = {
    "": "",
    "gopher_short_doc": "too few words",
    "gopher_long_doc": "too many words",
    "gopher_below_avg_threshold": "word length",
    "gopher_above_avg_threshold": "word length",
    "gopher_too_many_hashes": "hashes",
    "gopher_too_many_ellipsis": "ellipses",
    "gopher_too_many_bullets": "bullet lines",
    "gopher_too_many_end_ellipsis": "ellipsis lines",
    "gopher_below_alpha_threshold": "words without letters",
    "gopher_enough_stop_words": "stop words",
    "dup_para_frac": "duplicate paragraphs",
    "dup_para_char_frac": "duplicate paragraph characters",
    "dup_line_frac": "duplicate lines",
    "dup_line_char_frac": "duplicate line characters",
    "lorem_ipsum": "lorem ipsum",
    "curly_bracket": "curly bracket",
    "too_few_sentences": "too few sentences",
    "line_punct_ratio": "lines without an end",
    "short_line_ratio": "short lines",
    "char_dup_ratio": "repeated lines",
    "list_ratio": "a list",
    "empty": "empty",
} | {f"top_{n}_gram": f"top {n}-gram" for n in range(2, 5)}
REASONS |= {f"duplicated_{n}_n_grams": f"duplicate {n}-grams" for n in range(5, 11)}
"""Our reason for each of datatrove's."""


def main() -> None:
    """Run the cases asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--data", type=Path, required=True, help="a folder with the texts of data/README.md")
    parser.add_argument("--case", choices=list(_CASES), help="one case only")
    parser.add_argument("--quick", action="store_true", help="fewer runs on less text, nothing recorded")
    parser.add_argument("--json", action="store_true", help="JSON lines (always printed)")
    options = parser.parse_args()
    rows = []
    for name in [options.case] if options.case else list(_CASES):
        case, peer_name = _CASES[name]
        try:
            with Peer(peer_name) as peer:
                rows.append(case(options.data, peer, options.quick))
        except FileNotFoundError as error:
            skip(error)
    publish(rows, options.quick)


def _filters(data: Path, peer: Peer, quick: bool) -> dict[str, Any]:
    """Speed in MB/s on some of the texts; agreement on all of them."""
    texts = list(_texts(data))
    random.Random(1).shuffle(texts)
    whole = texts[: 400 if quick else len(texts)]
    _load(peer, whole)
    count = 100 if quick else 300
    timed, megabytes = whole[:count], _megabytes(whole[:count])
    speed = compare(
        lambda: _times(megabytes, 20, lambda: [_first_reason(text) for text in timed]),
        lambda: _times(megabytes, 1, lambda: peer.ask("filters", count=count)),
        2 if quick else 5,
    )
    theirs = [_translated(answer) for answer in peer.ask("filters", count=len(whole))]
    ours = [_first_reason(text) for text in whole]
    pairs = list(zip(ours, theirs, strict=True))
    decisions = sum((a == "") == (b == "") for a, b in pairs) / len(pairs)
    drops = [(a, b) for a, b in pairs if b]
    reasons = sum(a == b for a, b in drops) / len(drops)
    differing = Counter(f"{b or 'kept'} / {a or 'kept'}" for a, b in pairs if a != b)
    found = {
        "documents": len(whole),
        "dropped_by_peer": len(drops),
        "same_decisions": round(decisions, 5),
        "same_reasons": round(reasons, 5),
        "differing (peer / ours)": dict(differing.most_common()),
    }
    return _row("filters", speed, decisions >= 0.995 and reasons >= 0.98) | found


def _minhash(data: Path, peer: Peer, quick: bool) -> dict[str, Any]:
    """Speed in MB/s from texts to those that stay; recall and precision against exact Jaccard similarity."""
    texts = list(_texts(data))
    draw = random.Random(2)
    draw.shuffle(texts)
    originals = [text for text in texts if 600 <= len(text) <= 6000][: 100 if quick else 300]
    copies = [_edited(text, share, draw) for text in originals for share in (0.005, 0.01, 0.02, 0.03, 0.05)]
    whole = originals + copies
    _load(peer, whole)
    megabytes = _megabytes(whole)
    speed = compare(
        lambda: _times(megabytes, 20, lambda: _kept(whole)),
        lambda: _times(megabytes, 1, lambda: peer.ask("minhash", count=len(whole))),
        2 if quick else 3,
    )
    # A copy alone with its original: nothing else joins them.
    similarity = [_jaccard(originals[i // 5], copy) for i, copy in enumerate(copies)]
    sides = {"ours": _pairs_found(originals, copies, _kept), "peer": _peer_pairs(originals, copies, peer)}
    measured = {name: _recall_and_precision(found, similarity) for name, found in sides.items()}
    differences = [abs(a - b) for a, b in zip(measured["ours"], measured["peer"], strict=True)]
    found = {name: dict(zip(("recall", "precision"), values, strict=True)) for name, values in measured.items()}
    return _row("minhash", speed, max(differences) <= 0.01) | {"documents": len(whole), "at_0.75": found}


def _extract(data: Path, peer: Peer, quick: bool) -> dict[str, Any]:
    """Speed in kB/s of HTML; both scores on each half of the sites. Same: on test sites no score 0.01 under the peer's.

    What is scored is chosen by weights that were fitted without the page's site (fit_extract.py). With the scores comes
    the share of code lines and of formulas that come out of the labelled pages of the tests.
    """
    pages = read_pages(data)
    bodies = [page.body for page in pages]
    # Many short turns: the load of a shared machine changes within seconds.
    timed = bodies[::8] if quick else bodies[::4]
    kilobytes = sum(map(len, timed)) / 1000
    _load_pages(peer, timed)
    speed = compare(
        lambda: _does(kilobytes, lambda: [extract_page(body).text for body in timed]),
        lambda: _does(kilobytes, lambda: peer.ask("work")),
        2 if quick else 15,
    )
    _load_pages(peer, bodies)
    texts = {"ours": cross_fitted(pages), "peer": peer.ask("extract")}
    found: dict[str, Any] = {"pages": len(pages)}
    for half in ("dev", "test"):
        chosen = [number for number, page in enumerate(pages) if page.half == half]
        for name, sides in texts.items():
            of_half = scores([pages[number] for number in chosen], [sides[number] for number in chosen])
            found[f"{half}_{name}"] = {"pages": len(chosen), **of_half}
    gaps = [found["test_peer"][kind]["f1"] - found["test_ours"][kind]["f1"] for kind in ("article", "segments")]
    found["labelled"] = {
        "ours": shares(lambda html: extract_page(html).text),
        "peer": shares(lambda html: _ask_page(peer, html)),
        "resiliparse": shares(lambda html: extract_plain_text(html, main_content=True)),
    }
    return _row("extract", speed, max(gaps) <= 0.01, "trafilatura") | found


def _row(case: str, speed: dict[str, Any], same: bool, peer_name: str = "datatrove") -> dict[str, Any]:
    names = {"bench": "curate", "case": case, "peer_name": peer_name, "unit": "kB/s"}
    return {**names, **speed, "same_result": same, "peak_fraction": 0.0}


def _first_reason(text: str) -> str:
    """As the peer's filters in the same order; C4's takes lines off."""
    words = Words(text)
    for name, checks in (
        ("gopher_repetition", gopher_repetition(words, _REPETITION)),
        ("gopher_quality", gopher_quality(words, "en", _QUALITY)),
    ):
        if reason := first_failure(checks):
            return f"{name}:{reason}"
    kept, checks = c4(words, _C4)
    if reason := first_failure(checks):
        return f"c4:{reason}"
    reason = first_failure(fineweb(Words(kept), _FINEWEB))
    return f"fineweb:{reason}" if reason else ""


def _translated(answer: str) -> str:
    name, _, reason = answer.partition(":")
    return f"{name}:{REASONS[reason]}" if answer else ""


def _kept(texts: list[str]) -> list[int]:
    """Numbers of the texts that stay."""
    bands = np.stack([band_keys(signature(Words(text).word_hashes, _MINHASH), _MINHASH) for text in texts])
    heads = near_heads(list(bands.T), len(texts))
    return np.flatnonzero(heads == np.arange(len(texts))).tolist()


def _pairs_found(originals: list[str], copies: list[str], kept: Callable[[list[str]], list[int]]) -> list[bool]:
    return [len(kept([originals[i // 5], copy])) == 1 for i, copy in enumerate(copies)]


def _peer_pairs(originals: list[str], copies: list[str], peer: Peer) -> list[bool]:
    """Five runs, each with one copy of every original: originals are unlike each other."""
    found = [False] * len(copies)
    for part in range(5):
        mine = copies[part::5]
        _load(peer, originals + mine)
        kept = set(peer.ask("minhash", count=len(originals) + len(mine)))
        for i in range(len(mine)):
            found[5 * i + part] = not {i, len(originals) + i} <= kept
    return found


def _recall_and_precision(found: list[bool], similarity: list[float]) -> tuple[float, float]:
    """Of the pairs of similarity 0.75 and more the share found; of those found the share that is so similar."""
    alike = [value >= 0.75 for value in similarity]
    both = sum(a and b for a, b in zip(found, alike, strict=True))
    return round(both / max(1, sum(alike)), 4), round(both / max(1, sum(found)), 4)


def _edited(text: str, share: float, draw: random.Random) -> str:
    """The text with a share of its words changed, at least one."""
    words = text.split(" ")
    for place in draw.sample(range(len(words)), max(1, round(share * len(words)))):
        words[place] = draw.choice(("changed", "other", "replaced", "new"))
    return " ".join(words)


def _jaccard(a: str, b: str) -> float:
    """Exact similarity of the sets of word 5-grams."""
    first, second = (_fivegrams(text) for text in (a, b))
    return len(first & second) / max(1, len(first | second))


def _fivegrams(text: str) -> set[tuple[str, ...]]:
    words = "".join(char if char.isalnum() else " " for char in text.lower()).split()
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)}


def _texts(data: Path) -> Iterator[str]:
    """English text of many kinds: web pages (the main text and the whole), encyclopedia, stories, pieces of books."""
    for name in _PAGES:
        for file in list_inputs([data / name])[0]:
            for record in read_file(file, Counter()):
                if record.form == "html" and not record.problem and isinstance(record.body, bytes):
                    for mode in ("main", "full"):
                        page = extract_page(record.body, record.charset, ExtractConfig(mode=mode))  # type: ignore[arg-type]
                        if page.text.strip():
                            yield page.text
    for name in ("text-c4-en/docs", "text-wikipedia-en/articles", "text-tinystories/stories"):
        yield from (row["text"] for row in read_jsonl(data / f"{name}.jsonl.gz"))
    draw = random.Random(0)
    for path in sorted((data / "text-books-en").iterdir()):
        if ".jsonl" in path.name:
            for row in read_jsonl(path):
                yield from _pieces(row["text"], draw)
        elif path.suffix in (".gz", ".xz", ".md", ".txt") and not path.name.startswith("LICENSE"):
            with open_text(path) as file:
                yield from _pieces(file.read(), draw)


def _pieces(book: str, draw: random.Random) -> Iterator[str]:
    """Paragraphs together, some 600 to 6,000 characters."""
    piece, size = "", draw.choice((600, 1500, 3000, 6000))
    for paragraph in book.split("\n\n"):
        piece += paragraph + "\n\n"
        if len(piece) > size:
            yield piece.strip()
            piece, size = "", draw.choice((600, 1500, 3000, 6000))


def _load(peer: Peer, texts: list[str]) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(texts, file)
        file.flush()
        peer.ask("load", path=file.name)


def _load_pages(peer: Peer, bodies: list[bytes]) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump([base64.b64encode(body).decode() for body in bodies], file)
        file.flush()
        peer.ask("load", path=file.name)


def _ask_page(peer: Peer, html: str) -> str:
    _load_pages(peer, [html.encode()])
    return str(peer.ask("extract")[0])


def _does(kilobytes: float, work: Callable[[], object]) -> float:
    work()
    return kilobytes


def _megabytes(texts: list[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


def _times(megabytes: float, repeats: int, work: Callable[[], object]) -> float:
    """The kB done by `work`, several times over."""
    for _ in range(repeats):
        work()
    return 1000 * megabytes * repeats


_CASES: dict[str, tuple[Callable[[Path, Peer, bool], dict[str, Any]], str]] = {
    "filters": (_filters, "datatrove"),
    "minhash": (_minhash, "datatrove"),
    "extract": (_extract, "trafilatura"),
}

if __name__ == "__main__":
    main()
