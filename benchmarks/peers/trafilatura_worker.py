"""trafilatura for benchmarks/curate.py; runs in its own environment (trafilatura.txt)."""

import base64
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what trafilatura prints must not come between the answers

import trafilatura  # noqa: E402

logging.disable(logging.CRITICAL)
pages: list[bytes] = []


def load(path: str) -> int:
    """Read the pages (base64) to work on."""
    pages[:] = [base64.b64decode(page) for page in json.loads(Path(path).read_text())]
    return len(pages)


def extract() -> list[str]:
    """The text of each page, without comments, as in trafilatura's own evaluation."""
    return [trafilatura.extract(page, include_comments=False) or "" for page in pages]


def work() -> int:
    """The same for the clock: nothing is sent back."""
    return len(extract())


VERBS: dict[str, Callable[..., Any]] = {"load": load, "extract": extract, "work": work}
for request in sys.stdin:
    verb, arguments = json.loads(request)
    print(json.dumps(VERBS[verb](**arguments)), file=answers, flush=True)
