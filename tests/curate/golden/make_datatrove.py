"""Golden answers of datatrove: makes datatrove.json beside this file, tokens and decisions by its own code.

Made with datatrove 0.10.1 and spaCy, pinned in benchmarks/peers/datatrove.txt. To make it again:

    python -m venv datatrove-venv && datatrove-venv/bin/pip install -r benchmarks/peers/datatrove.txt
    datatrove-venv/bin/python tests/curate/golden/make_datatrove.py

`tokens`: texts with the words that its filters count. `decisions`: texts, made from a vocabulary by chance, with the
reason of each of its four filters alone ("" keeps); the C4 filter without its rule on terminal punctuation, as FineWeb.
"""

import json
import random
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.utils.text import split_into_words

SENTENCES = [
    "The miller's daughter didn't sell 12.50 kg of flour to Mr. Brown, did she?",
    '"Well," said he, "I\'ll go; they\'ve gone, I\'m sure of it!"',
    "A well-known road -- the old one -- leads to St. Mary's church (built in 1850).",
    "See https://example.org/a-b/c?d=e,f or www.example.org for more...",
    "It costs $5, 20€ or 3,000.50 pounds; that's 50% off & no more.",
    "She cannot come at 5 p.m., nor at 10am, e.g. on Jan. 3rd.",
    "U.S. trade in 1990-1995 rose by 3.5% (see p. 12).",
    "he/she and/or x=y a+b 3+4 5*6 word:word",
    "Tabs\tand\n\nbreaks\r\n  stay out of it.",
    "“Curly quotes” and ‘single ones’ — with a dash—here.",
    "#hashtag @name _under_ *stars* [brackets] {curly} <angle>",
    "The end.The beginning,the middle…and so on",
    "Café crème, naïve, Über-all, Škoda",
    "A. B. Smith et al. wrote: 'No.'",
    "10km, 5kg, 3m and 7 g; 2x4 planks; the 1990s; 4th",
]
WORDS = [
    "the",
    "of",
    "and",
    "to",
    "that",
    "have",
    "with",
    "be",
    "mill",
    "river",
    "stone",
    "bread",
    "market",
    "road",
    "house",
    "winter",
    "apple",
    "king",
    "water",
    "letter",
    "morning",
    "village",
    "under",
    "before",
    "children",
    "garden",
    "seven",
    "yellow",
    "never",
    "always",
]
ODD = ["12", "1850", "3.5", ",", ".", ";", "-", "#", "...", "x", "{", "lorem", "ipsum", "javascript"]
NUM_TEXTS = 240


def made(draw: random.Random) -> str:
    """A text that is sometimes short, repeats itself, is a list, or has few words."""
    words, odd = draw.sample(WORDS, draw.randint(6, len(WORDS))), draw.choice([0.0, 0.0, 0.1, 0.25])
    size = draw.choice([6, 12, 24])
    lines = []
    for _ in range(draw.randint(1, 12)):
        line = " ".join(draw.choice(ODD if draw.random() < odd else words) for _ in range(draw.randint(1, size)))
        lines.append(draw.choice(["", "", "• ", "- "]) + line + draw.choice([".", ".", ".", "", "...", "!"]))
    lines += [draw.choice(lines) for _ in range(draw.choice([0, 0, 0, 0, 1, 4]))]
    return draw.choice(["\n", "\n", "\n\n"]).join(lines)


def reason(filtered: object) -> str:
    return "" if filtered is True else str(filtered[1])


def main() -> None:
    draw = random.Random(3)
    filters = {
        "gopher_repetition": GopherRepetitionFilter(),
        "gopher_quality": GopherQualityFilter(),
        "c4": C4QualityFilter(filter_no_terminal_punct=False),
        "fineweb": FineWebQualityFilter(),
    }
    decisions = []
    for _ in range(NUM_TEXTS):
        text = made(draw)
        answers = {name: reason(one.filter(Document(text=text, id=""))) for name, one in filters.items()}
        decisions.append({"text": text, **answers})
    tokens = [{"text": text, "tokens": split_into_words(text, "eng")} for text in SENTENCES]
    golden = {"tokens": tokens, "decisions": decisions}
    path = Path(__file__).with_name("datatrove.json")
    path.write_text(json.dumps(golden, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
