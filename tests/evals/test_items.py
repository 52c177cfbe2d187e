"""Exam files: what is read, what is refused with its line, which items a limit chooses."""

import json
from pathlib import Path

import pytest

from puna.base.errors import DataError
from puna.evals.items import Item, ItemResult, choose, find_exam, read_exam, read_results, write_results

CHOICE = {
    "id": "c1",
    "task": "t",
    "kind": "choice",
    "subject": "s",
    "question": "Q?",
    "choices": ["a", "b"],
    "answer": 1,
}
NUMBER = {"id": "n1", "task": "t", "kind": "number", "subject": "2 steps", "question": "Q?", "answer": 42, "steps": 2}


def write(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_read_exam(tmp_path: Path) -> None:
    items = read_exam(write(tmp_path / "exam.jsonl", CHOICE, NUMBER))
    assert items == [
        Item("c1", "t", "choice", "Q?", 1, "s", ("a", "b")),
        Item("n1", "t", "number", "Q?", "42", "2 steps"),
    ]
    assert [item.answer_text for item in items] == ["b", "42"]


@pytest.mark.parametrize(
    "wrong",
    [
        {**CHOICE, "answer": 2},
        {**CHOICE, "answer": "b"},
        {**CHOICE, "answer": True},
        {**CHOICE, "choices": []},
        {**CHOICE, "kind": "essay"},
        {**CHOICE, "question": ""},
        {k: v for k, v in CHOICE.items() if k != "answer"},
    ],
)
def test_a_row_that_is_no_item_is_named(tmp_path: Path, wrong: dict) -> None:
    with pytest.raises(DataError, match=r"exam\.jsonl:2: expected"):
        read_exam(write(tmp_path / "exam.jsonl", NUMBER, wrong))


def test_ids_must_differ(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found one twice"):
        read_exam(write(tmp_path / "exam.jsonl", NUMBER, NUMBER))
    with pytest.raises(DataError, match="found none"):
        read_exam(write(tmp_path / "exam.jsonl"))


def test_find_exam_in_folders_and_files(tmp_path: Path) -> None:
    one = write(tmp_path / "village-word.jsonl", NUMBER)
    write(tmp_path / "dev-village-word.jsonl", NUMBER)
    assert find_exam([tmp_path], "village-word") == one
    assert find_exam([one], "any name") == one
    with pytest.raises(DataError, match=r"expected one village-hard\.jsonl, came .*dev-village-word"):
        find_exam([tmp_path], "village-hard")


def test_a_limit_chooses_by_id_not_by_order() -> None:
    items = [Item(f"i{n}", "t", "number", "Q?", "1") for n in range(100)]
    few = choose(items, 10)
    assert {item.id for item in few} == {item.id for item in choose(items[::-1], 10)}
    assert [item.id for item in few] == sorted((item.id for item in few), key=lambda i: int(i[1:]))
    assert {item.id for item in few} < {item.id for item in choose(items, 20)}
    assert choose(items, 0) == choose(items, 500) == items


def test_results_survive_the_file(tmp_path: Path) -> None:
    results = [ItemResult("t", "i", "s", "p\n", "ø", "e", "wrong", "r", 0.0, 1.0, "{}")]
    write_results(tmp_path / "items.parquet", results)
    assert read_results(tmp_path / "items.parquet") == results
