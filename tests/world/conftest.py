"""One small world, written once, and a reader of worked answers that knows nothing of puna.world."""

import html
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastwarc.warc import ArchiveIterator, WarcRecordType

from puna.base.output import Inputs, StageOutput
from puna.base.records import read_jsonl
from puna.world.settings import WorldConfig
from puna.world.village import run

SMALL = WorldConfig(
    num_people=12,
    num_wares=8,
    num_places=8,
    clean_chars=400_000,
    num_exam_items=60,
    num_dev_items=24,
    num_dialogs=700,
    num_preferences=600,
    num_files=3,
)
SEED = 11


@dataclass(frozen=True)
class World:
    """A written world as a later stage sees it: files only."""

    folder: Path

    def rows(self, name: str) -> list[dict[str, Any]]:
        return list(read_jsonl(self.folder / name))

    def exam(self, task: str) -> list[dict[str, Any]]:
        """Exam and development items of a task."""
        return self.rows(f"exams/{task}.jsonl") + self.rows(f"exams/dev-{task}.jsonl")

    def records(self) -> list[tuple[str, str, str, bytes]]:
        """(url, date, content type, body) of every response record, by fastwarc."""
        found = []
        for path in sorted((self.folder / "crawl").glob("*.warc.gz")):
            with open(path, "rb") as file:
                for record in ArchiveIterator(file, record_types=WarcRecordType.response, parse_http=True):
                    url, date = record.headers["WARC-Target-URI"], record.headers["WARC-Date"]
                    found.append((url, date, record.http_content_type, record.reader.read()))
        return found

    def page_texts(self) -> list[str]:
        """The visible text of every HTML page, tags cut out by a regular expression."""
        return [
            html.unescape(re.sub(r"<[^>]*>", "", body.decode()))
            for _, _, kind, body in self.records()
            if kind == "text/html"
        ]

    def training_blocks(self) -> list[tuple[str, str]]:
        """Every (question, worked answer) of pages, dialogs and preferences that ends in a number."""
        blocks = []
        for text in self.page_texts():
            blocks += re.findall(r"Question: (.*)\nAnswer: (.*The answer is \d+\.)", text)
        for row in self.rows("dialogs/train.jsonl"):
            turns = [m["content"] for m in row["messages"] if m["role"] != "system"]
            pairs = zip(turns[::2], turns[1::2], strict=True)
            blocks += [(q, a) for q, a in pairs if re.search(r"=.*The answer is \d+\.$", a)]
        return blocks

    def all_training_text(self) -> str:
        """Everything that training may see, as one text."""
        texts = self.page_texts()
        texts += [m["content"] for row in self.rows("dialogs/train.jsonl") for m in row["messages"]]
        for row in self.rows("dialogs/preferences.jsonl"):
            texts += [row["prompt"][0]["content"], row["chosen"], row["rejected"], row.get("edited", "")]
        return "\n".join(texts)


@dataclass(frozen=True)
class Worked:
    """A worked answer read back from its words."""

    order: tuple[str, ...]
    operands: tuple[int, ...]
    right: bool


_SIGNS = (
    ("All ", "*", "bags", False),
    ("With ", "+", "gain", False),
    ("Without ", "-", "lose", False),
    ("Twice ", "*", "double", False),
    ("Half ", "/", "halve", False),
    ("One of ", "/", "share", False),
    ("At ", "*", "price", False),
    ("From ", "-", "change", True),
    ("To reach ", "-", "goal", True),
)


def read_working(working: str) -> Worked:
    """Operations, operands and correctness of a worked answer, from its first words and its equations."""
    *steps, final = working.rstrip(".").split(". ")
    order, operands, right, value = [], [], True, None
    for step in steps:
        left, sign, other, result = re.search(r"(\d+)([-+*/])(\d+)=(\d+)\b", step).groups()  # type: ignore[union-attr]
        a, b = int(left), int(other)
        name, is_reversed = next((n, r) for start, s, n, r in _SIGNS if step.startswith(start) and s == sign)
        x, new = (b, a) if is_reversed else (a, b)
        true = {"+": a + b, "-": a - b, "*": a * b, "/": a / max(b, 1)}[sign]
        right &= true == int(result) >= 0 and value in (None, x)
        order.append(name)
        operands += [x, new] if not operands else [new]
        value = int(result)
    right &= final == f"The answer is {value}"
    return Worked(tuple(order), tuple(operands), right)


def write_world(folder: Path, seed: int = SEED, config: WorldConfig = SMALL) -> World:
    """Run the stage into a folder."""
    out = StageOutput(folder, seed=seed)
    run(config, Inputs({}), out)
    return World(out.path)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return write_world(tmp_path_factory.mktemp("world"))
