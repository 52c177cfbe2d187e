"""Two small worlds, written once, and a reader of word problems that knows nothing of puna.world."""

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
    num_prompts=1_000,
    num_files=3,
)
LARGER = SMALL.model_copy(
    update={
        "operations": ("bags", "gain", "lose", "double", "halve", "share", "price", "change", "goal"),
        "largest_start": 60,
        "largest_number": 60,
        "num_wordings": 12,
    }
)
"""All that word problems can have; the default has less."""
SEED = 11
LEAD = "Working: "
"""How the worked answers of dialogs and preferences begin; those of pages do not."""


@dataclass(frozen=True)
class World:
    """A written world as a later stage sees it: files only."""

    folder: Path
    config: WorldConfig = SMALL

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

    def page_blocks(self) -> list[tuple[str, str]]:
        """Every (question, worked answer) of the pages that ends in a number."""
        return [
            b
            for text in self.page_texts()
            for b in re.findall(r"Question: (.*)\nAnswer: (.*The answer is \d+\.)", text)
        ]

    def dialog_blocks(self) -> list[tuple[str, str]]:
        """Every (question, worked answer) of the dialogs that ends in a number."""
        blocks = []
        for row in self.rows("dialogs/train.jsonl"):
            turns = [m["content"] for m in row["messages"] if m["role"] != "system"]
            pairs = zip(turns[::2], turns[1::2], strict=True)
            worked = re.compile(r"=.*The answer is \d+\.$")
            blocks += [
                (q, a.removeprefix(LEAD)) for q, a in pairs if worked.search(a) and "\nThe choices are " not in q
            ]
        return blocks

    def judged_blocks(self) -> list[tuple[str, str, str, str]]:
        """Every (question, better answer, worse answer, edited answer or "") whose better answer ends in a number."""
        blocks = []
        for row in self.rows("dialogs/preferences.jsonl"):
            better, worse = (row["rejected"], row["chosen"]) if row["error"] else (row["chosen"], row["rejected"])
            question = row["prompt"][0]["content"]
            if re.search(r"The answer is \d+\.$", better) and "\nThe choices are " not in question:
                better, worse = better.removeprefix(LEAD), worse.removeprefix(LEAD)
                blocks.append((question, better, worse, row.get("edited", "").removeprefix(LEAD)))
        return blocks

    def worked_blocks(self) -> list[tuple[str, str]]:
        """Every (question, right working) of the preferences; one that is said nowhere comes from its equations."""
        return [(q, right_working(better)) for q, better, _, _ in self.judged_blocks()]

    def prompts(self) -> list[dict[str, Any]]:
        """Prompts of both files, which training may see without an answer."""
        return self.rows("dialogs/prompts.jsonl") + self.rows("dialogs/prompts-heldout.jsonl")

    def training_blocks(self) -> list[tuple[str, str]]:
        """Every (question, worked answer) of pages, dialogs and preferences."""
        return self.page_blocks() + self.dialog_blocks() + self.worked_blocks()

    def all_training_text(self) -> str:
        """Everything that training may see, as one text."""
        texts = self.page_texts()
        texts += [m["content"] for row in self.rows("dialogs/train.jsonl") for m in row["messages"]]
        for row in self.rows("dialogs/preferences.jsonl"):
            texts += [row["prompt"][0]["content"], row["chosen"], row["rejected"], row.get("edited", "")]
        texts += [row["messages"][0]["content"] for row in self.prompts()]
        return "\n".join(texts)


def right_working(answer: str) -> str:
    """An answer with equations that ends in what the last of them says."""
    equations = answer[: answer.index("The answer is ")]
    return f"{equations}The answer is {equations.rpartition('=')[2].removesuffix(' ')}"


@dataclass(frozen=True)
class Worked:
    """A word problem solved from its story, and whether the worked answer says the same."""

    order: tuple[str, ...]
    operands: tuple[int, ...]
    values: tuple[int, ...]
    start: str
    """The sentence of the first number; none if the story begins with containers."""
    sentences: tuple[str, ...]
    """One for each operation."""
    right: bool


# The first that fits a sentence tells its operation: "takes half of the eggs" halves, "takes 3 eggs" takes away.
_KEY_WORDS = (
    ("double", r"twice|doubles|doubled"),
    ("halve", r"[Hh]alf"),
    ("share", r"equal|equally"),
    ("change", r"note of \d+ coins"),
    ("price", r"coins each|coins for each|Each of|Every one of"),
    ("bags", r"each"),
    ("gain", r"more"),
    ("goal", r"wants|needs|would like|plan|hopes|must|promised|dreams|wish|should"),
    ("lose", r"gives|loses|takes|uses|lost|hands"),
)


def read_working(question: str, working: str) -> Worked:
    """Solve the story by its key words and numbers; right means that the working is exactly these equations.

    Raises ValueError for a sentence without an operation or with other numbers than the operation has.
    """
    tale, ending = re.fullmatch(r"(?:[A-Z][a-z ]+\. )?(.*)\. ([^.?]+)\?.*", question).groups()  # type: ignore[union-attr]
    sentences = tale.split(". ")
    first = [int(n) for n in re.findall(r"\d+", sentences[0])]
    start = "" if len(first) == 2 else sentences.pop(0)
    order, operands, values, equations, right = [], first[:1], first[:1], [], True
    for sentence in sentences:
        name = next((name for name, words in _KEY_WORDS if re.search(rf"\b(?:{words})\b", sentence)), "")
        numbers = [int(n) for n in re.findall(r"\d+", sentence)]
        if (name == "bags") != (numbers == first and not start) or not name:
            raise ValueError(f"expected one operation in each sentence, came {sentence!r}")
        (new,) = [2] if name in ("double", "halve") and not numbers else numbers[1:] if name == "bags" else numbers
        x = values[-1]
        equation, value = {
            "bags": (f"{x}*{new}", x * new),
            "gain": (f"{x}+{new}", x + new),
            "lose": (f"{x}-{new}", x - new),
            "double": (f"{x}*{new}", x + x),
            "halve": (f"{x}/{new}", x // 2),
            "share": (f"{x}/{new}", x // new),
            "price": (f"{x}*{new}", x * new),
            "change": (f"{new}-{x}", new - x),
            "goal": (f"{new}-{x}", new - x),
        }[name]
        right &= value >= 0 and (name not in ("halve", "share") or value * new == x)
        order, operands, values = [*order, name], [*operands, new], [*values, value]
        equations.append(f"{equation}={value}. ")
    unit = "coins" if "price" in order else re.findall(r"\d+ (?:more )?(\w+)", tale)[1 - bool(start)]
    asked = {"change": r"\bback\b|\bchange\b", "goal": rf"\b{unit}\b.*\b(missing|needs?|needed)\b"}
    right &= bool(re.search(asked.get(order[-1], rf"\b{unit}\b (?!are missing|.*\bneed)"), ending))
    right &= working == f"{''.join(equations)}The answer is {values[-1]}."
    return Worked(tuple(order), tuple(operands), tuple(values), start, tuple(sentences), right)


def write_world(folder: Path, seed: int = SEED, config: WorldConfig = SMALL) -> World:
    """Run the stage into a folder."""
    out = StageOutput(folder, seed=seed)
    run(config, Inputs({}), out)
    return World(out.path, config)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def larger(tmp_path_factory: pytest.TempPathFactory) -> World:
    return write_world(tmp_path_factory.mktemp("larger"), config=LARGER)
