"""Questions with known answers, and what was asked of a model and came back."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from puna.base.errors import DataError
from puna.base.records import read_jsonl
from puna.base.rng import hash64

Kind = Literal["choice", "number"]
Verdicts = Literal["correct", "wrong", "error"]


@dataclass(frozen=True)
class Item:
    """A question. `answer`: the position of the right option for a choice, the number as text otherwise."""

    id: str
    task: str
    kind: Kind
    question: str
    answer: int | str
    subject: str = ""
    choices: tuple[str, ...] = ()

    @property
    def answer_text(self) -> str:
        """The right answer in words."""
        return self.choices[self.answer] if isinstance(self.answer, int) else self.answer


@dataclass(frozen=True)
class ItemResult:
    """One row of items.parquet: a score can be recomputed from these.

    `value`, `weight`: for a share of right answers 1 or 0, and 1; for bits per byte the bits and the bytes of a
    document. `details`: JSON, e.g. the log-probability of each option.
    """

    task: str
    id: str
    subject: str
    prompt: str
    output: str
    expected: str
    verdict: str
    reason: str
    value: float
    weight: float
    details: str = ""


@dataclass(frozen=True)
class TrainingItem:
    """A question of the training text with its answer, which baselines may learn from."""

    task: str
    question: str
    answer: str


@dataclass
class Score:
    """A task's number. `metric` is "accuracy" or "bits_per_byte", with a part after a slash for parts and variants."""

    task: str
    metric: str
    value: float
    ci95: tuple[float, float]
    n: int
    settings: dict[str, Any] = field(default_factory=dict)


class HasId(Protocol):
    """Something with an id."""

    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=HasId)


def choose(items: Sequence[T], limit: int) -> list[T]:
    """`limit` of the items (0: all) by the hash of their id, in their order: the same ones for every model."""
    if not limit or len(items) <= limit:
        return list(items)
    ranked = sorted(range(len(items)), key=lambda i: (hash64(0, "limit", items[i].id), i))
    return [items[i] for i in sorted(ranked[:limit])]


def read_exam(path: Path) -> list[Item]:
    """Items of an exam file. Raises DataError naming the row that is no item, or if there is none."""
    items = [_item(row, f"{path}:{number}") for number, row in enumerate(read_jsonl(path), 1)]
    if not items:
        raise DataError(f"{path}: expected exam items, found none")
    if len({item.id for item in items}) < len(items):
        raise DataError(f"{path}: expected an id of its own for each item, found one twice")
    return items


def find_exam(paths: Sequence[Path], name: str) -> Path:
    """The file NAME.jsonl (or .jsonl.gz ...) among files and in folders; a single file serves under any name.

    Raises DataError listing what there is.
    """
    files = [file for path in paths for file in (sorted(path.glob("*.jsonl*")) if path.is_dir() else [path])]
    found = [file for file in files if file.name.split(".jsonl")[0] == name]
    if not found and len(files) == 1:
        found = files
    if len(found) != 1:
        raise DataError(f"expected one {name}.jsonl, came {sorted(file.name for file in files) or 'nothing'}")
    return found[0]


def read_training_items(path: Path) -> list[TrainingItem]:
    """Training items {"task", "question", "answer"}. Raises DataError naming a row that is none."""
    rows = []
    for number, row in enumerate(read_jsonl(path), 1):
        try:
            rows.append(TrainingItem(str(row["task"]), str(row["question"]), str(row["answer"])))
        except KeyError as error:
            raise DataError(f"{path}:{number}: expected task, question and answer, came no {error}") from None
    return rows


def write_results(path: Path, results: Iterable[ItemResult]) -> None:
    """Write item results as Parquet."""
    pq.write_table(pa.Table.from_pylist([asdict(r) for r in results], schema=_SCHEMA), path, compression="zstd")


def read_results(path: Path) -> list[ItemResult]:
    """Item results of a Parquet file."""
    return [ItemResult(**row) for row in pq.read_table(path).to_pylist()]


_SCHEMA = pa.schema(
    [(name, pa.float64() if name in ("value", "weight") else pa.string()) for name in ItemResult.__dataclass_fields__]
)


def _item(row: dict[str, Any], where: str) -> Item:
    try:
        kind, answer, choices = row["kind"], row["answer"], tuple(map(str, row.get("choices") or ()))
        id_, task, question, subject = (str(row.get(name, "")) for name in ("id", "task", "question", "subject"))
    except KeyError as error:
        raise DataError(f"{where}: expected kind and answer, came no {error}") from None
    if not id_ or not question:
        raise DataError(f"{where}: expected an id and a question, came {id_!r} and {question!r}")
    if kind == "choice":
        if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < len(choices) <= 26:
            raise DataError(f"{where}: expected choices and the position of the right one, came {answer!r}")
        return Item(id_, task, "choice", question, answer, subject, choices)
    if kind == "number":
        return Item(id_, task, "number", question, str(answer), subject)
    raise DataError(f'{where}: expected the kind "choice" or "number", came {kind!r}')
